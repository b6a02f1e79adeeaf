//! Nothing outside the root can be reached: links of every kind, also while they are swapped.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use portreeve_vfs::{Attrs, FileSystem, FsErrorKind, FsResult, Links, Removal, Rename, WriteMode};
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use tempfile::TempDir;

use super::{content, cx, disk, disk_with, names, open, p, put};
use crate::{Disk, Symlinks};

/// A storage beside a directory with a secret in it.
fn beside_a_secret() -> (TempDir, PathBuf, Disk) {
    let (dir, disk) = disk();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/secret"), "SECRET").unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("in/deep")).unwrap();
    fs::write(root.join("in/file"), "inside").unwrap();
    (dir, root, disk)
}

fn kind<T>(done: FsResult<T>) -> FsErrorKind {
    done.map(drop).unwrap_err().kind()
}

/// Tries everything on `path`, which leads out, and sees that nothing gets there.
async fn reaches_nothing(disk: &Disk, path: &str) {
    let (cx, to) = (cx("a"), p(path));
    let refused = [FsErrorKind::Refused, FsErrorKind::NotFound, FsErrorKind::NotDir];
    let check = |what: &str, kind| assert!(refused.contains(&kind), "{what} {path}: {kind:?}");
    check("stat", kind(disk.stat(&cx, &to, Links::Follow).await));
    check("read", kind(disk.open_read(&cx, &to).await));
    check("list", kind(disk.list(&cx, &to, None).await));
    for mode in [
        WriteMode::Replace,
        WriteMode::Update { create: true },
        WriteMode::Append { create: true },
    ] {
        check("write", kind(open(disk, "a", path, mode).await));
    }
    let mode = Attrs {
        mode: Some(0o777),
        ..Attrs::default()
    };
    check("chmod", kind(disk.set_attrs(&cx, &to, mode, Links::Follow).await));
    let size = Attrs {
        size: Some(0),
        ..Attrs::default()
    };
    check(
        "truncate",
        kind(disk.set_attrs(&cx, &to, size, Links::Follow).await),
    );
    check(
        "copy",
        kind(disk.copy(&cx, &to, &p("/stolen"), Rename::Replace).await),
    );
    check(
        "copy onto",
        kind(disk.copy(&cx, &p("/in/file"), &to, Rename::Replace).await),
    );
    check(
        "partial",
        disk.partial(&cx, &to)
            .await
            .map_or_else(|e| e.kind(), |_| FsErrorKind::NotFound),
    );
}

#[tokio::test]
async fn links_that_lead_out() {
    let (dir, root, disk) = beside_a_secret();
    let outside = dir.path().join("outside");
    for (name, target) in [
        ("absolute", outside.join("secret")),
        ("absolute-dir", outside.clone()),
        ("up", PathBuf::from("../outside/secret")),
        ("up-dir", PathBuf::from("../outside")),
        ("winding", PathBuf::from("in/deep/../../../outside/secret")),
        ("chain", PathBuf::from("up")),
        ("new", PathBuf::from("../outside/new")),
        ("etc", PathBuf::from("/etc/passwd")),
        ("magic", PathBuf::from("/proc/self/root/etc/passwd")),
        ("loop", PathBuf::from("loop")),
    ] {
        symlink(target, root.join(name)).unwrap();
        reaches_nothing(&disk, &format!("/{name}")).await;
    }
    for below in ["/up-dir/secret", "/absolute-dir/secret", "/absolute-dir/new"] {
        reaches_nothing(&disk, below).await;
    }
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "SECRET");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // The text of an absolute link is a path of the host.
    assert_eq!(
        kind(disk.read_link(&cx("a"), &p("/absolute")).await),
        FsErrorKind::Refused
    );
    assert_eq!(disk.read_link(&cx("a"), &p("/chain")).await.unwrap(), b"up");
    // The link itself may be looked at, renamed and removed.
    disk.rename(&cx("a"), &p("/absolute"), &p("/renamed"), Rename::NoReplace)
        .await
        .unwrap();
    disk.remove(&cx("a"), &p("/renamed"), Removal::File)
        .await
        .unwrap();
    assert!(outside.join("secret").exists());
}

#[tokio::test]
async fn links_beneath_the_root() {
    let (_dir, root, disk) = beside_a_secret();
    symlink("deep/../file", root.join("in/link")).unwrap();
    symlink("in", root.join("dir")).unwrap();
    symlink("missing", root.join("in/dangling")).unwrap();
    assert_eq!(content(&disk, "/dir/link").await.unwrap(), b"inside");
    assert_eq!(names(&disk, "/dir").await, ["dangling", "deep", "file", "link"]);
    // V7: what is written is the target, and the link stays a link.
    put(&disk, "/dir/link", b"through").await;
    assert_eq!(fs::read_to_string(root.join("in/file")).unwrap(), "through");
    assert!(root.join("in/link").is_symlink());
    put(&disk, "/in/dangling", b"made").await;
    assert_eq!(fs::read_to_string(root.join("in/missing")).unwrap(), "made");
    assert_eq!(
        kind(open(&disk, "a", "/dir", WriteMode::Replace).await),
        FsErrorKind::IsDir
    );
}

