//! One connection to a server: commands, their answers, the folder that is selected (RFC 3501 §2, §6).
//!
//! Invariants: one command at a time; a connection on which a command was begun and not ended is never used
//! again; the server is waited for under a deadline; what one command may bring is bounded.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use portreeve_vfs::FsResult;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::timeout,
};

use super::{
    answer::{Answer, Gathering},
    error::{ImapError, Kind},
    namespace::Home,
    wire::{Data, Framer, Response, Status, Value, Word, quoted},
};

/// How long a server may be silent while it owes an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a server may take nothing of what is sent.
const STALL: Duration = Duration::from_secs(60);
/// How long an open folder is taken for the one of its name: another client may have renamed it.
const SELECTED: Duration = Duration::from_secs(10);
/// Most responses beside the one that is waited for, where nothing was asked for.
const MAX_UNASKED: usize = 10_000;
/// Most of what a server says that it can do that is listened to.
const MAX_CAPABILITIES: usize = 200;
/// Longest response that is held apart from others that came with it: one that is kept does not keep these.
const APART: usize = 64 << 10;

/// A stream to a server.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A folder that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// Its name on the wire.
    pub(super) name: String,
    /// Whether it can be changed.
    pub(super) writable: bool,
    /// Whether messages can be marked as deleted for good, as far as the server tells.
    pub(super) deletes: bool,
    /// What its UIDs hang on.
    pub(super) validity: u32,
    /// The UID that the next message will have, where it is told.
    pub(super) next: Option<u32>,
    /// How many messages there were.
    pub(super) exists: u32,
    /// Highest modification sequence, where there are any (RFC 7162).
    pub(super) modseq: Option<u64>,
}

/// Bytes to send, in order.
#[async_trait]
pub(super) trait Source: Send {
    /// The next piece; none at the end.
    async fn next(&mut self) -> FsResult<Option<Bytes>>;
}

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    framer: Framer,
    count: u32,
    /// Whether a command is under way, or broke off.
    busy: bool,
    capabilities: BTreeSet<String>,
    selected: Option<Selected>,
    selected_at: Instant,
    trusts: Duration,
    used: Instant,
    /// Where the account's own folders are, once that was asked.
    pub(super) home: Option<Home>,
}

impl Connection {
    /// Over a stream; waits for the greeting.
    pub(super) async fn open(stream: Box<dyn Stream>) -> Result<Self, ImapError> {
        let mut new = Self {
            stream,
            buffer: BytesMut::new(),
            framer: Framer::default(),
            count: 0,
            busy: false,
            capabilities: BTreeSet::new(),
            selected: None,
            selected_at: Instant::now(),
            trusts: SELECTED,
            used: Instant::now(),
            home: None,
        };
        match new.response().await? {
            Response::Status(status) if status.word == Word::Ok => {
                new.learn(&status);
                Ok(new)
            }
            Response::Status(status) => Err(ImapError::new(
                Kind::Unreachable,
                format!("the mail server turned us away: {}", status.text),
            )),
            _ => Err(ImapError::new(Kind::Unreachable, "this is no IMAP server")),
        }
    }

    /// From now on a folder is opened anew for each command, as it is when commands take long.
    #[cfg(test)]
    pub(super) const fn trust_nothing(&mut self) {
        self.trusts = Duration::ZERO;
    }

    /// Whether it can take a command.
    pub(super) const fn usable(&self) -> bool {
        !self.busy
    }

    /// How long it has been at rest.
    pub(super) fn rested(&self) -> Duration {
        self.used.elapsed()
    }

    /// The folder that is open.
    pub(super) const fn selected(&self) -> Option<&Selected> {
        self.selected.as_ref()
    }

    /// Whether the server says that it can do this.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Runs a command that is one line.
    pub(super) async fn run(&mut self, line: &str) -> Result<Answer, ImapError> {
        let tag = self.begin(line).await?;
        self.answer(&tag, name_of(line)).await
    }

    /// Asks what the server can do, unless it has said so since `forget`.
    pub(super) async fn ask_capabilities(&mut self, forget: bool) -> Result<(), ImapError> {
        if forget {
            self.capabilities.clear();
        }
        if self.capabilities.is_empty() {
            self.run("CAPABILITY").await?;
        }
        Ok(())
    }

    /// Whether what the server can do has been said since it let us in.
    pub(super) fn knows_capabilities(&self) -> bool {
        self.capabilities.iter().any(|word| word.starts_with("IMAP4"))
    }

