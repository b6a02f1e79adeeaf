//! One descriptor kept in reserve for the moment when there are none.

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::io::Errno;

/// A descriptor that is given back to the system for one accept, then taken again.
#[derive(Debug)]
pub struct Reserve {
    spare: Mutex<Option<File>>,
    began: Instant,
    told: AtomicU64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            spare: Mutex::new(spare()),
            began: Instant::now(),
            told: AtomicU64::new(0),
        }
    }
}

impl Reserve {
    /// Runs `work` with one more descriptor free than there was. The spare is taken again afterwards,
    /// which succeeds only where `work` gave it back: what it answers holds it, as long as it lives. Whoever
    /// is given such an answer calls [`Reserve::refill`] when it is gone.
    pub async fn lend<T, F: Future<Output = T>>(&self, work: impl FnOnce() -> F) -> T {
        drop(self.spare.lock().take());
        let done = work().await;
        self.refill();
        done
    }

    /// Takes the spare again where it is missing and can be had.
    pub fn refill(&self) {
        let mut now = self.spare.lock();
        if now.is_none() {
            *now = spare();
        }
    }

    /// Whether the shortage is to be told now: once every ten seconds.
    pub fn first_notice(&self) -> bool {
        let now = self.began.elapsed().as_secs() + 1;
        let told = self.told.load(Ordering::Relaxed);
        let due = told == 0 || now.saturating_sub(told) >= Duration::from_secs(10).as_secs();
        due && self
            .told
            .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether there are no descriptors, or no memory for sockets (accept(2)).
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // That descriptors run out is tests/descriptors.rs: it needs a process of its own.
    #[test]
    fn the_shortage_is_told_once_and_known_by_its_errors() {
        let reserve = Reserve::default();
        assert!(reserve.first_notice());
        assert!(!reserve.first_notice(), "not with every connection");
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for exhausted in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(is_exhausted(&error(exhausted)), "{exhausted}");
        }
        for other in [Errno::CONNABORTED, Errno::INTR, Errno::PERM] {
            assert!(!is_exhausted(&error(other)), "{other}");
        }
        assert!(!is_exhausted(&io::Error::other("x")));
    }
}
