//! Quotas: reserve before the bytes come, settle when it is known what stayed.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{FileKind, FileSystem, FsError, FsErrorKind, FsResult, OpCx, Retry};

/// Where the use of quotas is counted. Implemented by the store, so that nodes and restarts agree.
#[async_trait]
pub trait QuotaBook: Send + Sync {
    /// The bytes counted under `key`; `None` where nobody has counted yet.
    async fn used(&self, key: &str) -> FsResult<Option<u64>>;

    /// Sets the count, after a measurement, where nobody has counted yet; otherwise leaves it.
    async fn establish(&self, key: &str, used: u64) -> FsResult<()>;

    /// Adds `bytes` where the sum stays within `limit`: atomically. Answers whether it did.
    async fn reserve(&self, key: &str, bytes: u64, limit: u64) -> FsResult<bool>;

    /// Gives `bytes` back; the count never falls below zero.
    async fn release(&self, key: &str, bytes: u64) -> FsResult<()>;

    /// Forgets a count, so that the next use measures anew.
    async fn forget(&self, key: &str) -> FsResult<()>;
}

/// A book in memory: for tests and for a server without a store.
#[derive(Debug, Default)]
pub struct MemoryQuota {
    used: Mutex<HashMap<String, u64>>,
}

#[async_trait]
impl QuotaBook for MemoryQuota {
    async fn used(&self, key: &str) -> FsResult<Option<u64>> {
        Ok(self.used.lock().get(key).copied())
    }

    async fn establish(&self, key: &str, used: u64) -> FsResult<()> {
        self.used.lock().entry(key.to_owned()).or_insert(used);
        Ok(())
    }

    async fn reserve(&self, key: &str, bytes: u64, limit: u64) -> FsResult<bool> {
        let mut book = self.used.lock();
        let used = book.entry(key.to_owned()).or_insert(0);
        let Some(sum) = used.checked_add(bytes).filter(|sum| *sum <= limit) else {
            return Ok(false);
        };
        *used = sum;
        Ok(true)
    }

    async fn release(&self, key: &str, bytes: u64) -> FsResult<()> {
        if let Some(used) = self.used.lock().get_mut(key) {
            *used = used.saturating_sub(bytes);
        }
        Ok(())
    }

    async fn forget(&self, key: &str) -> FsResult<()> {
        self.used.lock().remove(key);
        Ok(())
    }
}

/// The quota of one grant.
#[derive(Clone)]
pub(crate) struct Quota {
    pub(crate) book: Arc<dyn QuotaBook>,
    pub(crate) key: String,
    pub(crate) limit: u64,
}

impl Quota {
    /// Counts what is there, where nobody has: once for each directory, then kept up by every change.
    pub(crate) async fn ensure_counted(
        &self,
        cx: &OpCx,
        tree: &dyn FileSystem,
        root: &VPath,
    ) -> FsResult<()> {
        if self.book.used(&self.key).await?.is_none() {
            let used = measure(cx, tree, root).await?;
            self.book.establish(&self.key, used).await?;
        }
        Ok(())
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// `Quota`, with what is used and what is allowed.
    pub(crate) async fn reserve(&self, bytes: u64) -> FsResult<()> {
        if self.book.reserve(&self.key, bytes, self.limit).await? {
            return Ok(());
        }
        let used = self.book.used(&self.key).await?.unwrap_or(0);
        Err(FsError::new(FsErrorKind::Quota)
            .context(format!(
                "the quota is used up: {used} of {} bytes are in use, {bytes} more do not fit",
                self.limit
            ))
            .retry_advice(Retry::Never))
    }

    /// Gives `bytes` back. A book that fails here over-counts, which is the safe side; it is logged.
    pub(crate) async fn release(&self, bytes: u64) {
        if bytes > 0
            && let Err(error) = self.book.release(&self.key, bytes).await
        {
            tracing::warn!(key = self.key, bytes, %error, "quota could not be given back");
        }
    }
}

/// Bytes of all files below `root`.
async fn measure(cx: &OpCx, tree: &dyn FileSystem, root: &VPath) -> FsResult<u64> {
    let (mut sum, mut open) = (0u64, vec![root.clone()]);
    while let Some(dir) = open.pop() {
        let mut listing = match tree.list(cx, &dir, None).await {
            Ok(listing) => listing,
            Err(error) if error.kind() == FsErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        loop {
            let entries = listing.next(1024).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                match (entry.kind, &entry.name) {
                    (FileKind::Dir, Some(name)) => open.extend(dir.join(name)),
                    (FileKind::File, _) => sum = sum.saturating_add(entry.size.unwrap_or(0)),
                    _ => {}
                }
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_race_never_exceeds_the_limit() {
        let book = Arc::new(MemoryQuota::default());
        let quota = Quota {
            book: book.clone(),
            key: "k".into(),
            limit: 10,
        };
        let tries = (0..32).map(|_| {
            let quota = quota.clone();
            tokio::spawn(async move { quota.reserve(1).await.is_ok() })
        });
        let mut let_in = 0;
        for one in tries.collect::<Vec<_>>() {
            let_in += usize::from(one.await.unwrap());
        }
        assert_eq!(let_in, 10);
        assert!(quota.reserve(1).await.unwrap_err().message().contains("10 of 10"));
        quota.release(99).await;
        assert_eq!(book.used("k").await.unwrap(), Some(0));
    }
}
