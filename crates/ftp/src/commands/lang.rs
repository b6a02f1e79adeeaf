//! LANG (RFC 2640, section 4.1): replies are in English.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, argument: &[u8]) -> Answer {
    let tag = argument.to_ascii_lowercase();
    if tag.is_empty() || tag == b"en" || tag.starts_with(b"en-") {
        say(200, "replies are in English")
    } else {
        say(504, "there is nothing but English: LANG EN")
    }
}
