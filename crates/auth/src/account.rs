//! What the methods with accounts of our own share: one judgement of an account, on every path.
//!
//! Invariants: the state of an account (disabled, expired) is checked in [`Known::state`] and nowhere
//! else, whatever the credential and for live sessions too; the password is hashed before the state is
//! looked at, so that a disabled account costs what an unknown one costs.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::LazyLock,
    time::SystemTime,
};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{
    Attempt, AuthorizedKey, Check, Credential, CredentialKind, EXPIRES_CLAIM, Explanation, Fault, HashError,
    Hasher, Identity, Inquiry, Reason, Standing, StoredHash, ssh_keys,
};

/// The claim that names the key with which somebody signed in (`SHA256:…`): the session ends when the
/// key is removed from the account or expires.
pub const KEY_CLAIM: &str = "portreeve.key";

/// The claim that tells with which of an account's passwords somebody signed in: the session ends when
/// the password is changed or taken away. Its value means something in this process alone.
pub const PASSWORD_CLAIM: &str = "portreeve.password";

/// The claim that holds an account's address.
pub const MAIL_CLAIM: &str = "mail";

/// What is known of somebody.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: UserName,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) password: Option<Password>,
    pub(crate) keys: Vec<AuthorizedKey>,
    pub(crate) disabled: bool,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) mail: Option<String>,
}

/// A stored password, and what tells it from the one before it.
#[derive(Debug, Clone)]
pub(crate) struct Password {
    hash: StoredHash,
    mark: String,
}

/// One key a process: marks say nothing outside of it, and outlive every reload.
static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Password {
    /// Reads a PHC string.
    pub(crate) fn parse(phc: &str) -> Result<Self, HashError> {
        Ok(Self {
            hash: StoredHash::parse(phc)?,
            mark: format!("{:016x}", MARKS.hash_one(phc)),
        })
    }
}

/// What somebody signed in with.
#[derive(Clone, Copy)]
enum With<'a> {
    Password(&'a Password),
    Key(&'a AuthorizedKey),
    /// Nobody did: for `explain`.
    Nothing,
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

    fn identity(&self, with: With<'_>) -> Identity {
        let mut claims = BTreeMap::new();
        claims.extend(self.mail.clone().map(|mail| (MAIL_CLAIM.to_owned(), mail)));
        let mut key_expires = None;
        match with {
            With::Key(key) => {
                claims.insert(KEY_CLAIM.to_owned(), key.fingerprint());
                key_expires = key.expires();
            }
            With::Password(password) => {
                claims.insert(PASSWORD_CLAIM.to_owned(), password.mark.clone());
            }
            With::Nothing => {}
        }
        let end = [self.expires, key_expires]
            .into_iter()
            .flatten()
            .min()
            .and_then(stamp);
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
    let (outdated, with) = match &attempt.credential {
        Credential::Password(password) => {
            let stored = known.and_then(|known| known.password.as_ref());
            match hasher.check(stored.map(|stored| &stored.hash), password).await {
                Err(fault) => return Proof::Fault(fault),
                Ok(Check::Right { outdated }) => (outdated, stored.map_or(With::Nothing, With::Password)),
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
            (false, With::Key(ours))
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
            identity: known.identity(with),
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
    let with = match known.still_has(who, now) {
        Ok(with) => with,
        Err(reason) => return Standing::Gone(reason),
    };
    let identity = known.identity(with);
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
        identity: known.identity(With::Nothing),
        // As in `prove`: the account's state comes after the credential, but no credential helps it.
        barred: known.state(inquiry.at).and(usable).err(),
        state,
    }
}

impl Known {
    /// What `who` signed in with, if it would still do.
    fn still_has(&self, who: &Identity, now: SystemTime) -> Result<With<'_>, Reason> {
        if let Some(used) = who.claims.get(KEY_CLAIM) {
            let key = self.keys.iter().find(|key| key.fingerprint() == *used);
            let key = key.ok_or_else(|| Reason(format!("the key {used} was removed from the account")))?;
            return key.fresh(now).map(|()| With::Key(key));
        }
        let Some(used) = who.claims.get(PASSWORD_CLAIM) else {
            return Ok(With::Nothing);
        };
        let password = self.password.as_ref().filter(|password| password.mark == *used);
        let changed = || Reason(format!("the password of '{}' was changed", self.name));
        password.map(With::Password).ok_or_else(changed)
    }

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
