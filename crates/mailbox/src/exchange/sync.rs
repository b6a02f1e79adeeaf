//! How the index of a folder comes to be and is kept up.
//!
//! A folder is listed once, page by page, with the attachments of its messages; that listing is answered.
//! Behind it the first round of a delta query is read to its end and compared with what was listed; from
//! then on one delta call tells what has changed, also after a restart.
//!
//! Invariants: one refresh of a folder at a time, and what it fetches of messages is fetched while it holds
//! the folder, so that what we delete cannot come back from an older answer; a delta's link is taken over
//! only when everything that it told was taken in; records are written together with it. While Exchange
//! asks us to slow down, the index serves.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use portreeve_microsoft::{GraphError, GraphFault, segment};
use portreeve_model::Secret;
use portreeve_vfs::{FsErrorKind, FsResult};
use tokio::sync::Mutex;

use super::{
    Inner,
    delta::Round,
    folders::{Refused, is_refusal},
    index::{Index, Known},
    wire::{DELTA_FIELDS, MessageItem},
};
use crate::{FolderId, MessageId};

/// Messages on a page of the first listing, which brings their attachments.
const LISTED: u32 = 200;
/// Messages on a page of a delta.
const DELTA: u32 = 500;
/// So many changed messages on one page of a delta are listed anew with the whole folder, which costs less than
/// asking for each (somebody marked all as read).
const LIST_INSTEAD: usize = 100;
/// Folders of which the index is held in memory, beyond those in use.
const MAX_HELD: usize = 256;

/// All indexes.
#[derive(Debug, Default)]
pub(super) struct Slots {
    held: parking_lot::Mutex<HashMap<FolderId, Arc<Slot>>>,
    clock: AtomicU64,
}

/// One folder's.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) state: Mutex<State>,
    used: AtomicU64,
    entries: AtomicUsize,
}

/// What is known of a folder's messages.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) index: Option<Index>,
    asked: Option<Instant>,
    /// The first round of deltas is being read behind the listing.
    catching_up: bool,
    /// Records could not be written: the next time all of them are.
    unrecorded: bool,
    /// The shelf was asked.
    looked_up: bool,
}

impl Slots {
    pub(super) fn slot(&self, folder: &FolderId, max_entries: usize) -> Arc<Slot> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock();
        let slot = Arc::clone(held.entry(folder.clone()).or_default());
        slot.used.store(now, Ordering::Relaxed);
        loop {
            let entries: usize = held
                .values()
                .map(|slot| slot.entries.load(Ordering::Relaxed))
                .sum();
            if held.len() <= MAX_HELD && entries <= max_entries {
                break;
            }
            // Nobody holds it: what somebody is changing must not be read from the shelf beside him.
            let idle = held.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let oldest = idle.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            held.remove(&oldest);
        }
        drop(held);
        slot
    }

    pub(super) fn forget(&self, folder: &FolderId) {
        self.held.lock().remove(folder);
    }
}

impl State {
    /// Whether it can be answered from without a question.
    fn is_fresh(&self, inner: &Inner) -> bool {
        let recent = self.asked.is_some_and(|asked| asked.elapsed() < inner.fresh_for);
        self.index.is_some() && (recent || self.catching_up)
    }

    /// The link of the next delta, where one is due.
    pub(super) fn due(&self, inner: &Inner) -> Option<Secret> {
        let link = self.index.as_ref().and_then(Index::link);
        link.filter(|_| !self.is_fresh(inner)).cloned()
    }
}

impl Inner {
    pub(super) fn slot(&self, folder: &FolderId) -> Arc<Slot> {
        self.slots.slot(folder, self.max_entries)
    }

    fn space(&self, folder: &FolderId) -> String {
        format!("index\0{}\0{}\0{}", self.address, self.kind, folder.0)
    }

