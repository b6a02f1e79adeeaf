//! A storage that never answers at once: every call leaves the task and comes back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsResult, Links, Listing, Memory, OpCx, OpenWrite,
    Partial, ReadFile, Removal, Rename, WriteFile,
};

pub(crate) struct Slow(pub(crate) Arc<Memory>);

async fn hop() {
    tokio::task::spawn_blocking(|| {}).await.unwrap();
}

#[async_trait]
impl FileSystem for Slow {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        hop().await;
        self.0.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        hop().await;
        self.0.list(cx, dir, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        hop().await;
        Ok(Arc::new(SlowRead(self.0.open_read(cx, file).await?)))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        hop().await;
        Ok(Arc::new(SlowWrite(self.0.open_write(cx, file, how).await?)))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        hop().await;
        self.0.partial(cx, file).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        hop().await;
        self.0.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        hop().await;
        self.0.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        hop().await;
        self.0.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        hop().await;
        self.0.set_attrs(cx, path, attrs, links).await
    }
}

struct SlowRead(Arc<dyn ReadFile>);

#[async_trait]
impl ReadFile for SlowRead {
    fn entry(&self) -> &Entry {
        self.0.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        hop().await;
        self.0.read(at, len, into).await
    }
}

struct SlowWrite(Arc<dyn WriteFile>);

#[async_trait]
impl WriteFile for SlowWrite {
    async fn entry(&self) -> FsResult<Entry> {
        hop().await;
        self.0.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        hop().await;
        self.0.write(at, data).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        hop().await;
        self.0.append(data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        hop().await;
        self.0.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        hop().await;
        self.0.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        hop().await;
        self.0.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        hop().await;
        self.0.retarget(to, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        hop().await;
        self.0.commit().await
    }

    async fn keep(&self) -> FsResult<u64> {
        hop().await;
        self.0.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        hop().await;
        self.0.discard().await
    }
}
