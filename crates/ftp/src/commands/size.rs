//! SIZE (RFC 3659, section 4). Of what the person left unfinished it is the length that is kept, where a
//! resume goes on.

use portreeve_model::VPath;
use portreeve_session::{Download, Entry, FsError, FsErrorKind, Links, Partial};

use super::{Answer, Step, say};
use crate::control::{Client, Type};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    if client.door.converts() && client.kind == Type::Ascii {
        return say(550, "no size is true in TYPE A; use TYPE I");
    }
    let entry = seen(client, &path).await?;
    match entry.size.filter(|_| entry.is_file()) {
        Some(size) => say(213, size.to_string()),
        None => say(550, "that is not a file with a size"),
    }
}

/// Opens a file for reading. Where an upload under its name was cut and SIZE told the client so, the name
/// means that upload to this client: it would take the head of the older file for the whole.
pub(super) async fn readable(client: &Client, path: &VPath) -> Result<Download, Step> {
    let fs = client.fs()?;
    let file = fs.download(path).await?;
    if !client.knows_of(path) {
        return Ok(file);
    }
    let Some(Partial { size, .. }) = fs.partial(path).await? else {
        return Ok(file);
    };
    let error = FsError::new(FsErrorKind::Incomplete).context(format!(
        "an upload of yours to this name was cut after {size} bytes: go on with REST {size} and STOR, or upload it anew"
    ));
    file.fail(&error);
    Err(error.into())
}

/// What is at a path as its person sees it: an unfinished upload of theirs before what is complete. The
/// client knows of it from then on.
pub(super) async fn seen(client: &mut Client, path: &VPath) -> Result<Entry, Step> {
    let fs = client.fs()?;
    if let (Some(name), Some(partial)) = (path.file_name(), fs.partial(path).await?) {
        client.tell_of(path);
        let mut entry = Entry::file(name, partial.size);
        entry.modified = Some(partial.modified);
        return Ok(entry);
    }
    Ok(fs.stat(path, Links::Follow).await?)
}
