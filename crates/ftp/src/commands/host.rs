//! HOST (RFC 7151): which of a server's names is meant. All of them are this one.

use super::{Answer, say};
use crate::control::{Client, Who};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if !matches!(client.who, Who::Nobody) {
        return say(503, "HOST comes before USER");
    }
    let host =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if argument.is_empty() || argument.len() > 255 || !argument.iter().all(host) {
        return say(501, "HOST wants a host name");
    }
    say(220, "it is served here")
}
