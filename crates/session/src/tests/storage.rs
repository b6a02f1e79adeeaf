//! A storage whose commits and renames are done at once but answered only when told: what a client sees
//! that hangs up in mid-act.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsResult, Links, Listing, Memory, OpCx, OpenWrite,
    Partial, ReadFile, Removal, Rename, WriteFile,
};
use tokio::sync::Semaphore;

pub(super) struct Slow {
    pub(super) memory: Memory,
    /// One permit for each answer.
    pub(super) answers: Arc<Semaphore>,
}

impl Slow {
    pub(super) fn new() -> (Self, Memory, Arc<Semaphore>) {
        let (memory, answers) = (Memory::new(), Arc::new(Semaphore::new(0)));
        let slow = Self {
            memory: memory.clone(),
            answers: Arc::clone(&answers),
        };
        (slow, memory, answers)
    }
}

#[async_trait]
impl FileSystem for Slow {
    fn capabilities(&self) -> &Capabilities {
        self.memory.capabilities()
    }
    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.memory.stat(cx, path, links).await
    }
    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.memory.list(cx, dir, from).await
    }
    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.memory.open_read(cx, file).await
    }
    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let file = self.memory.open_write(cx, file, how).await?;
        Ok(Arc::new(SlowFile {
            file,
            answers: Arc::clone(&self.answers),
        }))
    }
    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.memory.partial(cx, file).await
    }
    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.memory.make_dir(cx, dir, attrs).await
    }
    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.memory.remove(cx, path, what).await
    }
    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let done = self.memory.rename(cx, from, to, how).await;
        self.answers.acquire().await.unwrap().forget();
        done
    }
    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.memory.set_attrs(cx, path, attrs, links).await
    }
}

struct SlowFile {
    file: Arc<dyn WriteFile>,
    answers: Arc<Semaphore>,
}

#[async_trait]
impl WriteFile for SlowFile {
    async fn entry(&self) -> FsResult<Entry> {
        self.file.entry().await
    }
    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.file.write(at, data).await
    }
    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.file.append(data).await
    }
    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.file.set_attrs(attrs).await
    }
    async fn sync(&self) -> FsResult<()> {
        self.file.sync().await
    }
    async fn commit(&self) -> FsResult<Entry> {
        let done = self.file.commit().await;
        self.answers.acquire().await.unwrap().forget();
        done
    }
    async fn keep(&self) -> FsResult<u64> {
        self.file.keep().await
    }
    async fn discard(&self) -> FsResult<()> {
        self.file.discard().await
    }
}
