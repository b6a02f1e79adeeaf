//! Why there is no token, with what an administrator can do about it.

use std::{fmt, time::Duration};

/// What kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// The endpoint refuses the app: secret, certificate, tenant, scope or consent.
    Refused,
    /// A person has to sign in again: the refresh token does not hold any more, or there is none.
    SignIn,
    /// The endpoint is throttled or unwell; it was asked several times.
    Transient,
    /// The endpoint cannot be reached.
    Network,
    /// What the app proves itself with cannot be used.
    Credential,
    /// The vault gave or kept nothing.
    Vault,
    /// The answer is not one that is understood.
    Broken,
}

/// Entra's ids of a request.
#[derive(Debug, Clone, Default)]
pub struct SupportIds {
    /// Its trace id.
    pub trace: String,
    /// Its correlation id.
    pub correlation: String,
}

/// Why there is no token. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct TokenError {
    /// What kind of reason.
    pub kind: TokenFault,
    /// The protocol's word for it, e.g. `invalid_client` (RFC 6749 section 5.2); empty where there was none.
    pub error: String,
    /// What the endpoint said, cut short, or our own words.
    pub description: String,
    /// Entra's numbers (AADSTS…): good for a hint, not to branch on.
    pub numbers: Vec<u32>,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// What Microsoft's support asks for.
    pub support: Option<Box<SupportIds>>,
    /// When to ask again, where the endpoint said so.
    pub retry: Option<Duration>,
}

impl TokenError {
    /// A reason that lies on our side of the wire.
    pub(crate) fn here(kind: TokenFault, description: String) -> Self {
        Self {
            kind,
            error: String::new(),
            description,
            numbers: Vec::new(),
            hint: None,
            support: None,
            retry: None,
        }
    }

    /// Whether it may well pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self.kind, TokenFault::Transient | TokenFault::Network)
    }

    /// What a person at a client may be told: no ids, no names.
    #[must_use]
    pub fn told(&self) -> &'static str {
        match self.kind {
            TokenFault::Transient | TokenFault::Network => {
                "the mail service's sign-in is out of reach; try again later"
            }
            TokenFault::SignIn => "the mail service wants its owner to sign in again; tell the administrator",
            _ => "the mail service does not accept this server's credentials; tell the administrator",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no token: ")?;
        if !self.error.is_empty() {
            write!(f, "{}: ", self.error)?;
        }
        f.write_str(&self.description)?;
        if let Some(hint) = self.hint {
            write!(f, " ({hint})")?;
        }
        if let Some(SupportIds { trace, correlation }) = self.support.as_deref() {
            write!(f, " [trace {trace}, correlation {correlation}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for TokenError {}
