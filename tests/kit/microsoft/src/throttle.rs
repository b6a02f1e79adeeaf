//! How many requests are in flight for a mailbox, by application, and for an application; who was over the limit, and who
//! came back before the time that `Retry-After` said.
//! Invariant: a request counts from its head to the last byte of its answer, and is let go before that byte is sent, so that
//! a client which waits for one answer before the next question is never counted twice.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    now: usize,
    most: usize,
    over: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    counts: Mutex<HashMap<(String, String), Count>>,
    waits: Mutex<(HashMap<String, Instant>, u64)>,
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    throttle: Arc<Throttle>,
    key: (String, String),
}

impl Throttle {
    /// Counts a request for a mailbox (`*`: for any of them); the flag says whether it is over the limit.
    pub(crate) fn enter(self: &Arc<Self>, app: &str, mailbox: &str, limit: usize) -> (InFlight, bool) {
        let key = (app.to_lowercase(), mailbox.to_lowercase());
        let mut counts = self.counts.lock();
        let count = counts.entry(key.clone()).or_default();
        count.now += 1;
        count.most = count.most.max(count.now);
        let over = count.now > limit;
        count.over += u64::from(over);
        drop(counts);
        let flight = InFlight {
            throttle: Arc::clone(self),
            key,
        };
        (flight, over)
    }

    pub(crate) fn most(&self, mailbox: &str) -> usize {
        let counts = self.counts.lock();
        let of = counts
            .iter()
            .filter(|((_, m), _)| m.eq_ignore_ascii_case(mailbox));
        of.map(|(_, count)| count.most).max().unwrap_or(0)
    }

    pub(crate) fn now(&self, mailbox: &str) -> usize {
        let counts = self.counts.lock();
        let of = counts
            .iter()
            .filter(|((_, m), _)| m.eq_ignore_ascii_case(mailbox));
        of.map(|(_, count)| count.now).sum()
    }

    pub(crate) fn over(&self) -> u64 {
        self.counts.lock().values().map(|c| c.over).sum()
    }

    /// Notes that this request must not come again before so many seconds have passed.
    pub(crate) fn wait(&self, line: &str, seconds: f64) {
        let until = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.waits.lock().0.insert(line.to_owned(), until);
    }

    /// Notes that this request has come.
    pub(crate) fn came(&self, line: &str) {
        let mut waits = self.waits.lock();
        if let Some(until) = waits.0.remove(line) {
            waits.1 += u64::from(Instant::now() < until);
        }
    }

    pub(crate) fn early(&self) -> u64 {
        self.waits.lock().1
    }

    pub(crate) fn reset(&self) {
        *self.waits.lock() = (HashMap::new(), 0);
        for count in self.counts.lock().values_mut() {
            (count.most, count.over) = (count.now, 0);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(count) = self.throttle.counts.lock().get_mut(&self.key) {
            count.now = count.now.saturating_sub(1);
        }
    }
}
