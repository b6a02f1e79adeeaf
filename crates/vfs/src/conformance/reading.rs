//! Reading: ranges, parallel reads, wrong kinds, files replaced under a reader.

use futures::future::try_join_all;
use portreeve_model::VPath;

use super::{
    Room, Stop,
    room::{fails, pattern, read_all, same, same_bytes},
};
use crate::{FsErrorKind, Links, Ranges, WriteAccess};

/// A file to read: the sample, or one that is written.
async fn subject(room: &Room) -> Result<(VPath, Vec<u8>), Stop> {
    if let Some(sample) = room.stage().sample() {
        return Ok(sample);
    }
    room.need(room.caps.write != WriteAccess::None, "a file to read")?;
    let (path, content) = (room.path("subject")?, pattern(300_007));
    room.put(&path, &content).await?;
    Ok((path, content))
}

pub(super) async fn sample(room: &Room) -> Result<(), Stop> {
    let (path, content) = subject(room).await?;
    room.holds(&path, &content).await?;
    let stat = room.fs.stat(&room.cx, &path, Links::Keep).await?;
    same(stat.is_file(), true, "a file")?;
    same(stat.name.clone(), path.file_name(), "name by stat")?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Stop::fail("the sample has no name"));
    };
    let listed = room.list(&room.cx, &dir).await?;
    let entry = listed.get(&name).ok_or_else(|| Stop::fail("it is not listed"))?;
    same(entry.size, stat.size, "size in the listing and by stat")?;
    same(entry.modified, stat.modified, "time in the listing and by stat")?;
    let file = room.fs.open_read(&room.cx, &path).await?;
    same(file.entry().size, stat.size, "size of the open file")
}

pub(super) async fn ranges(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.ranges == Ranges::Native, "ranges")?;
    let (path, content) = subject(room).await?;
    let file = room.fs.open_read(&room.cx, &path).await?;
    let end = content.len();
    for (at, len) in [
        (0, 1),
        (end / 2, 100),
        (end.saturating_sub(1), 1),
        (end.saturating_sub(3), 100),
        (1, 0),
        (0, end + 1),
        (end, 10),
        (end + 1_000_000, 10),
        (3, end / 3),
    ] {
        let got = file.read(at as u64, len, b"head".to_vec()).await?;
        let want = content.get(at.min(end)..(at + len).min(end)).unwrap_or_default();
        let rest = got
            .strip_prefix(b"head")
            .ok_or_else(|| Stop::fail("the buffer's head is lost"))?;
        same_bytes(rest, want)?;
    }
    let beyond = file.read(u64::MAX - 3, 10, Vec::new()).await;
    same(
        beyond.map_or(0, |got| got.len()),
        0,
        "bytes at the end of the world",
    )
}

pub(super) async fn parallel(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.ranges == Ranges::Native, "ranges")?;
    let (path, content) = subject(room).await?;
    let file = room.fs.open_read(&room.cx, &path).await?;
    let step = content.len() / 32 + 1;
    let reads = (0..32_usize)
        .rev()
        .map(|i| file.read((i * step) as u64, step, Vec::new()));
    let mut pieces = try_join_all(reads).await?;
    pieces.reverse();
    same_bytes(&pieces.concat(), &content)
}

pub(super) async fn sequential(room: &Room) -> Result<(), Stop> {
    let (path, content) = subject(room).await?;
    for step in [1_009, 32_768, content.len() + 1] {
        let file = room.fs.open_read(&room.cx, &path).await?;
        same_bytes(&read_all(&*file, step).await?, &content)?;
    }
    Ok(())
}

pub(super) async fn wrong_kinds(room: &Room) -> Result<(), Stop> {
    let (path, _) = subject(room).await?;
    let missing = room.path("not-there")?;
    fails(
        room.fs.open_read(&room.cx, &missing).await,
        &[FsErrorKind::NotFound],
    )?;
    fails(
        room.fs.stat(&room.cx, &missing, Links::Follow).await,
        &[FsErrorKind::NotFound],
    )?;
    let below = missing.resolve("deeper/still").map_err(Stop::fail)?;
    fails(
        room.fs.open_read(&room.cx, &below).await,
        &[FsErrorKind::NotFound],
    )?;
    fails(
        room.fs.open_read(&room.cx, &room.base).await,
        &[FsErrorKind::IsDir],
    )?;
    let inside = path.resolve("x").map_err(Stop::fail)?;
    let kinds = [FsErrorKind::NotFound, FsErrorKind::NotDir];
    fails(room.fs.open_read(&room.cx, &inside).await, &kinds)?;
    fails(room.fs.stat(&room.cx, &inside, Links::Keep).await, &kinds)?;
    same(
        room.fs.partial(&room.cx, &missing).await?,
        None,
        "partial of nothing",
    )
}

pub(super) async fn outlives_replacement(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.replace, "replace")?;
    let path = room.path("replaced")?;
    let (old, new) = (pattern(200_000), vec![7; 250_000]);
    room.put(&path, &old).await?;
    let file = room.fs.open_read(&room.cx, &path).await?;
    let head = file.read(0, 1_000, Vec::new()).await?;
    same_bytes(&head, old.get(..1_000).unwrap_or_default())?;
    room.put(&path, &new).await?;
    let mut got = head;
    loop {
        let before = got.len();
        // An error is honest; bytes of the new file behind the head of the old one are not.
        match file.read(before as u64, 50_000, got).await {
            Ok(more) => got = more,
            Err(_) => break,
        }
        if got.len() == before {
            same_bytes(&got, &old)?;
            break;
        }
    }
    room.holds(&path, &new).await
}
