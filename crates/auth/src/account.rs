//! What the methods with accounts of our own share: one judgement of an account, on every path.
//!
//! Invariants: the state of an account (disabled, expired) is checked in [`Known::state`] and nowhere
//! else, whatever the credential and for live sessions too; the password is hashed before the state is
//! looked at, so that a disabled account costs what an unknown one costs.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{
    Attempt, AuthorizedKey, Check, Credential, CredentialKind, EXPIRES_CLAIM, Explanation, Fault, Hasher,
    Identity, Inquiry, Reason, Standing, StoredHash, ssh_keys,
};

/// The claim that names the key with which somebody signed in (`SHA256:…`): the session ends when the
/// key is removed from the account or expires.
pub const KEY_CLAIM: &str = "portreeve.key";

/// The claim that holds an account's address.
pub const MAIL_CLAIM: &str = "mail";

/// What is known of somebody.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: UserName,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) password: Option<StoredHash>,
    pub(crate) keys: Vec<AuthorizedKey>,
    pub(crate) disabled: bool,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) mail: Option<String>,
}

/// What came of a credential.
pub(crate) enum Proof {
    Right { identity: Identity, outdated: bool },
    NotMine,
    Wrong(Reason),
    Fault(Fault),
}

impl Known {
    /// Whether the account may be used at that time.
    pub(crate) fn state(&self, at: SystemTime) -> Result<(), Reason> {
        if self.disabled {
            return Err(Reason(format!("the account '{}' is disabled", self.name)));
        }
        match self.expires {
            Some(expires) if at >= expires => Err(Reason(format!(
                "the account '{}' expired on {}",
                self.name,
                written(expires)
            ))),
            _ => Ok(()),
        }
    }

    /// Who it is, signed in with that key or with the password.
    fn identity(&self, key: Option<&AuthorizedKey>) -> Identity {
        let mut claims = BTreeMap::new();
        claims.extend(self.mail.clone().map(|mail| (MAIL_CLAIM.to_owned(), mail)));
        claims.extend(key.map(|key| (KEY_CLAIM.to_owned(), key.fingerprint())));
        let ends = [self.expires, key.and_then(AuthorizedKey::expires)];
        let end = ends.into_iter().flatten().min().and_then(stamp);
        claims.extend(end.map(|end| (EXPIRES_CLAIM.to_owned(), end)));
        Identity {
            user: self.name.clone(),
            subject: self.name.to_string(),
            groups: self.groups.clone(),
            roles: self.roles.clone(),
            external: Vec::new(),
            claims,
        }
    }
}

/// Whether the offered key could let the account in.
pub(crate) fn knows_key(known: Option<&Known>, attempt: &Attempt) -> bool {
    let Credential::PublicKey(key) = &attempt.credential else {
        return false;
    };
    known.is_some_and(|known| {
        let from = attempt.origin.peer.ip();
        let fits = known
            .keys
            .iter()
            .any(|k| k.is(key) && k.usable(from, attempt.at).is_ok());
        fits && known.state(attempt.at).is_ok()
    })
}

/// Looks at a credential; `known` is none for an unknown name.
pub(crate) async fn prove(known: Option<&Known>, attempt: &Attempt, hasher: &Hasher) -> Proof {
    let (outdated, key) = match &attempt.credential {
        Credential::Password(password) => {
            let stored = known.and_then(|known| known.password.as_ref());
            match hasher.check(stored, password).await {
                Err(fault) => return Proof::Fault(fault),
                Ok(Check::Right { outdated }) => (outdated, None),
                Ok(Check::Wrong) => {
                    return known.map_or(Proof::NotMine, |known| {
                        let why = if known.password.is_some() {
                            "wrong password"
                        } else {
                            "the account has no password"
                        };
                        Proof::Wrong(Reason(why.into()))
                    });
                }
            }
        }
        Credential::PublicKey(key) => {
            let Some(known) = known else {
                return Proof::NotMine;
            };
            let Some(ours) = known.keys.iter().find(|ours| ours.is(key)) else {
                let offered = ssh_keys::fingerprint(key.0.key_data());
                return Proof::Wrong(Reason(format!("the account has no key {offered}")));
            };
            if let Err(reason) = ours.usable(attempt.origin.peer.ip(), attempt.at) {
                return Proof::Wrong(reason);
            }
            (false, Some(ours))
        }
        Credential::Reply { .. } | Credential::Nothing => {
            return Proof::Wrong(Reason("only passwords and keys are taken".into()));
        }
    };
    let Some(known) = known else {
        return Proof::NotMine;
    };
    match known.state(attempt.at) {
        Err(reason) => Proof::Wrong(reason),
        Ok(()) => Proof::Right {
            identity: known.identity(key),
            outdated,
        },
    }
}

/// How an accepted identity stands, given what is known now.
pub(crate) fn standing(known: Option<&Known>, who: &Identity, now: SystemTime) -> Standing {
    let Some(known) = known else {
        return Standing::Gone(Reason(format!("the account '{}' was removed", who.subject)));
    };
    if let Err(reason) = known.state(now) {
        return Standing::Gone(reason);
    }
    let mut key = None;
    if let Some(used) = who.claims.get(KEY_CLAIM) {
        key = known.keys.iter().find(|key| key.fingerprint() == *used);
        match key.map(|key| key.fresh(now)) {
            None => return Standing::Gone(Reason(format!("the key {used} was removed from the account"))),
            Some(Err(reason)) => return Standing::Gone(reason),
            Some(Ok(())) => {}
        }
    }
    let identity = known.identity(key);
    if identity == *who {
        Standing::Valid
    } else {
        Standing::Changed(identity)
    }
}

/// For `explain`: `known` is none for an unknown name.
pub(crate) fn explanation(known: Option<&Known>, inquiry: &Inquiry<'_>) -> Explanation {
    let Some(known) = known else {
        return Explanation::Unknown;
    };
    let usable = match inquiry.credential {
        CredentialKind::Password if known.password.is_none() => {
            Err(Reason("the account has no password".into()))
        }
        CredentialKind::PublicKey => known.usable_key(inquiry.origin.peer.ip(), inquiry.at),
        _ => Ok(()),
    };
    let state = known.expires.and_then(stamp).map_or_else(
        || "active".to_owned(),
        |expires| format!("active until {expires}"),
    );
    Explanation::Known {
        identity: known.identity(None),
        // As in `prove`: the account's state comes after the credential, but no credential helps it.
        barred: known.state(inquiry.at).and(usable).err(),
        state,
    }
}

impl Known {
    /// Whether one of the keys may be used.
    fn usable_key(&self, from: IpAddr, at: SystemTime) -> Result<(), Reason> {
        let mut reasons = Vec::new();
        for key in &self.keys {
            match key.usable(from, at) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(format!("{}: {}", key.fingerprint(), reason.0)),
            }
        }
        Err(Reason(match reasons.as_slice() {
            [] => "the account has no key".to_owned(),
            reasons => format!("the account has no key that may be used: {}", reasons.join("; ")),
        }))
    }
}

fn written(time: SystemTime) -> String {
    stamp(time).unwrap_or_else(|| "a date out of range".to_owned())
}

/// RFC 3339; none for a time that no calendar of ours reaches.
fn stamp(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|t| t.to_string())
}
