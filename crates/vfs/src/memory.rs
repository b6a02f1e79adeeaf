//! The reference backend: a whole file system in memory, for tests and as the meaning of the contract.
//!
//! Invariant: every method takes the one lock once and never awaits under it, so each call is atomic.
//! Where the contract leaves a choice, what this file does is the choice.

mod handle;
mod listing;
mod tree;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, Space, WriteAccess, WriteFile, WriteMode, refusal,
};
use handle::{MemoryRead, MemoryWrite, Pending};
use listing::MemoryListing;
use tree::{Body, Tree};

/// Largest file that a [`Memory`] takes unless told otherwise: a sparse write must not eat the machine.
const MAX_FILE: u64 = 256 << 20;

/// A storage in memory. A clone is the same storage seen again, as after a restart.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    caps: Capabilities,
    capacity: Option<u64>,
    tree: Mutex<Tree>,
}

impl Memory {
    /// An empty storage that can do everything, with files of up to 256 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Capabilities {
            max_file: Some(MAX_FILE),
            ..Capabilities::full()
        })
    }

    /// An empty storage that can do what `caps` says, and refuses the rest.
    #[must_use]
    pub fn with(caps: Capabilities) -> Self {
        Self::build(caps, None)
    }

    /// An empty storage that is full at `capacity` bytes.
    #[must_use]
    pub fn limited(capacity: u64) -> Self {
        Self::build(
            Capabilities {
                max_file: Some(MAX_FILE),
                ..Capabilities::full()
            },
            Some(capacity),
        )
    }

    fn build(caps: Capabilities, capacity: Option<u64>) -> Self {
        Self {
            shared: Arc::new(Shared {
                caps,
                capacity,
                tree: Mutex::new(Tree::new()),
            }),
        }
    }

    /// Puts a symbolic link there, as an administrator would on a disk: the contract itself makes none.
    ///
    /// # Errors
    /// As [`FileSystem::make_dir`].
    pub fn plant_link(&self, path: &VPath, target: &[u8]) -> FsResult<()> {
        self.shared
            .tree
            .lock()
            .add(path, Body::Link(target.to_vec()), 0o777)
    }

    /// Puts a file (and the directories above it) there, whatever the capabilities say: the content
    /// of a read-only storage.
    ///
    /// # Errors
    /// As [`FileSystem::make_dir`].
    pub fn plant(&self, path: &VPath, content: &[u8]) -> FsResult<()> {
        let mut tree = self.shared.tree.lock();
        let mut above: Vec<VPath> = std::iter::successors(path.parent(), VPath::parent).collect();
        above.pop();
        for dir in above.iter().rev() {
            match tree.add(dir, Body::empty_dir(), 0o750) {
                Err(e) if e.kind() != FsErrorKind::Exists => return Err(e),
                _ => {}
            }
        }
        tree.add(path, Body::File(Arc::new(content.to_vec())), 0o640)
    }

    fn need(&self, can: bool) -> FsResult<()> {
        if can {
            Ok(())
        } else {
            Err(FsErrorKind::Unsupported.into())
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl FileSystem for Memory {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.caps
    }

    async fn stat(&self, _cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        let tree = self.shared.tree.lock();
        let place = tree.walk(path, links)?;
        tree.entry(place.node.ok_or(FsErrorKind::NotFound)?, path.file_name())
    }

    async fn list(&self, _cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let tree = self.shared.tree.lock();
        let id = tree.walk(dir, Links::Follow)?.node.ok_or(FsErrorKind::NotFound)?;
        tree.dir(id)?;
        Ok(Box::new(MemoryListing::new(self.shared.clone(), id, from)?))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let tree = self.shared.tree.lock();
        let place = tree.walk(file, Links::Follow)?;
        let Some(id) = place.node else {
            return Err(match tree.kept(&place, &cx.owner) {
                Some(kept) => incomplete(kept.data.len()),
                None => FsErrorKind::NotFound.into(),
            });
        };
        let data = tree.content(id)?;
        let entry = tree.entry(id, file.file_name())?;
        Ok(Arc::new(MemoryRead::new(entry, data, self.shared.caps.ranges)))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let caps = &self.shared.caps;
        refusal::write(caps)?;
        refusal::name(caps, file)?;
        refusal::size(caps, how.size_hint)?;
        let mut tree = self.shared.tree.lock();
        // An exclusive open takes a link, dangling or not, for what it is: a taken name (O_EXCL).
        let links = match how.mode {
            WriteMode::CreateNew => Links::Keep,
            _ => Links::Follow,
        };
        let place = tree.walk(file, links)?;
        let pending = Pending::open(&mut tree, caps, cx, &place, &how)?;
        Ok(Arc::new(MemoryWrite::new(
            self.shared.clone(),
            cx.owner.clone(),
            pending,
        )))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        let tree = self.shared.tree.lock();
        let place = match tree.walk(file, Links::Follow) {
            Ok(place) => place,
            Err(e) if matches!(e.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(tree.kept(&place, &cx.owner).map(|kept| Partial {
            size: kept.data.len() as u64,
            modified: kept.modified,
        }))
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        let tree = self.shared.tree.lock();
        let found = match tree.walk(dir, Links::Follow) {
            Ok(place) => place.node,
            Err(e) if matches!(e.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => None,
            Err(e) => return Err(e),
        };
        match found {
            Some(id) if self.shared.caps.list_partials => Ok(tree.kept_in(id, &cx.owner)),
            _ => Ok(Vec::new()),
        }
    }

    async fn make_dir(&self, _cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        refusal::write(&self.shared.caps)?;
        self.need(self.shared.caps.directories)?;
        refusal::name(&self.shared.caps, dir)?;
        let attrs = refusal::settable(&self.shared.caps, attrs);
        let mode = attrs.mode.unwrap_or(0o750);
        let mut tree = self.shared.tree.lock();
        tree.add(dir, Body::empty_dir(), mode)?;
        let id = tree.walk(dir, Links::Keep)?.node;
        tree.set_times(id, attrs)
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        let caps = &self.shared.caps;
        let mut tree = self.shared.tree.lock();
        match what {
            Removal::File => {
                self.need(caps.remove)?;
                tree.remove_file(path, &cx.owner)
            }
            Removal::Dir => {
                self.need(caps.directories)?;
                tree.remove_dir(path)
            }
        }
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let caps = &self.shared.caps;
        let file = refusal::can_rename_file(caps, from, to);
        self.need(file || caps.rename_dir)?;
        refusal::name(caps, to)?;
        let mut tree = self.shared.tree.lock();
        let id = tree.walk(from, Links::Keep)?.node.ok_or(FsErrorKind::NotFound)?;
        self.need(if tree.dir(id).is_ok() {
            caps.rename_dir
        } else {
            file
        })?;
        let how = if caps.replace { how } else { Rename::NoReplace };
        tree.rename(&cx.owner, from, to, how)
    }

    async fn set_attrs(&self, _cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let caps = &self.shared.caps;
        refusal::attrs(caps, &attrs, caps.update)?;
        refusal::size(caps, attrs.size)?;
        self.shared.tree.lock().set_attrs(path, attrs, links)
    }

    async fn copy(&self, _cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let caps = &self.shared.caps;
        self.need(caps.copy)?;
        refusal::name(caps, to)?;
        let mut tree = self.shared.tree.lock();
        tree.copy(from, to, if caps.replace { how } else { Rename::NoReplace })
    }

    async fn space(&self, _cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.need(self.shared.caps.space)?;
        let tree = self.shared.tree.lock();
        tree.walk(path, Links::Follow)?
            .node
            .ok_or(FsErrorKind::NotFound)?;
        let total = self.shared.capacity.unwrap_or(1 << 30);
        let free = total.saturating_sub(tree.used());
        Ok(Space {
            total,
            free,
            available: free,
            files: 1 << 20,
            files_free: (1_u64 << 20).saturating_sub(tree.count()),
            name_max: self.shared.caps.max_name as u64,
        })
    }

    async fn link(&self, _cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.need(self.shared.caps.hard_links)?;
        refusal::name(&self.shared.caps, new)?;
        self.shared.tree.lock().link(existing, new)
    }

    async fn read_link(&self, _cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.need(self.shared.caps.symlinks)?;
        self.shared.tree.lock().read_link(path)
    }
}

fn incomplete(kept: usize) -> FsError {
    FsError::new(FsErrorKind::Incomplete).context(format!("incomplete, {kept} bytes kept"))
}

fn random(caps: &Capabilities) -> bool {
    caps.write == WriteAccess::Random
}

#[cfg(test)]
mod tests;
