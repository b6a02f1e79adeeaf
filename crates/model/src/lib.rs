//! The vocabulary of Portreeve: what every crate means by a path, a verb, a name, an origin, a
//! secret and an event.
//!
//! Invariants: no I/O, no async, no knowledge of a protocol, a storage or a sign-in method. A type
//! lives here when two crates need it; every one is checked when it is made ("parse, don't
//! validate") and can be trusted afterwards.

mod event;
mod id;
mod names;
pub mod options;
mod origin;
mod path;
mod secret;
mod time;
mod verb;

pub use event::{Act, Event, Item, Outcome, TrailStep, Transfer};
pub use id::{ConnectionId, SessionId};
pub use names::{GroupName, NameError, RoleName, UserName};
pub use origin::{Door, Origin};
pub use path::{Name, PathError, VPath};
pub use secret::Secret;
pub use time::Timestamp;
pub use verb::{UnknownVerb, Verb, VerbSet};
