//! Open files and listings that are waited for, but not for ever.
//!
//! Reads are repeated; what changes a file, and a listing that moves on by being asked, are not.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;

use super::PatienceLimits;
use crate::{Attrs, Cursor, Entry, FsErrorKind, FsResult, Listing, ReadFile, Rename, WriteFile};

pub(super) struct PatientListing {
    pub(super) inner: Box<dyn Listing>,
    pub(super) limits: PatienceLimits,
}

#[async_trait]
impl Listing for PatientListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let page = tokio::time::timeout(self.limits.timeout, self.inner.next(max));
        page.await.unwrap_or_else(|_| Err(FsErrorKind::TimedOut.into()))
    }

    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

pub(super) struct PatientRead {
    pub(super) inner: Arc<dyn ReadFile>,
    pub(super) limits: PatienceLimits,
}

#[async_trait]
impl ReadFile for PatientRead {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        // The caller's buffer is not lent to a try that may fail and take it along.
        let got = self
            .limits
            .repeat(|| self.inner.read(at, len, Vec::new()))
            .await?;
        if into.is_empty() && into.capacity() == 0 {
            return Ok(got);
        }
        into.extend_from_slice(&got);
        Ok(into)
    }
}

pub(super) struct PatientWrite {
    pub(super) inner: Arc<dyn WriteFile>,
    pub(super) limits: PatienceLimits,
}

#[async_trait]
impl WriteFile for PatientWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.limits.repeat(|| self.inner.entry()).await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.limits.once(self.inner.write(at, data)).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.limits.once(self.inner.append(data)).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.limits.once(self.inner.read(at, len, into)).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.limits.once(self.inner.set_attrs(attrs)).await
    }

    async fn sync(&self) -> FsResult<()> {
        self.limits.once(self.inner.sync()).await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        self.limits.once(self.inner.retarget(to, how)).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        self.limits.once(self.inner.commit()).await
    }

    async fn keep(&self) -> FsResult<u64> {
        self.limits.once(self.inner.keep()).await
    }

    async fn discard(&self) -> FsResult<()> {
        self.limits.once(self.inner.discard()).await
    }
}
