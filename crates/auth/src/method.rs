//! Methods: steps that state a fact about a credential.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use portreeve_model::{GroupName, Origin, RoleName, UserName};

use crate::{Attempt, Audience, CredentialKind};

/// Why a method rejects, in plain words: for the trail, never for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(pub String);

/// What kept a method from finding out, in plain words: for the trail and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

/// What a method knows of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name in the method's own spelling; suffixes are removed by the resolver.
    pub user: UserName,
    /// What identifies the person within the method for good (a name where there is nothing better).
    pub subject: String,
    /// Groups of ours that the method itself assigns, the primary one first.
    pub groups: Vec<GroupName>,
    /// Roles of ours that the method itself assigns, the primary one first.
    pub roles: Vec<RoleName>,
    /// Groups in the method's own terms (a DN, an object id), to be mapped by the resolver.
    pub external: Vec<String>,
    /// Further facts, such as `mail`, for templates.
    pub claims: BTreeMap<String, String>,
}

/// One question of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The question.
    pub text: String,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// What a method wants to know before it decides.
#[derive(Clone)]
pub struct Challenge {
    /// A line above the questions.
    pub instruction: String,
    /// The questions; none means that the person acts elsewhere and then continues.
    pub prompts: Vec<Prompt>,
    /// How long it waits for a human.
    pub patience: Duration,
    /// What the method needs to go on.
    pub state: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("prompts", &self.prompts.len())
            .finish_non_exhaustive()
    }
}

/// Four facts and a question. What follows from them is the chain's business.
#[derive(Debug)]
pub enum Verdict {
    /// The credential is right.
    Accept(Identity),
    /// I do not know this name.
    NotMine,
    /// I know this name, and this is not its credential; or the account may not sign in.
    Reject(Reason),
    /// I need to know more.
    Challenge(Challenge),
    /// I could not find out.
    Fault(Fault),
}

/// Whether a key, offered without a signature, could let somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It could.
    Yes,
    /// It could not, or the name is unknown: the two look and cost the same.
    No,
    /// I could not find out.
    Fault(Fault),
}

/// How a live session's identity stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As it was.
    Valid,
    /// Valid, with these groups, roles and claims from now on.
    Changed(Identity),
    /// Disabled, expired or removed.
    Gone(Reason),
    /// I could not find out: the session goes on.
    Unknown(Fault),
}

/// What an administrator asks about a name: a try without its credential.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'a> {
    /// The name.
    pub user: &'a UserName,
    /// For what.
    pub audience: Audience,
    /// With what kind of credential.
    pub credential: CredentialKind,
    /// From where.
    pub origin: &'a Origin,
    /// When, on the wall clock.
    pub at: SystemTime,
}

/// What a method tells an administrator of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// It says nothing without a credential.
    Silent,
    /// It does not know the name.
    Unknown,
    /// It knows the name.
    Known {
        /// What it would accept, given the right credential.
        identity: Identity,
        /// Why it would refuse whatever it was shown: disabled, expired, no credential of this kind.
        barred: Option<Reason>,
        /// How the account stands where it is not barred, in plain words: `active`.
        state: String,
    },
    /// It could not find out.
    Unavailable(Fault),
}

/// A step that looks at credentials: local-file, application, LDAP, RADIUS, Entra ID, …
///
/// An unknown name costs what a wrong password costs: a method with hashes burns one either way.
#[async_trait]
pub trait Method: Send + Sync {
    /// Whether it can look at such a credential at all (door, audience, kind). If not, the chain goes
    /// on, and the trail says why.
    fn answers(&self, attempt: &Attempt) -> bool;

    /// The kinds of credential it takes from transfer users: what a door may offer.
    fn takes(&self) -> &[CredentialKind];

    /// Whether the offered key could let the name in: no signature was checked.
    async fn knows_key(&self, _attempt: &Attempt) -> KeyAnswer {
        KeyAnswer::No
    }

    /// Looks at the credential.
    async fn verify(&self, attempt: &Attempt) -> Verdict;

    /// Spends what [`Method::verify`] would spend on an unknown name. The chain calls it for the
    /// methods that it did not come to, so that every refusal costs the same.
    async fn decoy(&self, _attempt: &Attempt) {}

    /// How long the chain waits for any of its answers; then it counts as one that could not find out.
    fn deadline(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// How an identity that this method accepted for this audience stands now.
    async fn still_valid(&self, who: &Identity, audience: Audience) -> Standing;

    /// A number that grows whenever what the method knows of any account has changed; a method that
    /// cannot tell says 0 for ever. It costs nothing to ask.
    fn generation(&self) -> u64 {
        0
    }

    /// What it knows of a name without seeing a credential: for `explain`, never for a door.
    async fn explain(&self, _inquiry: &Inquiry<'_>) -> Explanation {
        Explanation::Silent
    }
}
