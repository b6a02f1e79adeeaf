//! What can go wrong between us and an IMAP server, and what people hear of it.
//!
//! Invariants: no text holds a secret: credentials are never echoed, and what the server says is bounded.

use std::time::Duration;

use portreeve_vfs::{FsError, FsErrorKind, Retry};

use super::wire::Status;

/// An error of IMAP.
#[derive(Debug, Clone)]
pub(super) struct ImapError {
    /// What it is.
    pub(super) kind: Kind,
    /// For the log, and where `kind` says so for people.
    pub(super) text: String,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server cannot be reached.
    Unreachable,
    /// It was reached, but does not take our credentials.
    SignIn,
    /// The connection broke: what was asked may have happened, or not.
    Lost,
    /// The server refused (NO), or did not understand (BAD).
    Refused,
    /// What was asked for is not there, or no longer.
    Gone,
    /// Something is there already.
    Exists,
    /// The quota is used up.
    Quota,
    /// The server may not be used that way.
    Denied,
    /// The server lacks what would be needed.
    Unsupported,
    /// Too much is under way.
    Busy,
    /// The server answers more than is held in memory.
    TooMuch,
}

impl ImapError {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// A broken connection.
    pub(super) fn lost(text: impl Into<String>) -> Self {
        Self::new(Kind::Lost, text)
    }

    /// A refusal, by its code (RFC 5530).
    pub(super) fn refused(command: &str, status: &Status) -> Self {
        let code = status.code.as_deref().unwrap_or_default();
        let code = code.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let kind = match &*code {
            "NONEXISTENT" | "TRYCREATE" => Kind::Gone,
            "ALREADYEXISTS" => Kind::Exists,
            "OVERQUOTA" => Kind::Quota,
            "NOPERM" | "PRIVACYREQUIRED" => Kind::Denied,
            "INUSE" | "LIMIT" | "UNAVAILABLE" | "SERVERBUG" | "THROTTLED" => Kind::Busy,
            "CANNOT" => Kind::Unsupported,
            _ => Kind::Refused,
        };
        Self::new(kind, format!("{command}: the mail server says: {}", status.text))
    }
}

impl std::fmt::Display for ImapError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ImapError {}

impl From<ImapError> for FsError {
    fn from(error: ImapError) -> Self {
        let soon = Retry::After(Duration::from_secs(5));
        let (kind, retry, told) = match error.kind {
            Kind::Unreachable => (
                FsErrorKind::Backend,
                soon,
                "the mail server cannot be reached; the administrator can ask 'portreeve doctor'",
            ),
            Kind::SignIn => (
                FsErrorKind::Denied,
                Retry::Never,
                "the mail server does not let us in; the administrator can ask 'portreeve doctor'",
            ),
            Kind::Lost => (
                FsErrorKind::Backend,
                Retry::Soon,
                "the connection to the mail server broke",
            ),
            Kind::TooMuch => (FsErrorKind::TooLarge, Retry::Never, &*error.text),
            Kind::Busy => (FsErrorKind::Throttled, soon, "the mail server is busy"),
            Kind::Gone => (FsErrorKind::NotFound, Retry::Never, ""),
            Kind::Exists => (FsErrorKind::Exists, Retry::Never, ""),
            Kind::Quota => (FsErrorKind::Quota, Retry::Never, "the mailbox is full"),
            Kind::Denied => (
                FsErrorKind::Denied,
                Retry::Never,
                "the mail server does not allow it",
            ),
            Kind::Unsupported => (FsErrorKind::Unsupported, Retry::Never, &*error.text),
            Kind::Refused => (FsErrorKind::Backend, Retry::Never, "the mail server refused"),
        };
        let told = told.to_owned();
        let mut out = Self::new(kind).retry_advice(retry);
        if !told.is_empty() {
            out = out.context(told);
        }
        out.caused_by(error)
    }
}
