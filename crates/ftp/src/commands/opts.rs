//! OPTS (RFC 2389, section 4): UTF8, MLST's facts, HASH's algorithm.

use super::{Algorithm, Answer, say};
use crate::{control::Client, wire::Facts};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let mut words = argument.splitn(2, |byte| *byte == b' ');
    let (option, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match option.to_ascii_uppercase().as_slice() {
        b"UTF8" | b"UTF-8" => match value.to_ascii_uppercase().as_slice() {
            b"ON" | b"" => say(200, "names are UTF-8, always"),
            _ => say(504, "names are UTF-8, always"),
        },
        b"MLST" => {
            client.facts = Facts::choose(value);
            say(200, client.facts.chosen())
        }
        b"HASH" if value.is_empty() => say(200, client.algorithm.name()),
        b"HASH" => match Algorithm::of(value) {
            Some(algorithm) => {
                client.algorithm = algorithm;
                say(200, algorithm.name())
            }
            None => say(504, "that digest is not known; FEAT lists them"),
        },
        b"" => say(501, "OPTS wants an option"),
        _ => say(501, "there are OPTS UTF8, OPTS MLST and OPTS HASH"),
    }
}
