//! The storage as the contract wants it: each operation of [`Storage`], run where it may wait.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsResult, Links, Listing, OpCx, OpenWrite, Partial,
    ReadFile, Removal, Rename, Space, WriteFile, WriteMode,
};
use rustix::{
    fs::{self, CWD, Mode, OFlags},
    io::Errno,
};

use crate::{
    Options, Swept, Symlinks,
    draft::Live,
    hop::{Hop, blocking},
    label,
    options::OpenError,
    pace::Pace,
    root::Root,
    stat,
    storage::Storage,
    sweep,
    upload::Handle,
};

/// A directory of this machine as a storage, confined to it by the kernel.
#[derive(Clone)]
pub struct Disk {
    storage: Arc<Storage>,
    capabilities: Capabilities,
}

impl Disk {
    /// Opens the root and keeps it open: whatever is renamed or mounted over it later, the storage
    /// stays where it was.
    ///
    /// # Errors
    /// [`OpenError`], which says what is wrong with the root and what to do.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let fail = |doing, hint, errno: Errno| OpenError {
            root: options.root.clone(),
            doing,
            hint,
            source: errno.into(),
        };
        if options.create_root {
            match fs::mkdir(&options.root, Mode::from_raw_mode(options.dir_mode.0)) {
                // Whatever else is wrong, opening it says better.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => {
                    return Err(fail(
                        "make",
                        "make its parent directory, or correct `root`",
                        Errno::NOENT,
                    ));
                }
                Err(_) => {}
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, &options.root, flags, Mode::empty()).map_err(|errno| {
            let hint = match errno {
                Errno::NOENT => "make the directory, or set `create_root = true`",
                Errno::NOTDIR => "`root` must name a directory",
                Errno::ACCESS | Errno::PERM => {
                    "give the server's user read, write and search permission on it"
                }
                _ => "see whether its file system is mounted and sound",
            };
            fail("open", hint, errno)
        })?;
        let found =
            stat::of(&fd).map_err(|errno| fail("look at", "see whether its file system is sound", errno))?;
        let hop = Hop::of(&fd);
        let list_partials = label::is_supported(&fd);
        let root = Root::new(fd, options.symlinks == Symlinks::Follow);
        if options.symlinks == Symlinks::Follow && !root.follows() {
            tracing::warn!(
                "openat2 is missing here (Linux before 5.6, or a sandbox): no symbolic link is followed"
            );
        }
        let capabilities = Capabilities {
            hard_links: options.hard_links,
            list_partials,
            ..Capabilities::full()
        };
        let storage = Storage {
            root,
            hop,
            live: Arc::new(Live::default()),
            pace: Arc::new(Pace::default()),
            fsync: options.fsync,
            hard_links: options.hard_links,
            file_mode: options.file_mode.0,
            dir_mode: options.dir_mode.0,
            keep: options.partials_keep.0,
            copy_limit: options.copy_limit.0,
            device: (found.stx_dev_major, found.stx_dev_minor),
        };
        Ok(Self {
            storage: Arc::new(storage),
            capabilities,
        })
    }

    /// Whether calls may hang: it lies on a network file system, or on one that is not known.
    #[must_use]
    pub fn may_hang(&self) -> bool {
        self.storage.hop == Hop::Remote
    }

    /// Walks the whole storage and clears away partials that are older than they are kept, and what a
    /// crash left of appends in place. For the start of the server and every hour.
    ///
    /// # Errors
    /// Only when the server is shutting down; what could not be cleared is counted and logged.
    pub async fn sweep(&self) -> FsResult<Swept> {
        let storage = Arc::clone(&self.storage);
        blocking(move || Ok(sweep::everything(&storage))).await
    }

    /// Runs a metadata operation: in place where that cannot hang.
    async fn quick<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Storage>) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        if self.storage.hop.metadata_in_place() {
            return work(&self.storage);
        }
        self.slow(work).await
    }

    /// Runs an operation that waits for the disk.
    async fn slow<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Storage>) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        if self.storage.hop.data_in_place() {
            return work(&self.storage);
        }
        let storage = Arc::clone(&self.storage);
        blocking(move || work(&storage)).await
    }
}

