//! Patience under a clock that stands still until somebody waits.

use super::*;
use crate::{Call, Fault, Faulty, Memory, WriteMode, testing::*};

fn faulty() -> (Arc<Faulty>, Patience) {
    let memory = Memory::new();
    memory.plant(&path("/file"), b"content").unwrap();
    let below = Arc::new(Faulty::over(Arc::new(memory)));
    (below.clone(), Patience::over(below, PatienceLimits::default()))
}

fn fails(below: &Faulty, times: u64, kind: FsErrorKind, retry: Retry) {
    let error = FsError::new(kind).retry_advice(retry);
    below.set(Fault {
        call: None,
        nth: 1,
        times,
        error,
    });
}

#[tokio::test(start_paused = true)]
async fn asks_again_as_advised() {
    let after = |seconds| Retry::After(Duration::from_secs(seconds));
    let throttled = FsErrorKind::Throttled;
    for (times, retry, calls, waited, succeeds) in [
        (0, Retry::Soon, 1, 0, true),
        (1, Retry::Soon, 2, 200, true),
        (3, Retry::Soon, 4, 200 + 400 + 800, true),
        (4, Retry::Soon, 4, 200 + 400 + 800, false),
        (1, Retry::Never, 1, 0, false),
        (2, after(7), 3, 14_000, true),
        (1, after(20), 2, 20_000, true),
        (1, after(21), 1, 0, false),
    ] {
        let (below, fs) = faulty();
        fails(&below, times, throttled, retry);
        let start = Instant::now();
        let end = fs.stat(&cx("a"), &path("/file"), Links::Keep).await;
        let row = (times, retry);
        assert_eq!(end.is_ok(), succeeds, "{row:?}");
        assert_eq!(below.calls(), calls, "{row:?}");
        assert_eq!(start.elapsed().as_millis(), waited, "{row:?}");
        if let Err(e) = end {
            assert_eq!(
                (e.kind(), e.retry()),
                (throttled, retry),
                "the store's own error is passed on"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_never_repeated() {
    let (below, fs) = faulty();
    let (me, file, new) = (cx("alice"), path("/file"), path("/new"));
    fails(&below, u64::MAX, FsErrorKind::Throttled, Retry::Soon);
    let how = Rename::Replace;
    for end in [
        fs.remove(&me, &file, Removal::File).await,
        fs.rename(&me, &file, &new, how).await,
        fs.make_dir(&me, &new, Attrs::default()).await,
        fs.set_attrs(&me, &file, Attrs::default(), Links::Keep).await,
        fs.copy(&me, &file, &new, how).await,
        fs.link(&me, &file, &new).await,
        fs.open_write(&me, &new, OpenWrite::new(WriteMode::CreateNew))
            .await
            .map(drop),
    ] {
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::Throttled);
    }
    assert_eq!(below.calls(), 7);
}

#[tokio::test(start_paused = true)]
async fn reads_are_repeated_and_keep_the_callers_buffer() {
    let (below, fs) = faulty();
    let file = fs.open_read(&cx("a"), &path("/file")).await.unwrap();
    fails(&below, 2, FsErrorKind::Backend, Retry::Soon);
    assert_eq!(file.read(3, 2, b"head".to_vec()).await.unwrap(), b"headte");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_and_the_end_of_the_session_end_the_wait() {
    let (below, fs) = faulty();
    fails(
        &below,
        u64::MAX,
        FsErrorKind::Throttled,
        Retry::After(Duration::from_secs(15)),
    );
    let mut me = cx("a");
    me.deadline = Some((Instant::now() + Duration::from_secs(5)).into_std());
    let start = Instant::now();
    let end = fs.stat(&me, &path("/file"), Links::Keep).await;
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let me = cx("a");
    let file = path("/file");
    let waiting = fs.stat(&me, &file, Links::Keep);
    let (end, ()) = tokio::join!(waiting, async { me.cancel.cancel() });
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::Cancelled);
}

/// A storage that never answers.
struct Silent(Memory);

#[async_trait]
impl FileSystem for Silent {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }
    async fn stat(&self, _: &OpCx, _: &VPath, _: Links) -> FsResult<Entry> {
        std::future::pending().await
    }
    async fn list(&self, _: &OpCx, _: &VPath, _: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        std::future::pending().await
    }
    async fn open_read(&self, _: &OpCx, _: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        std::future::pending().await
    }
    async fn open_write(&self, _: &OpCx, _: &VPath, _: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        std::future::pending().await
    }
    async fn partial(&self, _: &OpCx, _: &VPath) -> FsResult<Option<Partial>> {
        std::future::pending().await
    }
    async fn make_dir(&self, _: &OpCx, _: &VPath, _: Attrs) -> FsResult<()> {
        std::future::pending().await
    }
    async fn remove(&self, _: &OpCx, _: &VPath, _: Removal) -> FsResult<()> {
        std::future::pending().await
    }
    async fn rename(&self, _: &OpCx, _: &VPath, _: &VPath, _: Rename) -> FsResult<()> {
        std::future::pending().await
    }
    async fn set_attrs(&self, _: &OpCx, _: &VPath, _: Attrs, _: Links) -> FsResult<()> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_a_timeout() {
    let fs = Patience::over(Arc::new(Silent(Memory::new())), PatienceLimits::default());
    let start = Instant::now();
    let end = fs.stat(&cx("a"), &path("/file"), Links::Keep).await;
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_millis(), 4 * 30_000 + 200 + 400 + 800);
    let start = Instant::now();
    let end = fs
        .remove(&cx("a"), &path("/file"), Removal::File)
        .await
        .unwrap_err();
    assert_eq!(end.kind(), FsErrorKind::TimedOut);
    assert!(end.message().contains("may have been done"), "{end}");
    assert_eq!(start.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_of_the_store_counts() {
    let (below, fs) = faulty();
    below.set(Fault {
        call: Some(Call::Next),
        nth: 1,
        times: 1,
        error: FsError::new(FsErrorKind::Throttled).retry_advice(Retry::Soon),
    });
    let mut listing = fs.list(&cx("a"), &path("/"), None).await.unwrap();
    assert_eq!(listing.next(9).await.unwrap_err().kind(), FsErrorKind::Throttled);
    assert_eq!(rest(&mut *listing, 9).await.unwrap(), ["file"]);
}
