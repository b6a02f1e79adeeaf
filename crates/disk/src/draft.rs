//! Draft files: what an upload writes to before it has its name.
//!
//! Invariant: a draft is written only under an exclusive lock (flock(2)), which the kernel drops when
//! the process dies. A draft under its owner's partial name without a lock *is* the kept partial,
//! whether the upload was broken off in order or by a crash.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use portreeve_model::Name;
use portreeve_vfs::{FileKind, FsError, FsErrorKind, FsResult, Owner, Partial};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, FlockOperation, Mode, OFlags, SeekFrom, Statx},
    io::Errno,
};

use crate::{
    error::OrFsError,
    label, names,
    root::Place,
    stat::{self, Identity},
};

/// How often taking a name is tried while others take and leave it.
const MAX_RACES: usize = 32;
/// Another process looks whether the partial is in use: it holds the lock for a moment.
const PROBE_PAUSE: Duration = Duration::from_millis(1);
const MAX_PROBES: usize = 3;
/// The smallest block in which a gap can be told.
const MIN_BLOCK: u32 = 4096;

/// The drafts that uploads of this process hold, and whether a later upload of the same owner to the
/// same name has been committed since: then there is nothing left to keep.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<HashMap<Identity, Arc<AtomicBool>>>);

impl Live {
    fn enter(&self, id: Identity) -> Arc<AtomicBool> {
        let superseded = Arc::new(AtomicBool::new(false));
        self.0.lock().insert(id, Arc::clone(&superseded));
        superseded
    }

    /// Whether an upload of this process holds it.
    pub(crate) fn holds(&self, stat: &Statx) -> bool {
        self.0.lock().contains_key(&stat::identity(stat))
    }

    fn supersede(&self, stat: &Statx) -> bool {
        let live = self.0.lock();
        let Some(flag) = live.get(&stat::identity(stat)) else {
            return false;
        };
        flag.store(true, Ordering::Relaxed);
        true
    }
}

/// An open, locked draft.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) file: OwnedFd,
    /// Its name in the directory of the target.
    pub(crate) name: Vec<u8>,
    /// Whether that is the owner's partial name, else one of its own.
    pub(crate) partial_name: bool,
    /// Bytes of a kept partial in it.
    pub(crate) kept: u64,
    id: Identity,
    superseded: Arc<AtomicBool>,
    /// Whether it bears a target's name (see [`label`]).
    labelled: AtomicBool,
}

impl Draft {
    /// Opens the draft for `owner`'s upload to `place`, with what was kept there in it.
    pub(crate) fn take(live: &Live, owner: &Owner, place: &Place, keep: Duration) -> FsResult<Self> {
        let partial = names::partial(owner, &place.name);
        for _ in 0..MAX_RACES {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = fs::openat(&*place.dir, &partial, flags, Mode::RUSR | Mode::WUSR).or_fs()?;
            if !lock(live, &file)? {
                return Self::unique(live, owner, place);
            }
            let open = stat::of(&file).or_fs()?;
            if !is_same(place, &partial, &open)? {
                continue; // committed or swept between open and lock
            }
            if open.stx_nlink > 1 {
                // A crash in mid-commit (see `finish::link_over`): it has its real name, too.
                fs::unlinkat(&*place.dir, &partial, AtFlags::empty()).or_fs()?;
                continue;
            }
            let kept = if is_alive(&open, keep) {
                gapless(&file, &open)
            } else {
                0
            };
            if kept < open.stx_size {
                fs::ftruncate(&file, kept).or_fs()?;
            }
            let labelled = label::is_there(&file);
            let id = stat::identity(&open);
            let superseded = live.enter(id);
            return Ok(Self {
                file,
                name: partial,
                partial_name: true,
                kept,
                id,
                superseded,
                labelled: AtomicBool::new(labelled),
            });
        }
        Self::unique(live, owner, place)
    }

    /// A new draft under a name of its own.
    pub(crate) fn unique(live: &Live, owner: &Owner, place: &Place) -> FsResult<Self> {
        let name = names::unique(owner, &place.name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&*place.dir, &name, flags, Mode::RUSR | Mode::WUSR).or_fs()?;
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).or_fs()?;
        let id = stat::identity(&stat::of(&file).or_fs()?);
        let superseded = live.enter(id);
        Ok(Self {
            file,
            name,
            partial_name: false,
            kept: 0,
            id,
            superseded,
            labelled: AtomicBool::new(false),
        })
    }

    /// Throws away what was kept in it.
    pub(crate) fn empty(&mut self) -> FsResult<()> {
        if self.kept > 0 {
            fs::ftruncate(&self.file, 0).or_fs()?;
            self.kept = 0;
        }
        Ok(())
    }

    /// Whether a later upload of the same owner to the same name was committed.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// The client has sent everything, though it cannot have its name: that is worth keeping, whatever
    /// was committed meanwhile.
    pub(crate) fn mark_complete(&self) {
        self.superseded.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_labelled(&self) -> bool {
        self.labelled.load(Ordering::Relaxed)
    }

    /// Writes the target's name on it.
    pub(crate) fn label(&self, target: &Name) {
        label::write(&self.file, target);
        self.labelled.store(true, Ordering::Relaxed);
    }

    /// Takes the label off, before it becomes a file that everybody sees and that may be renamed.
    pub(crate) fn unlabel(&self) {
        if self.labelled.swap(false, Ordering::Relaxed) {
            label::erase(&self.file);
        }
    }

    /// Gives the lock back: from now on it is a partial, or nobody's.
    pub(crate) fn release(&self, live: &Live) {
        live.0.lock().remove(&self.id);
        // Failing leaves it locked until the descriptor closes, a moment later.
        let _ = fs::flock(&self.file, FlockOperation::Unlock);
    }

    /// Whether its name still belongs to it: then a rename moves this file and no other.
    pub(crate) fn is_in_place(&self, place: &Place, name: &[u8]) -> FsResult<bool> {
        is_same(place, name, &stat::of(&self.file).or_fs()?)
    }
}

