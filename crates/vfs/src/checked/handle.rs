//! Open files under the capability check.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;

use crate::{Attrs, Capabilities, Entry, FsResult, ReadFile, Rename, WriteAccess, WriteFile, refusal};

/// A file that is read from the start to the end: any other order is refused.
pub(super) struct InOrder {
    inner: Arc<dyn ReadFile>,
    position: AtomicU64,
}

impl InOrder {
    pub(super) const fn new(inner: Arc<dyn ReadFile>) -> Self {
        Self {
            inner,
            position: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl ReadFile for InOrder {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        refusal::unless(
            at == self.position.load(Ordering::Acquire),
            "read in any but the file's order",
        )?;
        let before = into.len();
        let into = self.inner.read(at, len, into).await?;
        self.position
            .fetch_add((into.len() - before) as u64, Ordering::AcqRel);
        Ok(into)
    }
}

/// A file that is written as its storage can be.
pub(super) struct CheckedWrite {
    inner: Arc<dyn WriteFile>,
    caps: Capabilities,
    read_back: bool,
    only_append: bool,
    /// Where a storage that writes from the start to the end stands.
    end: AtomicU64,
}

impl CheckedWrite {
    pub(super) async fn new(
        inner: Arc<dyn WriteFile>,
        caps: Capabilities,
        read_back: bool,
        only_append: bool,
    ) -> FsResult<Self> {
        let end = inner.entry().await?.size.unwrap_or(0);
        Ok(Self {
            inner,
            caps,
            read_back,
            only_append,
            end: AtomicU64::new(end),
        })
    }
}

fn length(data: &[Bytes]) -> u64 {
    data.iter().map(|piece| piece.len() as u64).sum()
}

#[async_trait]
impl WriteFile for CheckedWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.inner.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        if self.only_append {
            return self.append(data).await.map(drop);
        }
        let stop = at.saturating_add(length(&data));
        refusal::size(&self.caps, Some(stop))?;
        let end = self.end.load(Ordering::Acquire);
        let in_order = self.caps.write == WriteAccess::Random || at == end;
        refusal::unless(in_order, "write in any but the file's order")?;
        self.inner.write(at, data).await?;
        self.end.fetch_max(stop, Ordering::AcqRel);
        Ok(())
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        if self.caps.max_file.is_some() {
            let size = self.inner.entry().await?.size.unwrap_or(0);
            refusal::size(&self.caps, Some(size.saturating_add(length(&data))))?;
        }
        let end = self.inner.append(data).await?;
        self.end.fetch_max(end, Ordering::AcqRel);
        Ok(end)
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        refusal::unless(self.read_back, "read a file that was opened for writing alone")?;
        self.inner.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        refusal::attrs(&self.caps, &attrs, self.caps.write == WriteAccess::Random)?;
        refusal::size(&self.caps, attrs.size)?;
        let attrs = refusal::settable(&self.caps, attrs);
        if attrs.is_empty() {
            return Ok(());
        }
        self.inner.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        self.inner.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        refusal::name(&self.caps, to)?;
        let how = if self.caps.replace { how } else { Rename::NoReplace };
        self.inner.retarget(to, how).await
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
