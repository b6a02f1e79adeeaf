//! FTPS clients that want to cost much: endless lines, silence, ports that are asked for and not used, transfers that
//! do not move. Memory and descriptors are bounded and come back, and everybody else is served meanwhile.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
};

use portreeve_tests::{
    Curl, Ftp, Ftps, Portreeve, Sftp,
    config::PASSWORD,
    data,
    ftp::{Data, How, Version, connect},
    process::until,
    server::PATIENCE,
    skip,
};

/// A server that was used already, with what it holds at rest.
struct Rest {
    server: Portreeve,
    rss: u64,
    fds: usize,
}

impl Rest {
    fn start(change: impl FnOnce(&mut portreeve_tests::Config)) -> Self {
        let server = Portreeve::start_with(change);
        Sftp::by_key(&server, "alice").batch("pwd").ok();
        Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").is(200);
        let mut ftp = Ftp::signed_in(&server, "alice");
        ftp.put("x", b"content");
        assert_eq!(ftp.get("x"), b"content");
        drop(ftp);
        let (rss, fds) = server.usage();
        Self { server, rss, fds }
    }

    /// Others come in and are served, here and at the other doors; within bounds.
    #[track_caller]
    fn serves(&self, what: &str) {
        let mut ftp = Ftp::enter(
            self.server.doors().ftps,
            How::explicit(Version::Any).from(200),
            "bob",
        );
        ftp.put("y", b"content");
        assert_eq!(ftp.get("y"), b"content", "{what}");
        assert_eq!(ftp.own(), ["y"], "{what}");
        let way = Ftps::new(&self.server, "alice");
        way.clone()
            .implicit()
            .curl(&["--interface", "127.0.0.201", "-o", "got"], "/x")
            .ok();
        let (now, _) = self.server.usage();
        let grown = now.saturating_sub(self.rss);
        assert!(grown < 96 * 1024, "{what}: {} KiB grew by {grown} KiB", self.rss);
    }

    /// Everything comes back.
    #[track_caller]
    fn recovers(&self, what: &str) {
        until(&format!("descriptors come back after {what}"), PATIENCE, || {
            self.server.usage().1 <= self.fds + 12
        });
        let (now, _) = self.server.usage();
        let grown = now.saturating_sub(self.rss);
        assert!(
            grown < 64 * 1024,
            "{what}: {} KiB grew by {grown} KiB for good",
            self.rss
        );
        self.serves(what);
    }
}

fn from(n: usize) -> Option<IpAddr> {
    // Fifty from one address: what one address may have is bounded, too.
    Some(IpAddr::V4(Ipv4Addr::new(
        127,
        0,
        1,
        u8::try_from(n / 50 + 1).unwrap(),
    )))
}

#[test]
fn endless_lines_are_not_held() {
    let rest = Rest::start(|_| {});
    let server = &rest.server;
    let clear = || Ftp::plain(server);
    let within = || {
        let mut ftp = Ftp::plain(server);
        ftp.auth_tls();
        ftp
    };
    let signed_in = || Ftp::signed_in(server, "alice");
    let states: [(&str, &dyn Fn() -> Ftp); 3] = [
        ("in clear", &clear),
        ("within TLS", &within),
        ("signed in", &signed_in),
    ];
    for (state, come) in states {
        // Ten at once, a megabyte each, without an end.
        let mut open = Vec::new();
        for n in 0..10usize {
            let mut ftp = come();
            let byte = [b'A', b' ', 0xff, 0, b'\r'][n % 5];
            // Whoever is sent away in the middle of it cannot send the rest.
            let sent = ftp.try_send(&vec![byte; 1 << 20]).is_ok();
            open.push((ftp, sent));
        }
        rest.serves(state);
        for (mut ftp, sent) in open {
            let said = ftp.rest();
            let codes: Vec<&str> = said.lines().map(|l| &l[..3.min(l.len())]).collect();
            // By RST even the answers can be lost.
            assert!(codes.len() <= 2, "{state}: {said}");
            assert!(
                codes.iter().all(|c| matches!(*c, "500" | "421")),
                "{state}, sent {sent}: {said}"
            );
        }
        // A line that is a little too long costs its own command only.
        let mut ftp = come();
        ftp.send(&"B".repeat(9_000));
        ftp.answer().is(500);
        ftp.say("NOOP").is(200);
        ftp.say(&format!("NOOP{}", " ".repeat(4_000))).one_of(&[200, 501]);
        // Many that are no commands.
        let mut codes = Vec::new();
        while let Ok(answer) = ftp.try_say(b"??") {
            codes.push(answer.code);
            assert!(codes.len() < 100, "{state}: a hundred lines that are no commands");
            if answer.code == 421 {
                break;
            }
        }
        assert_eq!(codes.last(), Some(&421), "{state}: {codes:?}");
    }
    rest.recovers("endless lines");
}

