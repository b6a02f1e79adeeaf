//! The program as a process: what systemd is told, certificates that are exchanged under it, and a chain
//! that differs from listener to listener.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod certificates;
mod chain;
mod notify;
mod server;
mod web;
