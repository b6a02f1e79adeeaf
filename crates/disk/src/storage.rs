//! Every operation of the storage, synchronous: [`crate::Disk`] decides where each one runs.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use portreeve_model::VPath;
use portreeve_vfs::{
    Cursor, Entry, FileKind, FsError, FsErrorKind, FsResult, Links, OpCx, Owner, Partial, Removal, Rename,
    Space,
};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, OFlags, Statx},
    io::Errno,
};

use crate::{
    draft::{self, Live},
    durable,
    error::{OrFsError, fs_error, outside, refused},
    finish,
    hop::Hop,
    listing::DirStream,
    names,
    pace::Pace,
    read::{self, OpenFile},
    root::Root,
    stat, sweep, undo,
};

/// Opening for reading: never waits for the other end of a pipe, never takes a terminal.
pub(crate) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// What is removed on the blocking pool.
const LARGE: u64 = 64 << 20;

/// The storage.
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Storage {
    pub(crate) root: Root,
    pub(crate) hop: Hop,
    pub(crate) live: Arc<Live>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) fsync: bool,
    pub(crate) hard_links: bool,
    pub(crate) file_mode: u32,
    pub(crate) dir_mode: u32,
    pub(crate) keep: Duration,
    pub(crate) copy_limit: u64,
    pub(crate) device: (u32, u32),
}

impl Storage {
    pub(crate) fn stat(&self, path: &VPath, links: Links) -> FsResult<Entry> {
        names::hide_reserved(path)?;
        let found = self.root.stat(path, links)?;
        Ok(stat::entry(path.file_name(), &found))
    }

    pub(crate) fn list(&self, dir: &VPath, from: Option<&Cursor>) -> FsResult<DirStream> {
        names::hide_reserved(dir)?;
        let fd = self.root.open(dir, READ | OFlags::DIRECTORY)?;
        let hop = self.hop;
        DirStream::open(fd, from, hop, Arc::clone(&self.live), self.keep)
    }

    pub(crate) fn open_read(&self, cx: &OpCx, path: &VPath) -> FsResult<OpenFile> {
        names::hide_reserved(path)?;
        let file = match self.root.open(path, READ) {
            Err(error) if error.kind() == FsErrorKind::NotFound => {
                return Err(self.incomplete(cx, path, error));
            }
            done => done?,
        };
        let mut found = stat::of(&file).or_fs()?;
        regular(&found)?;
        if found.stx_size > self.copy_limit {
            // Large enough to have been appended to in place when the machine went down.
            let (place, _) = self.root.resolve(path)?;
            undo::recover(&place, false)?;
            found = stat::of(&file).or_fs()?;
        }
        read::advise(&file, found.stx_size);
        Ok(OpenFile {
            hop: self.hop_of(&file, &found),
            file: Arc::new(file),
            entry: stat::entry(path.file_name(), &found),
            no_probe: AtomicBool::new(false),
        })
    }

    /// Nothing is there; perhaps the caller left something unfinished.
    fn incomplete(&self, cx: &OpCx, path: &VPath, not_found: FsError) -> FsError {
        match self.partial(&cx.owner, path) {
            Ok(Some(partial)) => FsError::new(FsErrorKind::Incomplete).context(format!(
                "the upload is incomplete, {} bytes are kept",
                partial.size
            )),
            Ok(None) | Err(_) => not_found,
        }
    }

