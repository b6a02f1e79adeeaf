//! Content that comes as a one-way stream, made readable at any offset while it comes.
//!
//! A task fetches the whole part at full speed; readers wait only for the range they ask for. Many readers
//! of one part share one fetch, and what was fetched is kept for a while after its last reader has gone.
//!
//! Invariants: constant memory whatever the size (parts up to [`SMALL`] in memory, all of them together
//! bounded; larger ones in the spool). The length is verified: a stream that is too short or too long, or
//! that differs when it is begun again, is an error for every reader, and the end of a part is given to
//! nobody before the stream has ended there. A fetch that nobody waits for any more is ended.

mod shared;
mod stream;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_vfs::FsResult;

pub(crate) use shared::Fetches;

/// Parts up to this size stay in memory, in bytes.
pub(crate) const SMALL: u64 = 256 << 10;

/// A part as a store can fetch it: from the start, or from further on where it can.
#[async_trait]
pub(crate) trait Source: Send {
    /// Opens a stream that begins at `from` or before it (a store that cannot begin in the middle begins
    /// at 0: what is there already is compared with what comes, and skipped).
    async fn open(&mut self, from: u64) -> FsResult<Opened>;
}

/// A stream from a [`Source`].
pub(crate) struct Opened {
    /// Where its first byte belongs; at most what was asked for.
    pub(crate) at: u64,
    /// Length of the whole part, where the store promises one; without it the part is fetched to its end
    /// before it is answered, since sizes are exact.
    pub(crate) length: Option<u64>,
    /// The bytes.
    pub(crate) pieces: Box<dyn Pieces>,
}

/// The bytes of a stream in order.
#[async_trait]
pub(crate) trait Pieces: Send {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> FsResult<Option<Bytes>>;
}
