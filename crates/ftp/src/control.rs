//! One control connection, from its greeting to its end: reads lines, lets the table of commands judge
//! and run them, and says 421 where it has to end.

mod client;
mod errors;
mod talk;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::Arc;

use portreeve_model::UserName;
use portreeve_session::{Connection, Session, SignIn};
use tokio::{net::TcpStream, time::sleep_until};

pub(crate) use client::{Client, Protection, Type, Who};
pub(crate) use errors::reply;
pub(crate) use transfer::{Beside, Cut};

use crate::{
    FtpDoor, Guide, TlsMode,
    commands::{self, Step},
    tls::Binding,
    wire::{self, Line, Reply},
};
use talk::Lost;

/// Lines in a row that are no command, before the client is sent away.
const NONSENSE: u32 = 20;
/// Bytes of overlong lines, before the client is sent away.
const OVERLONG: u64 = 64 << 10;

/// Why a control connection ends.
enum End {
    /// Say this first.
    Say(Reply),
    /// Without a word.
    Silent(&'static str),
}

/// Serves one control connection until it ends.
pub(crate) async fn serve(
    door: Arc<FtpDoor>,
    stream: TcpStream,
    connection: Connection,
    guide: Arc<dyn Guide>,
) {
    let id = connection.id();
    let mut client = Client::new(door, stream, connection, guide);
    let end = client.serve().await;
    match end {
        End::Say(last) => {
            let _ = client.talk.say(&last).await;
            tracing::debug!(connection = %id, code = last.code, "closed");
        }
        End::Silent(why) => tracing::debug!(connection = %id, why, "closed"),
    }
    // Whoever was signed in is out before the goodbye is waited for.
    client.reset();
    let Client { talk, .. } = client;
    talk.close().await;
}

impl Client {
    async fn serve(&mut self) -> End {
        if self.door.options.tls == TlsMode::Implicit
            && let Err(end) = self.begin_tls().await
        {
            return end;
        }
        if self.talk.say(&self.greeting()).await.is_err() {
            return End::Silent("the client does not read");
        }
        loop {
            let line = match self.hear().await {
                Ok(line) => line,
                Err(end) => return end,
            };
            if let Some(end) = self.obey(line).await {
                return end;
            }
        }
    }

    /// The next line, unless the connection has to end first.
    async fn hear(&mut self) -> Result<Line, End> {
        let draining = self.connection.draining().clone();
        let (ended, deadline) = (
            self.session().map(|session| session.ended().clone()),
            self.deadline,
        );
        if draining.is_cancelled() {
            return Err(self.stopping());
        }
        if ended
            .as_ref()
            .is_some_and(tokio_util::sync::CancellationToken::is_cancelled)
        {
            return Err(End::Say(self.over()));
        }
        if let Some(line) = self.waiting.pop_front() {
            return Ok(line);
        }
        let over = async {
            match &ended {
                Some(ended) => ended.cancelled().await,
                None => sleep_until(deadline).await,
            }
        };
        tokio::select! {
            biased;
            () = draining.cancelled() => Err(self.stopping()),
            () = over => Err(End::Say(self.over())),
            line = self.talk.line() => line.map_err(|lost| match lost {
                Lost::Closed => End::Silent("the client went"),
                Lost::UnaskedTls => End::Silent("TLS without AUTH TLS: the client takes this listener for an implicit one"),
            }),
        }
    }

    /// One line, from its words to its reply.
    async fn obey(&mut self, line: Line) -> Option<End> {
        let request = match line {
            Line::Whole(line) => wire::parse(line).ok(),
            Line::TooLong => {
                let reply = Reply::new(500, "the line is too long: 8192 bytes are possible");
                return self.scold(&reply).await;
            }
        };
        let Some(request) = request else {
            return self.scold(&Reply::new(500, "that is no command")).await;
        };
        let verb = request.verb.as_str();
        if wire::is_http(verb) {
            // A browser that was sent here by somebody else's page: not a word, lest it be shown there.
            self.connection.turned_away("an HTTP request came");
            return Some(End::Silent("HTTP"));
        }
        let Some(command) = commands::find(verb) else {
            return self
                .scold(&Reply::new(500, "no such command; HELP lists them"))
                .await;
        };
        self.nonsense = 0;
        let step = match self.judge(command) {
            Ok(()) => self.run(command, &request.argument).await,
            Err(refusal) => self.refuse(command, &request.argument, refusal).await,
        };
        match step {
            Step::Say(reply) => match self.talk.say(&reply).await {
                Ok(()) => None,
                Err(_) => Some(End::Silent("the client does not read")),
            },
            Step::StartTls(reply) => {
                if self.talk.say(&reply).await.is_err() {
                    return Some(End::Silent("the client does not read"));
                }
                self.reset();
                // What came during a transfer in clear text counts as little as what came after AUTH.
                self.waiting.clear();
                self.begin_tls().await.err()
            }
            Step::Leave(reply) => Some(End::Say(reply)),
            Step::Gone => Some(End::Silent("the client went")),
        }
    }

