//! Running it: the demo, drain, hostile load, damaged state, and what the judges say.
//!
//!

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use portreeve_tests::{
    Curl, Ftp, Ftps, Portreeve, Sftp, clients,
    config::PASSWORD,
    data,
    process::{self, until},
    server::PATIENCE,
    skip,
};
use rustix::process::Signal;

/// The first command of the README.
#[test]
fn the_demo_serves_files_and_mail_through_every_door() {
    let mut server = Portreeve::demo();
    let line = server.demo_line().unwrap().clone();
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    for key in [
        "sftp",
        "ftps",
        "https",
        "console",
        "user",
        "password",
        "admin",
        "admin_password",
        "config",
    ] {
        assert!(keys.iter().any(|k| *k == key), "{key} is missing in {line}");
    }
    assert!(fs::metadata(line["config"].as_str().unwrap()).unwrap().is_file());
    let doors = server.doors().clone();
    let curl = Curl::new(&server, &doors.user, &doors.password);
    let root = curl.list("/");
    assert!(root.contains(&"mail".to_owned()) && root.len() > 1, "{root:?}");
    assert!(curl.list("/mail").contains(&"Inbox".to_owned()));
    let inbox = curl.list("/mail/Inbox");
    let first = inbox.first().expect("a sample attachment");
    let sftp = Sftp::by_password(&server, &doors.user, &doors.password);
    sftp.batch(&format!("get \"/mail/Inbox/{}\" got", first.replace('"', "\\\"")))
        .ok();
    assert_eq!(
        fs::read(server.dir().join("got")).unwrap(),
        curl.read(&format!("/mail/Inbox/{first}")).is(200).body
    );
    sftp.batch(&format!("rm \"/mail/Inbox/{}\"", first.replace('"', "\\\"")))
        .ok();
    curl.read(&format!("/mail/Inbox/{first}")).is(404);
    assert!(server.stop().success());
}

/// How many files bytes have come to: an upload that is only being opened is nothing that a drain waits for.
fn under_way(home: &Path) -> usize {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|e| e.metadata().ok());
    sizes.filter(|m| m.len() > 0).count()
}

/// SIGTERM in the middle of transfers: they end well, nobody new comes in, the exit status is 0.
#[test]
fn a_drain_ends_transfers_well() {
    let mut server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 12 << 20, 1);
    let mut runs = Vec::new();
    for n in 0..skip::slice_or_full(6, 30) {
        let alice = Sftp::by_key(&server, "alice");
        // 16 Mbit/s: some six seconds each.
        runs.push(alice.start_slowly(16_000, &format!("put source s{n}")));
        let curl = Curl::new(&server, "alice", PASSWORD);
        runs.push(curl.start_upload(&source, &format!("/h{n}"), &["--limit-rate", "2M", "-f"]));
        let ftps = Ftps::new(&server, "alice");
        runs.push(ftps.start_curl(&["--limit-rate", "2M", "-T", "source"], &format!("/f{n}")));
    }
    let home = server.config.home("alice");
    until("all of them are under way", PATIENCE, || {
        under_way(&home) == runs.len()
    });
    server.signal(Signal::TERM);
    let address = server.doors().sftp;
    until("nobody new is let in", Duration::from_secs(5), || {
        !Sftp::by_key(&server, "bob")
            .option("ConnectTimeout=2")
            .batch("pwd")
            .status
            .success()
            || TcpStream::connect(address).is_err()
    });
    for run in runs {
        run.wait(PATIENCE * 2).ok();
    }
    assert!(server.ended(PATIENCE).success(), "{}", server.log());
    for entry in fs::read_dir(server.config.home("alice")).unwrap().flatten() {
        data::same(&source, &entry.path());
    }
}

