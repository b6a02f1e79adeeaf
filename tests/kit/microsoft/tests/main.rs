//! That the stand-in is as nasty as it should be: every part asked over real TLS by a real client.

mod access;
mod client;
mod delta;
mod faults;
mod folders;
mod mail;
mod proxy;
mod tokens;
mod uploads;
mod writing;
