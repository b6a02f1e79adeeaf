//! An upload into one of several mailboxes: a new name for it counts from the top of all.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{Attrs, Entry, FsError, FsErrorKind, FsResult, Rename, WriteFile};

pub(super) struct Within {
    pub(super) inner: Arc<dyn WriteFile>,
    /// The mailbox.
    pub(super) name: Name,
}

#[async_trait]
impl WriteFile for Within {
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
        let top = VPath::root()
            .join(&self.name)
            .map_err(|_| FsErrorKind::InvalidName)?;
        let Some(below) = to.strip_prefix(&top).filter(|below| !below.is_root()) else {
            return Err(FsError::new(FsErrorKind::CrossMount).context("these are different mailboxes"));
        };
        self.inner.retarget(&below, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        self.inner.commit().await
    }

    async fn keep(&self) -> FsResult<u64> {
        self.inner.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        self.inner.discard().await
    }
}
