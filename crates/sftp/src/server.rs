//! The SFTP server: from a stream to requests, and back.
//!
//! ```text
//! serve ─► Socket ─► russh ─► Client (callbacks) ─► Engine ─► UserFs
//!                      ▲                              │ late answers
//!                      └────────── driver ◄───────────┘
//! ```

mod algorithms;
mod auth;
mod channel;
mod claims;
mod client;
mod door;
mod engine;
mod errors;
mod flow;
mod handles;
mod host_keys;
mod pool;
mod queue;
mod requests;
mod socket;

pub use door::{SftpDoor, serve};
pub use host_keys::{HostKeyError, HostKeys};
