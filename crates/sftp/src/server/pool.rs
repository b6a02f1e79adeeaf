//! Buffers that are used again: a fresh 256 KiB buffer costs 64 page faults, more than the cipher.
//!
//! Invariant: a bounded number is kept, for the whole door and not for each session.

use parking_lot::Mutex;

use crate::wire::{DATA_HEADER, MAX_DATA};

/// Sizes kept: what READs ask for, and the DATA header. A backend fills a buffer without zeroing it
/// first only if its room is about what is wanted, hence several sizes.
const SIZES: [usize; 4] = [
    32 * 1024 + DATA_HEADER,
    64 * 1024 + DATA_HEADER,
    128 * 1024 + DATA_HEADER,
    MAX_DATA as usize + DATA_HEADER,
];

/// Bytes kept of each size.
const KEPT: usize = 4 * 1024 * 1024;

/// Bytes read from a socket at once.
pub(crate) const SOCKET: usize = 64 * 1024;

/// The buffers of one door.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    replies: [Mutex<Vec<Vec<u8>>>; SIZES.len()],
    sockets: Mutex<Vec<Box<[u8]>>>,
}

impl Pool {
    /// An empty buffer with room for at least `n` bytes.
    pub(crate) fn take(&self, n: usize) -> Vec<u8> {
        let Some((size, kept)) = SIZES.iter().zip(&self.replies).find(|(size, _)| n <= **size) else {
            return Vec::with_capacity(n);
        };
        if n < SIZES[0] / 4 {
            return Vec::with_capacity(n);
        }
        kept.lock().pop().unwrap_or_else(|| Vec::with_capacity(*size))
    }

    /// Takes a buffer back.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        let Some((size, kept)) = SIZES
            .iter()
            .zip(&self.replies)
            .find(|(size, _)| buffer.capacity() == **size)
        else {
            return;
        };
        buffer.clear();
        let mut kept = kept.lock();
        if kept.len() < KEPT / size {
            kept.push(buffer);
        }
    }

    /// A buffer for reading from a socket, with whatever was in it before.
    pub(crate) fn take_socket(&self) -> Box<[u8]> {
        let kept = self.sockets.lock().pop();
        kept.unwrap_or_else(|| vec![0; SOCKET].into_boxed_slice())
    }

    /// Takes one back.
    pub(crate) fn put_socket(&self, buffer: Box<[u8]>) {
        let mut kept = self.sockets.lock();
        if kept.len() < KEPT / SOCKET {
            kept.push(buffer);
        }
    }
}