/// What `owner` left unfinished under `place`.
pub(crate) fn kept(live: &Live, owner: &Owner, place: &Place, keep: Duration) -> FsResult<Option<Partial>> {
    let name = names::partial(owner, &place.name);
    let Some(found) = stat::at(&*place.dir, &name).or_fs()? else {
        return Ok(None);
    };
    let foreign = stat::kind(&found) != FileKind::File || found.stx_nlink > 1;
    if foreign || !is_alive(&found, keep) || live.holds(&found) {
        return Ok(None);
    }
    let Some(file) = open_unlocked(place, &name, &found)? else {
        return Ok(None);
    };
    let size = gapless(&file, &found);
    let modified = stat::modified(&found);
    Ok((size > 0).then_some(Partial { size, modified }))
}

/// How much of a draft a resume may go on from: the bytes before the first gap. A crash can cut
/// off while a later write is there and an earlier one is not. The kernel tells gaps by whole blocks, so
/// the block before one is not trusted either.
pub(crate) fn gapless(file: &OwnedFd, stat: &Statx) -> u64 {
    let size = stat.stx_size;
    match fs::seek(file, SeekFrom::Hole(0)) {
        Ok(gap) if gap < size => gap.saturating_sub(stat.stx_blksize.max(MIN_BLOCK).into()),
        // Where the file system cannot tell, there is always one gap: behind the end.
        Ok(_) | Err(_) => size,
    }
}

/// Removes what `owner` left unfinished under `place`; false where there is nothing. An upload that is
/// still going on loses its right to be kept instead.
pub(crate) fn forget(live: &Live, owner: &Owner, place: &Place) -> FsResult<bool> {
    let name = names::partial(owner, &place.name);
    let Some(found) = stat::at(&*place.dir, &name).or_fs()? else {
        return Ok(false);
    };
    if live.supersede(&found) {
        return Ok(false);
    }
    remove_unlocked(live, place, &name, |_| true)
}

/// Removes a partial that is older than `keep` and that nobody writes to.
pub(crate) fn sweep(live: &Live, place: &Place, keep: Duration) -> FsResult<bool> {
    remove_unlocked(live, place, place.name.as_bytes(), |stat| !is_alive(stat, keep))
}

/// Clears `name` for a draft that moves there; false where another upload writes to it.
pub(crate) fn clear(live: &Live, place: &Place, name: &[u8]) -> FsResult<bool> {
    Ok(stat::at(&*place.dir, name).or_fs()?.is_none() || remove_unlocked(live, place, name, |_| true)?)
}

fn remove_unlocked(
    live: &Live,
    place: &Place,
    name: &[u8],
    wanted: impl FnOnce(&Statx) -> bool,
) -> FsResult<bool> {
    let Some(file) = open(place, name)? else {
        return Ok(false);
    };
    let open = stat::of(&file).or_fs()?;
    if !wanted(&open) || !lock(live, &file)? || !is_same(place, name, &open)? {
        return Ok(false);
    }
    match fs::unlinkat(&*place.dir, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).or_fs(),
    }
}

fn open_unlocked(place: &Place, name: &[u8], found: &Statx) -> FsResult<Option<OwnedFd>> {
    let Some(file) = open(place, name)? else {
        return Ok(None);
    };
    match fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(is_same(place, name, found)?.then_some(file)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno).or_fs(),
    }
}

fn open(place: &Place, name: &[u8]) -> FsResult<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match fs::openat(&*place.dir, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).or_fs(),
    }
}

/// Locks a draft; false where another upload writes to it.
fn lock(live: &Live, file: &OwnedFd) -> FsResult<bool> {
    let open = stat::of(file).or_fs()?;
    if stat::kind(&open) != FileKind::File {
        return Err(
            FsError::new(FsErrorKind::Refused).context("a reserved name is taken by something foreign")
        );
    }
    for _ in 0..MAX_PROBES {
        if live.holds(&open) {
            return Ok(false);
        }
        match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::AGAIN) => std::thread::sleep(PROBE_PAUSE),
            Err(errno) => return Err(errno).or_fs(),
        }
    }
    Ok(false)
}

fn is_same(place: &Place, name: &[u8], open: &Statx) -> FsResult<bool> {
    let now = stat::at(place.dir.as_fd(), name).or_fs()?;
    Ok(now.is_some_and(|now| stat::identity(&now) == stat::identity(open)))
}

fn is_alive(stat: &Statx, keep: Duration) -> bool {
    // A commit that was broken off may have set the client's time: one in the future would never pass.
    let modified = SystemTime::from(stat::modified(stat).min(stat::changed(stat)));
    // A clock that went back makes a partial young, never dead.
    SystemTime::now()
        .duration_since(modified)
        .map_or(true, |age| age <= keep)
}