    /// What was said before signing in may not hold after it: only how to sign in is kept until then.
    pub(super) fn signing_in(&mut self) {
        let at_once = self.can("SASL-IR");
        self.capabilities.clear();
        if at_once {
            self.capabilities.insert("SASL-IR".to_owned());
        }
    }

    /// Authenticates: `first` is the initial response, `reply` answers each challenge that follows.
    /// Nothing of it is ever part of an error.
    pub(super) async fn authenticate(
        &mut self,
        mechanism: &str,
        first: &str,
        mut reply: impl FnMut(&[u8]) -> &'static str + Send,
    ) -> Result<Result<(), Status>, ImapError> {
        let at_once = self.can("SASL-IR");
        let line = format!(
            "AUTHENTICATE {mechanism}{}{}",
            if at_once { " " } else { "" },
            if at_once { first } else { "" }
        );
        let tag = self.begin(&line).await?;
        let mut sent = at_once;
        // A server may go on asking: it is not followed for ever.
        for _ in 0..8 {
            match self.response().await? {
                Response::Continue(challenge) => {
                    let text = if sent { reply(&challenge) } else { first };
                    sent = true;
                    self.send(&[text.as_bytes(), b"\r\n"]).await?;
                }
                Response::Data(data) => self.note(&data),
                Response::Status(status) if status.tag.as_deref() == Some(tag.as_bytes()) => {
                    self.busy = false;
                    self.learn(&status);
                    return Ok(if status.word == Word::Ok {
                        Ok(())
                    } else {
                        Err(status)
                    });
                }
                Response::Status(status) if status.word == Word::Bye => return Err(bye(&status)),
                Response::Status(_) => {}
            }
        }
        Err(ImapError::lost("the mail server asks without end"))
    }

    /// LOGIN, for servers that know nothing else.
    pub(super) async fn login(
        &mut self,
        user: &str,
        password: &str,
    ) -> Result<Result<(), Status>, ImapError> {
        self.count += 1;
        let tag = format!("A{}", self.count);
        self.busy = true;
        self.send(&[tag.as_bytes(), b" LOGIN"]).await?;
        for word in [user, password] {
            match quoted(word) {
                Some(word) => self.send(&[b" ", word.as_bytes()]).await?,
                None => {
                    let length = format!(" {{{}}}\r\n", word.len());
                    self.send(&[length.as_bytes()]).await?;
                    self.go_on(&tag, "LOGIN").await?;
                    self.send(&[word.as_bytes()]).await?;
                }
            }
        }
        self.send(&[b"\r\n"]).await?;
        match self.end(&tag).await? {
            (_, status) if status.word == Word::Ok => Ok(Ok(())),
            (_, status) => Ok(Err(status)),
        }
    }

    /// Opens a folder, unless it is open already in a way that serves; `afresh` opens it in any case, which
    /// tells its state.
    pub(super) async fn select(
        &mut self,
        name: &str,
        write: bool,
        afresh: bool,
    ) -> Result<&Selected, ImapError> {
        let serves = |open: &Selected| open.name == name && (open.writable || !write);
        let afresh = afresh || self.selected_at.elapsed() > self.trusts;
        if afresh || !self.selected.as_ref().is_some_and(serves) {
            let command = if write { "SELECT" } else { "EXAMINE" };
            let condstore = if self.can("CONDSTORE") { " (CONDSTORE)" } else { "" };
            self.selected = None;
            let answer = self.run(&format!("{command} {}{condstore}", folder(name)?)).await;
            self.selected = Some(opened(name, write, &answer?)?);
            self.selected_at = Instant::now();
        }
        self.selected
            .as_ref()
            .ok_or_else(|| ImapError::lost("no folder is open"))
    }

    /// APPEND (RFC 3501 §6.3.11): a message of exactly `size` bytes out of `source`. Where the source fails,
    /// the connection is given up, so that the server drops what it has of the message. Answers the UIDVALIDITY
    /// and UID it got, where the server says so (RFC 4315).
    pub(super) async fn append(
        &mut self,
        name: &str,
        flags: &str,
        date: Option<&str>,
        size: u64,
        source: &mut (dyn Source + Send),
    ) -> Result<Option<(u32, u32)>, AppendError> {
        let date = date
            .and_then(quoted)
            .map(|date| format!(" {date}"))
            .unwrap_or_default();
        let line = format!("APPEND {} ({flags}){date} {{{size}}}", folder(name)?);
        let tag = self.begin(&line).await?;
        self.go_on(&tag, "APPEND").await?;
        let mut left = size;
        while let Some(piece) = source.next().await.map_err(AppendError::Source)? {
            let length = piece.len() as u64;
            if length > left {
                return Err(ImapError::lost("an upload is longer than was said").into());
            }
            left -= length;
            self.send(&[&piece]).await?;
        }
        if left > 0 {
            return Err(ImapError::lost("an upload is shorter than was said").into());
        }
        self.send(&[b"\r\n"]).await?;
        let answer = self.answer(&tag, "APPEND").await?;
        let code = answer.code("APPENDUID").and_then(|code| code.split_once(' '));
        Ok(code.and_then(|(validity, uid)| Some((validity.parse().ok()?, uid.parse().ok()?))))
    }

