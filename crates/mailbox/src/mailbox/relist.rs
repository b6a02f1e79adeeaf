//! From the messages of a folder to what it shows: filtered, named, bound.
//!
//! Invariants: all of a folder is listed, or it is refused; bindings are recorded before the names are
//! answered; the same content has the same version.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use portreeve_model::Name;
use portreeve_vfs::{Entry, FileKind, FsResult};

use super::{
    Shared,
    items::{Item, Items, View},
    now,
    view::{Need, State},
    whole::Whole,
};
use crate::{
    Attachment, AttachmentKind, Folder, FolderId, Message, MessageId,
    bind::Wish,
    book::PartKey,
    name::{BaseName, fold},
    store::too_many,
    template::Facts,
};

impl Shared {
    /// Lists the folder, unless its token says that nothing has changed.
    pub(super) async fn relist(&self, folder: &Folder, state: &mut State) -> FsResult<()> {
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
                    let item = Item::new(entry, wish.key, message);
                    if self.policy.messages.is_some() {
                        inside.entry(id).or_default().push(item);
                    } else {
                        files.push(item);
                    }
                }
                Shown::Message(message, wholes) => {
                    let mut entry = Entry::dir(Some(name));
                    entry.modified = Some(message.summary.received);
                    files.push(Item::new(entry, wish.key, message));
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
            // What is not shown for its kind, or not known, is in the whole message all the same.
            let hides = |a: &Attachment| !self.policy.filter.shows(&BaseName::new(&a.name).numbered(0));
            let mut unseen = message.attachments.iter().filter(|a| !self.is_visible(a));
            let mut hidden = self.policy.filter.is_by_name() && (!message.complete || unseen.any(hides));
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
    File(&'a Arc<Message>, &'a Attachment),
    /// A message's directory, and what it holds beside attachments.
    Message(&'a Arc<Message>, Vec<Whole>),
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
