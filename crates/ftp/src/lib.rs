//! The FTPS door: an engine of our own (RFC 959 and what followed) on the choke point.
//!
//! ```text
//! accept ─► [implicit TLS] ─► control: lines ─► request ─► table: state, TLS, verb ─► commands ─► UserFs
//!                                                              └─► data: passive or active ─► TLS, bound to
//!                                                                  the control session ─► pumps
//! ```
//!
//! - [`wire`]: the codec, without I/O: lines, requests, replies, addresses, facts. Fuzzed.
//! - `control`: one control connection: its TLS, its state, its replies, its end.
//! - `commands`: one room for each command, headed by its RFC, and the table of them all.
//! - `tls`: how a data connection is bound to the session of its control connection.
//! - `data`: where data connections come from, and the pumps.
//!
//! Invariants: depends on `model` and `session` alone; a command that the table does not let through is
//! not run; no byte of a file passes before its data connection is what the options ask for; 226 is said
//! after the commit.

mod commands;
mod control;
mod data;
mod door;
mod options;
mod tls;
pub mod wire;

pub use data::{Direct, Guide};
pub use door::{FtpDoor, serve};
pub use options::{Ascii, ClientCertificates, CloseNotify, FtpOptions, PublicAddress, SessionReuse, TlsMode};
