//! STAT (RFC 959, section 4.1.3): how the connection is, or a listing over it.

use super::{
    Answer, Step,
    listing::{Form, Lister},
    say,
};
use crate::{
    control::{Client, Protection, Type},
    wire::Reply,
};

/// A listing over the control connection ends here; MLSD has no end.
const MOST: usize = 1 << 20;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if argument.is_empty() {
        return Ok(Step::Say(of_connection(client)));
    }
    if client.session().is_none() {
        return say(530, "sign in first, with USER and PASS");
    }
    let mut lister = Lister::open(client, argument, Form::Long).await?;
    let mut lines = Vec::new();
    while lister.page(&mut lines).await? {
        if lines.len() > MOST {
            lines.extend_from_slice(b"(there is more: use MLSD)\r\n");
            break;
        }
    }
    let reply = lines
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .fold(Reply::new(213, "Listing:"), |reply, line| {
            reply.with(line.to_vec())
        });
    Ok(Step::Say(reply))
}

fn of_connection(client: &Client) -> Reply {
    let who = client.session().map_or_else(
        || "not signed in".to_owned(),
        |session| format!("signed in as {}", session.user()),
    );
    let kind = match client.kind {
        Type::Ascii => "A",
        Type::Image => "I",
    };
    let protection = match client.protection {
        Protection::Clear => "C",
        Protection::Private => "P",
    };
    Reply::new(211, "Portreeve")
        .with(format!("connected from {}", client.peer()).into_bytes())
        .with(who.into_bytes())
        .with(format!("TLS: {}", client.talk.tls_text()).into_bytes())
        .with(format!("TYPE {kind}, STRU F, MODE S, PROT {protection}").into_bytes())
}
