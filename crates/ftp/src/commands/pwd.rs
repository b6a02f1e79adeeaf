//! PWD (RFC 959, section 4.1.3 and appendix II): where one is.

use super::{Answer, Step};
use crate::{
    control::Client,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    let mut text = Vec::new();
    wire::append_quoted(&mut text, &client.cwd);
    text.extend_from_slice(b" is where you are");
    Ok(Step::Say(Reply::bytes(257, text)))
}
