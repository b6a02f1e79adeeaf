//! One error for every backend: a neutral kind, advice about trying again, and what it was about.

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// What went wrong, in the domain's terms. Each door translates every kind, without a wildcard arm,
/// so that a new kind fails to compile until every door answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsErrorKind {
    /// Nothing is there (or nothing that this person may know of).
    NotFound,
    /// Something is there already, and replacing it was not asked for.
    Exists,
    /// Policy forbids it: a missing verb, a rule, a protected name.
    Refused,
    /// The backend's own permissions forbid it (EACCES, EPERM).
    Denied,
    /// The storage is read-only (EROFS).
    ReadOnly,
    /// A directory where a file is needed.
    IsDir,
    /// A file where a directory is needed.
    NotDir,
    /// The directory is not empty.
    NotEmpty,
    /// The backend cannot do this at all.
    Unsupported,
    /// The storage is full (ENOSPC).
    NoSpace,
    /// A quota is used up (EDQUOT, or ours).
    Quota,
    /// The file is larger than the limit.
    TooLarge,
    /// A name that this storage cannot hold.
    InvalidName,
    /// It changed in between, or the offset does not fit what is there.
    Conflict,
    /// The file is there in part only: an upload that was not finished.
    Incomplete,
    /// The range lies outside the file.
    OutOfRange,
    /// The two paths are on different storages.
    CrossMount,
    /// Too many handles or sessions, or somebody else holds it.
    Busy,
    /// The remote store asks us to slow down.
    Throttled,
    /// It took too long.
    TimedOut,
    /// The operation was cancelled: the session ended.
    Cancelled,
    /// The storage or something it depends on failed.
    Backend,
}

impl FsErrorKind {
    /// A short plain sentence for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "no such file or directory",
            Self::Exists => "it exists already",
            Self::Refused => "permission denied",
            Self::Denied => "the storage denies access",
            Self::ReadOnly => "the storage is read-only",
            Self::IsDir => "it is a directory",
            Self::NotDir => "it is not a directory",
            Self::NotEmpty => "the directory is not empty",
            Self::Unsupported => "this storage does not support that",
            Self::NoSpace => "no space left on the storage",
            Self::Quota => "the quota is used up",
            Self::TooLarge => "the file is too large",
            Self::InvalidName => "this storage cannot hold such a name",
            Self::Conflict => "it does not fit what is there",
            Self::Incomplete => "the file is incomplete",
            Self::OutOfRange => "the range lies outside the file",
            Self::CrossMount => "different storages",
            Self::Busy => "too busy",
            Self::Throttled => "the store asks to slow down",
            Self::TimedOut => "it took too long",
            Self::Cancelled => "cancelled",
            Self::Backend => "the storage failed",
        }
    }
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// At once or soon.
    Soon,
    /// Not before this long.
    After(Duration),
}

/// An error: kind, context for people, retry advice, source for the log.
#[derive(Debug, Clone)]
pub struct FsError {
    kind: FsErrorKind,
    retry: Retry,
    context: Option<Box<str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// A result of the contract.
pub type FsResult<T> = Result<T, FsError>;

impl FsError {
    /// An error of `kind`, not worth repeating.
    #[must_use]
    pub const fn new(kind: FsErrorKind) -> Self {
        Self {
            kind,
            retry: Retry::Never,
            context: None,
            source: None,
        }
    }

    /// Adds what a person should know: it is shown to the client, so it names no secret and no
    /// path of the host.
    #[must_use]
    pub fn context(mut self, text: impl Into<Box<str>>) -> Self {
        self.context = Some(text.into());
        self
    }

    /// Adds retry advice.
    #[must_use]
    pub const fn retry_advice(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Adds the cause: for the log only.
    #[must_use]
    pub fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> FsErrorKind {
        self.kind
    }

    /// The retry advice.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }

    /// What a client may read: the context where there is one, else the kind's sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        self.context.as_deref().unwrap_or(self.kind.text())
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl Error for FsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl From<FsErrorKind> for FsError {
    fn from(kind: FsErrorKind) -> Self {
        Self::new(kind)
    }
}
