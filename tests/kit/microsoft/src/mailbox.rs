//! One mailbox: folders, messages, ids, and what has changed since when.
//! Invariants: a message's immutable id never changes and its regular id changes whenever it moves; every change has a
//! number that only grows; some ids differ from others in the case of one letter alone.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use crate::{content::mix, message::Attachment, message::Message, message::Sent};

/// Folders that every mailbox has: the name for people and the one for programs.
const DISTINGUISHED: &[(&str, &str)] = &[
    ("Inbox", "inbox"),
    ("Drafts", "drafts"),
    ("Sent Items", "sentitems"),
    ("Deleted Items", "deleteditems"),
    ("Outbox", "outbox"),
    ("Junk Email", "junkemail"),
    ("Archive", "archive"),
];

/// The two ids of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) immutable: String,
    pub(crate) regular: String,
}

impl Ids {
    pub(crate) fn are(&self, id: &str) -> bool {
        self.immutable == id || self.regular == id
    }

    pub(crate) fn shown(&self, immutable: bool) -> &str {
        if immutable { &self.immutable } else { &self.regular }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) key: u64,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<u64>,
    pub(crate) distinguished: Option<&'static str>,
    pub(crate) hidden: bool,
    /// A search folder: it shows messages of others.
    pub(crate) search: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Hung {
    pub(crate) ids: Ids,
    pub(crate) modified: Timestamp,
    pub(crate) attachment: Attachment,
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) key: u64,
    pub(crate) ids: Ids,
    pub(crate) folder: u64,
    pub(crate) message: Message,
    pub(crate) received: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    /// Grows with each change: the change key.
    pub(crate) version: u64,
    /// The number of the change by which it came into its folder.
    pub(crate) entered: u64,
    pub(crate) hung: Vec<Hung>,
}

impl Stored {
    pub(crate) fn has_attachments(&self) -> bool {
        self.hung.iter().any(|h| !h.attachment.inline)
    }
}

/// A line of the story of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) number: u64,
    pub(crate) folder: u64,
    pub(crate) message: u64,
    pub(crate) ids: Ids,
}

/// A line of the story of the folders.
#[derive(Debug, Clone)]
pub(crate) struct FolderChange {
    pub(crate) number: u64,
    pub(crate) folder: u64,
    pub(crate) id: String,
}

/// How a mailbox answers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Open,
    /// No licence, or a mailbox on premises.
    Disabled,
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) address: String,
    pub(crate) guid: String,
    pub(crate) service: Service,
    /// Whether nobody may in.
    pub(crate) forbidden: bool,
    /// The most bytes that a message may have.
    pub(crate) most: u64,
    pub(crate) folders: BTreeMap<u64, Folder>,
    pub(crate) messages: BTreeMap<u64, Stored>,
    pub(crate) changes: Vec<Change>,
    pub(crate) folder_changes: Vec<FolderChange>,
    pub(crate) sent: Vec<Sent>,
    number: u64,
    key: u64,
    salt: u64,
    twins: BTreeMap<&'static str, String>,
}

impl Mailbox {
    pub(crate) fn new(address: &str, salt: u64) -> Self {
        let mut made = Self {
            address: address.to_owned(),
            guid: guid(salt),
            service: Service::Open,
            forbidden: false,
            most: 150 << 20,
            folders: BTreeMap::new(),
            messages: BTreeMap::new(),
            changes: Vec::new(),
            folder_changes: Vec::new(),
            sent: Vec::new(),
            number: 0,
            key: 0,
            salt,
            twins: BTreeMap::new(),
        };
        let root = made.add_folder(None, "Top of Information Store", Some("msgfolderroot"));
        for (name, well_known) in DISTINGUISHED {
            made.add_folder(Some(root), name, Some(well_known));
        }
        made
    }

