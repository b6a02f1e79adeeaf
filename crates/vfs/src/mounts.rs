//! The mount table: several storages as one tree.
//!
//! Invariants: the longest prefix wins, so a mount shadows what lies under it; the parents of mounts
//! are directories, real or made up; neither a mount point nor a parent of one is ever renamed,
//! removed or replaced; nothing is renamed, copied or linked between two mounts; a storage that panics
//! fails the call (reads of a file are left to whoever reads: it may be the hottest path there is).

mod merge;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use futures::future::join_all;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, Names,
    OpCx, OpenWrite, Partial, Ranges, ReadFile, Removal, Rename, Space, WriteAccess, WriteFile,
    contained::{ContainedListing, contained},
    remap::{Remap, Remapped},
};
use merge::Merged;

/// Two mounts at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTwice(pub VPath);

impl fmt::Display for MountTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "two storages are mounted at {}; give one of them another path",
            self.0
        )
    }
}

impl std::error::Error for MountTwice {}

/// Several storages as one tree.
pub struct Mounts {
    table: Arc<Table>,
    caps: Capabilities,
}

struct Table(Vec<Mount>);

struct Mount {
    path: VPath,
    fs: Arc<dyn FileSystem>,
}

/// A path within one mount.
struct Inside {
    index: usize,
    fs: Arc<dyn FileSystem>,
    path: VPath,
}

/// Whether `path` is `base` or lies below it. Bytes, not [`VPath::starts_with`], which allocates: this
/// runs for every mount at every operation.
fn covers(base: &VPath, path: &VPath) -> bool {
    base.is_root()
        || path
            .as_bytes()
            .strip_prefix(base.as_bytes())
            .is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
}

impl Table {
    fn index(&self, path: &VPath) -> Option<usize> {
        let covering = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, mount)| covers(&mount.path, path));
        covering
            .max_by_key(|(_, mount)| mount.path.depth())
            .map(|(index, _)| index)
    }

    fn inside(&self, path: &VPath) -> Option<Inside> {
        let index = self.index(path)?;
        let mount = self.0.get(index)?;
        Some(Inside {
            index,
            fs: mount.fs.clone(),
            path: path.strip_prefix(&mount.path)?,
        })
    }

    fn is_mount(&self, path: &VPath) -> bool {
        self.0.iter().any(|mount| mount.path == *path)
    }

    /// Whether `path` is a mount point or a parent of one: what nobody may change.
    fn is_fixed(&self, path: &VPath) -> bool {
        path.is_root() || self.0.iter().any(|mount| covers(path, &mount.path))
    }

    fn check_free(&self, path: &VPath) -> FsResult<()> {
        if self.is_fixed(path) {
            let text = "a mount point, or a directory above one, cannot be renamed, removed or replaced";
            return Err(FsError::new(FsErrorKind::Refused).context(text));
        }
        Ok(())
    }

    /// The mount of something that is to be there.
    fn found(&self, path: &VPath) -> FsResult<Inside> {
        self.inside(path).ok_or_else(|| FsErrorKind::NotFound.into())
    }

    /// The mount of something that is to be made or changed.
    fn changeable(&self, path: &VPath) -> FsResult<Inside> {
        self.check_free(path)?;
        self.inside(path).ok_or_else(|| match path.parent() {
            Some(parent) if self.is_fixed(&parent) => FsError::new(FsErrorKind::Refused)
                .context("nothing can be made here: this directory only holds mount points"),
            _ => FsErrorKind::NotFound.into(),
        })
    }

    /// The names right below `dir` that lead to mounts.
    fn children(&self, dir: &VPath) -> BTreeSet<Name> {
        let depth = dir.depth();
        let below = self
            .0
            .iter()
            .filter(|mount| mount.path != *dir && covers(dir, &mount.path));
        below
            .filter_map(|mount| Name::new(mount.path.components().nth(depth)?).ok())
            .collect()
    }
}

