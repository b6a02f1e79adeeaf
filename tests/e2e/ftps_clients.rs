//! FTPS with the clients that people have: curl, lftp, rclone and ftplib, at both doors, with both versions of TLS,
//! over IPv4 and IPv6, with names of every kind.

use std::{fs, path::Path};

use portreeve_tests::{
    Curl, Done, Ftp, Ftps, Portreeve, Sftp,
    config::PASSWORD,
    data,
    ftp::{How, Version},
    ports,
    process::until,
    server::PATIENCE,
    skip,
};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// Both doors, both versions of TLS, and IPv6 where the machine has it.
fn ways(server: &Portreeve, user: &str) -> Vec<(String, Ftps)> {
    let mut ways = Vec::new();
    for version in VERSIONS {
        let one = Ftps::new(server, user).version(version);
        ways.push((format!("explicit {version:?}"), one.clone()));
        ways.push((format!("implicit {version:?}"), one.clone().implicit()));
        if ports::six() {
            ways.push((format!("implicit {version:?} over IPv6"), one.implicit().six()));
        }
    }
    if !ports::six() {
        skip::skip_by_nature("FTPS over IPv6: this machine has none");
    }
    ways
}

/// What one client does with one file; `source` lies there, `back` is to come.
type RoundTrip = fn(&Ftps, name: &str) -> Vec<Done>;

fn by_curl(way: &Ftps, name: &str) -> Vec<Done> {
    vec![
        way.curl(&["-T", "source", "--ftp-create-dirs"], &format!("/{name}/file")),
        way.curl(&["-o", "back"], &format!("/{name}/file")),
        way.curl(&["--disable-epsv", "-o", "back2"], &format!("/{name}/file")),
    ]
}

fn by_lftp(way: &Ftps, name: &str) -> Vec<Done> {
    vec![way.lftp(&format!(
        "mkdir {name}\nput source -o {name}/file\ncls -l {name}\nget {name}/file -o back\n\
         set ftp:prefer-epsv no\nget {name}/file -o back2"
    ))]
}

fn by_rclone(way: &Ftps, name: &str) -> Vec<Done> {
    let far = format!("r:{name}/file");
    vec![
        way.rclone(&["copyto", "source", &far]),
        way.rclone(&["copyto", &far, "back"]),
        // PASV knows IPv4 only.
        way.rclone(&[
            &format!("--ftp-disable-epsv={}", !way.six),
            "copyto",
            &far,
            "back2",
        ]),
    ]
}

fn by_ftplib(way: &Ftps, name: &str) -> Vec<Done> {
    let _ = way.curl(&["-Q", &format!("MKD {name}"), "-I"], "/").ok();
    let far = format!("{name}/file");
    vec![
        way.ftplib(&["put", "source", &far]),
        way.ftplib(&["get", &far, "back"]),
        way.ftplib(&["resuming", "get", &far, "back2"]),
    ]
}

#[track_caller]
fn round_trips(client: &str, trip: RoundTrip) {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 3_000_001, 1);
    for (n, (what, way)) in ways(&server, "alice").into_iter().enumerate() {
        let since = server.audit().len();
        let name = format!("{client}{n}");
        for done in trip(&way, &name) {
            assert!(
                done.status.success(),
                "{what}: {} ended badly\n{}",
                done.line,
                done.said()
            );
        }
        for back in ["back", "back2"] {
            let back = server.dir().join(back);
            data::same(&source, &back);
            fs::remove_file(back).unwrap();
        }
        data::same(&source, &server.config.home("alice").join(&name).join("file"));
        let transfers = |audit: &[portreeve_tests::Record]| -> Vec<String> {
            let stories = audit.iter().map(portreeve_tests::Record::story);
            stories.filter(|s| s.contains("load ")).collect()
        };
        let path = format!("/{name}/file");
        let down = format!("ftps download ok {path}");
        let expected = [format!("ftps upload ok {path} 3000001"), down.clone(), down];
        until("the transfers are recorded", PATIENCE, || {
            transfers(&server.audit()[since..]).len() >= expected.len()
        });
        assert_eq!(transfers(&server.audit()[since..]), expected, "{what}");
    }
}

