//! How much may be on its way to the client: the memory of a session, whatever it asks for in advance.
//!
//! A reply takes [`Room`] before it is made and gives it back when its bytes have been encrypted; what
//! is encrypted counts until it was written to the socket. russh holds replies while the peer's window
//! is used up, so no further ones are begun then, and requests wait unanswered in their queue.
//!
//! Invariant: whoever is refused room is woken when there is some again: by the callback that follows
//! a WINDOW_ADJUST while replies are held, else by [`Traffic::flushed`]. One side writes that it was
//! refused and looks for room, the other gives room and looks who was refused: neither may see the other's
//! old value, hence `SeqCst`.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::pool::Pool;

/// Most bytes of replies that one channel has on its way.
const LIMIT: usize = 512 * 1024;

/// One connection's traffic, seen from below russh.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Encrypted and not yet written.
    sealed: AtomicUsize,
    refused: AtomicBool,
    flows: Mutex<Vec<Weak<Flow>>>,
    pub(crate) killed: AtomicBool,
    pub(crate) reader: AtomicWaker,
    pub(crate) writer: AtomicWaker,
}

impl Traffic {
    /// Everything encrypted so far has been written to the socket.
    pub(crate) fn flushed(&self) {
        self.sealed.store(0, Ordering::SeqCst);
        if !self.refused.swap(false, Ordering::SeqCst) {
            return;
        }
        for flow in self.flows.lock().iter().filter_map(Weak::upgrade) {
            if flow.alive.load(Ordering::SeqCst) == 0 {
                flow.wake();
            } else {
                self.refused.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Makes every further read and write fail: russh then gives the connection up.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }
}

/// One channel's share.
#[derive(Debug)]
pub(crate) struct Flow {
    traffic: Arc<Traffic>,
    alive: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Flow {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Arc<Self> {
        let flow = Arc::new(Self {
            traffic,
            alive: AtomicUsize::new(0),
            waker: Mutex::new(None),
        });
        let mut flows = flow.traffic.flows.lock();
        flows.retain(|other| other.strong_count() > 0);
        flows.push(Arc::downgrade(&flow));
        drop(flows);
        flow
    }

    /// Who is to be woken when there is room again.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Room for a reply of `n` bytes; none while too much is on its way.
    pub(crate) fn room(self: &Arc<Self>, n: usize) -> Option<Room> {
        if !self.fits(n) {
            self.traffic.refused.store(true, Ordering::SeqCst);
            // Looked at again, for a flush that came before the line above.
            if !self.fits(n) {
                return None;
            }
        }
        self.alive.fetch_add(n, Ordering::SeqCst);
        Some(Room {
            flow: Arc::clone(self),
            n,
            sent: false,
        })
    }

    fn fits(&self, n: usize) -> bool {
        let alive = self.alive.load(Ordering::SeqCst);
        let busy = alive + self.traffic.sealed.load(Ordering::SeqCst);
        busy == 0 || busy + n <= LIMIT
    }
}

/// A reply's room. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    flow: Arc<Flow>,
    n: usize,
    sent: bool,
}

impl Room {
    /// Takes over what another reply of the same channel had.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.n += std::mem::take(&mut other.n);
    }

    /// Gives back what the reply did not need.
    pub(crate) fn shrink_to(&mut self, n: usize) {
        if n < self.n {
            self.flow.alive.fetch_sub(self.n - n, Ordering::SeqCst);
            self.n = n;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.sent {
            self.flow.traffic.sealed.fetch_add(self.n, Ordering::SeqCst);
        }
        let before = self.flow.alive.fetch_sub(self.n, Ordering::SeqCst);
        // The flush may have come before russh let go of what it had sealed: then this is the last
        // chance to tell whoever was refused.
        if before == self.n && self.flow.traffic.refused.load(Ordering::SeqCst) {
            self.flow.wake();
        }
    }
}

/// Reply bytes on their way through russh.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    room: Room,
    pool: Arc<Pool>,
}

impl Outgoing {
    pub(crate) fn new(bytes: Vec<u8>, mut room: Room, pool: Arc<Pool>) -> Self {
        room.sent = true;
        Self { bytes, room, pool }
    }
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // What russh encrypted is what was in there, not what was asked for.
        self.room.shrink_to(self.bytes.len());
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

/// Reply bytes on their way through russh's queue: counted until russh has encrypted them.
pub(crate) struct Detour {
    bytes: Bytes,
    count: Arc<AtomicUsize>,
}

impl Detour {
    pub(crate) fn new(bytes: Bytes, count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self {
            bytes,
            count: Arc::clone(count),
        }
    }
}

impl AsRef<[u8]> for Detour {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}
