//! Data connections: where they come from, what protects them, and the pumps that move bytes over them.
//!
//! ```text
//! Way (passive | active) ─► Channel ─► TLS, bound to the control session ─► DataStream ─► send | receive
//!                                                                                        └─► Sheet
//! ```
//!
//! Invariants: a way is good for one connection, and only for one from the client; what a pump holds is
//! bounded whatever the file and the client; an end that could be a cut is never taken for an end; all of
//! it may be dropped at any point.

mod channel;
mod linger;
mod outcome;
mod ports;
mod receive;
mod send;
mod sheet;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod way;

#[cfg(test)]
use tests::rig;

pub(crate) use channel::{Channel, Unprotected};
pub(crate) use outcome::{Broken, Pace, Progress};
pub(crate) use ports::Ports;
pub(crate) use receive::receive;
pub(crate) use send::send;
pub(crate) use sheet::Sheet;
pub(crate) use stream::DataStream;
pub(crate) use text::Text;
pub(crate) use way::{Active, DataCx, Way};
pub use way::{Direct, Guide};
