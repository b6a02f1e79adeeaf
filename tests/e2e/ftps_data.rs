//! Data connections that the FTPS door refuses: in clear, from elsewhere, without the session, to elsewhere.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
};

use portreeve_tests::{
    Ftp, Ftps, Portreeve,
    config::PASSWORD,
    data,
    ftp::{How, Tls, Version, Way, connect, eprt_text, port_text},
    process::until,
    server::PATIENCE,
};

/// Data in clear is refused on every path, whatever was said before.
#[test]
fn no_data_passes_without_tls() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("secret", b"secret");
    drop(ftp);
    let (implicit, strict) = (server.doors().ftps_implicit, server.doors().ftps_strict);
    for (at, how) in [
        (server.doors().ftps, How::explicit(Version::Any)),
        (implicit, How::implicit(Version::Any)),
        (strict, How::explicit(Version::Tls12)),
    ] {
        for said in [
            &[][..],
            &["PBSZ 0", "PROT C"],
            &["PROT C"],
            &["PBSZ 0", "PROT P", "PROT C"],
            &["CCC"],
            &["PROT S"],
            &["PROT E"],
        ] {
            let mut ftp = Ftp::connect(at, how.clone());
            if !how.implicit {
                ftp.auth_tls();
            }
            ftp.login("alice", PASSWORD).is(230);
            for command in said {
                let answer = ftp.say(command);
                let fine = matches!(*command, "PBSZ 0" | "PROT P");
                assert_eq!(answer.code < 400, fine, "{said:?}: {command}: {}", answer.text());
            }
            // What was refused leaves the level where it was: P on the implicit door and after PROT P.
            let protected = how.implicit || said.contains(&"PROT P");
            let since = server.audit().len();
            for way in Way::ALL {
                for command in [
                    "RETR secret",
                    "LIST",
                    "NLST",
                    "MLSD",
                    "STOR new",
                    "APPE secret",
                    "STOU",
                ] {
                    no_clear_byte(&mut ftp, way, command, protected);
                }
            }
            let transfers = server.audit().split_off(since);
            let passed = |r: &portreeve_tests::Record| {
                r.text("outcome") == "ok" && !matches!(r.text("act"), "login" | "logout" | "list")
            };
            assert!(!transfers.iter().any(passed), "{transfers:?}");
            if !protected {
                // Four ways, seven commands, each asked for and tried.
                server.expect_told(since, "ftps knock refused", 56);
            }
            ftp.protect();
            assert_eq!(ftp.own(), ["secret"]);
            assert_eq!(ftp.get("secret"), b"secret", "{said:?}");
        }
    }
}

/// One transfer by a client that wants no TLS on it.
#[track_caller]
fn no_clear_byte(ftp: &mut Ftp, way: Way, command: &str, protected: bool) {
    if !protected {
        let (_listener, port, eprt) = ftp.listen();
        let answer = match way {
            Way::Epsv => ftp.say("EPSV"),
            Way::Pasv => ftp.say("PASV"),
            Way::Port => ftp.say(&format!("PORT {port}")),
            Way::Eprt => ftp.say(&format!("EPRT {eprt}")),
        };
        assert_eq!(answer.code, 521, "{way:?}: {}", answer.text());
        ftp.say(command).is(521);
        return;
    }
    // The server waits for a handshake: bytes in clear are none.
    let Ok(mut data) = ftp.open_by(way, command, None) else {
        // Active mode is off.
        assert!(matches!(way, Way::Port | Way::Eprt), "{}", ftp.said());
        return;
    };
    let _ = data.send(&[b'x'; 2000]);
    let mut got = Vec::new();
    let _ = data.wire().read_to_end(&mut got);
    assert!(
        !got.windows(6).any(|w| w == b"secret"),
        "{command} in clear: {got:?}"
    );
    drop(data);
    ftp.answer().one_of(&[425, 426, 522]);
}

#[test]
fn data_from_another_address_is_not_taken() {
    let server = Portreeve::start();
    for version in [Version::Tls12, Version::Tls13] {
        let mut alice = Ftp::enter(server.doors().ftps, How::explicit(version), "alice");
        alice.put("secret", b"secret");
        for (command, way) in [
            ("RETR secret", Way::Epsv),
            ("STOR secret", Way::Pasv),
            ("MLSD", Way::Epsv),
        ] {
            let since = server.audit().len();
            let at = if way == Way::Pasv {
                alice.pasv()
            } else {
                alice.epsv()
            };
            // The thief is faster, with the victim's own tickets even.
            let thief = connect(at, Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))).unwrap();
            alice.send(command);
            let tls = alice.tls().clone();
            let mut stolen = Vec::new();
            if let Ok(mut wire) = tls.clone().wrap(thief, true) {
                let _ = wire.write_all(b"forged");
                let _ = wire.read_to_end(&mut stolen);
            }
            assert_eq!(stolen, b"", "{command}: {:?}", String::from_utf8_lossy(&stolen));
            // The port is still the victim's.
            let own = connect(at, None).unwrap();
            alice.answer().is(150);
            let mut wire = tls.wrap(own, true).unwrap();
            if command.starts_with("STOR") {
                wire.write_all(b"secret").unwrap();
                wire.close_notify().unwrap();
                wire.fin().unwrap();
            }
            let mut got = Vec::new();
            wire.read_to_end(&mut got).unwrap();
            alice.answer().is(226);
            match command {
                "RETR secret" => assert_eq!(got, b"secret"),
                "MLSD" => assert!(String::from_utf8_lossy(&got).contains("; secret\r\n")),
                _ => assert_eq!(got, b""),
            }
            server.expect_told(since, "ftps knock refused", 1);
            assert_eq!(alice.get("secret"), b"secret");
        }
    }
}

