//! The ends of an upload: commit, keep, discard, and the change of its target.
//!
//! Invariant: content and attributes are durable before the rename, the rename is durable
//! before the answer. Whatever fails on the way leaves the draft, and the upload open. What has got its
//! name is not touched any more, even where the last step failed.

use std::sync::atomic::Ordering;

use portreeve_model::VPath;
use portreeve_vfs::{Attrs, Entry, FileKind, FsError, FsErrorKind, FsResult, Rename};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, Gid, Mode, RenameFlags, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid},
    io::Errno,
};

use crate::{
    draft::{self, Draft},
    durable,
    error::{OrFsError, refused},
    names,
    root::Place,
    stat::{self, SAFE_MODE},
    upload::{Body, Upload},
};

/// How often the partial name is tried while other uploads take and leave it.
const MAX_RACES: usize = 8;
/// For futimens: both times are set to now.
const NOW: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    },
};

impl Upload {
    /// Makes the upload visible under its name, whole and durable.
    pub(crate) fn commit(&self) -> FsResult<Entry> {
        let _alone = self.turn.write();
        self.open()?;
        let (place, how, attrs) = {
            let state = self.state.lock();
            (state.place.clone(), state.how, state.attrs)
        };
        match &self.body {
            Body::Draft(draft) => self.commit_draft(draft, &place, how, attrs)?,
            Body::InPlace { file, undo } => {
                apply(file, attrs.mode, attrs)?;
                if self.storage.fsync {
                    self.flush()?;
                }
                if let Some(undo) = undo {
                    undo.finish(&place)?;
                }
            }
        }
        self.ended.store(true, Ordering::Release);
        self.entry()
    }

    fn commit_draft(&self, draft: &Draft, place: &Place, how: Rename, attrs: Attrs) -> FsResult<()> {
        draft.mark_complete();
        let name = self.draft_name(draft);
        if !draft.is_in_place(place, &name)? {
            return Err(FsError::new(FsErrorKind::Conflict).context("the unfinished upload was removed"));
        }
        // While it is still ours to change; a draft that is kept after all gets its label back.
        draft.unlabel();
        let old = place.stat()?;
        let mode = match (&old, how) {
            (Some(_), Rename::NoReplace) => return Err(FsErrorKind::Exists.into()),
            (Some(old), Rename::Replace) => Some(inherit(&draft.file, old)?),
            (None, _) => None,
        };
        let mode = attrs.mode.or(mode).unwrap_or_else(|| self.state.lock().new_mode);
        apply(&draft.file, Some(mode), attrs)?;
        let names = if self.storage.fsync {
            self.flush()?;
            Some(durable::Names::of(&place.dir)?)
        } else {
            None
        };
        rename(place, &name, place, place.name.as_bytes(), how)?;
        if let Some(names) = names {
            names.sync()?;
        }
        draft.release(&self.storage.live);
        if !self.has_partial_name(draft) {
            // What the same owner left here earlier is older than what is there now.
            draft::forget(&self.storage.live, &self.owner, place)?;
        }
        Ok(())
    }

