//! RNTO (RFC 959, section 4.1.3): the new name; a file that has it is replaced at once, as rename(2) does.

use portreeve_session::Rename;

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let Some(from) = client.renaming.take() else {
        return say(503, "RNTO comes right after RNFR");
    };
    let to = client.path(argument)?;
    client.fs()?.rename(&from, &to, Rename::Replace).await?;
    say(250, "renamed")
}