/// a drain says 421 to whoever is idle, and to whoever has a transfer after it.
#[test]
fn a_drain_says_421() {
    let mut server = Portreeve::start_with(|c| c.grace = "1h");
    let content = data::bytes(3_000_000, 1);
    let mut idle = Ftp::signed_in(&server, "alice");
    let mut unknown = Ftp::plain(&server);
    let mut busy = Ftp::signed_in(&server, "alice");
    let mut open = busy.open("STOR x").unwrap();
    open.send(&content[..1_000_000]).unwrap();
    let home = server.config.home("alice");
    until("it is under way", PATIENCE, || under_way(&home) == 1);
    server.signal(Signal::TERM);
    for ftp in [&mut idle, &mut unknown] {
        ftp.answer().is(421);
        assert_eq!(ftp.rest(), "");
    }
    for door in [server.doors().ftps, server.doors().ftps_implicit] {
        until("new connections are refused", PATIENCE, || {
            TcpStream::connect(door).is_err()
        });
    }
    open.send(&content[1_000_000..]).unwrap();
    open.end(portreeve_tests::ftp::End::Clean).unwrap();
    busy.answer().is(226);
    busy.answer().is(421);
    assert_eq!(busy.rest(), "");
    assert!(server.ended(PATIENCE).success(), "{}", server.log());
    assert!(fs::read(home.join("x")).unwrap() == content);
    let log = server.audit();
    let reasons: Vec<&str> = log
        .iter()
        .filter(|r| r.text("act") == "logout")
        .map(|r| r.text("reason"))
        .collect();
    assert_eq!(reasons, ["drained", "drained"]);
}

/// who waits for the drain to end is told when a second SIGTERM ends it at once; nobody new comes in meanwhile.
#[test]
fn a_second_signal_ends_a_drain_at_once() {
    // Were it not for the second signal, the drain would outlast the test.
    let mut server = Portreeve::start_with(|c| c.grace = "1h");
    let source = server.dir().join("source");
    data::file(&source, 64 << 20, 1);
    let alice = Sftp::by_key(&server, "alice");
    let mut sftp = alice.start_slowly(4_000, "put source by-sftp");
    let curl = Curl::new(&server, "alice", PASSWORD);
    let https = curl.start_upload(&source, "/by-https", &["--limit-rate", "500K", "-f"]);
    let mut ftp = Ftp::signed_in(&server, "alice");
    let mut open = ftp.open("STOR by-ftps").unwrap();
    open.send(&data::bytes(1 << 20, 1)).unwrap();
    let home = server.config.home("alice");
    until("all are under way", PATIENCE, || under_way(&home) == 3);
    server.signal(Signal::TERM);
    for door in [server.doors().sftp, server.doors().https, server.doors().ftps] {
        until("new connections are refused", PATIENCE, || {
            TcpStream::connect(door).is_err()
        });
    }
    assert!(sftp.alive(), "a transfer goes on while the server drains");
    server.signal(Signal::TERM);
    let status = server.ended(PATIENCE);
    assert_eq!(status.code(), Some(1), "somebody was cut\n{}", server.log());
    let _ = sftp.wait(PATIENCE).fails("received disconnect");
    let _ = https.wait(PATIENCE).fails("");
    let said = ftp.rest();
    assert!(said.starts_with("426 ") || said.starts_with("421 "), "{said:?}");
    assert!(said.contains("421 ") && !said.contains("226 "), "{said:?}");
    drop(open);
    for name in ["by-sftp", "by-https", "by-ftps"] {
        assert!(!home.join(name).exists(), "{name} is torn and visible");
    }
    server.restart();
    alice.batch("reput source by-sftp").ok();
    data::same(&source, &home.join("by-sftp"));
}

/// the state database goes away under the running server.
#[test]
fn sessions_outlive_the_state_database() {
    let server = Portreeve::start();
    let alice = Sftp::by_key(&server, "alice");
    fs::write(server.dir().join("a"), "x").unwrap();
    alice.batch("put a a").ok();
    let ready = || {
        let done = process::run(
            Command::new("curl")
                .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
                .arg(format!("http://127.0.0.1:{}/readyz", server.config.metrics)),
            b"",
            PATIENCE,
        );
        done.text() == "200"
    };
    assert!(ready(), "{}", server.log());
    let (state, away) = (
        server.dir().join("state/portreeve.db"),
        server.dir().join("state/away.db"),
    );
    fs::rename(&state, &away).unwrap();
    until("readiness turns red", PATIENCE, || !ready());
    // Local accounts need no database.
    alice.batch("put a b").ok();
    fs::rename(&away, &state).unwrap();
    until("readiness turns green again", PATIENCE, ready);
    alice.batch("get b back").ok();
}

