//! Data connections of the raw client: how they are made, and how they end.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener},
};

use super::{Answer, Ftp, Tls, Wire, connect};

/// How a data connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// EPSV.
    Epsv,
    /// PASV.
    Pasv,
    /// PORT.
    Port,
    /// EPRT.
    Eprt,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Epsv, Self::Pasv, Self::Port, Self::Eprt];
    /// Those that every door has.
    pub const PASSIVE: [Self; 2] = [Self::Epsv, Self::Pasv];
}

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// close_notify, FIN, then everything is read that still comes.
    Clean,
    /// close_notify, and closed without reading, as rclone does.
    Careless,
    /// FIN without close_notify.
    Cut,
    /// RST.
    Reset,
}

/// A data connection.
#[derive(Debug)]
pub struct Data(Wire);

impl Data {
    /// Whether its handshake resumed a session; None where it is in clear.
    #[must_use]
    pub fn resumed(&self) -> Option<bool> {
        self.0.resumed()
    }

    /// The connection.
    pub const fn wire(&mut self) -> &mut Wire {
        &mut self.0
    }

    /// Everything up to the honest end: where it is encrypted, close_notify.
    ///
    /// # Errors
    /// If it ends otherwise.
    pub fn all(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all)?;
        Ok(all)
    }

    /// Sends.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Ends.
    ///
    /// # Errors
    /// If the connection broke before.
    pub fn end(mut self, end: End) -> io::Result<()> {
        match end {
            End::Clean => {
                self.0.close_notify()?;
                self.0.fin()?;
                let rest = self.all()?;
                assert!(rest.is_empty(), "an upload is answered with {} bytes", rest.len());
            }
            End::Careless => self.0.close_notify()?,
            End::Cut => self.0.fin()?,
            End::Reset => self.0.rst(),
        }
        Ok(())
    }
}

/// A data connection that was agreed on and is not there yet.
#[derive(Debug)]
enum Coming {
    Connected(std::net::TcpStream),
    Awaited(TcpListener),
}

impl Ftp {
    /// Starts a transfer in a way, with TLS of one's choice, None for none. The answer to the command where it is no 1xx.
    ///
    /// # Errors
    /// The refusal.
    ///
    /// # Panics
    /// If there is no data connection, or its handshake fails.
    #[track_caller]
    pub fn open_by(&mut self, way: Way, command: &str, tls: Option<Tls>) -> Result<Data, Answer> {
        let coming = self.agree(way)?;
        let begun = self.say(command);
        if begun.code >= 200 {
            return Err(begun);
        }
        let stream = match coming {
            Coming::Connected(stream) => stream,
            Coming::Awaited(listener) => {
                let (stream, _) = listener.accept().expect("the server connects");
                stream
                    .set_read_timeout(Some(crate::server::PATIENCE))
                    .expect("a socket");
                stream
            }
        };
        let wire = match tls {
            None => Wire::Clear(stream),
            Some(tls) => tls
                .wrap(stream, true)
                .unwrap_or_else(|e| panic!("the handshake of the data connection: {e}\n{}", self.said())),
        };
        Ok(Data(wire))
    }

    fn agree(&mut self, way: Way) -> Result<Coming, Answer> {
        let active = |ftp: &mut Self, eprt: bool| {
            let (listener, port, address) = ftp.listen();
            let line = if eprt {
                format!("EPRT {address}")
            } else {
                format!("PORT {port}")
            };
            let answer = ftp.say(&line);
            if answer.code == 200 {
                Ok(Coming::Awaited(listener))
            } else {
                Err(answer)
            }
        };
        let at = match way {
            Way::Epsv => self.epsv(),
            Way::Pasv => self.pasv(),
            Way::Port => return active(self, false),
            Way::Eprt => return active(self, true),
        };
        let stream = connect(at, self.from()).unwrap_or_else(|e| panic!("no data connection to {at}: {e}"));
        Ok(Coming::Connected(stream))
    }

    /// Starts a transfer that is refused, although there is a data connection; the refusal.
    ///
    /// # Panics
    /// If it is begun.
    #[track_caller]
    pub fn refusal(&mut self, command: &str) -> Answer {
        match self.open(command) {
            Err(refusal) => refusal,
            Ok(_) => panic!("{command:?} was begun\n{}", self.said()),
        }
    }

    fn from(&self) -> Option<IpAddr> {
        self.how.from
    }

    /// Starts a transfer as a careful client does: EPSV, the control connection's session resumed where it can be.
    ///
    /// # Errors
    /// The refusal.
    #[track_caller]
    pub fn open(&mut self, command: &str) -> Result<Data, Answer> {
        let tls = self.protected.then(|| self.how.tls.clone());
        self.open_by(Way::Epsv, command, tls)
    }

    /// A passive port, connected to, without a command.
    ///
    /// # Panics
    /// If that is refused.
    #[track_caller]
    pub fn data_socket(&mut self, from: Option<IpAddr>) -> (SocketAddr, std::net::TcpStream) {
        let at = self.epsv();
        let stream = connect(at, from).unwrap_or_else(|e| panic!("no data connection to {at}: {e}"));
        (at, stream)
    }

    /// Downloads.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Vec<u8> {
        self.fetch(&format!("RETR {path}"))
    }

    /// Whatever a command sends.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn fetch(&mut self, command: &str) -> Vec<u8> {
        let mut data = self
            .open(command)
            .unwrap_or_else(|a| panic!("{command:?} was refused: {}", a.text()));
        let all = data.all().unwrap_or_else(|e| panic!("{command:?} was cut: {e}"));
        drop(data);
        self.answer().is(226);
        all
    }

    /// The lines that a command sends, without their ends.
    ///
    /// # Panics
    /// If it does not succeed, or an end is not CRLF.
    #[track_caller]
    pub fn lines(&mut self, command: &str) -> Vec<String> {
        let all = String::from_utf8_lossy(&self.fetch(command)).into_owned();
        assert!(all.is_empty() || all.ends_with("\r\n"), "{all:?}");
        let lines = all.split_terminator("\r\n").map(str::to_owned);
        lines
            .inspect(|l| assert!(!l.contains(['\r', '\n']), "{l:?} is no line"))
            .collect()
    }

    /// Uploads.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn put(&mut self, path: &str, bytes: &[u8]) {
        self.store(&format!("STOR {path}"), bytes, End::Clean).is(226);
    }

    /// Uploads by a command; the last answer.
    ///
    /// # Panics
    /// If the connection breaks before everything is sent.
    #[track_caller]
    pub fn store(&mut self, command: &str, bytes: &[u8], end: End) -> Answer {
        let mut data = match self.open(command) {
            Ok(data) => data,
            Err(refusal) => return refusal,
        };
        data.send(bytes)
            .and_then(|()| data.end(end))
            .unwrap_or_else(|e| panic!("{command:?}: {e}\n{}", self.said()));
        self.answer()
    }

    /// The names of somebody's own files, in order: what stands at `/` without the places of the other mounts.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn own(&mut self) -> Vec<String> {
        let mut names = self.names("/");
        names.retain(|name| name != "mail" && name != "shared");
        names
    }

    /// The names of a directory, by MLSD, in order.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn names(&mut self, dir: &str) -> Vec<String> {
        let lines = self.lines(&format!("MLSD {dir}"));
        let mut names: Vec<String> = lines
            .iter()
            .filter(|l| !l.contains("type=cdir;") && !l.contains("type=pdir;"))
            .map(|l| l.split_once("; ").map_or(l.as_str(), |(_, name)| name).to_owned())
            .collect();
        names.sort();
        names
    }
}
