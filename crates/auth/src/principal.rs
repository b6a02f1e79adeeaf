//! The proofs: who was verified, and who that is to us.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{Audience, Denial, Identity};

/// The claim by which a method says, with the value `true`, that the person may only list and read,
/// whatever the groups grant: `anonymous` says so unless writing is allowed to it.
pub const READ_ONLY_CLAIM: &str = "portreeve.read_only";

/// The claim by which a method says until when it vouches (RFC 3339): expiry of the account, or of the
/// key that was used where that is earlier. The session ends then, whether or not the method can be asked.
pub const EXPIRES_CLAIM: &str = "portreeve.expires";

/// Proof that a method accepted: made only by the chain.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(crate) method: Arc<str>,
    pub(crate) audience: Audience,
    pub(crate) identity: Identity,
}

impl Verified {
    /// The step that accepted.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// What that step knows.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Somebody who was let in: made only by the resolver, from a [`Verified`].
#[derive(Debug, Clone)]
pub struct Principal(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) verified: Verified,
    pub(crate) user: UserName,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) expires: Option<SystemTime>,
}

impl Principal {
    /// The name by which the person is known here, suffixes removed.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.0.user
    }

    /// The step that accepted.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.0.verified.method
    }

    /// For what the person signed in.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.0.verified.audience
    }

    /// What the accepting step knows.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.verified.identity
    }

    /// Groups, the primary one first; empty for administrators.
    #[must_use]
    pub fn groups(&self) -> &[GroupName] {
        &self.0.groups
    }

    /// Roles, the primary one first; empty for transfer users.
    #[must_use]
    pub fn roles(&self) -> &[RoleName] {
        &self.0.roles
    }

    /// Further facts, such as `mail`, for templates.
    #[must_use]
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.0.verified.identity.claims
    }

    /// From when on, by the wall clock, the person is no longer let in: a session ends then.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.expires
    }

    /// The proof it was made from: to be resolved anew when groups or roles have changed meaning.
    #[must_use]
    pub fn proof(&self) -> Verified {
        self.0.verified.clone()
    }

    /// What unfinished uploads and quota belong to: the method and the person within it, so that two
    /// realms with one name do not meet.
    #[must_use]
    pub fn key(&self) -> String {
        // The separator is escaped: step "a:b" with subject "c" is not step "a" with subject "b:c".
        let method = self.0.verified.method.replace('%', "%25").replace(':', "%3A");
        format!("{method}:{}", self.0.verified.identity.subject)
    }
}

/// What [`EXPIRES_CLAIM`] says.
///
/// # Errors
/// Where it is no time: whoever cannot be told from an expired person is not let in.
pub(crate) fn expiry(claims: &BTreeMap<String, String>) -> Result<Option<SystemTime>, Denial> {
    let Some(text) = claims.get(EXPIRES_CLAIM) else {
        return Ok(None);
    };
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Some(time.into())),
        Err(why) => Err(Denial {
            why: format!("the method says it expires at '{text}', which is no time: {why}"),
        }),
    }
}