#[test]
fn curl_goes_every_way() {
    round_trips("curl", by_curl);
}

#[test]
fn lftp_goes_every_way() {
    round_trips("lftp", by_lftp);
}

#[test]
fn rclone_goes_every_way() {
    round_trips("rclone", by_rclone);
}

#[test]
fn ftplib_goes_every_way() {
    round_trips("ftplib", by_ftplib);
}

/// A tree with names that people give.
fn tree(at: &Path) {
    for dir in ["a", "a/b", "empty", "with space"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    for n in 0..skip::slice_or_full(40, 400) {
        let dir = ["", "a", "a/b", "with space"][n % 4];
        let name = format!(
            "file {n} \u{1f680}'\"{}",
            ["", "e\u{301}", "#%?*[x]", "&;"][n / 4 % 4]
        );
        fs::write(at.join(dir).join(name), data::bytes(n * 997 % 50_000, n as u64)).unwrap();
    }
}

fn identical(a: &Path, b: &Path) {
    assert_eq!(
        data::tree(a),
        data::tree(b),
        "{} and {}",
        a.display(),
        b.display()
    );
    for name in data::tree(a) {
        if a.join(&name).is_file() {
            data::same(&a.join(&name), &b.join(&name));
        }
    }
}

#[test]
fn lftp_mirrors_both_ways_by_four_connections() {
    let server = Portreeve::start();
    let source = server.dir().join("tree");
    tree(&source);
    for (n, (what, way)) in ways(&server, "alice").into_iter().enumerate() {
        let (up, back) = (format!("up{n}"), server.dir().join(format!("back{n}")));
        let script = format!(
            "mirror -R --parallel=4 tree {up}\nmirror --parallel=4 {up} {}",
            back.display()
        );
        let done = way.lftp(&script);
        assert!(done.status.success(), "{what}\n{}", done.said());
        identical(&source, &server.config.home("alice").join(&up));
        identical(&source, &back);
        // Nothing is left to do: sizes and times are what they were.
        let again = way
            .lftp(&format!("mirror -R --verbose --parallel=4 tree {up}"))
            .ok();
        assert!(!again.said().contains("Transferring"), "{what}\n{}", again.said());
    }
}

#[test]
fn rclone_syncs_both_ways() {
    let server = Portreeve::start();
    let source = server.dir().join("tree");
    tree(&source);
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let way = Ftps::new(&server, "alice").version(version);
        let (far, back) = (format!("r:up{n}"), server.dir().join(format!("back{n}")));
        way.rclone(&["sync", "--create-empty-src-dirs", "tree", &far])
            .ok();
        identical(&source, &server.config.home("alice").join(format!("up{n}")));
        way.rclone(&["sync", "--create-empty-src-dirs", &far, back.to_str().unwrap()])
            .ok();
        identical(&source, &back);
        // Its own comparison, by size and time.
        way.rclone(&["check", "--size-only", "tree", &far]).ok();
        let again = way.rclone(&["sync", "-v", "tree", &far]).ok();
        assert!(
            !again.said().contains("Copied ("),
            "{version:?}\n{}",
            again.said()
        );
        way.rclone(&["purge", &far]).ok();
        assert!(!server.config.home("alice").join(format!("up{n}")).exists());
    }
}

