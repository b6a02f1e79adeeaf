//! The suite itself is tested: storages that break one rule each, and the case that must say so.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::{Name, VPath};

use super::{Fixture, Stage};
use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsErrorKind, FsResult, Links, Listing, Memory, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, WriteFile, WriteMode,
};

/// How it breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Nothing,
    VisibleBeforeCommit,
    ShortReads,
    ListsTwice,
    SkipsOne,
    ForgetsPartials,
    SharesPartials,
    TakesAnyOffset,
    ReplacesAlways,
    CommitsOverOthers,
    KeepsOnDiscard,
    RenamesOverOthers,
    RetargetsOverOthers,
    IgnoresTimes,
    IgnoresSetAttrs,
    IgnoresGaps,
    RemovesWhatIsFull,
    CopiesNothing,
    CommitEndsOnError,
}

struct Liar {
    memory: Memory,
    lie: Lie,
}

impl Liar {
    fn lies(&self, lie: Lie) -> bool {
        self.lie == lie
    }
}

#[async_trait]
impl FileSystem for Liar {
    fn capabilities(&self) -> &Capabilities {
        self.memory.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.memory.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let inner = self.memory.list(cx, dir, from).await?;
        Ok(Box::new(LiarListing {
            inner,
            lie: self.lie,
            last: None,
        }))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let inner = self.memory.open_read(cx, file).await?;
        Ok(Arc::new(LiarRead { inner, lie: self.lie }))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, mut how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        match how.mode {
            WriteMode::Resume { .. } if self.lies(Lie::TakesAnyOffset) => {
                how.mode = WriteMode::Update { create: true };
            }
            WriteMode::CreateNew if self.lies(Lie::ReplacesAlways) => how.mode = WriteMode::Replace,
            WriteMode::CreateNew if self.lies(Lie::CommitsOverOthers) => {
                if self.memory.stat(cx, file, Links::Keep).await.is_ok() {
                    return Err(FsErrorKind::Exists.into());
                }
                how.mode = WriteMode::Replace;
            }
            _ => {}
        }
        if self.lies(Lie::IgnoresTimes) {
            how.attrs.modified = None;
        }
        let inner = self.memory.open_write(cx, file, how).await?;
        if self.lies(Lie::VisibleBeforeCommit) {
            let _ = self.memory.plant(file, b"");
        }
        Ok(Arc::new(LiarWrite { inner, lie: self.lie }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        if self.lies(Lie::SharesPartials) {
            let mut anybody = cx.clone();
            anybody.owner = crate::Owner("conformance-alice".into());
            return self.memory.partial(&anybody, file).await;
        }
        self.memory.partial(cx, file).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        if self.lies(Lie::SharesPartials) {
            let mut anybody = cx.clone();
            anybody.owner = crate::Owner("conformance-alice".into());
            return self.memory.partials(&anybody, dir).await;
        }
        self.memory.partials(cx, dir).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.memory.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        if what == Removal::Dir && self.lies(Lie::RemovesWhatIsFull) {
            let mut listing = self.memory.list(cx, path, None).await?;
            for entry in listing.next(1_000).await? {
                let below = path.join(&entry.name.unwrap()).unwrap();
                let _ = self.memory.remove(cx, &below, Removal::File).await;
            }
        }
        self.memory.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let how = if self.lies(Lie::RenamesOverOthers) {
            Rename::Replace
        } else {
            how
        };
        self.memory.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        if self.lies(Lie::IgnoresSetAttrs) {
            return self.memory.stat(cx, path, links).await.map(drop);
        }
        self.memory.set_attrs(cx, path, attrs, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        if self.lies(Lie::CopiesNothing) {
            return self.memory.link(cx, from, to).await;
        }
        self.memory.copy(cx, from, to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<crate::Space> {
        self.memory.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.memory.link(cx, existing, new).await
    }
}

struct LiarListing {
    inner: Box<dyn Listing>,
    lie: Lie,
    last: Option<Entry>,
}

#[async_trait]
impl Listing for LiarListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let mut page = self.inner.next(max).await?;
        match self.lie {
            Lie::ListsTwice => {
                if let (Some(again), Some(first)) = (self.last.take(), page.first_mut()) {
                    *first = again;
                }
                self.last = page.last().cloned();
            }
            Lie::SkipsOne if page.len() > 3 => drop(page.pop()),
            _ => {}
        }
        Ok(page)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

struct LiarRead {
    inner: Arc<dyn ReadFile>,
    lie: Lie,
}

#[async_trait]
impl ReadFile for LiarRead {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        let len = if self.lie == Lie::ShortReads {
            len.min(4_096)
        } else {
            len
        };
        self.inner.read(at, len, into).await
    }
}

struct LiarWrite {
    inner: Arc<dyn WriteFile>,
    lie: Lie,
}

#[async_trait]
impl WriteFile for LiarWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.inner.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        if self.lie == Lie::IgnoresGaps {
            return self.inner.append(data).await.map(drop);
        }
        self.inner.write(at, data).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.inner.append(data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.inner.read(at, len, into).await
    }

    async fn set_attrs(&self, mut attrs: Attrs) -> FsResult<()> {
        if self.lie == Lie::IgnoresTimes {
            attrs.modified = None;
        }
        self.inner.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        self.inner.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        let how = if self.lie == Lie::RetargetsOverOthers {
            Rename::Replace
        } else {
            how
        };
        self.inner.retarget(to, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        let end = self.inner.commit().await;
        if end.is_err() && self.lie == Lie::CommitEndsOnError {
            let _ = self.inner.discard().await;
        }
        end
    }

    async fn keep(&self) -> FsResult<u64> {
        if self.lie == Lie::ForgetsPartials {
            let size = self.inner.entry().await?.size.unwrap_or(0);
            return self.inner.discard().await.map(|()| size);
        }
        self.inner.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        if self.lie == Lie::KeepsOnDiscard {
            return self.inner.keep().await.map(drop);
        }
        self.inner.discard().await
    }
}

struct Ward(Lie);

#[async_trait]
impl Fixture for Ward {
    async fn stage(&self) -> Box<dyn Stage> {
        Box::new(Cell(Arc::new(Liar {
            memory: Memory::new(),
            lie: self.0,
        })))
    }
}

struct Cell(Arc<Liar>);

#[async_trait]
impl Stage for Cell {
    fn fs(&self) -> Arc<dyn FileSystem> {
        self.0.clone()
    }
}

#[tokio::test]
async fn every_lie_is_caught_by_its_case() {
    super::run_where(&Ward(Lie::Nothing), |name| !name.starts_with("copying::hard"))
        .await
        .unwrap();
    for (lie, case) in [
        (Lie::VisibleBeforeCommit, "writing::nothing_before_commit"),
        (Lie::ShortReads, "reading::ranges"),
        (Lie::ListsTwice, "listing::whole"),
        (Lie::SkipsOne, "listing::many"),
        (Lie::ForgetsPartials, "partials::resume"),
        (Lie::SharesPartials, "partials::seen_by_owner_alone"),
        (Lie::SharesPartials, "partials::told_by_directory"),
        (Lie::TakesAnyOffset, "partials::wrong_offset"),
        (Lie::ReplacesAlways, "exclusive::at_open"),
        (Lie::CommitsOverOthers, "exclusive::at_commit"),
        (Lie::CommitsOverOthers, "exclusive::race"),
        (Lie::KeepsOnDiscard, "writing::nothing_after_discard"),
        (Lie::RenamesOverOthers, "renaming::no_replace"),
        (Lie::RenamesOverOthers, "renaming::no_replace_race"),
        (Lie::RetargetsOverOthers, "renaming::retarget_no_replace"),
        (Lie::IgnoresTimes, "attributes::times_last"),
        (Lie::IgnoresSetAttrs, "attributes::times_by_path"),
        (Lie::IgnoresSetAttrs, "attributes::mode_stripped"),
        (Lie::IgnoresSetAttrs, "writing::truncate_by_path"),
        (Lie::IgnoresGaps, "writing::sparse_and_out_of_order"),
        (Lie::RemovesWhatIsFull, "directories::not_empty"),
        (Lie::CopiesNothing, "copying::plain"),
        (Lie::CommitEndsOnError, "exclusive::keep_after_failed_commit"),
    ] {
        let failures = super::run_where(&Ward(lie), |name| name == case)
            .await
            .unwrap_err();
        assert!(failures.to_string().contains(case), "{lie:?}: {failures}");
    }
}
