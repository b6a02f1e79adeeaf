//! Making names durable: the last step of whatever is promised to survive a power loss.

use portreeve_vfs::FsResult;
use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::error::OrFsError;

/// The names in a directory, about to change. Opened before the change, so that want of a descriptor
/// or of a permission is known while nothing has happened yet.
pub(crate) struct Names(Option<OwnedFd>);

impl Names {
    /// Opens `dir` for it.
    pub(crate) fn of(dir: &OwnedFd) -> FsResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match fs::openat(dir, c".", flags, Mode::empty()) {
            Ok(open) => Ok(Self(Some(open))),
            Err(Errno::ACCESS | Errno::PERM) => Ok(Self(None)),
            Err(errno) => Err(errno).or_fs(),
        }
    }

    /// Makes what has been changed durable.
    pub(crate) fn sync(&self) -> FsResult<()> {
        let Some(open) = &self.0 else {
            // A drop box: a directory that may be written to, but not read, cannot be opened. The whole
            // file system can, by any descriptor that is not O_PATH; there is none, so ask for everything.
            fs::sync();
            return Ok(());
        };
        fs::fsync(open).or_fs()
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn names(dir: &OwnedFd) -> FsResult<()> {
    Names::of(dir)?.sync()
}
