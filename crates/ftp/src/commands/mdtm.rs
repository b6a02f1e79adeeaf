//! MDTM (RFC 3659, section 3): when a file was changed last, in UTC.

use super::{Answer, Step, say};
use crate::{
    control::Client,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    let entry = super::size::seen(client, &path).await?;
    let Some(modified) = entry.modified else {
        return say(550, "the storage knows no such time");
    };
    let mut text = Vec::new();
    wire::append_time(&mut text, modified);
    Ok(Step::Say(Reply::bytes(213, text)))
}
