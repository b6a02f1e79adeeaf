//! What the capabilities deny is refused: nothing is ignored, nothing half done.

use portreeve_model::{Timestamp, VPath};

use super::{
    Room, Stop,
    room::{fails, same},
};
use crate::{Attrs, FsErrorKind, FsResult, Links, OpenWrite, Removal, Rename, WriteAccess, WriteMode};

/// In these ways a storage says no.
const NO: &[FsErrorKind] = &[
    FsErrorKind::Unsupported,
    FsErrorKind::ReadOnly,
    FsErrorKind::Refused,
    FsErrorKind::Denied,
];

#[track_caller]
fn no<T>(got: FsResult<T>) -> Result<(), Stop> {
    fails(got, NO).map(drop)
}

/// Tries what the storage cannot do, and only that.
macro_rules! no_unless {
    ($can:expr, $try:expr $(,)?) => {
        if !$can {
            no($try)?;
        }
    };
}

/// A file that is there: the sample, or one that is written.
async fn a_file(room: &Room) -> Result<VPath, Stop> {
    if let Some((path, _)) = room.stage().sample() {
        return Ok(path);
    }
    room.need(room.caps.write != WriteAccess::None, "a file")?;
    let path = room.path("a-file")?;
    room.put(&path, b"content").await?;
    Ok(path)
}

pub(super) async fn read_only(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.write == WriteAccess::None, "being read-only")?;
    let path = room.path("new")?;
    for mode in [
        WriteMode::CreateNew,
        WriteMode::Replace,
        WriteMode::Update { create: true },
        WriteMode::Append { create: true },
        WriteMode::Resume { at: 0 },
    ] {
        no(room.writer(&path, mode).await)?;
    }
    no_unless!(room.caps.directories, room.make_dir(&path).await);
    room.absent(&path).await?;
    let Some((sample, content)) = room.stage().sample() else {
        return Ok(());
    };
    no(room.writer(&sample, WriteMode::Replace).await)?;
    no_unless!(
        room.caps.remove,
        room.fs.remove(&room.cx, &sample, Removal::File).await,
    );
    room.holds(&sample, &content).await
}

pub(super) async fn each_capability(room: &Room) -> Result<(), Stop> {
    let caps = &room.caps;
    let (cx, file) = (&room.cx, a_file(room).await?);
    let before = room.get(&file).await?;
    let other = room.path("other")?;
    no_unless!(caps.remove, room.fs.remove(cx, &file, Removal::File).await);
    no_unless!(caps.directories, room.make_dir(&other).await);
    no_unless!(
        caps.rename,
        room.fs.rename(cx, &file, &other, Rename::NoReplace).await,
    );
    no_unless!(
        caps.copy,
        room.fs.copy(cx, &file, &other, Rename::NoReplace).await,
    );
    no_unless!(caps.hard_links, room.fs.link(cx, &file, &other).await);
    no_unless!(caps.symlinks, room.fs.read_link(cx, &file).await);
    no_unless!(caps.space, room.fs.space(cx, &room.base).await);
    let time = Timestamp::from_seconds(1);
    for (can, attrs) in [
        (
            caps.set_times || caps.drops_attrs,
            Attrs {
                modified: Some(time),
                ..Attrs::default()
            },
        ),
        (
            caps.set_times || caps.drops_attrs,
            Attrs {
                accessed: Some(time),
                ..Attrs::default()
            },
        ),
        (
            caps.set_mode || caps.drops_attrs,
            Attrs {
                mode: Some(0o600),
                ..Attrs::default()
            },
        ),
        (
            caps.update,
            Attrs {
                size: Some(1),
                ..Attrs::default()
            },
        ),
    ] {
        no_unless!(can, room.fs.set_attrs(cx, &file, attrs, Links::Follow).await);
    }
    if caps.write != WriteAccess::None {
        writing(room, &file).await?;
    }
    room.absent(&other).await?;
    same(room.get(&file).await?, before, "content after all refusals")
}

async fn writing(room: &Room, file: &VPath) -> Result<(), Stop> {
    let caps = &room.caps;
    no_unless!(caps.resume, room.writer(file, WriteMode::Resume { at: 0 }).await);
    no_unless!(
        caps.update,
        room.writer(file, WriteMode::Update { create: false }).await,
    );
    no_unless!(
        caps.append,
        room.writer(file, WriteMode::Append { create: false }).await,
    );
    if !caps.replace {
        let kinds = [NO, &[FsErrorKind::Exists]].concat();
        fails(room.put(file, b"replaced").await, &kinds)?;
    }
    if caps.write == WriteAccess::Sequential {
        let path = room.path("sequential")?;
        let open = room.writer(&path, WriteMode::Replace).await?;
        no(open.write(10, super::room::bytes(b"x")).await)?;
        open.discard().await?;
        let both = OpenWrite {
            read_back: true,
            ..OpenWrite::new(WriteMode::Replace)
        };
        no(room.fs.open_write(&room.cx, &path, both).await)?;
    }
    if let Some(max) = caps.max_file {
        let path = room.path("too-large")?;
        let huge = OpenWrite {
            size_hint: Some(max.saturating_add(1)),
            ..OpenWrite::new(WriteMode::Replace)
        };
        let kinds = [NO, &[FsErrorKind::TooLarge]].concat();
        if max < u64::MAX {
            fails(room.fs.open_write(&room.cx, &path, huge).await, &kinds)?;
        }
    }
    Ok(())
}