    /// IDLE (RFC 2177): waits until something happens in the open folder, `otherwise` says that there is something
    /// else to do, or `patience` is over. Answers whether something happened. `patience` is shorter than the
    /// silence that a server is allowed.
    pub(super) async fn idle<T: Send + Sync>(
        &mut self,
        patience: Duration,
        otherwise: &mut watch::Receiver<T>,
    ) -> Result<bool, ImapError> {
        let tag = self.begin("IDLE").await?;
        self.go_on(&tag, "IDLE").await?;
        let wait = async {
            loop {
                match self.response().await? {
                    Response::Data(data) if is_news(&data) => return Ok(()),
                    Response::Status(status) if status.word == Word::Bye => return Err(bye(&status)),
                    _ => {}
                }
            }
        };
        // Nothing of a response is lost when waiting for it breaks off: it stays in the buffer.
        let happened = tokio::select! {
            result = wait => result.map(|()| true)?,
            _ = otherwise.changed() => false,
            () = tokio::time::sleep(patience) => false,
        };
        self.send(&[b"DONE\r\n"]).await?;
        let (news, status) = self.end(&tag).await?;
        if status.word != Word::Ok {
            return Err(ImapError::refused("IDLE", &status));
        }
        Ok(happened || news)
    }

    /// Leaves the open folder (RFC 3691), or forgets which it was where the server cannot.
    pub(super) async fn unselect(&mut self) -> Result<(), ImapError> {
        self.selected = None;
        if self.can("UNSELECT") {
            self.run("UNSELECT").await?;
        }
        Ok(())
    }

    async fn begin(&mut self, line: &str) -> Result<String, ImapError> {
        if self.busy {
            return Err(ImapError::lost("the connection is in the middle of something"));
        }
        self.count += 1;
        let tag = format!("A{}", self.count);
        self.busy = true;
        self.send(&[tag.as_bytes(), b" ", line.as_bytes(), b"\r\n"])
            .await?;
        Ok(tag)
    }

    /// Waits for the request to go on with a command.
    async fn go_on(&mut self, tag: &str, command: &str) -> Result<(), ImapError> {
        for _ in 0..MAX_UNASKED {
            match self.response().await? {
                Response::Continue(_) => return Ok(()),
                Response::Data(data) => self.note(&data),
                Response::Status(status) if status.tag.as_deref() == Some(tag.as_bytes()) => {
                    self.busy = false;
                    return Err(ImapError::refused(command, &status));
                }
                Response::Status(status) if status.word == Word::Bye => return Err(bye(&status)),
                Response::Status(_) => {}
            }
        }
        Err(unasked())
    }

    async fn answer(&mut self, tag: &str, command: &str) -> Result<Answer, ImapError> {
        let mut gathering = Gathering::default();
        loop {
            let line = self.line().await?;
            match gathering.read(&line)? {
                Some(Response::Data(one)) => {
                    self.note(&one);
                    gathering.keep(one);
                }
                Some(Response::Continue(_)) | None => {}
                Some(Response::Status(status)) => {
                    self.learn(&status);
                    match (&status.tag, status.word) {
                        (Some(own), word) if own == tag.as_bytes() => {
                            self.busy = false;
                            self.used = Instant::now();
                            if word != Word::Ok {
                                return Err(ImapError::refused(command, &status));
                            }
                            return gathering.end(status);
                        }
                        (None, Word::Bye) => return Err(bye(&status)),
                        _ => gathering.hear(status),
                    }
                }
            }
        }
    }

    /// Waits for the end of a command, whatever it is; tells whether there were news before it.
    async fn end(&mut self, tag: &str) -> Result<(bool, Status), ImapError> {
        let mut news = false;
        for _ in 0..MAX_UNASKED {
            match self.response().await? {
                Response::Status(status) if status.tag.as_deref() == Some(tag.as_bytes()) => {
                    self.learn(&status);
                    self.busy = false;
                    self.used = Instant::now();
                    return Ok((news, status));
                }
                Response::Status(status) if status.word == Word::Bye => return Err(bye(&status)),
                Response::Data(one) => {
                    self.note(&one);
                    news |= is_news(&one);
                }
                _ => {}
            }
        }
        Err(unasked())
    }

