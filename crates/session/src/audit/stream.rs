//! Sinks without memory: standard output, and syslog over its Unix socket (RFC 5424).

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::PathBuf,
};

use super::Sink;

pub(super) struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// Facility 13 (log audit), severity 6 (informational): RFC 5424, section 6.2.1.
const PRIORITY: u8 = 13 * 8 + 6;

pub(super) struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, socket: None }
    }

    fn connected(&mut self) -> io::Result<&UnixDatagram> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                // A daemon that does not read must not stop the server.
                socket.set_nonblocking(true)?;
                socket
            }
        };
        Ok(self.socket.insert(socket))
    }
}

impl Sink for Syslog {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let at = super::encode::rfc3339(std::time::SystemTime::now());
        let record = format!(
            "<{PRIORITY}>1 {at} - portreeve {} audit - {line}",
            std::process::id()
        );
        let sent = self.connected()?.send(record.as_bytes());
        if sent.is_err() {
            self.socket = None;
        }
        sent.map(|_| ())
    }
}