impl Mounts {
    /// The tree of these mounts. Their order is kept: [`Mounts::index`] counts in it.
    ///
    /// # Errors
    /// [`MountTwice`].
    pub fn new(mounts: impl IntoIterator<Item = (VPath, Arc<dyn FileSystem>)>) -> Result<Self, MountTwice> {
        let mut table: Vec<Mount> = Vec::new();
        for (path, fs) in mounts {
            if table.iter().any(|mount| mount.path == path) {
                return Err(MountTwice(path));
            }
            table.push(Mount { path, fs });
        }
        let caps = table
            .iter()
            .map(|mount| mount.fs.capabilities().clone())
            .reduce(|a, b| either(&a, &b))
            .unwrap_or_else(Capabilities::read_only);
        Ok(Self {
            table: Arc::new(Table(table)),
            caps,
        })
    }

    /// Which mount `path` falls in, counted from 0 in the order given; none where no mount covers it.
    #[must_use]
    pub fn index(&self, path: &VPath) -> Option<usize> {
        self.table.index(path)
    }

    /// The storage of a mount.
    #[must_use]
    pub fn storage(&self, index: usize) -> Option<&Arc<dyn FileSystem>> {
        self.table.0.get(index).map(|mount| &mount.fs)
    }

    /// What can be done at `path`: the abilities of its mount, none at all where there is none.
    #[must_use]
    pub fn capabilities_at(&self, path: &VPath) -> Option<&Capabilities> {
        let mount = self.table.0.get(self.index(path)?)?;
        Some(mount.fs.capabilities())
    }

    /// Whether `path` is a mount point or a parent of one.
    #[must_use]
    pub fn is_fixed(&self, path: &VPath) -> bool {
        self.table.is_fixed(path)
    }

    async fn fixed_entry(&self, cx: &OpCx, path: &VPath) -> FsResult<Entry> {
        let made_up = Entry::dir(path.file_name());
        let Some(inside) = self.table.inside(path) else {
            return Ok(made_up);
        };
        match contained(inside.fs.stat(cx, &inside.path, Links::Follow)).await {
            Ok(entry) if entry.is_dir() => Ok(Entry {
                name: path.file_name(),
                ..entry
            }),
            Err(e) if self.table.is_mount(path) => Err(e),
            // A file of that name, or nothing, or something out of reach: the mounts are below all the same.
            _ => Ok(made_up),
        }
    }

    fn pair(&self, from: &VPath, to: &VPath) -> FsResult<(Inside, Inside)> {
        let (from, to) = (self.table.found(from)?, self.table.changeable(to)?);
        if from.index != to.index {
            return Err(FsErrorKind::CrossMount.into());
        }
        Ok((from, to))
    }
}

/// What one of two storages can do at least: each mount refuses for itself.
fn either(a: &Capabilities, b: &Capabilities) -> Capabilities {
    Capabilities {
        names: if a.names == Names::Bytes { a.names } else { b.names },
        ranges: if a.ranges == Ranges::Native {
            a.ranges
        } else {
            b.ranges
        },
        write: match (a.write, b.write) {
            (WriteAccess::Random, _) | (_, WriteAccess::Random) => WriteAccess::Random,
            (WriteAccess::Sequential, _) | (_, WriteAccess::Sequential) => WriteAccess::Sequential,
            (WriteAccess::None, WriteAccess::None) => WriteAccess::None,
        },
        update: a.update || b.update,
        append: a.append || b.append,
        resume: a.resume || b.resume,
        list_partials: a.list_partials || b.list_partials,
        replace: a.replace || b.replace,
        remove: a.remove || b.remove,
        directories: a.directories || b.directories,
        rename: a.rename || b.rename,
        moves: a.moves || b.moves,
        rename_dir: a.rename_dir || b.rename_dir,
        set_times: a.set_times || b.set_times,
        set_mode: a.set_mode || b.set_mode,
        drops_attrs: a.drops_attrs || b.drops_attrs,
        copy: a.copy || b.copy,
        symlinks: a.symlinks || b.symlinks,
        hard_links: a.hard_links || b.hard_links,
        space: a.space || b.space,
        max_name: a.max_name.max(b.max_name),
        max_file: a.max_file.zip(b.max_file).map(|(a, b)| a.max(b)),
        paged: a.paged || b.paged,
    }
}

/// Where a file that is open may move to: anywhere within its own mount.
struct Within {
    table: Arc<Table>,
    index: usize,
}

impl Remap for Within {
    fn inner(&self, path: &VPath) -> FsResult<VPath> {
        let inside = self.table.changeable(path)?;
        if inside.index != self.index {
            return Err(FsErrorKind::CrossMount.into());
        }
        Ok(inside.path)
    }
}

