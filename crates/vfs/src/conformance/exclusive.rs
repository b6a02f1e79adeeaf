//! Two who want one name: exclusive creation at open and at commit, last commit wins.

use futures::future::{join_all, try_join_all};

use super::{
    Room, Stop,
    room::{bytes, fails, pattern, same},
};
use crate::{FsErrorKind, WriteMode};

pub(super) async fn at_open(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("taken")?;
    room.put(&path, b"first").await?;
    fails(
        room.writer(&path, WriteMode::CreateNew).await,
        &[FsErrorKind::Exists],
    )?;
    room.holds(&path, b"first").await
}

pub(super) async fn at_commit(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("late")?;
    let file = room.writer(&path, WriteMode::CreateNew).await?;
    file.write(0, bytes(b"late")).await?;
    room.put(&path, b"early").await?;
    fails(file.commit().await, &[FsErrorKind::Exists])?;
    file.discard().await?;
    room.holds(&path, b"early").await
}

pub(super) async fn race(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let path = room.path("race")?;
    let files = try_join_all((0..8).map(|_| room.writer(&path, WriteMode::CreateNew))).await?;
    for (i, file) in files.iter().enumerate() {
        file.write(0, bytes(&[i.to_le_bytes()[0]; 1_000])).await?;
    }
    let ends = join_all(files.iter().map(|file| file.commit())).await;
    let winners: Vec<usize> = (0..ends.len())
        .filter(|i| ends.get(*i).is_some_and(Result::is_ok))
        .collect();
    let [winner] = winners.as_slice() else {
        return Err(Stop::fail(format_args!("{} of 8 won", winners.len())));
    };
    for end in ends.into_iter().filter(Result::is_err) {
        fails(end, &[FsErrorKind::Exists])?;
    }
    for (i, file) in files.iter().enumerate().filter(|(i, _)| i != winner) {
        file.discard()
            .await
            .map_err(|e| Stop::fail(format_args!("discard of loser {i}: {e}")))?;
    }
    room.holds(&path, &[winner.to_le_bytes()[0]; 1_000]).await
}

pub(super) async fn last_commit_wins(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.replace, "replace")?;
    let path = room.path("shared")?;
    let first = room.writer(&path, WriteMode::Replace).await?;
    let second = room.writer(&path, WriteMode::Replace).await?;
    let (one, two) = (pattern(10_000), vec![2; 5_000]);
    second.write(0, bytes(&two)).await?;
    first.write(0, bytes(&one)).await?;
    second.commit().await?;
    room.holds(&path, &two).await?;
    first.commit().await?;
    room.holds(&path, &one).await
}

/// A handle whose commit failed because the name was taken meanwhile.
async fn refused(room: &Room, name: &str) -> Result<std::sync::Arc<dyn crate::WriteFile>, Stop> {
    room.need_write()?;
    let path = room.path(name)?;
    let file = room.writer(&path, WriteMode::CreateNew).await?;
    file.write(0, bytes(b"precious")).await?;
    room.put(&path, b"other").await?;
    fails(file.commit().await, &[FsErrorKind::Exists])?;
    Ok(file)
}

pub(super) async fn keep_after_failed_commit(room: &Room) -> Result<(), Stop> {
    let file = refused(room, "kept").await?;
    let kept = file.keep().await?;
    room.holds(&room.path("kept")?, b"other").await?;
    if !room.caps.resume {
        return same(kept, 0, "bytes kept by a storage that cannot resume");
    }
    same(kept, 8, "bytes kept")?;
    let partial = room.fs.partial(&room.cx, &room.path("kept")?).await?;
    same(partial.map(|partial| partial.size), Some(8), "partial")
}

pub(super) async fn retarget_after_failed_commit(room: &Room) -> Result<(), Stop> {
    room.need(room.caps.rename, "rename")?;
    let file = refused(room, "wanted").await?;
    let elsewhere = room.path("elsewhere")?;
    file.retarget(&elsewhere, crate::Rename::NoReplace).await?;
    file.commit().await?;
    room.holds(&elsewhere, b"precious").await?;
    room.holds(&room.path("wanted")?, b"other").await
}

pub(super) async fn discard_after_failed_commit(room: &Room) -> Result<(), Stop> {
    let file = refused(room, "lost").await?;
    file.discard().await?;
    room.holds(&room.path("lost")?, b"other").await?;
    same(
        room.fs.partial(&room.cx, &room.path("lost")?).await?,
        None,
        "partial after discard",
    )
}
