//! The cache over a memory that counts what reaches it.

use super::*;
use crate::{Faulty, FsErrorKind, Memory, WriteMode, testing::*};

fn cached(limits: CacheLimits) -> (Memory, Arc<Faulty>, Cache) {
    let memory = Memory::new();
    for name in ["/d/a", "/d/b", "/d/c", "/d-side/x"] {
        memory.plant(&path(name), b"12").unwrap();
    }
    let below = Arc::new(Faulty::over(Arc::new(memory.clone())));
    (memory, below.clone(), Cache::over(below, limits))
}

async fn size(fs: &Cache, name: &str) -> Result<Option<u64>, FsErrorKind> {
    let entry = fs.stat(&cx("a"), &path(name), Links::Keep).await;
    entry.map(|entry| entry.size).map_err(|e| e.kind())
}

#[tokio::test]
async fn a_listing_answers_the_lookups_that_follow() {
    let (_, below, fs) = cached(CacheLimits::default());
    names(&fs, "/d").await.unwrap();
    let before = below.calls();
    for name in ["/d/a", "/d/b", "/d/c", "/d/a"] {
        assert_eq!(size(&fs, name).await, Ok(Some(2)));
        assert!(fs.stat(&cx("a"), &path(name), Links::Follow).await.is_ok());
    }
    assert_eq!(below.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn answers_grow_old() {
    let ttl = Duration::from_secs(5);
    let (_, below, fs) = cached(CacheLimits { ttl, entries: 10 });
    size(&fs, "/d/a").await.unwrap();
    tokio::time::advance(ttl - Duration::from_millis(1)).await;
    size(&fs, "/d/a").await.unwrap();
    assert_eq!(below.calls(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    size(&fs, "/d/a").await.unwrap();
    assert_eq!(below.calls(), 2);
}

#[tokio::test]
async fn absence_is_not_remembered() {
    let (memory, _, fs) = cached(CacheLimits::default());
    names(&fs, "/d").await.unwrap();
    assert_eq!(size(&fs, "/d/new").await, Err(FsErrorKind::NotFound));
    memory.plant(&path("/d/new"), b"1").unwrap();
    assert_eq!(size(&fs, "/d/new").await, Ok(Some(1)));
}

#[tokio::test]
async fn every_change_through_it_is_seen_at_once() {
    let (_, _, fs) = cached(CacheLimits::default());
    let me = cx("alice");
    let missing = Err(FsErrorKind::NotFound);
    names(&fs, "/d").await.unwrap();
    put(&fs, "/d/a", b"longer").await.unwrap();
    assert_eq!(size(&fs, "/d/a").await, Ok(Some(6)));
    let cut = Attrs {
        size: Some(1),
        ..Attrs::default()
    };
    fs.set_attrs(&me, &path("/d/a"), cut, Links::Follow)
        .await
        .unwrap();
    assert_eq!(size(&fs, "/d/a").await, Ok(Some(1)));
    names(&fs, "/d").await.unwrap();
    fs.copy(&me, &path("/d/a"), &path("/d/b"), Rename::Replace)
        .await
        .unwrap();
    assert_eq!(size(&fs, "/d/b").await, Ok(Some(1)));
    fs.rename(&me, &path("/d/a"), &path("/d/c"), Rename::Replace)
        .await
        .unwrap();
    assert_eq!(size(&fs, "/d/a").await, missing);
    assert_eq!(size(&fs, "/d/c").await, Ok(Some(1)));
    names(&fs, "/d").await.unwrap();
    names(&fs, "/d-side").await.unwrap();
    fs.rename(&me, &path("/d"), &path("/e"), Rename::Replace)
        .await
        .unwrap();
    assert_eq!(size(&fs, "/d/c").await, missing);
    assert_eq!(size(&fs, "/d-side/x").await, Ok(Some(2)));
    fs.remove(&me, &path("/e/c"), Removal::File).await.unwrap();
    assert_eq!(size(&fs, "/e/c").await, missing);
    names(&fs, "/e").await.unwrap();
    let how = OpenWrite::new(WriteMode::CreateNew);
    let file = fs.open_write(&me, &path("/e/new"), how).await.unwrap();
    file.retarget(&path("/e/b"), Rename::Replace).await.unwrap();
    assert_eq!(size(&fs, "/e/b").await, Ok(Some(1)));
    file.commit().await.unwrap();
    assert_eq!(size(&fs, "/e/b").await, Ok(Some(0)));
}

#[tokio::test]
async fn a_page_that_was_under_way_during_a_change_teaches_nothing() {
    let (_, _, fs) = cached(CacheLimits::default());
    let asked = fs.memo.ask();
    let old = fs.inner.stat(&cx("a"), &path("/d/a"), Links::Keep).await.unwrap();
    put(&fs, "/d/a", b"longer").await.unwrap();
    fs.memo.learn(asked, &path("/d/a"), &old);
    assert_eq!(size(&fs, "/d/a").await, Ok(Some(6)));
}

#[tokio::test]
async fn links_are_not_taken_for_their_targets() {
    let (memory, _, fs) = cached(CacheLimits::default());
    memory.plant_link(&path("/d/link"), b"a").unwrap();
    names(&fs, "/d").await.unwrap();
    fs.stat(&cx("a"), &path("/d/link"), Links::Follow).await.unwrap();
    let kept = fs.stat(&cx("a"), &path("/d/link"), Links::Keep).await.unwrap();
    let followed = fs.stat(&cx("a"), &path("/d/link"), Links::Follow).await.unwrap();
    assert_eq!(
        (kept.kind, followed.kind),
        (crate::FileKind::Symlink, crate::FileKind::File)
    );
    let cut = Attrs {
        size: Some(0),
        ..Attrs::default()
    };
    fs.set_attrs(&cx("a"), &path("/d/link"), cut, Links::Follow)
        .await
        .unwrap();
    assert_eq!(size(&fs, "/d/a").await, Ok(Some(0)));
}

#[tokio::test]
async fn holds_no_more_than_it_may() {
    let entries = 3;
    let (memory, below, fs) = cached(CacheLimits {
        entries,
        ..CacheLimits::default()
    });
    for i in 0..50 {
        memory.plant(&path(&format!("/many/{i:02}")), b"").unwrap();
    }
    for _ in 0..3 {
        names(&fs, "/many").await.unwrap();
        assert!(fs.memo.len() <= entries);
    }
    let before = below.calls();
    size(&fs, "/many/49").await.unwrap();
    assert_eq!(below.calls(), before, "the newest are the ones kept");
}
