//! Rates: how many bytes a second one user may move, over all sessions.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A bucket that fills with `rate` bytes a second and holds one second's worth. A taker that finds
/// too little goes into debt and waits until it is paid: nobody starves, and large blocks pass.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: u64,
    free_at: Mutex<Instant>,
}

impl Bucket {
    fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` may pass.
    pub(crate) async fn pass(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let wait_until = {
            let mut free_at = self.free_at.lock();
            // A second of credit at most: a pause does not buy a burst without end.
            let earliest = Instant::now()
                .checked_sub(Duration::from_secs(1))
                .unwrap_or(*free_at);
            *free_at = (*free_at).max(earliest) + cost;
            *free_at
        };
        tokio::time::sleep_until(wait_until).await;
    }
}

/// Buckets by user, direction and rate, alive as long as somebody uses them: one for each rate, so that
/// mounts with different rates do not take each other's bucket away.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: Mutex<HashMap<Key, Weak<Bucket>>>,
}

/// Who, which way, how fast.
type Key = (String, &'static str, u64);

impl Rates {
    /// The bucket of `who` for `direction` at `rate`, shared by everybody who asks for the same.
    pub(crate) fn bucket(&self, who: String, direction: &'static str, rate: u64) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        buckets.retain(|_, bucket| bucket.strong_count() > 0);
        let key = (who, direction, rate);
        if let Some(bucket) = buckets.get(&key).and_then(Weak::upgrade) {
            return bucket;
        }
        let bucket = Arc::new(Bucket::new(rate));
        buckets.insert(key, Arc::downgrade(&bucket));
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_sessions_share_one_rate() {
        let rates = Rates::default();
        let (a, b) = (
            rates.bucket("u".into(), "up", 1000),
            rates.bucket("u".into(), "up", 1000),
        );
        let start = Instant::now();
        for _ in 0..5 {
            a.pass(1000).await;
            b.pass(1000).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!(
            (8.9..=10.1).contains(&took),
            "10,000 bytes at 1,000 a second took {took}"
        );
        let other = rates.bucket("u".into(), "up", 999);
        assert!(
            Arc::ptr_eq(&a, &rates.bucket("u".into(), "up", 1000)),
            "another rate took it away"
        );
        drop((a, b, other));
        rates.bucket("v".into(), "up", 1);
        assert_eq!(rates.buckets.lock().len(), 1);
    }
}
