//! Tells systemd how the service stands (sd_notify(3)): one datagram for each change.
//!
//! Without `NOTIFY_SOCKET` every call does nothing. A failed datagram is logged and forgotten: the
//! service does not depend on its supervisor.

use std::{
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Where to tell it.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC")
            .filter(|usec| ours && *usec > 0)
            .map(Duration::from_micros);
        match Self::to(&path, watchdog) {
            Ok(notifier) => notifier,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "NOTIFY_SOCKET cannot be used");
                Self::default()
            }
        }
    }

    /// To a socket: a path, or an abstract name behind `@`.
    ///
    /// # Errors
    /// The path is no address of a socket, or no socket could be had.
    pub fn to(path: &OsString, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match path.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog,
        })
    }

    /// The service takes connections.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The configuration is being loaded anew; [`Notifier::ready`] follows. With the time of the
    /// monotonic clock in microseconds, by which `Type=notify-reload` tells one reload from another.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reloading"));
    }

    /// The service drains and ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// The service is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Notifier::alive`] is to be called: half of what the supervisor allows.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::debug!(%error, state, "sd_notify failed");
        }
    }
}

/// A status with a line end would be two assignments.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &OsString, bound: &UnixDatagram) {
        let notifier = Notifier::to(path, Some(Duration::from_secs(30))).unwrap();
        notifier.ready("2 of 2 listeners\nREADY=0");
        notifier.reloading();
        notifier.stopping();
        notifier.alive();
        assert_eq!(notifier.heartbeat(), Some(Duration::from_secs(15)));
        let mut got = Vec::new();
        for _ in 0..4 {
            let mut buffer = [0; 128];
            let length = bound.recv(&mut buffer).unwrap();
            got.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        let reloading: Vec<&str> = got[1].lines().collect();
        assert_eq!((reloading[0], reloading[2]), ("RELOADING=1", "STATUS=reloading"));
        let usec = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0, "{usec}");
        got.remove(1);
        assert_eq!(
            got,
            [
                "READY=1\nSTATUS=2 of 2 listeners READY=0",
                "STOPPING=1\nSTATUS=draining",
                "WATCHDOG=1"
            ]
        );
    }

    #[test]
    fn speaks_to_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let bound = UnixDatagram::bind(&path).unwrap();
        check(&path.into_os_string(), &bound);
    }

    #[test]
    fn speaks_to_an_abstract_name() {
        let name = format!("portreeve-test-{}", std::process::id());
        let bound = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        check(&format!("@{name}").into(), &bound);
    }

    #[test]
    fn without_a_socket_nothing_happens() {
        Notifier::default().ready("x");
        assert_eq!(Notifier::default().heartbeat(), None);
    }
}
