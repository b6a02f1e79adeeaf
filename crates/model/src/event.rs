//! What the audit log records: one closed table of acts and outcomes.
//!
//! Events are made by the choke point (crate `session`), never by hand in a door. A transfer is one
//! event, written when it ends.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{ConnectionId, Origin, SessionId, VPath};

/// One record.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it ended (or happened).
    pub at: SystemTime,
    /// The connection; none for acts of the server itself.
    pub connection: Option<ConnectionId>,
    /// The session; none before sign-in.
    pub session: Option<SessionId>,
    /// Where it came from.
    pub origin: Option<Origin>,
    /// The name as given, then as accepted; none before one was given.
    pub user: Option<String>,
    /// What was tried.
    pub act: Act,
    /// What the file stands for, where its storage says so.
    pub item: Option<Item>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What a file stands for, in its storage's own words, such as the message that it hangs on. The keys are
/// fixed in the storage's code; the values are as hostile as any name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item(BTreeMap<&'static str, String>);

impl Item {
    /// Says `value` of `key`, in place of what was said of it before.
    pub fn put(&mut self, key: &'static str, value: impl Into<String>) {
        self.0.insert(key, value.into());
    }

    /// What is said of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Everything that is said, by key.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was tried. The stable names ([`Act::name`]) are part of the product's interface.
#[derive(Debug, Clone)]
pub enum Act {
    /// A connection was refused at accept: banned, or too many.
    Knock,
    /// A sign-in, with every step the chain took.
    Login {
        /// Each step of the chain, in order, with its verdict.
        trail: Vec<TrailStep>,
        /// The method that decided, where one did.
        method: Option<String>,
    },
    /// A session ended.
    Logout {
        /// Why: `closed`, `idle`, `killed`, `revoked`, `drained`.
        reason: &'static str,
    },
    /// A directory was listed.
    List(VPath),
    /// A name was looked up. Recorded only when refused.
    Stat(VPath),
    /// A file was read.
    Download(Transfer),
    /// A file was written.
    Upload(Transfer),
    /// A file was removed.
    RemoveFile(VPath),
    /// A directory was removed.
    RemoveDir(VPath),
    /// A name was changed.
    Rename {
        /// The old name.
        from: VPath,
        /// The new name.
        to: VPath,
    },
    /// A directory was made.
    MakeDir(VPath),
    /// Times or permission bits were set.
    SetAttrs(VPath),
    /// A file was copied on the server.
    Copy {
        /// The source.
        from: VPath,
        /// The copy.
        to: VPath,
    },
    /// A hard or symbolic link was asked for.
    Link {
        /// The new name.
        path: VPath,
        /// What it points at, as sent.
        target: Vec<u8>,
    },
    /// The configuration was loaded anew.
    Reload {
        /// The number of the world that serves from now on (or went on serving).
        generation: u64,
    },
    /// An administrator changed an account, a ban or a session.
    Admin {
        /// The command, without secrets: `account add alice`.
        change: String,
    },
    /// The server started.
    Start,
    /// The server stopped.
    Stop,
}

impl Act {
    /// The stable name of the act.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Knock => "knock",
            Self::Login { .. } => "login",
            Self::Logout { .. } => "logout",
            Self::List(_) => "list",
            Self::Stat(_) => "stat",
            Self::Download(_) => "download",
            Self::Upload(_) => "upload",
            Self::RemoveFile(_) => "remove-file",
            Self::RemoveDir(_) => "remove-dir",
            Self::Rename { .. } => "rename",
            Self::MakeDir(_) => "make-dir",
            Self::SetAttrs(_) => "set-attrs",
            Self::Copy { .. } => "copy",
            Self::Link { .. } => "link",
            Self::Reload { .. } => "reload",
            Self::Admin { .. } => "admin",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// What passed in one transfer.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The file.
    pub path: VPath,
    /// Bytes that passed, repeated reads counted again.
    pub bytes: u64,
    /// The size of the file afterwards, where known.
    pub size: Option<u64>,
    /// `sha256:…` or `blake3:…` of what passed, where asked for and where it passed in order.
    pub digest: Option<String>,
    /// Bytes kept for a later resume, when an upload did not finish.
    pub kept: Option<u64>,
}

/// How an act ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// Refused by policy.
    Refused(String),
    /// Allowed, but it did not work.
    Failed(String),
}

impl Outcome {
    /// The stable name of the outcome.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}

/// One step of the chain in a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailStep {
    /// The step's name in the configuration.
    pub step: String,
    /// `admit`, `deny`, `accept`, `reject`, `not-mine`, `challenge`, `fault`, `skipped`.
    pub verdict: &'static str,
    /// Why, for the log and for `explain`; never sent to the client.
    pub why: String,
}
