//! A service that is away is not waited for by everybody: once one request has spent all its tries on it, the others are
//! made once each, and told at once.
//!
//! Invariants: every request is made, so the first that gets through ends it; it ends by itself after a while, and then
//! one request at a time has all its tries again, however many come.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Whether the service is taken to be away.
pub(super) struct Breaker {
    lasts: Duration,
    away: Mutex<Option<Instant>>,
}

impl Breaker {
    pub(super) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            away: Mutex::default(),
        }
    }

    /// Whether a request that failed may be made again. `probes` is its own, and false before the first time: who finds
    /// the time over is the one that has its tries again.
    pub(super) fn allows(&self, probes: &mut bool) -> bool {
        let mut away = self.away.lock();
        let now = Instant::now();
        match *away {
            // Its tries may take longer than the time: nobody else begins meanwhile.
            Some(_) if *probes => {
                *away = Some(now + self.lasts);
                true
            }
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // A caller that hangs up in the middle leaves its turn to another once this time is over, too.
                *away = Some(now + self.lasts);
                *probes = true;
                true
            }
        }
    }

    /// A request has spent all its tries.
    pub(super) fn trip(&self) {
        *self.away.lock() = Some(Instant::now() + self.lasts);
    }

    /// The service has answered.
    pub(super) fn reset(&self) {
        *self.away.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LASTS: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_has_its_tries_again() {
        let breaker = Breaker::new(LASTS);
        assert!(breaker.allows(&mut false));
        breaker.trip();
        assert!(!breaker.allows(&mut false));
        advance(LASTS).await;
        let mut first = false;
        assert!(breaker.allows(&mut first) && first);
        assert!(!breaker.allows(&mut false), "one is enough");
        assert!(breaker.allows(&mut first), "the one keeps its tries");
        // It hung up.
        advance(LASTS - Duration::from_secs(1)).await;
        assert!(breaker.allows(&mut first), "and its turn, however long they take");
        advance(LASTS - Duration::from_secs(1)).await;
        assert!(!breaker.allows(&mut false));
        advance(Duration::from_secs(1)).await;
        let mut second = false;
        assert!(breaker.allows(&mut second) && second);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_it_for_all() {
        let breaker = Breaker::new(LASTS);
        breaker.trip();
        breaker.reset();
        let mut probes = false;
        assert!(breaker.allows(&mut probes) && !probes);
    }
}
