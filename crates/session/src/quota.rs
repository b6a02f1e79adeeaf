//! Where the use of quotas is written down.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_vfs::FsResult;

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
