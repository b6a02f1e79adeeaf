//! A storage that never answers at once: every call leaves the task and comes back, when the test lets it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsResult, Links, Listing, Memory, OpCx, OpenWrite,
    Partial, ReadFile, Removal, Rename, Space, WriteFile,
};
use tokio::sync::Semaphore;

pub(crate) struct Slow(pub(crate) Arc<Memory>, pub(crate) Arc<Pace>);

impl Slow {
    pub(crate) fn over(memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(memory), Arc::default()))
    }
}

/// When calls are answered.
pub(crate) struct Pace {
    /// What each WRITE takes one of, for good.
    pub(crate) writes: Semaphore,
    calls: AtomicU64,
    panics_at: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            writes: Semaphore::new(Semaphore::MAX_PERMITS),
            calls: AtomicU64::new(0),
            panics_at: AtomicU64::new(u64::MAX),
        }
    }
}

impl Pace {
    /// No WRITE is answered before as many as are to be were let through by `writes.add_permits`.
    pub(crate) fn hold_writes(&self) {
        self.writes.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// The `n`th call from now on panics, from 0: where it begins, or (every other one) after waiting.
    pub(crate) fn panic_after(&self, n: u64) {
        let at = self.calls.load(Ordering::SeqCst) + n;
        self.panics_at.store(at, Ordering::SeqCst);
    }

    /// Whether the call that [`Pace::panic_after`] meant came.
    pub(crate) fn has_panicked(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.panics_at.load(Ordering::SeqCst)
    }

    async fn hop(&self) {
        let n = self.calls.fetch_add(1, Ordering::SeqCst);
        let told = n == self.panics_at.load(Ordering::SeqCst);
        assert!(!told || n.is_multiple_of(2), "told to panic at once");
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        assert!(!told, "told to panic late");
    }

    async fn write(&self) {
        self.hop().await;
        self.writes.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl FileSystem for Slow {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.1.hop().await;
        self.0.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.1.hop().await;
        self.0.list(cx, dir, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.1.hop().await;
        Ok(Arc::new(SlowRead(
            self.0.open_read(cx, file).await?,
            Arc::clone(&self.1),
        )))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        self.1.hop().await;
        Ok(Arc::new(SlowWrite(
            self.0.open_write(cx, file, how).await?,
            Arc::clone(&self.1),
        )))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.1.hop().await;
        self.0.partial(cx, file).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.1.hop().await;
        self.0.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.1.hop().await;
        self.0.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.1.hop().await;
        self.0.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.1.hop().await;
        self.0.set_attrs(cx, path, attrs, links).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.1.hop().await;
        self.0.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.1.hop().await;
        self.0.link(cx, existing, new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.1.hop().await;
        self.0.read_link(cx, path).await
    }
}

struct SlowRead(Arc<dyn ReadFile>, Arc<Pace>);

#[async_trait]
impl ReadFile for SlowRead {
    fn entry(&self) -> &Entry {
        self.0.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.1.hop().await;
        self.0.read(at, len, into).await
    }
}

struct SlowWrite(Arc<dyn WriteFile>, Arc<Pace>);

#[async_trait]
impl WriteFile for SlowWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.1.hop().await;
        self.0.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.1.write().await;
        self.0.write(at, data).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.1.write().await;
        self.0.append(data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.1.hop().await;
        self.0.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.1.hop().await;
        self.0.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        self.1.hop().await;
        self.0.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        self.1.hop().await;
        self.0.retarget(to, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        self.1.hop().await;
        self.0.commit().await
    }

    async fn keep(&self) -> FsResult<u64> {
        self.1.hop().await;
        self.0.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        self.1.hop().await;
        self.0.discard().await
    }
}