/// Strangers before the client, and many of them, do not keep it out.
#[test]
fn strangers_do_not_keep_the_client_out() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("x", b"content");
    let at = ftp.epsv();
    let strangers: Vec<TcpStream> = (2..62)
        .map(|last| connect(at, Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))).unwrap())
        .collect();
    // As clients do: connected first, the command second.
    let own = connect(at, None).unwrap();
    ftp.say("RETR x").is(150);
    let mut wire = ftp.tls().clone().wrap(own, true).unwrap();
    let mut got = Vec::new();
    wire.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"content");
    ftp.answer().is(226);
    drop(strangers);
}

/// A client that vanishes has not got what it was about to get.
#[test]
fn a_download_that_nobody_took_is_not_recorded_as_one() {
    let server = Portreeve::start();
    Ftp::signed_in(&server, "alice").put("x", &data::bytes(1 << 20, 1));
    for n in 0..10 {
        let since = server.audit().len();
        let mut ftp = Ftp::signed_in(&server, "alice");
        let (_, data) = ftp.data_socket(None);
        ftp.send("RETR x");
        // Before the answer, or after it.
        if n % 2 == 0 {
            ftp.answer().is(150);
        }
        ftp.reset();
        let gone = |r: &portreeve_tests::Record| r.text("act") == "logout";
        until("the session is over", PATIENCE, || {
            server.audit()[since..].iter().any(gone)
        });
        let log = server.audit().split_off(since);
        let took = |r: &&portreeve_tests::Record| r.text("act") == "download" && r.text("outcome") == "ok";
        assert!(!log.iter().any(|r| took(&r)), "{n}: {log:?}");
        drop(data);
    }
}

/// One port, one connection: whoever comes second is not let in.
#[test]
fn a_passive_port_is_used_once() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("x", &data::bytes(1 << 20, 1));
    let (at, first) = ftp.data_socket(None);
    ftp.send("RETR x");
    ftp.answer().is(150);
    // Accepted, then ended by the server, or refused by the kernel: never served.
    if let Ok(second) = TcpStream::connect(at)
        && let Ok(mut wire) = ftp.tls().clone().wrap(second, true)
    {
        let mut got = Vec::new();
        let _ = wire.read_to_end(&mut got);
        assert_eq!(got, b"");
    }
    let mut wire = ftp.tls().clone().wrap(first, true).unwrap();
    let mut got = Vec::new();
    wire.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 1 << 20);
    ftp.answer().is(226);
}

