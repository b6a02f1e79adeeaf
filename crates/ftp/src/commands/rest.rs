//! REST (RFC 3659, section 5): where the next transfer goes on.

use super::{Answer, say};
use crate::{
    control::{Client, Type},
    wire,
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let Some(offset) = wire::number(argument) else {
        return say(501, "REST wants a number of bytes");
    };
    if offset > 0 && client.door.converts() && client.kind == Type::Ascii {
        return say(504, "no offset is true in TYPE A; use TYPE I");
    }
    client.restart = offset;
    say(350, format!("the next transfer goes on at byte {offset}"))
}
