//! AVBL (draft-peterson-streamlined-ftp-command-extensions-10, section 4): bytes that may still be stored.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = if argument.is_empty() {
        client.cwd.clone()
    } else {
        client.path(argument)?
    };
    let space = client.fs()?.space(&path).await?;
    say(213, space.available.to_string())
}
