//! Writing: offsets, commit and abort, update, append, truncation.

use bytes::Bytes;
use futures::future::try_join_all;

use super::{
    Room, Stop,
    room::{bytes, fails, fails_somehow, pattern, same, same_bytes},
};
use crate::{Attrs, FsErrorKind, Links, OpenWrite, WriteAccess, WriteMode};

pub(super) async fn pieces(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("pieces")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    let content = pattern(100_000);
    let parts: Vec<Bytes> = content.chunks(30_001).map(Bytes::copy_from_slice).collect();
    file.write(0, parts).await?;
    file.write(100_000, vec![Bytes::new(), Bytes::from_static(b"tail")])
        .await?;
    file.write(100_004, Vec::new()).await?;
    same(file.append(bytes(b"!")).await?, 100_005, "size after append")?;
    let entry = file.commit().await?;
    same(entry.size, Some(100_005), "size by commit")?;
    same(entry.name, path.file_name(), "name by commit")?;
    room.holds(&path, &[content.as_slice(), b"tail!"].concat()).await
}

pub(super) async fn empty_file(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("empty")?;
    room.writer(&path, WriteMode::CreateNew).await?.commit().await?;
    room.holds(&path, b"").await
}

pub(super) async fn sparse_and_out_of_order(room: &Room) -> Result<(), Stop> {
    room.need_random()?;
    let path = room.path("sparse")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    let mut want = vec![0; 1_000_000];
    for (at, byte) in [
        (999_990_usize, b'e'),
        (10, b'b'),
        (500_000, b'm'),
        (10, b'B'),
        (0, b'a'),
    ] {
        file.write(at as u64, bytes(&[byte; 10])).await?;
        want.get_mut(at..at + 10).unwrap_or_default().fill(byte);
    }
    file.commit().await?;
    room.holds(&path, &want).await
}

pub(super) async fn parallel(room: &Room) -> Result<(), Stop> {
    room.need_random()?;
    let path = room.path("parallel")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    let content = pattern(1_000_000);
    let writes = content.chunks(32_768).enumerate().rev();
    try_join_all(writes.map(|(i, chunk)| file.write((i * 32_768) as u64, bytes(chunk)))).await?;
    file.commit().await?;
    room.holds(&path, &content).await
}

pub(super) async fn nothing_before_commit(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("unseen")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    room.absent(&path).await?;
    file.write(0, bytes(&pattern(70_000))).await?;
    room.absent(&path).await?;
    fails(room.get_as(&room.other, &path).await, &[FsErrorKind::NotFound])?;
    file.commit().await?;
    room.holds(&path, &pattern(70_000)).await?;
    same_bytes(&room.get_as(&room.other, &path).await?, &pattern(70_000))
}

pub(super) async fn nothing_after_discard(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("thrown")?;
    let before = room.list(&room.cx, &room.base).await?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"rubbish")).await?;
    file.discard().await?;
    room.absent(&path).await?;
    same(
        room.fs.partial(&room.cx, &path).await?,
        None,
        "partial after discard",
    )?;
    let after = room.list(&room.cx, &room.base).await?;
    same(
        after.into_keys().collect::<Vec<_>>(),
        before.into_keys().collect(),
        "listing",
    )
}

pub(super) async fn nothing_after_drop(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("dropped")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"half")).await?;
    drop(file);
    room.stage().settle().await;
    room.absent(&path).await
}

pub(super) async fn old_content_until_commit(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.replace, "replace")?;
    let path = room.path("steady")?;
    room.put(&path, b"old content").await?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"new")).await?;
    file.sync().await?;
    room.holds(&path, b"old content").await?;
    file.discard().await?;
    room.holds(&path, b"old content").await?;
    room.put(&path, b"new").await?;
    room.holds(&path, b"new").await
}

pub(super) async fn read_back(room: &Room) -> Result<(), Stop> {
    room.need_random()?;
    room.need(room.caps.update, "update")?;
    let path = room.path("both")?;
    room.put(&path, b"0123456789").await?;
    let how = OpenWrite {
        read_back: true,
        ..OpenWrite::new(WriteMode::Update { create: false })
    };
    let file = room.fs.open_write(&room.cx, &path, how).await?;
    file.write(3, bytes(b"xyz")).await?;
    same_bytes(&file.read(2, 5, b"> ".to_vec()).await?, b"> 2xyz6")?;
    same_bytes(&file.read(8, 100, Vec::new()).await?, b"89")?;
    same_bytes(&file.read(10, 100, Vec::new()).await?, b"")?;
    room.holds(&path, b"0123456789").await?;
    file.commit().await?;
    room.holds(&path, b"012xyz6789").await
}

pub(super) async fn live_size(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("growing")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    same(file.entry().await?.size, Some(0), "size at the start")?;
    file.write(0, bytes(&[1; 5_000])).await?;
    same(file.entry().await?.size, Some(5_000), "size after a write")?;
    same(file.append(bytes(&[2; 10])).await?, 5_010, "size by append")?;
    same(file.entry().await?.size, Some(5_010), "size after append")?;
    same(file.entry().await?.is_file(), true, "a file")?;
    Ok(file.discard().await?)
}

fn sized(size: u64) -> Attrs {
    Attrs {
        size: Some(size),
        ..Attrs::default()
    }
}

pub(super) async fn truncate_on_handle(room: &Room) -> Result<(), Stop> {
    room.need_random()?;
    let path = room.path("resized")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"0123456789")).await?;
    file.set_attrs(sized(4)).await?;
    same(file.entry().await?.size, Some(4), "size after cutting")?;
    file.set_attrs(sized(6)).await?;
    file.append(bytes(b"x")).await?;
    file.commit().await?;
    room.holds(&path, b"0123\0\0x").await
}

