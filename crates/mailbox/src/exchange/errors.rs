//! What Graph refuses, in the words of the storage contract.
//!
//! Invariants: what a client may read names neither ids nor addresses nor secrets; what an administrator
//! can do is in the log, told rarely, and names the option.

use std::time::{Duration, Instant};

use portreeve_microsoft::{GraphError, GraphFault};
use portreeve_vfs::{FsError, FsErrorKind, Retry};

use super::Inner;

/// The same trouble with a mailbox is told to the log this often at most.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// When to come back to a service that wants to be left alone and does not say for how long.
const THROTTLED: Duration = Duration::from_mins(1);

/// A refusal as an error of the contract.
pub(super) fn fs_error(error: &GraphError) -> FsError {
    let kind = match &error.kind {
        GraphFault::NotFound if error.mailbox_unknown() => FsErrorKind::Backend,
        GraphFault::NotFound => FsErrorKind::NotFound,
        GraphFault::Denied => FsErrorKind::Denied,
        GraphFault::Exists => FsErrorKind::Exists,
        GraphFault::Throttled => FsErrorKind::Throttled,
        GraphFault::Gone => FsErrorKind::Conflict,
        GraphFault::TooLarge => FsErrorKind::TooLarge,
        GraphFault::Quota => FsErrorKind::Quota,
        GraphFault::Unsupported => FsErrorKind::Unsupported,
        GraphFault::Unauthorized
        | GraphFault::Invalid
        | GraphFault::Unavailable
        | GraphFault::Broken
        | GraphFault::Network
        | GraphFault::Token(_) => FsErrorKind::Backend,
    };
    let retry = match &error.kind {
        GraphFault::Throttled => Retry::After(error.retry_after.unwrap_or(THROTTLED)),
        GraphFault::Unavailable | GraphFault::Broken | GraphFault::Network | GraphFault::Gone => {
            error.retry_after.map_or(Retry::Soon, Retry::After)
        }
        _ => Retry::Never,
    };
    let told = match &error.kind {
        GraphFault::NotFound if error.mailbox_unknown() => {
            "the mail service does not know the mailbox of this storage (its option mailbox)".to_owned()
        }
        GraphFault::Denied => {
            "the application may not open the mailbox of this storage (its option mailbox); the administrator's \
             'portreeve doctor' tells what is missing"
                .to_owned()
        }
        GraphFault::TooLarge => {
            "the mail service takes no message this large; the directory's limit is 35 MB unless its administrator \
             raised it (to 150 MB at most)"
                .to_owned()
        }
        _ => error.told(),
    };
    let made = FsError::new(kind).retry_advice(retry).caused_by(error.clone());
    // The kind's own sentence says it as well.
    if kind == FsErrorKind::NotFound {
        made
    } else {
        made.context(told)
    }
}

impl Inner {
    /// The same, and what an administrator should know is told to the log.
    pub(super) fn told(&self, error: &GraphError) -> FsError {
        let serious = matches!(
            error.kind,
            GraphFault::Denied | GraphFault::Unauthorized | GraphFault::Token(_)
        );
        if serious || error.mailbox_unknown() {
            let mut last = self.told_at.lock();
            if last.is_none_or(|last| last.elapsed() >= TOLD_EVERY) {
                *last = Some(Instant::now());
                tracing::warn!(
                    mailbox = %self.address,
                    %error,
                    "a mailbox (option mailbox of an exchange storage) cannot be opened: see 'portreeve doctor'"
                );
            }
        }
        fs_error(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_kind_and_advice() {
        let error = |kind: GraphFault| GraphError::here(kind, "item AAMk secret-token".into());
        for (kind, want, retry) in [
            (GraphFault::NotFound, FsErrorKind::NotFound, Retry::Never),
            (GraphFault::Denied, FsErrorKind::Denied, Retry::Never),
            (GraphFault::Unauthorized, FsErrorKind::Backend, Retry::Never),
            (GraphFault::Exists, FsErrorKind::Exists, Retry::Never),
            (
                GraphFault::Throttled,
                FsErrorKind::Throttled,
                Retry::After(THROTTLED),
            ),
            (GraphFault::Gone, FsErrorKind::Conflict, Retry::Soon),
            (GraphFault::TooLarge, FsErrorKind::TooLarge, Retry::Never),
            (GraphFault::Quota, FsErrorKind::Quota, Retry::Never),
            (GraphFault::Unsupported, FsErrorKind::Unsupported, Retry::Never),
            (GraphFault::Invalid, FsErrorKind::Backend, Retry::Never),
            (GraphFault::Unavailable, FsErrorKind::Backend, Retry::Soon),
            (GraphFault::Broken, FsErrorKind::Backend, Retry::Soon),
            (GraphFault::Network, FsErrorKind::Backend, Retry::Soon),
        ] {
            let got = fs_error(&error(kind.clone()));
            assert_eq!((got.kind(), got.retry()), (want, retry), "{kind:?}");
            assert!(
                !got.message().contains("AAMk") && !got.message().contains("token"),
                "{}",
                got.message()
            );
        }
    }

    #[test]
    fn a_wait_that_the_service_named_is_passed_on() {
        let mut error = GraphError::here(GraphFault::Throttled, String::new());
        error.retry_after = Some(Duration::from_secs(7));
        assert_eq!(fs_error(&error).retry(), Retry::After(Duration::from_secs(7)));
    }

    #[test]
    fn a_mailbox_that_is_not_known_is_no_missing_file() {
        let mut error = GraphError::here(GraphFault::NotFound, String::new());
        error.code = "ErrorInvalidUser".into();
        let got = fs_error(&error);
        assert_eq!(got.kind(), FsErrorKind::Backend);
        assert!(got.message().contains("option mailbox"), "{}", got.message());
    }
}
