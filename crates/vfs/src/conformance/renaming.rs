//! Renaming: with and without replacing, directories, and files while they are written.

use futures::future::join_all;

use super::{
    Room, Stop,
    room::{bytes, fails, fails_somehow, same},
};
use crate::{FsErrorKind, Links, Removal, Rename, WriteMode};

fn need(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.rename, "rename")
}

pub(super) async fn plain(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (old, new) = (room.path("old")?, room.path("new")?);
    for how in [Rename::NoReplace, Rename::Replace] {
        room.put(&old, b"content").await?;
        room.fs.rename(&room.cx, &old, &new, how).await?;
        room.absent(&old).await?;
        room.holds(&new, b"content").await?;
        if room.caps.remove {
            room.fs.remove(&room.cx, &new, Removal::File).await?;
        }
        if !room.caps.replace {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn moved(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let can = room.caps.rename || room.caps.moves;
    room.need(can && room.caps.directories, "moving files")?;
    let (old, new) = (room.path("letter")?, room.path("drawer/letter")?);
    room.put(&old, b"content").await?;
    room.make_dir(&room.path("drawer")?).await?;
    room.fs.rename(&room.cx, &old, &new, Rename::NoReplace).await?;
    room.absent(&old).await?;
    room.holds(&new, b"content").await?;
    room.put(&old, b"another").await?;
    let refused = room.fs.rename(&room.cx, &old, &new, Rename::NoReplace).await;
    fails(refused, &[FsErrorKind::Exists])?;
    room.holds(&new, b"content").await?;
    if !room.caps.rename {
        for name in ["renamed", "drawer/renamed"] {
            let renamed = room
                .fs
                .rename(&room.cx, &old, &room.path(name)?, Rename::NoReplace)
                .await;
            fails(renamed, &[FsErrorKind::Unsupported, FsErrorKind::Refused])?;
        }
    }
    room.holds(&old, b"another").await
}

pub(super) async fn no_replace(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (old, new) = (room.path("one")?, room.path("two")?);
    room.put(&old, b"1").await?;
    room.put(&new, b"22").await?;
    let refused = room.fs.rename(&room.cx, &old, &new, Rename::NoReplace).await;
    fails(refused, &[FsErrorKind::Exists])?;
    room.holds(&old, b"1").await?;
    room.holds(&new, b"22").await
}

pub(super) async fn replace(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(room.caps.replace, "replace")?;
    let (old, new) = (room.path("one")?, room.path("two")?);
    room.put(&old, b"1").await?;
    room.put(&new, b"22").await?;
    room.fs.rename(&room.cx, &old, &new, Rename::Replace).await?;
    room.absent(&old).await?;
    room.holds(&new, b"1").await?;
    room.fs.rename(&room.cx, &new, &new, Rename::Replace).await?;
    room.holds(&new, b"1").await
}

pub(super) async fn no_replace_race(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let target = room.path("target")?;
    let mut sources = Vec::new();
    for i in 0..8 {
        let path = room.path(format!("source-{i}"))?;
        room.put(&path, &[b'0' + i]).await?;
        sources.push(path);
    }
    let renames = sources
        .iter()
        .map(|from| room.fs.rename(&room.cx, from, &target, Rename::NoReplace));
    let ends = join_all(renames).await;
    same(ends.iter().filter(|end| end.is_ok()).count(), 1, "winners")?;
    for end in ends.into_iter().filter(Result::is_err) {
        fails(end, &[FsErrorKind::Exists])?;
    }
    same(room.get(&target).await?.len(), 1, "size of the winner")
}

pub(super) async fn missing(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (old, new) = (room.path("not-there")?, room.path("new")?);
    for how in [Rename::NoReplace, Rename::Replace] {
        fails(
            room.fs.rename(&room.cx, &old, &new, how).await,
            &[FsErrorKind::NotFound],
        )?;
    }
    room.put(&new, b"x").await?;
    let orphan = room.path("not-there/orphan")?;
    let refused = room.fs.rename(&room.cx, &new, &orphan, Rename::NoReplace).await;
    fails(refused, &[FsErrorKind::NotFound])?;
    room.holds(&new, b"x").await
}

pub(super) async fn directory(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(
        room.caps.rename_dir && room.caps.directories,
        "renaming directories",
    )?;
    let (old, new) = (room.path("old-dir")?, room.path("new-dir")?);
    room.make_dir(&old).await?;
    room.make_dir(&room.path("old-dir/sub")?).await?;
    room.put(&room.path("old-dir/sub/file")?, b"x").await?;
    room.fs.rename(&room.cx, &old, &new, Rename::NoReplace).await?;
    room.absent(&old).await?;
    room.holds(&room.path("new-dir/sub/file")?, b"x").await?;
    // Without replacing, an empty directory is a taken name as well.
    room.make_dir(&old).await?;
    let refused = room.fs.rename(&room.cx, &new, &old, Rename::NoReplace).await;
    fails(refused, &[FsErrorKind::Exists])?;
    let full = room.fs.rename(&room.cx, &old, &new, Rename::Replace).await;
    fails(full, &[FsErrorKind::NotEmpty, FsErrorKind::Exists])?;
    room.holds(&room.path("new-dir/sub/file")?, b"x").await
}

pub(super) async fn into_itself(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(
        room.caps.rename_dir && room.caps.directories,
        "renaming directories",
    )?;
    let (dir, below) = (room.path("dir")?, room.path("dir/sub/below")?);
    room.make_dir(&dir).await?;
    room.make_dir(&room.path("dir/sub")?).await?;
    for how in [Rename::NoReplace, Rename::Replace] {
        let moved = room.fs.rename(&room.cx, &dir, &below, how).await;
        fails_somehow(moved, "moving a directory into itself")?;
    }
    let entry = room
        .fs
        .stat(&room.cx, &room.path("dir/sub")?, Links::Keep)
        .await?;
    same(entry.is_dir(), true, "what was in it is there")
}

pub(super) async fn over_other_kinds(room: &Room) -> Result<(), Stop> {
    need(room)?;
    room.need(
        room.caps.rename_dir && room.caps.directories,
        "renaming directories",
    )?;
    let (dir, file) = (room.path("dir")?, room.path("file")?);
    room.make_dir(&dir).await?;
    room.put(&file, b"x").await?;
    for how in [Rename::NoReplace, Rename::Replace] {
        let kinds = [FsErrorKind::IsDir, FsErrorKind::Exists];
        fails(room.fs.rename(&room.cx, &file, &dir, how).await, &kinds)?;
        let kinds = [FsErrorKind::NotDir, FsErrorKind::Exists];
        fails(room.fs.rename(&room.cx, &dir, &file, how).await, &kinds)?;
    }
    room.holds(&file, b"x").await
}

pub(super) async fn root(room: &Room) -> Result<(), Stop> {
    let root = portreeve_model::VPath::root();
    let removed = room.fs.remove(&room.cx, &root, Removal::Dir).await;
    fails_somehow(removed, "removing the root")?;
    let removed = room.fs.remove(&room.cx, &root, Removal::File).await;
    fails_somehow(removed, "removing the root as a file")?;
    let renamed = room
        .fs
        .rename(&room.cx, &root, &room.path("x")?, Rename::NoReplace)
        .await;
    fails_somehow(renamed, "renaming the root")?;
    let renamed = room
        .fs
        .rename(&room.cx, &room.path("x")?, &root, Rename::Replace)
        .await;
    fails_somehow(renamed, "renaming to the root")?;
    let entry = room.fs.stat(&room.cx, &root, Links::Follow).await?;
    same(
        (entry.is_dir(), entry.name),
        (true, None),
        "the root is a directory without a name",
    )
}

pub(super) async fn while_written(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (old, new) = (room.path("upload.filepart")?, room.path("upload")?);
    let file = room.writer(&old, WriteMode::Replace).await?;
    file.write(0, bytes(b"half")).await?;
    file.retarget(&new, Rename::NoReplace).await?;
    room.absent(&old).await?;
    room.absent(&new).await?;
    file.write(4, bytes(b" and half")).await?;
    let entry = file.commit().await?;
    same(entry.name, new.file_name(), "name by commit")?;
    room.absent(&old).await?;
    room.holds(&new, b"half and half").await?;
    if room.caps.replace {
        let file = room.writer(&old, WriteMode::CreateNew).await?;
        file.write(0, bytes(b"again")).await?;
        file.retarget(&new, Rename::Replace).await?;
        room.holds(&new, b"half and half").await?;
        file.commit().await?;
        room.holds(&new, b"again").await?;
    }
    if room.caps.directories {
        room.make_dir(&room.path("dir")?).await?;
        let file = room.writer(&old, WriteMode::Replace).await?;
        file.write(0, bytes(b"moved")).await?;
        file.retarget(&room.path("dir/moved")?, Rename::NoReplace).await?;
        file.commit().await?;
        room.holds(&room.path("dir/moved")?, b"moved").await?;
    }
    Ok(())
}

pub(super) async fn retarget_no_replace(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (old, new) = (room.path("from")?, room.path("to")?);
    let file = room.writer(&old, WriteMode::Replace).await?;
    file.write(0, bytes(b"mine")).await?;
    room.put(&new, b"theirs").await?;
    fails(
        file.retarget(&new, Rename::NoReplace).await,
        &[FsErrorKind::Exists],
    )?;
    let third = room.path("third")?;
    file.retarget(&third, Rename::NoReplace).await?;
    room.put(&third, b"theirs too").await?;
    fails(file.commit().await, &[FsErrorKind::Exists])?;
    file.discard().await?;
    room.holds(&new, b"theirs").await?;
    room.holds(&third, b"theirs too").await
}
