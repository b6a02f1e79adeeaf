//! Hearing of what happens in the folder that was listed last (IDLE, RFC 2177), on a connection of its own.
//!
//! Invariants: one connection for a mailbox at most, and only while somebody lists; news make a folder stale,
//! they are never trusted for more; a folder counts as watched only while the server has been asked and the
//! connection stands; the task ends with its mailbox.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use super::{Inner, connection::Connection, error::ImapError, index::Slot};
use crate::FolderId;

/// How long one IDLE lasts: well within what servers and the ways to them allow.
const ROUND: Duration = Duration::from_secs(50);
/// How long a folder must be the last one listed before it is watched: who walks through all folders is not
/// followed.
const SETTLED: Duration = Duration::from_millis(300);
/// How long a folder is watched that nobody lists any more.
const FORGOTTEN: Duration = Duration::from_mins(15);
/// How long a failure stands.
const AGAIN: Duration = Duration::from_secs(20);

/// The one who watches.
pub(super) struct Watch {
    wanted: watch::Sender<Option<FolderId>>,
    /// Until the first listing.
    task: Mutex<Option<(Weak<Inner>, watch::Receiver<Option<FolderId>>)>>,
}

impl Watch {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        let (wanted, receiver) = watch::channel(None);
        Self {
            wanted,
            task: Mutex::new(Some((Arc::downgrade(inner), receiver))),
        }
    }

    /// This folder was just listed.
    pub(super) fn turn_to(&self, folder: &FolderId, slot: &Slot) {
        if let Some((mailbox, receiver)) = self.task.lock().take() {
            tokio::spawn(run(mailbox, receiver));
        }
        let watched = slot.is_watched();
        self.wanted.send_if_modified(|wanted| {
            let other = wanted.as_ref() != Some(folder);
            if other {
                *wanted = Some(folder.clone());
            }
            other || !watched
        });
    }
}

async fn run(mailbox: Weak<Inner>, mut wanted: watch::Receiver<Option<FolderId>>) {
    let mut connection: Option<Connection> = None;
    let mut at_once = false;
    while at_once || wanted.changed().await.is_ok() {
        at_once = false;
        let Some(folder) = settled(&mut wanted).await else {
            continue;
        };
        let Some(slot) = mailbox.upgrade().map(|inner| inner.slots.of(&folder)) else {
            return;
        };
        let outcome = listen(&mailbox, &mut connection, &folder, &slot, &mut wanted).await;
        slot.watch(false);
        match outcome {
            Ok(true) => at_once = wanted.borrow().as_ref() != Some(&folder),
            // The server cannot, or the mailbox is gone.
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, "a folder is not watched any more; it is asked in turn");
                connection = None;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The folder that stays the last one listed.
async fn settled(wanted: &mut watch::Receiver<Option<FolderId>>) -> Option<FolderId> {
    loop {
        let folder = wanted.borrow_and_update().clone();
        match timeout(SETTLED, wanted.changed()).await {
            Err(_) => return folder,
            Ok(Ok(())) if *wanted.borrow() == folder => return folder,
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
        }
    }
}

/// Watches until another folder is wanted or nobody wants this one. False: the server cannot.
async fn listen(
    mailbox: &Weak<Inner>,
    connection: &mut Option<Connection>,
    folder: &FolderId,
    slot: &Arc<Slot>,
    wanted: &mut watch::Receiver<Option<FolderId>>,
) -> Result<bool, ImapError> {
    if !connection.as_ref().is_some_and(Connection::usable) {
        let Some(inner) = mailbox.upgrade() else {
            return Ok(false);
        };
        *connection = Some(inner.pool.extra().await?);
    }
    let Some(open) = connection.as_mut() else {
        return Ok(false);
    };
    if !open.can("IDLE") {
        *connection = None;
        return Ok(false);
    }
    let state = open.select(&folder.0, false, true).await?.clone();
    // What happened between the listing and now.
    let missed = slot.index().is_none_or(|index| !index.holds(&state));
    if missed {
        slot.stale();
    }
    slot.watch(true);
    loop {
        if open.idle(ROUND, wanted).await? {
            slot.stale();
        }
        if wanted.has_changed().is_err() {
            return Ok(false);
        }
        if wanted.borrow().as_ref() != Some(folder) {
            return Ok(true);
        }
        if slot.rested() > FORGOTTEN {
            *connection = None;
            return Ok(true);
        }
    }
}
