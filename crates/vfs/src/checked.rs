//! The capability check: what a storage cannot do is refused, in words, before it is asked.
//!
//! Invariant: below this layer a storage sees only what its [`Capabilities`] promise, so that no
//! backend has to refuse, and none can silently ignore an argument. Where an existing file cannot be
//! replaced or changed, the open becomes an exclusive one: exact, with no look-up that could be outrun.

mod handle;

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, Ranges, ReadFile, Removal, Rename, Space, WriteAccess, WriteFile, WriteMode, refusal,
};
use handle::{CheckedWrite, InOrder};

/// A storage that is asked only for what it can do.
pub struct Checked {
    inner: Arc<dyn FileSystem>,
}

impl Checked {
    /// Checks what is asked of `inner` by its own capabilities.
    #[must_use]
    pub fn over(inner: Arc<dyn FileSystem>) -> Self {
        Self { inner }
    }

    fn caps(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    /// A rename as this storage can do it.
    fn how(&self, how: Rename) -> Rename {
        if self.caps().replace {
            how
        } else {
            Rename::NoReplace
        }
    }

    /// The mode in which the storage is asked, and what it means if that says `Exists`.
    async fn mode(&self, cx: &OpCx, file: &VPath, mode: WriteMode) -> FsResult<(WriteMode, Option<FsError>)> {
        let caps = self.caps();
        let (create, can, what) = match mode {
            WriteMode::CreateNew => return Ok((mode, None)),
            WriteMode::Replace if caps.replace => return Ok((mode, None)),
            WriteMode::Replace => return Ok((WriteMode::CreateNew, Some(no_replacing()))),
            WriteMode::Resume { .. } => {
                return refusal::unless(caps.resume, "go on with an upload").map(|()| (mode, None));
            }
            WriteMode::Update { create } => (create, caps.update, "change existing files"),
            WriteMode::Append { create } => (create, caps.append, "add to existing files"),
        };
        if can {
            return Ok((mode, None));
        }
        // An unfinished upload is no existing file: it can be gone on with at its end.
        if caps.resume
            && let Some(partial) = self.inner.partial(cx, file).await?
        {
            return Ok((WriteMode::Resume { at: partial.size }, None));
        }
        if create {
            return Ok((WriteMode::CreateNew, Some(refusal::unsupported(what))));
        }
        Err(refusal::unsupported(what))
    }
}

fn no_replacing() -> FsError {
    FsError::new(FsErrorKind::Exists).context("it exists already, and this storage cannot replace files")
}

#[async_trait]
impl FileSystem for Checked {
    fn capabilities(&self) -> &Capabilities {
        self.caps()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.inner.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.inner.list(cx, dir, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let file = self.inner.open_read(cx, file).await?;
        Ok(match self.caps().ranges {
            Ranges::Native => file,
            Ranges::Sequential => Arc::new(InOrder::new(file)),
        })
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, mut how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let caps = self.caps();
        refusal::write(caps)?;
        refusal::name(caps, file)?;
        refusal::size(caps, how.size_hint)?;
        refusal::size(caps, how.attrs.size)?;
        let random = caps.write == WriteAccess::Random;
        refusal::unless(random || !how.read_back, "read back a file that is being written")?;
        refusal::unless(random || how.attrs.size.is_none(), "change the size of a file")?;
        how.attrs = refusal::settable(caps, how.attrs);
        let only_append = matches!(how.mode, WriteMode::Append { .. });
        let (mode, exists) = self.mode(cx, file, how.mode).await?;
        let (read_back, how) = (how.read_back, OpenWrite { mode, ..how });
        let file = self.inner.open_write(cx, file, how).await;
        let file = file.map_err(|e| match exists {
            Some(meant) if e.kind() == FsErrorKind::Exists => meant,
            _ => e,
        })?;
        let checked = CheckedWrite::new(file, caps.clone(), read_back, only_append).await?;
        Ok(Arc::new(checked))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        if !self.caps().resume {
            return Ok(None);
        }
        self.inner.partial(cx, file).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        if !self.caps().list_partials {
            return Ok(Vec::new());
        }
        self.inner.partials(cx, dir).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        let caps = self.caps();
        refusal::unless(caps.directories, "make directories")?;
        refusal::name(caps, dir)?;
        self.inner.make_dir(cx, dir, refusal::settable(caps, attrs)).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        match what {
            Removal::File => refusal::unless(self.caps().remove, "remove files")?,
            Removal::Dir => refusal::unless(self.caps().directories, "remove directories")?,
        }
        self.inner.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let caps = self.caps();
        let file = refusal::can_rename_file(caps, from, to);
        refusal::unless(file || caps.rename_dir, "rename")?;
        refusal::name(caps, to)?;
        if file != caps.rename_dir {
            let is_dir = self.inner.stat(cx, from, Links::Keep).await?.is_dir();
            refusal::unless(caps.rename_dir || !is_dir, "rename directories")?;
            refusal::unless(file || is_dir, "rename files")?;
        }
        self.inner.rename(cx, from, to, self.how(how)).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let caps = self.caps();
        refusal::attrs(caps, &attrs, caps.update)?;
        refusal::size(caps, attrs.size)?;
        // Also with nothing left of them: whether there is anything at `path`, the storage says.
        let attrs = refusal::settable(caps, attrs);
        self.inner.set_attrs(cx, path, attrs, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        refusal::unless(self.caps().copy, "copy files by itself")?;
        refusal::name(self.caps(), to)?;
        self.inner.copy(cx, from, to, self.how(how)).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        refusal::unless(self.caps().space, "tell its free space")?;
        self.inner.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        refusal::unless(self.caps().hard_links, "make hard links")?;
        refusal::name(self.caps(), new)?;
        self.inner.link(cx, existing, new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        refusal::unless(self.caps().symlinks, "read symbolic links")?;
        self.inner.read_link(cx, path).await
    }
}

#[cfg(test)]
mod tests;
