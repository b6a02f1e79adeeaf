//! Every operation of the storage, synchronous: [`crate::Disk`] decides where each one runs.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Cursor, Entry, FileKind, FsError, FsErrorKind, FsResult, Links, OpCx, OpenWrite, Owner, Partial,
    Removal, Rename, Space, WriteMode,
};
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{self, AtFlags, CWD, Mode, OFlags, Statx},
    io::Errno,
};

use crate::{
    bytes_copy,
    draft::{self, Draft, Live},
    durable,
    error::{OrFsError, fs_error, outside, refused},
    finish::{self, replaceable},
    hop::Hop,
    listing::DirStream,
    names,
    pace::Pace,
    read::{self, OpenFile},
    root::{Place, Root},
    stat::{self, SAFE_MODE},
    sweep,
    undo::{self, Undo},
    upload::{Body, Upload},
};

/// Opening for reading: never waits for the other end of a pipe, never takes a terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

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

    pub(crate) fn open_write(
        self: &Arc<Self>,
        cx: &OpCx,
        path: &VPath,
        how: &OpenWrite,
    ) -> FsResult<Arc<Upload>> {
        names::refuse_reserved(path)?;
        if path.is_root() {
            return Err(FsErrorKind::IsDir.into());
        }
        let (place, found) = self.root.resolve(path)?;
        if let Some(found) = &found {
            replaceable(found)?;
        }
        if how.mode == WriteMode::CreateNew && found.is_some() {
            return Err(FsErrorKind::Exists.into());
        }
        let mut draft = Draft::take(&self.live, &cx.owner, &place, self.keep)?;
        let body = match self.prepare(cx, &place, found.as_ref(), how, &mut draft) {
            Ok(Some(in_place)) => {
                self.drop_draft(&place, &draft);
                in_place
            }
            Ok(None) => Body::Draft(draft),
            Err(error) => {
                // Only what this call has made: a kept partial outlives a refused open.
                if draft.kept == 0 {
                    self.drop_draft(&place, &draft);
                } else {
                    draft.release(&self.live);
                }
                return Err(error);
            }
        };
        let rename = match how.mode {
            WriteMode::CreateNew => Rename::NoReplace,
            _ => Rename::Replace,
        };
        let appends = matches!(how.mode, WriteMode::Append { .. });
        let upload = Upload::new(
            Arc::clone(self),
            cx.owner.clone(),
            place,
            rename,
            body,
            how.attrs,
            appends,
        );
        if let Some(size) = how.attrs.size {
            fs::ftruncate(upload.file(), size).or_fs()?;
        }
        Ok(Arc::new(upload))
    }

    /// Fills the draft as `how` wants it, or answers that the file is to be changed in place.
    fn prepare(
        &self,
        cx: &OpCx,
        place: &Place,
        found: Option<&Statx>,
        how: &OpenWrite,
        draft: &mut Draft,
    ) -> FsResult<Option<Body>> {
        let create = match how.mode {
            WriteMode::CreateNew | WriteMode::Replace => {
                draft.empty()?;
                self.room_for(place, how.size_hint)?;
                return Ok(None);
            }
            _ if draft.kept > 0 => return fits(how.mode, draft.kept).map(|()| None),
            WriteMode::Update { create } | WriteMode::Append { create } => create,
            WriteMode::Resume { .. } => true,
        };
        let Some(found) = found else {
            if !create {
                return Err(FsErrorKind::NotFound.into());
            }
            fits(how.mode, 0)?;
            self.room_for(place, how.size_hint)?;
            return Ok(None);
        };
        undo::recover(place, true)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let old = match fs::openat(&*place.dir, place.name.as_bytes(), flags, Mode::empty()) {
            Ok(old) => old,
            Err(errno) => return Err(fs_error(errno)),
        };
        let size = regular(&stat::of(&old).or_fs()?)?;
        debug_assert!(stat::kind(found) == FileKind::File);
        fits(how.mode, size)?;
        if bytes_copy::by_reference(&old, &draft.file) {
            return Ok(None);
        }
        if size <= self.copy_limit {
            bytes_copy::by_value(&old, &draft.file, size, || !cx.cancel.is_cancelled())?;
            return Ok(None);
        }
        let undo = match how.mode {
            WriteMode::Append { .. } | WriteMode::Resume { .. } => {
                Some(Undo::begin(place, &old, size, self.fsync)?)
            }
            _ => None,
        };
        Ok(Some(Body::InPlace { file: old, undo }))
    }

    fn drop_draft(&self, place: &Place, draft: &Draft) {
        if draft.is_in_place(place, &draft.name).unwrap_or(false) {
            // A draft that cannot be removed is empty and goes with the next sweep.
            let _ = fs::unlinkat(&*place.dir, &draft.name, AtFlags::empty());
        }
        draft.release(&self.live);
    }

    /// Refuses early what cannot fit.
    fn room_for(&self, place: &Place, announced: Option<u64>) -> FsResult<()> {
        let Some(announced) = announced.filter(|size| *size > 0) else {
            return Ok(());
        };
        let room = fs::fstatvfs(&*place.dir).or_fs()?;
        if announced > room.f_bavail.saturating_mul(room.f_frsize) {
            return Err(FsErrorKind::NoSpace.into());
        }
        Ok(())
    }

    pub(crate) fn make_dir(&self, path: &VPath, attrs: Attrs) -> FsResult<()> {
        names::refuse_reserved(path)?;
        if path.is_root() {
            return Err(FsErrorKind::Exists.into());
        }
        let place = self.root.parent(path)?;
        let name = place.name.as_bytes();
        fs::mkdirat(&*place.dir, name, Mode::RWXU).or_fs()?;
        // Not by mkdirat: the umask would cut bits off, and set-group-id is inherited, not given.
        let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(&*place.dir, name, flags, Mode::empty()).or_fs()?;
        let inherited = u32::from(stat::of(&made).or_fs()?.stx_mode) & Mode::SGID.as_raw_mode();
        let mode = attrs.mode.map_or(self.dir_mode, |mode| mode & SAFE_MODE);
        fs::fchmod(&made, Mode::from_raw_mode(mode | inherited)).or_fs()?;
        finish::apply(&made, None, attrs)
    }

    pub(crate) fn remove(&self, owner: &Owner, path: &VPath, what: Removal) -> FsResult<()> {
        names::hide_reserved(path)?;
        let place = self.root.parent(path)?;
        let name = place.name.as_bytes();
        match what {
            Removal::File => match fs::unlinkat(&*place.dir, name, AtFlags::empty()) {
                Err(Errno::NOENT) if draft::forget(&self.live, owner, &place)? => Ok(()),
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

    pub(crate) fn rename(&self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        names::hide_reserved(from)?;
        names::refuse_reserved(to)?;
        let (from, to) = (self.root.parent(from)?, self.root.parent(to)?);
        finish::rename(&from, from.name.as_bytes(), &to, to.name.as_bytes(), how)?;
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

    pub(crate) fn set_attrs(&self, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        names::hide_reserved(path)?;
        if attrs.is_empty() {
            return self.root.stat(path, links).map(drop);
        }
        let nofollow = match links {
            Links::Follow => OFlags::empty(),
            Links::Keep => OFlags::NOFOLLOW,
        };
        let object = self.root.open(path, OFlags::PATH | nofollow)?;
        let found = stat::of(&object).or_fs()?;
        match stat::kind(&found) {
            FileKind::File | FileKind::Dir => {}
            // A link has no content and no mode; its times can be set.
            FileKind::Symlink if attrs.size.is_none() && attrs.mode.is_none() => {}
            FileKind::Symlink | FileKind::Other => {
                return Err(refused("it is neither a file nor a directory"));
            }
        }
        if let Some(size) = attrs.size {
            regular(&found)?;
            let file = self.reopen(path, OFlags::WRONLY | nofollow, &found)?;
            fs::ftruncate(&file, size).or_fs()?;
        }
        if let Some(mode) = attrs.mode {
            self.set_mode(path, &object, &found, nofollow, mode & SAFE_MODE)?;
        }
        if attrs.modified.is_some() || attrs.accessed.is_some() {
            fs::utimensat(&object, c"", &finish::timestamps(attrs), AtFlags::EMPTY_PATH).or_fs()?;
        }
        Ok(())
    }

    fn set_mode(
        &self,
        path: &VPath,
        object: &OwnedFd,
        found: &Statx,
        nofollow: OFlags,
        mode: u32,
    ) -> FsResult<()> {
        let kept = if stat::kind(found) == FileKind::Dir {
            u32::from(found.stx_mode) & Mode::SGID.as_raw_mode()
        } else {
            0
        };
        let mode = Mode::from_raw_mode(mode | kept);
        match self.reopen(path, READ | nofollow, found) {
            Ok(open) => fs::fchmod(open, mode).or_fs(),
            // Ours to change, but not to read: through the descriptor's own magic link.
            Err(error) if error.kind() == FsErrorKind::Denied => {
                let link = format!("/proc/self/fd/{}", object.as_raw_fd());
                fs::chmodat(CWD, link, mode, AtFlags::empty()).or_fs()
            }
            Err(error) => Err(error),
        }
    }

    /// Opens `path` once more for a use that `O_PATH` does not allow, and makes sure it is the same.
    fn reopen(&self, path: &VPath, flags: OFlags, found: &Statx) -> FsResult<OwnedFd> {
        let open = self.root.open(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if stat::identity(&stat::of(&open).or_fs()?) != stat::identity(found) {
            return Err(FsErrorKind::Conflict.into());
        }
        Ok(open)
    }

    pub(crate) fn copy(self: &Arc<Self>, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        names::hide_reserved(from)?;
        names::refuse_reserved(to)?;
        let source = self.root.open(from, READ)?;
        let found = stat::of(&source).or_fs()?;
        let size = regular(&found)?;
        let (place, target) = self.root.resolve(to)?;
        match (&target, how) {
            (Some(_), Rename::NoReplace) => return Err(FsErrorKind::Exists.into()),
            (Some(target), Rename::Replace) => replaceable(target)?,
            (None, _) => self.room_for(&place, None)?,
        }
        let draft = Draft::unique(&self.live, &cx.owner, &place)?;
        let mode = Attrs {
            mode: Some(found.stx_mode.into()),
            ..Attrs::default()
        };
        let upload = Arc::new(Upload::new(
            Arc::clone(self),
            cx.owner.clone(),
            place,
            how,
            Body::Draft(draft),
            mode,
            false,
        ));
        if !bytes_copy::by_reference(&source, upload.file()) {
            let copied = bytes_copy::by_value(&source, upload.file(), size, || !cx.cancel.is_cancelled());
            if let Err(error) = copied {
                upload.discard()?;
                return Err(error);
            }
        }
        if let Err(error) = upload.commit() {
            upload.discard()?;
            return Err(error);
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
    fn hop_of(&self, file: &OwnedFd, found: &Statx) -> Hop {
        if (found.stx_dev_major, found.stx_dev_minor) == self.device {
            self.hop
        } else {
            Hop::of(file)
        }
    }

    pub(crate) fn hop_of_upload(&self, upload: &Upload) -> Hop {
        stat::of(upload.file()).map_or(Hop::Remote, |found| self.hop_of(upload.file(), &found))
    }
}

/// The size of a regular file; anything else is refused.
fn regular(found: &Statx) -> FsResult<u64> {
    match stat::kind(found) {
        FileKind::File => Ok(found.stx_size),
        FileKind::Dir => Err(FsErrorKind::IsDir.into()),
        FileKind::Symlink | FileKind::Other => Err(refused("it is neither a file nor a directory")),
    }
}

/// Whether a resume goes on exactly where what is there ends.
fn fits(mode: WriteMode, len: u64) -> FsResult<()> {
    match mode {
        WriteMode::Resume { at } if at != len => Err(FsError::new(FsErrorKind::Conflict)
            .context(format!("cannot go on at {at}: {len} bytes are there"))),
        _ => Ok(()),
    }
}
