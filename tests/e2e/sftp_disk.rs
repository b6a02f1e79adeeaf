//! SFTP × local disk with OpenSSH's `sftp`: bytes, names, resume, refusals, and what a cut leaves behind.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use portreeve_tests::{
    Cut, Portreeve, Proxy, Sftp, Tmpfs, clients, data,
    process::{self, until},
    server::PATIENCE,
    sftp::word,
    skip,
};
use rustix::process::Signal;

const GIB: u64 = 1 << 30;

/// What lies in a directory of the storage that anybody could take for a file.
fn visible(home: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(home)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|n| !n.starts_with('.'));
    names.sort();
    names
}

#[test]
fn a_gibibyte_up_and_down_is_one_event_each() {
    let server = Portreeve::start();
    let (source, back) = (server.dir().join("source"), server.dir().join("back"));
    data::file(&source, GIB, 1);
    let since = server.audit().len();
    Sftp::by_key(&server, "alice")
        .batch("put source big\nget big back")
        .ok();
    data::same(&source, &back);
    data::same(&source, &server.config.home("alice").join("big"));
    let upload = format!("sftp upload ok /big {GIB}");
    server.expect_story(
        since,
        &[
            "sftp login ok",
            &upload,
            "sftp download ok /big",
            "sftp logout ok",
        ],
    );
    for record in &server.audit()[since + 1..since + 3] {
        assert_eq!(record.number("bytes"), Some(GIB), "{record:?}");
    }
}

#[test]
fn every_cipher_and_a_rekey_in_mid_transfer() {
    let server = Portreeve::start();
    let (source, back) = (server.dir().join("source"), server.dir().join("back"));
    data::file(&source, 40 << 20, 2);
    for option in [
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
        "RekeyLimit=4M",
    ] {
        let alice = Sftp::by_key(&server, "alice").option(option);
        alice.batch("put source x\nget x back\nrm x").ok();
        data::same(&source, &back);
    }
}

#[test]
fn names_of_every_kind() {
    let server = Portreeve::start();
    let alice = Sftp::by_key(&server, "alice");
    fs::write(server.dir().join("one"), "content").unwrap();
    let names = [
        "with space",
        " leading and trailing ",
        "-rf",
        "--help",
        "quote\"quote",
        "apostrophe's",
        "back\\slash",
        "dollar$HOME",
        "semi;colon",
        "\u{1f680}\u{1f9d1}\u{200d}\u{1f4bb}",
        "e\u{301} and \u{e9}",
        "\u{202e}gnp.exe",
        "tab\there",
        "...",
        "percent%41",
    ];
    for name in names {
        let remote = word(&format!("/{name}"));
        alice.batch(&format!("put one {remote}\nget {remote} two")).ok();
        assert_eq!(
            fs::read(server.dir().join("two")).unwrap(),
            b"content",
            "{name:?}"
        );
        assert_eq!(
            fs::read(server.config.home("alice").join(name)).unwrap(),
            b"content",
            "{name:?}"
        );
        fs::remove_file(server.dir().join("two")).unwrap();
    }
    // OpenSSH's batch cannot say a newline: paramiko makes that one, OpenSSH copies the whole.
    let newline = server.config.home("alice").join("new\nline");
    match clients::python(
        &server,
        "paramiko_client.py",
        "alice",
        &["put-text", "content", "/new\nline"],
    ) {
        Some(done) => drop(done.ok()),
        None => fs::write(&newline, "content").unwrap(),
    }
    assert_eq!(fs::read(&newline).unwrap(), b"content");
    alice.batch("get -r / all").ok();
    let mut got = data::tree(&server.dir().join("all"));
    let mut expected: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    expected.push("new\nline".to_owned());
    got.sort();
    expected.sort();
    // The mounts beside the files come along.
    got.retain(|n| !n.starts_with("mail") && !n.starts_with("shared"));
    assert_eq!(got, expected);
}

#[test]
fn many_small_files_up_and_down() {
    let server = Portreeve::start();
    let count = skip::slice_or_full(1_000, 10_000);
    let many = server.dir().join("many/deep/er");
    fs::create_dir_all(&many).unwrap();
    for n in 0..count {
        fs::write(many.join(format!("file {n}")), data::bytes(n % 300, n as u64)).unwrap();
    }
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("put -r many /many\nget -r /many back").ok();
    let diff = process::run(
        Command::new("diff")
            .args(["-r", "many", "back"])
            .current_dir(server.dir()),
        b"",
        PATIENCE,
    );
    diff.ok();
    let since = server.audit().len();
    alice.batch("ls -1 /many/deep/er").ok();
    server.expect_story(
        since,
        &["sftp login ok", "sftp list ok /many/deep/er", "sftp logout ok"],
    );
}

