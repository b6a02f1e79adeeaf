//! Partials (V2): kept for their owner, found by exact path, gone on with at their length.

use portreeve_model::VPath;
use std::time::Duration;

use super::{
    Room, Stop,
    room::{bytes, fails, pattern, same},
};
use crate::{FsErrorKind, OpCx, Removal, Rename, WriteMode};

fn need(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.resume, "resume")
}

async fn partial(room: &Room, path: &VPath) -> Result<Option<u64>, Stop> {
    let later = room.same_person_later();
    Ok(room.fs.partial(&later, path).await?.map(|partial| partial.size))
}

pub(super) async fn resume(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (path, content) = (room.path("resumed")?, pattern(150_000));
    let (head, tail) = content.split_at(70_001);
    room.leave(&path, head).await?;
    same(partial(room, &path).await?, Some(70_001), "partial")?;
    let later = room.same_person_later();
    let how = crate::OpenWrite::new(WriteMode::Resume { at: 70_001 });
    let file = room.fs.open_write(&later, &path, how).await?;
    same(
        file.entry().await?.size,
        Some(70_001),
        "live size of a resumed file",
    )?;
    file.write(70_001, bytes(tail)).await?;
    room.absent(&path).await?;
    file.commit().await?;
    room.holds(&path, &content).await?;
    same(partial(room, &path).await?, None, "partial after commit")
}

pub(super) async fn wrong_offset(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("mismatched")?;
    room.leave(&path, &pattern(4_321)).await?;
    for at in [0, 4_320, 4_322, u64::MAX] {
        let error = fails(
            room.writer(&path, WriteMode::Resume { at }).await,
            &[FsErrorKind::Conflict],
        )?;
        if !error.message().contains("4321") {
            return Err(Stop::fail(format_args!(
                "'{}' does not name the length",
                error.message()
            )));
        }
        same(
            partial(room, &path).await?,
            Some(4_321),
            "partial after a wrong offset",
        )?;
    }
    let nothing = room.path("nothing-kept")?;
    let resumed = room.writer(&nothing, WriteMode::Resume { at: 10 }).await;
    fails(resumed, &[FsErrorKind::Conflict]).map(drop)
}

pub(super) async fn resume_complete_file(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.append, "append")?;
    let path = room.path("longer")?;
    room.put(&path, b"0123456789").await?;
    let error = fails(
        room.writer(&path, WriteMode::Resume { at: 4 }).await,
        &[FsErrorKind::Conflict],
    )?;
    same(error.message().contains("10"), true, "the error names the length")?;
    let file = room.writer(&path, WriteMode::Resume { at: 10 }).await?;
    file.write(10, bytes(b"abc")).await?;
    room.holds(&path, b"0123456789").await?;
    file.commit().await?;
    room.holds(&path, b"0123456789abc").await
}

pub(super) async fn seen_by_owner_alone(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("private")?;
    room.leave(&path, b"12345").await?;
    same(partial(room, &path).await?, Some(5), "partial in another session")?;
    same(
        room.fs.partial(&room.other, &path).await?,
        None,
        "partial for somebody else",
    )?;
    fails(room.get_as(&room.other, &path).await, &[FsErrorKind::NotFound])?;
    let how = crate::OpenWrite::new(WriteMode::Resume { at: 5 });
    fails(
        room.fs.open_write(&room.other, &path, how).await,
        &[FsErrorKind::Conflict],
    )?;
    let removed = room.fs.remove(&room.other, &path, Removal::File).await;
    if room.caps.remove {
        fails(removed, &[FsErrorKind::NotFound])?;
    }
    // Somebody else's upload to the same name goes its own way.
    let file = room
        .fs
        .open_write(&room.other, &path, crate::OpenWrite::new(WriteMode::Replace))
        .await?;
    file.write(0, bytes(b"bob")).await?;
    same(file.keep().await?, 3, "kept by somebody else")?;
    same(partial(room, &path).await?, Some(5), "partial beside another's")
}

pub(super) async fn never_listed(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let before = room.list(&room.cx, &room.base).await?;
    let path = room.path("hidden")?;
    room.leave(&path, b"12345").await?;
    room.absent(&path).await?;
    for cx in [&room.cx, &room.other] {
        let after = room.list(cx, &room.base).await?;
        same(
            after.keys().collect::<Vec<_>>(),
            before.keys().collect(),
            "listing",
        )?;
    }
    Ok(())
}

