//! What each folder shows: its files under their names, kept between operations.
//!
//! Invariants: one refresh of a folder at a time; a view is replaced as a whole; bindings are
//! recorded before the names are answered; a view shows all of a folder, or is refused. While the store asks us to slow down, the last view
//! serves.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex as SyncMutex;
use portreeve_model::Name;
use portreeve_vfs::{Entry, FileKind, FsErrorKind, FsResult};
use tokio::sync::{Mutex, MutexGuard};

use super::{Shared, now, whole::Whole};
use crate::{
    Attachment, AttachmentKind, ChangeToken, Folder, FolderId, FolderKind, Message, MessageId,
    StoreAbilities,
    bind::{Bindings, Wish},
    book::{Binding, NameBook, PartKey},
    name::{BaseName, fold},
    store::too_many,
    template::Facts,
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

/// A file of a folder.
#[derive(Debug, Clone)]
pub(super) struct Item {
    entry: Entry,
    pub(super) key: PartKey,
    /// Where the listing did not tell the size: the size, once it is learnt. Shared by all copies.
    learnt: Option<Arc<OnceLock<u64>>>,
}

impl Item {
    pub(super) fn new(entry: Entry, key: PartKey) -> Self {
        let learnt = (entry.is_file() && entry.size.is_none()).then(Arc::default);
        Self { entry, key, learnt }
    }

    /// What is known of it.
    pub(super) fn entry(&self) -> Entry {
        let mut entry = self.entry.clone();
        entry.size = entry.size.or_else(|| self.learnt.as_ref()?.get().copied());
        entry
    }

    /// Whether it is the directory of a message.
    pub(super) fn is_message(&self) -> bool {
        self.key.is_message()
    }

    /// Whether its exact size is still to be learnt.
    pub(super) fn is_unsized(&self) -> bool {
        self.learnt.as_ref().is_some_and(|learnt| learnt.get().is_none())
    }

    pub(super) fn learn(&self, size: u64) {
        if let Some(learnt) = &self.learnt {
            let _ = learnt.set(size);
        }
    }

    /// The name; every item has one.
    pub(super) fn name(&self) -> &[u8] {
        self.entry.name.as_ref().map_or(&[], Name::as_bytes)
    }
}

/// Items in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Items(Vec<Item>);

impl Items {
    fn new(mut items: Vec<Item>) -> Self {
        items.sort_by(|a, b| a.name().cmp(b.name()));
        Self(items)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Item> {
        let order = |item: &Item| item.name().cmp(name.as_bytes());
        let at = self.0.binary_search_by(order).ok()?;
        self.0.get(at)
    }

    fn without(&self, gone: impl Fn(&PartKey) -> bool) -> Self {
        Self(self.0.iter().filter(|item| !gone(&item.key)).cloned().collect())
    }
}

impl std::ops::Deref for Items {
    type Target = [Item];

    fn deref(&self) -> &[Item] {
        &self.0
    }
}

/// What a folder shows beside its sub-folders.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its files; where each message is a directory, those.
    pub(super) files: Arc<Items>,
    /// What the directories of messages hold.
    inside: HashMap<MessageId, Arc<Items>>,
}

impl View {
    /// What the directory of a message holds; none where it is gone.
    pub(super) fn inside(&self, message: &MessageId) -> Option<Arc<Items>> {
        self.inside.get(message).cloned()
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
}

#[derive(Default)]
pub(super) struct State {
    bindings: Option<Bindings>,
    view: Option<Arc<View>>,
    token: Option<ChangeToken>,
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
            let files = Arc::new(view.files.without(&gone));
            let mut inside = view.inside.clone();
            inside.retain(|message, _| !gone(&PartKey::of_message(message)));
            for items in inside.values_mut() {
                if items.iter().any(|item| gone(&item.key)) {
                    *items = Arc::new(items.without(&gone));
                }
            }
            self.view = Some(Arc::new(View { files, inside }));
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
        Ok(bindings.alike(name).map(str::to_owned))
    }

    /// The files of a folder.
    pub(super) async fn view(&self, folder: &Folder, need: Need) -> FsResult<Arc<View>> {
        if folder.kind == FolderKind::Container {
            return Ok(Arc::default());
        }
        let slot = self.views.slot(&folder.id);
        let mut state = slot.lock().await;
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

    /// Lists the folder, unless its token says that nothing has changed.
    async fn relist(&self, folder: &Folder, state: &mut State) -> FsResult<()> {
        let token = self.store.change_token(&folder.id).await?;
        if state.view.is_some() && token.is_some() && token == state.token {
            return Ok(());
        }
        let mut messages: Vec<Arc<Message>> = Vec::new();
        let mut from = None;
        let mut entries = 0;
        loop {
            let page = self.store.messages(&folder.id, from.as_ref()).await?;
            entries += page.items.iter().map(|message| message.entries()).sum::<usize>();
            if entries > self.policy.max_entries {
                return Err(too_many(self.policy.max_entries));
            }
            messages.extend(page.items);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        // Offset paging over a folder that changes can show a message twice. The older message gets
        // the better name, whatever the order of arrival here.
        messages.sort_by(|a, b| (a.summary.received, &a.id).cmp(&(b.summary.received, &b.id)));
        let mut seen: HashSet<MessageId> = HashSet::new();
        messages.retain(|message| seen.insert(message.id.clone()));
        let folders = self.tree.children(Some(&folder.id), Need::Cheap).await?;
        let taken = folders.iter().map(|(name, _)| fold(name)).collect();
        let (shown, wishes) = self.shown(&folder.id, &messages);
        let unsure = messages
            .iter()
            .filter(|m| !m.complete)
            .map(|m| m.id.clone())
            .collect();

        let book = self.book();
        let bindings = state.bindings(self, &folder.id).await?;
        let changed = bindings.update(&wishes, &unsure, &taken, now());
        let mut files: Vec<Item> = Vec::with_capacity(shown.len());
        let mut inside: HashMap<MessageId, Vec<Item>> = HashMap::new();
        for (wish, shown) in wishes.into_iter().zip(shown) {
            let name = bindings
                .name(&wish.key)
                .and_then(|name| Name::new(name.as_bytes()).ok());
            let Some(name) = name else {
                continue;
            };
            let id = wish.key.message.clone();
            match shown {
                Shown::File(message, attachment) => {
                    let mut entry = entry(name, message, attachment);
                    entry.size = entry.size.or_else(|| bindings.size(&wish.key));
                    let item = Item::new(entry, wish.key);
                    if self.policy.messages.is_some() {
                        inside.entry(id).or_default().push(item);
                    } else {
                        files.push(item);
                    }
                }
                Shown::Message(message, wholes) => {
                    let mut entry = Entry::dir(Some(name));
                    entry.modified = Some(message.summary.received);
                    files.push(Item::new(entry, wish.key));
                    let wholes = wholes.iter().filter_map(|whole| self.whole_item(*whole, message));
                    inside.entry(id).or_default().extend(wholes);
                }
            }
        }
        state.record(book, &folder.id, changed).await;
        let inside = inside.into_iter();
        state.view = Some(Arc::new(View {
            files: Arc::new(Items::new(files)),
            inside: inside
                .map(|(id, items)| (id, Arc::new(Items::new(items))))
                .collect(),
        }));
        state.token = token;
        Ok(())
    }

    /// What is shown, and the names it would like.
    fn shown<'a>(&self, folder: &FolderId, messages: &'a [Arc<Message>]) -> (Vec<Shown<'a>>, Vec<Wish>) {
        let present = SystemTime::now();
        let (mut shown, mut wishes) = (Vec::new(), Vec::new());
        for message in messages {
            let message: &Message = message;
            if !self.policy.filter.shows_message(&message.summary) {
                continue;
            }
            let mut facts = Facts {
                folder,
                message,
                attachment: None,
                now: present,
            };
            let before = shown.len();
            if let Some(template) = &self.policy.messages {
                // Its place: whether it is shown depends on what is in it.
                shown.push(Shown::Message(message, Vec::new()));
                wishes.push(Wish {
                    key: PartKey::of_message(&message.id),
                    base: BaseName::new(&template.expand(&facts)),
                });
            }
            let mut hidden = false;
            for attachment in &message.attachments {
                if !self.is_visible(attachment) {
                    continue;
                }
                facts.attachment = Some(attachment);
                let base = match &self.policy.messages {
                    None => BaseName::new(&self.policy.template.expand(&facts)),
                    Some(_) => BaseName::new(&attachment.name),
                };
                if !self.policy.filter.shows(&base.numbered(0)) {
                    hidden = true;
                    continue;
                }
                let key = PartKey {
                    message: message.id.clone(),
                    part: attachment.id.clone(),
                };
                shown.push(Shown::File(message, attachment));
                wishes.push(Wish { key, base });
            }
            let attachments = shown.len() - before;
            if let Some(Shown::Message(_, wholes)) = shown.get_mut(before) {
                *wholes = self.wholes(hidden);
                if self.policy.filter.is_by_name() && wholes.is_empty() && attachments == 1 {
                    shown.truncate(before);
                    wishes.truncate(before);
                }
            }
        }
        (shown, wishes)
    }

    /// Whether an attachment of its kind is shown.
    pub(super) fn is_visible(&self, attachment: &Attachment) -> bool {
        match attachment.kind {
            AttachmentKind::File | AttachmentKind::Item => true,
            AttachmentKind::Inline => self.policy.inline,
            AttachmentKind::Reference => false,
        }
    }
}

/// Something that a folder shows.
enum Shown<'a> {
    File(&'a Message, &'a Attachment),
    /// A message's directory, and what it holds beside attachments.
    Message(&'a Message, Vec<Whole>),
}

/// An attachment as an entry.
pub(super) fn entry(name: Name, message: &Message, attachment: &Attachment) -> Entry {
    let mut entry = Entry::bare(Some(name), FileKind::File);
    entry.size = attachment.size;
    entry.modified = Some(message.summary.received);
    // Content never changes under its key.
    entry.version = Some(version([&*message.id.0, &*attachment.id.0]));
    entry
}

/// A number for what these texts name.
pub(super) fn version<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = blake3::Hasher::new();
    for (n, text) in texts.into_iter().enumerate() {
        if n > 0 {
            hash.update(&[0]);
        }
        hash.update(text.as_bytes());
    }
    let mut version = [0; 8];
    hash.finalize_xof().fill(&mut version);
    u64::from_be_bytes(version)
}
