//! One storage's share of a mailbox's Outbox.
//!
//! Invariants: a storage sees what was uploaded by it, and nothing else; its own delay holds for that. What
//! waits is sent by a store of its own storage where there is one: a store that was set up anew takes over
//! when somebody uses it, or when the former one is given up. One that is given up before that (a reload that
//! was refused) leaves nothing behind.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use portreeve_vfs::FsResult;

use super::{Outbox, Waiting};
use crate::MailStore;

/// A store that can send.
pub(super) struct Sends {
    storage: String,
    /// Later ones have higher numbers.
    number: u64,
    store: Arc<dyn MailStore>,
    /// Its storage has not been given up.
    open: bool,
    /// Somebody has used the Outbox by it.
    used: bool,
}

impl Sends {
    /// Of two the higher is asked: one in use before one that is only set up, the newest of those in use,
    /// the oldest of the others.
    fn rank(&self) -> (bool, bool, Option<u64>, Reverse<u64>) {
        (
            self.open,
            self.used,
            self.used.then_some(self.number),
            Reverse(self.number),
        )
    }
}

/// What one storage has of the Outbox of its mailbox.
pub(in crate::mailbox) struct Share {
    outbox: Arc<Outbox>,
    storage: String,
    number: u64,
    store: Arc<dyn MailStore>,
    delay: Duration,
}

impl Share {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        storage: &str,
        store: &Arc<dyn MailStore>,
        delay: Duration,
    ) -> Self {
        let mut all = outbox.stores.lock();
        let number = all.iter().map(|sends| sends.number + 1).max().unwrap_or(0);
        all.push(Sends {
            storage: storage.to_owned(),
            number,
            store: Arc::clone(store),
            open: true,
            used: false,
        });
        drop(all);
        Self {
            outbox,
            storage: storage.to_owned(),
            number,
            store: Arc::clone(store),
            delay,
        }
    }

    /// From now on this storage's messages are sent by this store, unless a later one is in use.
    fn uses(&self) {
        let mut all = self.outbox.stores.lock();
        for sends in all.iter_mut().filter(|sends| sends.number == self.number) {
            sends.used = true;
        }
        all.retain(|sends| sends.open || sends.storage != self.storage);
    }

    pub(super) fn store(&self) -> &Arc<dyn MailStore> {
        &self.store
    }

    pub(super) fn storage(&self) -> &str {
        &self.storage
    }

    pub(super) fn now(&self) -> u64 {
        self.outbox.now()
    }

    /// Everything of this storage that waits, by recipient and name.
    pub(in crate::mailbox) async fn all(&self) -> FsResult<Vec<Waiting>> {
        self.uses();
        let mut all = self.outbox.all().await?;
        all.retain(|waiting| waiting.storage == self.storage);
        Ok(all)
    }

    pub(super) async fn find(&self, to: &str, name: &str) -> FsResult<Option<Waiting>> {
        let mut all = self.all().await?.into_iter();
        Ok(all.find(|waiting| waiting.to == to && waiting.name == name))
    }

    pub(super) async fn add(&self, waiting: Waiting) -> FsResult<()> {
        self.uses();
        self.outbox.add(waiting, self.delay).await
    }

    pub(super) async fn replace(&self, old: &Waiting, anew: Waiting) -> FsResult<()> {
        self.uses();
        self.outbox.replace(old, anew, self.delay).await
    }

    pub(super) async fn check_room(&self) -> FsResult<()> {
        self.outbox.check_room().await
    }

    /// Takes a message back; when this answers well it will not be sent.
    pub(in crate::mailbox) async fn cancel(&self, waiting: &Waiting) -> FsResult<()> {
        self.uses();
        self.outbox.cancel(waiting, &self.store).await
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.outbox.stores.lock();
        let others = |sends: &Sends| sends.storage == self.storage && sends.number != self.number;
        let unused = |sends: &Sends| sends.number == self.number && !sends.used;
        if all.iter().any(others) || all.iter().any(unused) {
            all.retain(|sends| sends.number != self.number);
        } else {
            // What waits is still to be sent.
            for sends in all.iter_mut().filter(|sends| sends.number == self.number) {
                sends.open = false;
            }
        }
    }
}

impl Outbox {
    /// Whether anybody is there who can send.
    pub(super) fn can_send(&self) -> bool {
        !self.stores.lock().is_empty()
    }

    /// What sends the messages of a storage: its own store, else one of another storage of the mailbox.
    pub(super) fn store_of(&self, storage: &str) -> Option<Arc<dyn MailStore>> {
        let all = self.stores.lock();
        let best = all
            .iter()
            .max_by_key(|sends| (sends.storage == storage, sends.rank()));
        best.map(|sends| Arc::clone(&sends.store))
    }
}