/// `session_reuse = "require"`: whoever cannot show the session of the control connection gets and leaves nothing.
#[test]
fn data_without_the_session_is_refused_where_it_is_required() {
    let server = Portreeve::start();
    let at = server.doors().ftps_strict;
    let how = || How::explicit(Version::Any);
    let mut alice = Ftp::enter(at, how(), "alice");
    alice.put("secret", b"secret");
    // Somebody else with a session of her own, on the same machine.
    let bob = Ftp::enter(at, how(), "bob");
    let unrelated = Tls::new(Version::Tls12).with(&bob.tickets());
    let fresh = || Tls::new(Version::Tls12);
    for (what, tls) in [
        ("no session", fresh().forgetful()),
        ("a new session", fresh()),
        ("an unrelated session", unrelated),
    ] {
        for command in [
            "RETR secret",
            "STOR secret",
            "APPE secret",
            "STOR new",
            "MLSD /",
            "LIST",
            "NLST",
        ] {
            let since = server.audit().len();
            let mut data = match alice.open_by(Way::Epsv, command, Some(tls.clone())) {
                Ok(data) => data,
                Err(refusal) => panic!("{what}, {command}: {}", refusal.text()),
            };
            assert_eq!(data.resumed(), Some(false), "{what}");
            let _ = data.send(b"forged");
            let got = data.all().unwrap_or_default();
            assert_eq!(got, b"", "{what}, {command}");
            drop(data);
            let answer = alice.answer();
            assert_eq!(answer.code, 522, "{what}, {command}: {}", answer.text());
            one_refusal(&server, since, &format!("{what}, {command}"));
        }
        assert_eq!(alice.own(), ["secret"], "{what}");
        assert_eq!(alice.get("secret"), b"secret", "{what}");
    }
    // Nobody speaks what cannot be bound.
    assert_eq!(alice.wire().version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let mut ftp = Ftp::connect(at, How::explicit(Version::Tls13));
    ftp.say("AUTH TLS").is(234);
    assert!(ftp.start_tls().is_err(), "TLS 1.3 where sessions must be resumed");
    // Real clients that resume.
    let server = &server;
    for args in [
        &["resuming", "get", "secret", "back"][..],
        &["resuming", "put", "back", "again"],
    ] {
        strict(server).ftplib(args).ok();
    }
    strict(server).ftplib(&["get", "secret", "back2"]).fails("522");
    strict(server)
        .lftp("get secret -o back3\nput back3 -o third")
        .ok();
    strict(server).curl(&["-T", "back3"], "/fourth").ok();
    // Two transfers of one control connection.
    let first = strict(server).url("/secret");
    strict(server)
        .curl(&["-o", "back4", &first, "-o", "back5"], "/fourth")
        .ok();
    strict(server).rclone(&["copyto", "r:secret", "back6"]).ok();
    for n in 3..=6 {
        assert_eq!(
            std::fs::read(server.dir().join(format!("back{n}"))).unwrap(),
            b"secret",
            "{n}"
        );
    }
}

/// What was done since a moment is one thing, and that was refused.
#[track_caller]
fn one_refusal(server: &Portreeve, since: usize, what: &str) {
    let acts = || {
        let mut acts = server.audit().split_off(since);
        // A listing is read before it is refused to the one who would get it.
        acts.retain(|r| !matches!(r.text("act"), "login" | "logout" | "list"));
        acts
    };
    until("the refusal is recorded", PATIENCE, || !acts().is_empty());
    let acts = acts();
    assert_eq!(acts.len(), 1, "{what}: {acts:?}");
    assert_eq!(acts[0].text("outcome"), "refused", "{what}: {acts:?}");
    assert!(!acts[0].text("why").is_empty(), "{what}: {acts:?}");
}

fn strict(server: &Portreeve) -> Ftps {
    Ftps::new(server, "alice").through(server.doors().ftps_strict.port())
}

/// PORT and EPRT lead to the client itself and nowhere else.
#[test]
fn the_server_connects_to_nobody_else() {
    let server = Portreeve::start();
    let mut ftp = Ftp::enter(server.doors().ftps_strict, How::explicit(Version::Any), "alice");
    ftp.put("x", b"content");
    let listener = std::net::TcpListener::bind(("127.0.0.2", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = listener.local_addr().unwrap();
    let at = |ip: [u8; 4], port: u16| SocketAddr::from((ip, port));
    for target in [
        elsewhere,
        at([192, 0, 2, 1], 5000),
        at([127, 0, 0, 1], 22),
        at([127, 0, 0, 1], 1023),
        at([127, 0, 0, 1], 0),
        at([0, 0, 0, 0], 5000),
        at([255, 255, 255, 255], 5000),
        SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 5000)),
        SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(), 5000)),
    ] {
        let mut lines = vec![format!("EPRT {}", eprt_text(target))];
        if target.is_ipv4() {
            lines.push(format!("PORT {}", port_text(target)));
        }
        for line in lines {
            let since = server.audit().len();
            let answer = ftp.say(&line);
            assert!(
                matches!(answer.code, 500..=504 | 522),
                "{line}: {}",
                answer.text()
            );
            ftp.say("RETR x").one_of(&[425, 503]);
            if answer.code == 504 {
                server.expect_told(since, "ftps knock refused", 1);
            }
        }
    }
    assert!(listener.accept().is_err(), "the server came to a stranger");
    for line in [
        "PORT",
        "PORT 1,2,3",
        "PORT 127,0,0,1,4,256",
        "PORT 127,0,0,1,-1,5",
        "PORT 127,0,0,1,300,5",
        "PORT a,b,c,d,e,f",
        "PORT 127,0,0,1,4,5,6",
        "EPRT",
        "EPRT |1|127.0.0.1|",
        "EPRT |1|127.0.0.1|70000|",
        "EPRT |2|127.0.0.1|5000|",
        "EPRT |9|127.0.0.1|5000|",
        "EPRT x1x127.0.0.1x5000",
        "EPRT |1|localhost|5000|",
    ] {
        let answer = ftp.say(line);
        assert!(
            matches!(answer.code, 500..=504 | 522),
            "{line}: {}",
            answer.text()
        );
        ftp.say("RETR x").one_of(&[425, 503]);
    }
    for way in [Way::Port, Way::Eprt] {
        let tls = ftp.tls().clone();
        let mut data = ftp.open_by(way, "RETR x", Some(tls)).unwrap();
        assert_eq!(data.all().unwrap(), b"content");
        ftp.answer().is(226);
    }
}

#[test]
fn active_mode_is_off_unless_switched_on() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    let (listener, port, eprt) = ftp.listen();
    listener.set_nonblocking(true).unwrap();
    for line in [format!("PORT {port}"), format!("EPRT {eprt}")] {
        let since = server.audit().len();
        ftp.say(&line).is(502);
        server.expect_told(since, "ftps knock refused", 1);
        ftp.say("NLST").one_of(&[425, 503]);
    }
    assert!(listener.accept().is_err(), "the server came all the same");
    assert_eq!(ftp.own(), [""; 0]);
}
