//! What can be asked of the server: the same words whether it runs or not.

use portreeve_auth::Audience;
use portreeve_model::options::DurationText;
use serde::{Deserialize, Serialize};

use super::{AccountRequest, SecretRequest};

/// Transfer users or administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realm {
    /// Transfer users.
    Transfer,
    /// Administrators.
    Admin,
}

impl From<Realm> for Audience {
    fn from(realm: Realm) -> Self {
        match realm {
            Realm::Transfer => Self::Transfer,
            Realm::Admin => Self::Admin,
        }
    }
}

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the server is: what `/readyz` says.
    Status,
    /// Read the configuration anew.
    Reload,
    /// The live sessions.
    SessionList,
    /// End a session.
    SessionKill {
        /// Its id.
        session: String,
    },
    /// The bans.
    BanList,
    /// Ban an address.
    BanAdd {
        /// The address.
        address: std::net::IpAddr,
        /// For how long.
        length: DurationText,
        /// Why.
        reason: String,
    },
    /// Lift the ban of an address.
    BanRemove {
        /// The address.
        address: std::net::IpAddr,
    },
    /// Something about accounts.
    Account {
        /// Whose.
        realm: Realm,
        /// What.
        what: AccountRequest,
    },
    /// Something about sealed secrets.
    Secret {
        /// What.
        what: SecretRequest,
    },
    /// What each step of the chain would say.
    ExplainLogin {
        /// The name.
        user: String,
        /// From where.
        from: std::net::IpAddr,
        /// At which listener: its name or its protocol.
        listener: String,
        /// With what: `password`, `public-key`.
        credential: String,
    },
    /// What somebody may do with a path.
    ExplainAccess {
        /// The name.
        user: String,
        /// The path.
        path: String,
        /// One verb alone.
        verb: Option<String>,
        /// At which listener: its name or its protocol. The whole chain without one.
        #[serde(default)]
        listener: Option<String>,
    },
}

impl Request {
    /// How the audit log names it, without secrets; none for what only looks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        match self {
            Self::SessionKill { session } => Some(format!("session kill {session}")),
            Self::BanAdd {
                address,
                length,
                reason,
            } => Some(format!("ban add {address} for {length}: {reason}")),
            Self::BanRemove { address } => Some(format!("ban remove {address}")),
            Self::Account { realm, what } => {
                let realm = if *realm == Realm::Admin {
                    "admin"
                } else {
                    "account"
                };
                what.change().map(|change| format!("{realm} {change}"))
            }
            Self::Secret { what } => what.change().map(|change| format!("secret {change}")),
            Self::Status
            | Self::Reload
            | Self::SessionList
            | Self::BanList
            | Self::ExplainLogin { .. }
            | Self::ExplainAccess { .. } => None,
        }
    }
}
