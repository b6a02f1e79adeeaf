//! Buffers that downloads read ahead into.
//!
//! Invariant: never more than `capacity` of them are out; one comes back when the last slice of what
//! was sent from it is gone, so that slow readers cannot make memory grow.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// How large a buffer is.
pub(crate) const CHUNK: usize = 256 << 10;

/// How many unused buffers are kept.
const SPARE: usize = 16;

/// The buffers of one listener.
#[derive(Debug)]
pub(crate) struct Pool {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    out: usize,
    spare: Vec<Vec<u8>>,
}

/// One buffer on loan.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    buffer: Vec<u8>,
}

impl Pool {
    /// With room for `bytes` in all.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let capacity = usize::try_from(bytes / CHUNK as u64).unwrap_or(usize::MAX);
        Arc::new(Self {
            capacity,
            state: Mutex::new(State::default()),
        })
    }

    /// A buffer; none where all are out.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Lease> {
        let mut state = self.state.lock();
        if state.out >= self.capacity {
            return None;
        }
        state.out += 1;
        let buffer = state.spare.pop();
        drop(state);
        Some(Lease {
            pool: Arc::clone(self),
            buffer: buffer.unwrap_or_else(|| Vec::with_capacity(CHUNK)),
        })
    }

    #[cfg(test)]
    pub(crate) fn out(&self) -> usize {
        self.state.lock().out
    }
}

impl Lease {
    /// The empty buffer, to be filled and given back.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Gives the filled buffer back as what is to be sent.
    pub(crate) fn into_bytes(mut self, buffer: Vec<u8>) -> Bytes {
        self.buffer = buffer;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut state = self.pool.state.lock();
        state.out = state.out.saturating_sub(1);
        if buffer.capacity() >= CHUNK && state.spare.len() < SPARE {
            state.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_so_much_and_takes_all_back() {
        let pool = Pool::new(2 * CHUNK as u64);
        let mut first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        drop(second);
        let mut buffer = first.lend();
        buffer.extend_from_slice(b"hello");
        let bytes = first.into_bytes(buffer);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&slice[..], pool.out()), (&b"el"[..], 1));
        drop(slice);
        assert_eq!(pool.out(), 0);
        let mut lost = pool.take().unwrap();
        drop(lost.lend());
        drop(lost);
        assert_eq!(pool.out(), 0, "a buffer that a failed read kept is not missed");
    }
}
