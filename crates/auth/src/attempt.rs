//! One try to sign in: who, from where, with what.

use std::{any::Any, fmt, sync::Arc, time::SystemTime};

use portreeve_model::{ConnectionId, Origin, Secret, UserName};

/// For what somebody signs in. The two never mix: transfer users have groups and no console,
/// administrators have roles and no files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Files, through any door.
    Transfer,
    /// The console and its API.
    Admin,
}

/// An SSH public key as it came over the wire.
#[derive(Debug, Clone)]
pub struct PublicKey(pub Arc<ssh_key::PublicKey>);

/// What is shown as proof.
pub enum Credential {
    /// A password, from whatever door.
    Password(Secret),
    /// A public key. In [`crate::Method::verify`] its signature has been checked by the door; in
    /// [`crate::Method::knows_key`] it has not.
    PublicKey(PublicKey),
    /// Answers to the challenge that the same method posed before, with the state it left.
    Reply {
        /// One answer for each prompt, in order.
        answers: Vec<Secret>,
        /// What the method put into its [`crate::Challenge`].
        state: Arc<dyn Any + Send + Sync>,
    },
    /// Nothing (SSH `none`, an FTP server that needs no password): only `anonymous` looks at it.
    Nothing,
}

/// The kinds of [`Credential`], for configuration and the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A password.
    Password,
    /// An SSH public key.
    PublicKey,
    /// A reply to a challenge.
    Reply,
    /// Nothing.
    Nothing,
}

impl CredentialKind {
    /// The word used in the trail.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PublicKey => "public-key",
            Self::Reply => "reply",
            Self::Nothing => "none",
        }
    }
}

impl Credential {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        match self {
            Self::Password(_) => CredentialKind::Password,
            Self::PublicKey(_) => CredentialKind::PublicKey,
            Self::Reply { .. } => CredentialKind::Reply,
            Self::Nothing => CredentialKind::Nothing,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())
    }
}

/// One try. Its fields were parsed at the door; nobody checks them again.
#[derive(Debug)]
pub struct Attempt {
    /// The connection: several tries on one connection share it.
    pub connection: ConnectionId,
    /// Where it comes from.
    pub origin: Origin,
    /// For what.
    pub audience: Audience,
    /// The name as given.
    pub user: UserName,
    /// The proof.
    pub credential: Credential,
    /// When, on the wall clock.
    pub at: SystemTime,
}