#[test]
fn everyday_commands_work_and_are_recorded() {
    let server = Portreeve::start();
    fs::write(server.dir().join("a"), "hello").unwrap();
    let since = server.audit().len();
    let alice = Sftp::by_key(&server, "alice");
    alice
        .batch("mkdir d\nput a d/a\nrename d/a d/b\nchmod 600 d/b\nget d/b b\nrm d/b\nrmdir d")
        .ok();
    server.expect_story(
        since,
        &[
            "sftp login ok",
            "sftp make-dir ok /d",
            "sftp upload ok /d/a 5",
            "sftp rename ok /d/a /d/b",
            "sftp set-attrs ok /d/b",
            "sftp download ok /d/b",
            "sftp remove-file ok /d/b",
            "sftp remove-dir ok /d",
            "sftp logout ok",
        ],
    );
    alice.batch("df /\nput -p a kept\nls -l kept").ok();
    let time = |p: &Path| {
        fs::metadata(p)
            .unwrap()
            .modified()
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    assert_eq!(
        time(&server.dir().join("a")),
        time(&server.config.home("alice").join("kept"))
    );
}

#[test]
fn refused_verbs_and_paths_outside_are_recorded_and_change_nothing() {
    let server = Portreeve::start();
    fs::write(server.dir().join("a"), "hello").unwrap();
    fs::write(server.dir().join("shared/there"), "there").unwrap();
    fs::write(server.dir().join("secret"), "secret").unwrap();
    let reader = Sftp::by_key(&server, "reader");
    reader.batch("get there got").ok();
    until("the session's end is recorded", PATIENCE, || {
        server.audit().iter().any(|r| r.text("act") == "logout")
    });
    for (batch, story) in [
        ("put a x", "sftp upload refused /x"),
        ("put a there", "sftp upload refused /there"),
        ("rm there", "sftp remove-file refused /there"),
        ("rename there here", "sftp rename refused /there /here"),
        ("mkdir d", "sftp make-dir refused /d"),
        ("chmod 600 there", "sftp set-attrs refused /there"),
    ] {
        let since = server.audit().len();
        reader.batch(batch).fails("permission denied");
        let story_told: Vec<String> = {
            until("the session's end is recorded", PATIENCE, || {
                server.audit()[since..].iter().any(|r| r.text("act") == "logout")
            });
            server.audit()[since..].iter().map(|r| r.story()).collect()
        };
        assert_eq!(story_told, ["sftp login ok", story, "sftp logout ok"], "{batch}");
    }
    assert_eq!(visible(&server.dir().join("shared")), ["there"]);

    let alice = Sftp::by_key(&server, "alice");
    alice.batch("put a a").ok();
    let home = server.config.home("alice");
    symlink(server.dir().join("secret"), home.join("out")).unwrap();
    symlink(server.dir(), home.join("outside")).unwrap();
    symlink("a", home.join("in")).unwrap();
    alice.batch("get in got").ok();
    for path in [
        "out",
        "outside/secret",
        "/../../../../etc/passwd",
        "/../secret",
        "../bob",
    ] {
        let done = alice.batch(&format!("get {path} stolen"));
        assert!(!done.status.success(), "{path}: {}", done.said());
        assert!(!server.dir().join("stolen").exists(), "{path}");
    }
    for batch in [
        "put a out",
        "put a outside/planted",
        "mkdir outside/planted",
        "rename a outside/a",
    ] {
        assert!(!alice.batch(batch).status.success(), "{batch} was allowed");
    }
    assert_eq!(fs::read(server.dir().join("secret")).unwrap(), b"secret");
    assert!(!server.dir().join("planted").exists());
    let link = alice.batch("symlink /etc/passwd made");
    assert!(!link.status.success(), "a client made a symbolic link");
}

/// V2, V5: the connection is cut in mid-upload, by FIN, by RST and by SIGKILL of the client.
#[test]
fn a_cut_upload_shows_nothing_keeps_its_part_and_is_resumed() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 24 << 20, 3);
    let home = server.config.home("alice");
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("ls /").ok();
    for (n, how) in [Some(Cut::Fin), Some(Cut::Rst), None].into_iter().enumerate() {
        let name = format!("cut{n}");
        fs::write(home.join(&name), "the old content").unwrap();
        let since = server.audit().len();
        match how {
            Some(how) => {
                let relay = Proxy::cutting(server.doors().sftp, 9 << 20, how);
                let done = alice
                    .clone()
                    .through(relay.address().port())
                    .batch(&format!("put source {name}"));
                assert!(!done.status.success(), "{how:?}: {}", done.said());
            }
            None => {
                let relay = Proxy::plain(server.doors().sftp);
                let slow = alice.clone().through(relay.address().port());
                // 32 Mbit/s: the signal comes long before the end.
                let client = slow.start_slowly(32_000, &format!("put source {name}"));
                until("some of it has passed", PATIENCE, || relay.passed() > 2 << 20);
                let _ = client.kill();
            }
        }
        until("the upload's end is recorded", PATIENCE, || {
            server.audit()[since..].iter().any(|r| r.text("act") == "logout")
        });
        let records = server.audit().split_off(since);
        let uploads: Vec<_> = records.iter().filter(|r| r.text("act") == "upload").collect();
        assert_eq!(uploads.len(), 1, "{how:?}: {records:?}");
        assert_eq!(
            uploads[0].story(),
            format!("sftp upload failed /{name}"),
            "{how:?}"
        );
        assert!(
            uploads[0].number("kept").is_some_and(|k| k > 0),
            "{how:?}: {:?}",
            uploads[0].0
        );
        assert_eq!(fs::read(home.join(&name)).unwrap(), b"the old content", "{how:?}");
        let listed = alice.batch("ls -1 /").ok().text();
        assert!(!listed.contains(".part"), "{how:?}: {listed}");
        // Its owner goes on where it ended; nobody else sees it.
        let done = alice.batch(&format!("reput source {name}")).ok();
        data::same(&source, &home.join(&name));
        assert!(!done.said().contains("larger"), "{}", done.said());
    }
}

