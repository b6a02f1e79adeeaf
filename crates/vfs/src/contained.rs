//! A storage that panics fails the one call: nobody above it finds a half-done act on a stack that is
//! being unwound, with counters, permits and records left behind. The panic hook has counted and
//! logged it with its place before it arrives here.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt;

use crate::{Cursor, Entry, FsError, FsErrorKind, FsResult, Listing};

/// What `call` comes to; a panic is an error of the storage.
///
/// Unwind safety: what a storage shares between calls is its own, and it may fail as it likes; what is
/// above sees an error like any other.
///
/// # Errors
/// Those of `call`; `Backend` for a panic.
pub async fn contained<T>(call: impl Future<Output = FsResult<T>>) -> FsResult<T> {
    let panicked = |_| {
        Err(FsError::new(FsErrorKind::Backend)
            .context("the storage broke down over this; the server's log says where"))
    };
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(panicked)
}

/// A listing whose panics are errors.
pub(crate) struct ContainedListing(pub(crate) Box<dyn Listing>);

#[async_trait]
impl Listing for ContainedListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        contained(self.0.next(max)).await
    }

    fn cursor(&self) -> Option<Cursor> {
        self.0.cursor()
    }
}