    /// Keeps what was written and answers its length.
    pub(crate) fn keep(&self) -> FsResult<u64> {
        let _alone = self.turn.write();
        self.open()?;
        if self.storage.fsync
            && matches!(self.body, Body::Draft(_))
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "an unfinished upload cannot be made durable: it is thrown away");
        }
        self.leave()
    }

    /// The same without making it durable, for whoever is alone with it.
    pub(crate) fn leave(&self) -> FsResult<u64> {
        let Body::Draft(draft) = &self.body else {
            return self.abandon().map(|()| 0);
        };
        let found = stat::of(&draft.file).or_fs()?;
        let place = self.state.lock().place.clone();
        let name = self.draft_name(draft);
        // A second name, or another than its own: a commit got that far and failed only then.
        let hidden = found.stx_nlink == 1 && draft.is_in_place(&place, &name)?;
        let size = draft::gapless(&draft.file, &found);
        if !hidden || size == 0 || draft.is_superseded() || self.is_doubtful() {
            return self.abandon().map(|()| 0);
        }
        if size < found.stx_size {
            fs::ftruncate(&draft.file, size).or_fs()?;
        }
        draft.label(&place.name);
        // A commit that failed may have set the client's times: a partial is as old as its last use.
        fs::futimens(&draft.file, &NOW).or_fs()?;
        if !self.has_partial_name(draft) && !self.take_partial_name(draft, &place, &name)? {
            // The same owner has a second upload of this name going: that one will be kept.
            return self.abandon().map(|()| 0);
        }
        draft.release(&self.storage.live);
        self.ended.store(true, Ordering::Release);
        Ok(size)
    }

    /// Moves the draft to where a resume looks for it; false where another upload writes there.
    fn take_partial_name(&self, draft: &Draft, place: &Place, name: &[u8]) -> FsResult<bool> {
        let partial = names::partial(&self.owner, &place.name);
        for _ in 0..MAX_RACES {
            if !draft::clear(&self.storage.live, place, &partial)? || draft.is_superseded() {
                return Ok(false);
            }
            // Never over another draft: one may have come since.
            match rename(place, name, place, &partial, Rename::NoReplace) {
                Err(error) if error.kind() == FsErrorKind::Exists => {}
                done => return done.map(|()| true),
            }
        }
        Ok(false)
    }

    /// Throws away what was written.
    pub(crate) fn discard(&self) -> FsResult<()> {
        let _alone = self.turn.write();
        self.open()?;
        self.abandon()
    }

    fn abandon(&self) -> FsResult<()> {
        let place = self.state.lock().place.clone();
        match &self.body {
            Body::Draft(draft) => {
                let name = self.draft_name(draft);
                if draft.is_in_place(&place, &name)? {
                    fs::unlinkat(&*place.dir, &name, AtFlags::empty()).or_fs()?;
                }
                // The handle may stay open for long: its space is given back now. Not where it has a name:
                // then a commit failed in its very last step, and everybody sees it.
                if stat::of(&draft.file).is_ok_and(|left| left.stx_nlink == 0) {
                    let _ = fs::ftruncate(&draft.file, 0);
                }
                draft.release(&self.storage.live);
            }
            Body::InPlace {
                file,
                undo: Some(undo),
            } => undo.roll_back(&place, file)?,
            Body::InPlace { undo: None, .. } => {}
        }
        self.ended.store(true, Ordering::Release);
        Ok(())
    }

    /// Changes the name that commit will give.
    pub(crate) fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        let _alone = self.turn.write();
        self.open()?;
        names::refuse_reserved(to)?;
        let Body::Draft(draft) = &self.body else {
            return Err(FsError::new(FsErrorKind::Busy).context("the file is being changed in place"));
        };
        let (target, found) = self.storage.root.resolve(to)?;
        match (&found, how) {
            (Some(_), Rename::NoReplace) => return Err(FsErrorKind::Exists.into()),
            (Some(found), Rename::Replace) => replaceable(found)?,
            (None, _) => {}
        }
        let place = self.state.lock().place.clone();
        let name = self.draft_name(draft);
        if !draft.is_in_place(&place, &name)? {
            return Err(FsError::new(FsErrorKind::Conflict).context("the unfinished upload was removed"));
        }
        let own_name = names::unique(&self.owner, &target.name)?;
        rename(&place, &name, &target, &own_name, Rename::NoReplace)?;
        let mut state = self.state.lock();
        state.place = target;
        state.how = how;
        state.own_name = Some(own_name);
        Ok(())
    }

    fn draft_name(&self, draft: &Draft) -> Vec<u8> {
        self.state
            .lock()
            .own_name
            .clone()
            .unwrap_or_else(|| draft.name.clone())
    }

    pub(crate) fn has_partial_name(&self, draft: &Draft) -> bool {
        draft.partial_name && self.state.lock().own_name.is_none()
    }

    /// Makes the content durable. When that fails once, some of it is lost though reading it back may
    /// not tell, and a second try would succeed (fsync(2)): so it is never trusted again.
    pub(crate) fn flush(&self) -> FsResult<()> {
        if self.is_doubtful() {
            return Err(FsError::new(FsErrorKind::Backend)
                .context("the disk failed to store what was written: upload it again"));
        }
        let done = fs::fsync(self.file());
        self.doubtful.store(done.is_err(), Ordering::Relaxed);
        done.or_fs()
    }

    fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }
}

