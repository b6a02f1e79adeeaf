//! The test kit: starts the real server, drives it with real clients, reads its audit log.
//!
//! Every helper panics with what it did and what came back: a panic is how a test fails. Nothing here
//! sleeps for a fixed time; things are awaited by polling an observable fact under a deadline.

pub mod audit;
pub mod clients;
pub mod config;
pub mod curl;
pub mod data;
pub mod dovecot;
pub mod ftp;
pub mod ftp_clients;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod server;
pub mod sftp;
pub mod skip;
pub mod tmpfs;

pub use audit::Record;
pub use config::{Config, Person};
pub use curl::{Curl, Reply};
pub use dovecot::{Dovecot, Tokens};
pub use ftp::Ftp;
pub use ftp_clients::Ftps;
pub use process::{Done, Running};
pub use proxy::{Cut, Proxy};
pub use server::{Doors, Portreeve};
pub use sftp::Sftp;
pub use skip::{full, skip};
pub use tmpfs::Tmpfs;
