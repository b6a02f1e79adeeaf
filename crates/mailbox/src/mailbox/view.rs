//! What each folder shows: its files under their names, kept between operations.
//!
//! Invariants: one refresh of a folder at a time; a view is replaced as a whole; bindings are
//! recorded before the names are answered. While the store asks us to slow down, or a draft is being made in
//! the folder, the last view serves: a draft is not seen before it is whole, nor its name given away.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex as SyncMutex;
use portreeve_vfs::{FsErrorKind, FsResult};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Shared,
    items::{Item, Items, View},
    now,
};
use crate::{
    ChangeToken, Folder, FolderId, FolderKind, StoreAbilities,
    bind::Bindings,
    book::{Binding, NameBook, PartKey},
    name::fold,
};

/// Folders of which the view is held, beyond those in use.
const MAX_HELD: usize = 256;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// What was seen within the store's freshness will do.
    Cheap,
    /// Ask the store, unless it is remote and was asked within its freshness.
    Fresh,
}

impl Need {
    pub(super) fn allows(self, age: Duration, store: &StoreAbilities) -> bool {
        (self == Self::Cheap || store.remote) && age < store.fresh_for
    }
}

/// All views.
pub(super) struct Views {
    book: Arc<dyn NameBook>,
    slots: SyncMutex<HashMap<FolderId, Arc<Slot>>>,
    clock: AtomicU64,
    /// Files in all views together, beyond which folders unused longest are let go.
    max_files: u64,
}

/// One folder's.
pub(super) struct Slot {
    state: Mutex<State>,
    used: AtomicU64,
    files: AtomicU64,
    /// Held by whoever puts a message into the folder under a name, from before its view is asked.
    putting: Mutex<()>,
    /// The name of the draft that is being made.
    reserved: SyncMutex<Option<String>>,
}

/// A name that is kept for a draft while that is made.
pub(super) struct Reserved<'a>(&'a Slot);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        *self.0.reserved.lock() = None;
    }
}

#[derive(Default)]
pub(super) struct State {
    bindings: Option<Bindings>,
    pub(super) view: Option<Arc<View>>,
    pub(super) token: Option<ChangeToken>,
    asked: Option<Instant>,
    /// Bindings that could not be recorded yet.
    unrecorded: bool,
}

impl Views {
    /// A folder may have `max_entries` messages and attachments: where each message has one attachment,
    /// half of them are files.
    pub(super) fn new(book: Arc<dyn NameBook>, max_entries: usize) -> Self {
        Self {
            max_files: max_entries as u64 / 2,
            book,
            slots: SyncMutex::default(),
            clock: AtomicU64::new(0),
        }
    }

    pub(super) fn slot(&self, folder: &FolderId) -> Arc<Slot> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.slots.lock();
        let slot = slots.entry(folder.clone()).or_insert_with(|| {
            Arc::new(Slot {
                state: Mutex::default(),
                used: AtomicU64::new(0),
                files: AtomicU64::new(0),
                putting: Mutex::default(),
                reserved: SyncMutex::default(),
            })
        });
        slot.used.store(now, Ordering::Relaxed);
        let slot = Arc::clone(slot);
        self.trim(&mut slots);
        slot
    }

    /// Lets go of what is beyond the bounds and not in use.
    fn trim(&self, slots: &mut HashMap<FolderId, Arc<Slot>>) {
        let files = |slots: &HashMap<FolderId, Arc<Slot>>| {
            slots
                .values()
                .map(|slot| slot.files.load(Ordering::Relaxed))
                .sum::<u64>()
        };
        while slots.len() > MAX_HELD || files(slots) > self.max_files {
            // Nobody else holds it: bindings that somebody is changing must not be loaded twice.
            let idle = slots.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let oldest = idle.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            slots.remove(&oldest);
        }
    }

    pub(super) fn forget(&self, folder: &FolderId) {
        self.slots.lock().remove(folder);
    }

    /// Makes every folder be looked at again.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        for slot in self.slots.lock().values() {
            slot.state.try_lock().unwrap().stale();
        }
    }

    /// A folder got another id.
    pub(super) async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()> {
        self.forget(from);
        self.forget(to);
        self.book.renamed(from, to).await
    }
}

impl Slot {
    pub(super) async fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Lets one at a time put messages into the folder.
    pub(super) async fn put_alone(&self) -> MutexGuard<'_, ()> {
        self.putting.lock().await
    }

    #[cfg(test)]
    pub(super) fn reserves(&self) -> Option<String> {
        self.reserved.lock().clone()
    }

    /// Keeps a name that is free, and the view as it is; who does so puts alone.
    pub(super) fn reserve(&self, name: &str) -> Reserved<'_> {
        *self.reserved.lock() = Some(name.to_owned());
        Reserved(self)
    }
}

impl State {
    /// Forgets what was seen: the next look asks the store.
    pub(super) fn stale(&mut self) {
        self.token = None;
        self.asked = None;
    }

