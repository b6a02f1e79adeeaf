//! All that the stand-in knows: registered applications, tokens, mailboxes, open pages, delta states, upload sessions.
//! Invariant: one lock holds it; whoever answers a request holds the lock for the whole answer, so answers are atomic.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    content::mix,
    graph::{delta::DeltaState, pages::Page, uploads::Upload},
    mailbox::{Mailbox, guid},
};

/// The id of the tenant.
pub(crate) const TENANT: &str = "5f0c3f6e-1c2b-4f57-9a39-7d0f6c1e2a11";
/// Another name of the tenant: its verified domain.
pub(crate) const DOMAIN: &str = "standin.test";
/// The application that is registered from the start.
pub(crate) const APP: &str = "0b6a1a35-93a1-4cbb-8a10-6c5e4f3d2b77";
/// Its secret, with characters that must be escaped in a form.
pub(crate) const SECRET: &str = "x8Q~s+cret/value%41.&=with_odd~chars";

/// A secret of an application.
#[derive(Debug, Clone)]
pub(crate) struct AppSecret {
    pub(crate) value: String,
    pub(crate) expired: bool,
}

/// What an application may do, and where.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) secrets: Vec<AppSecret>,
    /// SHA-256 of the registered certificates, base64url.
    pub(crate) thumbprints: Vec<String>,
    /// Subjects from which a federated assertion is taken.
    pub(crate) federated: Vec<String>,
    /// Application roles that Entra granted: they reach every mailbox unless a policy restricts them.
    pub(crate) roles: Vec<String>,
    /// An application access policy: only these mailboxes.
    pub(crate) policy: Option<BTreeSet<String>>,
    /// Grants by RBAC for Applications: mailbox and role. They are in no token.
    pub(crate) rbac: BTreeSet<(String, String)>,
    /// Whether it is a public client, which has no secret.
    pub(crate) public: bool,
}

/// For whom a token stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    App,
    User(String),
}

/// An access token that was given out.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) app: String,
    pub(crate) who: Who,
    pub(crate) audience: String,
    pub(crate) roles: Vec<String>,
    pub(crate) expires: Timestamp,
}

/// A refresh token that was given out.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) app: String,
    pub(crate) user: String,
    pub(crate) revoked: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) apps: Vec<App>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) refresh: HashMap<String, Refresh>,
    pub(crate) issued: u64,
    pub(crate) assertion: Option<Value>,
    pub(crate) assertions_seen: BTreeSet<String>,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) pages: HashMap<String, Page>,
    pub(crate) deltas: HashMap<String, DeltaState>,
    pub(crate) uploads: HashMap<String, Upload>,
    minted: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut made = Self {
            apps: Vec::new(),
            tokens: HashMap::new(),
            refresh: HashMap::new(),
            issued: 0,
            assertion: None,
            assertions_seen: BTreeSet::new(),
            mailboxes: Vec::new(),
            pages: HashMap::new(),
            deltas: HashMap::new(),
            uploads: HashMap::new(),
            minted: 0,
        };
        made.register(APP, SECRET);
        made
    }

    pub(crate) fn register(&mut self, id: &str, secret: &str) {
        self.apps.push(App {
            id: id.to_owned(),
            secrets: vec![AppSecret {
                value: secret.to_owned(),
                expired: false,
            }],
            thumbprints: Vec::new(),
            federated: Vec::new(),
            roles: vec!["Mail.ReadWrite".to_owned(), "Mail.Send".to_owned()],
            policy: None,
            rbac: BTreeSet::new(),
            public: false,
        });
    }

    pub(crate) fn app(&mut self, id: &str) -> Option<&mut App> {
        self.apps.iter_mut().find(|a| a.id.eq_ignore_ascii_case(id))
    }

    /// A word that nobody can guess from others.
    pub(crate) fn mint(&mut self) -> String {
        self.minted += 1;
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).expect("random bytes");
        let number = self.minted;
        let text: String = bytes
            .chunks(8)
            .map(|c| format!("{:016x}", c.iter().fold(number, |n, b| mix(n ^ u64::from(*b)))))
            .collect();
        text
    }

    pub(crate) fn guid(&mut self) -> String {
        self.minted += 1;
        guid(self.minted.wrapping_mul(7919))
    }

    /// The mailbox of an address or a user id.
    pub(crate) fn mailbox(&mut self, user: &str) -> Option<&mut Mailbox> {
        self.mailboxes
            .iter_mut()
            .find(|m| m.address.eq_ignore_ascii_case(user) || m.guid.eq_ignore_ascii_case(user))
    }
}
