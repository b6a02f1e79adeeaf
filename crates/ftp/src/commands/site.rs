//! SITE (RFC 959, section 4.1.3): CHMOD, UTIME and HELP, and nothing else. Nothing here runs a program,
//! copies between users or tells who else is there.

use portreeve_session::{Attrs, Links};

use super::{Answer, Step, say};
use crate::{
    control::Client,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let (word, rest) = cut(argument);
    match word.to_ascii_uppercase().as_slice() {
        b"CHMOD" => chmod(client, rest).await,
        b"UTIME" => utime(client, rest).await,
        b"HELP" | b"" => Ok(Step::Say(
            Reply::new(214, "SITE commands:")
                .with(b"SITE CHMOD mode path".as_slice())
                .with(b"SITE UTIME YYYYMMDDHHMMSS path".as_slice())
                .with(b"SITE UTIME path accessed modified created UTC".as_slice())
                .with(b"SITE HELP".as_slice()),
        )),
        _ => say(504, "there are SITE CHMOD, SITE UTIME and SITE HELP"),
    }
}

/// The first word and what follows its space.
fn cut(argument: &[u8]) -> (&[u8], &[u8]) {
    match argument.iter().position(|byte| *byte == b' ') {
        Some(at) => (
            argument.get(..at).unwrap_or_default(),
            argument.get(at + 1..).unwrap_or_default(),
        ),
        None => (argument, b""),
    }
}

async fn chmod(client: &mut Client, argument: &[u8]) -> Answer {
    let (mode, name) = cut(argument);
    let octal = !mode.is_empty() && mode.len() <= 4 && mode.iter().all(|digit| (b'0'..=b'7').contains(digit));
    if !octal {
        return say(501, "SITE CHMOD wants permissions like 640 and a path");
    }
    let bits = mode
        .iter()
        .fold(0, |bits, digit| bits << 3 | u32::from(digit - b'0'));
    let path = client.path(name)?;
    let attrs = Attrs {
        mode: Some(bits),
        ..Attrs::default()
    };
    client.fs()?.set_attrs(&path, attrs, Links::Follow).await?;
    say(200, "done")
}

/// `time path`, or `path accessed modified created UTC` as some clients have it.
async fn utime(client: &mut Client, argument: &[u8]) -> Answer {
    let (first, rest) = cut(argument);
    let (accessed, modified, name) = match wire::time(first) {
        Some(time) if !rest.is_empty() => (None, time, rest),
        _ => match long_form(argument) {
            Some((accessed, modified, name)) => (Some(accessed), modified, name),
            None => return say(501, "SITE UTIME wants YYYYMMDDHHMMSS and a path"),
        },
    };
    let path = client.path(name)?;
    let attrs = Attrs {
        accessed,
        modified: Some(modified),
        ..Attrs::default()
    };
    client.fs()?.set_attrs(&path, attrs, Links::Follow).await?;
    say(200, "done")
}

type Times<'a> = (portreeve_model::Timestamp, portreeve_model::Timestamp, &'a [u8]);

fn long_form(argument: &[u8]) -> Option<Times<'_>> {
    let mut words = argument.rsplitn(5, |byte| *byte == b' ');
    let zone = words.next()?;
    let (_created, modified, accessed) = (
        wire::time(words.next()?)?,
        wire::time(words.next()?)?,
        wire::time(words.next()?)?,
    );
    let name = words.next()?;
    zone.eq_ignore_ascii_case(b"UTC")
        .then_some((accessed, modified, name))
}
