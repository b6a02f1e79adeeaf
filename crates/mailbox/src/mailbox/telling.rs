//! What records of operations say beside the path: which mailbox, which message, which attachment.
//!
//! Invariants: nothing is asked for it, it is what was known of the file when its name was looked up; the
//! mailbox is said before anything else is known, so that what fails is told of too; nothing is said of a file
//! that is hidden, since no path leads to it.

use portreeve_vfs::{Note, OpCx};

use super::{
    Shared,
    tree::{Dir, Node},
};
use crate::{Content, mime};

/// The mailbox: its address, else the name of its storage.
const MAILBOX: &str = "mailbox";
/// `Message-ID` of the message, as its header has it.
const MESSAGE: &str = "message_id";
/// The attachment's own name, as it was sent.
const ATTACHMENT: &str = "attachment";

/// How much of a message is looked at for its header.
const HEAD: usize = 64 << 10;

impl Shared {
    /// Says which mailbox it is.
    pub(super) fn tell<'a>(&self, cx: &'a OpCx) -> &'a Note {
        let note = cx.note();
        if !self.mailbox.is_empty() {
            note.put(MAILBOX, &*self.mailbox);
        }
        note
    }
}

impl Node {
    /// Says what the path leads to.
    pub(super) fn told_to(&self, note: &Note) {
        match self {
            Self::Dir(Dir::Message(_, item)) => tell_message(note, &item.message.summary.internet_id),
            Self::Dir(_) => {}
            Self::File(_, item) => {
                tell_message(note, &item.message.summary.internet_id);
                if let Some(attachment) = item.attachment() {
                    tell_attachment(note, &attachment.name);
                }
            }
            Self::Waiting(waiting) => {
                tell_message(note, &waiting.internet_id);
                tell_attachment(note, &waiting.name);
            }
        }
    }
}

/// Says the id that a message has everywhere; one without has none.
pub(super) fn tell_message(note: &Note, internet_id: &str) {
    if !internet_id.is_empty() {
        note.put(MESSAGE, format!("<{internet_id}>"));
    }
}

pub(super) fn tell_attachment(note: &Note, name: &str) {
    note.put(ATTACHMENT, name);
}

/// The id that a whole message brings along; empty where it has none, or where its header is not to be
/// found at its beginning.
pub(super) async fn id_of(content: &dyn Content) -> String {
    let mut head = Vec::new();
    while head.len() < HEAD {
        let before = head.len();
        match content.read(before as u64, HEAD - before, head).await {
            Ok(more) if more.len() > before => head = more,
            Ok(all) => {
                head = all;
                break;
            }
            Err(_) => return String::new(),
        }
    }
    mime::summary(&head, Default::default()).internet_id
}