#[async_trait]
impl FileSystem for Mounts {
    fn capabilities(&self) -> &Capabilities {
        &self.caps
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        if self.table.is_fixed(path) {
            return self.fixed_entry(cx, path).await;
        }
        let inside = self.table.found(path)?;
        contained(inside.fs.stat(cx, &inside.path, links)).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let children = self.table.children(dir);
        let inside = self.table.inside(dir);
        if children.is_empty() && !dir.is_root() {
            let inside = inside.ok_or(FsErrorKind::NotFound)?;
            let listing = contained(inside.fs.list(cx, &inside.path, from)).await?;
            return Ok(Box::new(ContainedListing(listing)));
        }
        let (skip, inner_from) = merge::position(from)?;
        let inner = match inside {
            None => None,
            Some(inside) => match contained(inside.fs.list(cx, &inside.path, inner_from)).await {
                Ok(listing) => Some(Box::new(ContainedListing(listing)) as _),
                Err(e) if matches!(e.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => {
                    if self.table.is_mount(dir) && children.is_empty() {
                        return Err(e);
                    }
                    None
                }
                Err(e) => return Err(e),
            },
        };
        let paths = children.iter().filter_map(|name| dir.join(name).ok());
        let entries = join_all(paths.map(|path| async move {
            let known = self.fixed_entry(cx, &path).await;
            known.unwrap_or_else(|_| Entry::dir(path.file_name()))
        }));
        Ok(Box::new(Merged::new(entries.await, children, skip, inner)))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        if self.table.is_fixed(file) {
            return Err(FsErrorKind::IsDir.into());
        }
        let inside = self.table.found(file)?;
        contained(inside.fs.open_read(cx, &inside.path)).await
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        if self.table.is_fixed(file) {
            return Err(FsErrorKind::IsDir.into());
        }
        let inside = self.table.changeable(file)?;
        let file = contained(inside.fs.open_write(cx, &inside.path, how)).await?;
        let map = Within {
            table: self.table.clone(),
            index: inside.index,
        };
        Ok(Arc::new(Remapped { file, map }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        match self.table.inside(file) {
            Some(inside) if !self.table.is_fixed(file) => {
                contained(inside.fs.partial(cx, &inside.path)).await
            }
            _ => Ok(None),
        }
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        let Some(inside) = self.table.inside(dir) else {
            return Ok(Vec::new());
        };
        let mut kept = contained(inside.fs.partials(cx, &inside.path)).await?;
        // What lies under a mount is out of reach, and its name means the mount.
        let children = self.table.children(dir);
        kept.retain(|(name, _)| !children.contains(name));
        Ok(kept)
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        if self.table.is_fixed(dir) {
            return Err(FsErrorKind::Exists.into());
        }
        let inside = self.table.changeable(dir)?;
        contained(inside.fs.make_dir(cx, &inside.path, attrs)).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.table.check_free(path)?;
        let inside = self.table.found(path)?;
        contained(inside.fs.remove(cx, &inside.path, what)).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.table.check_free(from)?;
        let (from, to) = self.pair(from, to)?;
        contained(from.fs.rename(cx, &from.path, &to.path, how)).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let inside = match self.table.inside(path) {
            Some(inside) => inside,
            None => self.table.changeable(path)?,
        };
        contained(inside.fs.set_attrs(cx, &inside.path, attrs, links)).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        if self.table.is_fixed(from) {
            return Err(FsErrorKind::IsDir.into());
        }
        let (from, to) = self.pair(from, to)?;
        contained(from.fs.copy(cx, &from.path, &to.path, how)).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        match self.table.inside(path) {
            Some(inside) => contained(inside.fs.space(cx, &inside.path)).await,
            None if self.table.is_fixed(path) => Err(FsErrorKind::Unsupported.into()),
            None => Err(FsErrorKind::NotFound.into()),
        }
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.table.check_free(existing)?;
        let (existing, new) = self.pair(existing, new)?;
        contained(existing.fs.link(cx, &existing.path, &new.path)).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.table.check_free(path)?;
        let inside = self.table.found(path)?;
        contained(inside.fs.read_link(cx, &inside.path)).await
    }
}

#[cfg(test)]
mod tests;