/// What `cx` is told of in `dir`, in order.
async fn told(room: &Room, cx: &OpCx, dir: &VPath) -> Result<Vec<(Vec<u8>, u64)>, Stop> {
    let told = room.fs.partials(cx, dir).await?;
    let pairs = told
        .iter()
        .map(|(name, partial)| (name.as_bytes().to_vec(), partial.size));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort();
    Ok(pairs)
}

pub(super) async fn told_by_directory(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (first, second) = (room.path("told")?, room.path("told too")?);
    room.leave(&first, b"12345").await?;
    if !room.caps.list_partials {
        let nothing = told(room, &room.cx, &room.base).await?;
        return same(nothing, Vec::new(), "partials of a storage that cannot tell");
    }
    // Beside a complete file it is told all the same: what that means is for whoever asks.
    if room.caps.replace {
        room.put(&second, b"whole").await?;
    }
    room.leave(&second, b"123").await?;
    let going_on = room.writer(&room.path("going on")?, WriteMode::Replace).await?;
    going_on.write(0, bytes(b"1")).await?;
    let later = room.same_person_later();
    let both = vec![(b"told".to_vec(), 5), (b"told too".to_vec(), 3)];
    same(
        told(room, &later, &room.base).await?,
        both,
        "what the owner is told",
    )?;
    for partial in room.fs.partials(&later, &room.base).await? {
        let path = room.path(partial.0.as_bytes())?;
        same(
            room.fs.partial(&later, &path).await?,
            Some(partial.1),
            "the same by exact name",
        )?;
    }
    same(
        told(room, &room.other, &room.base).await?,
        Vec::new(),
        "what somebody else is told",
    )?;
    let how = crate::OpenWrite::new(WriteMode::Replace);
    let file = room.fs.open_write(&room.other, &first, how).await?;
    file.write(0, bytes(b"bo")).await?;
    file.keep().await?;
    let of_other = vec![(b"told".to_vec(), 2)];
    same(
        told(room, &room.other, &room.base).await?,
        of_other,
        "what the other owner is told",
    )?;
    for nowhere in ["nowhere", "told too"] {
        let there = told(room, &later, &room.path(nowhere)?).await?;
        same(there, Vec::new(), "partials where there is no directory")?;
    }
    going_on.discard().await?;
    Ok(())
}

pub(super) async fn told_while_they_last(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.list_partials, "telling partials by directory")?;
    let path = room.path("coming and going")?;
    let now = async || Ok::<_, Stop>(told(room, &room.cx, &room.base).await?.len());
    room.leave(&path, b"12345").await?;
    let file = room.writer(&path, WriteMode::Resume { at: 5 }).await?;
    same(now().await?, 0, "partials while it is gone on with")?;
    file.write(5, bytes(b"67")).await?;
    file.keep().await?;
    let again = told(room, &room.cx, &room.base).await?;
    same(again, vec![(b"coming and going".to_vec(), 7)], "kept once more")?;
    let file = room.writer(&path, WriteMode::Resume { at: 7 }).await?;
    file.commit().await?;
    same(now().await?, 0, "partials after a commit")?;
    if room.caps.rename {
        let file = room.writer(&room.path("elsewhere")?, WriteMode::Replace).await?;
        file.write(0, bytes(b"123")).await?;
        file.retarget(&room.path("here")?, Rename::Replace).await?;
        file.keep().await?;
        let moved = told(room, &room.cx, &room.base).await?;
        same(moved, vec![(b"here".to_vec(), 3)], "kept under its new name")?;
    }
    Ok(())
}

pub(super) async fn incomplete_on_read(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("half")?;
    room.leave(&path, &pattern(777)).await?;
    let error = fails(room.get(&path).await, &[FsErrorKind::Incomplete])?;
    if !error.message().contains("777") {
        return Err(Stop::fail(format_args!(
            "'{}' does not name the length",
            error.message()
        )));
    }
    Ok(())
}

pub(super) async fn dropped_by_replace(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("anew")?;
    room.leave(&path, &pattern(777)).await?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    same(
        file.entry().await?.size,
        Some(0),
        "size of a replacement at its start",
    )?;
    file.write(0, bytes(b"anew")).await?;
    file.commit().await?;
    room.holds(&path, b"anew").await?;
    same(partial(room, &path).await?, None, "partial after a replacement")?;
    let path = room.path("anew-thrown")?;
    room.leave(&path, &pattern(777)).await?;
    room.writer(&path, WriteMode::Replace).await?.discard().await?;
    same(
        partial(room, &path).await?,
        None,
        "partial after a replacement that was discarded",
    )
}