/// Whether an upload may replace what was found.
pub(crate) fn replaceable(found: &Statx) -> FsResult<()> {
    match stat::kind(found) {
        FileKind::File | FileKind::Symlink => Ok(()),
        FileKind::Dir => Err(FsErrorKind::IsDir.into()),
        FileKind::Other => Err(refused("it is neither a file nor a directory")),
    }
}

/// Gives `file` the owner of the file that it replaces, as far as this process may, and answers the
/// mode to give it (V7).
fn inherit(file: &OwnedFd, old: &Statx) -> FsResult<u32> {
    replaceable(old)?;
    let new = stat::of(file).or_fs()?;
    let owner = (old.stx_uid != new.stx_uid).then(|| Uid::from_raw(old.stx_uid));
    let group = (old.stx_gid != new.stx_gid).then(|| Gid::from_raw(old.stx_gid));
    if owner.is_some() || group.is_some() {
        // A server without CAP_CHOWN may still hand it to a group that it belongs to.
        match fs::fchown(file, owner, group) {
            Err(Errno::PERM) if group.is_some() => drop(fs::fchown(file, None, group)),
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno).or_fs(),
        }
    }
    Ok(u32::from(old.stx_mode) & SAFE_MODE)
}

/// Sets mode, then times: the last that happens to the file before it is visible.
pub(crate) fn apply(file: &OwnedFd, mode: Option<u32>, attrs: Attrs) -> FsResult<()> {
    if let Some(mode) = mode {
        fs::fchmod(file, Mode::from_raw_mode(mode & SAFE_MODE)).or_fs()?;
    }
    if attrs.modified.is_some() || attrs.accessed.is_some() {
        fs::futimens(file, &timestamps(attrs)).or_fs()?;
    }
    Ok(())
}

/// The times of `attrs` as the kernel takes them.
pub(crate) fn timestamps(attrs: Attrs) -> Timestamps {
    let spec = |stamp: Option<portreeve_model::Timestamp>| match stamp {
        Some(stamp) => Timespec {
            tv_sec: stamp.seconds,
            tv_nsec: stamp.nanos.into(),
        },
        None => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    };
    Timestamps {
        last_access: spec(attrs.accessed),
        last_modification: spec(attrs.modified),
    }
}

/// Renames within or between open directories.
pub(crate) fn rename(
    from: &Place,
    from_name: &[u8],
    to: &Place,
    to_name: &[u8],
    how: Rename,
) -> FsResult<()> {
    let done = match how {
        Rename::Replace => fs::renameat(&*from.dir, from_name, &*to.dir, to_name),
        Rename::NoReplace => {
            let flags = RenameFlags::NOREPLACE;
            match fs::renameat_with(&*from.dir, from_name, &*to.dir, to_name, flags) {
                Err(Errno::INVAL | Errno::NOSYS) => link_over(from, from_name, to, to_name),
                done => done,
            }
        }
    };
    done.map_err(|errno| match errno {
        Errno::INVAL => refused("a directory cannot be moved into itself"),
        other => crate::error::fs_error(other),
    })
}

/// For file systems without RENAME_NOREPLACE (some network ones): a hard link never replaces. A
/// directory cannot be linked; there only the look before remains.
fn link_over(from: &Place, from_name: &[u8], to: &Place, to_name: &[u8]) -> Result<(), Errno> {
    match fs::linkat(&*from.dir, from_name, &*to.dir, to_name, AtFlags::empty()) {
        Ok(()) => fs::unlinkat(&*from.dir, from_name, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => match stat::at(&*to.dir, to_name)? {
            Some(_) => Err(Errno::EXIST),
            None => fs::renameat(&*from.dir, from_name, &*to.dir, to_name),
        },
        Err(errno) => Err(errno),
    }
}
