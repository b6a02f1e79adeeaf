//! The crash rule for appending in place (V6): the old length is written down first, and cut back to
//! when the upload did not finish.
//!
//! Invariant: the journal is durable before the first byte is appended, and removed only after the
//! file is durable. A journal without a lock is left by a crash.

use portreeve_model::Name;
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Retry};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, FlockOperation, Mode, OFlags},
    io::{self, Errno},
};

use crate::{durable, error::OrFsError, names, root::Place, stat};

/// Inode and length, as eight bytes each, then the name.
const HEAD: usize = 16;
/// How often taking a journal is tried while others finish with it.
const MAX_RACES: usize = 8;

/// The written-down length of a file that is being appended to.
#[derive(Debug)]
pub(crate) struct Undo {
    journal: OwnedFd,
    name: Vec<u8>,
    len: u64,
    durable: bool,
}

impl Undo {
    /// Writes down that the open `file` at `place` has `len` bytes.
    pub(crate) fn begin(place: &Place, file: &OwnedFd, len: u64, durable: bool) -> FsResult<Self> {
        let name = names::undo(&place.name);
        let journal = Self::take(place, &name)?;
        let inode = stat::of(file).or_fs()?.stx_ino;
        let mut text = Vec::with_capacity(HEAD + place.name.as_bytes().len());
        text.extend_from_slice(&inode.to_le_bytes());
        text.extend_from_slice(&len.to_le_bytes());
        text.extend_from_slice(place.name.as_bytes());
        fs::ftruncate(&journal, 0).or_fs()?;
        if io::pwrite(&journal, &text, 0).or_fs()? != text.len() {
            return Err(FsErrorKind::NoSpace.into());
        }
        if durable {
            fs::fsync(&journal).or_fs()?;
            durable::names(&place.dir)?;
        }
        Ok(Self {
            journal,
            name,
            len,
            durable,
        })
    }

    /// Opens and locks the journal: the one that has the name when the lock is held.
    fn take(place: &Place, name: &[u8]) -> FsResult<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for _ in 0..MAX_RACES {
            let journal = fs::openat(&*place.dir, name, flags, Mode::RUSR | Mode::WUSR).or_fs()?;
            match fs::flock(&journal, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN) => return Err(busy()),
                Err(errno) => return Err(errno).or_fs(),
            }
            if is_in_place(place, name, &journal)? {
                return Ok(journal);
            }
        }
        Err(busy())
    }

    /// The append is done and durable: the old length is of no more use. It must be gone for good before
    /// anybody is told: should a power loss bring it back, what was appended would be cut off again.
    pub(crate) fn finish(&self, place: &Place) -> FsResult<()> {
        match fs::unlinkat(&*place.dir, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).or_fs(),
        }
        if self.durable {
            durable::names(&place.dir)?;
        }
        let _ = fs::flock(&self.journal, FlockOperation::Unlock);
        Ok(())
    }

    /// Cuts `file` back.
    pub(crate) fn roll_back(&self, place: &Place, file: &OwnedFd) -> FsResult<()> {
        fs::ftruncate(file, self.len).or_fs()?;
        if self.durable {
            fs::fsync(file).or_fs()?;
        }
        self.finish(place)
    }
}

/// Cuts the file at `place` back where a crash left a journal for it. A live append is `Busy` for
/// writers, of no concern to readers. Answers whether a journal was played back.
pub(crate) fn recover(place: &Place, for_writing: bool) -> FsResult<bool> {
    let journal = names::undo(&place.name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match fs::openat(&*place.dir, &journal, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno).or_fs(),
    };
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) if for_writing => return Err(busy()),
        Err(Errno::AGAIN) => return Ok(false),
        Err(errno) => return Err(errno).or_fs(),
    }
    if !is_in_place(place, &journal, &file)? {
        return Ok(false); // finished between open and lock
    }
    if let Some((inode, len, name)) = read(&file)?
        && name == place.name
    {
        cut(place, inode, len)?;
    }
    match fs::unlinkat(&*place.dir, &journal, AtFlags::empty()) {
        // For good, before the file may grow again.
        Ok(()) | Err(Errno::NOENT) => durable::names(&place.dir).map(|()| true),
        Err(errno) => Err(errno).or_fs(),
    }
}

/// The name that a journal speaks of; none where a crash left it empty.
pub(crate) fn target(journal: &OwnedFd) -> FsResult<Option<Name>> {
    Ok(read(journal)?.map(|(_, _, name)| name))
}

fn is_in_place(place: &Place, name: &[u8], journal: &OwnedFd) -> FsResult<bool> {
    let (open, now) = (stat::of(journal).or_fs()?, stat::at(&*place.dir, name).or_fs()?);
    Ok(now.is_some_and(|now| stat::identity(&now) == stat::identity(&open)))
}

fn cut(place: &Place, inode: u64, len: u64) -> FsResult<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let target = match fs::openat(&*place.dir, place.name.as_bytes(), flags, Mode::empty()) {
        Ok(target) => target,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
        Err(errno) => return Err(errno).or_fs(),
    };
    let found = stat::of(&target).or_fs()?;
    // Another inode is another file: it was replaced since, as a whole.
    if found.stx_ino == inode && found.stx_size > len {
        tracing::warn!(
            bytes = found.stx_size - len,
            "cut back an append that a crash broke off"
        );
        fs::ftruncate(&target, len).or_fs()?;
        fs::fsync(&target).or_fs()?;
    }
    Ok(())
}

fn read(journal: &OwnedFd) -> FsResult<Option<(u64, u64, Name)>> {
    let mut text = Vec::with_capacity(HEAD + 255);
    io::pread(journal, rustix::buffer::spare_capacity(&mut text), 0).or_fs()?;
    let Some((inode, rest)) = text.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((len, name)) = rest.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let name = Name::new(name).ok();
    Ok(name.map(|name| (u64::from_le_bytes(*inode), u64::from_le_bytes(*len), name)))
}

fn busy() -> FsError {
    FsError::new(FsErrorKind::Busy)
        .context("somebody else is appending to this file")
        .retry_advice(Retry::Soon)
}
