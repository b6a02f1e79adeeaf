//! Reading: positional, straight into the caller's buffer, without a hop where no disk is needed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use portreeve_vfs::{Entry, FsResult, ReadFile};
use rustix::{
    fd::OwnedFd,
    fs,
    io::{self, Errno, IoSliceMut, ReadWriteFlags},
};

use crate::{
    error::OrFsError,
    hop::{Hop, blocking},
    stat,
};

/// Distance of the probes into the page cache. The kernel reads ahead at least this much at once.
const PROBE_STRIDE: u64 = 128 << 10;

/// A file open for reading.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) entry: Entry,
    pub(crate) hop: Hop,
    /// Set once the file system said that it cannot answer without waiting.
    pub(crate) no_probe: AtomicBool,
}

#[async_trait]
impl ReadFile for OpenFile {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        let size = self.entry.size.unwrap_or(0);
        if self.hop.data_in_place() || (self.hop == Hop::Local && self.is_cached(at, len, size)) {
            return read_at(&self.file, at, len, size, into);
        }
        let file = Arc::clone(&self.file);
        blocking(move || read_at(&file, at, len, size, into)).await
    }
}

impl OpenFile {
    /// Whether the page cache holds the range: one byte is read at its end, at its start and at every
    /// stride between, without waiting (`RWF_NOWAIT`, preadv2(2)).
    ///
    /// Reading the whole range so would need a buffer that is filled with zeros first; the probes cost
    /// 0.2 µs each. The end comes first, so that the kernel's read-ahead sees a sequential reader.
    fn is_cached(&self, at: u64, len: usize, size: u64) -> bool {
        if self.no_probe.load(Ordering::Relaxed) {
            return false;
        }
        let end = at.saturating_add(len as u64).min(size);
        if at >= end {
            return true; // nothing to read, or a tail that has grown: no disk is asked for
        }
        let mut spot = end - 1;
        loop {
            let mut byte = [0];
            let found = io::preadv2(
                &self.file,
                &mut [IoSliceMut::new(&mut byte)],
                spot,
                ReadWriteFlags::NOWAIT,
            );
            match found {
                Ok(_) if spot == at => return true,
                Ok(_) => spot = spot.saturating_sub(PROBE_STRIDE).max(at),
                Err(Errno::AGAIN | Errno::INTR) => return false,
                Err(_) => {
                    self.no_probe.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
    }
}

/// Appends up to `len` bytes from `at` on; fewer only at the end of the file. `size` is what the file
/// had when it was opened: beyond it the present size is asked, so that nobody reserves memory for
/// bytes that are not there.
pub(crate) fn read_at(
    file: &OwnedFd,
    at: u64,
    len: usize,
    size: u64,
    mut into: Vec<u8>,
) -> FsResult<Vec<u8>> {
    let mut size = size;
    let end = at.saturating_add(len as u64);
    if end > size {
        size = stat::of(file).or_fs()?.stx_size;
    }
    let want = usize::try_from(end.min(size).saturating_sub(at))
        .unwrap_or(len)
        .min(len);
    let goal = into.len() + want;
    into.reserve_exact(want);
    while into.len() < goal {
        let from = at + (want - (goal - into.len())) as u64;
        let got = io::retry_on_intr(|| fill(file, from, goal, &mut into)).or_fs()?;
        if got == 0 {
            break; // cut short meanwhile
        }
    }
    Ok(into)
}

/// One read that ends at `goal` bytes. A buffer with about as much room as is wanted is filled as it is;
/// one with much more would be filled beyond the goal, so there the wanted part is zeroed first.
fn fill(file: &OwnedFd, from: u64, goal: usize, into: &mut Vec<u8>) -> Result<usize, Errno> {
    let start = into.len();
    let want = goal - start;
    if into.capacity() - start <= want + want / 8 {
        let got = io::pread(file, rustix::buffer::spare_capacity(into), from)?;
        into.truncate(goal);
        return Ok(got.min(want));
    }
    into.resize(goal, 0);
    let room = into.get_mut(start..).unwrap_or_default();
    let got = io::pread(file, room, from);
    into.truncate(start + got.as_ref().copied().unwrap_or(0));
    got
}

/// Tells the kernel that the file will be read from the start to the end: twice the read-ahead.
pub(crate) fn advise(file: &OwnedFd) {
    // Only advice: a file system without it reads all the same.
    let _ = fs::fadvise(file, 0, None, fs::Advice::Sequential);
}
