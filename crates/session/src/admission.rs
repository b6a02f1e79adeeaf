//! Permits: how many connections and sessions there may be. A permit is held by what it limits and
//! comes back when that is dropped.

use std::{collections::HashMap, hash::Hash, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts of one kind, by key, and in all.
#[derive(Debug)]
pub(crate) struct Counter<K: Eq + Hash + Clone> {
    state: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    total: u32,
    by_key: HashMap<K, u32>,
}

/// One counted thing.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash + Clone> {
    counter: Arc<Counter<K>>,
    key: K,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit over all keys.
    Total,
    /// The limit of this key.
    Key,
}

impl<K: Eq + Hash + Clone> Counter<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Counts {
                total: 0,
                by_key: HashMap::new(),
            }),
        })
    }

    /// Counts one more for `key`, where both limits allow it: atomically, so that no race lets two in
    /// where one fits.
    pub(crate) fn take(self: &Arc<Self>, key: K, per_key: u32, total: u32) -> Result<Permit<K>, Full> {
        let mut state = self.state.lock();
        if state.total >= total {
            return Err(Full::Total);
        }
        let here = state.by_key.entry(key.clone()).or_insert(0);
        if *here >= per_key {
            if *here == 0 {
                state.by_key.remove(&key);
            }
            return Err(Full::Key);
        }
        *here += 1;
        state.total += 1;
        Ok(Permit {
            counter: Arc::clone(self),
            key,
        })
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u32 {
        self.state.lock().total
    }
}

impl<K: Eq + Hash + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut state = self.counter.state.lock();
        state.total = state.total.saturating_sub(1);
        if let Some(here) = state.by_key.get_mut(&self.key) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                state.by_key.remove(&self.key);
            }
        }
    }
}

/// The counters of the process: they outlive every world.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Connections, by source (address or /64).
    pub(crate) connections: Arc<Counter<IpAddr>>,
    /// Sessions, by principal.
    pub(crate) sessions: Arc<Counter<String>>,
}

impl Admission {
    pub(crate) fn new() -> Self {
        Self {
            connections: Counter::new(),
            sessions: Counter::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back_and_leave_nothing_behind() {
        let counter = Counter::new();
        let first = counter.take("a", 1, 2).unwrap();
        assert_eq!(counter.take("a", 1, 2).unwrap_err(), Full::Key);
        let second = counter.take("b", 1, 2).unwrap();
        assert_eq!(counter.take("c", 1, 2).unwrap_err(), Full::Total);
        drop((first, second));
        assert_eq!(counter.total(), 0);
        assert!(counter.state.lock().by_key.is_empty());
        assert_eq!(counter.take("z", 0, 2).unwrap_err(), Full::Key);
        assert!(counter.state.lock().by_key.is_empty());
    }

    #[test]
    fn a_race_lets_no_more_in_than_fit() {
        let counter = Counter::new();
        let let_in: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter_map(|_| counter.take(1, 50, 50).ok())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let held: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            held.iter().map(Vec::len).sum()
        });
        assert_eq!(let_in, 50);
        assert_eq!(counter.total(), 0);
    }
}
