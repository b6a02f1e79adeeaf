//! FTP on the wire (RFC 959 and what followed), without I/O.
//!
//! Bytes of the control connection go in ([`Lines`]); requests come out ([`parse`]); their arguments are
//! parsed by one function for each form. Replies and lines of listings are appended to a `Vec<u8>`.
//!
//! Invariants: no input panics; a line costs at most [`MAX_LINE`] bytes of memory, however long it is; no
//! name, no text and no path can split a reply or a line of a listing.

mod address;
mod facts;
mod line;
mod long;
mod name;
mod number;
mod pattern;
mod reply;
mod request;
mod time;

pub use address::{Epsv, NotAnAddress, eprt, epsv, epsv_text, pasv_text, port};
pub use facts::{Facts, Told, ToldKind, append_facts};
pub use line::{Line, Lines, MAX_LINE};
pub use long::append_long;
pub use name::{NotAPath, append_quoted, append_shown, path};
pub use number::number;
pub use pattern::{Pattern, split, without_options};
pub use reply::Reply;
pub use request::{NotARequest, Request, Verb, is_http, parse};
pub use time::{append_time, time};
