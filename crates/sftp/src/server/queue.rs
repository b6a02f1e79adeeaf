//! How much clients may have queued here: requests that wait, and data that no storage has taken yet.
//!
//! Reading cannot simply be stopped where a client does not read: the message that lets the server go on
//! would not be heard, and russh has no way to withhold the window and grant it later. So what is queued
//! is bounded, generously for a client that asks for a whole file in advance, and a channel that goes
//! beyond is closed.
//!
//! Invariant: a connection has [`FREE`] bytes of its own; what it has beyond, up to [`MOST`], comes out
//! of [`SHARED`] bytes of the whole listener.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

/// Bytes that one connection may always have queued: about 100,000 requests.
pub(crate) const FREE: usize = 4 * 1024 * 1024;

/// Most bytes that one connection may have queued, all its channels together.
const MOST: usize = 32 * 1024 * 1024;

/// Bytes that all connections of a listener may have queued beyond [`FREE`] of each.
const SHARED: usize = 128 * 1024 * 1024;

/// What all connections of a listener have queued beyond their own.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    fn take(&self, n: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(n).filter(|sum| *sum <= SHARED);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .is_ok()
    }
}

/// What one connection has queued.
#[derive(Debug)]
pub(crate) struct Queue {
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queued: usize,
    /// Taken out of the budget.
    borrowed: usize,
}

impl Queue {
    pub(crate) fn new(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget: Arc::clone(budget),
            state: Mutex::default(),
        })
    }

    /// A channel has `now` bytes queued where it had `before`. False where that is too much: it is noted
    /// all the same, and the channel is to be closed.
    pub(crate) fn change(&self, before: usize, now: usize) -> bool {
        let mut state = self.state.lock();
        state.queued = state.queued.saturating_sub(before) + now;
        let beyond = state.queued.saturating_sub(FREE);
        if beyond <= state.borrowed {
            self.budget.0.fetch_sub(state.borrowed - beyond, Ordering::AcqRel);
            state.borrowed = beyond;
            return true;
        }
        let fits = state.queued <= MOST && self.budget.take(beyond - state.borrowed);
        if fits {
            state.borrowed = beyond;
        }
        fits
    }

    /// Bytes queued by all channels.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().queued
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let borrowed = self.state.get_mut().borrowed;
        self.budget.0.fetch_sub(borrowed, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_own_and_all_share_the_rest() {
        let budget = Arc::new(Budget::default());
        let taken = || budget.0.load(Ordering::Acquire);
        let one = Queue::new(&budget);
        assert!(one.change(0, FREE) && taken() == 0);
        // Another channel of the same connection.
        assert!(one.change(0, 10) && taken() == 10);
        assert!(one.change(FREE, MOST - 10));
        assert!(!one.change(10, 11), "more than a connection may have");
        assert!(one.change(11, 0) && taken() == MOST - FREE - 10);
        // The fourth and a half use up what is shared.
        let others: Vec<_> = (0..8).map(|_| Queue::new(&budget)).collect();
        let fits = others.iter().filter(|other| other.change(0, MOST)).count();
        assert_eq!(fits, (SHARED - taken()) / (MOST - FREE) + fits);
        assert!(fits < 8 && taken() <= SHARED);
        let late = Queue::new(&budget);
        assert!(late.change(0, FREE), "its own is there whatever the others do");
        drop(others);
        assert_eq!(taken(), MOST - FREE - 10);
        assert!(one.change(MOST - 10, 0) && taken() == 0);
    }
}
