//! From neutral errors to what SFTP can say (draft-ietf-secsh-filexfer-02 §7).
//!
//! Version 3 has four codes for everything, so the message carries what matters: OpenSSH and lftp show it.

use portreeve_session::{FsError, FsErrorKind};

use crate::wire::Status;

/// The code and the text for an error. No wildcard: a new kind must be answered for here.
pub(crate) fn status(error: &FsError) -> (Status, &str) {
    let code = match error.kind() {
        FsErrorKind::NotFound => Status::NoSuchFile,
        FsErrorKind::Refused | FsErrorKind::Denied | FsErrorKind::ReadOnly => Status::PermissionDenied,
        FsErrorKind::Unsupported => Status::OpUnsupported,
        FsErrorKind::OutOfRange => Status::Eof,
        FsErrorKind::Exists
        | FsErrorKind::IsDir
        | FsErrorKind::NotDir
        | FsErrorKind::NotEmpty
        | FsErrorKind::NoSpace
        | FsErrorKind::Quota
        | FsErrorKind::TooLarge
        | FsErrorKind::InvalidName
        | FsErrorKind::Conflict
        | FsErrorKind::Incomplete
        | FsErrorKind::CrossMount
        | FsErrorKind::Busy
        | FsErrorKind::Throttled
        | FsErrorKind::TimedOut
        | FsErrorKind::Cancelled
        | FsErrorKind::Backend => Status::Failure,
    };
    (code, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: FsErrorKind, code: Status, text: &str) {
        assert_eq!(status(&kind.into()), (code, text), "{kind:?}");
    }

    #[test]
    fn what_clients_tell_apart() {
        check(
            FsErrorKind::NotFound,
            Status::NoSuchFile,
            "no such file or directory",
        );
        check(
            FsErrorKind::Refused,
            Status::PermissionDenied,
            "permission denied",
        );
        check(
            FsErrorKind::ReadOnly,
            Status::PermissionDenied,
            "the storage is read-only",
        );
        check(
            FsErrorKind::NoSpace,
            Status::Failure,
            "no space left on the storage",
        );
        check(FsErrorKind::Quota, Status::Failure, "the quota is used up");
        check(FsErrorKind::CrossMount, Status::Failure, "different storages");
        check(
            FsErrorKind::Unsupported,
            Status::OpUnsupported,
            "this storage does not support that",
        );
    }
}
