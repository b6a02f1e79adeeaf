//! Open files whose new name comes in another tree's terms. Their storage's panics end here.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;

use crate::{Attrs, Entry, FsResult, Rename, WriteFile, contained::contained};

/// Where a path of the outer tree lies in the inner one; refuses what lies outside.
pub(crate) trait Remap: Send + Sync {
    fn inner(&self, path: &VPath) -> FsResult<VPath>;
}

/// A file of the inner tree, held by somebody who sees the outer one. Only `retarget` differs, and that a
/// panic is an error.
pub(crate) struct Remapped<M> {
    pub(crate) file: Arc<dyn WriteFile>,
    pub(crate) map: M,
}

#[async_trait]
impl<M: Remap> WriteFile for Remapped<M> {
    async fn entry(&self) -> FsResult<Entry> {
        contained(self.file.entry()).await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        contained(self.file.write(at, data)).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        contained(self.file.append(data)).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        contained(self.file.read(at, len, into)).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        contained(self.file.set_attrs(attrs)).await
    }

    async fn sync(&self) -> FsResult<()> {
        contained(self.file.sync()).await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        let to = self.map.inner(to)?;
        contained(self.file.retarget(&to, how)).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        contained(self.file.commit()).await
    }

    async fn keep(&self) -> FsResult<u64> {
        contained(self.file.keep()).await
    }

    async fn discard(&self) -> FsResult<()> {
        contained(self.file.discard()).await
    }
}
