//! Patience with remote stores: time limits, and another try where that is safe and advised.
//!
//! Invariants: only calls that change nothing are repeated; waits are bounded in number and length,
//! end with the operation's deadline, and end at once when the session does. A call that changes
//! something is tried once; where its answer does not come, the error says that it may have happened.

mod handle;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_model::{Name, VPath};
use tokio::time::{Instant, timeout};

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, Retry, Space, WriteFile,
};
use handle::{PatientListing, PatientRead, PatientWrite};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct PatienceLimits {
    /// Tries of a call that changes nothing, the first included.
    pub attempts: u32,
    /// Time of one try of such a call.
    pub timeout: Duration,
    /// Time of a call that changes something.
    pub change_timeout: Duration,
    /// The first wait between two tries; it doubles each time, unless the store says how long.
    pub backoff: Duration,
    /// The longest wait: a store that asks for more gets none, and its advice is passed on.
    pub longest_wait: Duration,
}

impl Default for PatienceLimits {
    fn default() -> Self {
        Self {
            attempts: 4,
            timeout: Duration::from_secs(30),
            change_timeout: Duration::from_secs(120),
            backoff: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
        }
    }
}

/// A storage that is waited for, but not for ever.
pub struct Patience {
    inner: Arc<dyn FileSystem>,
    limits: PatienceLimits,
}

impl Patience {
    /// Patience with `inner`.
    #[must_use]
    pub fn over(inner: Arc<dyn FileSystem>, limits: PatienceLimits) -> Self {
        Self { inner, limits }
    }

    async fn ask<T, F>(&self, cx: &OpCx, call: impl Fn() -> F + Send + Sync) -> FsResult<T>
    where
        F: Future<Output = FsResult<T>> + Send,
        T: Send,
    {
        while_wanted(cx, self.limits.repeat(call)).await
    }

    async fn change<T>(&self, cx: &OpCx, call: impl Future<Output = FsResult<T>> + Send) -> FsResult<T> {
        while_wanted(cx, self.limits.once(call)).await
    }
}

impl PatienceLimits {
    /// Tries a call that changes nothing until it succeeds, or until another try is of no use.
    async fn repeat<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> FsResult<T>
    where
        F: Future<Output = FsResult<T>> + Send,
        T: Send,
    {
        let mut backoff = self.backoff;
        let mut tries = 1;
        loop {
            let error = match timeout(self.timeout, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => FsError::new(FsErrorKind::TimedOut).retry_advice(Retry::Soon),
            };
            let wait = match error.retry() {
                Retry::Never => return Err(error),
                Retry::Soon => backoff.min(self.longest_wait),
                Retry::After(wait) => wait,
            };
            if tries >= self.attempts || wait > self.longest_wait {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            backoff = backoff.saturating_mul(2);
            tries += 1;
        }
    }

    /// Waits for a call that changes something.
    async fn once<T>(&self, call: impl Future<Output = FsResult<T>> + Send) -> FsResult<T> {
        timeout(self.change_timeout, call).await.unwrap_or_else(|_| {
            let text = "the storage did not answer in time; it may have been done all the same";
            Err(FsError::new(FsErrorKind::TimedOut).context(text))
        })
    }
}

/// Waits while the answer is of use: until the deadline, and while the session lives.
async fn while_wanted<T>(cx: &OpCx, call: impl Future<Output = FsResult<T>> + Send) -> FsResult<T> {
    let deadline = async {
        match cx.deadline {
            Some(at) => tokio::time::sleep_until(Instant::from_std(at)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(FsErrorKind::Cancelled.into()),
        () = deadline => Err(FsErrorKind::TimedOut.into()),
        end = call => end,
    }
}

#[async_trait]
impl FileSystem for Patience {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.ask(cx, || self.inner.stat(cx, path, links)).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let inner = self.ask(cx, || self.inner.list(cx, dir, from.clone())).await?;
        let limits = self.limits;
        Ok(Box::new(PatientListing { inner, limits }))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let inner = self.ask(cx, || self.inner.open_read(cx, file)).await?;
        let limits = self.limits;
        Ok(Arc::new(PatientRead { inner, limits }))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let inner = self.change(cx, self.inner.open_write(cx, file, how)).await?;
        let limits = self.limits;
        Ok(Arc::new(PatientWrite { inner, limits }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.ask(cx, || self.inner.partial(cx, file)).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        self.ask(cx, || self.inner.partials(cx, dir)).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.change(cx, self.inner.make_dir(cx, dir, attrs)).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.change(cx, self.inner.remove(cx, path, what)).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.change(cx, self.inner.rename(cx, from, to, how)).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.change(cx, self.inner.set_attrs(cx, path, attrs, links))
            .await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.change(cx, self.inner.copy(cx, from, to, how)).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.ask(cx, || self.inner.space(cx, path)).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.change(cx, self.inner.link(cx, existing, new)).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.ask(cx, || self.inner.read_link(cx, path)).await
    }
}

#[cfg(test)]
mod tests;
