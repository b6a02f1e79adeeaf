//! A file that its storage reads from the start on, read in any order.
//!
//! Invariant: every byte is fetched once, in order; a read waits until the spool reaches its end. A fetch
//! that has begun goes on though nobody waits for it any more: the storage has moved on, and cannot be
//! asked for the same bytes again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::file::SpoolFile;
use crate::{Entry, FsErrorKind, FsResult, ReadFile};

/// How much is fetched at a time.
const PIECE: usize = 256 << 10;

pub(super) struct SpoolRead(Arc<Fetched>);

struct Fetched {
    inner: Arc<dyn ReadFile>,
    spool: SpoolFile,
    /// Bytes that are there: they grow only under `fetching`.
    filled: AtomicU64,
    done: AtomicBool,
    /// One fetches; the others wait for it.
    fetching: Mutex<()>,
}

impl SpoolRead {
    pub(super) fn new(inner: Arc<dyn ReadFile>, spool: SpoolFile) -> Self {
        Self(Arc::new(Fetched {
            inner,
            spool,
            filled: AtomicU64::new(0),
            done: AtomicBool::new(false),
            fetching: Mutex::new(()),
        }))
    }
}

impl Fetched {
    fn covers(&self, end: u64) -> bool {
        self.done.load(Ordering::Acquire) || self.filled.load(Ordering::Acquire) >= end
    }

    async fn reach(&self, end: u64) -> FsResult<()> {
        let _turn = self.fetching.lock().await;
        while !self.covers(end) {
            let at = self.filled.load(Ordering::Acquire);
            let piece = self.inner.read(at, PIECE, Vec::with_capacity(PIECE)).await?;
            if piece.is_empty() {
                self.done.store(true, Ordering::Release);
                return Ok(());
            }
            let stop = self.spool.write(Some(at), vec![Bytes::from(piece)]).await?;
            self.filled.store(stop, Ordering::Release);
        }
        Ok(())
    }
}

#[async_trait]
impl ReadFile for SpoolRead {
    fn entry(&self) -> &Entry {
        self.0.inner.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        let (file, end) = (&self.0, at.saturating_add(len as u64));
        // Beyond an end that is known there is nothing to fetch for.
        if len == 0 || file.inner.entry().size.is_some_and(|size| at >= size) {
            return Ok(into);
        }
        if !file.covers(end) {
            let fetched = Arc::clone(file);
            let fetch = tokio::spawn(async move { fetched.reach(end).await });
            fetch.await.map_err(|_| FsErrorKind::Cancelled)??;
        }
        file.spool.read(at, len, into).await
    }
}
