//! Labels on drafts: who is told of which partial by directory, whatever the attributes say.

use std::{
    ffi::CStr,
    fs::File,
    path::{Path, PathBuf},
};

use portreeve_vfs::{FileSystem, Rename, WriteMode};
use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};

use super::{child, content, cx, disk, names, open, p, put};
use crate::Disk;

const ATTRIBUTE: &CStr = c"user.portreeve.name";

async fn leave(disk: &Disk, owner: &str, path: &str, bytes: &'static str) {
    let file = open(disk, owner, path, WriteMode::Replace).await.unwrap();
    file.append(vec![bytes.into()]).await.unwrap();
    file.keep().await.unwrap();
}

/// What an owner is told of in a directory, as `name:size`.
async fn told(disk: &Disk, owner: &str, dir: &str) -> Vec<String> {
    let found = disk.partials(&cx(owner), &p(dir)).await.unwrap();
    let mut told: Vec<_> = found
        .into_iter()
        .map(|(name, partial)| format!("{name}:{}", partial.size))
        .collect();
    told.sort();
    told
}

/// The drafts in a directory of the host.
fn drafts(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_str().unwrap().ends_with(".part"))
        .collect()
}

fn label(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = [0; 300];
    let len = fgetxattr(File::open(path).unwrap(), ATTRIBUTE, &mut bytes[..]).ok()?;
    Some(bytes[..len].to_vec())
}

#[tokio::test]
async fn a_forged_label_tells_nobody_anything() {
    let (dir, disk) = disk();
    let root = dir.path().join("root");
    leave(&disk, "alice", "/secret", "12345").await;
    let draft = &drafts(&root)[0];
    let forge = |bytes: &[u8]| {
        let file = File::open(draft).unwrap();
        fsetxattr(file, ATTRIBUTE, bytes, XattrFlags::empty()).unwrap();
    };
    assert_eq!(told(&disk, "alice", "/").await, ["secret:5"]);
    assert!(told(&disk, "bob", "/").await.is_empty());
    for forged in [
        &b"other"[..],
        b"",
        b"..",
        b"../secret",
        b"se\0cret",
        b".~portreeve-x.part",
        &[b'n'; 256],
    ] {
        forge(forged);
        for owner in ["alice", "bob"] {
            assert!(told(&disk, owner, "/").await.is_empty(), "{owner}: {forged:?}");
        }
    }
    forge(b"secret");
    assert_eq!(told(&disk, "alice", "/").await, ["secret:5"]);
    // A copy under another of our names, and what is no file at all.
    let copy = root.join(".~portreeve-0.part");
    std::fs::copy(draft, &copy).unwrap();
    fsetxattr(
        File::open(copy).unwrap(),
        ATTRIBUTE,
        b"secret",
        XattrFlags::empty(),
    )
    .unwrap();
    std::fs::create_dir(root.join(".~portreeve-1.part")).unwrap();
    std::os::unix::fs::symlink(draft, root.join(".~portreeve-2.part")).unwrap();
    assert_eq!(told(&disk, "alice", "/").await, ["secret:5"]);
}

/// As on a file system without such attributes: found by its name, told of to nobody.
#[tokio::test]
async fn without_a_label_a_partial_is_gone_on_with_all_the_same() {
    let (dir, disk) = disk();
    leave(&disk, "alice", "/f", "12345").await;
    let draft = &drafts(&dir.path().join("root"))[0];
    fremovexattr(File::open(draft).unwrap(), ATTRIBUTE).unwrap();
    assert!(told(&disk, "alice", "/").await.is_empty());
    let file = open(&disk, "alice", "/f", WriteMode::Resume { at: 5 })
        .await
        .unwrap();
    file.append(vec!["67".into()]).await.unwrap();
    file.keep().await.unwrap();
    assert_eq!(told(&disk, "alice", "/").await, ["f:7"], "it is labelled anew");
}

#[tokio::test]
async fn what_is_published_bears_no_label() {
    let (dir, disk) = disk();
    let root = dir.path().join("root");
    put(&disk, "/new", b"1").await;
    put(&disk, "/large", &[7; 2 << 20]).await;
    let resumed = open(&disk, "a", "/resumed", WriteMode::Replace).await.unwrap();
    resumed.append(vec!["12".into()]).await.unwrap();
    resumed.keep().await.unwrap();
    let resumed = open(&disk, "a", "/resumed", WriteMode::Resume { at: 2 })
        .await
        .unwrap();
    resumed.commit().await.unwrap();
    let moved = open(&disk, "a", "/before", WriteMode::Replace).await.unwrap();
    moved.retarget(&p("/moved"), Rename::Replace).await.unwrap();
    moved.commit().await.unwrap();
    disk.copy(&cx("a"), &p("/new"), &p("/copied"), Rename::NoReplace)
        .await
        .unwrap();
    let updated = open(&disk, "a", "/new", WriteMode::Append { create: false })
        .await
        .unwrap();
    updated.append(vec!["2".into()]).await.unwrap();
    updated.commit().await.unwrap();
    assert_eq!(
        names(&disk, "/").await,
        ["copied", "large", "moved", "new", "resumed"]
    );
    for name in names(&disk, "/").await {
        assert_eq!(label(&root.join(&name)), None, "{name}");
    }
}

/// The commit takes the label off, and then finds its name taken.
#[tokio::test]
async fn a_commit_that_fails_leaves_a_partial_that_is_told_of() {
    let (_dir, disk) = disk();
    let file = open(&disk, "alice", "/f", WriteMode::CreateNew).await.unwrap();
    file.append(vec!["123".into()]).await.unwrap();
    put(&disk, "/f", b"first").await;
    assert!(file.commit().await.is_err());
    file.keep().await.unwrap();
    assert_eq!(told(&disk, "alice", "/").await, ["f:3"]);
    assert_eq!(content(&disk, "/f").await.unwrap(), b"first");
}

/// An upload of an existing file works on a copy under another name, until it is kept.
#[tokio::test]
async fn a_change_that_is_broken_off_is_told_of() {
    let (_dir, disk) = disk();
    put(&disk, "/f", b"123").await;
    let file = open(&disk, "alice", "/f", WriteMode::Append { create: false })
        .await
        .unwrap();
    file.append(vec!["45".into()]).await.unwrap();
    assert!(told(&disk, "alice", "/").await.is_empty(), "it is still going on");
    drop(file);
    assert_eq!(told(&disk, "alice", "/").await, ["f:5"]);
}

#[tokio::test]
async fn what_a_crash_leaves_is_told_of() {
    let (dir, disk) = disk();
    let mut uploader = child::start("large upload", &dir.path().join("root"), None).unwrap();
    assert_eq!(child::answer(&mut uploader), "written");
    assert!(told(&disk, "a", "/").await.is_empty(), "somebody writes to it");
    uploader.kill().unwrap();
    uploader.wait().unwrap();
    assert_eq!(told(&disk, "a", "/").await, ["f:3145728"]);
    assert!(told(&disk, "b", "/").await.is_empty());
}
