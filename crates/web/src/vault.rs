//! A bounded map from digests to what somebody signed in to, with two lifetimes.
//!
//! Invariants: never more than `capacity` entries; an entry that is past its idle or absolute time is
//! never given out; keys are digests, so that what is kept here opens nothing.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A digest: SHA-256 of a cookie, HMAC-SHA-256 of a name and password.
pub(crate) type Key = [u8; 32];

/// The map.
#[derive(Debug)]
pub(crate) struct Vault<T> {
    capacity: usize,
    idle: Duration,
    lifetime: Duration,
    kept: Mutex<HashMap<Key, Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    born: Instant,
    used: Instant,
}

impl<T: Clone> Vault<T> {
    pub(crate) fn new(capacity: usize, idle: Duration, lifetime: Duration) -> Self {
        Self {
            capacity,
            idle,
            lifetime,
            kept: Mutex::new(HashMap::new()),
        }
    }

    /// What is kept under `key`, which counts as a use.
    pub(crate) fn find(&self, key: &Key, now: Instant) -> Option<T> {
        let mut kept = self.kept.lock();
        let entry = kept.get_mut(key).filter(|entry| self.is_fresh(entry, now))?;
        entry.used = now;
        Some(entry.value.clone())
    }

    /// Keeps `value`. What had to go for it, or was there before, is given back: to be dropped
    /// outside the lock.
    pub(crate) fn put(&self, key: Key, value: T, now: Instant) -> Option<T> {
        let mut kept = self.kept.lock();
        let mut gone = None;
        if kept.len() >= self.capacity && !kept.contains_key(&key) {
            let oldest = kept
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, _)| *key);
            gone = oldest.and_then(|key| kept.remove(&key)).map(|entry| entry.value);
        }
        let entry = Kept {
            value,
            born: now,
            used: now,
        };
        kept.insert(key, entry).map(|before| before.value).or(gone)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&self, key: &Key) -> Option<T> {
        self.kept.lock().remove(key).map(|entry| entry.value)
    }

    /// Takes out the one used least of those that are `alike`, where there are more than `most`.
    pub(crate) fn evict(&self, most: usize, alike: impl Fn(&T) -> bool) -> Option<T> {
        let mut kept = self.kept.lock();
        let alike: Vec<_> = kept.iter().filter(|(_, entry)| alike(&entry.value)).collect();
        let least = alike.iter().min_by_key(|(_, entry)| entry.used);
        let key = least.filter(|_| alike.len() > most).map(|(key, _)| **key)?;
        kept.remove(&key).map(|entry| entry.value)
    }

    /// Takes out everything whose time is up, and everything that is `over`.
    pub(crate) fn sweep(&self, now: Instant, over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut kept = self.kept.lock();
        let old = kept.extract_if(|_, entry| !self.is_fresh(entry, now) || over(&entry.value));
        old.map(|(_, entry)| entry.value).collect()
    }

    fn is_fresh(&self, entry: &Kept<T>, now: Instant) -> bool {
        now.saturating_duration_since(entry.used) < self.idle
            && now.saturating_duration_since(entry.born) < self.lifetime
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: u8) -> Key {
        [n; 32]
    }

    #[test]
    fn forgets_in_time() {
        let start = Instant::now();
        let at = |n: u32| start + SECOND * n;
        let vault = Vault::new(10, SECOND * 60, SECOND * 300);
        vault.put(key(1), "a", at(0));
        assert_eq!(vault.find(&key(1), at(59)), Some("a"));
        assert_eq!(vault.find(&key(1), at(118)), Some("a"));
        assert_eq!(vault.find(&key(1), at(178)), None, "idle");
        vault.put(key(1), "b", at(200));
        for n in (200..500).step_by(50) {
            assert_eq!(vault.find(&key(1), at(n)), Some("b"), "{n}");
        }
        assert_eq!(vault.find(&key(1), at(500)), None, "lifetime");
        vault.put(key(2), "c", at(499));
        vault.put(key(3), "d", at(499));
        let mut swept = vault.sweep(at(500), |value| *value == "c");
        swept.sort_unstable();
        assert_eq!(swept, ["b", "c"]);
        assert_eq!(vault.remove(&key(3)), Some("d"));
        assert_eq!(vault.len(), 0);
    }

    #[test]
    fn stays_bounded_and_drops_the_least_used() {
        let start = Instant::now();
        let vault = Vault::new(3, SECOND * 60, SECOND * 300);
        for n in 0..3u8 {
            assert_eq!(vault.put(key(n), n, start + SECOND * u32::from(n)), None);
        }
        assert_eq!(vault.find(&key(0), start + SECOND * 5), Some(0));
        assert_eq!(vault.put(key(9), 9, start + SECOND * 6), Some(1));
        assert_eq!(vault.len(), 3);
        assert_eq!(vault.find(&key(0), start + SECOND * 7), Some(0));
        assert_eq!(vault.put(key(0), 7, start + SECOND * 8), Some(0), "replaced");
        assert_eq!(vault.remove(&key(0)), Some(7));
        assert_eq!(vault.find(&key(0), start + SECOND * 9), None);
    }
}
