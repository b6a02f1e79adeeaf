//! One directory of a storage as a whole tree (`subpath`).
//!
//! Invariant: no path leaves the directory, and the directory itself, being somebody's root, can be
//! neither removed nor renamed nor replaced. Symbolic links are the storage's matter: one that an
//! administrator laid beneath the storage's root is followed, wherever beneath that root it leads.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, VPath};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, Space, WriteFile,
    remap::{Remap, Remapped},
};

/// A directory of `inner` as a tree of its own.
pub struct Subtree {
    inner: Arc<dyn FileSystem>,
    base: Base,
}

#[derive(Clone)]
struct Base(VPath);

impl Base {
    /// The path below the base.
    fn below(&self, path: &VPath) -> FsResult<VPath> {
        self.0
            .append(path)
            .map_err(|e| FsError::new(FsErrorKind::InvalidName).context(e.to_string()))
    }
}

impl Remap for Base {
    /// The path below the base, of something that can change: not the base itself.
    fn inner(&self, path: &VPath) -> FsResult<VPath> {
        if path.is_root() {
            return Err(
                FsError::new(FsErrorKind::Refused).context("the root directory cannot be changed like that")
            );
        }
        self.below(path)
    }
}

impl Subtree {
    /// The tree below `base`; the directory need not be there yet (see [`Subtree::prepare`]).
    #[must_use]
    pub fn new(inner: Arc<dyn FileSystem>, base: VPath) -> Self {
        Self {
            inner,
            base: Base(base),
        }
    }

    /// Makes the directory, and those above it, where they are missing.
    ///
    /// # Errors
    /// `NotDir` where one of them is a file, and what the storage says to making directories.
    pub async fn prepare(&self, cx: &OpCx) -> FsResult<()> {
        let mut dirs: Vec<VPath> = std::iter::successors(Some(self.base.0.clone()), VPath::parent).collect();
        dirs.pop();
        for dir in dirs.iter().rev() {
            match self.inner.stat(cx, dir, Links::Follow).await {
                Ok(entry) if entry.is_dir() => continue,
                Ok(_) => return Err(FsErrorKind::NotDir.into()),
                Err(e) if e.kind() == FsErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            match self.inner.make_dir(cx, dir, Attrs::default()).await {
                // Somebody else who signs in at the same moment makes it too.
                Err(e) if e.kind() == FsErrorKind::Exists => {}
                end => end?,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl FileSystem for Subtree {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        let mut entry = self.inner.stat(cx, &self.base.below(path)?, links).await?;
        if path.is_root() {
            entry.name = None;
        }
        Ok(entry)
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.inner.list(cx, &self.base.below(dir)?, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.inner.open_read(cx, &self.base.below(file)?).await
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        if file.is_root() {
            return Err(FsErrorKind::IsDir.into());
        }
        let file = self.inner.open_write(cx, &self.base.below(file)?, how).await?;
        Ok(Arc::new(Remapped {
            file,
            map: self.base.clone(),
        }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        if file.is_root() {
            return Ok(None);
        }
        self.inner.partial(cx, &self.base.below(file)?).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        self.inner.partials(cx, &self.base.below(dir)?).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        if dir.is_root() {
            return Err(FsErrorKind::Exists.into());
        }
        self.inner.make_dir(cx, &self.base.below(dir)?, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.inner.remove(cx, &self.base.inner(path)?, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (from, to) = (self.base.inner(from)?, self.base.inner(to)?);
        self.inner.rename(cx, &from, &to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.inner
            .set_attrs(cx, &self.base.below(path)?, attrs, links)
            .await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (from, to) = (self.base.below(from)?, self.base.inner(to)?);
        self.inner.copy(cx, &from, &to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.inner.space(cx, &self.base.below(path)?).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        let (existing, new) = (self.base.inner(existing)?, self.base.inner(new)?);
        self.inner.link(cx, &existing, &new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.inner.read_link(cx, &self.base.below(path)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, WriteMode, testing::*};

    async fn alice() -> (Memory, Subtree) {
        let memory = Memory::new();
        let subtree = Subtree::new(Arc::new(memory.clone()), path("/home/alice"));
        subtree.prepare(&cx("alice")).await.unwrap();
        (memory, subtree)
    }

    #[tokio::test]
    async fn prepares_once_and_again() {
        let (memory, subtree) = alice().await;
        put(&subtree, "/a", b"x").await.unwrap();
        subtree.prepare(&cx("alice")).await.unwrap();
        assert_eq!(get(&memory, "/home/alice/a").await.unwrap(), b"x");
        put(&memory, "/file", b"x").await.unwrap();
        let blocked = Subtree::new(Arc::new(memory), path("/file/sub"));
        assert_eq!(
            blocked.prepare(&cx("a")).await.unwrap_err().kind(),
            FsErrorKind::NotDir
        );
    }

    #[tokio::test]
    async fn stays_below_its_directory() {
        let (memory, subtree) = alice().await;
        put(&memory, "/secret", b"s").await.unwrap();
        let up = path("/x/../../../secret");
        let end = subtree.open_read(&cx("alice"), &up).await.map(drop);
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::NotFound);
    }

    #[tokio::test]
    async fn its_root_cannot_be_taken_away() {
        let (memory, subtree) = alice().await;
        let (me, root) = (cx("alice"), VPath::root());
        put(&subtree, "/a", b"x").await.unwrap();
        for end in [
            subtree.remove(&me, &root, Removal::Dir).await,
            subtree.remove(&me, &root, Removal::File).await,
            subtree.rename(&me, &root, &path("/b"), Rename::Replace).await,
            subtree.rename(&me, &path("/a"), &root, Rename::Replace).await,
            subtree.copy(&me, &path("/a"), &root, Rename::Replace).await,
            subtree.link(&me, &path("/a"), &root).await,
        ] {
            assert_eq!(end.unwrap_err().kind(), FsErrorKind::Refused);
        }
        let how = OpenWrite::new(WriteMode::CreateNew);
        let file = subtree.open_write(&me, &path("/c"), how).await.unwrap();
        let end = file.retarget(&root, Rename::Replace).await;
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::Refused);
        assert_eq!(names(&memory, "/home").await.unwrap(), ["alice"]);
    }

    #[tokio::test]
    async fn an_unprepared_root_does_not_become_a_file() {
        let memory = Memory::new();
        let subtree = Subtree::new(Arc::new(memory.clone()), path("/bob"));
        let how = OpenWrite::new(WriteMode::Replace);
        let end = subtree
            .open_write(&cx("bob"), &VPath::root(), how)
            .await
            .map(drop);
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::IsDir);
        assert!(names(&memory, "/").await.unwrap().is_empty());
    }
}
