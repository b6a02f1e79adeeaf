//! Copies, hard links, space.

use super::{
    Room, Stop,
    room::{fails, pattern, same},
};
use crate::{FsErrorKind, Removal, Rename};

fn need(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.copy, "copy")
}

pub(super) async fn plain(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (from, to) = (room.path("from")?, room.path("to")?);
    let content = pattern(200_000);
    room.put(&from, &content).await?;
    room.fs.copy(&room.cx, &from, &to, Rename::NoReplace).await?;
    room.holds(&to, &content).await?;
    if room.caps.replace {
        room.put(&from, b"changed").await?;
        room.holds(&to, &content).await?;
        room.fs.copy(&room.cx, &from, &to, Rename::Replace).await?;
        room.holds(&to, b"changed").await?;
    }
    if room.caps.remove {
        room.fs.remove(&room.cx, &from, Removal::File).await?;
        room.absent(&from).await?;
    }
    same(room.get(&to).await?.is_empty(), false, "the copy is empty")
}

pub(super) async fn no_replace(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (from, to) = (room.path("from")?, room.path("to")?);
    room.put(&from, b"1").await?;
    room.put(&to, b"22").await?;
    let copied = room.fs.copy(&room.cx, &from, &to, Rename::NoReplace).await;
    fails(copied, &[FsErrorKind::Exists])?;
    room.holds(&to, b"22").await
}

pub(super) async fn missing(room: &Room) -> Result<(), Stop> {
    need(room)?;
    let (from, to) = (room.path("not-there")?, room.path("to")?);
    let copied = room.fs.copy(&room.cx, &from, &to, Rename::Replace).await;
    fails(copied, &[FsErrorKind::NotFound])?;
    room.absent(&to).await?;
    let copied = room.fs.copy(&room.cx, &room.base, &to, Rename::Replace).await;
    fails(copied, &[FsErrorKind::IsDir])?;
    room.absent(&to).await
}

pub(super) async fn hard_link(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.hard_links, "hard links")?;
    let (file, second) = (room.path("file")?, room.path("second")?);
    room.put(&file, b"x").await?;
    room.fs.link(&room.cx, &file, &second).await?;
    room.holds(&second, b"x").await?;
    fails(
        room.fs.link(&room.cx, &file, &second).await,
        &[FsErrorKind::Exists],
    )?;
    if room.caps.replace {
        room.put(&file, b"replaced").await?;
        room.holds(&second, b"x").await?;
    }
    if room.caps.remove {
        room.fs.remove(&room.cx, &file, Removal::File).await?;
    }
    room.holds(&second, b"x").await
}

pub(super) async fn space(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.space, "space")?;
    let space = room.fs.space(&room.cx, &room.base).await?;
    same(space.free <= space.total, true, "free is at most total")?;
    same(space.available <= space.free, true, "available is at most free")?;
    same(
        space.files_free <= space.files,
        true,
        "free inodes are at most all",
    )?;
    let missing = room.fs.space(&room.cx, &room.path("not-there/at-all")?).await;
    fails(missing, &[FsErrorKind::NotFound]).map(drop)
}