    /// A folder is gone, and what was known of its messages with it.
    pub(super) async fn forget(&self, folder: &FolderId) {
        self.slots.forget(folder);
        if let Err(error) = self.around.shelf.replace(&self.space(folder), &[]).await {
            tracing::debug!(mailbox = %self.address, %error, "the index of a folder that is gone was not dropped");
        }
    }

    /// What the shelf remembers of a folder, the first time.
    pub(super) async fn look_up(&self, folder: &FolderId, state: &mut State) {
        if state.looked_up {
            return;
        }
        state.looked_up = true;
        match self.around.shelf.load(&self.space(folder)).await {
            Ok(records) => state.index = Index::load(records, &self.form, self.max_entries),
            Err(error) => {
                tracing::warn!(mailbox = %self.address, %error, "the index of a folder could not be read: it is listed anew");
            }
        }
    }

    /// Brings a folder's index up to date; `begun` is the first page of a delta that was asked together
    /// with another.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        folder: &FolderId,
        slot: &Arc<Slot>,
        state: &mut State,
        begun: Option<Result<Round<MessageItem>, GraphError>>,
    ) -> FsResult<()> {
        self.look_up(folder, state).await;
        if begun.is_none() && state.is_fresh(self) {
            return Ok(());
        }
        let asked = Instant::now();
        let done = if state.index.is_some() && begun.is_none() && self.is_throttled() {
            Err(FsErrorKind::Throttled.into())
        } else {
            self.ask(folder, slot, state, begun).await
        };
        match done {
            Ok(()) => {}
            Err(error) if state.index.is_some() && error.kind() == FsErrorKind::Throttled => {
                tracing::debug!(mailbox = %self.address, "Exchange asks to slow down: the index serves");
            }
            Err(error) => {
                // What is too large may be smaller by now: a round that adds first and removes later would never pass.
                if matches!(error.kind(), FsErrorKind::NotFound | FsErrorKind::TooLarge) {
                    state.index = None;
                }
                return Err(error);
            }
        }
        state.asked = Some(asked);
        let entries = state.index.as_ref().map_or(0, Index::entries);
        slot.entries.store(entries, Ordering::Relaxed);
        Ok(())
    }

    async fn ask(
        self: &Arc<Self>,
        folder: &FolderId,
        slot: &Arc<Slot>,
        state: &mut State,
        begun: Option<Result<Round<MessageItem>, GraphError>>,
    ) -> FsResult<()> {
        if let Some(link) = state.index.as_ref().and_then(Index::link).cloned() {
            let round = begun.unwrap_or_else(|| Ok(Round::at(&self.graph, &link, DELTA)));
            let done = match round {
                Ok(round) => self.take(folder, state, round).await,
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(()) => return Ok(()),
                Err(Refused::Asking(error))
                    if matches!(error.kind, GraphFault::Gone | GraphFault::Invalid) =>
                {
                    tracing::debug!(mailbox = %self.address, "a folder is listed anew: its delta has expired");
                }
                Err(refused) => return Err(self.refused(refused)),
            }
        }
        state.index = Some(self.list(folder).await?);
        state.catching_up = true;
        let (inner, folder, slot) = (Arc::clone(self), folder.clone(), Arc::clone(slot));
        tokio::spawn(async move { inner.catch_up(&folder, &slot).await });
        Ok(())
    }

    /// The first listing: as many calls as pages.
    async fn list(&self, folder: &FolderId) -> FsResult<Index> {
        let mut index = Index::new(self.max_entries);
        let filter = if self.every_message {
            ""
        } else {
            "$filter=hasAttachments eq true&"
        };
        let expand = self.expand();
        let id = segment(&folder.0);
        let path = format!(
            "mailFolders/{id}/messages?{filter}$select={}{expand}&$top={LISTED}",
            self.fields
        );
        let mut pages = self.graph.pages::<MessageItem>(&path, None);
        loop {
            let page = match pages.next().await {
                Ok(page) => page,
                Err(error) if !expand.is_empty() && is_refusal(&error) && index.entries() == 0 => {
                    tracing::info!(mailbox = %self.address, %error, "attachments are not told with their messages here: they are asked one message after the other");
                    self.expands.store(false, Ordering::Relaxed);
                    return Box::pin(self.list(folder)).await;
                }
                Err(error) => return Err(self.told(&error)),
            };
            let Some(page) = page else {
                return Ok(index);
            };
            for known in self.with_attachments(page.value).await? {
                index.put(known)?;
            }
        }
    }

    /// Takes in a round of deltas, and what it tells to have changed.
    async fn take(
        &self,
        folder: &FolderId,
        state: &mut State,
        mut round: Round<MessageItem>,
    ) -> Result<(), Refused> {
        let mut listing = None;
        loop {
            let page = round.next(&self.graph, DELTA).await?;
            if let Some(index) = &mut state.index {
                self.take_page(folder, index, page.items, &mut listing).await?;
            }
            if let Some(link) = page.link {
                if let Some(index) = &mut state.index {
                    index.set_link(link);
                }
                break;
            }
        }
        self.record(folder, state).await;
        Ok(())
    }

    /// Takes in one page of a delta.
    async fn take_page(
        &self,
        folder: &FolderId,
        index: &mut Index,
        items: Vec<MessageItem>,
        listing: &mut Option<Index>,
    ) -> FsResult<()> {
        let mut wanted: Vec<MessageId> = Vec::new();
        let mut told: HashMap<MessageId, Option<String>> = HashMap::new();
        for item in items {
            let id = MessageId::from(&*item.id);
            let elsewhere = item
                .parent_folder_id
                .as_deref()
                .is_some_and(|parent| *parent != *folder.0);
            let bare = !self.every_message && item.has_attachments == Some(false);
            if item.removed.is_some() || elsewhere || bare {
                index.remove(&id);
            } else if !index.is_current(&id, item.change_key.as_deref()) && !wanted.contains(&id) {
                told.insert(id.clone(), item.change_key);
                wanted.push(id);
            }
        }
        let now = wanted.len() > LIST_INSTEAD && listing.is_none();
        if now {
            *listing = Some(self.list(folder).await?);
        }
        if let Some(listing) = listing {
            let mut left = Vec::new();
            for id in wanted {
                // A listing from an earlier page may be older than what this page tells.
                let stamp = told.get(&id).and_then(Option::as_deref);
                match listing.get(&id).filter(|_| now || listing.is_current(&id, stamp)) {
                    Some(known) => {
                        index.put(known.clone())?;
                    }
                    // Gone, without attachments, or passed over by pages that shifted: asked by itself.
                    None => left.push(id),
                }
            }
            wanted = left;
        }
        let mut seen: HashSet<MessageId> = HashSet::new();
        for known in self.fetch(&wanted).await? {
            let (known, place) = known;
            let id = known.message.id.clone();
            if *place == *folder.0 && (self.every_message || !known.message.attachments.is_empty()) {
                seen.insert(id.clone());
                index.put(known)?;
            }
        }
        // Gone or moved since, or without attachments by now.
        for id in wanted.into_iter().filter(|id| !seen.contains(id)) {
            index.remove(&id);
        }
        Ok(())
    }

    /// Writes down what changed, and where the next delta begins. A call that is broken off in the middle has
    /// all written anew the next time.
    async fn record(&self, folder: &FolderId, state: &mut State) {
        let Some(index) = &mut state.index else {
            return;
        };
        let space = self.space(folder);
        let saved = if std::mem::replace(&mut state.unrecorded, true) {
            let all = index.records(&self.form);
            self.around.shelf.replace(&space, &all).await
        } else {
            self.around.shelf.save(&space, &index.changes()).await
        };
        match saved {
            Ok(()) => {
                state.unrecorded = false;
                index.clean();
            }
            Err(error) => {
                tracing::warn!(mailbox = %self.address, %error, "the index of a folder could not be recorded; after a restart it is listed anew");
            }
        }
    }

    /// Reads the first round of deltas behind the first listing.
    async fn catch_up(self: Arc<Self>, folder: &FolderId, slot: &Arc<Slot>) {
        let done = self.first_round(folder, slot).await;
        let mut state = slot.state.lock().await;
        state.catching_up = false;
        match done {
            Ok(()) => {
                state.unrecorded = true;
                self.record(folder, &mut state).await;
            }
            Err(error) => {
                tracing::info!(mailbox = %self.address, %error, "changes of a folder cannot be followed yet: its next listing begins anew");
                state.asked = None;
            }
        }
        let entries = state.index.as_ref().map_or(0, Index::entries);
        slot.entries.store(entries, Ordering::Relaxed);
    }

    async fn first_round(&self, folder: &FolderId, slot: &Slot) -> FsResult<()> {
        let id = segment(&folder.0);
        let path = format!("mailFolders/{id}/messages/delta?$select={DELTA_FIELDS}");
        let mut round: Round<MessageItem> = Round::Pages(Box::new(self.graph.pages(&path, Some(DELTA))));
        let mut listed: HashSet<MessageId> = {
            let state = slot.state.lock().await;
            state.index.iter().flat_map(Index::ids).cloned().collect()
        };
        let mut listing = None;
        loop {
            let page = round
                .next(&self.graph, DELTA)
                .await
                .map_err(|error| self.told(&error))?;
            for item in &page.items {
                listed.remove(&MessageId::from(&*item.id));
            }
            let mut state = slot.state.lock().await;
            let Some(index) = &mut state.index else {
                return Err(FsErrorKind::NotFound.into());
            };
            self.take_page(folder, index, page.items, &mut listing).await?;
            if let Some(link) = page.link {
                // What was listed and is not told of is not there.
                for id in &listed {
                    index.remove(id);
                }
                index.set_link(link);
                return Ok(());
            }
        }
    }

    /// Something came into a folder that is not known here: its next look asks.
    pub(super) async fn stale(&self, folder: &FolderId) {
        let slot = self.slots.held.lock().get(folder).cloned();
        if let Some(slot) = slot {
            slot.state.lock().await.asked = None;
        }
    }

    /// The same for a folder that every mailbox has.
    pub(super) async fn stale_well_known(&self, name: &str) {
        let folder = self.folders.lock().await.tree.well_known(name);
        if let Some(folder) = folder {
            self.stale(&folder).await;
        }
    }

    /// What is known of a message.
    pub(super) async fn known(&self, folder: &FolderId, message: &MessageId) -> Option<Known> {
        let slot = self.slots.held.lock().get(folder).cloned()?;
        let state = slot.state.lock().await;
        state.index.as_ref()?.get(message).cloned()
    }

    /// We changed a message: seen at once, whatever the next delta is late to tell.
    pub(super) async fn changed(&self, folder: &FolderId, change: impl FnOnce(&mut Index)) {
        let slot = self.slot(folder);
        let mut state = slot.state.lock().await;
        if let Some(index) = &mut state.index {
            change(index);
        }
    }
}

#[cfg(test)]
impl Inner {
    /// Makes everything be asked again.
    pub(super) async fn expire(&self) {
        self.folders.lock().await.expire();
        let slots: Vec<Arc<Slot>> = self.slots.held.lock().values().cloned().collect();
        for slot in slots {
            slot.state.lock().await.asked = None;
        }
    }

    /// Whether a first round of deltas is being read.
    pub(super) async fn is_catching_up(&self) -> bool {
        let slots: Vec<Arc<Slot>> = self.slots.held.lock().values().cloned().collect();
        for slot in slots {
            if slot.state.lock().await.catching_up {
                return true;
            }
        }
        false
    }
}
