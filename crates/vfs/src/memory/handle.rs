//! Open files of [`super::Memory`]: a reader holds what was there when it was opened, a writer holds
//! its own bytes until it ends by commit, keep or discard.
//!
//! Invariant: a writer that is dropped leaves what `keep` would.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{Name, VPath};

use super::{
    Shared, random,
    tree::{Id, Kept, Place, Tree, now},
};
use crate::{
    Attrs, Capabilities, Entry, FileKind, FsError, FsErrorKind, FsResult, Links, OpCx, OpenWrite, Owner,
    Ranges, ReadFile, Rename, WriteFile, WriteMode, refusal,
};

pub(super) struct MemoryRead {
    entry: Entry,
    data: Arc<Vec<u8>>,
    /// Where a sequential store stands; none where any range will do.
    position: Option<Mutex<u64>>,
}

impl MemoryRead {
    pub(super) fn new(entry: Entry, data: Arc<Vec<u8>>, ranges: Ranges) -> Self {
        Self {
            entry,
            data,
            position: (ranges == Ranges::Sequential).then(|| Mutex::new(0)),
        }
    }
}

#[async_trait]
impl ReadFile for MemoryRead {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let before = into.len();
        let mut position = self.position.as_ref().map(Mutex::lock);
        if position.as_ref().is_some_and(|position| **position != at) {
            return Err(FsErrorKind::Unsupported.into());
        }
        slice(&self.data, at, len, &mut into);
        if let Some(position) = &mut position {
            **position += (into.len() - before) as u64;
        }
        Ok(into)
    }
}

/// Appends the part of `data` that the range covers.
fn slice(data: &[u8], at: u64, len: usize, into: &mut Vec<u8>) {
    let start = usize::try_from(at).unwrap_or(usize::MAX).min(data.len());
    let end = start.saturating_add(len).min(data.len());
    into.extend_from_slice(data.get(start..end).unwrap_or_default());
}

/// What an open writer holds.
pub(super) struct Pending {
    dir: Id,
    name: Name,
    data: Vec<u8>,
    attrs: Attrs,
    at_commit: Rename,
    only_append: bool,
    read_back: bool,
    old_mode: Option<u32>,
}

impl Pending {
    /// Decides what becomes of what is there: the table of [`WriteMode`]. A kept partial of the
    /// caller comes before a complete file of the same name.
    pub(super) fn open(
        tree: &mut Tree,
        caps: &Capabilities,
        cx: &OpCx,
        place: &Place,
        how: &OpenWrite,
    ) -> FsResult<Self> {
        let Some(name) = place.name.clone() else {
            return Err(FsErrorKind::IsDir.into());
        };
        if place.node.is_some() && how.mode == WriteMode::CreateNew {
            return Err(FsErrorKind::Exists.into());
        }
        let there = place.node.map(|id| tree.content(id)).transpose()?;
        if how.read_back && !(random(caps) && (caps.update || there.is_none())) {
            return Err(FsErrorKind::Unsupported.into());
        }
        let attrs = refusal::settable(caps, how.attrs);
        let kept_len = tree.kept(place, &cx.owner).map(|kept| kept.data.len() as u64);
        let fresh = there.is_none() && kept_len.is_none();
        match how.mode {
            WriteMode::Replace if there.is_some() && !caps.replace => {
                return Err(FsErrorKind::Exists.into());
            }
            WriteMode::Update { .. } if !fresh && !caps.update => return Err(FsErrorKind::Unsupported.into()),
            WriteMode::Append { .. } if !fresh && !caps.append => return Err(FsErrorKind::Unsupported.into()),
            WriteMode::Update { create: false } | WriteMode::Append { create: false } if fresh => {
                return Err(FsErrorKind::NotFound.into());
            }
            WriteMode::Resume { .. } if !caps.resume => return Err(FsErrorKind::Unsupported.into()),
            WriteMode::Resume { at } => {
                let length = kept_len.or(there.as_ref().map(|d| d.len() as u64)).unwrap_or(0);
                if length != at {
                    let text = format!("cannot go on at byte {at}: {length} bytes are there");
                    return Err(FsError::new(FsErrorKind::Conflict).context(text));
                }
            }
            _ => {}
        }
        let kept = tree.take_kept(place.dir, &name, &cx.owner);
        let mut pending = Self {
            dir: place.dir,
            name,
            data: Vec::new(),
            attrs,
            at_commit: Rename::Replace,
            only_append: matches!(how.mode, WriteMode::Append { .. }),
            read_back: how.read_back,
            old_mode: place.node.and_then(|id| tree.mode(id)),
        };
        match how.mode {
            WriteMode::CreateNew => pending.at_commit = Rename::NoReplace,
            WriteMode::Replace if !caps.replace => pending.at_commit = Rename::NoReplace,
            WriteMode::Replace => {}
            _ => {
                if let Some(kept) = kept {
                    pending.data = kept.data;
                    pending.attrs = merged(kept.attrs, attrs);
                } else if let Some(there) = there {
                    pending.data = there.to_vec();
                }
            }
        }
        if let Some(size) = pending.attrs.size.take() {
            pending.resize(caps, size)?;
        }
        tree.count_writer(place.dir, true);
        Ok(pending)
    }

    fn resize(&mut self, caps: &Capabilities, size: u64) -> FsResult<()> {
        refusal::size(caps, Some(size))?;
        let size = usize::try_from(size).map_err(|_| FsErrorKind::TooLarge)?;
        self.data.resize(size, 0);
        Ok(())
    }

    fn entry(&self) -> Entry {
        let mut entry = Entry::bare(Some(self.name.clone()), FileKind::File);
        entry.size = Some(self.data.len() as u64);
        entry.mode = Some(self.attrs.mode.or(self.old_mode).unwrap_or(0o640) & 0o777);
        entry.modified = Some(self.attrs.modified.unwrap_or_else(now));
        entry.accessed = Some(self.attrs.accessed.unwrap_or_else(now));
        entry
    }
}

