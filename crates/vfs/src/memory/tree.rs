//! The tree of [`super::Memory`]: nodes in one table, directories as maps from names to node numbers.
//!
//! Invariant: every number in a directory is in the table, and every node but the root is reachable
//! or gone. Numbers are never used twice, so a handle that outlives its directory finds nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use portreeve_model::{Name, Timestamp, VPath};

use crate::{Attrs, Entry, FileKind, FsError, FsErrorKind, FsResult, Links, Owner, Partial, Rename};

/// Longest chain of symbolic links that is followed, as on Linux.
const MAX_HOPS: usize = 40;
const ROOT: Id = 0;

/// The number of a node.
pub(super) type Id = u64;

pub(super) struct Tree {
    nodes: HashMap<Id, Node>,
    next: Id,
    version: u64,
}

struct Node {
    body: Body,
    mode: u32,
    modified: Timestamp,
    accessed: Timestamp,
    version: u64,
    links: u64,
}

pub(super) enum Body {
    Dir(Dir),
    File(Arc<Vec<u8>>),
    Link(Vec<u8>),
}

impl Body {
    pub(super) fn empty_dir() -> Self {
        Self::Dir(Dir::default())
    }
}

#[derive(Default)]
pub(super) struct Dir {
    pub(super) children: BTreeMap<Name, Id>,
    kept: BTreeMap<(Arc<str>, Name), Kept>,
    /// Open write handles whose file will be here.
    writers: usize,
}

/// What an owner left unfinished.
pub(super) struct Kept {
    pub(super) data: Vec<u8>,
    pub(super) attrs: Attrs,
    pub(super) modified: Timestamp,
}

/// Where a path leads: directory and name there, and what is there now. No name for the root.
pub(super) struct Place {
    pub(super) dir: Id,
    pub(super) name: Option<Name>,
    pub(super) node: Option<Id>,
}

impl Place {
    pub(super) fn name(&self) -> FsResult<&Name> {
        self.name
            .as_ref()
            .ok_or_else(|| FsError::new(FsErrorKind::Refused).context("not possible on the root directory"))
    }
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

impl Tree {
    pub(super) fn new() -> Self {
        let mut tree = Self {
            nodes: HashMap::new(),
            next: ROOT,
            version: 0,
        };
        tree.insert(Body::empty_dir(), 0o750);
        tree
    }

    fn insert(&mut self, body: Body, mode: u32) -> Id {
        let id = self.next;
        self.next += 1;
        self.version += 1;
        let node = Node {
            body,
            mode: mode & 0o777,
            modified: now(),
            accessed: now(),
            version: self.version,
            links: 1,
        };
        self.nodes.insert(id, node);
        id
    }

    fn node(&self, id: Id) -> FsResult<&Node> {
        self.nodes.get(&id).ok_or_else(|| FsErrorKind::NotFound.into())
    }

    fn node_mut(&mut self, id: Id) -> FsResult<&mut Node> {
        self.nodes
            .get_mut(&id)
            .ok_or_else(|| FsErrorKind::NotFound.into())
    }

    pub(super) fn dir(&self, id: Id) -> FsResult<&Dir> {
        match &self.node(id)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(FsErrorKind::NotDir.into()),
        }
    }

