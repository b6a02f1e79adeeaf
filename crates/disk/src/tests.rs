//! The storage as a whole: what the conformance suite cannot know about a disk.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use portreeve_model::{SessionId, VPath};
use portreeve_vfs::{
    Attrs, FileSystem, FsErrorKind, FsResult, Links, OpCx, OpenWrite, Owner, Removal, Rename, WriteFile,
    WriteMode,
};
use tempfile::TempDir;

use crate::{Disk, Options};

mod changes;
mod child;
mod commit;
mod confinement;
mod conformance;
mod faults;
mod labels;
mod large;
mod partials;

/// Notes for `tests/run` that something cannot be tried here. In CI it has to be.
pub(crate) fn skipped(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot run here: {why}"
    );
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("PORTREEVE_SKIPS")
        && let Ok(mut list) = std::fs::File::options().append(true).create(true).open(path)
    {
        let _ = std::io::Write::write_all(&mut list, format!("{why}\n").as_bytes());
    }
}

pub(crate) fn cx(owner: &str) -> OpCx {
    OpCx::new(SessionId::fresh(), Owner(owner.into()), Default::default())
}

pub(crate) fn p(path: &str) -> VPath {
    VPath::parse(path).unwrap()
}

pub(crate) fn disk() -> (TempDir, Disk) {
    disk_with(|_| ())
}

pub(crate) fn disk_with(change: impl FnOnce(&mut Options)) -> (TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("root"));
    change(&mut options);
    let disk = Disk::open(&options).unwrap();
    (dir, disk)
}

pub(crate) async fn open(
    disk: &Disk,
    owner: &str,
    path: &str,
    mode: WriteMode,
) -> FsResult<Arc<dyn WriteFile>> {
    disk.open_write(&cx(owner), &p(path), OpenWrite::new(mode)).await
}

pub(crate) async fn put(disk: &Disk, path: &str, content: &[u8]) {
    let file = open(disk, "a", path, WriteMode::Replace).await.unwrap();
    file.write(0, vec![Bytes::copy_from_slice(content)])
        .await
        .unwrap();
    file.commit().await.unwrap();
}

pub(crate) async fn content(disk: &Disk, path: &str) -> FsResult<Vec<u8>> {
    let file = disk.open_read(&cx("a"), &p(path)).await?;
    file.read(0, 1 << 20, Vec::new()).await
}

pub(crate) async fn names(disk: &Disk, path: &str) -> Vec<String> {
    let mut listing = disk.list(&cx("a"), &p(path), None).await.unwrap();
    let mut names = Vec::new();
    loop {
        let batch = listing.next(100).await.unwrap();
        if batch.is_empty() {
            names.sort();
            return names;
        }
        names.extend(batch.into_iter().map(|entry| entry.name.unwrap().to_string()));
    }
}

fn on_disk(root: &Path) -> usize {
    std::fs::read_dir(root).unwrap().count()
}

#[tokio::test]
async fn an_upload_is_visible_whole_or_not_at_all() {
    let (dir, disk) = disk();
    let file = open(&disk, "a", "/f", WriteMode::CreateNew).await.unwrap();
    file.write(
        3,
        vec![Bytes::from_static(b"de"), Bytes::new(), Bytes::from_static(b"f")],
    )
    .await
    .unwrap();
    file.write(0, vec![Bytes::from_static(b"abc")]).await.unwrap();
    assert_eq!(file.entry().await.unwrap().size, Some(6));
    assert!(names(&disk, "/").await.is_empty());
    assert_eq!(
        disk.stat(&cx("a"), &p("/f"), Links::Follow)
            .await
            .unwrap_err()
            .kind(),
        FsErrorKind::NotFound
    );
    let entry = file.commit().await.unwrap();
    assert_eq!((entry.size, entry.mode), (Some(6), Some(0o640)));
    assert_eq!(content(&disk, "/f").await.unwrap(), b"abcdef");
    assert_eq!(names(&disk, "/").await, ["f"]);
    assert_eq!(on_disk(&dir.path().join("root")), 1);
    assert_eq!(file.commit().await.unwrap_err().kind(), FsErrorKind::Conflict);
    drop(file);
    assert_eq!(content(&disk, "/f").await.unwrap(), b"abcdef");
}

#[tokio::test]
async fn basic_operations() {
    let (_dir, disk) = disk();
    disk.make_dir(&cx("a"), &p("/d"), Attrs::default()).await.unwrap();
    put(&disk, "/d/x", b"1").await;
    let entry = disk.stat(&cx("a"), &p("/d"), Links::Keep).await.unwrap();
    assert_eq!(entry.mode, Some(0o750));
    disk.rename(&cx("a"), &p("/d/x"), &p("/y"), Rename::NoReplace)
        .await
        .unwrap();
    put(&disk, "/z", b"2").await;
    let taken = disk
        .rename(&cx("a"), &p("/z"), &p("/y"), Rename::NoReplace)
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), FsErrorKind::Exists);
    disk.rename(&cx("a"), &p("/z"), &p("/y"), Rename::Replace)
        .await
        .unwrap();
    assert_eq!(content(&disk, "/y").await.unwrap(), b"2");
    disk.copy(&cx("a"), &p("/y"), &p("/d/c"), Rename::NoReplace)
        .await
        .unwrap();
    assert_eq!(content(&disk, "/d/c").await.unwrap(), b"2");
    disk.remove(&cx("a"), &p("/d/c"), Removal::File).await.unwrap();
    disk.remove(&cx("a"), &p("/d"), Removal::Dir).await.unwrap();
    assert_eq!(names(&disk, "/").await, ["y"]);
}
