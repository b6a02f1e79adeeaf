//! Making names durable: the last step of whatever is promised to survive a power loss.

use portreeve_vfs::FsResult;
use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::error::OrFsError;

/// Makes the names in `dir` durable.
pub(crate) fn names(dir: &OwnedFd) -> FsResult<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::openat(dir, c".", flags, Mode::empty()) {
        Ok(open) => fs::fsync(open).or_fs(),
        // A drop box: a directory that may be written to, but not read, cannot be opened. The whole
        // file system can, by any descriptor that is not O_PATH; there is none, so ask for everything.
        Err(Errno::ACCESS | Errno::PERM) => {
            fs::sync();
            Ok(())
        }
        Err(errno) => Err(errno).or_fs(),
    }
}