pub(super) async fn truncate_by_path(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.update, "update")?;
    let path = room.path("cut")?;
    room.put(&path, b"0123456789").await?;
    for (size, want) in [(4, &b"0123"[..]), (6, b"0123\0\0"), (0, b"")] {
        room.fs
            .set_attrs(&room.cx, &path, sized(size), Links::Follow)
            .await?;
        room.holds(&path, want).await?;
    }
    let dir = room
        .fs
        .set_attrs(&room.cx, &room.base, sized(0), Links::Follow)
        .await;
    fails_somehow(dir, "truncation of a directory").map(drop)
}

pub(super) async fn update_in_place(room: &Room) -> Result<(), Stop> {
    room.need_random()?;
    room.need(room.caps.update, "update")?;
    let path = room.path("patched")?;
    let mut content = pattern(200_000);
    room.put(&path, &content).await?;
    let file = room.writer(&path, WriteMode::Update { create: true }).await?;
    same(
        file.entry().await?.size,
        Some(200_000),
        "size of an update at its start",
    )?;
    file.write(100_000, bytes(b"patch")).await?;
    file.write(199_998, bytes(b"tail")).await?;
    room.holds(&path, &content).await?;
    file.commit().await?;
    content.extend_from_slice(b"..");
    content
        .get_mut(100_000..100_005)
        .unwrap_or_default()
        .copy_from_slice(b"patch");
    content
        .get_mut(199_998..)
        .unwrap_or_default()
        .copy_from_slice(b"tail");
    room.holds(&path, &content).await?;
    let fresh = room.path("fresh")?;
    let file = room.writer(&fresh, WriteMode::Update { create: true }).await?;
    file.write(2, bytes(b"x")).await?;
    file.commit().await?;
    room.holds(&fresh, b"\0\0x").await
}

pub(super) async fn append(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.append, "append")?;
    let path = room.path("log")?;
    room.put(&path, b"one,").await?;
    let file = room.writer(&path, WriteMode::Append { create: true }).await?;
    same(
        file.entry().await?.size,
        Some(4),
        "size of an append at its start",
    )?;
    file.write(0, bytes(b"two,")).await?;
    same(file.append(bytes(b"three")).await?, 13, "size by append")?;
    room.holds(&path, b"one,").await?;
    file.commit().await?;
    room.holds(&path, b"one,two,three").await?;
    let fresh = room.path("fresh-log")?;
    let file = room.writer(&fresh, WriteMode::Append { create: true }).await?;
    file.append(bytes(b"x")).await?;
    file.commit().await?;
    room.holds(&fresh, b"x").await
}

pub(super) async fn append_missing(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("nothing")?;
    for (can, mode) in [
        (room.caps.append, WriteMode::Append { create: false }),
        (room.caps.update, WriteMode::Update { create: false }),
    ] {
        if can {
            fails(room.writer(&path, mode).await, &[FsErrorKind::NotFound])?;
        }
    }
    room.absent(&path).await
}

pub(super) async fn ended_handle(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    for (i, end) in ["commit", "keep", "discard"].into_iter().enumerate() {
        let path = room.path(format!("ended-{i}"))?;
        let file = room.writer(&path, WriteMode::Replace).await?;
        file.write(0, bytes(b"x")).await?;
        match i {
            0 => drop(file.commit().await?),
            1 => drop(file.keep().await?),
            _ => file.discard().await?,
        }
        fails_somehow(file.write(1, bytes(b"y")).await, &format!("write after {end}"))?;
        fails_somehow(file.append(bytes(b"y")).await, &format!("append after {end}"))?;
        fails_somehow(file.commit().await, &format!("commit after {end}"))?;
        fails_somehow(file.keep().await, &format!("keep after {end}"))?;
        fails_somehow(file.discard().await, &format!("discard after {end}"))?;
        drop(file);
        room.stage().settle().await;
        if i == 0 {
            room.holds(&path, b"x").await?;
        } else {
            room.absent(&path).await?;
        }
    }
    Ok(())
}

pub(super) async fn wrong_places(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let file = room.path("file")?;
    room.put(&file, b"x").await?;
    let below = file.resolve("below").map_err(Stop::fail)?;
    let orphan = room.path("not-there/orphan")?;
    for mode in [WriteMode::Replace, WriteMode::CreateNew] {
        let kinds = [FsErrorKind::IsDir, FsErrorKind::Exists];
        fails(room.writer(&room.base, mode).await, &kinds)?;
        fails(room.writer(&below, mode).await, &[FsErrorKind::NotDir])?;
        fails(room.writer(&orphan, mode).await, &[FsErrorKind::NotFound])?;
    }
    if room.caps.directories {
        let dir = room.path("dir")?;
        let late = room.writer(&dir, WriteMode::Replace).await?;
        late.write(0, bytes(b"x")).await?;
        room.make_dir(&dir).await?;
        let kinds = [FsErrorKind::IsDir, FsErrorKind::Exists];
        fails(room.writer(&dir, WriteMode::Replace).await, &kinds)?;
        fails(late.commit().await, &[FsErrorKind::IsDir, FsErrorKind::Exists])?;
        late.discard().await?;
    }
    Ok(())
}

pub(super) async fn sync_is_not_commit(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.write != WriteAccess::None, "write")?;
    let path = room.path("synced")?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"durable")).await?;
    file.sync().await?;
    room.absent(&path).await?;
    file.write(7, bytes(b"!")).await?;
    file.commit().await?;
    room.holds(&path, b"durable!").await
}
