//! What the FTPS door refuses, on the wire and in the audit log, each with the twin that is allowed.

use portreeve_tests::{
    Curl, Ftp, Portreeve, Sftp,
    config::PASSWORD,
    data,
    ftp::{End, How, Version},
};

/// The connection ends, and not a byte of what was sent comes back.
#[track_caller]
fn ends_without_echo(mut ftp: Ftp, marker: &str) {
    let rest = ftp.rest();
    assert!(!rest.contains(marker), "{rest:?} echoes {marker:?}");
}

#[test]
fn nobody_signs_in_without_tls() {
    let server = Portreeve::start();
    for at in [server.doors().ftps, server.doors().ftps_strict] {
        let since = server.audit().len();
        let mut ftp = Ftp::connect(at, How::explicit(Version::Any));
        let answer = ftp.say("USER alice").one_of(&[530, 534]);
        assert!(answer.text().contains("AUTH TLS"), "{}", answer.text());
        // A password that is sent all the same is not looked at.
        ftp.say(&format!("PASS {PASSWORD}")).one_of(&[503, 530, 534]);
        server.expect_told(since, "ftps login refused", 1);
        for command in [
            "PWD",
            "EPSV",
            "LIST",
            "RETR x",
            "STOR x",
            "STAT /",
            "MLST /",
            "SITE CHMOD 777 x",
            "SITE CPFR x",
        ] {
            ftp.say(command).one_of(&[500, 502, 503, 504, 530, 534]);
        }
        assert!(
            !server.audit()[since..]
                .iter()
                .any(|r| r.story().contains("login ok"))
        );
        // On the same connection, and with TLS.
        ftp.auth_tls();
        ftp.login("alice", PASSWORD).is(230);
        server.expect_told(since, "ftps login ok", 1);
    }
    // Where the listener says so.
    let mut ftp = Ftp::connect(server.doors().ftp, How::explicit(Version::Any));
    ftp.login("alice", PASSWORD).is(230);
    let mut data = ftp.open("STOR clear").unwrap();
    data.send(b"hello").unwrap();
    data.end(End::Clean).unwrap();
    ftp.answer().is(226);
    assert_eq!(ftp.get("clear"), b"hello");
}

#[test]
fn prot_p_is_what_a_door_tells_and_takes() {
    let server = Portreeve::start();
    for (at, how) in [
        (server.doors().ftps, How::explicit(Version::Any)),
        (server.doors().ftps_implicit, How::implicit(Version::Any)),
    ] {
        let mut ftp = Ftp::connect(at, how.clone());
        if !how.implicit {
            let features = ftp.say("FEAT").is(211).inner();
            assert!(features.iter().any(|f| f.starts_with("AUTH TLS")), "{features:?}");
            ftp.say("PROT P").one_of(&[503, 530, 534]);
            for kind in ["SSL", "TLS-P", "KERBEROS", ""] {
                let answer = ftp.say(format!("AUTH {kind}").trim_end());
                assert!(matches!(answer.code, 501 | 504), "{kind}: {}", answer.text());
            }
            ftp.auth_tls();
        }
        // Once is enough.
        ftp.say("AUTH TLS").one_of(&[503, 534]);
        ftp.login("alice", PASSWORD).is(230);
        ftp.say("PROT P").is(503);
        ftp.say("PBSZ 0").is(200);
        ftp.say("PROT P").is(200);
        let since = server.audit().len();
        ftp.say("PROT C").is(534);
        ftp.say("CCC").is(534);
        server.expect_told(since, "ftps knock refused", 2);
        ftp.say("PROT X").is(504);
    }
}

/// RFC 4217 §4 and CVE-2011-0411: what came in clear before the handshake is not a command of the encrypted session.
#[test]
fn nothing_is_injected_before_the_handshake() {
    let server = Portreeve::start();
    for injected in [
        "SYST\r\n".to_owned(),
        format!("USER alice\r\nPASS {PASSWORD}\r\n"),
        "SYST".to_owned(),
    ] {
        let mut ftp = Ftp::plain(&server);
        ftp.try_send(format!("AUTH TLS\r\n{injected}").as_bytes())
            .unwrap();
        ftp.answer().is(234);
        ftp.start_tls().unwrap();
        // The first answer is that of the first command within.
        ftp.say("FEAT").is(211);
        ftp.say("PWD").is(530);
        ftp.login("alice", PASSWORD).is(230);
        assert!(ftp.quiet(), "{}", ftp.said());
    }
}

