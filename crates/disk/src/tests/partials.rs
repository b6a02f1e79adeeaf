//! Kept partials: who goes on with them, when they die, who sweeps them.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use portreeve_vfs::{Attrs, FileSystem, FsErrorKind, Removal, Rename, WriteMode};

use super::{content, cx, disk, names, open, p, put};
use crate::Disk;

async fn leave(disk: &Disk, owner: &str, path: &str, bytes: &'static str) -> u64 {
    let file = open(disk, owner, path, WriteMode::Replace).await.unwrap();
    file.append(vec![bytes.into()]).await.unwrap();
    file.keep().await.unwrap()
}

async fn kept(disk: &Disk, owner: &str, path: &str) -> Option<u64> {
    disk.partial(&cx(owner), &p(path))
        .await
        .unwrap()
        .map(|partial| partial.size)
}

/// Makes everything unfinished in a directory of the host two days old.
fn age(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("portreeve-") {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(2 * 86_400))
                .unwrap();
        }
    }
}

#[tokio::test]
async fn dead_ones_are_forgotten_and_swept() {
    let (dir, disk) = disk();
    let root = dir.path().join("root");
    disk.make_dir(&cx("a"), &p("/d"), Attrs::default()).await.unwrap();
    leave(&disk, "a", "/f", "abc").await;
    leave(&disk, "a", "/d/f", "abc").await;
    let live = open(&disk, "a", "/live", WriteMode::Replace).await.unwrap();
    live.append(vec!["abc".into()]).await.unwrap();
    assert_eq!(disk.sweep().await.unwrap().removed, 0);
    age(&root);
    age(&root.join("d"));
    assert_eq!(kept(&disk, "a", "/f").await, None);
    let anew = open(&disk, "a", "/f", WriteMode::Append { create: true })
        .await
        .unwrap();
    assert_eq!(anew.entry().await.unwrap().size, Some(0));
    anew.discard().await.unwrap();
    let swept = disk.sweep().await.unwrap();
    assert_eq!((swept.removed, swept.failed), (1, 0));
    assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 0);
    // However old: it is being written to.
    live.commit().await.unwrap();
    assert_eq!(content(&disk, "/live").await.unwrap(), b"abc");
}

#[tokio::test]
async fn listing_a_directory_sweeps_it() {
    let (dir, disk) = disk();
    let root = dir.path().join("root");
    leave(&disk, "a", "/old", "abc").await;
    age(&root);
    leave(&disk, "a", "/new", "abc").await;
    assert!(names(&disk, "/").await.is_empty());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    assert_eq!(kept(&disk, "a", "/new").await, Some(3));
}

#[tokio::test]
async fn a_directory_with_an_upload_going_on_is_not_removed() {
    let (_dir, disk) = disk();
    disk.make_dir(&cx("a"), &p("/d"), Attrs::default()).await.unwrap();
    leave(&disk, "b", "/d/kept", "abc").await;
    put(&disk, "/d/file", b"x").await;
    let remove = || async { disk.remove(&cx("a"), &p("/d"), Removal::Dir).await };
    assert_eq!(remove().await.unwrap_err().kind(), FsErrorKind::NotEmpty);
    assert_eq!(
        kept(&disk, "b", "/d/kept").await,
        Some(3),
        "not empty: nothing is swept"
    );
    disk.remove(&cx("a"), &p("/d/file"), Removal::File).await.unwrap();
    let live = open(&disk, "b", "/d/live", WriteMode::Replace).await.unwrap();
    live.append(vec!["x".into()]).await.unwrap();
    assert_eq!(remove().await.unwrap_err().kind(), FsErrorKind::NotEmpty);
    live.discard().await.unwrap();
    remove().await.unwrap();
}

