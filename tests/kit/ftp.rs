//! A raw FTP client: every line, every connection and every end of one is the test's own choice.
//!
//! [`Ftp`] is the control connection, [`Data`] a data connection. What a careful client does by itself
//! (`signed_in`, `get`, `put`, `lines`) stands beside what a hostile one can do.

mod data;
mod tls;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use data::{Data, End, Way};
pub use tls::{Tickets, Tls, Version, Wire};

use crate::{
    config::PASSWORD,
    server::{PATIENCE, Portreeve},
};

/// What the server answered: the code and every byte of the lines.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The code of the last line.
    pub code: u16,
    /// All lines with their ends.
    pub raw: Vec<u8>,
}

impl Answer {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).trim_end().to_owned()
    }

    /// Insists on a code.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn is(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.text());
        self
    }

    /// Insists on one of some codes.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn one_of(self, codes: &[u16]) -> Self {
        assert!(
            codes.contains(&self.code),
            "not one of {codes:?}: {}",
            self.text()
        );
        self
    }

    /// The lines between the first and the last one.
    #[must_use]
    pub fn inner(&self) -> Vec<String> {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.len().saturating_sub(1).max(1);
        lines[1.min(end)..end]
            .iter()
            .map(|l| (*l).trim_start().to_owned())
            .collect()
    }
}

/// How somebody comes to the door.
#[derive(Debug, Clone)]
pub struct How {
    /// TLS from the first byte.
    pub implicit: bool,
    /// The TLS of this client.
    pub tls: Tls,
    /// The address it comes from; the machine's choice where it is None.
    pub from: Option<IpAddr>,
}

impl How {
    /// Begins in clear.
    #[must_use]
    pub fn explicit(version: Version) -> Self {
        Self {
            implicit: false,
            tls: Tls::new(version),
            from: None,
        }
    }

    /// Begins with TLS.
    #[must_use]
    pub fn implicit(version: Version) -> Self {
        Self {
            implicit: true,
            ..Self::explicit(version)
        }
    }

    /// From an address of this machine.
    #[must_use]
    pub fn from(mut self, last: u8) -> Self {
        self.from = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        self
    }
}

/// A control connection.
#[derive(Debug)]
pub struct Ftp {
    wire: Wire,
    held: Vec<u8>,
    how: How,
    at: SocketAddr,
    /// Whether data connections are to be protected.
    pub protected: bool,
    /// What the server said first.
    pub greeting: Answer,
    said: String,
}

impl Ftp {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// If there is no connection, or no greeting.
    pub fn dial(at: SocketAddr, how: How) -> io::Result<Self> {
        let stream = connect(at, how.from)?;
        let wire = if how.implicit {
            how.tls.clone().wrap(stream, true)?
        } else {
            Wire::Clear(stream)
        };
        let mut ftp = Self {
            wire,
            held: Vec::new(),
            protected: how.implicit,
            how,
            at,
            greeting: Answer {
                code: 0,
                raw: Vec::new(),
            },
            said: String::new(),
        };
        ftp.greeting = ftp.try_answer()?;
        Ok(ftp)
    }

    /// The same; without a connection there is no test.
    ///
    /// # Panics
    /// If there is none, or the greeting is no 220.
    #[must_use]
    #[track_caller]
    pub fn connect(at: SocketAddr, how: How) -> Self {
        let ftp = Self::dial(at, how).unwrap_or_else(|e| panic!("no FTP server at {at}: {e}"));
        assert_eq!(ftp.greeting.code, 220, "{}", ftp.greeting.text());
        ftp
    }

    /// In clear at the explicit door.
    #[must_use]
    #[track_caller]
    pub fn plain(server: &Portreeve) -> Self {
        Self::connect(server.doors().ftps, How::explicit(Version::Any))
    }

    /// Somebody at the explicit door, with data connections protected.
    #[must_use]
    #[track_caller]
    pub fn signed_in(server: &Portreeve, user: &str) -> Self {
        Self::enter(server.doors().ftps, How::explicit(Version::Any), user)
    }

