//! A file open for writing: counted, limited, and ended exactly once.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{Act, Transfer, VPath, Verb};
use portreeve_vfs::{Attrs, Entry, FsError, FsErrorKind, FsResult};

use crate::{
    carried_through::carried_through,
    choke::{self, Known},
    deed::lacks,
    digest::Digest,
    live::Live,
    mandate::Mandate,
    pending::Open,
    rate::Bucket,
};

/// A file open for writing. It ends by one of [`Upload::commit`], [`Upload::keep`] and
/// [`Upload::discard`], with one event; dropped without an end it is kept, in the background. An end
/// that was begun is gone through with, even if its caller gives up waiting.
///
/// Errors stick (rule V4): after a failed write every later write, sync and commit fails.
pub struct Upload(Arc<Body>);

struct Body {
    live: Arc<Live>,
    path: VPath,
    open: Open,
    grown: Option<Grown>,
    mandate: Mandate,
    rate: Option<Arc<Bucket>>,
    digest: Option<Digest>,
    began: Instant,
    bytes: AtomicU64,
    failed: Mutex<Option<FsError>>,
    ended: AtomicBool,
    tls_reused: OnceLock<bool>,
}

/// A visible file that is added to by somebody who may not overwrite it: what there was stays as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grown {
    /// Its size when it was opened: nothing is written below, nor cut off.
    pub(crate) from: u64,
    /// Whether offsets count; otherwise every write goes to the end anyway.
    pub(crate) by_offset: bool,
    pub(crate) may_truncate: bool,
    pub(crate) may_set_attrs: bool,
}

impl Grown {
    fn write(self, at: u64) -> FsResult<()> {
        if self.by_offset && at < self.from {
            return Err(lacks(Verb::Overwrite));
        }
        Ok(())
    }

    fn set_attrs(self, attrs: &Attrs) -> FsResult<()> {
        if attrs.size.is_some_and(|size| size < self.from) && !self.may_truncate {
            return Err(lacks(Verb::Truncate));
        }
        let others = attrs.mode.is_some() || attrs.modified.is_some() || attrs.accessed.is_some();
        if others && !self.may_set_attrs {
            return Err(lacks(Verb::SetAttrs));
        }
        Ok(())
    }
}

/// The parts that the choke point puts together.
pub(crate) struct Parts {
    pub(crate) live: Arc<Live>,
    pub(crate) path: VPath,
    pub(crate) open: Open,
    pub(crate) grown: Option<Grown>,
    pub(crate) mandate: Mandate,
    pub(crate) rate: Option<Arc<Bucket>>,
    pub(crate) digest: Option<Digest>,
    pub(crate) began: Instant,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.0.path)
    }
}

impl Upload {
    pub(crate) fn new(parts: Parts) -> Self {
        parts.live.transfers.fetch_add(1, Ordering::Relaxed);
        let Parts {
            live,
            path,
            open,
            grown,
            mandate,
            rate,
            digest,
            began,
        } = parts;
        Self(Arc::new(Body {
            live,
            path,
            open,
            grown,
            mandate,
            rate,
            digest,
            began,
            bytes: AtomicU64::new(0),
            failed: Mutex::new(None),
            ended: AtomicBool::new(false),
            tls_reused: OnceLock::new(),
        }))
    }

    /// The path that a commit gives: a rename while it is open changes it.
    #[must_use]
    pub fn path(&self) -> VPath {
        self.0.path()
    }

    /// Notes that its data connection has TLS, and whether that resumed the session of the control
    /// connection: the event will say so.
    pub fn over_tls(&self, reused: bool) {
        let _ = self.0.tls_reused.set(reused);
    }

