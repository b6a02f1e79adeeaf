//! USER (RFC 959, section 4.1.1): who wants in. Every name gets the same answer.

use portreeve_model::UserName;

use super::{Answer, say};
use crate::control::{Client, Who};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if client.session().is_some() {
        return say(503, "you are signed in; REIN begins anew");
    }
    let Ok(user) = UserName::from_wire(argument) else {
        return say(501, "that is no user name");
    };
    client.who = Who::Named(user);
    say(331, "now the password, with PASS")
}
