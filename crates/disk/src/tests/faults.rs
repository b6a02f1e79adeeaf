//! Crashes, full, read-only and closed file systems: each reaches the client as what it is, and nothing
//! half-done is ever visible.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use portreeve_vfs::{Attrs, FileSystem, FsErrorKind, OpenWrite, Rename, WriteMode};
use tempfile::TempDir;

use super::{child, content, cx, disk, names, open, p, put};
use crate::{Disk, Options};

/// A file system of 1 MiB, gone with the value; none where mounting is not permitted.
struct Mounted(TempDir);

impl Mounted {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if !run(
            "mount",
            &["-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "tmpfs"],
            dir.path(),
        ) {
            super::skipped("mounting is not permitted here");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l"], self.0.path());
    }
}

fn run(program: &str, args: &[&str], path: &Path) -> bool {
    let done = Command::new(program)
        .args(args)
        .arg(path)
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn full() {
    let Some(mounted) = Mounted::new() else { return };
    let disk = Disk::open(&Options::new(mounted.0.path())).unwrap();
    put(&disk, "/other", b"lives").await;
    let file = open(&disk, "a", "/big", WriteMode::Replace).await.unwrap();
    let block = Bytes::from(vec![1; 256 << 10]);
    let mut at = 0;
    let error = loop {
        match file.write(at, vec![block.clone()]).await {
            Ok(()) => at += block.len() as u64,
            Err(error) => break error,
        }
        assert!(at < 4 << 20, "a megabyte holds four");
    };
    assert_eq!(error.kind(), FsErrorKind::NoSpace);
    assert!(at > 0);
    assert_eq!(content(&disk, "/other").await.unwrap(), b"lives");
    let hinted = OpenWrite {
        size_hint: Some(2 << 20),
        ..OpenWrite::new(WriteMode::CreateNew)
    };
    let refused = disk
        .open_write(&cx("b"), &p("/hinted"), hinted)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::NoSpace);
    file.discard().await.unwrap();
    assert_eq!(disk.partial(&cx("a"), &p("/big")).await.unwrap(), None);
    put(&disk, "/big", &vec![2; 600 << 10]).await;
    // A copy that does not fit leaves nothing.
    let copied = disk
        .copy(&cx("a"), &p("/big"), &p("/twice"), Rename::NoReplace)
        .await
        .unwrap_err();
    assert_eq!(copied.kind(), FsErrorKind::NoSpace);
    assert_eq!(names(&disk, "/").await, ["big", "other"]);
    assert_eq!(fs::read_dir(mounted.0.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn kept_when_full() {
    let Some(mounted) = Mounted::new() else { return };
    let disk = Disk::open(&Options::new(mounted.0.path())).unwrap();
    let file = open(&disk, "a", "/big", WriteMode::Replace).await.unwrap();
    file.write(0, vec![vec![1; 500 << 10].into()]).await.unwrap();
    assert!(
        file.write(500 << 10, vec![vec![1; 2 << 20].into()])
            .await
            .is_err()
    );
    let kept = file.keep().await.unwrap();
    assert!(kept >= 500 << 10);
    assert_eq!(
        disk.partial(&cx("a"), &p("/big")).await.unwrap().unwrap().size,
        kept
    );
}

#[tokio::test]
async fn read_only() {
    let Some(mounted) = Mounted::new() else { return };
    let disk = Disk::open(&Options::new(mounted.0.path())).unwrap();
    put(&disk, "/f", b"x").await;
    assert!(run("mount", &["-o", "remount,ro"], mounted.0.path()));
    assert_eq!(content(&disk, "/f").await.unwrap(), b"x");
    let write = open(&disk, "a", "/f", WriteMode::Replace).await.map(drop);
    let dir = disk.make_dir(&cx("a"), &p("/d"), Attrs::default()).await;
    let rename = disk.rename(&cx("a"), &p("/f"), &p("/g"), Rename::Replace).await;
    let mode = Attrs {
        mode: Some(0o600),
        ..Attrs::default()
    };
    let chmod = disk
        .set_attrs(&cx("a"), &p("/f"), mode, portreeve_vfs::Links::Follow)
        .await;
    for done in [write, dir, rename, chmod] {
        assert_eq!(done.unwrap_err().kind(), FsErrorKind::ReadOnly);
    }
}

#[tokio::test]
async fn other_file_systems_beneath_the_root() {
    let Some(mounted) = Mounted::new() else { return };
    let root = mounted.0.path().join("root");
    fs::create_dir_all(root.join("below")).unwrap();
    assert!(run(
        "mount",
        &["-t", "tmpfs", "-o", "size=1m", "tmpfs"],
        &root.join("below")
    ));
    let disk = Disk::open(&Options::new(&root)).unwrap();
    put(&disk, "/below/f", b"x").await;
    let moved = disk
        .rename(&cx("a"), &p("/below/f"), &p("/f"), Rename::NoReplace)
        .await;
    disk.copy(&cx("a"), &p("/below/f"), &p("/copy"), Rename::NoReplace)
        .await
        .unwrap();
    drop(disk);
    run("umount", &["-l"], &root.join("below"));
    assert_eq!(moved.unwrap_err().kind(), FsErrorKind::CrossMount);
}

#[test]
fn closed() {
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("closed"), "x").unwrap();
    fs::create_dir(dir.path().join("closed-dir")).unwrap();
    for name in ["closed", "closed-dir"] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let user = rustix::process::geteuid().is_root().then_some(NOBODY);
    let Some(mut looker) = child::start("look", dir.path(), user) else {
        super::skipped("a child cannot be started as another user");
        return;
    };
    assert_eq!(child::answer(&mut looker), "Err(Denied) Err(Denied) Err(Denied)");
    looker.wait().unwrap();
}

#[tokio::test]
async fn killed_in_mid_upload() {
    let (dir, disk) = disk();
    put(&disk, "/f", b"old").await;
    let mut uploader = child::start("upload", &dir.path().join("root"), None).unwrap();
    assert_eq!(child::answer(&mut uploader), "written");
    // While it lives it is no partial: somebody writes to it.
    assert_eq!(disk.partial(&cx("a"), &p("/f")).await.unwrap(), None);
    uploader.kill().unwrap();
    uploader.wait().unwrap();
    assert_eq!(names(&disk, "/").await, ["f"]);
    assert_eq!(content(&disk, "/f").await.unwrap(), b"old");
    assert_eq!(
        disk.partial(&cx("a"), &p("/f")).await.unwrap().unwrap().size,
        100_000
    );
    assert_eq!(disk.partial(&cx("b"), &p("/f")).await.unwrap(), None);
    let file = open(&disk, "a", "/f", WriteMode::Resume { at: 100_000 })
        .await
        .unwrap();
    file.append(vec!["end".into()]).await.unwrap();
    assert_eq!(file.commit().await.unwrap().size, Some(100_003));
    assert_eq!(fs::read_dir(dir.path().join("root")).unwrap().count(), 1);
}

#[tokio::test]
async fn killed_while_appending_in_place() {
    for by_sweep in [false, true] {
        let (dir, disk) = super::disk_with(|options| options.copy_limit.0 = 0);
        put(&disk, "/f", b"old").await;
        let mut appender = child::start("append in place", &dir.path().join("root"), None).unwrap();
        assert_eq!(child::answer(&mut appender), "written");
        let second = open(&disk, "b", "/f", WriteMode::Append { create: false }).await;
        assert_eq!(second.map(drop).unwrap_err().kind(), FsErrorKind::Busy);
        appender.kill().unwrap();
        appender.wait().unwrap();
        if by_sweep {
            assert_eq!(disk.sweep().await.unwrap().recovered, 1);
            assert_eq!(fs::read(dir.path().join("root/f")).unwrap(), b"old");
        }
        assert_eq!(content(&disk, "/f").await.unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path().join("root")).unwrap().count(), 1);
    }
}

#[test]
fn a_root_that_cannot_be_opened_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let mut options = Options::new(dir.path().join("none"));
    options.create_root = false;
    for (root, want) in [
        ("none", "set `create_root = true`"),
        ("file", "must name a directory"),
        ("none/below", "make its parent directory"),
    ] {
        options.root = dir.path().join(root);
        let error = Disk::open(&options).map(drop).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(root), "{error}");
        options.create_root = true;
    }
}