    /// What it is now, with its live size.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn entry(&self) -> FsResult<Entry> {
        self.0.open.file.entry().await
    }

    /// Writes `data`, piece after piece, from offset `at` on.
    ///
    /// # Errors
    /// What the storage says; `Quota` and `TooLarge` before anything is written. It sticks.
    pub async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        let len = total(&data)?;
        let end = at.checked_add(len).ok_or(FsErrorKind::OutOfRange)?;
        let this = &*self.0;
        this.stick(this.grown.map_or(Ok(()), |grown| grown.write(at)))?;
        this.begin(end, len).await?;
        let pieces = this.digest.is_some().then(|| data.clone());
        this.stick(this.open.file.write(at, data).await)?;
        this.counted(at, len, pieces);
        Ok(())
    }

    /// Writes at the end and answers the size thereafter.
    ///
    /// # Errors
    /// As [`Upload::write`].
    pub async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        let len = total(&data)?;
        let this = &*self.0;
        let here = this.open.file.entry().await?.size.unwrap_or(0);
        this.begin(here.checked_add(len).ok_or(FsErrorKind::OutOfRange)?, len)
            .await?;
        let pieces = this.digest.is_some().then(|| data.clone());
        let size = this.stick(this.open.file.append(data).await)?;
        this.counted(size.saturating_sub(len), len, pieces);
        Ok(size)
    }

    /// Reads back what was written, as [`crate::Download::read`].
    ///
    /// # Errors
    /// What the storage says.
    pub async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.0.alive()?;
        self.0.open.file.read(at, len, into).await
    }

    /// Sets size at once, mode and times at commit. Where the file is the person's own, which nobody
    /// sees yet, or may be overwritten, no further verb is needed.
    ///
    /// # Errors
    /// What the storage says; `Refused` where a visible file may only be added to.
    pub async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.0.alive()?;
        self.0.grown.map_or(Ok(()), |grown| grown.set_attrs(&attrs))?;
        self.0.open.set_attrs(attrs).await
    }

    /// Makes what was written durable, still under its temp name.
    ///
    /// # Errors
    /// A former write's error, or what the storage says. It sticks.
    pub async fn sync(&self) -> FsResult<()> {
        self.0.alive()?;
        self.0.stick(self.0.open.file.sync().await)
    }

    /// Makes the file visible, whole and durable, and records it.
    ///
    /// # Errors
    /// A former write's error, or what the storage says: then what was written is kept as a partial
    /// (thrown away where the storage is full, which keeping it would prolong).
    pub async fn commit(&self) -> FsResult<Entry> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Err(ended());
        }
        let body = Arc::clone(&self.0);
        carried_through(Box::pin(async move { body.commit().await })).await
    }

    /// Ends it unfinished, keeps what was written for a resume, and answers its length; 0 where it has
    /// ended already.
    ///
    /// # Errors
    /// None so far: what could not be kept is logged, and 0.
    pub async fn keep(&self, why: FsError) -> FsResult<u64> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Ok(0);
        }
        let body = Arc::clone(&self.0);
        Ok(carried_through(Box::pin(async move { body.give_up(why).await })).await)
    }

    /// Ends it because of `why` and keeps nothing: what there is of it is no upload's beginning, such as the
    /// copy of a file to which nothing was added.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn fail(&self, why: FsError) -> FsResult<()> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let body = Arc::clone(&self.0);
        carried_through(Box::pin(async move { body.discard(why).await })).await
    }

    /// Ends it and throws away what was written.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn discard(&self) -> FsResult<()> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let body = Arc::clone(&self.0);
        let gone = FsError::new(FsErrorKind::Cancelled).context("the upload was abandoned");
        carried_through(Box::pin(async move { body.discard(gone).await })).await
    }
}

impl Body {
    fn path(&self) -> VPath {
        self.live
            .pending
            .path_of(&self.open)
            .unwrap_or_else(|| self.path.clone())
    }