#[test]
fn silent_connections_cost_little() {
    let rest = Rest::start(|_| {});
    let doors = rest.server.doors().clone();
    let mut open = Vec::new();
    for n in 0..500 {
        let door = [doors.ftps, doors.ftps_implicit][n % 2];
        open.push(connect(door, from(n)).unwrap_or_else(|e| panic!("connection {n}: {e}")));
    }
    rest.serves("500 silent connections");
    // Halfway through a handshake.
    for stream in &mut open {
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]);
    }
    rest.serves("500 handshakes that do not go on");
    drop(open);
    rest.recovers("500 silent connections");
}

/// What login_grace is for.
#[test]
fn whoever_does_not_sign_in_is_sent_away() {
    let rest = Rest::start(|c| c.limits = "login_grace = \"2s\"");
    let doors = rest.server.doors().clone();
    let mut talking = Ftp::plain(&rest.server);
    let mut within = Ftp::plain(&rest.server);
    within.auth_tls();
    let mut named = Ftp::plain(&rest.server);
    named.auth_tls();
    named.say("USER alice").is(331);
    let mut silent = connect(doors.ftps_implicit, None).unwrap();
    let mut halfway = Ftp::plain(&rest.server);
    halfway.say("AUTH TLS").is(234);
    for ftp in [&mut talking, &mut within, &mut named] {
        let said = ftp.rest();
        assert!(said.starts_with("421"), "{said:?}");
    }
    let _ = halfway.rest();
    let mut got = Vec::new();
    let ended = silent.read_to_end(&mut got);
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    rest.recovers("sent away");
}

/// One session holds one port at most, so it cannot use up those of the others.
#[test]
fn ports_that_are_asked_for_and_not_used_are_not_missed() {
    let rest = Rest::start(|c| {
        // Room for eight.
        let first = *c.passive.start();
        c.passive = first..=first + 7;
    });
    let server = &rest.server;
    let mut greedy = Ftp::signed_in(server, "alice");
    let mut ports = Vec::new();
    for n in 0..200 {
        ports.push(if n % 2 == 0 { greedy.epsv() } else { greedy.pasv() });
    }
    rest.serves("200 PASV in one session");
    // Only the last one is open.
    let last = *ports.last().unwrap();
    ports.sort_unstable();
    ports.dedup();
    ports.retain(|at| at.port() != last.port());
    assert!(
        ports.iter().all(|at| TcpStream::connect(at).is_err()),
        "old ports are open"
    );
    greedy.send("RETR x");
    drop(greedy);
    // Where all of them are taken that is said, and passes.
    let mut holders: Vec<Ftp> = (0..8).map(|_| Ftp::signed_in(server, "alice")).collect();
    let taken: Vec<u16> = holders.iter_mut().map(|ftp| ftp.say("EPSV").code).collect();
    assert!(taken.iter().filter(|c| **c == 229).count() >= 7, "{taken:?}");
    let mut late = Ftp::signed_in(server, "bob");
    late.say("EPSV").one_of(&[425, 421]);
    drop(holders);
    until("ports come back", PATIENCE, || late.say("EPSV").code == 229);
    drop(late);
    rest.recovers("all passive ports taken");
}

