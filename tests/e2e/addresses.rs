//! Who is meant by an address: bans earned at one door count at all, and behind a load balancer they hit its client.

use std::io::Read;

use portreeve_tests::{
    Curl, Ftp, Portreeve, Proxy, Sftp,
    config::PASSWORD,
    ftp::{How, Tls, Version, connect},
    process::until,
    server::PATIENCE,
};

/// The stories of sign-ins and knocks since a moment, with the address that they are about.
fn told(server: &Portreeve, since: usize) -> Vec<String> {
    server.audit()[since..]
        .iter()
        .filter(|r| matches!(r.text("act"), "login" | "knock"))
        .map(|r| {
            let peer = r.text("peer").rsplit_once(':').map_or("", |(host, _)| host);
            format!("{} {peer}", r.story())
        })
        .collect()
}

#[test]
fn wrong_passwords_over_https_ban_at_every_door() {
    let server = Portreeve::start_with(|c| c.ban_after = 3);
    let alice = Curl::new(&server, "alice", PASSWORD);
    let _ = alice.get("/api/v1/me").is(200);
    let since = server.audit().len();
    for _ in 0..3 {
        let _ = Curl::new(&server, "alice", "wrong").get("/api/v1/me").is(401);
    }
    // The connection is closed before a byte of TLS: no answer at all.
    assert_eq!(alice.get("/api/v1/me").status, 0);
    assert!(!Sftp::by_key(&server, "alice").batch("pwd").status.success());
    let expected = [
        "https login refused 127.0.0.1",
        "https login refused 127.0.0.1",
        "https login refused 127.0.0.1",
        "https knock refused 127.0.0.1",
        "sftp knock refused 127.0.0.1",
    ];
    until("all is recorded", PATIENCE, || {
        told(&server, since).len() >= expected.len()
    });
    assert_eq!(told(&server, since), expected);
}

/// The address that a PROXY header tells is the one that is judged, banned and recorded; the balancer's own is not.
#[test]
fn a_ban_behind_a_balancer_hits_its_client_alone() {
    let server = Portreeve::start_with(|c| {
        c.ban_after = 3;
        c.listener = "proxy_protocol = [\"127.0.0.0/8\"]";
    });
    let doors = server.doors().clone();
    let through = |to, client| Proxy::telling(to, client);
    for (door, bad, good) in [
        ("sftp", "192.0.2.7", "198.51.100.1"),
        ("https", "192.0.2.8", "198.51.100.1"),
        ("ftps", "192.0.2.9", "198.51.100.1"),
    ] {
        let to = match door {
            "sftp" => doors.sftp,
            "https" => doors.https,
            _ => doors.ftps,
        };
        let (evil, honest) = (through(to, bad), through(to, good));
        let signs_in = |relay: &Proxy, password: &str| {
            let port = relay.address().port();
            if door == "sftp" {
                let sftp = Sftp::by_password(&server, "alice", password).through(port);
                sftp.batch("pwd").status.success()
            } else if door == "ftps" {
                Ftp::dial(relay.address(), How::explicit(Version::Any)).is_ok_and(|mut ftp| {
                    ftp.auth_tls();
                    ftp.login("alice", password).code == 230
                })
            } else {
                let curl = Curl::new(&server, "alice", password).through(port);
                curl.get("/api/v1/me").status == 200
            }
        };
        let since = server.audit().len();
        for _ in 0..3 {
            assert!(!signs_in(&evil, "wrong"), "{door}");
        }
        assert!(!signs_in(&evil, PASSWORD), "{door}: {bad} was not banned");
        assert!(signs_in(&honest, PASSWORD), "{door}: the balancer was banned");
        let refused = format!("{door} login refused {bad}");
        let expected = [
            refused.clone(),
            refused.clone(),
            refused,
            format!("{door} knock refused {bad}"),
            format!("{door} login ok {good}"),
        ];
        until("all is recorded", PATIENCE, || {
            told(&server, since).len() >= expected.len()
        });
        assert_eq!(told(&server, since), expected);
    }
    // From the balancer's network without a header: nobody knows who that is.
    assert!(!Sftp::by_key(&server, "alice").batch("pwd").status.success());
    assert_eq!(Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").status, 0);
}

/// A balancer that says where clients are says it of their data connections too, and there it counts just the same.
#[test]
fn data_connections_behind_a_balancer_are_their_clients() {
    let server = Portreeve::start_with(|c| c.listener = "proxy_protocol = [\"127.0.0.0/8\"]");
    let control = Proxy::telling(server.doors().ftps, "198.51.100.1");
    let mut ftp = Ftp::enter(control.address(), How::explicit(Version::Any), "alice");
    std::fs::write(server.config.home("alice").join("x"), "content").unwrap();
    let fetch = |ftp: &mut Ftp, as_whom: Option<&str>| {
        let mut to = ftp.epsv();
        to.set_ip([127, 0, 0, 1].into());
        let relay = as_whom.map_or_else(|| Proxy::plain(to), |client| Proxy::telling(to, client));
        let stream = connect(relay.address(), None).unwrap();
        ftp.send("RETR x");
        let mut got = Vec::new();
        if let Ok(mut wire) = Tls::new(Version::Any).wrap(stream, true) {
            let _ = wire.read_to_end(&mut got);
        }
        got
    };
    assert_eq!(fetch(&mut ftp, Some("198.51.100.1")), b"content");
    ftp.answer().is(150);
    ftp.answer().is(226);
    for thief in [Some("198.51.100.2"), None] {
        assert_eq!(fetch(&mut ftp, thief), b"", "{thief:?}");
        // Still waited for: the right one may yet come.
        ftp.send("ABOR");
        ftp.answer().one_of(&[425, 426]);
        ftp.answer().is(226);
    }
    assert_eq!(fetch(&mut ftp, Some("198.51.100.1")), b"content");
}
