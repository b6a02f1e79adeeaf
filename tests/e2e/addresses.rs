//! Who is meant by an address: bans earned at one door count at all, and behind a load balancer they hit its client.

use portreeve_tests::{Curl, Portreeve, Proxy, Sftp, config::PASSWORD, process::until, server::PATIENCE};

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
    ] {
        let to = if door == "sftp" { doors.sftp } else { doors.https };
        let (evil, honest) = (through(to, bad), through(to, good));
        let signs_in = |relay: &Proxy, password: &str| {
            let port = relay.address().port();
            if door == "sftp" {
                let sftp = Sftp::by_password(&server, "alice", password).through(port);
                sftp.batch("pwd").status.success()
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