/// hostile openings, each followed by a good login; memory and descriptors come back.
#[test]
fn hostile_openings_cost_little_and_leave_nothing() {
    let server = Portreeve::start_with(|c| c.more = String::new());
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("ls /").ok();
    Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").is(200);
    let (rss, fds) = server.usage();
    let doors = [
        server.doors().sftp,
        server.doors().https,
        server.doors().ftps,
        server.doors().ftps_implicit,
    ];
    let openings: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("noise", data::bytes(200_000, 1)),
        ("an endless line", vec![b'A'; 4 << 20]),
        (
            "a version, then noise",
            [b"SSH-2.0-x\r\n".to_vec(), data::bytes(300_000, 2)].concat(),
        ),
        (
            "a huge packet",
            [
                b"SSH-2.0-x\r\n".to_vec(),
                vec![0xff, 0xff, 0xff, 0xff],
                vec![0; 1 << 20],
            ]
            .concat(),
        ),
        (
            "a request in clear",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        (
            "a huge TLS record",
            [vec![22, 3, 1, 0xff, 0xff], vec![1; 70_000]].concat(),
        ),
        ("newlines", vec![b'\n'; 1 << 20]),
    ];
    for (what, bytes) in openings {
        for door in doors {
            let mut open = Vec::new();
            for _ in 0..20 {
                let Ok(mut stream) = TcpStream::connect(door) else {
                    panic!("{what}: no answer at {door}")
                };
                let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
                let _ = stream.write_all(bytes);
                open.push(stream);
            }
            alice.batch("ls /").ok();
            let _ = Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").is(200);
            let (now, _) = server.usage();
            assert!(
                now < rss + 96 * 1024,
                "{what} at {door}: {rss} KiB grew to {now} KiB"
            );
        }
    }
    until("descriptors come back", PATIENCE, || server.usage().1 <= fds + 12);
    Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").is(200);
}

/// a client that asks for much and reads nothing does not make the server hold it.
#[test]
fn a_client_that_does_not_read_is_not_buffered() {
    let server = Portreeve::start();
    data::file(&server.dir().join("source"), 200 << 20, 1);
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("put source big").ok();
    let (rss, _) = server.usage();
    let curl = Curl::new(&server, "alice", PASSWORD);
    let _ = curl.get("/api/v1/me").is(200);
    // So large that nobody is done with it before the signal.
    let hole = fs::File::create(server.config.home("alice").join("hole")).unwrap();
    hole.set_len(16 << 30).unwrap();
    let mut deaf = Vec::new();
    for n in 0..16 {
        let got = server.dir().join(format!("deaf{n}"));
        let client = match n % 3 {
            0 => alice.start(&format!("get hole {}", got.display())),
            1 => curl.start_download("/hole", &got, &[]),
            _ => Ftps::new(&server, "alice").start_curl(&["-o", got.to_str().unwrap()], "/hole"),
        };
        until("it has begun", PATIENCE, || {
            fs::metadata(&got).is_ok_and(|m| m.len() > 0)
        });
        client.signal(Signal::STOP);
        deaf.push(client);
    }
    for _ in 0..20 {
        alice.batch("ls /").ok();
    }
    let (now, _) = server.usage();
    assert!(
        now < rss + 160 * 1024,
        "16 deaf clients: {rss} KiB grew to {now} KiB"
    );
    for client in deaf {
        assert!(
            client.kill().killed(),
            "a client was done before it could be deaf"
        );
    }
    alice.batch("get big back").ok();
    data::same(&server.dir().join("source"), &server.dir().join("back"));
}

/// no descriptor left is no reason to stop accepting for ever, nor to spin, nor to leave the administrator outside.
#[test]
fn running_out_of_descriptors_passes() {
    let mut server = Portreeve::start();
    server.crash();
    server.start_under(&["prlimit", "--nofile=128:128"]);
    let doors = [server.doors().sftp, server.doors().https, server.doors().ftps];
    let mut open = Vec::new();
    for n in 0..500 {
        if let Ok(stream) = TcpStream::connect_timeout(&doors[n % 3], Duration::from_secs(2)) {
            open.push(stream);
        }
    }
    let file = server.config.file();
    let status = || server.command(&["status", "--config", file.to_str().unwrap()], b"");
    status().ok();
    let before = cpu(&server);
    // Not a timed assertion about speed: how much a server that has nothing to do may do.
    thread::sleep(Duration::from_secs(2));
    let spent = cpu(&server) - before;
    assert!(
        spent < 100,
        "{spent} ticks of 200 spent on waiting for a descriptor"
    );
    status().ok();
    assert!(open.len() > 128, "{} connections exhaust nothing", open.len());
    drop(open);
    until("SFTP lets people in again", PATIENCE, || {
        Sftp::by_key(&server, "alice").batch("pwd").status.success()
    });
    until("HTTPS lets people in again", PATIENCE, || {
        Curl::new(&server, "alice", PASSWORD).get("/api/v1/me").status == 200
    });
    until("FTPS lets people in again", PATIENCE, || {
        Ftps::new(&server, "alice").curl(&[], "/").status.success()
    });
}

