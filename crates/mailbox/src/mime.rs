//! Messages as bytes: which parts they have, what those hold, how one is taken out, how a draft is
//! made.
//!
//! Headers (encoded words, parameters of RFC 2231, charsets, dates, addresses) are read by
//! `mail-parser`. The tree of parts is split here ([`split`]): that crate decodes text into UTF-8,
//! where an attachment must stay the bytes it is; it recurses into attached messages without a
//! limit; and its work grows with parts × size when a stranger wants it to.
//!
//! Invariants: time is linear in the size of a message, depth and number of parts are bounded,
//! offsets are those of the file.

mod compose;
mod cut;
mod decode;
mod described;
mod headers;
mod inspect;
mod split;

pub(crate) use compose::{Envelope, compose};
pub(crate) use cut::cut;
pub(crate) use decode::{Decoder, Encoding, decode};
pub(crate) use described::{Described, describe};
pub(crate) use headers::summary;
pub use inspect::{Inspected, Located, inspect};
pub(crate) use inspect::{Wanted, inspect_for, text};
pub(crate) use split::{MAX_DEPTH, MAX_PARTS, Within, within};