/// lftp -c, curl -C - and ftplib's REST on both kinds of transfer.
#[test]
fn clients_go_on_where_they_were() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 4 << 20, 1);
    let whole = fs::read(&source).unwrap();
    let way = Ftps::new(&server, "alice");
    for (n, client) in ["lftp", "curl", "ftplib"].into_iter().enumerate() {
        let (name, back) = (format!("by-{client}"), format!("back-{client}"));
        let cut = 1_000_000 + n * 300_000;
        // The beginning is there and its upload was cut: without close_notify.
        let mut raw = Ftp::signed_in(&server, "alice");
        raw.store(
            &format!("STOR {name}"),
            &whole[..cut],
            portreeve_tests::ftp::End::Cut,
        )
        .is(426);
        drop(raw);
        assert!(
            !server.config.home("alice").join(&name).exists(),
            "{client}: torn and visible"
        );
        fs::write(server.dir().join(&back), &whole[..cut]).unwrap();
        let path = format!("/{name}");
        match client {
            "lftp" => {
                way.lftp(&format!("put -c source -o {name}\nget -c {name} -o {back}"))
                    .ok();
            }
            "curl" => {
                way.curl(&["-C", "-", "-T", "source"], &path).ok();
                way.curl(&["-C", "-", "-o", &back], &path).ok();
            }
            _ => {
                let done = way.ftplib(&["resume", "source", &path]).ok();
                assert_eq!(done.text().trim(), cut.to_string());
                way.ftplib(&["get", &path, &back]).ok();
            }
        }
        data::same(&source, &server.config.home("alice").join(&name));
        data::same(&source, &server.dir().join(&back));
        // Going on means that what was there was not sent again.
        let uploads: Vec<_> = server
            .audit()
            .into_iter()
            .filter(|r| r.text("act") == "upload" && r.text("path") == path)
            .collect();
        assert_eq!(uploads.len(), 2, "{client}: {uploads:?}");
        assert_eq!(
            uploads[0].number("kept"),
            Some(cut as u64),
            "{client}: {:?}",
            uploads[0]
        );
        let rest = (whole.len() - cut) as u64;
        assert_eq!(
            uploads[1].number("bytes"),
            Some(rest),
            "{client}: {:?}",
            uploads[1]
        );
    }
}

#[test]
fn curl_and_ftplib_append() {
    let server = Portreeve::start();
    fs::write(server.dir().join("one"), "one ").unwrap();
    let way = Ftps::new(&server, "alice");
    way.curl(&["-T", "one"], "/x").ok();
    way.curl(&["-a", "-T", "one"], "/x").ok();
    way.ftplib(&["append", "one", "x"]).ok();
    assert_eq!(
        fs::read(server.config.home("alice").join("x")).unwrap(),
        b"one one one "
    );
    way.ftplib(&["append", "one", "new"]).ok();
    assert_eq!(
        fs::read(server.config.home("alice").join("new")).unwrap(),
        b"one "
    );
}

#[test]
fn names_of_every_kind() {
    let server = Portreeve::start();
    let local = server.dir().join("names");
    fs::create_dir(&local).unwrap();
    let names = [
        "with space",
        " both ends ",
        "-rf",
        "quote\"",
        "apo'strophe",
        "back\\slash",
        "100%",
        "a+b&c=d?e#f",
        "\u{1f680}",
        "e\u{301}",
        "\u{202e}gnp.exe",
        "...",
        "~",
        "[a-z]*",
        "semi;colon",
        "type=dir; x",
    ];
    for (n, name) in names.iter().enumerate() {
        fs::write(local.join(name), format!("content {n}")).unwrap();
    }
    let way = Ftps::new(&server, "alice");
    // Puts them all, lists them by MLSD, gets and compares them.
    way.ftplib(&["tree", "names", "d"]).ok();
    identical(&local, &server.config.home("alice").join("d"));
    way.lftp("mirror d back").ok();
    identical(&local, &server.dir().join("back"));
    // As a list and one by one.
    let mut ftp = Ftp::signed_in(&server, "alice");
    let mut expected: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    expected.sort();
    assert_eq!(ftp.names("/d"), expected);
    let mut plain = ftp.lines("NLST /d");
    plain
        .iter_mut()
        .for_each(|l| *l = l.rsplit('/').next().unwrap().to_owned());
    plain.sort();
    assert_eq!(plain, expected);
    let long = ftp.lines("LIST /d");
    ftp.say("CWD /d").is(250);
    for (n, name) in names.iter().enumerate() {
        assert!(
            long.iter().any(|l| l.ends_with(&format!(" {name}"))),
            "{name:?} in {long:#?}"
        );
        assert_eq!(ftp.get(name), format!("content {n}").as_bytes(), "{name:?}");
        assert_eq!(
            ftp.say(&format!("SIZE {name}")).is(213).text(),
            format!("213 {}", 8 + n.to_string().len())
        );
        let facts = ftp.say(&format!("MLST {name}")).is(250);
        assert!(facts.inner()[0].ends_with(name), "{}", facts.text());
        ftp.say(&format!("RNFR {name}")).is(350);
        ftp.say(&format!("RNTO {name}x")).is(250);
        ftp.say(&format!("DELE {name}x")).is(250);
    }
    assert_eq!(ftp.names("/d"), [""; 0]);
    // The double quote is the one that 257 has to double.
    ftp.say("MKD q\"d").is(257);
    ftp.say("CWD q\"d").is(250);
    assert!(
        ftp.say("PWD").is(257).text().starts_with("257 \"/d/q\"\"d\""),
        "{}",
        ftp.said()
    );
}

