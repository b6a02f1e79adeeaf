//! The spool: a storage that reads or writes only from the start to the end, made random access
//! through temporary files of bounded size.
//!
//! Invariants: what the storage can do by itself passes untouched; a spooled upload reaches the
//! storage at commit, whole, or not at all. Since the spool has no memory beyond the process, spooled
//! uploads cannot be resumed: `keep` discards.

mod area;
mod file;
mod read;
mod sealed;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsErrorKind, FsResult, Links, Listing, OpCx, OpenWrite,
    Partial, Ranges, ReadFile, Removal, Rename, Space, WriteAccess, WriteFile, WriteMode, refusal,
};
pub use area::SpoolArea;
pub use file::SpoolFile;
use read::SpoolRead;
use write::SpoolWrite;

/// How much of an existing file is fetched at a time.
const PIECE: usize = 256 << 10;

/// A storage with random access through a spool.
pub struct Spool {
    inner: Arc<dyn FileSystem>,
    area: Arc<SpoolArea>,
    caps: Capabilities,
    reads: bool,
    writes: bool,
}

impl Spool {
    /// Gives `inner` what it lacks of random access.
    #[must_use]
    pub fn over(inner: Arc<dyn FileSystem>, area: Arc<SpoolArea>) -> Self {
        let mut caps = inner.capabilities().clone();
        let reads = caps.ranges == Ranges::Sequential;
        let writes = caps.write == WriteAccess::Sequential;
        caps.ranges = Ranges::Native;
        if writes {
            caps.write = WriteAccess::Random;
            // What is there is fetched, changed in the spool, and put back whole.
            caps.update = caps.replace;
            caps.append = caps.replace;
            caps.resume = false;
            caps.list_partials = false;
            caps.max_file = Some(
                caps.max_file
                    .map_or(area.max_file(), |max| max.min(area.max_file())),
            );
        }
        Self {
            inner,
            area,
            caps,
            reads,
            writes,
        }
    }

    async fn fetch(&self, file: &dyn ReadFile, spool: &SpoolFile) -> FsResult<()> {
        if let Some(size) = file.entry().size {
            self.area.check(size)?;
        }
        loop {
            let at = spool.len();
            let piece = file.read(at, PIECE, Vec::with_capacity(PIECE)).await?;
            if piece.is_empty() {
                return Ok(());
            }
            spool.write(Some(at), vec![Bytes::from(piece)]).await?;
        }
    }

    async fn open_spooled(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        for size in [how.size_hint, how.attrs.size].into_iter().flatten() {
            self.area.check(size)?;
        }
        let spool = SpoolFile::create(self.area.clone()).await?;
        let (mode, create) = match how.mode {
            WriteMode::CreateNew | WriteMode::Replace => (how.mode, true),
            WriteMode::Resume { .. } => return Err(refusal::unsupported("go on with an upload")),
            WriteMode::Update { create } | WriteMode::Append { create } => {
                match self.inner.open_read(cx, file).await {
                    Ok(there) => {
                        refusal::unless(self.caps.update, "change existing files")?;
                        self.fetch(&*there, &spool).await?;
                        (WriteMode::Replace, true)
                    }
                    Err(e) if e.kind() == FsErrorKind::NotFound => (WriteMode::Replace, create),
                    Err(e) => return Err(e),
                }
            }
        };
        if !create {
            return Err(FsErrorKind::NotFound.into());
        }
        if let Some(size) = how.attrs.size {
            spool.resize(size).await?;
        }
        let below = OpenWrite {
            mode,
            read_back: false,
            size_hint: how.size_hint,
            attrs: Attrs {
                size: None,
                ..how.attrs
            },
        };
        let inner = self.inner.open_write(cx, file, below).await?;
        let only_append = matches!(how.mode, WriteMode::Append { .. });
        Ok(Arc::new(SpoolWrite::new(
            inner,
            spool,
            only_append,
            how.read_back,
        )))
    }

    async fn resize(&self, cx: &OpCx, path: &VPath, size: u64) -> FsResult<()> {
        let how = OpenWrite::new(WriteMode::Update { create: false });
        let file = self.open_spooled(cx, path, how).await?;
        let cut = Attrs {
            size: Some(size),
            ..Attrs::default()
        };
        let end = match file.set_attrs(cut).await {
            Ok(()) => file.commit().await.map(drop),
            Err(e) => Err(e),
        };
        if end.is_err() {
            // The first error says more than the second would.
            let _ = file.discard().await;
        }
        end
    }
}

#[async_trait]
impl FileSystem for Spool {
    fn capabilities(&self) -> &Capabilities {
        &self.caps
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.inner.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.inner.list(cx, dir, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let inner = self.inner.open_read(cx, file).await?;
        if !self.reads {
            return Ok(inner);
        }
        if let Some(size) = inner.entry().size {
            self.area.check(size)?;
        }
        let spool = SpoolFile::create(self.area.clone()).await?;
        Ok(Arc::new(SpoolRead::new(inner, spool)))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        if self.writes {
            return self.open_spooled(cx, file, how).await;
        }
        self.inner.open_write(cx, file, how).await
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        if self.writes {
            return Ok(None);
        }
        self.inner.partial(cx, file).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        if self.writes {
            return Ok(Vec::new());
        }
        self.inner.partials(cx, dir).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.inner.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.inner.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let mut rest = attrs;
        if self.writes
            && let Some(size) = rest.size.take()
        {
            refusal::unless(self.caps.update, "change the size of a file")?;
            self.resize(cx, path, size).await?;
            if rest.is_empty() {
                return Ok(());
            }
        }
        self.inner.set_attrs(cx, path, rest, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.copy(cx, from, to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.inner.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.inner.link(cx, existing, new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.inner.read_link(cx, path).await
    }
}

#[cfg(test)]
mod tests;