    /// Whether the table lets a command through in this state.
    fn judge(&self, command: &commands::Command) -> Result<(), Reply> {
        if command.tls && self.door.needs_tls() && !self.talk.has_tls() {
            return Err(Reply::new(534, "TLS is needed here: send AUTH TLS first"));
        }
        if command.signed_in && self.session().is_none() {
            return Err(client::not_signed_in());
        }
        Ok(())
    }

    /// A refusal by the table. Whoever would sign in in clear text is recorded.
    async fn refuse(&mut self, command: &commands::Command, argument: &[u8], refusal: Reply) -> Step {
        if let ("USER", Ok(user)) = (command.name, UserName::from_wire(argument))
            && self.session().is_none()
            && let SignIn::Closed = self
                .connection
                .refuse(&user, "the control connection has no TLS")
                .await
        {
            return Step::Leave(too_many());
        }
        Step::Say(refusal)
    }

    async fn run(&mut self, command: &commands::Command, argument: &[u8]) -> Step {
        // RNTO comes right after RNFR or not at all (RFC 959, section 4.1.3).
        let renaming = self.renaming.take();
        if command.name == "RNTO" {
            self.renaming = renaming;
        }
        if let Some(session) = self.session() {
            session.touch();
        }
        (command.run)(self, argument).await.unwrap_or_else(|step| step)
    }

    /// A reply to what is no command; after too many the client is sent away.
    async fn scold(&mut self, reply: &Reply) -> Option<End> {
        self.nonsense += 1;
        if self.nonsense >= NONSENSE || self.talk.discarded() > OVERLONG {
            return Some(End::Say(Reply::new(421, "too much that is no command; closing")));
        }
        match self.talk.say(reply).await {
            Ok(()) => None,
            Err(_) => Some(End::Silent("the client does not read")),
        }
    }

    /// The TLS handshake of the control connection, and what binds data connections to it.
    async fn begin_tls(&mut self) -> Result<(), End> {
        let binding = Binding::new(&self.door.tls, self.door.reuse());
        if let Err(error) = self.talk.start_tls(binding.control()).await {
            metrics::counter!("portreeve_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "the TLS handshake failed");
            return Err(End::Silent("the TLS handshake failed"));
        }
        self.binding = Some(binding);
        Ok(())
    }

    fn greeting(&self) -> Reply {
        texts(220, self.door.options.welcome.as_deref(), "Portreeve is ready.")
    }

    /// The end that a drain brings to whoever is between two commands.
    fn stopping(&self) -> End {
        if let Some(session) = self.session() {
            session.end("drained");
        }
        End::Say(Reply::new(421, "the server is shutting down; closing"))
    }

    /// Why the session, or the time for signing in, is over.
    fn over(&self) -> Reply {
        let Some(session) = self.session() else {
            return Reply::new(421, "not signed in within the time for that; closing");
        };
        Reply::new(421, why(session))
    }
}

/// A text of the administrator's as a reply; `last` ends one of several lines, or stands for none.
pub(crate) fn texts(code: u16, text: Option<&str>, last: &'static str) -> Reply {
    let mut lines = text.unwrap_or_default().lines();
    match lines.next() {
        None => Reply::new(code, last),
        Some(first) => lines
            .fold(Reply::new(code, first.to_owned()), Reply::with)
            .ending(last),
    }
}

/// Why a session is over, for its client.
pub(crate) fn why(session: &Session) -> String {
    match session.end_reason() {
        Some("idle") => "idle for too long; closing".to_owned(),
        Some("drained") => "the server is shutting down; closing".to_owned(),
        Some(reason) => format!("the session was ended: {reason}; closing"),
        None => "the session is over; closing".to_owned(),
    }
}

/// For whoever used up their tries.
pub(crate) fn too_many() -> Reply {
    Reply::new(421, "too many tries to sign in; closing")
}