    /// Comes in as a careful client does, where and however: AUTH TLS, USER, PASS, PBSZ, PROT P, TYPE I.
    #[must_use]
    #[track_caller]
    pub fn enter(at: SocketAddr, how: How, user: &str) -> Self {
        let mut ftp = Self::connect(at, how);
        if !ftp.how.implicit {
            ftp.auth_tls();
        }
        ftp.login(user, PASSWORD).is(230);
        ftp.protect();
        ftp
    }

    /// AUTH TLS and the handshake.
    ///
    /// # Panics
    /// If it is refused or fails.
    #[track_caller]
    pub fn auth_tls(&mut self) {
        self.say("AUTH TLS").is(234);
        self.start_tls()
            .unwrap_or_else(|e| panic!("the handshake failed: {e}\n{}", self.said));
    }

    /// The handshake alone.
    ///
    /// # Errors
    /// If it fails.
    pub fn start_tls(&mut self) -> io::Result<()> {
        let Wire::Clear(stream) = &self.wire else {
            return Err(io::Error::other("it is encrypted already"));
        };
        self.wire = self.how.tls.clone().wrap(stream.try_clone()?, true)?;
        Ok(())
    }

    /// USER and PASS; the last answer.
    #[track_caller]
    pub fn login(&mut self, user: &str, password: &str) -> Answer {
        let asked = self.say(&format!("USER {user}"));
        if asked.code != 331 {
            return asked;
        }
        self.say(&format!("PASS {password}"))
    }

    /// PBSZ, PROT P, TYPE I.
    ///
    /// # Panics
    /// If one is refused.
    #[track_caller]
    pub fn protect(&mut self) {
        self.say("PBSZ 0").is(200);
        self.say("PROT P").is(200);
        self.say("TYPE I").is(200);
        self.protected = true;
    }

