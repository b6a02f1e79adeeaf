//! Time for bans, from one place, so that tests can turn it.

use std::time::{Duration, Instant, SystemTime};

/// The two clocks of the machine.
pub trait Clock: Send + Sync {
    /// Time that passed since some moment of this process: never jumps.
    fn passed(&self) -> Duration;

    /// The wall clock: may jump; only for what another process reads.
    fn wall(&self) -> SystemTime;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct MachineClock(Instant);

impl Default for MachineClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MachineClock {
    fn passed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
