//! The Outbox: an upload to `/Outbox/<address>/` is sent there as an attachment, after a delay in which it
//! can be taken back.
//!
//! Invariants: what was committed lies in the mailbox's drafts and its record on the shelf before that is
//! answered; a restart neither loses it nor sends it twice (a draft that is gone was sent); an upload
//! without a commit is never sent; what cannot be sent stays visible and is tried again, ever more rarely,
//! and not for ever. One sender for each mailbox, however many storages it has and however often they are set
//! up anew; each storage sees its own.

mod files;
mod left;
mod sender;
mod share;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex as SyncMutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, MutexGuard, Notify, watch},
    time::Instant,
};

pub use left::LeftWaiting;
use share::Sends;
pub(super) use share::Share;

use super::now;
use crate::{Change, FolderId, MailStore, MessageId, Shelf};

/// The name of its directory, at the top.
pub(super) const OUTBOX: &str = "Outbox";
/// How the names of spaces on the shelf begin, before that of the mailbox.
const SPACE: &str = "outbox\n";
/// How many messages may wait in one mailbox.
const MAX_WAITING: usize = 1000;

/// All Outboxes of the process, each under the name of its mailbox.
#[derive(Default)]
pub(crate) struct Outboxes {
    all: SyncMutex<HashMap<String, Weak<Outbox>>>,
    /// Nothing is sent as long as this says so.
    held: watch::Sender<bool>,
}

/// One mailbox's.
pub(super) struct Outbox {
    /// What can send: at least one.
    stores: SyncMutex<Vec<Sends>>,
    shelf: Arc<dyn Shelf>,
    space: String,
    state: Mutex<State>,
    changed: Notify,
    held: watch::Receiver<bool>,
    /// Seconds since 1970, and when that was: steps of the clock send nothing early.
    began: (u64, Instant),
}

/// What waits, by the id of its draft.
#[derive(Default)]
struct State {
    waiting: BTreeMap<String, Waiting>,
    loaded: bool,
    /// A task looks after it.
    running: bool,
}

/// A message that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// The storage it was uploaded to.
    #[serde(default)]
    storage: String,
    /// To whom.
    pub(super) to: String,
    /// Name of its file.
    pub(super) name: String,
    /// The folder of drafts.
    pub(super) folder: String,
    /// The draft.
    pub(super) message: String,
    /// Its attachment.
    pub(super) part: String,
    /// `Message-ID` of the draft, without the angle brackets; empty where that is not known.
    #[serde(default)]
    pub(super) internet_id: String,
    /// Size of the file, in bytes.
    pub(super) size: u64,
    /// When it was uploaded, in seconds since 1970.
    pub(super) since: u64,
    /// When it is to be sent, in seconds since 1970.
    due: u64,
    /// How often that was tried in vain.
    #[serde(default)]
    tries: u32,
    /// It is being sent at this moment.
    #[serde(skip)]
    sending: bool,
}

impl Waiting {
    fn put(&self) -> FsResult<Change> {
        let value = serde_json::to_string(self)
            .map_err(|error| FsError::new(FsErrorKind::Backend).caused_by(error))?;
        let key = self.message.clone();
        Ok(Change::Put { key, value })
    }

    fn ids(&self) -> (FolderId, MessageId) {
        (self.folder.as_str().into(), self.message.as_str().into())
    }
}

impl Outboxes {
    /// Whether nothing is sent from now on.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// What `storage` has of the Outbox of the mailbox `name`; its uploads are sent by `store`, after `delay`.
    pub(super) fn get(
        &self,
        name: &str,
        shelf: &Arc<dyn Shelf>,
        storage: &str,
        store: &Arc<dyn MailStore>,
        delay: Duration,
    ) -> Share {
        let mut all = self.all.lock();
        if let Some(outbox) = all.get(name).and_then(Weak::upgrade) {
            let share = Share::new(Arc::clone(&outbox), storage, store, delay);
            // Its task may have ended for want of a store.
            outbox.start();
            return share;
        }
        all.retain(|_, outbox| outbox.strong_count() > 0);
        let outbox = Arc::new(Outbox {
            stores: SyncMutex::default(),
            shelf: Arc::clone(shelf),
            space: format!("{SPACE}{name}"),
            state: Mutex::default(),
            changed: Notify::new(),
            held: self.held.subscribe(),
            began: (now(), Instant::now()),
        });
        all.insert(name.to_owned(), Arc::downgrade(&outbox));
        let share = Share::new(Arc::clone(&outbox), storage, store, delay);
        outbox.start();
        share
    }
}

