//! Options of mailbox storages: what all share, and those of a Maildir.

use std::{path::PathBuf, time::Duration};

use portreeve_model::options::{DurationText, SizeText};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::template;

/// What every mailbox storage shares: what it shows, and what becomes of deletions and uploads.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailOptions {
    /// The storage's name, which its host sets: two storages over one mailbox that show different things
    /// name them each for itself.
    #[serde(skip)]
    pub storage: String,
    /// How file names are composed. Placeholders: `message.subject`, `message.id`,
    /// `message.internet_id`, `message.parent_id`, `message.conversation_id`,
    /// `message.body_preview`, `message.importance`, `message.inference`, `message.categories`,
    /// `attachment.name`, `attachment.size`, `from.email`, `from.name`, `sender.email`,
    /// `sender.name`, and `now.` and `sent.` with `iso`, `date`, `time`, `year`, `month`, `day`,
    /// `hour`, `minute`, `second`, `timestamp`.
    #[serde(default = "default_template")]
    pub template: String,
    /// Also show inline parts, such as pictures within a text.
    #[serde(default)]
    pub inline: bool,
    /// Show only files whose composed name matches one of these patterns, e.g. `["*.pdf"]`; empty
    /// for all.
    #[serde(default)]
    pub include: Vec<String>,
    /// Hide files whose composed name matches one of these patterns.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Show only messages whose author's address (`From`) matches one of these patterns, e.g.
    /// `["*@acme.example"]`; empty for all. An address is what the message says: whether that is true is
    /// for the mail server to check.
    #[serde(default)]
    pub senders: Vec<String>,
    /// Show only messages whose subject matches one of these patterns; empty for all.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Show only messages with a category (or keyword) that matches one of these patterns; empty for all.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Show only folders whose path matches one of these patterns, e.g. `["/Inbox/Orders/**"]`; empty for
    /// all. `*` stays within one folder, `**` goes over all below. A folder above one that is shown is
    /// there to lead to it, without its mail.
    #[serde(default)]
    pub folders: Vec<String>,
    /// What a folder looks like.
    #[serde(default)]
    pub layout: Layout,
    /// How the directories of messages are named with `layout = "messages"`: as `template`, without the
    /// placeholders of attachments.
    #[serde(default = "default_message_template")]
    pub message_template: String,
    /// When the exact size of a file is learnt where the mailbox does not tell it in its listings.
    #[serde(default)]
    pub sizes: Sizes,
    /// What becomes of a message when its last attachment is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// The folder that `on_delete = "move"` moves messages to, e.g. `"/Processed"`; it must exist.
    #[serde(default)]
    pub move_to: Option<String>,
    /// What becomes of uploads.
    #[serde(default)]
    pub on_upload: OnUpload,
    /// How long a message waits in the Outbox before it is sent, with `on_upload = "send"`: until then it
    /// can be taken back by deleting its file.
    #[serde(default = "default_send_delay")]
    pub send_delay: DurationText,
    /// Largest file that can be uploaded.
    #[serde(default = "default_max_upload")]
    pub max_upload: SizeText,
    /// How many messages and attachments together are held in memory; a folder with more is not shown
    /// but refused, with a message that says so. 100,000 take up to 200 MiB.
    #[serde(default = "default_max_entries")]
    pub max_entries: u32,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            storage: String::new(),
            template: default_template(),
            inline: false,
            include: Vec::new(),
            exclude: Vec::new(),
            senders: Vec::new(),
            subjects: Vec::new(),
            categories: Vec::new(),
            folders: Vec::new(),
            layout: Layout::default(),
            message_template: default_message_template(),
            sizes: Sizes::default(),
            on_delete: OnDelete::default(),
            move_to: None,
            on_upload: OnUpload::default(),
            send_delay: default_send_delay(),
            max_upload: default_max_upload(),
            max_entries: default_max_entries(),
        }
    }
}

/// A Maildir or Maildir++ as a storage: attachments are files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaildirOptions {
    /// Directory of the Maildir: the one that holds `cur`, `new` and `tmp` of the Inbox.
    pub root: PathBuf,
    /// Largest message that is looked at; attachments of larger ones are not shown, and such
    /// messages are never deleted.
    #[serde(default = "default_max_message")]
    pub max_message: SizeText,
    /// Directory where names are remembered over restarts; the server sets one below its
    /// `data_dir`. Without it, numbered names may change at a restart.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// What every mailbox shares; set from the same table of the configuration.
    #[serde(skip)]
    pub mail: MailOptions,
}

impl MaildirOptions {
    /// The Maildir at `root`, everything else as by default.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            max_message: default_max_message(),
            state_dir: None,
            mail: MailOptions::default(),
        }
    }
}

/// What a folder looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// All attachments of all messages are files of the folder.
    #[default]
    Flat,
    /// Each message is a directory that holds its attachments and, where the mailbox can give them,
    /// `message.eml` and `body.txt`.
    Messages,
}

/// When sizes are learnt that the mailbox does not tell. A size, once learnt, is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sizes {
    /// When somebody asks for this one file; listings leave out what is not known.
    #[default]
    OnStat,
    /// All of a folder, before it is listed: for clients that trust listings, such as rclone. The first
    /// listing of a large folder takes long.
    OnList,
}

/// What becomes of a message whose last attachment is deleted. *Last* means that the store, asked
/// afresh and unfiltered, shows no other attachment of any kind but inline ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// The message is deleted.
    #[default]
    Remove,
    /// The message moves to the folder `move_to`, its last attachment still in it.
    Move,
    /// The message is marked as deleted, its last attachment still in it.
    Soft,
}

/// What becomes of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnUpload {
    /// It is refused.
    #[default]
    Refuse,
    /// A draft is made in that folder with the file attached.
    Draft,
    /// A file put into `/Outbox/<address>/` is sent there as an attachment, after `send_delay`.
    Send,
    /// A message (`.eml`) is taken into that folder; other files are refused.
    Import,
}

fn default_send_delay() -> DurationText {
    DurationText(Duration::from_secs(30))
}

fn default_template() -> String {
    template::DEFAULT.to_owned()
}

fn default_message_template() -> String {
    template::MESSAGE.to_owned()
}

fn default_max_message() -> SizeText {
    SizeText(150 << 20)
}

fn default_max_upload() -> SizeText {
    SizeText(100 << 20)
}

const fn default_max_entries() -> u32 {
    100_000
}
