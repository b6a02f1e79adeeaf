//! A mailbox in Exchange Online as a [`MailStore`](crate::MailStore), by Microsoft Graph.
#![allow(dead_code, reason = "the store over it follows")]

mod index;
mod options;
mod tree;
mod wire;

pub use options::{Addresses, ExchangeOptions, ExchangeSecrets};
