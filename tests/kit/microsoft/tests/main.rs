//! That the stand-in is as nasty as it should be: every part asked over real TLS by a real client.

mod client;
mod mail;