#[async_trait]
impl FileSystem for Disk {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn stat(&self, _cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        let path = path.clone();
        self.quick(move |storage| storage.stat(&path, links)).await
    }

    async fn list(&self, _cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let dir = dir.clone();
        let stream = self
            .quick(move |storage| storage.list(&dir, from.as_ref()))
            .await?;
        Ok(Box::new(stream))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let (cx, file) = (cx.clone(), file.clone());
        let open = self.quick(move |storage| storage.open_read(&cx, &file)).await?;
        Ok(Arc::new(open))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let (cx, file) = (cx.clone(), file.clone());
        // Going on with an existing file may mean to copy it first.
        let quick = matches!(how.mode, WriteMode::CreateNew | WriteMode::Replace);
        let work = move |storage: &Arc<Storage>| {
            let upload = storage.open_write(&cx, &file, &how)?;
            let hop = storage.hop_of_upload(&upload);
            Ok(Handle {
                upload,
                hop,
                read_back: how.read_back,
            })
        };
        let handle = if quick {
            self.quick(work).await?
        } else {
            self.slow(work).await?
        };
        Ok(Arc::new(handle))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        let (owner, file) = (cx.owner.clone(), file.clone());
        self.quick(move |storage| storage.partial(&owner, &file)).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        if !self.capabilities.list_partials {
            return Ok(Vec::new());
        }
        let (storage, cx, dir) = (Arc::clone(&self.storage), cx.clone(), dir.clone());
        // It reads the whole directory.
        blocking(move || storage.partials(&cx, &dir)).await
    }

    async fn make_dir(&self, _cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        let dir = dir.clone();
        self.quick(move |storage| storage.make_dir(&dir, attrs)).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        let (owner, path) = (cx.owner.clone(), path.clone());
        let large = self.storage.hop == Hop::Local && self.storage.is_large(&path);
        let remove = move |storage: &Arc<Storage>| storage.remove(&owner, &path, what);
        if large {
            self.slow(remove).await
        } else {
            self.quick(remove).await
        }
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (owner, from, to) = (cx.owner.clone(), from.clone(), to.clone());
        self.slow(move |storage| storage.rename(&owner, &from, &to, how))
            .await
    }

    async fn set_attrs(&self, _cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let path = path.clone();
        let set = move |storage: &Arc<Storage>| storage.set_attrs(&path, attrs, links);
        // Cutting a large file short takes a while.
        if attrs.size.is_some() {
            self.slow(set).await
        } else {
            self.quick(set).await
        }
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (cx, from, to) = (cx.clone(), from.clone(), to.clone());
        let storage = Arc::clone(&self.storage);
        blocking(move || storage.copy(&cx, &from, &to, how)).await
    }

    async fn space(&self, _cx: &OpCx, path: &VPath) -> FsResult<Space> {
        let path = path.clone();
        self.quick(move |storage| storage.space(&path)).await
    }

    async fn link(&self, _cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        let (existing, new) = (existing.clone(), new.clone());
        self.quick(move |storage| storage.link(&existing, &new)).await
    }

    async fn read_link(&self, _cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        let path = path.clone();
        self.quick(move |storage| storage.read_link(&path)).await
    }
}

#[cfg(test)]
impl Disk {
    fn changed(&self, change: impl FnOnce(&mut Storage)) -> Self {
        let mut storage = Storage::clone(&self.storage);
        change(&mut storage);
        Self {
            storage: Arc::new(storage),
            capabilities: self.capabilities.clone(),
        }
    }

    /// As on a file system that may hang.
    pub(crate) fn as_if_remote(&self) -> Self {
        self.changed(|storage| {
            storage.hop = Hop::Remote;
            storage.device = (u32::MAX, u32::MAX);
        })
    }

    /// As on a file system that keeps no extended attributes.
    pub(crate) fn as_if_without_attributes(&self) -> Self {
        let mut disk = self.clone();
        disk.capabilities.list_partials = false;
        disk
    }

    /// As on a kernel or in a sandbox without openat2.
    pub(crate) fn as_if_without_openat2(&self) -> Self {
        self.changed(|storage| storage.root.forget_openat2())
    }
}
