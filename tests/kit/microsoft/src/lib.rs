//! A stand-in for Entra's token endpoint and Graph mail, nasty parts included: the one fake of the tests.
//!
//! It answers over real TLS (a throw-away CA), HTTP/1.1 and HTTP/2, refuses what Graph refuses, and has a switch for each
//! thing that can go wrong ([`Faults`]). Start it, fill a mailbox, point the product at it:
//! ```no_run
//! use portreeve_tests_microsoft::{Message, Standin};
//! let standin = Standin::start();
//! let mailbox = standin.mailbox("reports@example.test");
//! let id = mailbox.deliver("Inbox", Message::new("Report").file("a.csv", b"1,2\n"));
//! # let _ = (standin.authority(), standin.graph(), standin.ca_file(), id);
//! ```
//! Invariant: nothing here depends on the product; what it says of Graph is what Microsoft's documentation and the reports of
//! its users say.

mod content;
mod entra;
mod faults;
mod graph;
mod handle;
mod log;
mod mailbox;
mod message;
mod pki;
mod proxy;
mod sample;
mod server;
mod standin;
mod throttle;
mod wire;
mod world;

pub use content::{Content, Section};
pub use entra::keys::ClientCertificate;
pub use faults::{Fault, Faults, Hold};
pub use handle::MailboxHandle;
pub use log::{Call, Host};
pub use message::{Attachment, Found, Kind, Message, Sent};
pub use proxy::ConnectProxy;
pub use sample::SAMPLE;
pub use standin::Standin;
