//! The storage contract of Portreeve: what every backend offers and every door consumes.
//!
//! - [`FileSystem`], [`ReadFile`], [`WriteFile`], [`Listing`]: the contract, shaped for random access
//!   (SFTP), streams (FTPS), ranges (HTTPS) and slow, paged, throttled stores (mailboxes) alike.
//! - [`OpCx`], [`Note`]: what travels with an operation, and what its backend says of it to who records it.
//! - [`Capabilities`]: what a backend can do; [`Checked`] refuses the rest before it is asked.
//! - [`Mounts`]: several backends as one tree. [`Subtree`]: one directory of a backend as a whole one.
//! - [`Spool`], [`Cache`], [`Patience`]: random access, remembered look-ups, time limits and repeated
//!   tries for stores that are far away.
//! - [`Faulty`]: fails the n-th call or lets it wait, for tests.
//! - [`Memory`]: the reference backend, for tests.
//! - `conformance` (feature `conformance`): the suite that every backend passes.
//!
//! Invariants: knows no protocol, no person, no policy. Errors are neutral kinds; each door has one
//! exhaustive match to its own codes.

mod cache;
mod capabilities;
mod checked;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contained;
mod contract;
mod entry;
mod error;
mod faulty;
mod memory;
mod mounts;
mod note;
mod patience;
mod refusal;
mod remap;
mod spool;
mod subtree;
#[cfg(test)]
mod testing;

pub use cache::{Cache, CacheLimits};
pub use capabilities::{Capabilities, Names, Ranges, WriteAccess};
pub use checked::Checked;
pub use contained::contained;
pub use contract::{FileSystem, Listing, OpCx, Owner, ReadFile, WriteFile};
pub use entry::{
    Attrs, Cursor, Entry, FileKind, Links, OpenWrite, Partial, Removal, Rename, Space, WriteMode,
};
pub use error::{FsError, FsErrorKind, FsResult, Retry};
pub use faulty::{Call, Fault, Faulty, Hold};
pub use memory::Memory;
pub use mounts::{MountTwice, Mounts};
pub use note::Note;
pub use patience::{Patience, PatienceLimits};
pub use spool::{Spool, SpoolArea, SpoolFile};
pub use subtree::Subtree;
