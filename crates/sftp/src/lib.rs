//! The SSH door: an SFTP server of our own on russh.
//!
//! - [`wire`]: SFTP version 3 as bytes, without I/O.
//! - [`SftpDoor`]: what a listener hands its connections to.
//! - [`HostKeys`]: made at the first start, refused where others can read them.
//!
//! Invariants: knows files by `portreeve_session` alone; whoever is in was let in by its chain; nothing
//! here waits for the network while it could read from it; what a client may make us hold is bounded.

mod options;
mod server;
pub mod wire;

pub use options::{CipherName, SftpOptions};
pub use server::{HostKeyError, HostKeys, SftpDoor, serve};