    fn dir_mut(&mut self, id: Id) -> FsResult<&mut Dir> {
        match &mut self.node_mut(id)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(FsErrorKind::NotDir.into()),
        }
    }

    /// Follows `path`, its links too; `links` decides about the last component.
    pub(super) fn walk(&self, path: &VPath, links: Links) -> FsResult<Place> {
        let mut todo: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut above = Vec::new();
        let mut at = ROOT;
        let mut hops = 0;
        while let Some(part) = todo.pop() {
            let dir = self.dir(at)?;
            if part == b".." {
                at = above.pop().unwrap_or(ROOT);
                continue;
            }
            let name = Name::new(part).map_err(|e| FsError::new(FsErrorKind::InvalidName).caused_by(e))?;
            let last = todo.is_empty();
            let Some(&id) = dir.children.get(&name) else {
                if !last {
                    return Err(FsErrorKind::NotFound.into());
                }
                return Ok(Place {
                    dir: at,
                    name: Some(name),
                    node: None,
                });
            };
            match &self.node(id)?.body {
                Body::Link(target) if !last || links == Links::Follow => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(FsError::new(FsErrorKind::NotFound).context("too many symbolic links"));
                    }
                    if target.first() == Some(&b'/') {
                        at = ROOT;
                        above.clear();
                    }
                    let parts = target.split(|b| *b == b'/').rev();
                    todo.extend(parts.filter(|p| !p.is_empty() && *p != b".").map(<[u8]>::to_vec));
                }
                _ if last => {
                    return Ok(Place {
                        dir: at,
                        name: Some(name),
                        node: Some(id),
                    });
                }
                _ => {
                    above.push(at);
                    at = id;
                }
            }
        }
        Ok(Place {
            dir: at,
            name: None,
            node: Some(at),
        })
    }

    pub(super) fn entry(&self, id: Id, name: Option<Name>) -> FsResult<Entry> {
        let node = self.node(id)?;
        let (kind, size) = match &node.body {
            Body::Dir(_) => (FileKind::Dir, None),
            Body::File(data) => (FileKind::File, Some(data.len() as u64)),
            Body::Link(target) => (FileKind::Symlink, Some(target.len() as u64)),
        };
        Ok(Entry {
            name,
            kind,
            size,
            mode: Some(node.mode),
            owner: None,
            links: Some(node.links),
            modified: Some(node.modified),
            accessed: Some(node.accessed),
            version: Some(node.version),
        })
    }

    pub(super) fn content(&self, id: Id) -> FsResult<Arc<Vec<u8>>> {
        match &self.node(id)?.body {
            Body::File(data) => Ok(data.clone()),
            Body::Dir(_) => Err(FsErrorKind::IsDir.into()),
            Body::Link(_) => Err(FsErrorKind::NotFound.into()),
        }
    }

    pub(super) fn mode(&self, id: Id) -> Option<u32> {
        self.nodes.get(&id).map(|node| node.mode)
    }

    /// Makes a node at `path`, whose name must be free.
    pub(super) fn add(&mut self, path: &VPath, body: Body, mode: u32) -> FsResult<()> {
        let place = self.walk(path, Links::Keep)?;
        if place.node.is_some() {
            return Err(FsErrorKind::Exists.into());
        }
        let name = place.name()?.clone();
        let id = self.insert(body, mode);
        self.dir_mut(place.dir)?.children.insert(name, id);
        Ok(())
    }

    pub(super) fn kept(&self, place: &Place, owner: &Owner) -> Option<&Kept> {
        let key = (owner.0.clone(), place.name.clone()?);
        self.dir(place.dir).ok()?.kept.get(&key)
    }

    /// What an owner left unfinished in a directory; nothing where it is none.
    pub(super) fn kept_in(&self, dir: Id, owner: &Owner) -> Vec<(Name, Partial)> {
        let Ok(dir) = self.dir(dir) else {
            return Vec::new();
        };
        let own = dir.kept.iter().filter(|((whose, _), _)| *whose == owner.0);
        own.map(|((_, name), kept)| {
            let partial = Partial {
                size: kept.data.len() as u64,
                modified: kept.modified,
            };
            (name.clone(), partial)
        })
        .collect()
    }

    pub(super) fn take_kept(&mut self, dir: Id, name: &Name, owner: &Owner) -> Option<Kept> {
        self.dir_mut(dir)
            .ok()?
            .kept
            .remove(&(owner.0.clone(), name.clone()))
    }

    pub(super) fn keep(&mut self, dir: Id, name: &Name, owner: &Owner, kept: Kept) -> FsResult<()> {
        let key = (owner.0.clone(), name.clone());
        self.dir_mut(dir)?.kept.insert(key, kept);
        Ok(())
    }

    /// Counts a write handle in (`true`) or out; a directory that is gone counts nothing.
    pub(super) fn count_writer(&mut self, dir: Id, comes: bool) {
        if let Ok(dir) = self.dir_mut(dir) {
            dir.writers = if comes {
                dir.writers + 1
            } else {
                dir.writers.saturating_sub(1)
            };
        }
    }

    /// The file of a commit: new content under the name, the mode of what was there.
    pub(super) fn publish(
        &mut self,
        dir: Id,
        name: &Name,
        data: Vec<u8>,
        attrs: Attrs,
        how: Rename,
    ) -> FsResult<Entry> {
        let old = self.dir(dir)?.children.get(name).copied();
        if let Some(old) = old {
            if self.dir(old).is_ok() {
                return Err(FsErrorKind::IsDir.into());
            }
            if how == Rename::NoReplace {
                return Err(FsErrorKind::Exists.into());
            }
        }
        let mode = attrs.mode.or(old.and_then(|id| self.mode(id))).unwrap_or(0o640);
        let id = self.insert(Body::File(Arc::new(data)), mode);
        self.dir_mut(dir)?.children.insert(name.clone(), id);
        if let Some(old) = old {
            self.unlink(old);
        }
        self.set_times(Some(id), attrs)?;
        self.entry(id, Some(name.clone()))
    }

    fn unlink(&mut self, id: Id) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.links = node.links.saturating_sub(1);
        if node.links == 0 {
            self.nodes.remove(&id);
        }
    }

    pub(super) fn set_times(&mut self, id: Option<Id>, attrs: Attrs) -> FsResult<()> {
        let node = self.node_mut(id.ok_or(FsErrorKind::NotFound)?)?;
        node.modified = attrs.modified.unwrap_or(node.modified);
        node.accessed = attrs.accessed.unwrap_or(node.accessed);
        Ok(())
    }

    pub(super) fn set_attrs(&mut self, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let id = self.walk(path, links)?.node.ok_or(FsErrorKind::NotFound)?;
        self.version += 1;
        let version = self.version;
        if let Some(size) = attrs.size {
            let mut data = self.content(id)?;
            Arc::make_mut(&mut data).resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
            let node = self.node_mut(id)?;
            node.body = Body::File(data);
            node.modified = now();
            node.version = version;
        }
        let node = self.node_mut(id)?;
        node.mode = attrs.mode.map_or(node.mode, |mode| mode & 0o777);
        self.set_times(Some(id), attrs)
    }

    pub(super) fn remove_file(&mut self, path: &VPath, owner: &Owner) -> FsResult<()> {
        let place = self.walk(path, Links::Keep)?;
        let Some(id) = place.node else {
            let name = place.name()?;
            let kept = self.take_kept(place.dir, name, owner);
            return kept.map(drop).ok_or_else(|| FsErrorKind::NotFound.into());
        };
        if self.dir(id).is_ok() {
            return Err(FsErrorKind::IsDir.into());
        }
        self.dir_mut(place.dir)?.children.remove(place.name()?);
        self.unlink(id);
        self.take_kept(place.dir, place.name()?, owner);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &VPath) -> FsResult<()> {
        let place = self.walk(path, Links::Keep)?;
        let id = place.node.ok_or(FsErrorKind::NotFound)?;
        let name = place.name()?.clone();
        self.check_empty(id)?;
        self.dir_mut(place.dir)?.children.remove(&name);
        self.nodes.remove(&id);
        Ok(())
    }

    /// Kept partials do not count: nobody could remove them otherwise.
    fn check_empty(&self, id: Id) -> FsResult<()> {
        let dir = self.dir(id)?;
        if !dir.children.is_empty() {
            return Err(FsErrorKind::NotEmpty.into());
        }
        if dir.writers > 0 {
            return Err(FsError::new(FsErrorKind::NotEmpty).context("a file is being written there"));
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, owner: &Owner, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let source = self.walk(from, Links::Keep)?;
        let id = source.node.ok_or(FsErrorKind::NotFound)?;
        let old = source.name()?.clone();
        let target = self.walk(to, Links::Keep)?;
        let new = target.name()?.clone();
        let is_dir = self.dir(id).is_ok();
        if let Some(there) = target.node {
            if how == Rename::NoReplace {
                return Err(FsErrorKind::Exists.into());
            }
            if there == id {
                return Ok(());
            }
            match (is_dir, self.dir(there).is_ok()) {
                (false, true) => return Err(FsErrorKind::IsDir.into()),
                (true, false) => return Err(FsErrorKind::NotDir.into()),
                (true, true) => self.check_empty(there)?,
                (false, false) => {}
            }
        }
        if is_dir && self.lies_below(to, id)? {
            return Err(
                FsError::new(FsErrorKind::Conflict).context("a directory cannot be moved into itself")
            );
        }
        if let Some(there) = target.node {
            self.unlink(there);
        }
        self.dir_mut(source.dir)?.children.remove(&old);
        self.dir_mut(target.dir)?.children.insert(new.clone(), id);
        self.take_kept(target.dir, &new, owner);
        Ok(())
    }

    fn lies_below(&self, path: &VPath, dir: Id) -> FsResult<bool> {
        let mut above = path.parent();
        while let Some(parent) = above {
            if self.walk(&parent, Links::Follow)?.node == Some(dir) {
                return Ok(true);
            }
            above = parent.parent();
        }
        Ok(false)
    }

    pub(super) fn copy(&mut self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let id = self
            .walk(from, Links::Follow)?
            .node
            .ok_or(FsErrorKind::NotFound)?;
        let data = self.content(id)?;
        let target = self.walk(to, Links::Keep)?;
        let mode = target.node.or(Some(id)).and_then(|id| self.mode(id));
        let attrs = Attrs {
            mode,
            ..Attrs::default()
        };
        let name = target.name()?.clone();
        self.publish(target.dir, &name, data.to_vec(), attrs, how)
            .map(drop)
    }

    pub(super) fn link(&mut self, existing: &VPath, new: &VPath) -> FsResult<()> {
        let id = self
            .walk(existing, Links::Keep)?
            .node
            .ok_or(FsErrorKind::NotFound)?;
        if self.dir(id).is_ok() {
            return Err(FsErrorKind::IsDir.into());
        }
        let place = self.walk(new, Links::Keep)?;
        if place.node.is_some() {
            return Err(FsErrorKind::Exists.into());
        }
        let name = place.name()?.clone();
        self.dir_mut(place.dir)?.children.insert(name, id);
        self.node_mut(id)?.links += 1;
        Ok(())
    }

    pub(super) fn read_link(&self, path: &VPath) -> FsResult<Vec<u8>> {
        let id = self.walk(path, Links::Keep)?.node.ok_or(FsErrorKind::NotFound)?;
        match &self.node(id)?.body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(FsError::new(FsErrorKind::Conflict).context("not a symbolic link")),
        }
    }

    /// Bytes held, kept partials too.
    pub(super) fn used(&self) -> u64 {
        let held = |node: &Node| match &node.body {
            Body::File(data) => data.len(),
            Body::Dir(dir) => dir.kept.values().map(|kept| kept.data.len()).sum(),
            Body::Link(_) => 0,
        };
        self.nodes.values().map(held).sum::<usize>() as u64
    }

    pub(super) fn count(&self) -> u64 {
        self.nodes.len() as u64
    }
}
