//! A file open for writing: counted, limited, and ended exactly once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{Act, Transfer, VPath};
use portreeve_vfs::{Attrs, Entry, FsError, FsErrorKind, FsResult};

use crate::{choke, digest::Digest, live::Live, pending::Open, quota::Quota, rate::Bucket};

/// How much quota is taken at a time when the size was not announced.
const QUOTA_STEP: u64 = 1 << 20;

/// A file open for writing. It ends by one of [`Upload::commit`], [`Upload::keep`] and
/// [`Upload::discard`], with one event; dropped without an end it is kept, in the background.
///
/// Errors stick (rule V4): after a failed write every later write, sync and commit fails.
pub struct Upload(Arc<Body>);

struct Body {
    live: Arc<Live>,
    path: VPath,
    open: Open,
    rate: Option<Arc<Bucket>>,
    digest: Option<Digest>,
    quota: Option<Account>,
    max_size: Option<u64>,
    began: Instant,
    bytes: AtomicU64,
    failed: Mutex<Option<FsError>>,
    ended: AtomicBool,
}

/// What this upload has taken of its quota.
pub(crate) struct Account {
    pub(crate) quota: Quota,
    /// Bytes of the visible file that a commit replaces.
    pub(crate) replaces: u64,
    /// Bytes taken, those included that were counted before (a partial, a file that is changed).
    pub(crate) taken: tokio::sync::Mutex<u64>,
}

/// The parts that the choke point puts together.
pub(crate) struct Parts {
    pub(crate) live: Arc<Live>,
    pub(crate) path: VPath,
    pub(crate) open: Open,
    pub(crate) rate: Option<Arc<Bucket>>,
    pub(crate) digest: Option<Digest>,
    pub(crate) quota: Option<Account>,
    pub(crate) max_size: Option<u64>,
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
            rate,
            digest,
            quota,
            max_size,
            began,
        } = parts;
        Self(Arc::new(Body {
            live,
            path,
            open,
            rate,
            digest,
            quota,
            max_size,
            began,
            bytes: AtomicU64::new(0),
            failed: Mutex::new(None),
            ended: AtomicBool::new(false),
        }))
    }

    /// The path that a commit gives: a rename while it is open changes it.
    #[must_use]
    pub fn path(&self) -> VPath {
        self.0.path()
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

    /// Sets size at once, mode and times at commit. No verb beyond that of writing is needed: it is
    /// the person's own file, and nobody sees it yet.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.0.alive()?;
        if let Some(size) = attrs.size {
            self.0.begin(size, 0).await?;
        }
        self.0.open.file.set_attrs(attrs).await
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
        let this = &self.0;
        if this.ended.swap(true, Ordering::AcqRel) {
            return Err(FsError::new(FsErrorKind::Conflict).context("the upload has ended already"));
        }
        if let Err(error) = this.alive() {
            this.give_up(error.clone()).await;
            return Err(error);
        }
        match this.open.file.commit().await {
            Ok(entry) => {
                this.settle(entry.size.unwrap_or(0)).await;
                this.finish(entry.size, None, &Ok(()))?;
                Ok(entry)
            }
            Err(error) => {
                this.give_up(error.clone()).await;
                Err(error)
            }
        }
    }

    /// Ends it unfinished, keeps what was written for a resume, and answers its length.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn keep(&self, why: FsError) -> FsResult<u64> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Ok(0);
        }
        Ok(self.0.give_up(why).await)
    }

    /// Ends it and throws away what was written.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn discard(&self) -> FsResult<()> {
        if self.0.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let thrown = self.0.open.file.discard().await;
        self.0.settle_unwritten().await;
        let gone = FsError::new(FsErrorKind::Cancelled).context("the upload was abandoned");
        self.0.finish(None, None, &Err(gone))?;
        thrown
    }
}

impl Body {
    fn path(&self) -> VPath {
        self.live
            .pending
            .path_of(&self.open)
            .unwrap_or_else(|| self.path.clone())
    }

    /// Whether anything more may be done: the session is on, the path was not removed, no write failed.
    fn alive(&self) -> FsResult<()> {
        if self.live.is_over() {
            return Err(FsError::new(FsErrorKind::Cancelled).context("the session is over"));
        }
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
        if let Some(max) = self.max_size.filter(|max| end > *max) {
            let large = FsError::new(FsErrorKind::TooLarge).context(format!(
                "the file is too large: at most {max} bytes are allowed here"
            ));
            return self.stick(Err(large));
        }
        if let Some(account) = &self.quota {
            let mut taken = account.taken.lock().await;
            if end > *taken {
                // A step at a time; where the step no longer fits, exactly what is needed.
                let exact = end - *taken;
                let step = exact.max(QUOTA_STEP);
                let got = match account.quota.reserve(step).await {
                    Ok(()) => step,
                    Err(_) => self.stick(account.quota.reserve(exact).await.map(|()| exact))?,
                };
                *taken += got;
            }
        }
        if let Some(rate) = &self.rate {
            rate.pass(usize::try_from(len).unwrap_or(usize::MAX)).await;
        }
        Ok(())
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

    /// Keeps what there is, or throws it away where keeping would do harm; records; answers what is kept.
    async fn give_up(&self, why: FsError) -> u64 {
        let removed = self.open.removed.load(Ordering::Acquire);
        let hopeless = matches!(
            why.kind(),
            FsErrorKind::NoSpace | FsErrorKind::Quota | FsErrorKind::TooLarge | FsErrorKind::Exists
        );
        let kept = if removed {
            Ok(0)
        } else if hopeless {
            self.open.file.discard().await.map(|()| 0)
        } else {
            self.open.file.keep().await
        };
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(path = %self.path, %error, "an unfinished upload could not be kept");
            0
        });
        match kept {
            0 => self.settle_unwritten().await,
            kept => self.settle_kept(kept).await,
        }
        let _ = self.finish(None, Some(kept).filter(|kept| *kept > 0), &Err(why));
        kept
    }

    /// The file became visible with `size` bytes: what was taken beyond it, and what it replaced, comes back.
    async fn settle(&self, size: u64) {
        if let Some(account) = &self.quota {
            let taken = *account.taken.lock().await;
            account
                .quota
                .release(taken.saturating_sub(size) + account.replaces)
                .await;
        }
    }

    async fn settle_kept(&self, kept: u64) {
        if let Some(account) = &self.quota {
            let taken = *account.taken.lock().await;
            account.quota.release(taken.saturating_sub(kept)).await;
        }
    }

    async fn settle_unwritten(&self) {
        self.settle_kept(0).await;
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
        choke::record(&self.live, act, result, self.began.elapsed())
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

fn total(data: &[Bytes]) -> FsResult<u64> {
    data.iter()
        .try_fold(0u64, |sum, piece| sum.checked_add(piece.len() as u64))
        .ok_or_else(|| FsErrorKind::OutOfRange.into())
}
