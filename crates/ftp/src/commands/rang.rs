//! RANG (draft-bryan-ftp-range-08): the part of a file that the next HASH is about, both ends included.

use super::{Answer, say};
use crate::{control::Client, wire};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let mut words = argument.split(|byte| *byte == b' ');
    let range = (
        words.next().and_then(wire::number),
        words.next().and_then(wire::number),
        words.next(),
    );
    match range {
        // The draft's way of taking it back.
        (Some(1), Some(0), None) => {
            client.range = None;
            say(350, "the whole file")
        }
        (Some(first), Some(last), None) if first <= last => {
            client.range = Some((first, last));
            say(350, format!("from byte {first} to byte {last}"))
        }
        _ => say(501, "RANG wants the first and the last byte"),
    }
}