impl State {
    /// That it waits, and is not being sent.
    fn check_idle(&self, waiting: &Waiting) -> FsResult<()> {
        match self.waiting.get(&waiting.message) {
            None => Err(FsErrorKind::NotFound.into()),
            Some(there) if there.sending => {
                Err(FsError::new(FsErrorKind::Busy).context("it is being sent at this moment"))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Outbox {
    fn now(&self) -> u64 {
        let (seconds, then) = self.began;
        seconds.saturating_add(then.elapsed().as_secs())
    }

    /// What waits, read from the shelf where that has not been done yet.
    async fn state(&self) -> FsResult<MutexGuard<'_, State>> {
        let mut state = self.state.lock().await;
        if !state.loaded {
            for (key, value) in self.shelf.load(&self.space).await? {
                match serde_json::from_str(&value) {
                    Ok(waiting) => drop(state.waiting.insert(key, waiting)),
                    Err(error) => {
                        tracing::warn!(%error, "a record of a message that waits to be sent cannot be read: its draft stays unsent");
                    }
                }
            }
            state.loaded = true;
        }
        Ok(state)
    }

    async fn record(&self, waiting: &Waiting) -> FsResult<()> {
        self.shelf.save(&self.space, &[waiting.put()?]).await
    }

    async fn forget(&self, message: &str) -> FsResult<()> {
        let key = message.to_owned();
        self.shelf.save(&self.space, &[Change::Drop { key }]).await
    }

    /// Everything that waits, by recipient and name.
    async fn all(&self) -> FsResult<Vec<Waiting>> {
        let mut all: Vec<Waiting> = self.state().await?.waiting.values().cloned().collect();
        all.sort_by(|a, b| (&a.to, &a.name).cmp(&(&b.to, &b.name)));
        Ok(all)
    }

    /// Takes a message in: it is sent after the delay.
    async fn add(self: &Arc<Self>, mut waiting: Waiting, delay: Duration) -> FsResult<()> {
        let mut state = self.state().await?;
        waiting.due = self.now().saturating_add(delay.as_secs());
        self.record(&waiting).await?;
        state.waiting.insert(waiting.message.clone(), waiting);
        drop(state);
        self.changed.notify_one();
        self.start();
        Ok(())
    }

    /// Puts `anew` in the place of `old`, which is not sent any more.
    async fn replace(self: &Arc<Self>, old: &Waiting, mut anew: Waiting, delay: Duration) -> FsResult<()> {
        let mut state = self.state().await?;
        state.check_idle(old)?;
        anew.due = self.now().saturating_add(delay.as_secs());
        let key = old.message.clone();
        // Both or none: neither is sent twice, nor lost.
        self.shelf
            .save(&self.space, &[anew.put()?, Change::Drop { key }])
            .await?;
        state.waiting.remove(&old.message);
        state.waiting.insert(anew.message.clone(), anew);
        drop(state);
        self.changed.notify_one();
        self.start();
        Ok(())
    }

    /// That one more may wait.
    async fn check_room(&self) -> FsResult<()> {
        if self.state().await?.waiting.len() < MAX_WAITING {
            return Ok(());
        }
        Err(FsError::new(FsErrorKind::Busy).context("too many messages wait in the Outbox; try again later"))
    }

    async fn cancel(&self, waiting: &Waiting, store: &Arc<dyn MailStore>) -> FsResult<()> {
        let mut state = self.state().await?;
        state.check_idle(waiting)?;
        let (folder, message) = waiting.ids();
        // Where it was sent already it may still be there, in another folder, and is not to be deleted.
        let gone = match store.message(&folder, &message).await {
            Ok(_) => store.delete_message(&folder, &message).await,
            Err(error) => Err(error),
        };
        match gone {
            Err(error) if error.kind() != FsErrorKind::NotFound => return Err(error),
            _ => {}
        }
        state.waiting.remove(&waiting.message);
        // With the draft gone, a record that stays does no harm: the sender takes it for sent.
        if let Err(error) = self.forget(&waiting.message).await {
            tracing::warn!(%error, "the record of a message that was taken back could not be removed");
        }
        gone
    }
}