    fn next_key(&mut self) -> u64 {
        self.key += 1;
        self.key
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The number of the latest change.
    pub(crate) const fn latest(&self) -> u64 {
        self.number
    }

    /// An id as Exchange makes them; every second differs from the one before in the case of one letter alone.
    fn id(&mut self, start: &'static str) -> String {
        if let Some(twin) = self.twins.remove(start) {
            return twin;
        }
        let key = self.next_key();
        let mut bytes = Vec::new();
        for n in 0..9 {
            bytes.extend_from_slice(&mix(self.salt ^ key.wrapping_mul(97) ^ (n << 40)).to_le_bytes());
        }
        let id = format!("{start}{}-_AAA=", URL_SAFE_NO_PAD.encode(bytes));
        let mut twin: Vec<char> = id.chars().collect();
        if let Some(letter) = twin.iter_mut().skip(20).find(|c| c.is_ascii_alphabetic()) {
            *letter = if letter.is_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            self.twins.insert(start, twin.into_iter().collect());
        }
        id
    }

    fn ids(&mut self) -> Ids {
        Ids {
            immutable: self.id("AAkALgAAAAAAHYQDEapmEc2byACqAC-"),
            regular: self.id("AAMkAGI2TG93AAA"),
        }
    }

    // Folders.

    pub(crate) fn add_folder(
        &mut self,
        parent: Option<u64>,
        name: &str,
        distinguished: Option<&'static str>,
    ) -> u64 {
        let key = self.next_key();
        let id = self.id("AQMkAGI2TG93AAA");
        let folder = Folder {
            key,
            id,
            name: name.to_owned(),
            parent,
            distinguished,
            hidden: false,
            search: false,
        };
        self.folders.insert(key, folder);
        self.folder_changed(key);
        if let Some(parent) = parent {
            self.folder_changed(parent);
        }
        key
    }

    pub(crate) fn folder_changed(&mut self, key: u64) {
        let Some(id) = self.folders.get(&key).map(|f| f.id.clone()) else {
            return;
        };
        let number = self.next_number();
        self.folder_changes.push(FolderChange {
            number,
            folder: key,
            id,
        });
    }

    pub(crate) fn well_known(&self, name: &str) -> Option<&Folder> {
        self.folders
            .values()
            .find(|f| f.distinguished.is_some_and(|d| d.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn root(&self) -> u64 {
        self.well_known("msgfolderroot").map_or(0, |f| f.key)
    }

    pub(crate) fn children(&self, parent: u64) -> impl Iterator<Item = &Folder> {
        self.folders.values().filter(move |f| f.parent == Some(parent))
    }

    pub(crate) fn child(&self, parent: u64, name: &str) -> Option<&Folder> {
        self.children(parent)
            .find(|f| f.name.to_lowercase() == name.to_lowercase())
    }

    /// Whether `folder` is `above` or lies beneath it.
    pub(crate) fn beneath(&self, mut folder: u64, above: u64) -> bool {
        loop {
            if folder == above {
                return true;
            }
            let Some(parent) = self.folders.get(&folder).and_then(|f| f.parent) else {
                return false;
            };
            folder = parent;
        }
    }

    /// Takes a folder away, with all it holds.
    pub(crate) fn remove_folder(&mut self, key: u64) {
        let below: Vec<u64> = self
            .folders
            .keys()
            .copied()
            .filter(|f| self.beneath(*f, key))
            .collect();
        let parent = self.folders.get(&key).and_then(|f| f.parent);
        for folder in below {
            let held: Vec<u64> = self.held(folder).map(|m| m.key).collect();
            for message in held {
                self.remove(message);
            }
            self.folder_changed(folder);
            self.folders.remove(&folder);
        }
        if let Some(parent) = parent {
            self.folder_changed(parent);
        }
    }

    // Messages.

    pub(crate) fn held(&self, folder: u64) -> impl Iterator<Item = &Stored> {
        self.messages.values().filter(move |m| m.folder == folder)
    }

    fn changed(&mut self, folder: u64, message: u64, ids: &Ids) -> u64 {
        let number = self.next_number();
        self.changes.push(Change {
            number,
            folder,
            message,
            ids: ids.clone(),
        });
        number
    }

    pub(crate) fn add(&mut self, folder: u64, mut message: Message) -> u64 {
        let key = self.next_key();
        let ids = self.ids();
        let now = Timestamp::now();
        let attachments = std::mem::take(&mut message.attachments);
        let mime = message.mime.take();
        let entered = self.changed(folder, key, &ids);
        let stored = Stored {
            key,
            ids,
            folder,
            received: message.received.unwrap_or(now),
            created: now,
            modified: now,
            version: 1,
            entered,
            message,
            hung: Vec::new(),
        };
        self.messages.insert(key, stored);
        for attachment in attachments {
            self.hang(key, attachment);
        }
        if let Some(stored) = self.messages.get_mut(&key) {
            stored.message.mime = mime;
        }
        self.folder_changed(folder);
        key
    }

    /// Says that a message is another than before.
    pub(crate) fn touch(&mut self, key: u64) {
        let Some(stored) = self.messages.get_mut(&key) else {
            return;
        };
        stored.version += 1;
        stored.modified = Timestamp::now();
        let (folder, ids) = (stored.folder, stored.ids.clone());
        self.changed(folder, key, &ids);
    }

    /// Hangs an attachment on a message and gives its id (immutable).
    pub(crate) fn hang(&mut self, key: u64, attachment: Attachment) -> Option<Ids> {
        let ids = self.ids();
        let hung = Hung {
            ids: ids.clone(),
            modified: Timestamp::now(),
            attachment,
        };
        let stored = self.messages.get_mut(&key)?;
        stored.hung.push(hung);
        stored.message.mime = None;
        self.touch(key);
        Some(ids)
    }

    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(stored) = self.messages.remove(&key) {
            self.changed(stored.folder, key, &stored.ids);
            self.folder_changed(stored.folder);
        }
    }

    /// Moves a message: it gets new regular ids, and so do its attachments.
    pub(crate) fn relocate(&mut self, key: u64, folder: u64) {
        let Some((old, was)) = self.messages.get(&key).map(|m| (m.folder, m.ids.clone())) else {
            return;
        };
        self.changed(old, key, &was);
        let hung = self.messages.get(&key).map_or(0, |m| m.hung.len());
        let fresh: Vec<String> = (0..=hung).map(|_| self.ids().regular).collect();
        let number = self.latest() + 1;
        let mut fresh = fresh.into_iter();
        let Some(stored) = self.messages.get_mut(&key) else {
            return;
        };
        stored.folder = folder;
        stored.entered = number;
        stored.version += 1;
        stored.modified = Timestamp::now();
        stored.ids.regular = fresh.next().unwrap_or_default();
        for (hung, regular) in stored.hung.iter_mut().zip(fresh) {
            hung.ids.regular = regular;
        }
        let ids = stored.ids.clone();
        self.changed(folder, key, &ids);
        self.folder_changed(old);
        self.folder_changed(folder);
    }

    pub(crate) fn copy(&mut self, key: u64, folder: u64) -> Option<u64> {
        let stored = self.messages.get(&key)?;
        let mut message = stored.message.clone();
        message.received = Some(stored.received);
        message.attachments = stored.hung.iter().map(|h| h.attachment.clone()).collect();
        Some(self.add(folder, message))
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Stored> {
        self.messages.values().find(|m| m.ids.are(id))
    }
}

/// A GUID of a number.
pub(crate) fn guid(salt: u64) -> String {
    let (a, b) = (mix(salt), mix(salt ^ 0x5555));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b & 0xfff,
        (b >> 16) & 0xffff_ffff_ffff
    )
}
