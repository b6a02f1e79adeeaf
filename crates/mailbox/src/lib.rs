//! Mailboxes as file systems: folders are directories, attachments are files.
//!
//! - [`MailStore`]: what a mailbox is to us, wherever it lives; [`Maildir`] is the one that needs
//!   nothing.
//! - [`Mailbox`]: the file system over any store; [`MaildirOptions`] and [`Mailbox::maildir`] make
//!   one from configuration.
//! - [`Mailboxes`]: several mailboxes as one file system.
//! - [`NameBook`]: names stay with their attachments, also over restarts.
//! - [`name`], [`Template`], [`Filter`]: how names are composed, cleaned and filtered; pure.
//! - [`inspect`]: what hangs on the bytes of a message; pure, total, linear.
//! - [`doctor`]: what stands in the way of a remote mailbox.
//! - [`sample`]: a mailbox to look at.
//!
//! Invariants: a name leads to one part for as long as that lives; sizes are exact; a message is
//! lost only by the rule of deletion; hostile mail costs bounded time and memory.

mod address;
mod bind;
mod book;
pub mod doctor;
mod exchange;
mod fetch;
mod filter;
mod imap;
mod in_memory;
mod mailbox;
mod mailboxes;
mod maildir;
mod mime;
pub mod name;
mod options;
pub mod sample;
mod shelf;
mod store;
mod surroundings;
mod template;
mod utf7;

pub use book::{Binding, FileBook, MemoryBook, NameBook, PartKey, ShelfBook};
pub use exchange::{Addresses, Exchange, ExchangeOptions, ExchangeSecrets, fuzz_page};
pub use filter::Filter;
#[doc(hidden)]
pub use imap::take_apart as fuzz_imap;
pub use imap::{Imap, ImapOptions, ImapSecrets, Mechanism};
pub use mailbox::{LeftWaiting, Mailbox, OptionsError, Policy, Spooling, option_problems};
pub use mailboxes::{Mailboxes, MakeMailbox};
pub use maildir::Maildir;
pub use mime::{Inspected, Located, inspect};
pub use options::{Layout, MailOptions, MaildirOptions, OnDelete, OnUpload, Sizes};
pub use shelf::{Change, MemoryShelf, Shelf};
pub use store::{
    Attachment, AttachmentKind, ChangeToken, Content, Draft, Folder, FolderId, FolderKind, MailStore,
    Message, MessageId, Page, PageCursor, PartId, Person, StoreAbilities, Summary,
};
pub use surroundings::Surroundings;
pub use template::{Facts, Template};
