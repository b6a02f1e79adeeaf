//! Gates: steps that may refuse and can accept nobody.

use std::time::SystemTime;

use async_trait::async_trait;
use portreeve_model::{ConnectionId, Origin, UserName};

/// Why a gate refused: for the trail, never for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// In plain words, with what to do about it.
    pub why: String,
}

/// How a connection's sign-in went on, told to every gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody was let in.
    Accepted,
    /// A wrong password or reply, an unknown name, or a name that another gate refused. Keys are not
    /// told one by one: see [`End::Abandoned`].
    Refused,
    /// A method could not find out: nobody's fault but ours.
    Faulted,
    /// The connection closed after keys were offered, however many, and nobody was let in.
    Abandoned,
}

/// A step that may refuse: ip-time-ban, deny-username. All gates are asked before any method,
/// wherever in the chain they stand, and a gate that cannot find out refuses.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Whether somebody may come in. `user` is `None` at accept, before a byte was read; a gate that
    /// judges names admits then.
    async fn admit(&self, origin: &Origin, user: Option<&UserName>, now: SystemTime) -> Result<(), Denial>;

    /// Learns how a try went on that this gate admitted. A try that another gate refused is told as
    /// [`End::Refused`]; one that this gate refused is not told: a banned address does not lengthen its
    /// own ban.
    async fn settle(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        user: Option<&UserName>,
        end: End,
        now: SystemTime,
    );
}