    /// The folder's bindings.
    pub(super) async fn bindings(&mut self, shared: &Shared, folder: &FolderId) -> FsResult<&mut Bindings> {
        if self.bindings.is_none() {
            let lines = shared.book().load(folder).await?;
            let nested = shared.policy.messages.is_some();
            self.bindings = Some(Bindings::load(lines, nested, now()));
        }
        Ok(self.bindings.get_or_insert_default())
    }

    /// Records changed bindings. When that fails the mailbox goes on: within this process the names
    /// are right, and the next record tries again.
    pub(super) async fn record(&mut self, book: &dyn NameBook, folder: &FolderId, changed: Vec<Binding>) {
        let Some(bindings) = &self.bindings else {
            return;
        };
        if changed.is_empty() && !self.unrecorded {
            return;
        }
        let saved = if self.unrecorded {
            book.replace(folder, &bindings.all()).await
        } else {
            match book.save(folder, &changed, bindings.len()).await {
                Ok(true) => book.replace(folder, &bindings.all()).await,
                other => other.map(drop),
            }
        };
        self.unrecorded = saved.is_err();
        if let Err(error) = saved {
            tracing::warn!(?folder, %error, "names could not be recorded; numbered ones may change at a restart");
        }
    }

    /// Takes a file out of the view, after its deletion.
    pub(super) fn take_out(&mut self, gone: impl Fn(&PartKey) -> bool) {
        if let Some(view) = &self.view {
            self.view = Some(Arc::new(view.without(&gone)));
        }
    }
}

impl Shared {
    pub(super) fn book(&self) -> &dyn NameBook {
        &*self.views.book
    }

    /// A file by its name; asks again before it says no.
    pub(super) async fn find(&self, folder: &Folder, name: &str) -> FsResult<Option<Item>> {
        for need in [Need::Cheap, Need::Fresh] {
            if let Some(item) = self.view(folder, need).await?.files.find(name) {
                return Ok(Some(item.clone()));
            }
        }
        Ok(None)
    }

    /// What the directory of a message holds.
    pub(super) async fn inside(&self, folder: &Folder, message: &Item, need: Need) -> FsResult<Arc<Items>> {
        let inside = self.view(folder, need).await?.inside(&message.key.message);
        inside.ok_or_else(|| FsErrorKind::NotFound.into())
    }

    /// A file in the directory of a message; asks again before it says no.
    pub(super) async fn find_inside(
        &self,
        folder: &Folder,
        message: &Item,
        name: &str,
    ) -> FsResult<Option<Item>> {
        for need in [Need::Cheap, Need::Fresh] {
            if let Some(item) = self.inside(folder, message, need).await?.find(name) {
                return Ok(Some(item.clone()));
            }
        }
        Ok(None)
    }

    /// The name of a living file that folds like `name`.
    pub(super) async fn alike(&self, folder: &Folder, name: &str) -> FsResult<Option<String>> {
        let slot = self.views.slot(&folder.id);
        let mut state = slot.lock().await;
        let bindings = state.bindings(self, &folder.id).await?;
        if let Some(shown) = bindings.alike(name) {
            return Ok(Some(shown.to_owned()));
        }
        let reserved = slot.reserved.lock().clone();
        Ok(reserved.filter(|reserved| fold(reserved) == fold(name)))
    }

    /// The files of a folder.
    pub(super) async fn view(&self, folder: &Folder, need: Need) -> FsResult<Arc<View>> {
        if folder.kind == FolderKind::Container {
            return Ok(Arc::default());
        }
        let slot = self.views.slot(&folder.id);
        let mut state = slot.lock().await;
        if slot.reserved.lock().is_some()
            && let Some(view) = &state.view
        {
            return Ok(Arc::clone(view));
        }
        let view = self.refresh(folder, &mut state, need).await?;
        let names = state.bindings.as_ref().map_or(0, Bindings::len);
        slot.files
            .store(names.max(view.files.len()) as u64, Ordering::Relaxed);
        self.views.trim(&mut self.views.slots.lock());
        Ok(view)
    }

    /// The files of a folder whose slot is locked.
    pub(super) async fn refresh(
        &self,
        folder: &Folder,
        state: &mut State,
        need: Need,
    ) -> FsResult<Arc<View>> {
        if let (Some(view), Some(asked)) = (&state.view, state.asked)
            && need.allows(asked.elapsed(), self.store.abilities())
        {
            return Ok(Arc::clone(view));
        }
        let asked = Instant::now();
        let fresh = self.relist(folder, state).await;
        match (fresh, &state.view) {
            (Ok(()), Some(view)) => {
                state.asked = Some(asked);
                Ok(Arc::clone(view))
            }
            (Ok(()), None) => Ok(Arc::default()),
            (Err(error), Some(view)) if error.kind() == FsErrorKind::Throttled => {
                tracing::debug!(folder = ?folder.id, "the store asks to slow down: the last listing serves");
                Ok(Arc::clone(view))
            }
            (Err(error), _) => Err(error),
        }
    }
}
