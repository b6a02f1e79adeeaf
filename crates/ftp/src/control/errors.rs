//! From neutral errors to what FTP can say (RFC 959 section 4.2, RFC 1123 section 4.1, RFC 3659).

use portreeve_session::{FsError, FsErrorKind};

use crate::wire::Reply;

/// The reply for an error. No wildcard: a new kind must be answered for here. Codes of the 400s invite a
/// client to try again, so they are for what may pass.
pub(crate) fn reply(error: &FsError) -> Reply {
    let code = match error.kind() {
        FsErrorKind::NotFound
        | FsErrorKind::Exists
        | FsErrorKind::Refused
        | FsErrorKind::Denied
        | FsErrorKind::ReadOnly
        | FsErrorKind::IsDir
        | FsErrorKind::NotDir
        | FsErrorKind::NotEmpty
        | FsErrorKind::Incomplete
        | FsErrorKind::CrossMount => 550,
        FsErrorKind::Unsupported => 504,
        FsErrorKind::NoSpace => 452,
        FsErrorKind::Quota | FsErrorKind::TooLarge => 552,
        FsErrorKind::InvalidName => 553,
        FsErrorKind::Conflict | FsErrorKind::OutOfRange => 554,
        FsErrorKind::Busy | FsErrorKind::Throttled => 450,
        FsErrorKind::TimedOut | FsErrorKind::Backend => 451,
        FsErrorKind::Cancelled => 426,
    };
    Reply::new(code, error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_tell_apart() {
        for (kind, expected) in [
            (FsErrorKind::NotFound, "550 no such file or directory\r\n"),
            (FsErrorKind::NoSpace, "452 no space left on the storage\r\n"),
            (FsErrorKind::Quota, "552 the quota is used up\r\n"),
            (
                FsErrorKind::InvalidName,
                "553 this storage cannot hold such a name\r\n",
            ),
            (FsErrorKind::Backend, "451 the storage failed\r\n"),
        ] {
            let mut out = Vec::new();
            reply(&kind.into()).append_to(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
