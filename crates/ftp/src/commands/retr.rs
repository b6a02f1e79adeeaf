//! RETR (RFC 959, section 4.1.3): downloads a file, from where `REST` said.

use portreeve_session::{FsError, FsErrorKind};

use super::{Answer, Step, say, size::readable};
use crate::{
    control::Client,
    data::{self, Progress},
    wire::Reply,
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let from = client.take_restart()?;
    let path = client.path(argument)?;
    let channel = client.open_data().await?;
    let file = match readable(client, &path).await {
        Ok(file) => file,
        Err(refusal) => {
            channel.leave();
            return Err(refusal);
        }
    };
    let size = file.entry().size;
    if size.is_some_and(|size| from > size) {
        let text = format!("the file ends before byte {from}");
        file.fail(&FsError::new(FsErrorKind::OutOfRange).context(text.clone()));
        channel.leave();
        return say(554, text);
    }
    let opening = match size {
        Some(size) => format!("here come {} bytes", size - from),
        None => "here it comes".to_owned(),
    };
    if client.talk.say(&Reply::new(150, opening)).await.is_err() {
        file.fail(&FsError::new(FsErrorKind::Cancelled).context("the control connection broke"));
        return Err(Step::Gone);
    }
    let (progress, pace, text) = (Progress::default(), client.pace(), client.text());
    let sent = match client.protect(channel, &progress).await {
        Ok(stream) => {
            if let Some(reused) = stream.reused() {
                file.over_tls(reused);
            }
            let job = data::send(stream, &file, from, text, &pace, &progress);
            client.pump(&progress, job).await
        }
        Err(cut) => Err(cut),
    };
    // Dropping the file records what passed: before the answer.
    match sent {
        Ok(bytes) => {
            drop(file);
            say(226, format!("{bytes} bytes were sent"))
        }
        Err(cut) => {
            file.fail(&cut.error);
            drop(file);
            Ok(client.tell(cut).await)
        }
    }
}
