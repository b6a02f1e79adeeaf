//! What the suite cannot ask of every storage: symbolic links, a full storage, planted content.

use super::*;
use crate::{FileKind, testing::*};

#[tokio::test]
async fn links_are_followed_and_told_apart() {
    let memory = Memory::new();
    memory.plant(&path("/d/file"), b"12345").unwrap();
    for (link, target) in [
        ("/to-dir", &b"d"[..]),
        ("/absolute", b"/d/./file"),
        ("/d/up", b"../to-dir/file"),
        ("/above", b"../../../d/file"),
        ("/dangling", b"nowhere"),
        ("/loop-a", b"loop-b"),
        ("/loop-b", b"loop-a"),
    ] {
        memory.plant_link(&path(link), target).unwrap();
        let kept = memory.stat(&cx("a"), &path(link), Links::Keep).await.unwrap();
        assert_eq!(kept.kind, FileKind::Symlink, "{link}");
        assert_eq!(memory.read_link(&cx("a"), &path(link)).await.unwrap(), target);
    }
    for (name, size) in [
        ("/to-dir/file", Some(5)),
        ("/absolute", Some(5)),
        ("/d/up", Some(5)),
        ("/above", Some(5)),
        ("/dangling", None),
        ("/loop-a", None),
        ("/loop-a/x", None),
    ] {
        let entry = memory.stat(&cx("a"), &path(name), Links::Follow).await;
        assert_eq!(entry.ok().and_then(|entry| entry.size), size, "{name}");
    }
}

#[tokio::test]
async fn writing_through_a_link_keeps_the_link() {
    let memory = Memory::new();
    memory.plant(&path("/file"), b"old").unwrap();
    memory.plant_link(&path("/link"), b"file").unwrap();
    put(&memory, "/link", b"new").await.unwrap();
    assert_eq!(get(&memory, "/file").await.unwrap(), b"new");
    let kept = memory.stat(&cx("a"), &path("/link"), Links::Keep).await.unwrap();
    assert_eq!(kept.kind, FileKind::Symlink);
    let how = OpenWrite::new(WriteMode::CreateNew);
    let end = memory.open_write(&cx("a"), &path("/link"), how).await.map(drop);
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::Exists);
}

#[tokio::test]
async fn a_full_storage_says_so_and_loses_nothing() {
    let memory = Memory::limited(10);
    put(&memory, "/a", b"123456").await.unwrap();
    assert_eq!(
        put(&memory, "/b", b"12345").await.unwrap_err().kind(),
        FsErrorKind::NoSpace
    );
    put(&memory, "/b", b"1234").await.unwrap();
    let space = memory.space(&cx("a"), &VPath::root()).await.unwrap();
    assert_eq!((space.total, space.available), (10, 0));
    assert_eq!(get(&memory, "/a").await.unwrap(), b"123456");
}

#[tokio::test]
async fn a_sparse_write_does_not_eat_the_machine() {
    let memory = Memory::new();
    let how = OpenWrite::new(WriteMode::Replace);
    let file = memory.open_write(&cx("a"), &path("/huge"), how).await.unwrap();
    for at in [MAX_FILE, 1 << 40, u64::MAX] {
        let end = file.write(at, vec![bytes::Bytes::from_static(b"x")]).await;
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::TooLarge, "{at}");
    }
    assert_eq!(file.entry().await.unwrap().size, Some(0));
}