/// A browser, or a server that was told to send a request here, gets nothing back (ALPACA).
#[test]
fn whoever_speaks_http_is_sent_away() {
    let server = Portreeve::start();
    let marker = "<script>alert(1)</script>";
    let since = server.audit().len();
    for verb in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "get",
    ] {
        let request =
            format!("{verb} /{marker} HTTP/1.1\r\nHost: {marker}\r\n\r\nUSER {marker}\r\nHELP {marker}\r\n");
        let mut clear = Ftp::plain(&server);
        let _ = clear.try_send(request.as_bytes());
        ends_without_echo(clear, marker);
        let mut within = Ftp::plain(&server);
        within.auth_tls();
        let _ = within.try_send(request.as_bytes());
        ends_without_echo(within, marker);
        let mut signed_in = Ftp::signed_in(&server, "alice");
        let _ = signed_in.try_send(request.as_bytes());
        ends_without_echo(signed_in, marker);
    }
    let mut implicit = Ftp::connect(server.doors().ftps_implicit, How::implicit(Version::Any));
    let _ = implicit.try_send(format!("POST /{marker} HTTP/1.1\r\n\r\n").as_bytes());
    ends_without_echo(implicit, marker);
    server.expect_told(since, "ftps knock refused", 34);
    // What is no command is answered, not echoed either.
    let mut ftp = Ftp::plain(&server);
    for line in [
        marker.to_owned(),
        format!("HELP {marker}"),
        format!("USER {marker}"),
        "\u{e9}\u{e9}\u{e9}\u{e9}".to_owned(),
    ] {
        let answer = ftp.try_say(line.as_bytes()).unwrap();
        assert!(!answer.text().contains("script"), "{}", answer.text());
    }
    ftp.say("NOOP").is(200);
}

#[test]
fn tries_are_limited() {
    let server = Portreeve::start();
    for at in [server.doors().ftps, server.doors().ftps_implicit] {
        let since = server.audit().len();
        let mut how = How::explicit(Version::Any);
        how.implicit = at == server.doors().ftps_implicit;
        let mut ftp = Ftp::connect(at, how.clone());
        if !how.implicit {
            ftp.auth_tls();
        }
        let mut codes = Vec::new();
        while let Ok(answer) = ftp.try_say(format!("USER alice\r\nPASS wrong{}", codes.len()).as_bytes()) {
            let last = if answer.code == 331 {
                ftp.try_answer().map_or(0, |a| a.code)
            } else {
                answer.code
            };
            codes.push(last);
            assert!(codes.len() < 10, "{codes:?}");
            if last == 421 {
                break;
            }
        }
        assert_eq!(codes, [530, 530, 421]);
        assert_eq!(ftp.rest(), "");
        server.expect_told(since, "ftps login refused", 3);
    }
    drop(Ftp::signed_in(&server, "alice"));
}

#[test]
fn a_ban_counts_at_every_door() {
    let ban = |server: &Portreeve, by_ftps: bool| {
        let since = server.audit().len();
        for _ in 0..3 {
            if by_ftps {
                let mut ftp = Ftp::plain(server);
                ftp.auth_tls();
                ftp.login("alice", "wrong").one_of(&[530, 421]);
            } else {
                let sftp = Sftp::by_password(server, "alice", "wrong");
                assert!(!sftp.batch("pwd").status.success());
            }
        }
        // Nobody at any door; and no word of why.
        assert!(!Sftp::by_key(server, "alice").batch("pwd").status.success());
        assert_eq!(Curl::new(server, "alice", PASSWORD).get("/api/v1/me").status, 0);
        for at in [server.doors().ftps, server.doors().ftps_implicit] {
            let mut how = How::explicit(Version::Any);
            how.implicit = at == server.doors().ftps_implicit;
            assert!(Ftp::dial(at, how).is_err(), "a banned address was greeted");
        }
        server.expect_told(since, "sftp knock refused", 1);
        server.expect_told(since, "https knock refused", 1);
        server.expect_told(since, "ftps knock refused", 2);
        // Another address is another matter.
        drop(Ftp::enter(
            server.doors().ftps,
            How::explicit(Version::Any).from(3),
            "alice",
        ));
    };
    for by_ftps in [true, false] {
        let server = Portreeve::start_with(|c| c.ban_after = 3);
        Sftp::by_key(&server, "alice").batch("pwd").ok();
        drop(Ftp::signed_in(&server, "alice"));
        ban(&server, by_ftps);
    }
}