#[tokio::test]
async fn two_uploads_of_one_name() {
    let (dir, disk) = disk();
    // The connection of the first is dead, nobody has noticed; the second is the retry.
    let first = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
    first.append(vec!["fir".into()]).await.unwrap();
    let second = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
    second.append(vec!["second".into()]).await.unwrap();
    second.commit().await.unwrap();
    // What the first has is older than what is there: it is not offered for a resume.
    assert_eq!(first.keep().await.unwrap(), 0);
    assert_eq!(kept(&disk, "a", "/f").await, None);
    assert_eq!(fs::read_dir(dir.path().join("root")).unwrap().count(), 1);
    // Broken off after the first has ended, the second is what is kept.
    let first = open(&disk, "a", "/g", WriteMode::Replace).await.unwrap();
    let second = open(&disk, "a", "/g", WriteMode::Replace).await.unwrap();
    second.append(vec!["second".into()]).await.unwrap();
    first.discard().await.unwrap();
    drop(second);
    assert_eq!(kept(&disk, "a", "/g").await, Some(6));
}

#[tokio::test]
async fn a_retargeted_upload_is_kept_under_its_new_name() {
    let (_dir, disk) = disk();
    disk.make_dir(&cx("a"), &p("/d"), Attrs::default()).await.unwrap();
    let file = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
    file.append(vec!["abc".into()]).await.unwrap();
    file.retarget(&p("/d/g"), Rename::Replace).await.unwrap();
    assert_eq!(file.keep().await.unwrap(), 3);
    assert_eq!(kept(&disk, "a", "/f").await, None);
    assert_eq!(kept(&disk, "a", "/d/g").await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_leave_nothing_behind() {
    let (dir, disk) = disk();
    let turns = (0..16).map(|n| {
        let disk = disk.clone();
        tokio::spawn(async move {
            for turn in 0..50 {
                let path = format!("/f{}", turn % 3);
                let file = open(&disk, "a", &path, WriteMode::Replace).await.unwrap();
                file.append(vec![vec![n; 1000].into()]).await.unwrap();
                match (turn + usize::from(n)) % 4 {
                    0 => file.discard().await.unwrap(),
                    1 => drop(file.keep().await.unwrap()),
                    _ => drop(file.commit().await.unwrap()),
                }
                let whole = content(&disk, &path).await;
                assert!(
                    whole
                        .as_ref()
                        .map_or(true, |c| c.len() == 1000 && c.iter().all(|b| *b == c[0])),
                    "torn"
                );
            }
        })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.unwrap();
    }
    for name in ["/f0", "/f1", "/f2"] {
        put(&disk, name, b"last").await;
    }
    assert_eq!(fs::read_dir(dir.path().join("root")).unwrap().count(), 3);
}

#[test]
fn a_write_that_nobody_waits_for_never_lands_after_the_end() {
    const BLOCK: u64 = 4 << 20;
    let (dir, disk) = disk();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = runtime.block_on(async {
        let disk = disk.as_if_remote();
        let file = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
        file.write(0, vec!["x".into()]).await.unwrap();
        let block = bytes::Bytes::from(vec![1; BLOCK as usize]);
        for n in 0..8 {
            let write = file.write(n * BLOCK, vec![block.clone()]);
            // Handed over to the pool, then given up, as at a time-out.
            tokio::select! {
                biased;
                done = write => done.unwrap(),
                () = std::future::ready(()) => {}
            }
        }
        file.keep().await.unwrap()
    });
    drop(runtime); // waits for what has begun
    let left = fs::read_dir(dir.path().join("root"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(left.metadata().unwrap().len(), kept);
}

#[tokio::test]
async fn nobody_resumes_behind_a_gap() {
    let (_dir, disk) = disk();
    // 255 KiB a piece, as OpenSSH sends them: no multiple of a block.
    const PIECE: u64 = 261_120;
    let piece = bytes::Bytes::from(vec![1; PIECE as usize]);
    let file = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
    for n in [0, 1, 3] {
        file.write(n * PIECE, vec![piece.clone()]).await.unwrap();
    }
    let sent = file.keep().await.unwrap();
    assert!(sent > PIECE && sent <= 2 * PIECE, "{sent}");
    assert_eq!(kept(&disk, "a", "/f").await, Some(sent));
    let file = open(&disk, "a", "/f", WriteMode::Resume { at: sent })
        .await
        .unwrap();
    let rest = vec![1; (4 * PIECE - sent) as usize];
    file.write(sent, vec![rest.into()]).await.unwrap();
    file.commit().await.unwrap();
    let whole = content(&disk, "/f").await.unwrap();
    assert!(whole.len() as u64 == (4 * PIECE).min(1 << 20) && whole.iter().all(|byte| *byte == 1));
}