/// Clock ticks (10 ms) that the server has used.
fn cpu(server: &Portreeve) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn many_idle_sessions_are_cheap() {
    let server = Portreeve::start_with(|c| c.more = String::new());
    let Some(mut first) = clients::python_start(&server, "asyncssh_client.py", "alice", &["idle", "1"])
    else {
        return;
    };
    let sessions = || {
        server
            .audit()
            .iter()
            .filter(|r| r.story() == "sftp login ok")
            .count()
    };
    until("one is in", PATIENCE, || sessions() == 1);
    let base = pss(&server);
    let count = 60;
    let Some(mut many) = clients::python_start(
        &server,
        "asyncssh_client.py",
        "alice",
        &["idle", &count.to_string()],
    ) else {
        return;
    };
    until("all are in", PATIENCE, || sessions() == 1 + count);
    assert!(first.alive() && many.alive());
    let each = (pss(&server).saturating_sub(base)) / count as u64;
    assert!(each < 256, "{each} KiB for an idle session");
}

/// Proportional set size, KiB.
fn pss(server: &Portreeve) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", server.pid())).unwrap();
    text.lines()
        .find_map(|l| l.strip_prefix("Pss:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok())
        .unwrap()
}

/// ssh-audit: no fail; no warning but that curve25519 is not post-quantum.
#[test]
fn ssh_audit_has_nothing_to_say() {
    let Some(python) = skip::python() else {
        skip("ssh-audit");
        return;
    };
    let server = Portreeve::start();
    let audit = python.replace("/python", "/ssh-audit");
    let mut command = Command::new(audit);
    command.args(["-j", "-p", &server.doors().sftp.port().to_string(), "127.0.0.1"]);
    let done = process::run(&mut command, b"", PATIENCE);
    let report: serde_json::Value =
        serde_json::from_slice(&done.out).unwrap_or_else(|e| panic!("{e}: {}", done.said()));
    let mut offences = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in report[kind].as_array().unwrap() {
            let name = algorithm["algorithm"].as_str().unwrap();
            for level in ["fail", "warn"] {
                for note in algorithm["notes"][level].as_array().into_iter().flatten() {
                    let note = note.as_str().unwrap_or_default();
                    if !(name.contains("curve25519") && note.contains("post-quantum")) {
                        offences.push(format!("{kind} {name}: {level}: {note}"));
                    }
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    assert_eq!(report["kex"][0]["algorithm"], "mlkem768x25519-sha256");
    assert!(
        report["cves"].as_array().is_none_or(Vec::is_empty),
        "{}",
        report["cves"]
    );
}

/// sslyze against Mozilla's intermediate profile: everything but the trust in a self-signed chain.
#[test]
fn sslyze_finds_the_intermediate_profile() {
    let venv = std::env::var("PORTREEVE_TLS_VENV")
        .unwrap_or_else(|_| format!("{}/../target/venv-tls", env!("CARGO_MANIFEST_DIR")));
    let sslyze = format!("{venv}/bin/sslyze");
    if !skip::have(&sslyze) {
        skip("sslyze");
        return;
    }
    let server = Portreeve::start();
    let mut command = Command::new(sslyze);
    command.args(["--mozilla_config=intermediate", &server.doors().https.to_string()]);
    let said = process::run(&mut command, b"", PATIENCE * 3).said();
    let verdict = said
        .split("COMPLIANCE AGAINST TLS CONFIGURATION")
        .nth(1)
        .unwrap_or_else(|| panic!("{said}"));
    let offences: Vec<&str> = verdict
        .lines()
        .filter(|l| l.trim_start().starts_with("* ") && !l.contains("certificate_path_validation"))
        .collect();
    assert!(offences.is_empty(), "{offences:?}\n{verdict}");
    assert!(
        verdict.contains("certificate_path_validation"),
        "not judged at all: {verdict}"
    );
}

#[test]
fn health_and_metrics_have_their_own_address() {
    let server = Portreeve::start();
    Sftp::by_key(&server, "alice").batch("pwd").ok();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.config.metrics)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"), "{}", get("/healthz"));
    assert!(get("/readyz").starts_with("HTTP/1.1 200"), "{}", get("/readyz"));
    let metrics = get("/metrics");
    assert!(metrics.contains("portreeve_logins_total"), "{metrics}");
    // Not at a door that strangers reach.
    let stranger = Curl::new(&server, "", "");
    assert_ne!(stranger.get("/metrics").status, 200);
}