/// What `ls` shows of a directory: names and sizes, in order.
fn shown(who: &Sftp, dir: &str) -> Vec<(String, u64)> {
    let text = who.batch(&format!("ls -ln {dir}")).ok().text();
    let files = text.lines().filter(|line| line.starts_with('-'));
    let mut shown: Vec<_> = files
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let name = words.last().unwrap().rsplit('/').next().unwrap();
            (name.to_owned(), words[4].parse().unwrap())
        })
        .collect();
    shown.sort();
    shown
}

/// V2, `partials = "listed"`: where the mount says so, and to its owner alone.
#[test]
fn a_cut_upload_is_listed_to_its_owner_where_the_mount_lists_parts() {
    // A second mount: people share it, and it lists parts.
    let server = Portreeve::start_with(|config| {
        config.mount = " },\n  { path = \"/both\", storage = \"files\", subpath = \"both\", verbs = \"full\", \
                        partials = \"listed\"";
    });
    let source = server.dir().join("source");
    data::file(&source, 12 << 20, 7);
    let (alice, bob) = (Sftp::by_key(&server, "alice"), Sftp::by_key(&server, "bob"));
    for person in [&alice, &bob] {
        person.batch("ls /").ok();
    }
    let cut = |path: &str| {
        let relay = Proxy::cutting(server.doors().sftp, 5 << 20, Cut::Rst);
        let done = alice
            .clone()
            .through(relay.address().port())
            .batch(&format!("put source {path}"));
        assert!(!done.status.success(), "{}", done.said());
        let mut kept = None;
        until("the part is kept", PATIENCE, || {
            let records = server.audit();
            let upload = records
                .iter()
                .find(|r| r.text("act") == "upload" && r.text("path") == path);
            kept = upload.and_then(|r| r.number("kept"));
            upload.is_some()
        });
        kept.unwrap()
    };
    let whole = |name: &str, size| (name.to_owned(), size);
    fs::write(server.config.home("both").join("old"), "the old content").unwrap();
    cut("/both/old");
    let kept = cut("/both/part");
    assert!((1..12 << 20).contains(&kept), "{kept}");
    assert_eq!(shown(&alice, "/both"), [whole("old", 15), whole("part", kept)]);
    assert_eq!(shown(&bob, "/both"), [whole("old", 15)]);
    for hidden in ["/part", "/shared/part"] {
        cut(hidden);
        assert_eq!(
            shown(&alice, Path::new(hidden).parent().unwrap().to_str().unwrap()),
            []
        );
    }
    // The size that was shown is where it goes on.
    alice.batch("reput source /both/part").ok();
    data::same(&source, &server.config.home("both").join("part"));
    for person in [&alice, &bob] {
        assert_eq!(
            shown(person, "/both"),
            [whole("old", 15), whole("part", 12 << 20)]
        );
    }
}