/// Transfers that do not move: uploads of which nothing comes any more, downloads that nobody reads.
#[test]
fn stalled_transfers_hold_little_and_end() {
    let rest = Rest::start(|c| {
        c.ftp_listener = "stall_timeout = \"20s\"\ndata_timeout = \"20s\"";
        c.limits = "connections_per_ip = 200\nsessions_per_user = 200";
    });
    let server = &rest.server;
    let hole = std::fs::File::create(server.config.home("alice").join("hole")).unwrap();
    hole.set_len(16 << 30).unwrap();
    let since = server.audit().len();
    let mut stalled: Vec<(Ftp, Data)> = Vec::new();
    for n in 0..64usize {
        let mut ftp = Ftp::signed_in(server, "alice");
        let mut data = if n % 2 == 0 {
            let mut data = ftp.open(&format!("STOR stalled{n}")).unwrap();
            data.send(&data::bytes(100_000, 1)).unwrap();
            data
        } else {
            ftp.open("RETR hole").unwrap()
        };
        if n % 2 == 1 {
            data.wire().read_exact(&mut [0; 1000]).unwrap();
        }
        stalled.push((ftp, data));
    }
    let (now, _) = server.usage();
    assert!(
        now < rest.rss + 96 * 1024,
        "64 stalled transfers: {} KiB grew to {now} KiB",
        rest.rss
    );
    rest.serves("64 stalled transfers");
    let ended = || {
        let audit = server.audit().split_off(since);
        audit.iter().filter(|r| r.story().contains("load failed")).count()
    };
    until("all of them are ended", PATIENCE * 2, || ended() == 64);
    for (mut ftp, data) in stalled {
        ftp.answer().is(426);
        // The session is as good as new.
        ftp.say("NOOP").is(200);
        drop(data);
    }
    drop(hole);
    rest.recovers("64 stalled transfers");
}

/// A data connection that never comes does not hold the session either.
#[test]
fn a_data_connection_that_never_comes_is_not_waited_for_long() {
    let server = Portreeve::start_with(|c| c.ftp_listener = "data_timeout = \"1s\"");
    let mut ftp = Ftp::signed_in(&server, "alice");
    for command in ["RETR x", "STOR x", "LIST", "MLSD"] {
        ftp.put("x", b"content");
        ftp.epsv();
        let answer = ftp.say(command);
        let answer = if answer.code == 150 { ftp.answer() } else { answer };
        assert_eq!(answer.code, 425, "{command}: {}", answer.text());
        // One that comes, and says nothing.
        let (_, silent) = ftp.data_socket(None);
        ftp.say(command).is(150);
        ftp.answer().one_of(&[425, 426]);
        drop(silent);
    }
    assert_eq!(ftp.get("x"), b"content");
    // Without PASV before it, at once.
    ftp.say("RETR x").one_of(&[425, 503]);
    // While it waits, ABOR ends it.
    ftp.epsv();
    ftp.send("RETR x");
    ftp.send("ABOR");
    ftp.answer().one_of(&[425, 426]);
    ftp.answer().is(226);
}

/// Thousands of commands at once do not pile up, and are answered in order.
#[test]
fn commands_may_come_all_at_once() {
    let rest = Rest::start(|_| {});
    let mut ftp = Ftp::signed_in(&rest.server, "alice");
    let count = skip::slice_or_full(5_000, 50_000);
    let batch: String = (0..count)
        .map(|n| if n % 2 == 0 { "NOOP\r\n" } else { "SYST\r\n" })
        .collect();
    ftp.try_send(&batch.as_bytes()[..60_000.min(batch.len())])
        .unwrap();
    let sent = 60_000.min(batch.len()) / 6;
    for n in 0..sent {
        ftp.answer().is(if n % 2 == 0 { 200 } else { 215 });
    }
    // Whoever sends and never reads is held back, not buffered.
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let ftp = Ftp::signed_in(&rest.server, "alice");
        ftp.wire()
            .tcp()
            .set_write_timeout(Some(std::time::Duration::from_secs(1)))
            .unwrap();
        deaf.push(ftp);
    }
    for ftp in &mut deaf {
        for _ in 0..20 {
            if ftp.try_send(batch.as_bytes()).is_err() {
                break;
            }
        }
    }
    rest.serves("eight that send and do not read");
    drop(deaf);
    drop(ftp);
    rest.recovers("commands all at once");
}
