//! The method `application`: accounts of our own in the store, for transfer users and administrators.
//!
//! Invariants: the store is asked anew for every try and every standing, so that a change counts at
//! once; when it does not answer, nobody is accepted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_model::{Secret, UserName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Account, AccountChange, Accounts, Attempt, Audience, AuthorizedKey, Clock, Credential, CredentialKind,
    Explanation, Fault, Hasher, Identity, Inquiry, KeyAnswer, KeyRules, MachineClock, Membership, Method,
    Standing, Verdict,
    account::{self, Known, Password, Proof},
};

/// Sign-ins closer together than this are noted as one: a client that signs in for each request must
/// not write for each request.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Options of `type = "application"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApplicationOptions {
    /// Takes RSA keys from 2,048 bits on; by default from 3,072.
    pub allow_rsa_2048: bool,
}

impl ApplicationOptions {
    /// What keys of accounts must fulfil: also for whoever adds one.
    #[must_use]
    pub const fn key_rules(&self) -> KeyRules {
        KeyRules {
            allow_rsa_2048: self.allow_rsa_2048,
        }
    }
}

/// The method.
pub struct Application {
    accounts: Arc<dyn Accounts>,
    hasher: Arc<Hasher>,
    rules: KeyRules,
    clock: Arc<dyn Clock>,
}

impl Application {
    /// Over a store.
    #[must_use]
    pub fn new(options: &ApplicationOptions, accounts: Arc<dyn Accounts>, hasher: Arc<Hasher>) -> Self {
        Self {
            accounts,
            hasher,
            rules: options.key_rules(),
            clock: Arc::new(MachineClock::default()),
        }
    }

    /// With another clock by which live sessions expire.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    async fn find(&self, audience: Audience, name: &UserName) -> Result<Option<Account>, Fault> {
        let found = self.accounts.find(audience, name).await;
        found.map_err(|why| Fault(why.to_string()))
    }

    fn known(&self, account: &Account) -> Result<Known, Fault> {
        let unreadable = |why| {
            Fault(format!(
                "the stored password of '{}' is unusable: {why}",
                account.name
            ))
        };
        let password = account.password.as_deref().map(Password::parse).transpose();
        let (groups, roles) = match &account.member_of {
            Membership::Groups(groups) => (groups.clone(), Vec::new()),
            Membership::Roles(roles) => (Vec::new(), roles.clone()),
        };
        Ok(Known {
            name: account.name.clone(),
            groups,
            roles,
            password: password.map_err(unreadable)?,
            keys: account
                .keys
                .iter()
                .filter_map(|key| self.key(account, &key.line))
                .collect(),
            disabled: account.disabled,
            expires: account.expires,
            mail: account.mail.clone(),
        })
    }

    /// A key that today's rules refuse opens nothing; the account's other keys still do.
    fn key(&self, account: &Account, line: &str) -> Option<AuthorizedKey> {
        match AuthorizedKey::parse(line, self.rules) {
            Ok(key) => Some(key),
            Err(why) => {
                tracing::warn!(account = %account.name, "a key of the account is ignored: {why}");
                None
            }
        }
    }

    async fn look_up(&self, audience: Audience, name: &UserName) -> Result<Option<(Account, Known)>, Fault> {
        let Some(account) = self.find(audience, name).await? else {
            return Ok(None);
        };
        if account.member_of.audience() != audience {
            return Err(Fault(format!(
                "the store gave an account of the other audience for '{name}'"
            )));
        }
        let known = self.known(&account)?;
        Ok(Some((account, known)))
    }

    /// What follows a sign-in; answers the identity as it is to be remembered.
    async fn accepted(
        &self,
        account: &Account,
        mut who: Identity,
        attempt: &Attempt,
        outdated: bool,
    ) -> Identity {
        if let (true, Some(from), Credential::Password(password)) =
            (outdated, &account.password, &attempt.credential)
        {
            who = self.rehash(who, attempt, from, password).await;
        }
        let fresh = account
            .last_login
            .and_then(|then| attempt.at.duration_since(then).ok())
            .is_some_and(|ago| ago < NOTE_EVERY);
        if fresh {
            return who;
        }
        let noted = self
            .accounts
            .record_login(attempt.audience, &account.name, attempt.at)
            .await;
        if let Err(why) = noted {
            tracing::warn!(account = %account.name, "the sign-in was not noted: {why}");
        }
        who
    }

    /// Makes the hash stronger. The session is bound to the password as it is stored then, whoever of
    /// several made it so; that it is the same password is checked, since it may have been changed.
    async fn rehash(&self, who: Identity, attempt: &Attempt, from: &str, password: &Secret) -> Identity {
        let Ok(to) = self.hasher.hash(password).await else {
            return who;
        };
        let from = from.to_owned();
        let change = AccountChange::Rehash { from, to };
        match self
            .accounts
            .change(attempt.audience, &attempt.user, change)
            .await
        {
            Ok(()) => tracing::info!(account = %attempt.user, "the password's hash was made stronger"),
            Err(why) => tracing::warn!(account = %attempt.user, "the password's hash stays weak: {why}"),
        }
        let Ok(Some((_, now))) = self.look_up(attempt.audience, &attempt.user).await else {
            return who;
        };
        match account::prove(Some(&now), attempt, &self.hasher).await {
            Proof::Right { identity, .. } => identity,
            _ => who,
        }
    }
}

