//! What came in and was not yet understood: a queue of chunks that is read like one string.
//!
//! Invariant: chunks are sliced, never joined, unless a short field straddles two of them.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{Incoming, MAX_PACKET, request};

/// A frame whose length is impossible: there is no way to find the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenFrame(pub u32);

impl std::fmt::Display for BrokenFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a packet of {} bytes; 1 to {MAX_PACKET} are possible", self.0)
    }
}

/// A field that reaches beyond its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short;

/// Above this many waiting bytes, small chunks are gathered: a client that asks for a whole file in
/// advance sends a hundred thousand packets of 33 bytes, and each chunk costs as much again.
const GATHER_ABOVE: usize = 16 * 1024;
const SMALL: usize = 2 * 1024;
const GATHERED: usize = 32 * 1024;

/// Chunks in order of arrival.
#[derive(Debug, Default)]
pub struct Inbox {
    chunks: VecDeque<Bytes>,
    /// Small chunks that came last, gathered; behind everything in `chunks`.
    tail: Vec<u8>,
    len: usize,
}

impl Inbox {
    /// Adds what came next.
    pub fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() > SMALL || self.len < GATHER_ABOVE {
            self.settle_tail();
            if !chunk.is_empty() {
                self.chunks.push_back(chunk);
            }
            return;
        }
        if self.tail.capacity() == 0 {
            self.tail.reserve_exact(GATHERED);
        }
        self.tail.extend_from_slice(&chunk);
        if self.tail.len() > GATHERED - SMALL {
            self.settle_tail();
        }
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).into());
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything, and gives its memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next packet, where a whole one is here.
    ///
    /// # Errors
    /// [`BrokenFrame`]: the rest of the stream means nothing.
    pub fn next_request(&mut self) -> Result<Option<Incoming>, BrokenFrame> {
        let Some(length) = self.peek_u32() else {
            return Ok(None);
        };
        if length == 0 || length > MAX_PACKET {
            return Err(BrokenFrame(length));
        }
        let left = length as usize;
        if self.len < 4 + left {
            return Ok(None);
        }
        if self.len - self.tail.len() < 4 + left {
            self.settle_tail();
        }
        self.skip(4);
        let mut fields = Fields { inbox: self, left };
        Ok(Some(request::parse(&mut fields)))
    }

    fn peek_u32(&self) -> Option<u32> {
        if self.len < 4 {
            return None;
        }
        if let Some(head) = self.chunks.front().and_then(|chunk| chunk.first_chunk::<4>()) {
            return Some(u32::from_be_bytes(*head));
        }
        let bytes = self
            .chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .chain(&self.tail)
            .take(4);
        Some(bytes.fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn skip(&mut self, mut n: usize) {
        while n > 0 {
            let Some(front) = self.chunks.front_mut() else {
                return;
            };
            let step = n.min(front.len());
            front.advance(step);
            self.len -= step;
            n -= step;
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 64 {
            self.chunks.shrink_to_fit();
        }
    }

    /// The next slice of at most `n` bytes that lies in one chunk.
    fn slice(&mut self, n: usize) -> Option<Bytes> {
        let front = self.chunks.front_mut()?;
        let slice = if front.len() <= n {
            self.chunks.pop_front()?
        } else {
            front.split_to(n)
        };
        self.len -= slice.len();
        Some(slice)
    }
}

/// The fields of one packet, in order. Whatever is not read is skipped when this is dropped.
pub(super) struct Fields<'a> {
    inbox: &'a mut Inbox,
    left: usize,
}

impl Fields<'_> {
    pub(super) fn left(&self) -> usize {
        self.left
    }

    fn take(&mut self, n: usize) -> Result<(), Short> {
        self.left = self.left.checked_sub(n).ok_or(Short)?;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.take(N)?;
        let mut array = [0; N];
        if let Some(head) = self
            .inbox
            .chunks
            .front()
            .and_then(|chunk| chunk.first_chunk::<N>())
        {
            array = *head;
        } else {
            let bytes = self.inbox.chunks.iter().flat_map(|chunk| chunk.iter());
            array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        self.inbox.skip(N);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Short> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A string in one piece: a slice where it lies in one chunk, else a copy.
    pub(super) fn string(&mut self) -> Result<Bytes, Short> {
        let n = self.u32()? as usize;
        self.take(n)?;
        if n == 0 {
            return Ok(Bytes::new());
        }
        if self.inbox.chunks.front().is_some_and(|chunk| chunk.len() >= n) {
            return self.inbox.slice(n).ok_or(Short);
        }
        let mut whole = Vec::with_capacity(n);
        while whole.len() < n {
            let piece = self.inbox.slice(n - whole.len()).ok_or(Short)?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// A string in the pieces in which it came.
    pub(super) fn pieces(&mut self) -> Result<Vec<Bytes>, Short> {
        let mut n = self.u32()? as usize;
        self.take(n)?;
        let mut pieces = Vec::with_capacity(1 + n / (32 * 1024));
        while n > 0 {
            let piece = self.inbox.slice(n).ok_or(Short)?;
            n -= piece.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        self.inbox.skip(self.left);
    }
}