fn merged(old: Attrs, new: Attrs) -> Attrs {
    Attrs {
        size: new.size.or(old.size),
        mode: new.mode.or(old.mode),
        modified: new.modified.or(old.modified),
        accessed: new.accessed.or(old.accessed),
    }
}

pub(super) struct MemoryWrite {
    shared: Arc<Shared>,
    owner: Owner,
    /// None once it ended.
    pending: Mutex<Option<Pending>>,
}

impl MemoryWrite {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner, pending: Pending) -> Self {
        Self {
            shared,
            owner,
            pending: Mutex::new(Some(pending)),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Pending) -> FsResult<T>) -> FsResult<T> {
        act(self.pending.lock().as_mut().ok_or_else(ended)?)
    }

    fn put(&self, at: Option<u64>, data: &[Bytes]) -> FsResult<u64> {
        let caps = &self.shared.caps;
        self.with(|pending| {
            let end = pending.data.len() as u64;
            let at = at.filter(|_| !pending.only_append).unwrap_or(end);
            if at != end && !random(caps) {
                return Err(FsErrorKind::Unsupported.into());
            }
            let len: u64 = data.iter().map(|piece| piece.len() as u64).sum();
            let stop = at.checked_add(len).ok_or(FsErrorKind::TooLarge)?;
            refusal::size(caps, Some(stop))?;
            if let Some(capacity) = self.shared.capacity
                && self.shared.tree.lock().used().saturating_add(stop.max(end)) > capacity
            {
                return Err(FsErrorKind::NoSpace.into());
            }
            if stop > end {
                pending.resize(caps, stop)?;
            }
            let mut rest = usize::try_from(at)
                .ok()
                .and_then(|at| pending.data.get_mut(at..))
                .ok_or(FsErrorKind::TooLarge)?;
            for piece in data {
                let Some((head, tail)) = rest.split_at_mut_checked(piece.len()) else {
                    return Err(FsErrorKind::Backend.into());
                };
                head.copy_from_slice(piece);
                rest = tail;
            }
            Ok(pending.data.len() as u64)
        })
    }

    /// Ends the handle and keeps what it holds; 0 where nothing can be kept.
    fn keep_now(&self) -> FsResult<u64> {
        let Some(pending) = self.pending.lock().take() else {
            return Err(ended());
        };
        let mut tree = self.shared.tree.lock();
        tree.count_writer(pending.dir, false);
        let size = pending.data.len() as u64;
        if !self.shared.caps.resume || size == 0 {
            return Ok(0);
        }
        let kept = Kept {
            data: pending.data,
            attrs: pending.attrs,
            modified: now(),
        };
        tree.keep(pending.dir, &pending.name, &self.owner, kept)?;
        Ok(size)
    }
}

fn ended() -> FsError {
    FsError::new(FsErrorKind::Conflict).context("the file is closed already")
}

#[async_trait]
impl WriteFile for MemoryWrite {
    async fn entry(&self) -> FsResult<Entry> {
        self.with(|pending| Ok(pending.entry()))
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.put(Some(at), &data).map(drop)
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.put(None, &data)
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.with(|pending| {
            if !pending.read_back {
                return Err(FsErrorKind::Unsupported.into());
            }
            slice(&pending.data, at, len, &mut into);
            Ok(into)
        })
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        let caps = &self.shared.caps;
        refusal::attrs(caps, &attrs, random(caps))?;
        self.with(|pending| {
            if let Some(size) = attrs.size {
                pending.resize(caps, size)?;
            }
            pending.attrs = merged(pending.attrs, Attrs { size: None, ..attrs });
            Ok(())
        })
    }

    async fn sync(&self) -> FsResult<()> {
        self.with(|_| Ok(()))
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        refusal::name(&self.shared.caps, to)?;
        self.with(|pending| {
            let mut tree = self.shared.tree.lock();
            let place = tree.walk(to, Links::Keep)?;
            let name = place.name()?.clone();
            let how = if self.shared.caps.replace {
                how
            } else {
                Rename::NoReplace
            };
            if let Some(there) = place.node {
                if tree.dir(there).is_ok() {
                    return Err(FsErrorKind::IsDir.into());
                }
                if how == Rename::NoReplace {
                    return Err(FsErrorKind::Exists.into());
                }
            }
            tree.count_writer(pending.dir, false);
            tree.count_writer(place.dir, true);
            pending.dir = place.dir;
            pending.name = name;
            pending.at_commit = how;
            Ok(())
        })
    }

    async fn commit(&self) -> FsResult<Entry> {
        let mut slot = self.pending.lock();
        let pending = slot.as_mut().ok_or_else(ended)?;
        let mut tree = self.shared.tree.lock();
        // The bytes are copied, not moved: a commit that fails must leave them to keep or discard.
        let entry = tree.publish(
            pending.dir,
            &pending.name,
            pending.data.clone(),
            pending.attrs,
            pending.at_commit,
        )?;
        tree.count_writer(pending.dir, false);
        *slot = None;
        Ok(entry)
    }

    async fn keep(&self) -> FsResult<u64> {
        self.keep_now()
    }

    async fn discard(&self) -> FsResult<()> {
        let pending = self.pending.lock().take().ok_or_else(ended)?;
        self.shared.tree.lock().count_writer(pending.dir, false);
        Ok(())
    }
}

impl Drop for MemoryWrite {
    fn drop(&mut self) {
        // Ended already, or its directory is gone: nothing is left to keep, and nobody to tell.
        let _ = self.keep_now();
    }
}
