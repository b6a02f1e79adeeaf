//! MLSD (RFC 3659, section 7): a directory with facts for machines.

use super::{
    Answer,
    listing::{self, Form},
};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    listing::send(client, argument, Form::Facts).await
}
