//! A short memory of look-ups for remote stores: a listing answers the look-ups that follow it.
//!
//! Invariants: bounded in number and age; absence is never remembered, so what others make is seen at
//! once; what is changed through this layer is forgotten before the change is answered, and answers
//! that were under way meanwhile are not remembered. What *others* remove or change may be told as
//! it was for as long as `ttl`: never more than that.

mod handle;
mod memo;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsResult, Links, Listing, OpCx, OpenWrite, Partial,
    ReadFile, Removal, Rename, Space, WriteFile,
};
use handle::{CachedListing, CachedWrite};
use memo::Memo;

/// How much is remembered, and how long.
#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// How long an answer counts.
    pub ttl: Duration,
    /// How many answers are held; the oldest goes first.
    pub entries: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            entries: 20_000,
        }
    }
}

/// A storage whose listings are remembered for the look-ups that follow.
pub struct Cache {
    inner: Arc<dyn FileSystem>,
    memo: Arc<Memo>,
}

impl Cache {
    /// Remembers what `inner` says.
    #[must_use]
    pub fn over(inner: Arc<dyn FileSystem>, limits: CacheLimits) -> Self {
        Self {
            inner,
            memo: Arc::new(Memo::new(limits)),
        }
    }
}

#[async_trait]
impl FileSystem for Cache {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        if let Some(entry) = self.memo.find(path) {
            return Ok(entry);
        }
        let asked = self.memo.ask();
        let entry = self.inner.stat(cx, path, links).await?;
        // What was followed may be the target's answer, which is no answer about the link.
        if links == Links::Keep {
            self.memo.learn(asked, path, &entry);
        }
        Ok(entry)
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let inner = self.inner.list(cx, dir, from).await?;
        Ok(Box::new(CachedListing {
            inner,
            dir: dir.clone(),
            memo: self.memo.clone(),
        }))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.inner.open_read(cx, file).await
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let inner = self.inner.open_write(cx, file, how).await?;
        Ok(Arc::new(CachedWrite::new(inner, file.clone(), self.memo.clone())))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.inner.partial(cx, file).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        self.inner.partials(cx, dir).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        let _changes = self.memo.change(&[dir]);
        self.inner.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        let _changes = self.memo.change(&[path]);
        self.inner.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let _changes = self.memo.change(&[from, to]);
        self.inner.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        // Through a symbolic link it changes an entry of another name: then nothing is sure any more.
        let _changes = self
            .memo
            .change_through(path, links, self.capabilities().symlinks);
        self.inner.set_attrs(cx, path, attrs, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let _changes = self.memo.change(&[to]);
        self.inner.copy(cx, from, to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.inner.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        let _changes = self.memo.change(&[existing, new]);
        self.inner.link(cx, existing, new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.inner.read_link(cx, path).await
    }
}

#[cfg(test)]
mod tests;
