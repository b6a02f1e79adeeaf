//! STOR and APPE (RFC 959, section 4.1.3): uploads, from where `REST` said or at the end. 226 is said when
//! the file is visible, whole and durable.

use portreeve_model::{VPath, Verb};
use portreeve_session::{OpenWrite, Upload, WriteMode};

use super::{Answer, Step, say};
use crate::{
    control::Client,
    data::{self, Progress},
    wire::Reply,
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let (at, path) = (client.take_restart()?, client.path(argument)?);
    let mode = match at {
        0 => WriteMode::Replace,
        at => WriteMode::Resume { at },
    };
    receive(client, &path, mode, None).await
}

/// APPE: at the end of what is there, or of what its person left unfinished there, where the client was
/// told of that. `REST` before it is not heeded: the end is where the end is.
pub(super) mod appe {
    use portreeve_session::WriteMode;

    use crate::{commands::Answer, control::Client};

    pub(in crate::commands) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
        client.restart = 0;
        let path = client.path(argument)?;
        super::receive(client, &path, WriteMode::Append { create: true }, None).await
    }
}

/// Drops what an upload that was cut left behind. To a client that only ever adds, it is nothing: whoever
/// keeps a log sends the line anew that was cut, and knows nothing of an overwrite that failed; torn bytes
/// would become part of the file. Whoever may neither list nor read goes on with it unseen. Whether the
/// client begins with the file itself.
async fn forget(client: &Client, path: &VPath) -> Result<bool, Step> {
    let fs = client.fs()?;
    let verbs = fs.verbs(path);
    if client.knows_of(path) || !(verbs.has(Verb::List) || verbs.has(Verb::Read)) {
        return Ok(false);
    }
    let Ok(Some(partial)) = fs.partial(path).await else {
        return Ok(true);
    };
    let how = OpenWrite::new(WriteMode::Resume { at: partial.size });
    fs.upload(path, how).await?.discard().await?;
    Ok(true)
}

/// The upload, and whether it is as yet no more than a copy of a file that is there: without a byte of
/// its own it is nothing to go on with.
async fn open(client: &Client, path: &VPath, how: OpenWrite) -> Result<(Upload, bool), Step> {
    let mut copy = false;
    if let WriteMode::Append { .. } = how.mode {
        copy = forget(client, path).await?;
    }
    Ok((client.fs()?.upload(path, how).await?, copy))
}

/// Takes one upload to its end. `name` is told where the server chose it (STOU).
pub(super) async fn receive(
    client: &mut Client,
    path: &VPath,
    mode: WriteMode,
    name: Option<String>,
) -> Answer {
    let announced = client.announced.take();
    let channel = client.open_data().await?;
    let mut how = OpenWrite::new(mode);
    how.size_hint = announced.map(|bytes| match mode {
        WriteMode::Resume { at } => at.saturating_add(bytes),
        _ => bytes,
    });
    let (upload, copy) = match open(client, path, how).await {
        Ok(opened) => opened,
        Err(step) => {
            channel.leave();
            return Err(step);
        }
    };
    let at = match mode {
        WriteMode::Resume { at } => Some(at),
        WriteMode::Append { .. } => None,
        WriteMode::Replace | WriteMode::CreateNew | WriteMode::Update { .. } => Some(0),
    };
    let opening = name
        .as_ref()
        .map_or_else(|| "go on".to_owned(), |name| format!("FILE: {name}"));
    if client.talk.say(&Reply::new(150, opening)).await.is_err() {
        return Err(Step::Gone);
    }
    let (progress, pace, text) = (Progress::default(), client.pace(), client.text());
    let end = client.door.options.close_notify;
    let received = match client.protect(channel, &progress).await {
        Ok(stream) => {
            if let Some(reused) = stream.reused() {
                upload.over_tls(reused);
            }
            let job = data::receive(stream, &upload, at, text, &pace, end, &progress);
            client.pump_in(&progress, job).await
        }
        Err(cut) => Err(cut),
    };
    match received {
        Ok(bytes) => {
            upload.commit().await?;
            let stored = match name {
                Some(name) => format!("{bytes} bytes were stored as {name}"),
                None => format!("{bytes} bytes were stored"),
            };
            say(226, stored)
        }
        Err(cut) if copy && progress.bytes() == 0 => {
            let _ = upload.fail(cut.error.clone()).await;
            Ok(client.tell(cut).await)
        }
        Err(cut) => {
            let kept = upload.keep(cut.error.clone()).await.unwrap_or(0);
            if kept > 0 {
                client.tell_of(path);
            }
            Ok(client.tell(cut.keeping(kept)).await)
        }
    }
}
