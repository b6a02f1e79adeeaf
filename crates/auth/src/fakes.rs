//! Fakes for the tests of this crate.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::{ConnectionId, Door, GroupName, Origin, Secret, UserName};

use crate::{
    Attempt, Audience, Challenge, Clock, Credential, CredentialKind, Denial, End, Fault, Gate, Identity,
    KeyAnswer, Method, Prompt, PublicKey, Reason, Standing, Verdict,
};

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChAs0I1aEzvMPgrVYFMnQd7l+HHJzUAlBEy3YvgG";
pub(crate) const OTHER_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd4HLBs8sZpLPXm1iqHXqCKVdFZ3oqLmhp1eqLhHVaB";

pub(crate) fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

pub(crate) fn group(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub(crate) fn password(text: &str) -> Credential {
    Credential::Password(secret(text))
}

pub(crate) fn key(line: &str) -> PublicKey {
    PublicKey(Arc::new(ssh_key::PublicKey::from_openssh(line).unwrap()))
}

pub(crate) fn origin(peer: &str) -> Origin {
    let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
    Origin::new(Door::Sftp, "sftp".into(), peer, peer)
}

pub(crate) fn attempt(user: &str, credential: Credential) -> Attempt {
    Attempt {
        connection: ConnectionId::fresh(),
        origin: origin("192.0.2.1"),
        audience: Audience::Transfer,
        user: name(user),
        credential,
        at: SystemTime::now(),
    }
}

pub(crate) fn identity(user: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name(user),
        subject: user.to_owned(),
        groups: groups.iter().map(|g| group(g)).collect(),
        roles: Vec::new(),
        external: Vec::new(),
        claims: std::collections::BTreeMap::new(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Accept,
    Reject,
    NotMine,
    Fault,
    Challenge,
}

pub(crate) const ALL: [Says; 5] = [
    Says::Accept,
    Says::Reject,
    Says::NotMine,
    Says::Fault,
    Says::Challenge,
];

/// A method that says what it was told to say. Its people are in the group of its own label.
pub(crate) struct Fake {
    pub(crate) label: String,
    pub(crate) says: Says,
    /// What it says to a reply.
    pub(crate) reply: Says,
    pub(crate) takes: Vec<CredentialKind>,
    pub(crate) standing: Mutex<Standing>,
    pub(crate) verified: AtomicUsize,
    pub(crate) decoyed: AtomicUsize,
    pub(crate) asked_key: AtomicUsize,
    /// What runs while it looks.
    pub(crate) meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Fake {
    pub(crate) fn new(label: &str, says: Says) -> Self {
        Self {
            label: label.to_owned(),
            says,
            reply: Says::Accept,
            takes: vec![
                CredentialKind::Password,
                CredentialKind::PublicKey,
                CredentialKind::Reply,
            ],
            standing: Mutex::new(Standing::Valid),
            verified: AtomicUsize::new(0),
            decoyed: AtomicUsize::new(0),
            asked_key: AtomicUsize::new(0),
            meanwhile: None,
        }
    }

    pub(crate) fn works(&self) -> usize {
        self.verified.load(SeqCst) + self.decoyed.load(SeqCst)
    }
}

#[async_trait]
impl Method for Fake {
    fn answers(&self, attempt: &Attempt) -> bool {
        self.takes.contains(&attempt.credential.kind())
    }

    fn takes(&self) -> &[CredentialKind] {
        &self.takes
    }

    async fn knows_key(&self, _: &Attempt) -> KeyAnswer {
        self.asked_key.fetch_add(1, SeqCst);
        match self.says {
            Says::Accept => KeyAnswer::Yes,
            Says::Fault => KeyAnswer::Fault(Fault("down".into())),
            _ => KeyAnswer::No,
        }
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        self.verified.fetch_add(1, SeqCst);
        if let Some(meanwhile) = &self.meanwhile {
            meanwhile();
        }
        let says = match &attempt.credential {
            Credential::Reply { state, .. } => {
                let ours = state
                    .downcast_ref::<String>()
                    .is_some_and(|label| *label == self.label);
                if ours { self.reply } else { Says::Reject }
            }
            _ => self.says,
        };
        match says {
            Says::Accept => Verdict::Accept(identity(attempt.user.as_str(), &[&self.label])),
            Says::Reject => Verdict::Reject(Reason("wrong".into())),
            Says::NotMine => Verdict::NotMine,
            Says::Fault => Verdict::Fault(Fault("down".into())),
            Says::Challenge => Verdict::Challenge(Challenge {
                instruction: String::new(),
                prompts: vec![Prompt {
                    text: "Code:".into(),
                    echo: false,
                }],
                patience: Duration::from_secs(60),
                state: Arc::new(self.label.clone()),
            }),
        }
    }

    async fn decoy(&self, _: &Attempt) {
        self.decoyed.fetch_add(1, SeqCst);
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        self.standing.lock().clone()
    }
}

/// A wall clock that is set by hand.
pub(crate) struct Turned(Mutex<SystemTime>);

impl Turned {
    pub(crate) fn at(text: &str) -> Self {
        Self(Mutex::new(moment(text)))
    }

    pub(crate) fn turn_to(&self, text: &str) {
        *self.0.lock() = moment(text);
    }
}

pub(crate) fn moment(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

impl Clock for Turned {
    fn passed(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        *self.0.lock()
    }
}

/// A gate that remembers what it was told.
#[derive(Default)]
pub(crate) struct Porter {
    pub(crate) denies: bool,
    pub(crate) asked: AtomicUsize,
    pub(crate) told: Mutex<Vec<End>>,
}

#[async_trait]
impl Gate for Porter {
    async fn admit(&self, _: &Origin, _: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        self.asked.fetch_add(1, SeqCst);
        if self.denies {
            return Err(Denial { why: "no".into() });
        }
        Ok(())
    }

    async fn settle(&self, _: ConnectionId, _: &Origin, _: Option<&UserName>, end: End, _: SystemTime) {
        self.told.lock().push(end);
    }
}