    pub(crate) fn partial(&self, owner: &Owner, path: &VPath) -> FsResult<Option<Partial>> {
        names::hide_reserved(path)?;
        if path.is_root() {
            return Ok(None);
        }
        match self.root.resolve(path) {
            Ok((place, _)) => draft::kept(&self.live, owner, &place, self.keep),
            Err(error)
                if matches!(
                    error.kind(),
                    FsErrorKind::NotFound | FsErrorKind::NotDir | FsErrorKind::IsDir
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn remove(&self, owner: &Owner, path: &VPath, what: Removal) -> FsResult<()> {
        names::hide_reserved(path)?;
        let place = self.root.parent(path)?;
        let name = place.name.as_bytes();
        match what {
            Removal::File => match fs::unlinkat(&*place.dir, name, AtFlags::empty()) {
                Err(Errno::NOENT) if draft::forget(&self.live, owner, &place)? => Ok(()),
                // Both go: for its owner they are one name.
                Ok(()) => draft::forget(&self.live, owner, &place).map(drop),
                done => done.or_fs(),
            },
            Removal::Dir => match fs::unlinkat(&*place.dir, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    sweep::empty_dir(self, &place)?;
                    fs::unlinkat(&*place.dir, name, AtFlags::REMOVEDIR).map_err(|errno| match errno {
                        Errno::EXIST => FsErrorKind::NotEmpty.into(),
                        other => fs_error(other),
                    })
                }
                done => done.or_fs(),
            },
        }
    }

    /// Whether removing what is at `path` would keep a thread busy: the kernel frees some 20 GiB a second.
    pub(crate) fn is_large(&self, path: &VPath) -> bool {
        self.root
            .stat(path, Links::Keep)
            .is_ok_and(|found| found.stx_size > LARGE)
    }

    pub(crate) fn rename(&self, owner: &Owner, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        names::hide_reserved(from)?;
        names::refuse_reserved(to)?;
        let (from, to) = (self.root.parent(from)?, self.root.parent(to)?);
        finish::rename(&from, from.name.as_bytes(), &to, to.name.as_bytes(), how)?;
        // What the same person left unfinished there is older than what is there now: nobody may go on
        // with it by a name that means something else.
        draft::forget(&self.live, owner, &to)?;
        if self.fsync {
            // The new name first: a crash between the two leaves both, never none.
            durable::names(&to.dir)?;
            let (old, new) = (stat::of(&*from.dir).or_fs()?, stat::of(&*to.dir).or_fs()?);
            if stat::identity(&old) != stat::identity(&new) {
                durable::names(&from.dir)?;
            }
        }
        Ok(())
    }

    pub(crate) fn space(&self, path: &VPath) -> FsResult<Space> {
        names::hide_reserved(path)?;
        let object = self.root.open(path, OFlags::PATH)?;
        let room = fs::fstatvfs(object).or_fs()?;
        let unit = room.f_frsize;
        Ok(Space {
            total: room.f_blocks.saturating_mul(unit),
            free: room.f_bfree.saturating_mul(unit),
            available: room.f_bavail.saturating_mul(unit),
            files: room.f_files,
            files_free: room.f_ffree,
            name_max: room.f_namemax,
        })
    }

    pub(crate) fn link(&self, existing: &VPath, new: &VPath) -> FsResult<()> {
        if !self.hard_links {
            return Err(FsErrorKind::Unsupported.into());
        }
        names::hide_reserved(existing)?;
        names::refuse_reserved(new)?;
        let (from, found) = self.root.resolve(existing)?;
        regular(&found.ok_or(FsErrorKind::NotFound)?)?;
        let to = self.root.parent(new)?;
        // Without AT_SYMLINK_FOLLOW: a link swapped in meanwhile is linked itself, not its target.
        fs::linkat(
            &*from.dir,
            from.name.as_bytes(),
            &*to.dir,
            to.name.as_bytes(),
            AtFlags::empty(),
        )
        .or_fs()
    }

    pub(crate) fn read_link(&self, path: &VPath) -> FsResult<Vec<u8>> {
        names::hide_reserved(path)?;
        let place = self.root.parent(path)?;
        let target = match fs::readlinkat(&*place.dir, place.name.as_bytes(), Vec::new()) {
            Err(Errno::INVAL) => {
                return Err(FsError::new(FsErrorKind::Conflict).context("it is no symbolic link"));
            }
            done => done.or_fs()?,
        };
        if target.as_bytes().starts_with(b"/") {
            return Err(outside()); // and its text is a path of the host
        }
        Ok(target.into_bytes())
    }

    /// Where something below may lie on another file system than the root.
    pub(crate) fn hop_of(&self, file: &OwnedFd, found: &Statx) -> Hop {
        if (found.stx_dev_major, found.stx_dev_minor) == self.device {
            self.hop
        } else {
            Hop::of(file)
        }
    }
}

/// The size of a regular file; anything else is refused.
pub(crate) fn regular(found: &Statx) -> FsResult<u64> {
    match stat::kind(found) {
        FileKind::File => Ok(found.stx_size),
        FileKind::Dir => Err(FsErrorKind::IsDir.into()),
        FileKind::Symlink | FileKind::Other => Err(refused("it is neither a file nor a directory")),
    }
}
