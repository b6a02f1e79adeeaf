//! The disk space that spools share, and one spooled file in it.
//!
//! Invariants: files have no name, so none outlives the process; every byte of a file's length is
//! reserved before it is written and given back when the file goes; disk calls run on blocking threads.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{FsError, FsErrorKind, FsResult};

/// A directory for spooled files, shared by all storages that need one, with its limits.
pub struct SpoolArea {
    directory: PathBuf,
    total: u64,
    file: u64,
    used: Mutex<u64>,
}

impl SpoolArea {
    /// At most `total` bytes in `directory` at a time, at most `file` bytes in one file.
    #[must_use]
    pub fn new(directory: PathBuf, total: u64, file: u64) -> Self {
        Self {
            directory,
            total,
            file: file.min(total),
            used: Mutex::new(0),
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        *self.used.lock()
    }

    /// Largest file, in bytes.
    #[must_use]
    pub const fn max_file(&self) -> u64 {
        self.file
    }

    /// That a file may become `size` bytes long.
    pub fn check(&self, size: u64) -> FsResult<()> {
        if size > self.file {
            let max = self.file;
            let text = format!("files of this storage pass through a spool that takes at most {max} bytes");
            return Err(FsError::new(FsErrorKind::TooLarge).context(text));
        }
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> FsResult<()> {
        let mut used = self.used.lock();
        let after = used.saturating_add(bytes);
        if after > self.total {
            let text = "the spool for this storage is full; try again when other transfers have ended";
            return Err(FsError::new(FsErrorKind::NoSpace).context(text));
        }
        *used = after;
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
    }
}

/// One file without a name.
pub struct SpoolFile {
    file: Arc<File>,
    area: Arc<SpoolArea>,
    len: Mutex<u64>,
}

impl SpoolFile {
    /// A new, empty one.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn create(area: Arc<SpoolArea>) -> FsResult<Self> {
        let directory = area.directory.clone();
        let file = blocking(move || tempfile::tempfile_in(directory)).await?;
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
                file.write_all_at(&piece, at)?;
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
        blocking(move || file.set_len(size)).await
    }

    /// Appends up to `len` bytes from `at` on to `into`: fewer only at the end.
    ///
    /// # Errors
    /// What the disk says.
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
            let mut rest = into.get_mut(head..).unwrap_or_default();
            let mut at = at;
            while !rest.is_empty() {
                match file.read_at(rest, at)? {
                    // Extended, but nothing written there yet: zeros, as they stand in the buffer.
                    0 => break,
                    n => {
                        at += n as u64;
                        rest = rest.get_mut(n..).unwrap_or_default();
                    }
                }
            }
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
