//! LIST (RFC 959, section 4.1.3): lines as `ls -l` writes them.

use super::{
    Answer,
    listing::{self, Form},
};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    listing::send(client, argument, Form::Long).await
}
