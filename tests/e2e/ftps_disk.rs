//! FTPS × local disk: large files, many files, and what is left of an upload that did not end well.

use std::{fs, io::Read, io::Write, path::Path};

use portreeve_tests::{
    Curl, Ftp, Ftps, Portreeve, Record, Sftp, Tmpfs,
    config::PASSWORD,
    data,
    ftp::{Answer, Data, End, How, Tls, Version, Way},
    process::until,
    server::PATIENCE,
    skip,
};

/// The one upload or download of a path since a moment, once it is over.
#[track_caller]
fn transfer(server: &Portreeve, since: usize, act: &str, path: &str) -> Record {
    let mut found = Vec::new();
    until("the transfer's end is recorded", PATIENCE, || {
        found = server.audit().split_off(since);
        found.retain(|r| r.text("act") == act && r.text("path") == path);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_large_file_up_and_down_is_one_event_each() {
    let size = skip::slice_or_full(20 << 20, 1 << 30);
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, size, 1);
    for (n, version) in [Version::Tls12, Version::Tls13].into_iter().enumerate() {
        let since = server.audit().len();
        let way = Ftps::new(&server, "alice").version(version);
        let path = format!("/big{n}");
        way.curl(&["-T", "source"], &path).ok();
        way.curl(&["-o", "back"], &path).ok();
        data::same(&source, &server.dir().join("back"));
        let part = way.curl(&["-r", "1000000-"], &path).ok();
        let whole = fs::read(&source).unwrap();
        assert!(
            part.out == whole[1_000_000..],
            "{version:?}: {} bytes from the middle on",
            part.out.len()
        );
        let acts = || -> Vec<String> {
            let audit = server.audit().split_off(since);
            audit
                .iter()
                .map(Record::story)
                .filter(|s| s.contains("load"))
                .collect()
        };
        let expected = [
            format!("ftps upload ok {path} {size}"),
            format!("ftps download ok {path}"),
            format!("ftps download ok {path}"),
        ];
        until("all are recorded", PATIENCE, || acts().len() >= expected.len());
        assert_eq!(acts(), expected, "{version:?}");
    }
}

/// A client that writes, says close_notify and closes without reading loses the end of what it wrote where the server
/// sent anything that is left unread: the kernel answers its close with RST. So no ticket goes to a data connection.
#[test]
fn no_upload_over_tls13_is_truncated() {
    let server = Portreeve::start();
    let content = data::bytes(3_000_000, 1);
    fs::write(server.dir().join("source"), &content).unwrap();
    let at = server.config.home("alice").join("x");
    let check = |what: &str, n: usize| {
        let there = fs::read(&at).unwrap_or_default();
        assert!(
            there == content,
            "{what}, upload {n}: {} bytes of {}",
            there.len(),
            content.len()
        );
        fs::remove_file(&at).unwrap();
    };
    let rounds = skip::slice_or_full(20, 200);
    let mut ftp = Ftp::enter(server.doors().ftps, How::explicit(Version::Tls13), "alice");
    for n in 0..rounds {
        let answer = ftp.store("STOR x", &content, End::Careless);
        assert_eq!(answer.code, 226, "upload {n}: {}", answer.text());
        check("a careless client", n);
    }
    let rclone = Ftps::new(&server, "alice").version(Version::Tls13);
    for n in 0..rounds {
        let done = rclone.rclone(&["copyto", "source", "r:x"]);
        assert!(done.status.success(), "rclone, upload {n}: {}", done.said());
        check("rclone", n);
    }
    let uploads = server.audit().into_iter().filter(|r| r.text("act") == "upload");
    assert!(uploads.into_iter().all(|r| r.text("outcome") == "ok"));
}

/// The cause of it: the control connection gets tickets, a data connection none.
#[test]
fn data_connections_get_no_tickets() {
    let server = Portreeve::start();
    for at in [server.doors().ftps, server.doors().ftps_implicit] {
        let mut how = How::explicit(Version::Tls13);
        how.implicit = at == server.doors().ftps_implicit;
        let mut ftp = Ftp::enter(at, how, "alice");
        assert!(ftp.tickets().given() > 0, "no ticket at all");
        ftp.put("x", &data::bytes(100_000, 1));
        // One that resumes and one that does not.
        for tls in [Tls::new(Version::Tls13), ftp.tls().clone()] {
            let before = tls.tickets().given();
            let mut data = ftp.open_by(Way::Epsv, "RETR x", Some(tls.clone())).unwrap();
            assert_eq!(data.all().unwrap().len(), 100_000);
            ftp.answer().is(226);
            assert_eq!(tls.tickets().given(), before, "a data connection got a ticket");
        }
    }
}

/// Where a client resumes, it is resumed: TLS 1.2 as often as it likes, TLS 1.3 for each ticket; and it is recorded.
#[test]
fn data_connections_resume_the_session() {
    let server = Portreeve::start();
    for version in [Version::Tls12, Version::Tls13] {
        let mut ftp = Ftp::enter(server.doors().ftps, How::explicit(version), "alice");
        ftp.put("x", b"content");
        let times = if version == Version::Tls12 { 5 } else { 1 };
        let forgetful = (0..2).map(|_| (Tls::new(version).forgetful(), false));
        let mut fresh = Ftp::enter(server.doors().ftps, How::explicit(version), "alice");
        let resuming = (0..times)
            .map(|_| (fresh.tls().clone(), true))
            .collect::<Vec<_>>();
        for (tls, expected) in resuming.into_iter().chain(forgetful) {
            let since = server.audit().len();
            let mut data = fresh.open_by(Way::Pasv, "RETR x", Some(tls)).unwrap();
            assert_eq!(data.all().unwrap(), b"content");
            fresh.answer().is(226);
            assert_eq!(data.resumed(), Some(expected), "{version:?}");
            let record = transfer(&server, since, "download", "/x");
            assert_eq!(record.0["tls_reused"], expected, "{version:?}: {record:?}");
        }
    }
}

#[test]
fn a_large_directory_is_listed_whole() {
    let server = Portreeve::start();
    let count = skip::slice_or_full(10_000, 100_000);
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.say("MKD many").is(257);
    let home = server.config.home("alice").join("many");
    for n in 0..count {
        fs::write(home.join(format!("file {n}")), b"").unwrap();
    }
    let (rss, _) = server.usage();
    for command in ["MLSD many", "NLST many", "LIST many"] {
        let lines = ftp.lines(command);
        let mut names: Vec<&str> = lines
            .iter()
            .filter_map(|l| {
                l.rsplit("file ")
                    .next()?
                    .parse::<usize>()
                    .ok()
                    .map(|_| l.as_str())
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{command}");
    }
    let since = server.audit().len();
    assert_eq!(
        Ftps::new(&server, "alice")
            .curl(&["-l"], "/many/")
            .ok()
            .text()
            .lines()
            .count(),
        count
    );
    until("it is recorded", PATIENCE, || {
        server.audit()[since..]
            .iter()
            .any(|r| r.story() == "ftps list ok /many")
    });
    let (now, _) = server.usage();
    assert!(now < rss + 64 * 1024, "{rss} KiB grew to {now} KiB");
}

#[test]
fn many_small_files_up_and_down() {
    let server = Portreeve::start();
    let many = server.dir().join("many");
    fs::create_dir(&many).unwrap();
    let count = skip::slice_or_full(300, 10_000);
    for n in 0..count {
        fs::write(many.join(format!("file {n}")), data::bytes(n % 300 + 1, n as u64)).unwrap();
    }
    let way = Ftps::new(&server, "alice");
    way.lftp("mirror -R --parallel=4 many far\nmirror --parallel=4 far back")
        .ok();
    for dir in [server.config.home("alice").join("far"), server.dir().join("back")] {
        assert_eq!(data::tree(&dir), data::tree(&many));
        for n in 0..count {
            let name = format!("file {n}");
            assert_eq!(
                fs::read(dir.join(&name)).unwrap(),
                fs::read(many.join(&name)).unwrap(),
                "{name}"
            );
        }
    }
    let count_of = |story: &str| {
        server
            .audit()
            .iter()
            .filter(|r| r.story().starts_with(story))
            .count()
    };
    assert_eq!(count_of("ftps upload ok"), count);
    assert_eq!(count_of("ftps download ok"), count);
}

/// What a client can do to its own upload instead of ending it well.
fn break_off(ftp: &mut Ftp, mut data: Data, how: &str) -> Answer {
    match how {
        "without close_notify" => data.end(End::Cut).unwrap(),
        "by RST" => data.end(End::Reset).unwrap(),
        "by ABOR" => {
            let aborted = ftp.say("ABOR");
            ftp.answer().is(226);
            drop(data);
            return aborted;
        }
        "by garbage instead of a record" => {
            let mut tcp = data.wire().tcp().try_clone().unwrap();
            tcp.write_all(&[0x17, 3, 3, 0, 64]).unwrap();
            tcp.write_all(&[0x5a; 64]).unwrap();
            let _ = data.end(End::Cut);
        }
        "by silence" => {
            // The server's own patience ends it, while the connection is open.
            let answer = ftp.answer();
            drop(data);
            return answer;
        }
        _ => unreachable!("{how}"),
    }
    ftp.answer()
}

/// Nothing torn is visible, what was there stays, what came is kept for its owner alone, and there is one event that
/// says how far it came.
#[test]
fn half_an_upload_is_invisible_and_kept() {
    let server = Portreeve::start_with(|c| c.ftp_listener = "stall_timeout = \"2s\"");
    let content = data::bytes(3 << 20, 1);
    let home = server.config.home("alice");
    for (n, how) in [
        "without close_notify",
        "by RST",
        "by ABOR",
        "by garbage instead of a record",
        "by silence",
    ]
    .into_iter()
    .enumerate()
    {
        // More than a buffer, no whole one, less than a record.
        for (sent, existed) in [(1 << 20, false), (700_000, true), (1_000, false)] {
            let name = format!("x{n}-{sent}");
            let mut ftp = Ftp::signed_in(&server, "alice");
            if existed {
                ftp.put(&name, b"the old content");
            }
            let since = server.audit().len();
            let mut data = ftp.open(&format!("STOR {name}")).unwrap();
            data.send(&content[..sent]).unwrap();
            arrived(&mut ftp, sent);
            let seen = Ftp::signed_in(&server, "alice").own();
            assert_eq!(seen.contains(&name), existed, "{how}: {seen:?}");
            let answer = break_off(&mut ftp, data, how);
            assert_eq!(answer.code, 426, "{how}: {}", answer.text());

            let record = transfer(&server, since, "upload", &format!("/{name}"));
            assert_eq!(record.text("outcome"), "failed", "{how}: {record:?}");
            assert!(!record.text("why").is_empty(), "{how}: {record:?}");
            let kept = record.number("kept").unwrap_or(0);
            assert_eq!(kept, sent as u64, "{how}: {record:?}");
            assert_eq!(record.number("bytes"), Some(kept), "{how}: {record:?}");
            let old = existed.then(|| b"the old content".to_vec());
            assert_eq!(fs::read(home.join(&name)).ok(), old, "{how}");
            let seen = ftp.own();
            assert!(seen.iter().all(|n| n.starts_with('x')), "{how}: {seen:?}");

            // The same session, another one of hers, and another person.
            let path = format!("/{name}");
            assert_eq!(
                ftp.say(&format!("SIZE {path}")).is(213).text(),
                format!("213 {kept}"),
                "{how}"
            );
            let mut again = Ftp::signed_in(&server, "alice");
            let facts = again.say(&format!("MLST {path}")).is(250).text();
            assert!(
                facts.to_lowercase().contains(&format!("size={kept};")),
                "{how}: {facts}"
            );
            wrong_offsets(&mut again, &path, kept);
            again.say(&format!("REST {kept}")).is(350);
            let at = usize::try_from(kept).unwrap();
            again
                .store(&format!("STOR {path}"), &content[at..], End::Clean)
                .is(226);
            assert!(
                fs::read(home.join(&name)).unwrap() == content,
                "{how}: gone on with, but not whole"
            );
            hidden_is_empty(&home, how);
        }
    }
}

/// Behind the end is a hole, before it is somebody's content: both are refused, with the right offset in words.
fn wrong_offsets(ftp: &mut Ftp, path: &str, kept: u64) {
    for wrong in [kept + 1, kept - 1, u64::MAX] {
        ftp.say(&format!("REST {wrong}")).is(350);
        let answer = ftp.refusal(&format!("STOR {path}"));
        assert!(answer.code >= 500, "{}", answer.text());
        assert!(
            answer.text().contains(&kept.to_string()),
            "{kept}: {}",
            answer.text()
        );
    }
    assert_eq!(
        ftp.say(&format!("SIZE {path}")).is(213).text(),
        format!("213 {kept}")
    );
}

/// Waits until the server has as much of the upload that is under way.
#[track_caller]
fn arrived(ftp: &mut Ftp, sent: usize) {
    let told = format!(" {sent} bytes");
    until("it has arrived", PATIENCE, || {
        ftp.say("STAT").is(213).text().contains(&told)
    });
}

fn hidden_is_empty(home: &Path, how: &str) {
    let left = data::tree(home);
    assert!(
        left.iter().all(|n| n.starts_with('x')),
        "{how}: parts were left: {left:?}"
    );
}

/// A download that is broken off is one event too, and the session goes on.
#[test]
fn a_download_can_be_aborted() {
    let server = Portreeve::start();
    let home = server.config.home("alice");
    let mut ftp = Ftp::signed_in(&server, "alice");
    fs::File::create(home.join("hole"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    for how in ["ABOR", "an ABOR with urgent marks", "RST"] {
        let since = server.audit().len();
        let mut data = ftp.open("RETR hole").unwrap();
        data.wire().read_exact(&mut [0; 1000]).unwrap();
        match how {
            "RST" => {
                data.end(End::Reset).unwrap();
                ftp.answer().is(426);
            }
            _ => {
                // Telnet's interrupt, process and data mark (RFC 959 §4.1.3), as old clients send them.
                let marks: &[u8] = if how == "ABOR" { b"" } else { b"\xff\xf4\xff\xf2" };
                ftp.try_send(&[marks, b"ABOR\r\n"].concat()).unwrap();
                ftp.answer().is(426);
                ftp.answer().is(226);
                assert!(
                    data.all().is_err(),
                    "{how}: an aborted download ends as if it were whole"
                );
            }
        }
        let record = transfer(&server, since, "download", "/hole");
        assert_eq!(record.text("outcome"), "failed", "{how}: {record:?}");
        let bytes = record.number("bytes").unwrap_or(0);
        assert!((1000..1 << 30).contains(&bytes), "{how}: {record:?}");
        ftp.say("NOOP").is(200);
    }
    ftp.say("ABOR").is(226);
    Ftps::new(&server, "alice").ftplib(&["abort", "hole"]).ok();
}

/// What may be said during a transfer, and is answered at once.
#[test]
fn a_transfer_can_be_talked_to() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    let mut data = ftp.open("STOR x").unwrap();
    data.send(&data::bytes(100_000, 1)).unwrap();
    ftp.say("NOOP").is(200);
    let mut told = String::new();
    until("STAT tells the progress", PATIENCE, || {
        told = ftp.say("STAT").one_of(&[211, 213]).text();
        told.contains("100000")
    });
    // Waits for the end.
    ftp.send("SIZE x");
    ftp.send("QUIT");
    data.send(&data::bytes(100_000, 2)).unwrap();
    data.end(End::Clean).unwrap();
    ftp.answer().is(226);
    assert_eq!(ftp.answer().is(213).text(), "213 200000", "{told}");
    ftp.answer().is(221);
    assert_eq!(ftp.rest(), "");
}

/// R-04: a disk that is full says so in words, shows nothing torn, keeps nothing, and serves the others.
#[test]
fn a_full_disk_is_said_so_and_leaves_room_again() {
    let Some(mount) = Tmpfs::mount("1m") else {
        return;
    };
    let server = Portreeve::start_with(|c| c.files = mount.path().to_owned());
    let (mut alice, mut bob) = (Ftp::signed_in(&server, "alice"), Ftp::signed_in(&server, "bob"));
    let (large, small, tiny) = (
        data::bytes(2 << 20, 5),
        data::bytes(300 << 10, 6),
        data::bytes(10 << 10, 7),
    );
    alice.put("old", &tiny);
    bob.put("bobs", &tiny);
    let before = data::tree(mount.path());
    for path in ["new", "old"] {
        let since = server.audit().len();
        let answer = refused_midway(&mut alice, &format!("STOR {path}"), &large);
        assert!(matches!(answer.code, 452 | 552), "{path}: {}", answer.text());
        assert!(
            answer.text().to_lowercase().contains("space"),
            "{path}: {}",
            answer.text()
        );
        let record = transfer(&server, since, "upload", &format!("/{path}"));
        assert_eq!(record.text("outcome"), "failed", "{record:?}");
        assert_eq!(data::tree(mount.path()), before, "{path}");
        assert_eq!(fs::read(mount.path().join("alice/old")).unwrap(), tiny, "{path}");
    }
    // Somebody else has filled it to the last page.
    let ballast = mount.path().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    let answer = refused_midway(&mut alice, "STOR new", &small);
    assert!(matches!(answer.code, 452 | 552), "{}", answer.text());
    assert_eq!(bob.get("bobs"), tiny);
    assert_eq!(bob.own(), ["bobs"]);
    // There is room again, in the same sessions.
    fs::remove_file(&ballast).unwrap();
    alice.put("new", &small);
    assert_eq!(alice.get("new"), small);
    bob.put("also", &small);
    assert_eq!(fs::read(mount.path().join("bob/also")).unwrap(), small);
}

/// Sends what the server will not take: it may end the data connection at any moment.
#[track_caller]
fn refused_midway(ftp: &mut Ftp, command: &str, content: &[u8]) -> Answer {
    let mut data = match ftp.open(command) {
        Ok(data) => data,
        Err(refusal) => return refusal,
    };
    let _ = data.send(content).and_then(|()| data.end(End::Clean));
    ftp.answer()
}

#[test]
fn a_full_quota_is_said_so_before_the_bytes() {
    let server = Portreeve::start_with(|c| c.mount = ", limits = { quota = \"1 MiB\" }");
    let (large, small) = (data::bytes(2 << 20, 5), data::bytes(300 << 10, 6));
    let mut alice = Ftp::signed_in(&server, "alice");
    // Announced, it is refused before a byte of it.
    let since = server.audit().len();
    alice.say(&format!("ALLO {}", large.len())).one_of(&[200, 202]);
    alice.refusal("STOR x").is(552);
    assert_ne!(transfer(&server, since, "upload", "/x").text("outcome"), "ok");
    alice.say(&format!("ALLO {}", small.len())).one_of(&[200, 202]);
    alice.put("y", &small);
    // Not announced, it is refused where the room ends.
    let since = server.audit().len();
    let answer = refused_midway(&mut alice, "STOR x", &large);
    assert_eq!(answer.code, 552, "{}", answer.text());
    let record = transfer(&server, since, "upload", "/x");
    assert_ne!(record.text("outcome"), "ok", "{record:?}");
    assert!(!server.config.home("alice").join("x").exists());
    alice.put("y", &small);
    alice.refusal("RETR x").is(550);
    let mut bob = Ftp::signed_in(&server, "bob");
    bob.put("y", &small);
}

/// A part begins with the first byte: an append that brought none leaves nothing that a later one could go on with.
#[test]
fn an_append_without_a_byte_leaves_nothing() {
    let server = Portreeve::start();
    let curl = Curl::new(&server, "alice", PASSWORD);
    let home = server.config.home("alice");
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.put("x", b"the first content");
    for how in ["without a handshake", "without a byte"] {
        let tls = (how == "without a byte").then(|| ftp.tls().clone());
        let data = ftp.open_by(Way::Epsv, "APPE x", tls).unwrap();
        data.end(End::Cut).unwrap();
        ftp.answer().one_of(&[425, 426]);
        // Somebody replaces it by another door, then it is appended to.
        fs::write(server.dir().join("new"), how).unwrap();
        let _ = curl.upload(&server.dir().join("new"), "/x");
        ftp.store("APPE x", b", more", End::Clean).is(226);
        assert_eq!(
            fs::read_to_string(home.join("x")).unwrap(),
            format!("{how}, more")
        );
    }
    assert_eq!(data::tree(&home), ["x"]);
}

/// One content that went through every door.
#[test]
fn one_file_through_three_doors() {
    let server = Portreeve::start();
    let (begin, end) = (data::bytes(3 << 20, 8), data::bytes(2 << 20, 9));
    fs::write(server.dir().join("begin"), &begin).unwrap();
    fs::write(server.dir().join("end"), &end).unwrap();
    Sftp::by_key(&server, "alice")
        .batch("mkdir d\nput begin d/x")
        .ok();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.store("APPE d/x", &end, End::Clean).is(226);
    let curl = Curl::new(&server, "alice", PASSWORD);
    let whole = [&begin[..], &end].concat();
    assert!(curl.read("/d/x").is(200).body == whole);
    // The other way round.
    curl.upload(&server.dir().join("begin"), "/d/y").is(201);
    Ftps::new(&server, "alice")
        .implicit()
        .curl(&["-a", "-T", "end"], "/d/y")
        .ok();
    Sftp::by_key(&server, "alice").batch("get d/y back").ok();
    assert!(fs::read(server.dir().join("back")).unwrap() == whole);
    // A part that one door began is gone on with at the others: the owner is the same.
    ftp.store("STOR d/z", &begin[..1 << 20], End::Cut).is(426);
    assert_eq!(curl.kept("/d/z"), Some(1 << 20));
    assert!((200..300).contains(&curl.go_on("/d/z", &begin, 1 << 20).status));
    assert!(ftp.get("d/z") == begin);
    let log = server.audit();
    let stories: Vec<String> = log
        .iter()
        .map(Record::story)
        .filter(|s| s.ends_with("/d/x") || s.contains("/d/x "))
        .collect();
    assert_eq!(
        stories,
        [
            format!("sftp upload ok /d/x {}", begin.len()),
            format!("ftps upload ok /d/x {}", whole.len()),
            "https download ok /d/x".to_owned()
        ]
    );
}