    /// What concerns the connection itself.
    fn note(&mut self, data: &Data) {
        if data.name == "CAPABILITY" {
            self.capabilities = data
                .values
                .iter()
                .take(MAX_CAPABILITIES)
                .filter_map(Value::text)
                .map(|word| word.to_ascii_uppercase())
                .collect();
        }
    }

    fn learn(&mut self, status: &Status) {
        if let Some(list) = status.code("CAPABILITY") {
            self.capabilities = list.split(' ').map(str::to_ascii_uppercase).collect();
        }
    }

    async fn response(&mut self) -> Result<Response, ImapError> {
        Ok(Response::parse(&self.line().await?)?)
    }

    /// The next response as it was sent.
    async fn line(&mut self) -> Result<Bytes, ImapError> {
        loop {
            if let Some(length) = self.framer.find(&self.buffer)? {
                let line = self.buffer.split_to(length);
                return Ok(if length > APART {
                    line.freeze()
                } else {
                    Bytes::copy_from_slice(&line)
                });
            }
            self.buffer.reserve(32 << 10);
            let read = timeout(SILENCE, self.stream.read_buf(&mut self.buffer)).await;
            match read {
                Err(_) => return Err(ImapError::lost("the mail server is silent")),
                Ok(Err(error)) => return Err(ImapError::lost(format!("the connection broke: {error}"))),
                Ok(Ok(0)) => return Err(ImapError::lost("the mail server hung up")),
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn send(&mut self, pieces: &[&[u8]]) -> Result<(), ImapError> {
        let write = async {
            for piece in pieces {
                self.stream.write_all(piece).await?;
            }
            self.stream.flush().await
        };
        match timeout(STALL, write).await {
            Err(_) => Err(ImapError::lost("the mail server takes nothing")),
            Ok(Err(error)) => Err(ImapError::lost(format!("the connection broke: {error}"))),
            Ok(Ok(())) => Ok(()),
        }
    }
}

/// Why an upload did not come about.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The server, or the connection.
    Imap(ImapError),
    /// What was to be sent.
    Source(portreeve_vfs::FsError),
}

impl From<ImapError> for AppendError {
    fn from(error: ImapError) -> Self {
        Self::Imap(error)
    }
}

impl From<AppendError> for portreeve_vfs::FsError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Imap(error) => error.into(),
            AppendError::Source(error) => error,
        }
    }
}

/// Whether it tells that messages came, went or changed.
fn is_news(data: &Data) -> bool {
    matches!(&*data.name, "EXISTS" | "EXPUNGE" | "FETCH" | "VANISHED")
}

fn unasked() -> ImapError {
    ImapError::lost("the mail server says too much that was not asked for")
}

fn bye(status: &Status) -> ImapError {
    ImapError::lost(format!("the mail server ended the connection: {}", status.text))
}

/// The command for messages: never its arguments.
fn name_of(line: &str) -> &str {
    let mut words = line.split(' ');
    match words.next() {
        Some("UID") => line
            .get(..line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at))
            .unwrap_or("UID"),
        Some(word) => word,
        None => "",
    }
}

/// A folder's name as an argument.
pub(super) fn folder(name: &str) -> Result<String, ImapError> {
    quoted(name).ok_or_else(|| ImapError::new(Kind::Gone, "a folder's name that cannot be written"))
}

fn opened(name: &str, writable: bool, answer: &Answer) -> Result<Selected, ImapError> {
    let validity = answer
        .code("UIDVALIDITY")
        .and_then(|text| text.trim().parse().ok());
    let validity = validity.ok_or_else(|| {
        ImapError::new(
            Kind::Unsupported,
            "the mail server gives messages of this folder no lasting numbers (UIDVALIDITY)",
        )
    })?;
    let exists = answer.data.iter().rev().find(|data| data.name == "EXISTS");
    let exists = exists
        .and_then(|data| u32::try_from(data.number?).ok())
        .unwrap_or(0);
    Ok(Selected {
        name: name.to_owned(),
        writable: writable && answer.code("READ-ONLY").is_none(),
        deletes: answer
            .code("PERMANENTFLAGS")
            .is_none_or(|flags| flags.to_ascii_lowercase().contains("\\deleted")),
        validity,
        next: answer.code("UIDNEXT").and_then(|text| text.trim().parse().ok()),
        exists,
        modseq: answer
            .code("HIGHESTMODSEQ")
            .and_then(|text| text.trim().parse().ok()),
    })
}
