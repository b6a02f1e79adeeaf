//! A mailbox as tests hold it: what another client, or the post, does to it meanwhile.
//! Invariant: what is done here shows in delta queries and ids just as what comes over the wire.

use std::sync::Arc;

use crate::{
    content::Content,
    mailbox::{Mailbox, Service, Stored},
    message::{Attachment, Found, Message, Sent},
    server::Hub,
};

/// A mailbox.
#[derive(Debug, Clone)]
pub struct MailboxHandle {
    hub: Arc<Hub>,
    address: String,
}

fn found(stored: &Stored) -> Found {
    let mut message = stored.message.clone();
    message.received = Some(stored.received);
    message.attachments = stored.hung.iter().map(|h| h.attachment.clone()).collect();
    Found {
        id: stored.ids.immutable.clone(),
        regular_id: stored.ids.regular.clone(),
        message,
        attachments: stored.hung.iter().map(|h| h.ids.immutable.clone()).collect(),
    }
}

/// The folder of a path; names are parted by `/`.
fn at(mailbox: &Mailbox, path: &str) -> Option<u64> {
    let mut folder = mailbox.root();
    for name in path.split('/').filter(|n| !n.is_empty()) {
        folder = mailbox.child(folder, name)?.key;
    }
    Some(folder)
}