#[async_trait]
impl Method for Application {
    fn answers(&self, attempt: &Attempt) -> bool {
        self.takes().contains(&attempt.credential.kind())
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::PublicKey]
    }

    async fn knows_key(&self, attempt: &Attempt) -> KeyAnswer {
        match self.look_up(attempt.audience, &attempt.user).await {
            Err(fault) => KeyAnswer::Fault(fault),
            Ok(found) if account::knows_key(found.as_ref().map(|(_, known)| known), attempt) => {
                KeyAnswer::Yes
            }
            Ok(_) => KeyAnswer::No,
        }
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        let found = match self.look_up(attempt.audience, &attempt.user).await {
            Ok(found) => found,
            Err(fault) => {
                self.burn(attempt).await;
                return Verdict::Fault(fault);
            }
        };
        let known = found.as_ref().map(|(_, known)| known);
        match (account::prove(known, attempt, &self.hasher).await, &found) {
            (Proof::Right { identity, outdated }, Some((account, _))) => {
                Verdict::Accept(self.accepted(account, identity, attempt, outdated).await)
            }
            (Proof::Right { .. } | Proof::NotMine, _) => Verdict::NotMine,
            (Proof::Wrong(reason), _) => Verdict::Reject(reason),
            (Proof::Fault(fault), _) => Verdict::Fault(fault),
        }
    }

    async fn decoy(&self, attempt: &Attempt) {
        let _ = self.look_up(attempt.audience, &attempt.user).await;
        self.burn(attempt).await;
    }

    async fn still_valid(&self, who: &Identity, audience: Audience) -> Standing {
        let Ok(name) = UserName::new(&who.subject) else {
            return account::standing(None, who, self.clock.wall());
        };
        match self.look_up(audience, &name).await {
            Err(fault) => Standing::Unknown(fault),
            Ok(found) => account::standing(found.as_ref().map(|(_, known)| known), who, self.clock.wall()),
        }
    }

    fn generation(&self) -> u64 {
        self.accounts.generation()
    }

    async fn explain(&self, inquiry: &Inquiry<'_>) -> Explanation {
        match self.look_up(inquiry.audience, inquiry.user).await {
            Err(fault) => Explanation::Unavailable(fault),
            Ok(found) => account::explanation(found.as_ref().map(|(_, known)| known), inquiry),
        }
    }
}

impl Application {
    /// Costs what an unknown name costs.
    async fn burn(&self, attempt: &Attempt) {
        let _ = account::prove(None, attempt, &self.hasher).await;
    }
}

#[cfg(test)]
mod tests;