/// A SIGKILLed paramiko: a client whose writes were answered and that never says CLOSE.
#[test]
fn a_client_that_dies_before_close_leaves_a_part_of_exactly_what_was_answered() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 5 << 20, 4);
    let Some(done) = clients::python(
        &server,
        "paramiko_client.py",
        "alice",
        &["cut", "source", "/x", "3000000"],
    ) else {
        return;
    };
    assert_eq!(done.status.code(), Some(7), "{}", done.said());
    until("the part is kept", PATIENCE, || {
        server.audit().iter().any(|r| r.number("kept").is_some())
    });
    assert_eq!(visible(&server.config.home("alice")), Vec::<String>::new());
    let done = clients::python(
        &server,
        "paramiko_client.py",
        "alice",
        &["resume", "source", "/x"],
    )
    .unwrap()
    .ok();
    assert_eq!(done.text().trim(), "3000000");
    data::same(&source, &server.config.home("alice").join("x"));
}

#[test]
fn a_full_disk_is_said_so_and_leaves_room_again() {
    let Some(mount) = Tmpfs::mount("1m") else {
        return;
    };
    let server = Portreeve::start_with(|c| c.files = mount.path().to_owned());
    data::file(&server.dir().join("large"), 2 << 20, 5);
    data::file(&server.dir().join("small"), 300 << 10, 6);
    let alice = Sftp::by_key(&server, "alice");
    let since = server.audit().len();
    let done = alice.batch("put large x");
    assert!(!done.status.success(), "{}", done.said());
    // OpenSSH prints its own words for the code; others show ours.
    if let Some(done) = clients::python(&server, "paramiko_client.py", "alice", &["write", "large", "/z"]) {
        let _ = done.fails("space");
    }
    until("the failure is recorded", PATIENCE, || {
        server.audit()[since..]
            .iter()
            .any(|r| r.story() == "sftp upload failed /x")
    });
    assert_eq!(visible(&mount.path().join("alice")), Vec::<String>::new());
    // Others go on, and there is room again.
    Sftp::by_key(&server, "bob").batch("put small /shared/s").ok();
    alice.batch("put small y").ok();
    data::same(&server.dir().join("small"), &mount.path().join("alice/y"));
}

#[test]
fn a_sparse_offset_of_five_gibibytes() {
    let server = Portreeve::start();
    let Some(done) = clients::python(
        &server,
        "paramiko_client.py",
        "alice",
        &["sparse", "/far", "5368709120"],
    ) else {
        return;
    };
    done.ok();
    let meta = fs::metadata(server.config.home("alice").join("far")).unwrap();
    assert_eq!(meta.len(), 5_368_709_120 + 3);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
    assert!(
        blocks < 64 << 20,
        "{blocks} bytes of disk for 3 bytes at a far offset"
    );
}

/// An interactive interruption: SIGINT makes OpenSSH's client stop and close by itself. What it closed is,
/// for the server, a finished file: the documents say so. Here: the server is none the worse for it.
#[test]
fn an_interrupted_client_leaves_the_server_well() {
    let server = Portreeve::start();
    data::file(&server.dir().join("source"), 64 << 20, 7);
    let relay = Proxy::plain(server.doors().sftp);
    let alice = Sftp::by_key(&server, "alice");
    let client = alice
        .clone()
        .through(relay.address().port())
        .start("put source x");
    until("some of it has passed", PATIENCE, || relay.passed() > 1 << 20);
    client.signal(Signal::INT);
    let _ = client.wait(PATIENCE);
    alice.batch("put source y\nls /").ok();
    data::same(
        &server.dir().join("source"),
        &server.config.home("alice").join("y"),
    );
}