pub(super) async fn continued_by_append(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.append, "append")?;
    let path = room.path("appended")?;
    room.leave(&path, b"12345").await?;
    let file = room.writer(&path, WriteMode::Append { create: false }).await?;
    same(file.append(bytes(b"678")).await?, 8, "size by append")?;
    file.commit().await?;
    room.holds(&path, b"12345678").await?;
    same(partial(room, &path).await?, None, "partial after commit")
}

pub(super) async fn continued_by_update(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need_random()?;
    room.need(room.caps.update, "update")?;
    let path = room.path("updated")?;
    room.leave(&path, b"12345").await?;
    let file = room.writer(&path, WriteMode::Update { create: false }).await?;
    same(file.entry().await?.size, Some(5), "live size")?;
    file.write(5, bytes(b"678")).await?;
    file.write(0, bytes(b"A")).await?;
    file.commit().await?;
    room.holds(&path, b"A2345678").await
}

pub(super) async fn removed_by_owner(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.remove, "remove")?;
    let path = room.path("removed")?;
    room.leave(&path, b"12345").await?;
    room.fs.remove(&room.cx, &path, Removal::File).await?;
    same(partial(room, &path).await?, None, "partial after remove")?;
    fails(
        room.fs.remove(&room.cx, &path, Removal::File).await,
        &[FsErrorKind::NotFound],
    )
    .map(drop)
}

/// What was left under a name is never gone on with once the name means something else, or nothing.
pub(super) async fn gone_with_its_name(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let caps = &room.caps;
    room.need(
        caps.rename && caps.remove && caps.replace,
        "rename, remove and replace",
    )?;
    let (temporary, path) = (room.path("renamed.filepart")?, room.path("renamed")?);
    room.leave(&path, b"12345").await?;
    room.put(&temporary, b"whole").await?;
    room.fs
        .rename(&room.cx, &temporary, &path, Rename::NoReplace)
        .await?;
    same(
        partial(room, &path).await?,
        None,
        "partial after another file came",
    )?;
    room.holds(&path, b"whole").await?;
    room.leave(&path, b"12345").await?;
    room.fs.remove(&room.cx, &path, Removal::File).await?;
    same(
        partial(room, &path).await?,
        None,
        "partial after the file beside it went",
    )
}

pub(super) async fn swept_by_rmdir(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.directories, "directories")?;
    let dir = room.path("swept")?;
    room.make_dir(&dir).await?;
    let path = room.path("swept/half")?;
    room.leave(&path, b"12345").await?;
    room.fs.remove(&room.other, &dir, Removal::Dir).await?;
    room.absent(&dir).await?;
    room.make_dir(&dir).await?;
    same(
        partial(room, &path).await?,
        None,
        "partial in a directory made anew",
    )
}

pub(super) async fn beside_the_old_file(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.replace, "replace")?;
    let path = room.path("versions")?;
    room.put(&path, b"old and whole").await?;
    room.leave(&path, b"new").await?;
    room.holds(&path, b"old and whole").await?;
    same(
        partial(room, &path).await?,
        Some(3),
        "partial beside a complete file",
    )?;
    let file = room.writer(&path, WriteMode::Resume { at: 3 }).await?;
    file.write(3, bytes(b" and whole too")).await?;
    file.commit().await?;
    room.holds(&path, b"new and whole too").await
}

pub(super) async fn after_restart(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("restarted")?;
    room.leave(&path, b"12345").await?;
    room.put(&room.path("done")?, b"done").await?;
    let Some(again) = room.stage().reopen().await else {
        return Err(Stop::Skip("reopening"));
    };
    let found = again.partial(&room.cx, &path).await?.map(|partial| partial.size);
    same(found, Some(5), "partial after a restart")?;
    let how = crate::OpenWrite::new(WriteMode::Resume { at: 5 });
    let file = again.open_write(&room.cx, &path, how).await?;
    file.write(5, bytes(b"678")).await?;
    file.commit().await?;
    let content = super::room::read_all(&*again.open_read(&room.cx, &path).await?, 100).await?;
    same(content.as_slice(), b"12345678", "content after a restart")
}

pub(super) async fn drop_keeps(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let path = room.path("lost-handle")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"12345")).await?;
    drop(file);
    // Whoever keeps it is another task: asked again until it has, not after a guess of how long.
    for _ in 0..1_000 {
        room.stage().settle().await;
        if let Some(size) = partial(room, &path).await? {
            return same(size, 5, "partial of a dropped handle");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Stop::fail("a dropped handle left no partial"))
}
