//! How long a transfer may take, how far it has come, and what can break it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use portreeve_session::{FsError, FsErrorKind};

/// What limits the time of a transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long nothing may move while we wait for the client.
    pub(crate) stall: Duration,
    /// How long all of it may take, whoever is waited for.
    pub(crate) transfer: Duration,
}

/// How many bytes have passed, for whoever asks meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Passed>);

#[derive(Debug, Default)]
struct Passed {
    bytes: AtomicU64,
    stopped: AtomicBool,
}

impl Progress {
    /// Bytes so far, as they are on the wire before TLS.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has an upload take no more: it writes what it took and ends as [`Broken::Stopped`]. Nobody is woken:
    /// whoever stops it goes on polling it.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}

/// Why a transfer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The storage failed or refused.
    #[error("{0}")]
    Storage(FsError),
    /// The data connection broke, and how.
    #[error("the data connection broke: {0}")]
    Reset(String),
    /// The client closed it without the farewell of TLS: more may have been meant to come.
    #[error("the data connection was closed without TLS close_notify: the file may be cut")]
    CutShort,
    /// Nothing moved for too long.
    #[error("nothing moved on the data connection for too long")]
    Stalled,
    /// [`Progress::stop`] was called.
    #[error("the transfer was stopped")]
    Stopped,
    /// It took longer than any transfer may.
    #[error("the transfer took longer than transfers may")]
    TooLong,
}

impl Broken {
    /// What the record of the transfer says.
    pub(crate) fn error(&self) -> FsError {
        match self {
            Self::Storage(error) => error.clone(),
            Self::Stalled | Self::TooLong => FsError::new(FsErrorKind::TimedOut).context(self.to_string()),
            Self::Reset(_) | Self::CutShort | Self::Stopped => {
                FsError::new(FsErrorKind::Cancelled).context(self.to_string())
            }
        }
    }

    pub(super) fn io(error: &io::Error) -> Self {
        Self::Reset(said(error))
    }
}

/// What an error says, on one line of sane length.
pub(super) fn said(error: &io::Error) -> String {
    error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

impl From<FsError> for Broken {
    fn from(error: FsError) -> Self {
        Self::Storage(error)
    }
}
