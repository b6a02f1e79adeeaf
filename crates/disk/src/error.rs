//! From the kernel's error numbers to the contract's kinds: the only place that knows both.
//!
//! Invariant: a context never holds a path of the host, only what the client may read.

use portreeve_vfs::{FsError, FsErrorKind, FsResult, Retry};
use rustix::io::Errno;

/// Turns an error number of an operation on an object already found into the contract's error.
pub(crate) fn fs_error(errno: Errno) -> FsError {
    let kind = match errno {
        Errno::NOENT => return FsErrorKind::NotFound.into(),
        Errno::EXIST => return FsErrorKind::Exists.into(),
        Errno::NOTDIR => FsErrorKind::NotDir,
        Errno::ISDIR => FsErrorKind::IsDir,
        Errno::NOTEMPTY => FsErrorKind::NotEmpty,
        Errno::ACCESS | Errno::PERM => FsErrorKind::Denied,
        Errno::ROFS => FsErrorKind::ReadOnly,
        Errno::NOSPC => FsErrorKind::NoSpace,
        Errno::DQUOT => FsErrorKind::Quota,
        Errno::FBIG | Errno::OVERFLOW => FsErrorKind::TooLarge,
        Errno::NAMETOOLONG | Errno::ILSEQ => FsErrorKind::InvalidName,
        Errno::XDEV => FsErrorKind::CrossMount,
        // What opening a socket, or a device without a driver, answers.
        Errno::NXIO | Errno::NODEV => return refused("it is neither a file nor a directory"),
        Errno::LOOP => return refused("too many symbolic links, or one where none is followed"),
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::BUSY
        | Errno::TXTBSY
        | Errno::AGAIN
        | Errno::NOLCK => {
            return FsError::new(FsErrorKind::Busy)
                .retry_advice(Retry::Soon)
                .caused_by(std::io::Error::from(errno));
        }
        Errno::MLINK => FsErrorKind::Conflict,
        Errno::TIMEDOUT => FsErrorKind::TimedOut,
        Errno::OPNOTSUPP | Errno::NOSYS => FsErrorKind::Unsupported,
        _ => FsErrorKind::Backend,
    };
    FsError::new(kind).caused_by(std::io::Error::from(errno))
}

/// The same for the look-up of a path, where EXDEV means that the path leads out of the root.
pub(crate) fn lookup_error(errno: Errno) -> FsError {
    match errno {
        Errno::XDEV => outside(),
        // openat2(2): a rename elsewhere raced with ".." in a link, too often in a row.
        Errno::AGAIN => FsError::new(FsErrorKind::Busy).retry_advice(Retry::Soon),
        other => fs_error(other),
    }
}

/// Something leads out of the storage.
pub(crate) fn outside() -> FsError {
    refused("it leads outside this storage")
}

/// Refused, with a reason that the client may read.
pub(crate) fn refused(why: &'static str) -> FsError {
    FsError::new(FsErrorKind::Refused).context(why)
}

/// Shortens `call().map_err(fs_error)`.
pub(crate) trait OrFsError<T> {
    /// The value, or the contract's error.
    fn or_fs(self) -> FsResult<T>;
}

impl<T> OrFsError<T> for Result<T, Errno> {
    fn or_fs(self) -> FsResult<T> {
        self.map_err(fs_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_reaches_the_client_as_what_it_is() {
        for (errno, kind) in [
            (Errno::NOSPC, FsErrorKind::NoSpace),
            (Errno::DQUOT, FsErrorKind::Quota),
            (Errno::ACCESS, FsErrorKind::Denied),
            (Errno::PERM, FsErrorKind::Denied),
            (Errno::ROFS, FsErrorKind::ReadOnly),
            (Errno::MFILE, FsErrorKind::Busy),
            (Errno::LOOP, FsErrorKind::Refused),
            (Errno::IO, FsErrorKind::Backend),
            (Errno::XDEV, FsErrorKind::CrossMount),
        ] {
            assert_eq!(fs_error(errno).kind(), kind, "{errno:?}");
        }
        assert_eq!(lookup_error(Errno::XDEV).kind(), FsErrorKind::Refused);
    }
}