impl MailboxHandle {
    pub(crate) fn new(hub: Arc<Hub>, address: &str) -> Self {
        Self {
            hub,
            address: address.to_owned(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        act(self.hub.world.lock().mailbox(&self.address).expect("a mailbox"))
    }

    fn in_folder<T>(&self, path: &str, act: impl FnOnce(&mut Mailbox, u64) -> T) -> T {
        self.with(|mailbox| {
            let folder = at(mailbox, path).unwrap_or_else(|| panic!("no folder {path}"));
            act(mailbox, folder)
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The id of its user.
    #[must_use]
    pub fn user_id(&self) -> String {
        self.with(|m| m.guid.clone())
    }

    // Folders.

    /// Makes a folder, and those above it that are missing; gives its id. `Inbox/Sub/Deep`.
    ///
    /// # Panics
    /// Never: what is there already stays.
    pub fn folder(&self, path: &str) -> String {
        self.with(|mailbox| {
            let mut folder = mailbox.root();
            for name in path.split('/').filter(|n| !n.is_empty()) {
                folder = match mailbox.child(folder, name) {
                    Some(child) => child.key,
                    None => mailbox.add_folder(Some(folder), name, None),
                };
            }
            mailbox.folders[&folder].id.clone()
        })
    }

    /// Makes a folder with any name, slashes too, in another (a path; empty for the top); gives its id.
    pub fn folder_named(&self, parent: &str, name: &str) -> String {
        self.in_folder(parent, |mailbox, parent| {
            let key = mailbox.add_folder(Some(parent), name, None);
            mailbox.folders[&key].id.clone()
        })
    }

    /// Makes a hidden folder.
    pub fn hidden_folder(&self, path: &str) {
        self.folder(path);
        self.in_folder(path, |mailbox, key| {
            if let Some(folder) = mailbox.folders.get_mut(&key) {
                folder.hidden = true;
            }
        });
    }

    /// Makes a search folder, which shows messages of others that have attachments.
    pub fn search_folder(&self, path: &str) {
        self.folder(path);
        self.in_folder(path, |mailbox, key| {
            if let Some(folder) = mailbox.folders.get_mut(&key) {
                folder.search = true;
            }
        });
    }

    /// Gives a folder another name; the folders that every mailbox has can be called otherwise too (other languages).
    pub fn rename_folder(&self, path: &str, name: &str) {
        self.in_folder(path, |mailbox, key| {
            if let Some(folder) = mailbox.folders.get_mut(&key) {
                name.clone_into(&mut folder.name);
            }
            mailbox.folder_changed(key);
        });
    }

    /// Takes a folder away for good, with all that is in it.
    pub fn delete_folder(&self, path: &str) {
        self.in_folder(path, Mailbox::remove_folder);
    }

    /// The paths of all folders, the names parted by `/`; sorted.
    #[must_use]
    pub fn folders(&self) -> Vec<String> {
        self.with(|mailbox| {
            let mut all: Vec<String> = Vec::new();
            let mut open = vec![(mailbox.root(), String::new())];
            while let Some((folder, path)) = open.pop() {
                for child in mailbox.children(folder) {
                    let path = if path.is_empty() {
                        child.name.clone()
                    } else {
                        format!("{path}/{}", child.name)
                    };
                    all.push(path.clone());
                    open.push((child.key, path));
                }
            }
            all.sort();
            all
        })
    }

    // Messages.

    /// Puts a message into a folder and gives its immutable id.
    pub fn deliver(&self, folder: &str, message: Message) -> String {
        self.in_folder(folder, |mailbox, folder| {
            let key = mailbox.add(folder, message);
            mailbox.messages[&key].ids.immutable.clone()
        })
    }

    /// The messages of a folder, in the order in which they came.
    #[must_use]
    pub fn messages(&self, folder: &str) -> Vec<Found> {
        self.in_folder(folder, |mailbox, folder| {
            mailbox.held(folder).map(found).collect()
        })
    }

    /// How many messages there are in the whole mailbox.
    #[must_use]
    pub fn total(&self) -> usize {
        self.with(|m| m.messages.len())
    }

    /// The message of an id of either kind.
    #[must_use]
    pub fn message(&self, id: &str) -> Option<Found> {
        self.with(|m| m.by_id(id).map(found))
    }

    fn on<T>(&self, id: &str, act: impl FnOnce(&mut Mailbox, u64) -> T) -> T {
        self.with(|mailbox| {
            let key = mailbox
                .by_id(id)
                .map(|m| m.key)
                .unwrap_or_else(|| panic!("no message {id}"));
            act(mailbox, key)
        })
    }

    /// Another client deletes a message for good.
    pub fn delete_message(&self, id: &str) {
        self.on(id, Mailbox::remove);
    }

    /// Another client moves a message.
    pub fn move_message(&self, id: &str, folder: &str) {
        let to = self.in_folder(folder, |_, key| key);
        self.on(id, |mailbox, key| mailbox.relocate(key, to));
    }

    /// Another client gives a message another subject.
    pub fn change_subject(&self, id: &str, subject: &str) {
        self.on(id, |mailbox, key| {
            if let Some(stored) = mailbox.messages.get_mut(&key) {
                stored.message.subject = Some(subject.to_owned());
            }
            mailbox.touch(key);
        });
    }

    // Attachments.

    /// Another client hangs an attachment on a message; gives its immutable id.
    pub fn attach(&self, message: &str, attachment: Attachment) -> String {
        self.on(message, |mailbox, key| {
            mailbox
                .hang(key, attachment)
                .map(|i| i.immutable)
                .unwrap_or_default()
        })
    }

    /// Another client deletes an attachment (an id of either kind).
    pub fn delete_attachment(&self, message: &str, attachment: &str) {
        self.on(message, |mailbox, key| {
            if let Some(stored) = mailbox.messages.get_mut(&key) {
                stored.hung.retain(|h| !h.ids.are(attachment));
            }
            mailbox.touch(key);
        });
    }

    /// What the named attachment of a message holds.
    #[must_use]
    pub fn attachment(&self, message: &str, name: &str) -> Option<Content> {
        let found = self.message(message)?;
        found
            .message
            .attachments
            .iter()
            .find(|a| a.name == name)?
            .content()
            .cloned()
    }

    // The mailbox as a whole.

    /// What went out.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.with(|m| m.sent.clone())
    }

    /// No licence any more (404 `MailboxNotEnabledForRESTAPI`), or again.
    pub fn enabled(&self, yes: bool) {
        self.with(|m| m.service = if yes { Service::Open } else { Service::Disabled });
    }

    /// Every right to it is withdrawn (403 `ErrorAccessDenied`), or given back.
    pub fn forbid(&self, yes: bool) {
        self.with(|m| m.forbidden = yes);
    }

    /// The most bytes of attachments that a message may have (default 150 MiB).
    pub fn largest_message(&self, bytes: u64) {
        self.with(|m| m.most = bytes);
    }
}
