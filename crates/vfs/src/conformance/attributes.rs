//! Times and permission bits.

use portreeve_model::Timestamp;

use super::{
    Room, Stop,
    room::{bytes, fails, same},
};
use crate::{Attrs, FsErrorKind, Links, OpenWrite, WriteMode};

const LONG_AGO: Timestamp = Timestamp::from_seconds(1_000_000_000);

fn modified(time: Timestamp) -> Attrs {
    Attrs {
        modified: Some(time),
        accessed: Some(time),
        ..Attrs::default()
    }
}

fn mode(mode: u32) -> Attrs {
    Attrs {
        mode: Some(mode),
        ..Attrs::default()
    }
}

pub(super) async fn times_last(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.set_times, "times")?;
    let path = room.path("dated")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"x")).await?;
    file.set_attrs(modified(LONG_AGO)).await?;
    file.write(1, bytes(b"y")).await?;
    file.sync().await?;
    let entry = file.commit().await?;
    same(entry.modified, Some(LONG_AGO), "time by commit")?;
    let entry = room.fs.stat(&room.cx, &path, Links::Follow).await?;
    same(entry.modified, Some(LONG_AGO), "time set on the handle")?;
    let path = room.path("dated-at-open")?;
    let how = OpenWrite {
        attrs: modified(LONG_AGO),
        ..OpenWrite::new(WriteMode::CreateNew)
    };
    let file = room.fs.open_write(&room.cx, &path, how).await?;
    file.write(0, bytes(b"x")).await?;
    file.commit().await?;
    let entry = room.fs.stat(&room.cx, &path, Links::Follow).await?;
    same(entry.modified, Some(LONG_AGO), "time set at open")
}

pub(super) async fn times_by_path(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.set_times, "times")?;
    let path = room.path("dated")?;
    room.put(&path, b"x").await?;
    let before_1970 = Timestamp::from_seconds(-86_400);
    for time in [LONG_AGO, before_1970, Timestamp::from_seconds(5_000_000_000)] {
        room.fs
            .set_attrs(&room.cx, &path, modified(time), Links::Follow)
            .await?;
        let entry = room.fs.stat(&room.cx, &path, Links::Follow).await?;
        same(entry.modified, Some(time), "time by path")?;
    }
    let only_access = Attrs {
        accessed: Some(LONG_AGO),
        ..Attrs::default()
    };
    room.fs
        .set_attrs(&room.cx, &path, only_access, Links::Follow)
        .await?;
    let entry = room.fs.stat(&room.cx, &path, Links::Follow).await?;
    same(
        entry.modified,
        Some(Timestamp::from_seconds(5_000_000_000)),
        "time left alone",
    )?;
    room.holds(&path, b"x").await
}

pub(super) async fn mode_stripped(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.set_mode, "permissions")?;
    let path = room.path("bits")?;
    let how = OpenWrite {
        attrs: mode(0o7755),
        ..OpenWrite::new(WriteMode::CreateNew)
    };
    let file = room.fs.open_write(&room.cx, &path, how).await?;
    file.write(0, bytes(b"x")).await?;
    file.commit().await?;
    room.fs
        .stat(&room.cx, &path, Links::Follow)
        .await
        .map(|e| same(e.mode, Some(0o755), "at open"))??;
    room.fs
        .set_attrs(&room.cx, &path, mode(0o6640), Links::Follow)
        .await?;
    room.fs
        .stat(&room.cx, &path, Links::Follow)
        .await
        .map(|e| same(e.mode, Some(0o640), "by path"))??;
    let file = room.writer(&path, WriteMode::Update { create: false }).await;
    if let Ok(file) = file {
        file.set_attrs(mode(0o4600)).await?;
        let entry = file.commit().await?;
        same(entry.mode, Some(0o600), "on the handle")?;
    }
    if room.caps.directories {
        let dir = room.path("bits-dir")?;
        room.fs.make_dir(&room.cx, &dir, mode(0o3750)).await?;
        let entry = room.fs.stat(&room.cx, &dir, Links::Follow).await?;
        same(entry.mode, Some(0o750), "of a directory")?;
    }
    Ok(())
}

pub(super) async fn replacing_keeps_mode(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.set_mode && room.caps.replace, "permissions and replace")?;
    let path = room.path("kept-mode")?;
    room.put(&path, b"x").await?;
    room.fs
        .set_attrs(&room.cx, &path, mode(0o604), Links::Follow)
        .await?;
    room.put(&path, b"replaced").await?;
    let entry = room.fs.stat(&room.cx, &path, Links::Follow).await?;
    same(entry.mode, Some(0o604), "mode after replacing")
}

pub(super) async fn missing(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("not-there")?;
    for (can, attrs) in [
        (room.caps.set_times || room.caps.drops_attrs, modified(LONG_AGO)),
        (room.caps.set_mode || room.caps.drops_attrs, mode(0o600)),
        (
            room.caps.update,
            Attrs {
                size: Some(1),
                ..Attrs::default()
            },
        ),
    ] {
        if can {
            let set = room.fs.set_attrs(&room.cx, &path, attrs, Links::Follow).await;
            fails(set, &[FsErrorKind::NotFound])?;
        }
    }
    room.absent(&path).await
}
