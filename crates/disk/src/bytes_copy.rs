//! Copies a file's content: by reference where the file system can, else inside the kernel, else by
//! hand. Holes stay holes.

use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use rustix::{
    fd::OwnedFd,
    fs::{self, SeekFrom},
    io::{self, Errno},
};

use crate::{error::OrFsError, stat};

/// One step inside the kernel: short enough that a cancelled session does not copy on for long.
const STEP: u64 = 64 << 20;
const BY_HAND: u64 = 1 << 20;

/// Makes `to` (empty) share the content of `from`; false where the file system cannot.
pub(crate) fn by_reference(from: &OwnedFd, to: &OwnedFd) -> bool {
    fs::ioctl_ficlone(to, from).is_ok()
}

/// Copies the first `len` bytes of `from` into `to`, which is empty. `go_on` is asked between steps.
pub(crate) fn by_value(from: &OwnedFd, to: &OwnedFd, len: u64, go_on: impl Fn() -> bool) -> FsResult<()> {
    fs::ftruncate(to, len).or_fs()?;
    let mut at = 0;
    while at < len {
        let start = match fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break, // only a hole is left
            Err(_) => at,
        };
        let end = fs::seek(from, SeekFrom::Hole(start)).unwrap_or(len).min(len);
        at = start;
        while at < end {
            if !go_on() {
                return Err(FsErrorKind::Cancelled.into());
            }
            match step(from, to, at, end - at)? {
                0 => return Err(cut_short()),
                copied => at += copied,
            }
        }
    }
    // A hole at the end looks like a file that was cut off there.
    let left = stat::of(from).or_fs()?.stx_size;
    if left < len { Err(cut_short()) } else { Ok(()) }
}

/// Zeros in place of what is gone would pass for the file.
fn cut_short() -> FsError {
    FsError::new(FsErrorKind::Conflict).context("the file was cut short while it was being copied: try again")
}

fn step(from: &OwnedFd, to: &OwnedFd, at: u64, left: u64) -> FsResult<u64> {
    let (mut read_at, mut write_at) = (at, at);
    let want = usize::try_from(left.min(STEP)).unwrap_or(usize::MAX);
    match fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), want) {
        Ok(copied) => Ok(copied as u64),
        Err(Errno::INTR) => step(from, to, at, left),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => by_hand(from, to, at, left),
        Err(errno) => Err(errno).or_fs(),
    }
}

fn by_hand(from: &OwnedFd, to: &OwnedFd, at: u64, left: u64) -> FsResult<u64> {
    let mut buffer = Vec::with_capacity(usize::try_from(left.min(BY_HAND)).unwrap_or(0));
    let got =
        io::retry_on_intr(|| io::pread(from, rustix::buffer::spare_capacity(&mut buffer), at)).or_fs()?;
    let mut rest = buffer.as_slice();
    let mut to_at = at;
    while !rest.is_empty() {
        let wrote = io::retry_on_intr(|| io::pwrite(to, rest, to_at)).or_fs()?;
        to_at += wrote as u64;
        rest = rest.get(wrote..).unwrap_or_default();
    }
    Ok(got as u64)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::*;

    #[test]
    fn a_source_that_is_cut_short_meanwhile_is_no_copy() {
        for (left, holes) in [(100, false), (0, false), (100, true)] {
            let mut source = tempfile::tempfile().unwrap();
            source.write_all(&vec![7; 4096]).unwrap();
            if holes {
                source.set_len(8192).unwrap();
            }
            let len = source.metadata().unwrap().len();
            source.set_len(left).unwrap();
            let target = File::options()
                .read(true)
                .write(true)
                .open(tempfile::NamedTempFile::new().unwrap().path());
            let copied = by_value(&source.into(), &target.unwrap().into(), len, || true);
            assert_eq!(
                copied.unwrap_err().kind(),
                FsErrorKind::Conflict,
                "{left} {holes}"
            );
        }
    }
}
