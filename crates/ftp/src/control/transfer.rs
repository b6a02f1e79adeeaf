//! What goes on beside the control connection: the wait for a data connection, and the transfer.
//!
//! Invariants: the control connection is listened to all the time, and what may not wait (ABOR, STAT,
//! NOOP) is answered at once; everything else keeps its order. A transfer runs in this very task: no hop
//! for any block.

use std::{future::Future, pin::pin, time::Duration};

use portreeve_session::{FsError, FsErrorKind};
use tokio::time::timeout;

use super::{Client, Protection, why};
use crate::{
    commands::Step,
    data::{Broken, Channel, DataCx, DataStream, Pace, Progress, Text, Unprotected},
    wire::{self, Line, Reply},
};

/// Lines that may wait for the end of a transfer, and their bytes.
const WAITING: (usize, usize) = (1024, 64 << 10);
/// How long a storage may take to write what had come when a transfer was cut.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// How something beside the control connection ended.
pub(crate) enum Beside<T> {
    /// By itself.
    Done(T),
    /// `ABOR` came.
    Aborted,
    /// The session was ended.
    Over,
    /// The control connection broke.
    Lost,
    /// Too many commands came meanwhile.
    Flooded,
}

impl Client {
    /// Runs `job` and listens to the control connection meanwhile. `progress` is what `STAT` tells.
    pub(crate) async fn beside<T>(
        &mut self,
        progress: Option<&Progress>,
        job: impl Future<Output = T>,
    ) -> Beside<T> {
        let mut job = pin!(job);
        let ended = self.session().map(|session| session.ended().clone());
        let over = async {
            match &ended {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let mut over = pin!(over);
        loop {
            let line = tokio::select! {
                biased;
                done = &mut job => return Beside::Done(done),
                () = &mut over => return Beside::Over,
                line = self.talk.line() => line,
            };
            let Ok(line) = line else { return Beside::Lost };
            let verb = match &line {
                Line::Whole(words) => wire::parse(words.clone()).ok(),
                Line::TooLong => None,
            };
            let urgent = verb
                .as_ref()
                .map(|request| (request.verb.as_str(), request.argument.is_empty()));
            let reply = match urgent {
                Some(("ABOR", _)) => return Beside::Aborted,
                Some(("NOOP", _)) => Reply::new(200, "a transfer is under way"),
                Some(("STAT", true)) => {
                    let moved = progress.map_or(0, Progress::bytes);
                    Reply::new(213, format!("a transfer is under way: {moved} bytes so far"))
                }
                // Whoever does not wait for replies at all would keep ABOR, and the end, from being heard.
                _ if self.is_flooded() => return Beside::Flooded,
                _ => {
                    self.waiting.push_back(line);
                    continue;
                }
            };
            if self.talk.say(&reply).await.is_err() {
                return Beside::Lost;
            }
        }
    }

    fn is_flooded(&self) -> bool {
        let bytes = self.waiting.iter().map(|line| match line {
            Line::Whole(words) => words.len(),
            Line::TooLong => 0,
        });
        self.waiting.len() >= WAITING.0 || bytes.sum::<usize>() >= WAITING.1
    }

    /// Waits for the data connection that PASV, EPSV, PORT or EPRT prepared.
    ///
    /// # Errors
    /// The step to take instead: there is none, TLS is missing, or it does not come.
    pub(crate) async fn open_data(&mut self) -> Result<Channel, Step> {
        self.data_allowed()?;
        let Some(way) = self.way.take() else {
            return Err(Reply::new(425, "no data connection was prepared: send EPSV or PASV first").into());
        };
        let cx = self.data_cx();
        match self.beside(None, way.connect(&cx)).await {
            Beside::Done(Ok(channel)) => Ok(channel),
            Beside::Done(Err(unopened)) => Err(Reply::new(425, unopened.to_string()).into()),
            other => {
                let cut = Cut::of(&other);
                Err(self.tell(cut).await)
            }
        }
    }

    /// Whether data connections as the client set them are allowed here: with TLS, or where the listener
    /// leaves that to clients. Asked when one is prepared and again when it is used.
    ///
    /// # Errors
    /// 521 (RFC 4217, section 9).
    pub(crate) fn data_allowed(&self) -> Result<(), Reply> {
        if self.door.needs_tls() && self.protection != Protection::Private {
            self.turned_away("a data connection without TLS was asked for");
            return Err(Reply::new(
                521,
                "data connections need TLS here: send PBSZ 0 and PROT P first",
            ));
        }
        Ok(())
    }

    /// Records what was refused by the rules of this listener.
    pub(crate) fn turned_away(&self, why: &str) {
        match self.session() {
            Some(session) => session.turned_away(why),
            None => self.connection.turned_away(why),
        }
    }

    fn data_cx(&self) -> DataCx {
        let session = self.session().cloned();
        DataCx {
            peer: self.peer().ip(),
            local: self.local,
            patience: self.door.options.data_timeout.0,
            guide: std::sync::Arc::clone(&self.guide),
            stranger: Box::new(move |address| {
                metrics::counter!("portreeve_ftp_strangers_total").increment(1);
                if let Some(session) = &session {
                    session.turned_away(&format!(
                        "a data connection came from {address}, which is not the client"
                    ));
                }
            }),
        }
    }

    /// Puts TLS on a data connection, bound to the session of the control connection as far as the
    /// options ask for it.
    ///
    /// # Errors
    /// What came in between.
    pub(crate) async fn protect(&mut self, channel: Channel, progress: &Progress) -> Result<DataStream, Cut> {
        let config = match (self.protection, &self.binding) {
            (Protection::Private, Some(binding)) => Some(binding.data()),
            (Protection::Private, None) | (Protection::Clear, _) => None,
        };
        let (reuse, patience) = (self.door.reuse(), self.door.options.data_timeout.0);
        let job = channel.protect(config, reuse, patience);
        match self.beside(Some(progress), job).await {
            Beside::Done(Ok(stream)) => Ok(stream),
            Beside::Done(Err(why)) => {
                let (code, kind) = match &why {
                    Unprotected::NotReused => (522, FsErrorKind::Refused),
                    Unprotected::Failed(_) | Unprotected::TimedOut => (425, FsErrorKind::Cancelled),
                };
                let error = FsError::new(kind).context(why.to_string());
                Err(Cut::by(error, How::Say(code)))
            }
            other => Err(Cut::of(&other)),
        }
    }

    /// Runs a pump beside the control connection.
    ///
    /// # Errors
    /// What came in between.
    pub(crate) async fn pump<T>(
        &mut self,
        progress: &Progress,
        job: impl Future<Output = Result<T, Broken>>,
    ) -> Result<T, Cut> {
        match self.beside(Some(progress), job).await {
            Beside::Done(Ok(done)) => Ok(done),
            Beside::Done(Err(why)) => Err(Cut::by(why.error(), How::Say(code(&why)))),
            other => Err(Cut::of(&other)),
        }
    }

    /// Runs the pump of an upload. What had come is written before what came in between is answered (V2).
    ///
    /// # Errors
    /// What came in between.
    pub(crate) async fn pump_in<T>(
        &mut self,
        progress: &Progress,
        job: impl Future<Output = Result<T, Broken>>,
    ) -> Result<T, Cut> {
        let mut job = pin!(job);
        let pumped = self.pump(progress, job.as_mut()).await;
        if pumped.as_ref().is_err_and(Cut::is_from_beside) {
            progress.stop();
            let _ = timeout(LAST_WRITE, job).await;
        }
        pumped
    }

    /// Tells the client what cut its transfer. Only after that was recorded.
    pub(crate) async fn tell(&mut self, cut: Cut) -> Step {
        let mut text = cut.error.message().to_owned();
        if cut.kept > 0 {
            text.push_str(&format!("; {0} bytes are kept, go on with REST {0}", cut.kept));
        }
        match cut.how {
            How::Say(code) => Reply::new(code, text).into(),
            // First for the transfer, then for the command itself (RFC 959, section 4.1.3).
            How::Aborted => match self.talk.say(&Reply::new(426, text)).await {
                Ok(()) => Reply::new(226, "the transfer was aborted").into(),
                Err(_) => Step::Gone,
            },
            How::Over => match self.session() {
                Some(session) => Step::Leave(Reply::new(421, why(session))),
                None => Step::Gone,
            },
            How::Lost => Step::Gone,
            How::Flooded => Step::Leave(Reply::new(421, format!("{text}; closing"))),
        }
    }

    /// What limits the time of a transfer.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            stall: self.door.options.stall_timeout.0,
            transfer: self.door.options.transfer_timeout.0,
        }
    }

