//! Directories of messages: beside the attachments the whole message and its text, and what may be done
//! with the directory itself.
//!
//! Invariants: the whole message is shown only where the filters hide none of its attachments, since it
//! holds them all; it can be read and never deleted by itself. A message's directory is removed only when
//! no attachment that counts is left, shown or not.

use std::sync::Arc;

use portreeve_model::{Name, VPath};
use portreeve_vfs::{Entry, FileKind, FsError, FsErrorKind, FsResult, Rename};

use super::{Shared, items::Item, relist::version, view::Need};
use crate::{Folder, FolderKind, Message, PartId, bind::WHOLE_NAMES, book::PartKey};

/// A message in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// As RFC 5322 has it.
    Message,
    /// Its text alone.
    Text,
}

impl Whole {
    const ALL: [Self; 2] = [Self::Message, Self::Text];

    const fn name(self) -> &'static str {
        let [message, text] = WHOLE_NAMES;
        match self {
            Self::Message => message,
            Self::Text => text,
        }
    }

    /// No store's part has such an id.
    const fn id(self) -> &'static str {
        match self {
            Self::Message => "\0message",
            Self::Text => "\0text",
        }
    }

    /// What `key` stands for; none for an attachment.
    pub(super) fn of(key: &PartKey) -> Option<Self> {
        Self::ALL.into_iter().find(|whole| *key.part.0 == *whole.id())
    }
}

impl Shared {
    /// Which forms of a message are shown; `hidden` says whether an attachment is not, for its name.
    pub(super) fn wholes(&self, hidden: bool) -> Vec<Whole> {
        if !self.store.abilities().whole {
            return Vec::new();
        }
        let shown =
            |whole: &Whole| self.policy.filter.shows(whole.name()) && !(hidden && *whole == Whole::Message);
        Whole::ALL.into_iter().filter(shown).collect()
    }

    pub(super) fn whole_item(&self, whole: Whole, message: &Arc<Message>) -> Option<Item> {
        let mut entry = Entry::bare(Some(Name::new(whole.name().as_bytes()).ok()?), FileKind::File);
        entry.modified = Some(message.summary.received);
        // An attachment that goes changes the whole message.
        let parts = message.attachments.iter().map(|attachment| &*attachment.id.0);
        let parts = parts.filter(|_| whole == Whole::Message);
        // So does whoever edits a draft: then neither size nor version holds any longer.
        let named = version(
            [&*message.id.0, whole.id(), &*message.stamp]
                .into_iter()
                .chain(parts),
        );
        entry.version = Some(named);
        entry.size = self.wholes_learnt.lock().get(&named).copied();
        let key = PartKey {
            message: message.id.clone(),
            part: PartId::from(whole.id()),
        };
        Some(Item::new(entry, key, message))
    }

    /// Removes a message whose directory holds no attachment any more.
    pub(super) async fn remove_message(&self, folder: &Folder, item: &Item) -> FsResult<()> {
        let message = match self.store.message(&folder.id, &item.key.message).await {
            Ok(message) => message,
            Err(error) => return self.lost(folder, &item.key, error).await,
        };
        let shown = |name: &str| {
            self.policy
                .filter
                .shows(&crate::name::BaseName::new(name).numbered(0))
        };
        let mut attachments = message
            .attachments
            .iter()
            .filter(|attachment| attachment.counts());
        if attachments.clone().any(|a| self.is_visible(a) && shown(&a.name)) {
            return Err(FsErrorKind::NotEmpty.into());
        }
        if !message.complete || attachments.next().is_some() {
            return Err(FsError::new(FsErrorKind::Refused)
                .context("the message has attachments that are not shown here: it is not deleted"));
        }
        self.finish(folder, &item.key).await?;
        self.gone(folder, |other| other.message == item.key.message).await
    }

    /// Moves a message to another folder by moving its directory there.
    pub(super) async fn move_message_dir(
        &self,
        from: &VPath,
        folder: &Folder,
        item: &Item,
        to: &VPath,
        how: Rename,
    ) -> FsResult<()> {
        let refused = |text: &str| FsError::new(FsErrorKind::Refused).context(text);
        if from == to {
            return match how {
                Rename::NoReplace => Err(FsErrorKind::Exists.into()),
                Rename::Replace => Ok(()),
            };
        }
        if from.file_name() != to.file_name() {
            return Err(refused(
                "the directory of a message has its name from the message",
            ));
        }
        let (target, name) = self.vacant(to).await?;
        let target = target.filter(|target| target.kind != FolderKind::Container);
        let target = target.ok_or_else(|| refused("messages can be moved to a mail folder only"))?;
        // What hangs on it is not shown here: it must not come to light there, nor vanish.
        let inside = self.inside(folder, item, Need::Fresh).await?;
        let message = self.store.message(&folder.id, &item.key.message).await?;
        let visible = message.attachments.iter().filter(|a| self.is_visible(a));
        let shown = inside.iter().filter(|item| Whole::of(&item.key).is_none());
        if !message.complete || visible.count() != shown.count() {
            return Err(refused(
                "the message has attachments that are not shown here: it is not moved",
            ));
        }
        self.carry(folder, item, &target, name).await
    }
}
