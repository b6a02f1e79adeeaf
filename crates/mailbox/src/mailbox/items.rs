//! What a folder shows: files, and directories of messages with what they hold.
//!
//! Invariant: items stand in the order of their names, and each has one.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use portreeve_model::Name;
use portreeve_vfs::Entry;

use crate::{Attachment, Message, MessageId, book::PartKey};

/// A file of a folder.
#[derive(Debug, Clone)]
pub(super) struct Item {
    entry: Entry,
    pub(super) key: PartKey,
    /// On which it hangs. The store holds it too.
    pub(super) message: Arc<Message>,
    /// Where the listing did not tell the size: the size, once it is learnt. Shared by all copies.
    learnt: Option<Arc<OnceLock<u64>>>,
}

impl Item {
    pub(super) fn new(entry: Entry, key: PartKey, message: &Arc<Message>) -> Self {
        let learnt = (entry.is_file() && entry.size.is_none()).then(Arc::default);
        Self {
            entry,
            key,
            message: Arc::clone(message),
            learnt,
        }
    }

    /// What is known of it.
    pub(super) fn entry(&self) -> Entry {
        let mut entry = self.entry.clone();
        entry.size = entry.size.or_else(|| self.learnt.as_ref()?.get().copied());
        entry
    }

    /// The attachment that it is; none for a message or a form of one.
    pub(super) fn attachment(&self) -> Option<&Attachment> {
        let mut all = self.message.attachments.iter();
        all.find(|attachment| attachment.id == self.key.part)
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
    pub(super) fn new(mut items: Vec<Item>) -> Self {
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
    pub(super) inside: HashMap<MessageId, Arc<Items>>,
}

impl View {
    /// What the directory of a message holds; none where it is gone.
    pub(super) fn inside(&self, message: &MessageId) -> Option<Arc<Items>> {
        self.inside.get(message).cloned()
    }

    /// What is left when some are gone.
    pub(super) fn without(&self, gone: impl Fn(&PartKey) -> bool) -> Self {
        let mut inside = self.inside.clone();
        inside.retain(|message, _| !gone(&PartKey::of_message(message)));
        for items in inside.values_mut() {
            if items.iter().any(|item| gone(&item.key)) {
                *items = Arc::new(items.without(&gone));
            }
        }
        Self {
            files: Arc::new(self.files.without(&gone)),
            inside,
        }
    }
}
