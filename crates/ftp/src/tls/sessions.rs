//! The sessions of one control connection.
//!
//! Invariants: at most [`HELD`] of them, the oldest goes first; a session is found by a random name of 32
//! bytes, which is all that a client ever gets to see of it; secrets are never shown.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use parking_lot::Mutex;

/// A handshake leaves three at most: two tickets of TLS 1.3, or one ticket and one session of TLS 1.2.
const HELD: usize = 16;
/// Longer is nothing that rustls stores but for a chain of client certificates.
const LONGEST: usize = 64 << 10;

/// Names and what rustls stored under them.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Held>);

#[derive(Default)]
struct Held {
    by_name: HashMap<Vec<u8>, Vec<u8>>,
    order: VecDeque<Vec<u8>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.0.lock().order.len())
    }
}

impl Sessions {
    /// Stores under the name that rustls chose.
    pub(super) fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        if session.len() > LONGEST {
            return false;
        }
        let mut held = self.0.lock();
        if held.by_name.insert(name.clone(), session).is_none() {
            held.order.push_back(name);
        }
        while held.order.len() > HELD {
            if let Some(oldest) = held.order.pop_front() {
                held.by_name.remove(&oldest);
            }
        }
        true
    }

    /// Stores under a new random name, which is the ticket.
    pub(super) fn name(&self, session: &[u8]) -> Option<Vec<u8>> {
        let mut name = vec![0; 32];
        getrandom::fill(&mut name).ok()?;
        self.put(name.clone(), session.to_vec()).then_some(name)
    }

    /// Finds; does not remove.
    pub(super) fn find(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().by_name.get(name).cloned()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().order.len()
    }
}
