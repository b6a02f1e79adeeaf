//! The control socket: how the command line speaks with the running server.
//!
//! `data_dir/control.sock`, mode 0600. One JSON object a line in, one JSON object a line out:
//! `{"ok": …}` or `{"error": "…"}`. Who speaks must be the server's own user or root, whatever the
//! file's mode became.

mod accounts;
mod client;
mod desk;
mod explain;
mod request;
mod secrets;
mod server;

pub use accounts::AccountRequest;
pub use client::{Link, call, link};
pub use desk::{Desk, Seat};
pub use request::{Realm, Request};
pub use secrets::{SecretDesk, SecretRequest};
pub(crate) use server::{Steward, listen};

/// The socket's name within the data directory.
pub const SOCKET: &str = "control.sock";
/// Longest line in either direction.
pub(crate) const MAX_LINE: u64 = 16 << 20;

#[cfg(test)]
mod tests;
