//! The local disk as a storage, confined to its root by the kernel.
//!
//! - [`root`](self): every look-up is one `openat2` beneath the root's descriptor; nothing is ever
//!   decided on a string.
//! - Uploads are written to a draft beside their target and become visible by one rename; a draft that
//!   nobody holds is the kept partial of its owner ([`Disk::sweep`] clears away the dead ones).
//! - Calls run where they may wait: metadata of local file systems in place, everything that can hang on
//!   the blocking pool.
//!
//! Knows no protocol, no person but as the owner of a partial, no policy but its [`Options`].

mod attributes;
mod begin;
mod bytes_copy;
mod disk;
mod draft;
mod durable;
mod error;
mod finish;
mod hop;
mod label;
mod listing;
mod names;
mod options;
mod pace;
mod read;
mod root;
mod stat;
mod storage;
mod sweep;
mod undo;
mod upload;

pub use disk::Disk;
pub use options::{ModeText, OpenError, Options, Symlinks};
pub use sweep::Swept;

#[cfg(test)]
mod tests;
