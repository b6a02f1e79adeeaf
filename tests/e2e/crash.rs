//! The server is killed; what was acknowledged is whole, what was not is not there, and the audit log knows.
//!
//!

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use portreeve_tests::{
    Curl, Ftp, Ftps, Portreeve, Sftp, config::PASSWORD, data, process::until, server::PATIENCE, skip,
};

/// What clients were told: of each name the source of its content, and in which round.
type Acknowledged = Mutex<BTreeMap<String, (usize, usize)>>;

/// About the size of one record.
const RECORD: u64 = 350;

/// parallel uploads through every door, SIGKILL at changing moments.
#[test]
fn acknowledged_uploads_survive_and_unacknowledged_are_invisible() {
    let rounds = skip::slice_or_full(20, 500);
    let mut server = Portreeve::start();
    let sources: Vec<PathBuf> = (0..4).map(|n| server.dir().join(format!("source{n}"))).collect();
    for (n, source) in sources.iter().enumerate() {
        data::file(source, 3 << 20, 100 + n as u64);
    }
    let home = server.config.home("alice");
    Sftp::by_key(&server, "alice").batch("pwd").ok();
    let acknowledged = Acknowledged::default();
    let mut cut = 0;
    let log = server.dir().join("state/audit.jsonl");
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
    for round in 0..rounds {
        let since = server.audit().len();
        let killed = AtomicBool::new(false);
        thread::scope(|scope| {
            for worker in 0..9usize {
                let (sftp, curl, ftps) = (
                    Sftp::by_key(&server, "alice"),
                    Curl::new(&server, "alice", PASSWORD),
                    Ftps::new(&server, "alice"),
                );
                let (sources, acknowledged, killed) = (&sources, &acknowledged, &killed);
                scope.spawn(move || {
                    for turn in 0.. {
                        if killed.load(Ordering::Relaxed) {
                            return;
                        }
                        let seed = (worker + turn + round) % sources.len();
                        // Half of the names are overwritten again and again, half are new.
                        let name = if turn % 2 == 0 {
                            format!("w{worker}")
                        } else {
                            format!("r{round}w{worker}t{turn}")
                        };
                        let source = &sources[seed];
                        let fine = match worker % 3 {
                            0 => sftp
                                .batch(&format!("put {} {name}", source.display()))
                                .status
                                .success(),
                            1 => matches!(curl.upload(source, &format!("/{name}")).status, 200 | 201 | 204),
                            // It ends well only after 226.
                            _ => ftps
                                .curl(&["-T", source.to_str().unwrap()], &format!("/{name}"))
                                .status
                                .success(),
                        };
                        // An answer that never came says nothing about the file: old or new, but whole.
                        if fine {
                            acknowledged.lock().unwrap().insert(name, (seed, round));
                        } else {
                            acknowledged.lock().unwrap().remove(&name);
                        }
                    }
                });
            }
            // Another moment each round: from the middle of the first uploads to well within the later ones.
            let target = size(&log) + round as u64 % 24 * RECORD;
            let deadline = std::time::Instant::now() + PATIENCE;
            while size(&log) < target && std::time::Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
            server.crash();
            killed.store(true, Ordering::Relaxed);
        });
        server.restart();

        // Nothing of the wreck is visible.
        let listed = Curl::new(&server, "alice", PASSWORD).list("/");
        assert!(
            !listed.iter().any(|n| n.starts_with('.')),
            "round {round}: {listed:?}"
        );
        let mut acknowledged = acknowledged.lock().unwrap();
        let audit = server.audit().split_off(since);
        let mut expected = Vec::new();
        for source in &sources {
            expected.push(fs::read(source).unwrap());
        }
        for (name, (seed, told)) in acknowledged.iter() {
            let content = fs::read(home.join(name))
                .unwrap_or_else(|e| panic!("round {round}: acknowledged {name}: {e}"));
            assert!(
                content == expected[*seed],
                "round {round}: acknowledged {name} is not what was sent"
            );
            let recorded = audit.iter().any(|r| {
                r.text("act") == "upload" && r.text("outcome") == "ok" && r.text("path") == format!("/{name}")
            });
            assert!(
                recorded || *told < round,
                "round {round}: no record of the acknowledged {name}"
            );
        }
        for entry in fs::read_dir(&home).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                cut += 1;
            } else {
                let content = fs::read(entry.path()).unwrap();
                assert!(
                    expected.contains(&content),
                    "round {round}: {name} is torn: {} bytes",
                    content.len()
                );
            }
            // What is overwritten again and again stays, the rest would fill the disk in the long run.
            if !name.starts_with('w') {
                fs::remove_file(entry.path()).unwrap();
                acknowledged.remove(&name);
            }
        }
        drop(acknowledged);
    }
    server
        .command(&["audit", "verify", log.to_str().unwrap()], b"")
        .ok();
    assert!(
        cut > 0,
        "no upload was ever cut: the test kills at the wrong moments"
    );
}

