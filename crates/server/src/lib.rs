//! Portreeve: the server and its command line.
//!
//! ```text
//! options ─► check ─► wiring ─► service (supervisor, control, ops, tls) ◄─ cli
//! ```
//!
//! This crate knows everybody: it assembles the options of all crates, builds what they describe, and
//! runs it. Nothing here decides about a person or a file; that is the choke point's business.

pub mod check;
pub mod cli;
pub mod control;
pub mod demo;
pub mod ops;
pub mod options;
mod secrets;
pub mod service;
pub mod supervisor;
pub mod tls;
mod wiring;
