//! How much one upload may hold: the limit of a file, and its share of a quota.

use std::sync::Arc;

use portreeve_model::VPath;
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Owner};

use crate::{
    carried_through::carried_through,
    ledger::{Quota, Turn},
};

/// How much quota is taken at a time when the size was not announced.
const STEP: u64 = 1 << 20;

/// What an upload may hold.
#[derive(Default)]
pub(crate) struct Allowance {
    pub(crate) max_size: Option<u64>,
    pub(crate) share: Option<Arc<Share>>,
}

/// The bytes of a quota that one upload holds.
pub(crate) struct Share {
    quota: Quota,
    owner: Owner,
    /// The partial that passed to it.
    partial: u64,
    /// None once it was settled: nothing may be taken any more, or nobody would give it back.
    taken: tokio::sync::Mutex<Option<u64>>,
}

impl Allowance {
    /// Makes sure that the file may have `size` bytes.
    ///
    /// # Errors
    /// `TooLarge`, `Quota`, or what the book says.
    pub(crate) async fn cover(&self, size: u64) -> FsResult<()> {
        fits(size, self.max_size)?;
        match &self.share {
            Some(share) => share.cover(size).await,
            None => Ok(()),
        }
    }
}

/// Whether a file of `size` bytes is allowed.
///
/// # Errors
/// `TooLarge`, with the limit.
pub(crate) fn fits(size: u64, max_size: Option<u64>) -> FsResult<()> {
    let Some(max) = max_size.filter(|max| size > *max) else {
        return Ok(());
    };
    Err(FsError::new(FsErrorKind::TooLarge).context(format!(
        "the file is too large: {size} bytes, and at most {max} are allowed here"
    )))
}

impl Share {
    /// What an upload to `path` begins with: the partial that its owner left there passes to it,
    /// whether it goes on with it or throws it away, and `size` bytes are covered.
    ///
    /// # Errors
    /// `Quota`, or what the book says; nothing is taken then.
    pub(crate) async fn open(quota: Quota, owner: &Owner, path: &VPath, size: u64) -> FsResult<Arc<Self>> {
        let partial = quota.take_over(owner, path);
        if let Err(error) = quota.reserve(size.saturating_sub(partial)).await {
            quota.remember(owner, path, partial);
            return Err(error);
        }
        let taken = partial.max(size);
        quota.hold(taken);
        Ok(Arc::new(Self {
            quota,
            owner: owner.clone(),
            partial,
            taken: tokio::sync::Mutex::new(Some(taken)),
        }))
    }

    pub(crate) async fn turn(&self, path: &VPath) -> Turn<'_> {
        self.quota.turn(path).await
    }

    async fn cover(self: &Arc<Self>, size: u64) -> FsResult<()> {
        if self.taken.lock().await.is_some_and(|taken| size <= taken) {
            return Ok(());
        }
        let this = Arc::clone(self);
        carried_through(Box::pin(async move {
            let _noted = this.quota.uncounted().await;
            this.cover_noted(size, STEP).await
        }))
        .await
    }

    /// As `cover`, for whoever has the turn, and no more than is needed.
    pub(crate) async fn cover_exactly(&self, size: u64) -> FsResult<()> {
        self.cover_noted(size, 0).await
    }

    async fn cover_noted(&self, size: u64, step: u64) -> FsResult<()> {
        let mut taken = self.taken.lock().await;
        let Some(before) = *taken else {
            return Err(FsError::new(FsErrorKind::Conflict).context("the upload has ended already"));
        };
        let exact = size.saturating_sub(before);
        if exact == 0 {
            return Ok(());
        }
        // A step at a time; where the step no longer fits, exactly what is needed.
        let got = match self.quota.reserve(exact.max(step)).await {
            Ok(()) => exact.max(step),
            Err(_) => self.quota.reserve(exact).await.map(|()| exact)?,
        };
        self.quota.hold(got);
        *taken = Some(before.saturating_add(got));
        Ok(())
    }

    /// The file is visible with `size` bytes and replaced one of `replaced`. By whoever has the turn.
    pub(crate) async fn settle(&self, size: Option<u64>, replaced: u64) {
        if let Some(taken) = self.close().await {
            let surplus = taken.saturating_sub(size.unwrap_or(taken));
            self.quota.release(surplus.saturating_add(replaced)).await;
        }
    }

    /// `kept` bytes stay as a partial under `path`, or none.
    pub(crate) async fn settle_kept(&self, path: &VPath, kept: u64) {
        let _noted = self.quota.uncounted().await;
        self.stays(path, kept).await;
    }

    /// It was not opened after all: what the owner left under `path` is there as before. By whoever
    /// has the turn.
    pub(crate) async fn withdraw(&self, path: &VPath) {
        self.stays(path, self.partial).await;
    }

    async fn stays(&self, path: &VPath, kept: u64) {
        if let Some(taken) = self.close().await {
            self.quota.remember(&self.owner, path, kept);
            self.quota.release(taken.saturating_sub(kept)).await;
        }
    }

    async fn close(&self) -> Option<u64> {
        let taken = self.taken.lock().await.take()?;
        self.quota.let_go(taken);
        Some(taken)
    }
}