/// A name that the other doors allow must not become two lines here, and cannot be made here.
#[test]
fn names_with_controls_are_shown_escaped_and_refused() {
    let server = Portreeve::start();
    let home = server.config.home("alice");
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.say("MKD d").is(257);
    let evil = "evil\n226 Done.\r\ntype=file;size=0; planted";
    fs::write(home.join("d").join(evil), "x").unwrap();
    fs::write(home.join("d/tab\there"), "x").unwrap();
    fs::create_dir(home.join("d/dir\nline")).unwrap();
    for command in ["MLSD /d", "LIST /d", "NLST /d"] {
        let lines = ftp.lines(command);
        let real: Vec<_> = lines
            .iter()
            .filter(|l| !l.contains("=cdir;") && !l.contains("=pdir;"))
            .collect();
        assert_eq!(real.len(), 3, "{command}: {lines:#?}");
        assert!(
            lines
                .iter()
                .any(|l| l.contains("evil\\x0a226 Done.\\x0d\\x0atype=file")),
            "{command}: {lines:#?}"
        );
        assert!(
            lines.iter().all(|l| !l.chars().any(char::is_control)),
            "{command}: {lines:#?}"
        );
    }
    let told = ftp.say("STAT /d").one_of(&[211, 212, 213]);
    assert!(
        !told
            .inner()
            .iter()
            .any(|l| l.starts_with("226") || l.starts_with("type=")),
        "{}",
        told.text()
    );
    // The other names of such a directory can be used.
    ftp.put("/d/fine", b"y");
    assert_eq!(ftp.get("/d/fine"), b"y");

    for (what, bytes) in [
        ("NUL", &b"a\0b"[..]),
        ("a carriage return", b"a\r\0b"),
        ("a tabulator", b"a\tb"),
        ("escape", b"a\x1b[2Jb"),
        ("delete", b"a\x7fb"),
        ("backspace", b"a\x08b"),
    ] {
        for verb in ["MKD", "RNFR", "DELE", "CWD", "SIZE", "RMD"] {
            let answer = ftp.try_say(&[verb.as_bytes(), b" ", bytes].concat()).unwrap();
            assert!(answer.code >= 500, "{verb} with {what}: {}", answer.text());
            assert!(
                !answer
                    .text()
                    .chars()
                    .any(|c| c.is_control() && c != '\r' && c != '\n'),
                "{verb} with {what}"
            );
        }
        ftp.epsv();
        let answer = ftp.try_say(&[b"STOR ", bytes].concat()).unwrap();
        assert!(answer.code >= 500, "STOR with {what}: {}", answer.text());
    }
    let left: Vec<_> = data::tree(&home)
        .into_iter()
        .filter(|n| !n.starts_with('d'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Bytes that are no UTF-8 are names too.
#[test]
fn other_bytes_are_names_too() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.say("MKD d").is(257);
    ftp.say("CWD d").is(250);
    let latin = b"caf\xe9";
    let made = ftp.try_say(&[b"MKD ", &latin[..]].concat()).unwrap().is(257);
    assert!(made.raw.starts_with(b"257 \"/d/caf\xe9\""), "{}", made.text());
    let listed = ftp.fetch("NLST");
    assert_eq!(listed, b"caf\xe9\r\n");
}

/// Two listings in flight, a mailbox of names: what the other doors wrote is what FTPS shows.
#[test]
fn what_other_doors_wrote_is_there() {
    let server = Portreeve::start();
    fs::write(server.dir().join("a"), "hello").unwrap();
    Sftp::by_key(&server, "alice")
        .batch("mkdir d\nput a \"d/by sftp\"")
        .ok();
    Curl::new(&server, "alice", PASSWORD)
        .upload(&server.dir().join("a"), "/d/by https")
        .is(201);
    let mut ftp = Ftp::enter(server.doors().ftps_implicit, How::implicit(Version::Any), "alice");
    assert_eq!(ftp.names("/d"), ["by https", "by sftp"]);
    assert_eq!(ftp.get("/d/by https"), b"hello");
    ftp.put("/d/by ftps", b"hello");
    assert_eq!(
        Curl::new(&server, "alice", PASSWORD)
            .read("/d/by ftps")
            .is(200)
            .body,
        b"hello"
    );
    // Nobody else's.
    let mut bob = Ftp::signed_in(&server, "bob");
    bob.refusal("RETR /d/by ftps").is(550);
}

/// What is refused is refused in the server's words at every client, and its dialogue goes on.
#[test]
fn clients_hear_why_an_upload_is_refused() {
    let server = Portreeve::start();
    fs::write(server.dir().join("small"), "small").unwrap();
    data::file(&server.dir().join("large"), 3 << 20, 1);
    fs::write(server.dir().join("shared/there"), "there").unwrap();
    for version in VERSIONS {
        let reader = Ftps::new(&server, "reader").version(version);
        for name in ["small", "large"] {
            // Not 13, which is "what was that answer to EPSV?".
            let done = reader.curl(&["-T", name], "/there");
            assert_eq!(done.status.code(), Some(25), "{version:?}: {}", done.said());
            let _ = done.fails("550");
            reader
                .lftp(&format!("put {name} -o /there"))
                .fails("550 permission denied");
            reader
                .ftplib(&["put", name, "/there"])
                .fails("550 permission denied");
            reader
                .rclone(&["copyto", name, "r:new"])
                .fails("550 permission denied");
        }
        // Downloads in one connection, the first of which is refused.
        let missing = reader.url("/missing");
        let done = reader.curl(&["-o", "gone", &missing, "-o", "got"], "/there");
        assert!(!server.dir().join("gone").exists(), "{}", done.said());
        assert_eq!(
            fs::read(server.dir().join("got")).unwrap(),
            b"there",
            "{}",
            done.said()
        );
        fs::remove_file(server.dir().join("got")).unwrap();
    }
    assert_eq!(fs::read(server.dir().join("shared/there")).unwrap(), b"there");
    assert_eq!(data::tree(&server.dir().join("shared")), ["there"]);
}

/// Options that clients borrow from `ls` are options, even where a file bears such a name.
#[test]
fn options_of_ls_are_options() {
    let server = Portreeve::start();
    let mut ftp = Ftp::signed_in(&server, "alice");
    ftp.say("MKD d").is(257);
    ftp.say("CWD d").is(250);
    for name in ["-a", "-la", "a.txt", "b.txt", "c.bin"] {
        ftp.put(name, b"x");
    }
    for (command, count) in [
        ("LIST", 5),
        ("LIST -a", 5),
        ("LIST -la", 5),
        ("LIST -al /d", 5),
        ("LIST -a -l", 5),
        ("NLST -a", 5),
        ("LIST ./-la", 1),
        ("LIST -- -la", 1),
        ("NLST *.txt", 2),
        ("NLST -a *.txt", 2),
        ("LIST /d/?.bin", 1),
        ("NLST [ab].*", 2),
        ("NLST *.none", 0),
    ] {
        let lines = ftp.lines(command);
        assert_eq!(lines.len(), count, "{command}: {lines:?}");
    }
    assert_eq!(ftp.get("-la"), b"x");
}
