//! NLST (RFC 959, section 4.1.3): names alone, each as RETR takes it (RFC 1123, section 4.1.2.7).

use super::{
    Answer,
    listing::{self, Form},
};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    listing::send(client, argument, Form::Names).await
}
