//! What systemd is told (sd_notify(3)), datagram by datagram, by the program itself.

use std::{ffi::OsStr, fs, net::TcpStream, os::unix::net::UnixDatagram};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};

use super::server::{PATIENCE, Server};

const CONFIG: &str = r#"
[server]
data_dir = "data"
[[listener]]
name = "ssh"
protocol = "sftp"
address = "127.0.0.1:0"
[[auth]]
type = "application"
[groups.staff]
mounts = [{ path = "/", storage = "files", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

/// systemd's end of the socket.
struct Systemd {
    socket: UnixDatagram,
    /// Signs of life so far.
    beats: usize,
}

impl Systemd {
    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("systemd is told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next datagram that is no sign of life.
    fn told(&mut self) -> Vec<String> {
        loop {
            let text = self.next();
            if text != "WATCHDOG=1" {
                return text.lines().map(str::to_owned).collect();
            }
            self.beats += 1;
        }
    }
}

fn started(env: &[(&str, &str)]) -> (Server, Systemd) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("portreeve.toml"), CONFIG).unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all: Vec<(&str, &OsStr)> = vec![("NOTIFY_SOCKET", path.as_os_str())];
    all.extend(env.iter().map(|(name, value)| (*name, OsStr::new(*value))));
    let server = Server::start(dir, &all);
    (server, Systemd { socket, beats: 0 })
}

/// Microseconds of the clock that systemd compares with.
fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn systemd_is_told_of_the_start_of_reloads_and_of_the_end() {
    let (mut server, mut systemd) = started(&[("WATCHDOG_USEC", "50000")]);
    assert_eq!(
        systemd.told(),
        ["READY=1", "STATUS=1 of 1 listeners are up, configuration 1"]
    );
    let [ssh] = server.addresses(["ssh"]);
    TcpStream::connect(ssh).expect("ready is when one can connect");

    let good = fs::read_to_string(server.path("portreeve.toml")).unwrap();
    for (text, status) in [
        (good.clone(), "1 of 1 listeners are up, configuration 2"),
        (
            good.replace("ssh", "\n"),
            "1 of 1 listeners are up, configuration 2; the last reload failed",
        ),
        (good, "1 of 1 listeners are up, configuration 3"),
    ] {
        server.write("portreeve.toml", text);
        let before = now();
        server.signal(Signal::HUP);
        let told = systemd.told();
        assert_eq!((&*told[0], &*told[2]), ("RELOADING=1", "STATUS=reloading"));
        let at: i64 = told[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!((before..=now()).contains(&at), "{before} {at}");
        assert_eq!(systemd.told(), ["READY=1", &format!("STATUS={status}")]);
    }

    // At half of what the supervisor allows: it goes on for as long as the server does.
    let enough = systemd.beats + 3;
    while systemd.beats < enough {
        assert_eq!(systemd.next(), "WATCHDOG=1");
        systemd.beats += 1;
    }
    server.signal(Signal::TERM);
    assert_eq!(systemd.told(), ["STOPPING=1", "STATUS=draining"]);
    assert!(server.ended().success());
}

/// A sign of life that nobody asked for could keep another process's watchdog quiet.
#[test]
fn without_a_watchdog_there_are_no_signs_of_life() {
    for env in [&[][..], &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")]] {
        let (mut server, mut systemd) = started(env);
        assert_eq!(systemd.told()[0], "READY=1");
        server.signal(Signal::HUP);
        assert_eq!(systemd.told()[0], "RELOADING=1");
        assert_eq!(systemd.told()[0], "READY=1");
        server.signal(Signal::TERM);
        assert_eq!(systemd.told()[0], "STOPPING=1");
        assert!(server.ended().success());
        assert_eq!(systemd.beats, 0, "{env:?}");
    }
}
