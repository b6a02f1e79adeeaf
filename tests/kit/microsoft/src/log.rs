//! What was asked and what was answered, call by call.
//! Invariant: every request has one entry, each request of a batch one of its own.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

use parking_lot::Mutex;

/// Which of its hosts a call went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The token endpoint, discovery, keys.
    Entra,
    /// Graph.
    Graph,
    /// Upload sessions.
    Upload,
}

/// A call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where it went.
    pub host: Host,
    /// Its method.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// The status of the answer; 0 if the connection was broken instead, or while there is no answer yet.
    pub status: u16,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the body of the answer.
    pub bytes_out: u64,
    /// The mailbox it spoke of, in lower case.
    pub mailbox: Option<String>,
    /// Whether it brought a bearer token that is good.
    pub bearer: Option<bool>,
    /// Its `Prefer` headers in one line.
    pub prefer: String,
    /// Its `client-request-id`.
    pub request_id: Option<String>,
    /// Whether it stood in a batch.
    pub batched: bool,
    /// Whether it came by HTTP/2.
    pub http2: bool,
}

#[derive(Debug)]
struct Entry {
    call: Call,
    status: Arc<AtomicU16>,
    out: Arc<AtomicU64>,
}

/// Where an answer notes what it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    status: Arc<AtomicU16>,
    out: Arc<AtomicU64>,
}

impl Note {
    pub(crate) fn status(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.out.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Vec<Entry>>,
}

impl Log {
    pub(crate) fn add(&self, call: Call) -> Note {
        let note = Note::default();
        self.entries.lock().push(Entry {
            call,
            status: Arc::clone(&note.status),
            out: Arc::clone(&note.out),
        });
        note
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        let entries = self.entries.lock();
        let read = |entry: &Entry| Call {
            status: entry.status.load(Ordering::SeqCst),
            bytes_out: entry.out.load(Ordering::SeqCst),
            ..entry.call.clone()
        };
        entries.iter().map(read).collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}
