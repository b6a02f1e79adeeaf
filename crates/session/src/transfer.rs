//! A file open for reading, counted and recorded.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use portreeve_model::{Act, Transfer, VPath};
use portreeve_vfs::{Entry, FsError, FsErrorKind, FsResult, Note, ReadFile, contained};

use crate::{
    choke::{self, Known},
    digest::Digest,
    live::Live,
    mandate::Mandate,
    rate::Bucket,
};

/// A file open for reading. Many reads may be in flight. When the last handle is dropped, one event
/// is recorded.
pub struct Download {
    pub(crate) live: Arc<Live>,
    pub(crate) path: VPath,
    pub(crate) file: Arc<dyn ReadFile>,
    pub(crate) note: Option<Note>,
    pub(crate) mandate: Mandate,
    pub(crate) rate: Option<Arc<Bucket>>,
    pub(crate) digest: Option<Digest>,
    pub(crate) began: Instant,
    pub(crate) bytes: AtomicU64,
    pub(crate) failed: Mutex<Option<FsError>>,
    pub(crate) tls_reused: OnceLock<bool>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({})", self.path)
    }
}

impl Download {
    /// What was opened, as it was then.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        self.file.entry()
    }

    /// Under which path.
    #[must_use]
    pub const fn path(&self) -> &VPath {
        &self.path
    }

    /// Appends up to `len` bytes from offset `at` to `into` and gives it back: fewer only at the end
    /// of the file, none beyond it.
    ///
    /// # Errors
    /// What the storage says; `Cancelled` once the session is over; `Refused` once the plan has changed
    /// and does not allow it any more.
    pub async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        if self.live.is_over() {
            return Err(over());
        }
        self.mandate
            .stands(&self.live, || self.path.clone())
            .inspect_err(|error| self.fail(error))?;
        if let Some(rate) = &self.rate {
            self.live.unless_over(rate.pass(len)).await?;
        }
        let before = into.len();
        let filled = contained(self.file.read(at, len, into))
            .await
            .inspect_err(|error| self.fail(error))?;
        let read = filled.get(before..).unwrap_or_default();
        if let Some(digest) = self.digest.as_ref().filter(|_| !read.is_empty()) {
            digest.update(at, read);
        }
        let read = read.len() as u64;
        self.bytes.fetch_add(read, Ordering::Relaxed);
        self.live.bytes_read.fetch_add(read, Ordering::Relaxed);
        self.live.touch();
        Ok(filled)
    }

    /// Notes that its data connection has TLS, and whether that resumed the session of the control
    /// connection: the event will say so.
    pub fn over_tls(&self, reused: bool) {
        let _ = self.tls_reused.set(reused);
    }

    /// Notes a failure, the door's own among them (the client went in mid-file): the event will say so.
    pub fn fail(&self, error: &FsError) {
        self.failed.lock().get_or_insert_with(|| error.clone());
    }
}

fn over() -> FsError {
    FsError::new(FsErrorKind::Cancelled).context("the session is over")
}

impl Drop for Download {
    fn drop(&mut self) {
        self.live.transfers.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let size = self.entry().size;
        let digest = self
            .digest
            .as_ref()
            .filter(|_| size.is_none_or(|size| size == bytes))
            .and_then(Digest::finish);
        let act = Act::Download(Transfer {
            path: self.path.clone(),
            bytes,
            size,
            digest,
            kept: None,
        });
        metrics::counter!("portreeve_bytes_total", "direction" => "read").increment(bytes);
        let cut = self.live.is_over() && size.is_some_and(|size| bytes < size);
        let failed = self.failed.get_mut().take().or_else(|| cut.then(over));
        let result = failed.map_or(Ok(()), Err);
        // The bytes are gone already: a lost record is counted, and stops what comes next.
        let known = Known {
            note: self.note.as_ref(),
            tls_reused: self.tls_reused.get().copied(),
        };
        let _ = choke::record_with(&self.live, act, &result, self.began.elapsed(), known);
    }
}
