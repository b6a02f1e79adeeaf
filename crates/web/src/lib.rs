//! The HTTPS door: pages without scripts, the file API, sign-in by cookie or Basic.
//!
//! ```text
//! TLS stream ─► serve ─► answer: host, source, limits ─► routes ─► SignedIn ─► UserFs
//!                          └──────────── headers on every answer ◄──────────────┘
//! ```
//!
//! Invariants: files are reached through a [`portreeve_session::Session`] alone, and a handler gets
//! one only by naming `SignedIn`; the checks of host and source come before anybody's credential is
//! looked at; every answer that this crate writes carries the headers of `shield`; what a client may
//! make the door hold is bounded.

mod answer;
mod api;
mod body;
mod credentials;
mod door;
mod etag;
mod link;
mod location;
mod options;
mod pages;
mod problem;
pub mod range;
mod routes;
mod serve;
mod shield;
mod signed_in;
mod site;
mod stamp;
mod transfer;
mod vault;

#[cfg(test)]
mod tests;

pub use door::WebDoor;
pub use options::{WebOptions, WebOptionsError};
pub use serve::serve;
