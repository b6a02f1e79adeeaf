//! The choke point: admission, sign-in, grants, and the one file handle that a door can name.
//!
//! ```text
//! accept ─► Gatekeeper::knock ─► Connection::sign_in ─► Session ─► UserFs ─► Download / Upload
//! ```
//!
//! Every operation of every door passes [`UserFs`], and there through one function: audit ▸ guard ▸
//! quota and rate ▸ own pending uploads (V1) ▸ mounts ▸ backend. Nothing is audited without being
//! guarded, nor the reverse. This page is what doors import; they know neither backends nor methods.
//!
//! Invariants: depends on no door and no vendor of one; a [`Session`] exists only for a principal that
//! the chain minted; permits are values that return when they are dropped.

mod admission;
mod allowance;
pub mod audit;
mod carried_through;
mod changes;
mod choke;
mod connection;
mod damp;
mod deed;
mod digest;
mod gatekeeper;
mod knocks;
mod ledger;
mod listing;
mod live;
mod mandate;
mod opening;
mod options;
mod pending;
mod plan;
mod quota;
mod rate;
mod registry;
mod rules;
#[cfg(test)]
mod tests;
mod transfer;
mod upload;
mod userfs;
mod world;

pub use connection::{Connection, SignIn};
pub use gatekeeper::{Gatekeeper, TurnedAway};
pub use listing::Listing;
pub use live::Session;
pub use options::{
    AuditMode, AuditOptions, DigestKind, Effect, GroupOptions, LimitsOptions, MountLimits, MountOptions,
    Partials, RuleOptions, SinkOptions, VerbWords,
};
pub use plan::{Explained, Grant, GroupPlan, MountPlan, Plan, PlanError};
pub use portreeve_auth::{Audience, Credential, CredentialKind, Prompt, PublicKey};
pub use portreeve_vfs::{
    Attrs, Cursor, Entry, FileKind, FsError, FsErrorKind, FsResult, Links, OpenWrite, Partial, Removal,
    Rename, Retry, Space, WriteMode,
};
pub use quota::{MemoryQuota, QuotaBook};
pub use registry::SessionInfo;
pub use transfer::Download;
pub use upload::Upload;
pub use userfs::UserFs;
pub use world::{Changes, World};
