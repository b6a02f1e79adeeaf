//! Listings that teach the cache, and files that make it forget.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::VPath;

use super::memo::Memo;
use crate::{Attrs, Cursor, Entry, FsResult, Listing, Rename, WriteFile};

pub(super) struct CachedListing {
    pub(super) inner: Box<dyn Listing>,
    pub(super) dir: VPath,
    pub(super) memo: Arc<Memo>,
}

#[async_trait]
impl Listing for CachedListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let asked = self.memo.ask();
        let page = self.inner.next(max).await?;
        for entry in &page {
            let path = entry.name.as_ref().and_then(|name| self.dir.join(name).ok());
            if let Some(path) = path {
                self.memo.learn(asked, &path, entry);
            }
        }
        Ok(page)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

pub(super) struct CachedWrite {
    inner: Arc<dyn WriteFile>,
    target: Mutex<VPath>,
    memo: Arc<Memo>,
}

impl CachedWrite {
    pub(super) fn new(inner: Arc<dyn WriteFile>, target: VPath, memo: Arc<Memo>) -> Self {
        Self {
            inner,
            target: Mutex::new(target),
            memo,
        }
    }
}

#[async_trait]
impl WriteFile for CachedWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.inner.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.inner.write(at, data).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.inner.append(data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.inner.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.inner.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        self.inner.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.retarget(to, how).await?;
        *self.target.lock() = to.clone();
        Ok(())
    }

    async fn commit(&self) -> FsResult<Entry> {
        let target = self.target.lock().clone();
        let _changes = self.memo.change(&[&target]);
        self.inner.commit().await
    }

    async fn keep(&self) -> FsResult<u64> {
        self.inner.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        self.inner.discard().await
    }
}