    /// Sends a command and reads the answer.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn say(&mut self, command: &str) -> Answer {
        self.send(command);
        self.answer()
    }

    /// The same where the end of the connection is an answer too.
    ///
    /// # Errors
    /// If the connection ends instead.
    pub fn try_say(&mut self, command: &[u8]) -> io::Result<Answer> {
        self.try_send(&[command, b"\r\n"].concat())?;
        self.try_answer()
    }

    /// Sends a command.
    ///
    /// # Panics
    /// If that is impossible.
    #[track_caller]
    pub fn send(&mut self, command: &str) {
        let sent = self.try_send(format!("{command}\r\n").as_bytes());
        sent.unwrap_or_else(|e| panic!("{command:?} cannot be sent: {e}\n{}", self.said));
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If that is impossible.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.note("> ", bytes);
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Reads an answer.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer()
            .unwrap_or_else(|e| panic!("no answer: {e}\n{}", self.said))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// If the connection ends instead, or what came is no answer.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let mut raw = Vec::new();
        let mut opened: Option<Vec<u8>> = None;
        loop {
            let line = self.line()?;
            raw.extend_from_slice(&line);
            let code = line.get(..3).filter(|c| c.iter().all(u8::is_ascii_digit));
            let mark = line.get(3).copied();
            match (&opened, code) {
                (None, Some(code)) if mark == Some(b'-') => opened = Some(code.to_vec()),
                (None, Some(code)) => return self.answered(code, &raw),
                (Some(first), Some(code)) if mark == Some(b' ') && first == code => {
                    return self.answered(code, &raw);
                }
                (Some(_), _) => {}
                (None, None) => {
                    let text = String::from_utf8_lossy(&raw).into_owned();
                    return Err(io::Error::other(format!("{text:?} is no answer")));
                }
            }
            if raw.len() > 1 << 20 {
                return Err(io::Error::other("an answer without an end"));
            }
        }
    }

    fn answered(&mut self, code: &[u8], raw: &[u8]) -> io::Result<Answer> {
        self.note("< ", raw);
        let code = String::from_utf8_lossy(code).parse().map_err(io::Error::other)?;
        Ok(Answer {
            code,
            raw: raw.to_vec(),
        })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                return Ok(self.held.drain(..=end).collect());
            }
            let mut buffer = [0; 4096];
            let count = self.wire.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.held.extend_from_slice(&buffer[..count]);
        }
    }

    /// Waits for the end of the connection, and gives all that came before it.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut all = std::mem::take(&mut self.held);
        let mut buffer = [0; 4096];
        loop {
            match self.wire.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("the connection does not end\n{}", self.said)
                }
                Err(_) => break,
            }
        }
        self.note("< ", &all);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Whether nothing has come that was not read; after an answer to something sent later than that, so that it
    /// would have come before.
    #[must_use]
    pub const fn quiet(&self) -> bool {
        self.held.is_empty()
    }

    fn note(&mut self, mark: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        if self.said.len() > 20_000 {
            self.said.clear();
        }
        for line in text.lines() {
            self.said.push_str(mark);
            self.said.push_str(line);
            self.said.push('\n');
        }
    }

    /// The dialogue so far, for messages.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The connection below.
    #[must_use]
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The sessions that this control connection may resume.
    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        self.how.tls.tickets()
    }

    /// The TLS of this client.
    #[must_use]
    pub const fn tls(&self) -> &Tls {
        &self.how.tls
    }

    /// Vanishes: the connection is reset.
    pub fn reset(self) {
        self.wire.rst();
    }

    /// Its own address.
    ///
    /// # Panics
    /// If the connection is gone.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.wire.tcp().local_addr().expect("connected")
    }

    /// PASV: where the server says it waits.
    ///
    /// # Panics
    /// If it is refused or no such answer.
    #[track_caller]
    pub fn pasv(&mut self) -> SocketAddr {
        let answer = self.say("PASV").is(227);
        let text = answer.text();
        let numbers: Vec<u8> = text
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(list, _)| list.split(',').filter_map(|n| n.trim().parse().ok()).collect())
            .unwrap_or_default();
        let [a, b, c, d, high, low] = numbers[..] else {
            panic!("no address in {text:?}");
        };
        SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
    }

    /// EPSV: where the server waits, at the address of the control connection.
    ///
    /// # Panics
    /// If it is refused or no such answer.
    #[track_caller]
    pub fn epsv(&mut self) -> SocketAddr {
        let answer = self.say("EPSV").is(229);
        let text = answer.text();
        let port = text
            .split_once("(|||")
            .and_then(|(_, rest)| rest.split_once("|)"))
            .and_then(|(port, _)| port.parse().ok());
        SocketAddr::new(
            self.at.ip(),
            port.unwrap_or_else(|| panic!("no port in {text:?}")),
        )
    }

    /// A port of its own that the server is told by PORT or EPRT.
    ///
    /// # Panics
    /// If this machine has none.
    #[must_use]
    pub fn listen(&self) -> (TcpListener, String, String) {
        let listener = TcpListener::bind((self.local().ip(), 0)).expect("a port");
        let at = listener.local_addr().expect("bound");
        (listener, port_text(at), eprt_text(at))
    }
}

/// The argument of PORT.
#[must_use]
pub fn port_text(at: SocketAddr) -> String {
    let host = at.ip().to_string().replace('.', ",");
    format!("{host},{},{}", at.port() / 256, at.port() % 256)
}

/// The argument of EPRT.
#[must_use]
pub fn eprt_text(at: SocketAddr) -> String {
    let family = if at.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", at.ip(), at.port())
}

/// A TCP connection from an address of one's choice; reading and writing fail when nothing moves for long.
///
/// # Errors
/// As connecting does.
pub fn connect(at: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let stream = match from {
        None => TcpStream::connect_timeout(&at, PATIENCE)?,
        Some(ip) => {
            let family = if at.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            rustix::net::bind(&socket, &SocketAddr::new(ip, 0))?;
            rustix::net::connect(&socket, &at)?;
            TcpStream::from(socket)
        }
    };
    patient(&stream, PATIENCE)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn patient(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}
