//! What a control connection remembers between commands.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portreeve_model::{UserName, VPath};
use portreeve_session::{Connection, Session, UserFs};
use tokio::{net::TcpStream, time::Instant};

use super::talk::Talk;
use crate::{
    FtpDoor, Guide, TlsMode,
    commands::Algorithm,
    data::Way,
    tls::Binding,
    wire::{self, Facts, Line, Reply},
};

/// Unfinished uploads that are remembered as told.
const TOLD: usize = 64;

/// Who is on the other side.
pub(crate) enum Who {
    /// No name was given.
    Nobody,
    /// A name, and no password yet.
    Named(UserName),
    /// Somebody whom the chain let in.
    In(Session),
}

/// `TYPE` (RFC 959, section 3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Ascii,
    Image,
}

/// `PROT` (RFC 4217, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    Clear,
    Private,
}

/// One control connection.
pub(crate) struct Client {
    pub(crate) door: Arc<FtpDoor>,
    pub(crate) guide: Arc<dyn Guide>,
    pub(crate) talk: Talk,
    pub(crate) connection: Connection,
    /// The near end of the socket: data connections come to it and go from it.
    pub(crate) local: IpAddr,
    /// Lines that came during a transfer, in their order.
    pub(crate) waiting: VecDeque<Line>,
    /// What binds data connections to this control connection, once it has TLS.
    pub(crate) binding: Option<Binding>,
    pub(crate) who: Who,
    /// Until when somebody has to be signed in.
    pub(crate) deadline: Instant,
    pub(crate) cwd: VPath,
    pub(crate) kind: Type,
    pub(crate) protection: Protection,
    /// `PBSZ` came (RFC 2228 wants it before `PROT`).
    pub(crate) buffer_size_told: bool,
    /// What `REST` said, for the next transfer.
    pub(crate) restart: u64,
    /// What `ALLO` said, for the next upload.
    pub(crate) announced: Option<u64>,
    /// What `RNFR` named, for `RNTO` right after it.
    pub(crate) renaming: Option<VPath>,
    /// Where the next data connection comes from.
    pub(crate) way: Option<Way>,
    /// `EPSV ALL` came: nothing but EPSV from then on (RFC 2428, section 4).
    pub(crate) epsv_only: bool,
    pub(crate) facts: Facts,
    pub(crate) algorithm: Algorithm,
    /// What `RANG` said, for the next `HASH`: first and last byte.
    pub(crate) range: Option<(u64, u64)>,
    /// Unfinished uploads of this person that the client was told of here.
    told: VecDeque<VPath>,
    /// Lines in a row that were no command.
    pub(crate) nonsense: u32,
}

impl Client {
    pub(crate) fn new(
        door: Arc<FtpDoor>,
        stream: TcpStream,
        connection: Connection,
        guide: Arc<dyn Guide>,
    ) -> Self {
        let told = connection.origin().local.ip();
        let local = stream.local_addr().map_or(told, |address| address.ip());
        let protection = match door.options.tls {
            // By custom: whoever wraps the control connection means the data connections too.
            TlsMode::Implicit => Protection::Private,
            TlsMode::Explicit | TlsMode::Optional => Protection::Clear,
        };
        Self {
            door,
            guide,
            talk: Talk::new(stream),
            deadline: Instant::now() + connection.login_grace(),
            connection,
            local,
            waiting: VecDeque::new(),
            binding: None,
            who: Who::Nobody,
            cwd: VPath::root(),
            kind: Type::Ascii,
            protection,
            buffer_size_told: false,
            restart: 0,
            announced: None,
            renaming: None,
            way: None,
            epsv_only: false,
            facts: Facts::default(),
            algorithm: Algorithm::Sha256,
            range: None,
            told: VecDeque::new(),
            nonsense: 0,
        }
    }

    /// Forgets who is there and what they set; TLS stays (`REIN`, and `AUTH` begins so).
    pub(crate) fn reset(&mut self) {
        self.who = Who::Nobody;
        self.cwd = VPath::root();
        self.kind = Type::Ascii;
        self.restart = 0;
        self.announced = None;
        self.renaming = None;
        self.way = None;
        self.epsv_only = false;
        self.facts = Facts::default();
        self.algorithm = Algorithm::Sha256;
        self.range = None;
        self.told.clear();
    }

    /// The session, where somebody is signed in.
    pub(crate) const fn session(&self) -> Option<&Session> {
        match &self.who {
            Who::In(session) => Some(session),
            Who::Nobody | Who::Named(_) => None,
        }
    }

    /// The person's files.
    ///
    /// # Errors
    /// The reply to whoever is not signed in: the table refuses them before.
    pub(crate) fn fs(&self) -> Result<UserFs, Reply> {
        let session = self.session().ok_or_else(not_signed_in)?;
        Ok(session.fs().clone())
    }

    /// The path that a command names.
    ///
    /// # Errors
    /// The reply: it is none.
    pub(crate) fn path(&self, argument: &[u8]) -> Result<VPath, Reply> {
        wire::path(&self.cwd, argument).map_err(|error| {
            let code = match error {
                wire::NotAPath::Empty => 501,
                wire::NotAPath::Control | wire::NotAPath::Path(_) => 553,
            };
            Reply::new(code, error.to_string())
        })
    }

    /// What `REST` said, which counts once.
    ///
    /// # Errors
    /// 504: ends of lines would be changed, and no offset is that of the file.
    pub(crate) fn take_restart(&mut self) -> Result<u64, Reply> {
        let offset = std::mem::take(&mut self.restart);
        if offset > 0 && self.door.converts() && self.kind == Type::Ascii {
            return Err(Reply::new(504, "no offset is true in TYPE A; use TYPE I"));
        }
        Ok(offset)
    }

    /// Remembers that the client was told of an unfinished upload: from now on its name means that.
    pub(crate) fn tell_of(&mut self, path: &VPath) {
        if self.knows_of(path) {
            return;
        }
        if self.told.len() >= TOLD {
            self.told.pop_front();
        }
        self.told.push_back(path.clone());
    }

    /// Whether the client was told of an unfinished upload under this name.
    pub(crate) fn knows_of(&self, path: &VPath) -> bool {
        self.told.contains(path)
    }

    /// Whose data connections are taken.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.connection.origin().peer
    }
}

pub(crate) fn not_signed_in() -> Reply {
    Reply::new(530, "sign in first, with USER and PASS")
}
