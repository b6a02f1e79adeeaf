//! The contract under the file system: what a mailbox is to us, wherever it lives.
//!
//! Shaped for the worst case, a remote store that is paged, throttled and eventually consistent
//! (Microsoft Graph, IMAP); the Maildir next door is the easy one. Rules of the contract:
//!
//! - A [`MessageId`] is immutable while the message stays in the mailbox, whatever its flags, its
//!   folder or its siblings. A [`PartId`] is stable while the part lives: deleting one part changes
//!   no other's id. Ids are opaque and case-sensitive.
//! - Listings are complete when every page was taken: no silent limit, a folder that is too large to be
//!   held is an error. A page may be empty and still have a successor.
//! - Sizes are exact or unknown, never estimates.
//! - Errors are kinds of the storage contract. [`FsErrorKind::Throttled`](portreeve_vfs::FsErrorKind)
//!   carries [`Retry::After`](portreeve_vfs::Retry); a store spends its own budget of concurrent
//!   requests and honours `Retry-After` below this trait, where all sessions share it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_model::Timestamp;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub Arc<str>);

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

id! {
    /// A folder, as the store names it.
    FolderId
}
id! {
    /// A message, immutable as long as it stays in the mailbox.
    MessageId
}
id! {
    /// A part within its message, stable as long as the part lives.
    PartId
}

/// A folder with more messages and attachments than are held: what is shown is whole, or refused.
pub(crate) fn too_many(max: usize) -> FsError {
    FsError::new(FsErrorKind::TooLarge).context(format!(
        "the folder holds more than {max} messages and attachments, and is not shown: move some of its \
         messages to other folders, or raise the storage's option max_entries"
    ))
}

/// What a store can do; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAbilities {
    /// Single attachments can be deleted out of a message.
    pub delete_part: bool,
    /// Messages can be deleted and moved.
    pub delete_message: bool,
    /// Folders can be made, renamed and deleted.
    pub folders: bool,
    /// Drafts can be created.
    pub drafts: bool,
    /// Drafts can be sent.
    pub send: bool,
    /// Whole messages can be taken in.
    pub import: bool,
    /// Messages can be read whole, and their text by itself.
    pub whole: bool,
    /// Largest attachment of a draft, in bytes, where there is a limit.
    pub max_draft: Option<u64>,
    /// How long a listing may be reused without asking the store; zero: ask for the change token
    /// each time, it is cheap.
    pub fresh_for: Duration,
    /// Listings come over a network.
    pub remote: bool,
}

/// Where the next page begins: opaque to everybody but the store that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor(pub Box<str>);

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// What is on it; possibly nothing.
    pub items: Vec<T>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor>,
}

/// Changes when a folder's messages do. Equal tokens mean that a former listing still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeToken(pub Box<str>);

/// What a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderKind {
    /// Where mail arrives: can be neither renamed nor deleted.
    Inbox,
    /// Another folder that the store protects (Sent, Drafts, Deleted Items).
    WellKnown,
    /// Any other.
    Ordinary,
    /// A mere level of the tree: holds folders, cannot hold messages.
    Container,
}

/// One mail folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its id.
    pub id: FolderId,
    /// The name as people see it, raw: the file system cleans it.
    pub name: String,
    /// What it is.
    pub kind: FolderKind,
}

/// Somebody in an address header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Display name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// What is known of a message without its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Subject, decoded, raw; empty where there is none.
    pub subject: String,
    /// `From`.
    pub from: Person,
    /// `Sender`, else `From`.
    pub sender: Person,
    /// When the store received it.
    pub received: Timestamp,
    /// `Date`, where it is one.
    pub sent: Option<Timestamp>,
    /// `Message-ID`, without the angle brackets.
    pub internet_id: String,
    /// What ties a thread together.
    pub conversation_id: String,
    /// `low`, `normal` or `high`.
    pub importance: String,
    /// What the store takes it for (`focused`, `other`); empty where it has no opinion.
    pub inference: String,
    /// Categories or keywords.
    pub categories: Vec<String>,
    /// The first 255 characters of its text; empty where the store does not offer it.
    pub body_preview: String,
}

/// A message with everything that hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its headers.
    pub summary: Summary,
    /// Every attachment of every kind, unfiltered, in the message's order.
    pub attachments: Vec<Attachment>,
    /// Whether `attachments` is known to be all: when false (too many parts, too large, unreadable),
    /// no deletion of an attachment ever costs the message.
    pub complete: bool,
    /// Changes whenever the store says that the message did (a draft that is edited); empty where messages
    /// never change, or where that cannot be told.
    pub stamp: Box<str>,
}

impl Message {
    /// How many entries it takes of a mailbox's bound: itself and its attachments.
    pub(crate) const fn entries(&self) -> usize {
        1 + self.attachments.len()
    }
}

