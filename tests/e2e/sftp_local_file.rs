//! SFTP × sign-in: the methods that OpenSSH uses, and every way of not being let in.
//!
//! Each refusal has a positive twin in the same run: a server that is down refuses too.

use std::net::TcpStream;

use portreeve_tests::{Portreeve, Sftp, config::PASSWORD, process::until, server::PATIENCE, sftp::Proof};

#[test]
fn key_password_and_interactive_sign_in() {
    let server = Portreeve::start();
    for proof in [
        Proof::Key(server.config.key()),
        Proof::Password(PASSWORD.to_owned()),
        Proof::Interactive(PASSWORD.to_owned()),
    ] {
        let since = server.audit().len();
        Sftp::new(&server, "alice", proof.clone()).batch("pwd").ok();
        server.expect_story(since, &["sftp login ok", "sftp logout ok"]);
        let login = &server.audit()[since];
        assert_eq!(login.text("user"), "alice", "{proof:?}");
        assert_eq!(login.text("method"), "people", "{proof:?}");
    }
}

/// Who, by what, and which step says no.
#[test]
fn refusals_are_one_event_each_and_say_nothing() {
    let server = Portreeve::start();
    let key = || Proof::Key(server.config.key());
    let password = |text: &str| Proof::Password(text.to_owned());
    for (who, user, proof) in [
        ("wrong password", "alice", password("wrong")),
        ("empty password", "alice", password("")),
        ("wrong answer", "alice", Proof::Interactive("wrong".to_owned())),
        ("unknown user", "nobody", password(PASSWORD)),
        ("unknown user by key", "nobody", key()),
        ("denied user", "root", password(PASSWORD)),
        ("denied user by pattern", "admin7", key()),
        ("denied user in disguise", "ROOT", password(PASSWORD)),
        ("disabled account", "carol", password(PASSWORD)),
        ("disabled account by key", "carol", key()),
        ("expired account", "dave", password(PASSWORD)),
        ("expired account by key", "dave", key()),
        ("expired key", "erin", key()),
        ("key from elsewhere", "frank", key()),
    ] {
        let since = server.audit().len();
        let done = Sftp::new(&server, user, proof).batch("pwd");
        let done = done.fails("permission denied");
        assert!(
            !done.said().contains("disabled") && !done.said().contains("expired"),
            "{who}: {}",
            done.said()
        );
        eprintln!("{who}");
        server.expect_story(since, &["sftp login refused"]);
        let record = &server.audit()[since];
        assert_eq!(record.text("user"), user, "{who}");
        assert!(
            record.0["trail"].as_array().is_some_and(|t| !t.is_empty()),
            "{who}: {:?}",
            record.0
        );
    }
    // The twin: the same server, the same second.
    Sftp::by_key(&server, "alice").batch("pwd").ok();
    Sftp::by_password(&server, "erin", PASSWORD).batch("pwd").ok();
}

#[test]
fn a_banned_address_is_turned_away_at_every_door_until_the_ban_is_lifted() {
    let mut server = Portreeve::start_with(|c| c.ban_after = 3);
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("pwd").ok();
    for _ in 0..3 {
        let _ = Sftp::by_password(&server, "alice", "wrong")
            .batch("pwd")
            .fails("denied");
    }
    let banned = |s: &Sftp| !s.batch("pwd").status.success();
    assert!(banned(&alice), "the right key of a banned address");
    let since = server.audit().len();
    assert!(banned(&alice));
    let records = server.audit().split_off(since);
    assert_eq!(
        records.iter().map(|r| r.story()).collect::<Vec<_>>(),
        ["sftp knock refused"]
    );
    // HTTPS shares the list: the connection is closed before a byte of TLS.
    let curl = portreeve_tests::Curl::new(&server, "alice", PASSWORD);
    assert_eq!(curl.get("/api/v1/me").status, 0);
    // It outlives a restart, cut short or not.
    server.crash();
    server.restart();
    assert!(banned(&alice), "the ban did not survive a restart");
    let config = server.config.file();
    let config = config.to_str().unwrap();
    let done = server.command(&["ban", "remove", "127.0.0.1", "--config", config], b"");
    done.ok();
    until("the ban is lifted", PATIENCE, || !banned(&alice));
}

#[test]
fn shells_commands_and_forwarding_are_refused() {
    let server = Portreeve::start();
    let alice = Sftp::by_key(&server, "alice");
    let at = alice.at();
    for args in [
        vec![&*at, "id"],
        vec!["-T", &*at],
        vec!["-tt", &*at],
        vec!["-s", &*at, "netconf"],
    ] {
        let done = alice.ssh(&args);
        assert!(!done.status.success(), "{args:?} was allowed: {}", done.said());
        assert!(!done.text().contains("uid="), "{args:?} ran something");
    }
    let port = portreeve_tests::ports::free();
    let forward = format!("127.0.0.1:{port}:{}", server.doors().https);
    let mut through = alice.ssh_start(
        &["-N", "-L", &forward, "-o", "ExitOnForwardFailure=yes", &at],
        b"",
    );
    until("the forwarder listens or ends", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", port)).is_ok() || !through.alive()
    });
    let curl = portreeve_tests::Curl::new(&server, "alice", PASSWORD).through(port);
    assert_eq!(
        curl.get("/api/v1/me").status,
        0,
        "a forwarded connection went through"
    );
    drop(through);
    let remote = portreeve_tests::ports::free();
    let backward = format!("127.0.0.1:{remote}:{}", server.doors().https);
    alice
        .ssh(&["-N", "-R", &backward, "-o", "ExitOnForwardFailure=yes", &at])
        .fails("forwarding");
    assert!(
        TcpStream::connect(("127.0.0.1", remote)).is_err(),
        "a port was opened for the client"
    );
    alice.batch("pwd").ok();
}
