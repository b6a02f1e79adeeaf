//! REST (RFC 3659, section 5): where the next transfer goes on.

use super::{Answer, say};
use crate::{control::Client, wire};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let Some(offset) = wire::number(argument) else {
        return say(501, "REST wants a number of bytes");
    };
    client.restart = offset;
    // Weighed now, and again when it is used: TYPE may come in between.
    client.restart = client.take_restart()?;
    say(350, format!("the next transfer goes on at byte {offset}"))
}
