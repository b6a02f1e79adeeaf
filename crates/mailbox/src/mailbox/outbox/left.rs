//! What waits in mailboxes that nobody has opened since the last restart.
//!
//! Invariant: a storage opens a mailbox only for what it accepted itself; records that cannot be read are somebody else's matter.

use std::sync::Arc;

use portreeve_vfs::FsResult;

use super::{SPACE, Waiting, sender::TRIES};
use crate::{Shelf, Surroundings};

/// The mailboxes from which a storage has still to send.
pub struct LeftWaiting {
    shelf: Arc<dyn Shelf>,
    storage: String,
    kind: String,
}

impl LeftWaiting {
    /// The storage is `storage`, and the names of its mailboxes are `kind` and the address.
    pub(crate) fn new(around: &Surroundings, storage: &str, kind: String) -> Self {
        Self {
            shelf: Arc::clone(&around.shelf),
            storage: storage.to_owned(),
            kind,
        }
    }

    /// The addresses of these mailboxes.
    pub(crate) async fn addresses(&self) -> FsResult<Vec<String>> {
        let prefix = format!("{SPACE}{}", self.kind);
        let mut addresses = Vec::new();
        for space in self.shelf.spaces(&prefix).await? {
            let records = self.shelf.load(&space).await?;
            let mine = |(_, value): &(String, String)| {
                let waiting = serde_json::from_str::<Waiting>(value);
                waiting.is_ok_and(|waiting| waiting.storage == self.storage && waiting.tries < TRIES)
            };
            if records.iter().any(mine)
                && let Some(address) = space.strip_prefix(&prefix)
            {
                addresses.push(address.to_owned());
            }
        }
        Ok(addresses)
    }
}