/// What an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentKind {
    /// A file.
    File,
    /// A message (or calendar item) attached whole: shown as `.eml`.
    Item,
    /// A link to content elsewhere: never shown, but it keeps its message alive.
    Reference,
    /// Part of the text, such as a picture within it: hidden unless asked for.
    Inline,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: PartId,
    /// What it is.
    pub kind: AttachmentKind,
    /// Its name as sent, decoded, raw; never empty: the store makes one up by the type.
    pub name: String,
    /// Exact size of its content, where the store knows it.
    pub size: Option<u64>,
    /// Media type.
    pub content_type: String,
}

impl Attachment {
    /// Whether it keeps its message alive: everything that is no mere part of the text.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.kind != AttachmentKind::Inline
    }
}

/// A message to be made by an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its subject.
    pub subject: String,
    /// The attachment's name.
    pub file_name: String,
    /// To whom it is addressed; nobody for a draft that is only kept.
    pub to: Vec<String>,
}

/// Bytes at rest that can be read at any offset: the content of an attachment, or of an upload.
/// Stays readable after the message is gone.
#[async_trait]
pub trait Content: Send + Sync {
    /// Exact length in bytes.
    fn size(&self) -> u64;

    /// Appends up to `len` bytes from offset `at` to `into` and gives it back: fewer only at the
    /// end. A store whose stream ends before [`Content::size`] fails with `Backend`: content that
    /// is cut off is never passed on as whole.
    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>>;
}

/// A mailbox.
#[async_trait]
pub trait MailStore: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> &StoreAbilities;

    /// The address by which people know the mailbox; none where it has none.
    fn address(&self) -> Option<&str> {
        None
    }

    /// The folders directly below `parent`, or at the top.
    async fn folders(&self, parent: Option<&FolderId>, from: Option<&PageCursor>) -> FsResult<Page<Folder>>;

    /// The messages of a folder with all their attachments. Messages marked as deleted are not
    /// among them.
    async fn messages(&self, folder: &FolderId, from: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>>;

    /// A listing of `folder` (the top for none) is about to be answered: what is stale of its folders and
    /// messages may be brought up to date in one go, so that the calls that follow answer from memory.
    async fn look(&self, _folder: Option<&FolderId>) -> FsResult<()> {
        Ok(())
    }

    /// The exact size of a part whose size the listing did not tell. Where the store learns it by opening
    /// the part, what it has fetched serves the opening that follows.
    async fn part_size(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<u64> {
        Ok(self.open_part(folder, message, part).await?.size())
    }

    /// The whole message as RFC 5322 has it (`StoreAbilities::whole`).
    async fn open_message(&self, _folder: &FolderId, _message: &MessageId) -> FsResult<Arc<dyn Content>> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// The message's text in UTF-8, plain (`StoreAbilities::whole`); empty where it has none.
    async fn open_text(&self, _folder: &FolderId, _message: &MessageId) -> FsResult<Arc<dyn Content>> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// The folder of drafts, where messages wait to be sent (`StoreAbilities::send`).
    async fn drafts_folder(&self) -> FsResult<FolderId> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Sends a draft (`StoreAbilities::send`). `NotFound` where it is gone: sent before, or deleted. What is
    /// no draft any more, or lies in another folder by now, is gone, whatever the store would make of it.
    async fn send_draft(&self, _folder: &FolderId, _message: &MessageId) -> FsResult<()> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Takes in a whole message (`StoreAbilities::import`): there as a whole when this answers.
    async fn import(&self, _folder: &FolderId, _content: Arc<dyn Content>) -> FsResult<MessageId> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// The state of a folder's messages; none where it cannot be told (list again then).
    async fn change_token(&self, folder: &FolderId) -> FsResult<Option<ChangeToken>>;

    /// One message, asked from the store itself and not from any cache, with every attachment of
    /// every kind: what the rule of deletion is decided by.
    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message>;

    /// The content of a part, its transfer encoding undone.
    async fn open_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>>;

    /// Takes one part out of its message; the others stay whole, with their ids.
    async fn delete_part(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<()>;

    /// Deletes a message for good (or to wherever the store keeps deleted ones).
    async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()>;

    /// Marks a message as deleted: it vanishes from listings and can be brought back with a mail
    /// client.
    async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()>;

    /// Moves a message; its id and those of its parts stay.
    async fn move_message(&self, folder: &FolderId, message: &MessageId, to: &FolderId) -> FsResult<()>;

    /// Makes a folder below `parent`, or at the top.
    async fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder>;

    /// Gives a folder another parent and name, with everything in it, and answers which ids changed
    /// by that, its own and those below it: old and new.
    async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>>;

    /// Deletes a folder that holds neither folders nor messages (hidden ones included), else
    /// `NotEmpty`.
    async fn delete_folder(&self, folder: &FolderId) -> FsResult<()>;

    /// Makes a draft in `folder` with `content` attached: there as a whole when this answers, not
    /// there at all when it fails.
    async fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message>;
}
