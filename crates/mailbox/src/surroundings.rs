//! What a remote mailbox needs of its host: where records and fetched content are kept.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use portreeve_microsoft::Cloud;
use portreeve_vfs::SpoolArea;

use crate::{Shelf, fetch::Fetches, mailbox::Outboxes};

/// What a remote mailbox needs of its host. One for the whole process: it outlives every reload, so that
/// records, fetched content and what is shared with Microsoft's services do.
#[derive(Clone)]
pub struct Surroundings {
    /// Where names and indexes are remembered over restarts.
    pub shelf: Arc<dyn Shelf>,
    /// Where content is put down while it is read or written.
    pub spool: Arc<SpoolArea>,
    /// Tokens and budgets of Microsoft's services.
    pub cloud: Cloud,
    /// Content being fetched, and what is kept of it for a while.
    pub(crate) fetches: Arc<Fetches>,
    /// Messages that wait to be sent.
    pub(crate) outboxes: Arc<Outboxes>,
    turns: Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>,
}

impl Surroundings {
    /// With records on `shelf`, content in `spool` and tokens in `cloud`.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, spool: Arc<SpoolArea>, cloud: Cloud) -> Self {
        Self {
            shelf,
            fetches: Arc::new(Fetches::new(Arc::clone(&spool))),
            spool,
            cloud,
            outboxes: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// Nothing that waits is sent before [`Surroundings::send_what_waits`]: who only looks at a configuration, or finds
    /// that it cannot serve, sends nothing.
    #[must_use]
    pub fn holding_back(self) -> Self {
        self.outboxes.hold(true);
        self
    }

    /// From now on what waits to be sent is sent when it is due.
    pub fn send_what_waits(&self) {
        self.outboxes.hold(false);
    }

    /// The one turn of those who change what is recorded under `space`, whichever storage or generation of the
    /// configuration they belong to.
    pub(crate) fn turn(&self, space: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(space).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(space.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryShelf;

    #[test]
    fn who_changes_one_mailbox_takes_turns_with_all_who_do() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Arc::new(SpoolArea::new(dir.path().to_owned(), 1 << 20, 1 << 20));
        let cloud = Cloud::new(Arc::new(portreeve_microsoft::MemoryVault::default()));
        let around = Surroundings::new(Arc::new(MemoryShelf::default()), spool, cloud);
        let (a, again, other) = (around.turn("a"), around.clone().turn("a"), around.turn("b"));
        assert!(Arc::ptr_eq(&a, &again) && !Arc::ptr_eq(&a, &other));
        drop((a, again));
        assert_eq!(around.turns.lock().len(), 2);
        drop(around.turn("c"));
        assert!(
            !around.turns.lock().contains_key("a"),
            "turns that nobody holds are let go"
        );
    }
}