/// the order in which an upload reaches the disk, seen from outside: fsync of the file, rename, fsync of the
/// directory, the audit record, and only then the answer.
#[test]
fn durable_before_it_is_answered() {
    if !skip::have("strace") {
        skip("strace");
        return;
    }
    let mut server = Portreeve::start();
    let trace = server.dir().join("trace");
    fs::write(server.dir().join("small"), data::bytes(100_000, 1)).unwrap();
    Sftp::by_key(&server, "alice").batch("pwd").ok();
    server.crash();
    let path = trace.to_str().unwrap();
    let calls =
        "trace=fsync,fdatasync,rename,renameat,renameat2,linkat,write,writev,sendto,sendmsg,openat,openat2";
    server.start_under(&["strace", "-f", "-y", "-s", "64", "-o", path, "-e", calls]);
    for door in ["sftp", "https", "ftps"] {
        let seen = fs::read_to_string(&trace).unwrap_or_default().lines().count();
        let name = format!("by-{door}");
        if door == "sftp" {
            Sftp::by_key(&server, "alice")
                .batch(&format!("put small {name}"))
                .ok();
        } else if door == "https" {
            Curl::new(&server, "alice", PASSWORD)
                .upload(&server.dir().join("small"), &format!("/{name}"))
                .is(201);
        } else {
            let mut ftp = Ftp::signed_in(&server, "alice");
            ftp.put(&name, &data::bytes(100_000, 1));
        }
        let mut lines = Vec::new();
        until("the trace shows the rename", PATIENCE, || {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            lines = text.lines().skip(seen).map(str::to_owned).collect();
            lines.iter().any(|l| publishes(l, &name))
        });
        let at = |what: &str, from: usize, test: &dyn Fn(&str) -> bool| {
            lines[from..]
                .iter()
                .position(|l| test(l))
                .map(|i| i + from)
                .unwrap_or_else(|| panic!("{door}: no {what} in\n{}", lines[from..].join("\n")))
        };
        let publish = at("rename", 0, &|l| publishes(l, &name));
        let home = server.config.home("alice");
        let home = home.to_str().unwrap();
        let file_sync = lines[..publish]
            .iter()
            .rposition(|l| l.contains("sync(") && l.contains(home))
            .unwrap_or_else(|| {
                panic!(
                    "{door}: no fsync of the file before it is published\n{}",
                    lines[..publish].join("\n")
                )
            });
        let dir_sync = at("fsync of the directory", publish, &|l| {
            l.contains("fsync(") && l.contains(&format!("{home}>"))
        });
        let record = at("audit record", publish, &|l| {
            l.contains("write") && l.contains("audit.jsonl")
        });
        // The answer: the first bytes for a client's socket after all that.
        let answer = at("answer", publish, &|l| {
            l.contains("TCP:") || l.contains("socket:")
        });
        assert!(
            file_sync < publish && dir_sync < answer,
            "{door}: answered before the directory was on the disk"
        );
        assert!(record < answer, "{door}: answered before it was recorded");
    }
}

/// Whether a line of the trace makes the name visible.
fn publishes(line: &str, name: &str) -> bool {
    (line.contains("rename") || line.contains("linkat")) && line.contains(&format!("\"{name}\""))
}

/// The first start after a crash in mid-upload: parts are kept for their owner, and go on.
#[test]
fn a_part_survives_the_crash_and_is_resumed() {
    let mut server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 48 << 20, 1);
    let relay = portreeve_tests::Proxy::plain(server.doors().sftp);
    let alice = Sftp::by_key(&server, "alice");
    let slow = alice.clone().through(relay.address().port());
    let client = slow.start("put source big");
    until("some of it has passed", PATIENCE, || relay.passed() > 8 << 20);
    server.crash();
    assert!(!client.wait(PATIENCE).status.success());
    assert!(
        !server.config.home("alice").join("big").exists(),
        "torn and visible"
    );
    server.restart();
    assert!(
        !server.config.home("alice").join("big").exists(),
        "torn and visible after the restart"
    );
    alice.batch("reput source big").ok();
    data::same(&source, &server.config.home("alice").join("big"));
}

/// The same at the FTPS door: a part that nobody had acknowledged is its owner's to go on with after the restart.
#[test]
fn a_part_over_ftps_survives_the_crash_and_is_resumed() {
    let mut server = Portreeve::start();
    let content = data::bytes(8 << 20, 1);
    let home = server.config.home("alice");
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("big", b"the old content");
    let mut open = ftp.open("STOR big").unwrap();
    open.send(&content[..6 << 20]).unwrap();
    let size = |home: &PathBuf| {
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).max()
    };
    until("some of it has arrived", PATIENCE, || size(&home) > Some(4 << 20));
    server.crash();
    assert!(ftp.try_answer().is_err(), "an answer of the dead");
    server.restart();
    assert_eq!(fs::read(home.join("big")).unwrap(), b"the old content");
    let mut ftp = Ftp::signed_in(&server, "alice");
    let kept = ftp.say("SIZE big").is(213).text()[4..].parse::<usize>().unwrap();
    assert!(kept > 4 << 20 && kept <= 6 << 20, "{kept}");
    ftp.say(&format!("REST {kept}")).is(350);
    ftp.store("STOR big", &content[kept..], portreeve_tests::ftp::End::Clean)
        .is(226);
    assert!(
        fs::read(home.join("big")).unwrap() == content,
        "gone on with at {kept}, but not whole"
    );
}
