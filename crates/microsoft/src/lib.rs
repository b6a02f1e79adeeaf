//! Microsoft's services over the wire: Entra tokens, Graph, the CONNECT proxy on the way there.
//!
//! Invariants: nothing here knows files or people; a secret, a token, an upload URL or a delta link stands in no
//! error, log line or `Debug` text; every wait, retry, body and map has a bound; requests to one mailbox stay
//! within one budget, whoever makes them.

pub mod credential;
pub mod graph;
pub mod national;
pub mod net;
mod patience;
pub mod probe;
pub mod registry;
pub mod token;
pub mod vault;

pub use credential::Credential;
pub use graph::{
    BatchAnswer, BatchItem, Download, Graph, GraphError, GraphFault, GraphLimits, GraphMailbox, PageOf,
    Pages, UploadSource, segment,
};
pub use national::CloudName;
pub use net::{Net, NetError, NetOptions};
pub use registry::{App, Cloud, Usage};
pub use token::{AccessToken, SupportIds, TokenError, TokenFault, TokenSource};
pub use vault::{MemoryVault, Vault, VaultError};

#[cfg(test)]
mod tests;