#[tokio::test]
async fn links_that_are_not_to_be_followed() {
    let (dir, disk) = disk_with(|options| options.symlinks = Symlinks::Refuse);
    let root = dir.path().join("root");
    fs::write(root.join("file"), "x").unwrap();
    symlink("file", root.join("link")).unwrap();
    assert_eq!(
        kind(disk.open_read(&cx("a"), &p("/link")).await),
        FsErrorKind::Refused
    );
    assert_eq!(
        kind(open(&disk, "a", "/link", WriteMode::Replace).await),
        FsErrorKind::Refused
    );
    assert_eq!(names(&disk, "/").await, ["file", "link"]);
}

#[tokio::test]
async fn neither_pipes_nor_devices_are_opened() {
    let (_dir, root, disk) = beside_a_secret();
    mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    for mode in [
        WriteMode::Replace,
        WriteMode::Update { create: false },
        WriteMode::Append { create: false },
    ] {
        assert_eq!(kind(open(&disk, "a", "/pipe", mode).await), FsErrorKind::Refused);
    }
    assert_eq!(
        kind(disk.open_read(&cx("a"), &p("/pipe")).await),
        FsErrorKind::Refused
    );
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert_eq!(
        kind(disk.open_read(&cx("a"), &p("/socket")).await),
        FsErrorKind::Refused
    );
    let late = open(&disk, "a", "/late", WriteMode::Replace).await.unwrap();
    mkfifoat(CWD, root.join("late"), Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(kind(late.commit().await), FsErrorKind::Refused);
}

#[tokio::test]
async fn reserved_names_are_out_of_reach() {
    let (_dir, root, disk) = beside_a_secret();
    let file = open(&disk, "a", "/up", WriteMode::Replace).await.unwrap();
    file.append(vec!["half".into()]).await.unwrap();
    file.keep().await.unwrap();
    let hidden = fs::read_dir(&root)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let hidden = format!(
        "/{}",
        hidden
            .into_iter()
            .find(|name| name.contains("portreeve"))
            .unwrap()
    );
    assert_eq!(
        kind(disk.stat(&cx("a"), &p(&hidden), Links::Keep).await),
        FsErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.open_read(&cx("a"), &p(&hidden)).await),
        FsErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.remove(&cx("a"), &p(&hidden), Removal::File).await),
        FsErrorKind::NotFound
    );
    assert_eq!(
        kind(open(&disk, "a", &hidden, WriteMode::Replace).await),
        FsErrorKind::InvalidName
    );
    let moved = disk
        .rename(&cx("a"), &p("/in/file"), &p(&hidden), Rename::Replace)
        .await;
    assert_eq!(kind(moved), FsErrorKind::InvalidName);
    // Nor by a link of an administrator's making.
    symlink(hidden.trim_start_matches('/'), root.join("alias")).unwrap();
    assert_eq!(
        kind(open(&disk, "b", "/alias", WriteMode::Update { create: false }).await),
        FsErrorKind::NotFound
    );
}

/// Swaps `a` and `b` until told to stop.
fn swap(a: &Path, b: &Path, stop: &AtomicBool) -> u64 {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        swaps += 1;
    }
    swaps
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_while_in_use() {
    const TRIES: usize = 20_000;
    for openat2 in [true, false] {
        let (dir, root, disk) = beside_a_secret();
        let disk = if openat2 {
            disk
        } else {
            disk.as_if_without_openat2()
        };
        fs::create_dir(root.join("place")).unwrap();
        fs::write(root.join("place/secret"), "inside").unwrap();
        symlink(dir.path().join("outside"), root.join("trap")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (a, b, told) = (root.join("place"), root.join("trap"), Arc::clone(&stop));
        let swapper = std::thread::spawn(move || swap(&a, &b, &told));
        let (cx, path) = (cx("a"), p("/place/secret"));
        let (mut read, mut wrote) = (0, 0);
        for turn in 0..TRIES {
            if let Ok(file) = disk.open_read(&cx, &path).await {
                let bytes = file.read(0, 100, Vec::new()).await.unwrap();
                assert_ne!(bytes, b"SECRET");
                read += 1;
            }
            // Writing, removing and listing in it must not get out either.
            if turn % 20 == 0
                && let Ok(file) = open(&disk, "a", "/place/dropped", WriteMode::Replace).await
            {
                wrote += usize::from(file.commit().await.is_ok());
                let _ = disk.remove(&cx, &p("/place/dropped"), Removal::File).await;
                let _ = disk.remove(&cx, &p("/place/secret"), Removal::Dir).await;
            }
        }
        stop.store(true, Ordering::Relaxed);
        let swaps = swapper.join().unwrap();
        assert!(
            read > 0 && wrote > 0 && swaps > 1_000,
            "no race: {read} read, {wrote} wrote, {swaps} swaps"
        );
        let outside: Vec<_> = fs::read_dir(dir.path().join("outside")).unwrap().collect();
        assert_eq!(outside.len(), 1, "{outside:?}");
        assert_eq!(
            fs::read_to_string(dir.path().join("outside/secret")).unwrap(),
            "SECRET"
        );
    }
}
