//! Making and removing: directories and files.

use super::{
    Room, Stop,
    room::{bytes, fails, fails_somehow, same},
};
use crate::{FsErrorKind, Links, Removal, WriteMode};

fn need(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.directories, "directories")
}

pub(super) async fn make(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let dir = room.path("dir")?;
    room.make_dir(&dir).await?;
    let entry = room.fs.stat(&room.cx, &dir, Links::Follow).await?;
    same(
        (entry.is_dir(), entry.name),
        (true, dir.file_name()),
        "stat of a directory",
    )?;
    let listed = room.list(&room.cx, &room.base).await?;
    let entry = dir.file_name().and_then(|name| listed.get(&name));
    same(
        entry.is_some_and(crate::Entry::is_dir),
        true,
        "listed as a directory",
    )?;
    same(
        room.list(&room.cx, &dir).await?.len(),
        0,
        "entries of an empty directory",
    )?;
    room.fs.remove(&room.cx, &dir, Removal::Dir).await?;
    room.absent(&dir).await?;
    fails(
        room.fs.remove(&room.cx, &dir, Removal::Dir).await,
        &[FsErrorKind::NotFound],
    )
    .map(drop)
}

pub(super) async fn taken(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (dir, file) = (room.path("dir")?, room.path("file")?);
    room.make_dir(&dir).await?;
    room.put(&file, b"x").await?;
    for path in [&dir, &file] {
        fails(room.make_dir(path).await, &[FsErrorKind::Exists])?;
    }
    room.holds(&file, b"x").await
}

pub(super) async fn orphan(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let orphan = room.path("not-there/orphan")?;
    fails(room.make_dir(&orphan).await, &[FsErrorKind::NotFound])?;
    room.put(&room.path("file")?, b"x").await?;
    let below = room.path("file/below")?;
    fails(room.make_dir(&below).await, &[FsErrorKind::NotDir]).map(drop)
}

pub(super) async fn not_empty(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (dir, file) = (room.path("dir")?, room.path("dir/file")?);
    room.make_dir(&dir).await?;
    room.put(&file, b"x").await?;
    fails(
        room.fs.remove(&room.cx, &dir, Removal::Dir).await,
        &[FsErrorKind::NotEmpty],
    )?;
    room.holds(&file, b"x").await
}

pub(super) async fn wrong_kinds(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (dir, file) = (room.path("dir")?, room.path("file")?);
    room.make_dir(&dir).await?;
    room.put(&file, b"x").await?;
    fails(
        room.fs.remove(&room.cx, &file, Removal::Dir).await,
        &[FsErrorKind::NotDir],
    )?;
    if room.caps.remove {
        fails(
            room.fs.remove(&room.cx, &dir, Removal::File).await,
            &[FsErrorKind::IsDir],
        )?;
    }
    room.holds(&file, b"x").await?;
    same(room.list(&room.cx, &dir).await?.len(), 0, "entries")
}

pub(super) async fn remove_file(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.remove, "remove")?;
    let path = room.path("file")?;
    room.put(&path, b"x").await?;
    room.fs.remove(&room.cx, &path, Removal::File).await?;
    room.absent(&path).await?;
    fails(
        room.fs.remove(&room.cx, &path, Removal::File).await,
        &[FsErrorKind::NotFound],
    )?;
    room.put(&path, b"again").await?;
    room.holds(&path, b"again").await
}

pub(super) async fn removed_under_a_writer(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let dir = room.path("vanishing")?;
    room.make_dir(&dir).await?;
    let file = room
        .writer(&room.path("vanishing/file")?, WriteMode::Replace)
        .await?;
    file.write(0, bytes(b"x")).await?;
    match room.fs.remove(&room.cx, &dir, Removal::Dir).await {
        // It may be held by the writer ...
        Err(e) => {
            fails::<()>(Err(e), &[FsErrorKind::NotEmpty, FsErrorKind::Busy])?;
            file.commit().await?;
            room.holds(&room.path("vanishing/file")?, b"x").await
        }
        // ... or go, and then it stays gone.
        Ok(()) => {
            fails_somehow(file.commit().await, "commit into a directory that is gone")?;
            room.absent(&dir).await
        }
    }
}
