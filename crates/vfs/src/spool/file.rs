//! One spooled file: without a name, sealed, counted against its area.
//!
//! Invariants: every byte of its length is reserved before it is written and given back when the file goes;
//! disk calls and ciphers run on blocking threads.

use std::{io, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{area::SpoolArea, sealed::Sealed};
use crate::{FsError, FsErrorKind, FsResult};

/// One file without a name, encrypted by a key that lives in memory only.
pub struct SpoolFile {
    file: Arc<Sealed>,
    area: Arc<SpoolArea>,
    len: Mutex<u64>,
}

impl SpoolFile {
    /// A new, empty one.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn create(area: Arc<SpoolArea>) -> FsResult<Self> {
        let directory = area.directory().to_owned();
        let file = blocking(move || Sealed::new(tempfile::tempfile_in(directory)?)).await?;
        Ok(Self {
            file: Arc::new(file),
            area,
            len: Mutex::new(0),
        })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        *self.len.lock()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes at `at`, or at the end, and answers where the data ends.
    ///
    /// # Errors
    /// `TooLarge` and `NoSpace` by the area's limits, else what the disk says.
    pub async fn write(&self, at: Option<u64>, data: Vec<Bytes>) -> FsResult<u64> {
        let count: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        let (at, stop) = self.claim(at, count)?;
        let file = self.file.clone();
        blocking(move || {
            let mut at = at;
            for piece in data {
                file.write(at, &piece)?;
                at += piece.len() as u64;
            }
            Ok(())
        })
        .await?;
        Ok(stop)
    }

    fn claim(&self, at: Option<u64>, count: u64) -> FsResult<(u64, u64)> {
        let mut len = self.len.lock();
        let at = at.unwrap_or(*len);
        let stop = at.checked_add(count).ok_or(FsErrorKind::TooLarge)?;
        if count == 0 {
            return Ok((at, *len));
        }
        self.area.check(stop)?;
        if stop > *len {
            self.area.reserve(stop - *len)?;
            *len = stop;
        }
        Ok((at, stop))
    }

    /// Cuts or extends.
    ///
    /// # Errors
    /// As for a write.
    pub async fn resize(&self, size: u64) -> FsResult<()> {
        self.area.check(size)?;
        {
            let mut len = self.len.lock();
            if size > *len {
                self.area.reserve(size - *len)?;
            } else {
                self.area.release(*len - size);
            }
            *len = size;
        }
        let file = self.file.clone();
        // What is extended needs nothing: what was never written reads as zeros.
        blocking(move || file.cut(size)).await
    }

    /// Appends up to `len` bytes from `at` on to `into`: fewer only at the end.
    ///
    /// # Errors
    /// What the disk says; `Backend` where the file was changed there.
    pub async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let there = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let want = len.min(there);
        if want == 0 {
            return Ok(into);
        }
        let file = self.file.clone();
        blocking(move || {
            let head = into.len();
            into.resize(head + want, 0);
            file.read(at, into.get_mut(head..).unwrap_or_default())?;
            Ok(into)
        })
        .await
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.area.release(*self.len.lock());
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> FsResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(end) => end.map_err(failed),
        Err(_) => Err(FsErrorKind::Cancelled.into()),
    }
}

fn failed(error: io::Error) -> FsError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsErrorKind::NoSpace,
        io::ErrorKind::FileTooLarge => FsErrorKind::TooLarge,
        _ => FsErrorKind::Backend,
    };
    FsError::new(kind)
        .context("the spool for this storage failed")
        .caused_by(error)
}