    /// Whether anything more may be done: it has not ended, the session is on, the path was not
    /// removed, no write failed.
    fn alive(&self) -> FsResult<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(ended());
        }
        self.unharmed()
    }

    fn unharmed(&self) -> FsResult<()> {
        if self.live.is_over() {
            return Err(FsError::new(FsErrorKind::Cancelled).context("the session is over"));
        }
        self.mandate.stands(&self.live, || self.path())?;
        if self.open.removed.load(Ordering::Acquire) {
            return Err(
                FsError::new(FsErrorKind::NotFound).context("it was removed while it was being written")
            );
        }
        self.failed.lock().clone().map_or(Ok(()), Err)
    }

    /// Before bytes are written up to `end`: limits, quota, rate.
    async fn begin(&self, end: u64, len: u64) -> FsResult<()> {
        self.alive()?;
        self.stick(self.open.allowance.cover(end).await)?;
        match &self.rate {
            Some(rate) => {
                self.live
                    .unless_over(rate.pass(usize::try_from(len).unwrap_or(usize::MAX)))
                    .await
            }
            None => Ok(()),
        }
    }

    fn stick<T>(&self, result: FsResult<T>) -> FsResult<T> {
        result.inspect_err(|error| {
            self.failed.lock().get_or_insert_with(|| error.clone());
        })
    }

    fn counted(&self, at: u64, len: u64, pieces: Option<Vec<Bytes>>) {
        if let (Some(digest), Some(pieces)) = (&self.digest, pieces) {
            let mut at = at;
            for piece in pieces {
                digest.update(at, &piece);
                at += piece.len() as u64;
            }
        }
        self.bytes.fetch_add(len, Ordering::Relaxed);
        self.live.bytes_written.fetch_add(len, Ordering::Relaxed);
        self.live.touch();
    }

    async fn commit(&self) -> FsResult<Entry> {
        let committed = match self.unharmed() {
            Ok(()) => self.commit_settled().await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(entry) => {
                self.finish(entry.size, None, &Ok(()))?;
                Ok(entry)
            }
            Err(error) => {
                self.give_up(error.clone()).await;
                Err(error)
            }
        }
    }

    /// With a quota: what the commit replaces is looked up when nobody else can change it, and what
    /// came about without a write (a size that was set) is covered, or nothing becomes visible.
    async fn commit_settled(&self) -> FsResult<Entry> {
        let Some(share) = &self.open.allowance.share else {
            return self.open.file.commit().await;
        };
        let path = self.path();
        let _turn = share.turn(&path).await;
        share
            .cover_exactly(self.open.file.entry().await?.size.unwrap_or(0))
            .await?;
        let before = choke::visible(&self.live, &path).await;
        let entry = self.open.file.commit().await?;
        let replaced = before.filter(Entry::is_file).and_then(|entry| entry.size);
        share.settle(entry.size, replaced.unwrap_or(0)).await;
        Ok(entry)
    }

    /// Keeps what there is, or throws it away where keeping would do harm; records; answers what is kept.
    async fn give_up(&self, why: FsError) -> u64 {
        let kept = self.keep_or_discard(&why).await.unwrap_or_else(|error| {
            tracing::warn!(path = %self.path, %error, "an unfinished upload could not be kept");
            0
        });
        if let Some(share) = &self.open.allowance.share {
            share.settle_kept(&self.path(), kept).await;
        }
        // The upload failed already: that its record is lost as well is counted.
        let _ = self.finish(None, Some(kept).filter(|kept| *kept > 0), &Err(why));
        kept
    }

    async fn keep_or_discard(&self, why: &FsError) -> FsResult<u64> {
        if self.open.removed.load(Ordering::Acquire) {
            return Ok(0);
        }
        let file = &self.open.file;
        let hopeless = matches!(
            why.kind(),
            FsErrorKind::NoSpace | FsErrorKind::Quota | FsErrorKind::TooLarge | FsErrorKind::Exists
        );
        let covered = match (&self.open.allowance.share, hopeless) {
            (Some(_), false) => {
                let size = file.entry().await?.size.unwrap_or(0);
                self.open.allowance.cover(size).await.is_ok()
            }
            _ => true,
        };
        if hopeless || !covered {
            return file.discard().await.map(|()| 0);
        }
        file.keep().await
    }

    async fn discard(&self, why: FsError) -> FsResult<()> {
        let thrown = self.open.file.discard().await;
        if let Some(share) = &self.open.allowance.share {
            share.settle_kept(&self.path(), 0).await;
        }
        self.finish(None, None, &Err(why))?;
        thrown
    }

    fn finish(&self, size: Option<u64>, kept: Option<u64>, result: &FsResult<()>) -> FsResult<()> {
        let path = self.path();
        self.live.pending.leave(&self.open);
        self.live.transfers.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let digest = self
            .digest
            .as_ref()
            .filter(|_| size == Some(bytes))
            .and_then(Digest::finish);
        metrics::counter!("portreeve_bytes_total", "direction" => "written").increment(bytes);
        let act = Act::Upload(Transfer {
            path,
            bytes,
            size,
            digest,
            kept,
        });
        let known = Known {
            note: self.open.note.as_ref(),
            tls_reused: self.tls_reused.get().copied(),
        };
        choke::record_with(&self.live, act, result, self.began.elapsed(), known)
    }
}

impl Drop for Upload {
    /// Only enqueues: whoever drops (a door whose client went) must not wait for the disk.
    fn drop(&mut self) {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let gone = FsError::new(FsErrorKind::Cancelled).context("the client went before the upload ended");
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let body = Arc::clone(&self.0);
                runtime.spawn(async move {
                    body.give_up(gone).await;
                });
            }
            Err(_) => {
                let _ = self.0.finish(None, None, &Err(gone));
            }
        }
    }
}

fn ended() -> FsError {
    FsError::new(FsErrorKind::Conflict).context("the upload has ended already")
}

fn total(data: &[Bytes]) -> FsResult<u64> {
    data.iter()
        .try_fold(0u64, |sum, piece| sum.checked_add(piece.len() as u64))
        .ok_or_else(|| FsErrorKind::OutOfRange.into())
}