    /// What becomes of bytes on their way.
    pub(crate) fn text(&self) -> Text {
        if self.door.converts() && self.kind == super::Type::Ascii {
            Text::Convert
        } else {
            Text::AsIs
        }
    }
}

/// What cut a transfer: for its record, and for its client.
pub(crate) struct Cut {
    pub(crate) error: FsError,
    how: How,
    kept: u64,
}

enum How {
    /// With this code.
    Say(u16),
    Aborted,
    Over,
    Lost,
    Flooded,
}

impl Cut {
    const fn by(error: FsError, how: How) -> Self {
        Self { error, how, kept: 0 }
    }

    /// What came in between, other than the end.
    pub(crate) fn of<T>(how: &Beside<T>) -> Self {
        let (text, how) = match how {
            Beside::Aborted => ("the client aborted the transfer", How::Aborted),
            Beside::Over => ("the session is over", How::Over),
            Beside::Flooded => ("too many commands came during a transfer", How::Flooded),
            Beside::Lost | Beside::Done(_) => ("the control connection broke", How::Lost),
        };
        Self::by(FsError::new(FsErrorKind::Cancelled).context(text), how)
    }

    /// Whether it came from elsewhere while the transfer itself could have gone on.
    const fn is_from_beside(&self) -> bool {
        matches!(self.how, How::Aborted | How::Over | How::Lost | How::Flooded)
    }

    /// Adds how much of an upload is kept.
    pub(crate) const fn keeping(mut self, bytes: u64) -> Self {
        self.kept = bytes;
        self
    }
}

/// The code for a transfer that broke.
fn code(why: &Broken) -> u16 {
    match why {
        Broken::Storage(error) => match super::reply(error).code {
            // What broke in its course is none of the "not there" codes.
            550 => 451,
            code => code,
        },
        Broken::Reset(_) | Broken::CutShort | Broken::Stalled | Broken::Stopped | Broken::TooLong => 426,
    }
}
