//! Accounts of our own, as the method `application` needs them: the contract that a store fulfils.
//!
//! Invariants: transfer users and administrators are two realms of one shape, so that `alice` of one is
//! never `alice` of the other; every change moves [`Accounts::generation`], so that whoever remembers
//! something about an account can notice that it is out of date.

use std::time::SystemTime;

use async_trait::async_trait;
use portreeve_model::{GroupName, RoleName, UserName};

use crate::Audience;

/// What an account belongs to; it decides for what it signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// A transfer user, with groups, the primary one first.
    Groups(Vec<GroupName>),
    /// An administrator, with roles, the primary one first.
    Roles(Vec<RoleName>),
}

impl Membership {
    /// For what the account signs in.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        match self {
            Self::Groups(_) => Audience::Transfer,
            Self::Roles(_) => Audience::Admin,
        }
    }
}

/// A public key of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountKey {
    /// `SHA256:…`, as [`crate::AuthorizedKey::fingerprint`] gives it: unique within the account, and
    /// the name by which a key is removed.
    pub fingerprint: String,
    /// The key in the form of `authorized_keys`, options included (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
    pub line: String,
    /// What people call it.
    pub label: String,
}

/// One account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The name; unique within its audience, compared byte by byte.
    pub name: UserName,
    /// Groups or roles.
    pub member_of: Membership,
    /// The password's hash as a PHC string; none: no sign-in by password.
    pub password: Option<String>,
    /// Its keys.
    pub keys: Vec<AccountKey>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// From when on it no longer signs in.
    pub expires: Option<SystemTime>,
    /// An address, for templates.
    pub mail: Option<String>,
    /// When it was made.
    pub created: SystemTime,
    /// When somebody last signed in with it.
    pub last_login: Option<SystemTime>,
}

impl Account {
    /// An account that may sign in as soon as it has a password or a key.
    #[must_use]
    pub const fn new(name: UserName, member_of: Membership, created: SystemTime) -> Self {
        Self {
            name,
            member_of,
            password: None,
            keys: Vec::new(),
            disabled: false,
            expires: None,
            mail: None,
            created,
            last_login: None,
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("member_of", &self.member_of)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("keys", &self.keys.len())
            .field("disabled", &self.disabled)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// One change to one account. A store applies it whole or not at all.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// Sets the PHC string, or takes the password away.
    Password(Option<String>),
    /// The same password in a stronger hash: does nothing unless the stored string is still `from`, so
    /// that it never undoes a password that was changed meanwhile.
    Rehash {
        /// What was verified.
        from: String,
        /// The new PHC string.
        to: String,
    },
    /// Adds a key; one with the same fingerprint is replaced.
    AddKey(AccountKey),
    /// Removes the key of this fingerprint; [`AccountsError::NoKey`] where there is none.
    RemoveKey(String),
    /// Switches the account off or on.
    Disabled(bool),
    /// Sets or removes the expiry.
    Expires(Option<SystemTime>),
    /// Sets or removes the address.
    Mail(Option<String>),
    /// Replaces the groups or roles. The audience must be the account's own.
    MemberOf(Membership),
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// No account of this name in this audience.
    #[error("there is no account '{0}'")]
    NoAccount(UserName),
    /// There is one already.
    #[error("there is already an account '{0}'")]
    Exists(UserName),
    /// The account has no such key.
    #[error("the account '{0}' has no key {1}")]
    NoKey(UserName, String),
    /// Roles for a transfer user, or groups for an administrator.
    #[error("transfer users have groups and administrators have roles")]
    WrongAudience,
    /// The store did not answer; with what it said.
    #[error("the account store cannot be reached: {0}")]
    Unavailable(String),
}

/// Where accounts are kept. Every method may be called by many at once.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The account of this name, all its keys included.
    ///
    /// # Errors
    /// [`AccountsError::Unavailable`]; an unknown name is `Ok(None)`.
    async fn find(&self, audience: Audience, name: &UserName) -> Result<Option<Account>, AccountsError>;

    /// Up to `limit` accounts in the order of their names' bytes, beginning behind `after`.
    ///
    /// # Errors
    /// [`AccountsError::Unavailable`].
    async fn list(
        &self,
        audience: Audience,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<Vec<Account>, AccountsError>;

    /// Adds an account, its keys included.
    ///
    /// # Errors
    /// [`AccountsError::Exists`], [`AccountsError::Unavailable`].
    async fn add(&self, account: &Account) -> Result<(), AccountsError>;

    /// Changes an account.
    ///
    /// # Errors
    /// [`AccountsError::NoAccount`], [`AccountsError::NoKey`], [`AccountsError::WrongAudience`],
    /// [`AccountsError::Unavailable`].
    async fn change(
        &self,
        audience: Audience,
        name: &UserName,
        change: AccountChange,
    ) -> Result<(), AccountsError>;

    /// Removes an account and its keys.
    ///
    /// # Errors
    /// [`AccountsError::NoAccount`], [`AccountsError::Unavailable`].
    async fn remove(&self, audience: Audience, name: &UserName) -> Result<(), AccountsError>;

    /// Notes a sign-in: not a change, so the generation stays.
    ///
    /// # Errors
    /// [`AccountsError::NoAccount`], [`AccountsError::Unavailable`].
    async fn record_login(
        &self,
        audience: Audience,
        name: &UserName,
        at: SystemTime,
    ) -> Result<(), AccountsError>;

    /// A number that grows with every `add`, `change` and `remove`, before these return. It costs
    /// nothing to ask. Changes by another process are noticed within 5 s.
    fn generation(&self) -> u64;
}