/// Neither USER nor PASS says who is known.
#[test]
fn nothing_tells_who_is_known() {
    let server = Portreeve::start();
    let mut heard = Vec::new();
    for (user, password) in [
        ("alice", "wrong"),
        ("nobody", "wrong"),
        ("root", PASSWORD),
        ("carol", PASSWORD),
        ("dave", PASSWORD),
        ("anonymous", "a@example.com"),
        ("alice", ""),
        ("alice@elsewhere.example", PASSWORD),
    ] {
        let since = server.audit().len();
        let mut ftp = Ftp::plain(&server);
        ftp.auth_tls();
        let asked = ftp.say(&format!("USER {user}"));
        let refused = ftp.say(format!("PASS {password}").trim_end());
        server.expect_told(since, "ftps login refused", 1);
        heard.push((user, asked.raw, refused.raw));
    }
    let (_, asked, refused) = heard[0].clone();
    for (user, a, r) in heard {
        assert_eq!(
            String::from_utf8_lossy(&a),
            String::from_utf8_lossy(&asked),
            "{user}"
        );
        assert_eq!(
            String::from_utf8_lossy(&r),
            String::from_utf8_lossy(&refused),
            "{user}"
        );
    }
    assert!(asked.starts_with(b"331 ") && refused.starts_with(b"530 "));
    // A name that is changed between the two begins anew.
    let mut ftp = Ftp::plain(&server);
    ftp.auth_tls();
    ftp.say("USER bob").is(331);
    ftp.say("USER alice").is(331);
    ftp.say(&format!("PASS {PASSWORD}")).is(230);
    ftp.protect();
    ftp.put("of alice", b"x");
    assert!(server.config.home("alice").join("of alice").exists());
    // PASS without USER, and again after it was used up.
    let mut ftp = Ftp::plain(&server);
    ftp.auth_tls();
    ftp.say(&format!("PASS {PASSWORD}")).is(503);
    ftp.login("alice", "wrong").is(530);
    ftp.say(&format!("PASS {PASSWORD}")).is(503);
}

/// Numbers beyond what a file can have, and offsets beyond its end: never the file from its beginning.
#[test]
fn offsets_are_honest() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("x", b"0123456789");
    for bad in [
        "18446744073709551616",
        "99999999999999999999999",
        "-1",
        "+5",
        "0x10",
        "5 6",
        "",
        "abc",
        "\u{661}",
    ] {
        let answer = ftp.say(format!("REST {bad}").trim_end());
        assert_eq!(answer.code, 501, "REST {bad}: {}", answer.text());
        assert_eq!(ftp.get("x"), b"0123456789", "REST {bad}");
    }
    for beyond in [11, 1 << 40, u64::MAX] {
        ftp.say(&format!("REST {beyond}")).is(350);
        let answer = ftp.refusal("RETR x");
        assert!(answer.code >= 500, "REST {beyond}: {}", answer.text());
    }
    for (at, rest) in [(10, &b""[..]), (4, b"456789"), (0, b"0123456789")] {
        ftp.say(&format!("REST {at}")).is(350);
        assert_eq!(ftp.get("x"), rest, "REST {at}");
    }
    // It counts once.
    assert_eq!(ftp.get("x"), b"0123456789");
}

/// What the rights of a mount do not allow, and what lies outside of it.
#[test]
fn forbidden_verbs_and_paths_outside_change_nothing() {
    let server = Portreeve::start();
    std::fs::write(server.dir().join("shared/there"), "there").unwrap();
    std::fs::write(server.dir().join("secret"), "secret").unwrap();
    let mut reader = Ftp::signed_in(&server, "reader");
    assert_eq!(reader.get("/there"), b"there");
    for (command, story) in [
        ("STOR /x", "ftps upload refused /x"),
        ("APPE /there", "ftps upload refused /there"),
        ("DELE /there", "ftps remove-file refused /there"),
        ("MKD /d", "ftps make-dir refused /d"),
        ("SITE CHMOD 777 /there", "ftps set-attrs refused /there"),
        ("MFMT 20200101000000 /there", "ftps set-attrs refused /there"),
    ] {
        let since = server.audit().len();
        let refusal = if command.starts_with("STOR") || command.starts_with("APPE") {
            reader.refusal(command)
        } else {
            reader.say(command)
        };
        refusal.one_of(&[550, 553]);
        server.expect_told(since, story, 1);
    }
    let since = server.audit().len();
    let named = reader.say("RNFR /there");
    if named.code == 350 {
        reader.say("RNTO /here").one_of(&[550, 553]);
        server.expect_told(since, "ftps rename refused /there /here", 1);
    }
    assert_eq!(data::tree(&server.dir().join("shared")), ["there"]);

    let mut alice = Ftp::signed_in(&server, "alice");
    alice.put("own", b"own");
    std::os::unix::fs::symlink(
        server.dir().join("secret"),
        server.config.home("alice").join("out"),
    )
    .unwrap();
    std::os::unix::fs::symlink("/", server.config.home("alice").join("root")).unwrap();
    for path in [
        "/out",
        "/../secret",
        "../secret",
        "../../../../../etc/passwd",
        "/root/etc/passwd",
        "//etc/passwd",
        "root/../../secret",
    ] {
        alice.refusal(&format!("RETR {path}")).one_of(&[550, 553]);
        alice.say(&format!("SIZE {path}")).one_of(&[550, 553]);
    }
    assert_eq!(alice.get("/d/../own"), b"own");
}
