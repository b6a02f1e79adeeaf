//! The command line: every verb of the real program, beside a running server and without one.
//!
//! What each answers to people and to programs, its exit code, what it does at the doors, and that every
//! change stands in the audit log as `admin`.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Stdio},
};

use portreeve_tests::{
    Done, Portreeve, Running, Sftp,
    process::{self, until},
    server::{PATIENCE, binary},
    skip,
};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

/// Runs a verb with the configuration of `server`.
#[track_caller]
fn run_with(server: &Portreeve, line: &str, input: &str) -> Done {
    let mut args: Vec<&str> = line.split(' ').collect();
    let file = server.config.file();
    args.extend(["--config", file.to_str().expect("UTF-8")]);
    server.command(&args, input.as_bytes())
}

#[track_caller]
fn run(server: &Portreeve, line: &str) -> Done {
    run_with(server, line, "")
}

/// The answer for programs: one line of JSON on standard output and nothing beside it.
#[track_caller]
fn json(server: &Portreeve, line: &str) -> Value {
    let done = run(server, &format!("--json {line}")).ok();
    let text = done.text();
    assert_eq!(text.matches('\n').count(), 1, "{line}: {text:?}");
    assert_eq!(done.err, "", "{line}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}"))
}

/// Insists on an exit code and on words of the message; the message is on standard error alone, for
/// programs it is JSON on standard output too.
#[track_caller]
fn refused(server: &Portreeve, code: i32, line: &str, words: &[&str]) {
    let done = run(server, line);
    assert_eq!(done.status.code(), Some(code), "{line}\n{}", done.said());
    assert_eq!(done.text(), "", "{line}: a complaint is no answer");
    for word in words {
        assert!(
            done.err.contains(word),
            "{line}: {word:?} is missing\n{}",
            done.err
        );
    }
    if code == 1 {
        let done = run(server, &format!("--json {line}"));
        assert_eq!(done.status.code(), Some(1), "{line}");
        let told: Value = serde_json::from_str(&done.text()).expect("JSON");
        for word in words {
            assert!(told["error"].as_str().unwrap().contains(word), "{line}: {told}");
        }
    }
}

/// Insists on words of the answer for people.
#[track_caller]
fn says(done: Done, words: &[&str]) {
    let text = done.ok().text();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in\n{text}");
    }
}

/// What the audit log tells of changes from `since` on: `outcome change`.
fn changes(server: &Portreeve, since: usize) -> Vec<String> {
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    let records = server.audit();
    let admin = records.iter().skip(since).filter(|r| r.text("act") == "admin");
    admin
        .map(|record| {
            assert_eq!(record.text("user"), uid, "who made it: {record:?}");
            format!("{} {}", record.text("outcome"), record.text("change"))
        })
        .collect()
}

/// With the server, then without: accounts, administrators and bans answer alike.
fn both(walk: impl Fn(&Portreeve)) {
    let mut server =
        Portreeve::start_with(|config| config.more = "[roles.boss]\npermissions = [\"*\"]\n".into());
    walk(&server);
    assert!(server.stop().success());
    walk(&server);
    let log = server.dir().join("state/audit.jsonl");
    server
        .command(&["audit", "verify", log.to_str().unwrap()], b"")
        .ok();
    // And what was done without the server stops nobody from starting it.
    server.restart();
    run(&server, "status").ok();
}

#[test]
fn accounts_are_made_shown_changed_and_removed() {
    both(|server| {
        let since = server.audit().len();
        let secret = "a password of dora";
        let made = run_with(
            server,
            "account add dora --group staff --group readers --expires 2099-01-31 --mail d@example.com --password-stdin",
            &format!("{secret}\n"),
        );
        says(
            made,
            &[
                "name         dora",
                "groups       staff, readers",
                "password     yes",
                "2099-01-31T00:00:00Z",
            ],
        );
        refused(
            server,
            1,
            "account add dora --group staff",
            &["already", "'dora'"],
        );
        refused(
            server,
            1,
            "account add Dora --group staff",
            &["'dora'", "private folder", "another name"],
        );

        let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
        run_with(server, "account key add dora -", &public).ok();
        let shown = json(server, "account show dora");
        assert_eq!(
            (
                &shown["name"],
                &shown["groups"],
                &shown["password"],
                &shown["mail"],
                &shown["disabled"]
            ),
            (
                &"dora".into(),
                &serde_json::json!(["staff", "readers"]),
                &true.into(),
                &"d@example.com".into(),
                &false.into()
            )
        );
        let fingerprint = shown["keys"][0]["fingerprint"].as_str().unwrap().to_owned();
        assert!(fingerprint.starts_with("SHA256:"));
        says(run(server, "account show dora"), &[&fingerprint, "test key"]);
        says(
            run(server, "account list"),
            &["name", "last login", "dora", "staff, readers"],
        );
        assert_eq!(json(server, "account list").as_array().unwrap().len(), 1);

        says(run(server, "account disable dora"), &["disabled     yes"]);
        assert_eq!(json(server, "account list")[0]["disabled"], true);
        says(run(server, "account enable dora"), &["disabled     no"]);
        says(
            run(server, "account groups dora readers"),
            &["groups       readers"],
        );
        says(run(server, "account expire dora never"), &["expires      -"]);
        run_with(server, "account passwd dora", "another one\n").ok();
        let bare = json(server, &format!("account key remove dora {fingerprint}"));
        assert_eq!(bare["keys"], serde_json::json!([]));
        refused(
            server,
            1,
            &format!("account key remove dora {fingerprint}"),
            &["dora", "no key", &fingerprint],
        );
        says(run(server, "account remove dora"), &["done"]);
        refused(server, 1, "account show dora", &["no account 'dora'"]);
        refused(server, 1, "account remove dora", &["no account 'dora'"]);
        says(run(server, "account list"), &["none"]);

        let told = changes(server, since);
        let key_again = format!("failed account key remove dora {fingerprint}");
        // Every complaint was asked for twice: for people and for programs.
        assert_eq!(
            told,
            [
                "ok account add dora (staff, readers)",
                "failed account add dora (staff)",
                "failed account add dora (staff)",
                "failed account add Dora (staff)",
                "failed account add Dora (staff)",
                "ok account key add dora",
                "ok account disable dora",
                "ok account enable dora",
                "ok account groups dora (readers)",
                "ok account expire dora never",
                "ok account passwd dora",
                &format!("ok account key remove dora {fingerprint}"),
                &key_again,
                &key_again,
                "ok account remove dora",
                "failed account remove dora",
                "failed account remove dora",
            ]
        );
        let log = fs::read_to_string(server.dir().join("state/audit.jsonl")).unwrap();
        assert!(
            !log.contains(secret) && !log.contains("argon2"),
            "no secret is recorded"
        );
    });
}

#[test]
fn administrators_are_no_transfer_users() {
    both(|server| {
        let since = server.audit().len();
        says(
            run_with(
                server,
                "admin add chief --role boss --password-stdin",
                "secret of chief\n",
            ),
            &["roles        boss"],
        );
        says(run(server, "admin list"), &["chief", "boss"]);
        assert_eq!(
            json(server, "admin show chief")["roles"],
            serde_json::json!(["boss"])
        );
        assert_eq!(
            json(server, "account list"),
            serde_json::json!([]),
            "not among the others"
        );
        refused(server, 1, "account show chief", &["no account 'chief'"]);
        refused(
            server,
            1,
            "admin add other --role bos",
            &["no role 'bos'", "boss", "[roles.bos]"],
        );
        let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
        run_with(server, "admin key add chief -", &public).ok();
        run(server, "admin disable chief").ok();
        assert_eq!(json(server, "admin show chief")["disabled"], true);
        run(server, "admin enable chief").ok();
        run_with(server, "admin passwd chief", "new secret\n").ok();
        says(run(server, "admin delete chief"), &["done"]);
        assert_eq!(
            changes(server, since),
            [
                "ok admin add chief (boss)",
                "failed admin add other (bos)",
                "failed admin add other (bos)",
                "ok admin key add chief",
                "ok admin disable chief",
                "ok admin enable chief",
                "ok admin passwd chief",
                "ok admin remove chief",
            ]
        );
    });
}

#[test]
fn bans_are_made_told_and_lifted() {
    both(|server| {
        let since = server.audit().len();
        says(run(server, "ban list"), &["none"]);
        run(server, "ban add 192.0.2.7 --for 2h --reason nosy").ok();
        let made = json(server, "ban add 2001:db8::1 --for 1d");
        assert_eq!(made["address"], "2001:db8::", "its /64");
        says(
            run(server, "ban list"),
            &["address", "192.0.2.7", "nosy", "by hand"],
        );
        let listed = json(server, "ban list");
        let remaining = |address: &str| {
            let found = listed
                .as_array()
                .unwrap()
                .iter()
                .find(|ban| ban["address"] == address);
            found.unwrap()["remaining_s"].as_u64().unwrap()
        };
        assert!((7_000..=7_200).contains(&remaining("192.0.2.7")), "{listed}");
        assert!(remaining("2001:db8::") > 80_000, "{listed}");
        run(server, "ban remove 192.0.2.7").ok();
        refused(server, 1, "ban remove 192.0.2.7", &["192.0.2.7 is not banned"]);
        run(server, "ban remove 2001:db8::ff").ok();
        refused(server, 1, "ban add 192.0.2.8 --for 0s", &["a second or more"]);
        assert_eq!(json(server, "ban list"), serde_json::json!([]));
        assert_eq!(
            changes(server, since),
            [
                "ok ban add 192.0.2.7 for 2h: nosy",
                "ok ban add 2001:db8::1 for 1d: by hand",
                "ok ban remove 192.0.2.7",
                "failed ban remove 192.0.2.7",
                "failed ban remove 192.0.2.7",
                "ok ban remove 2001:db8::ff",
                "failed ban add 192.0.2.8 for 0ms: by hand",
                "failed ban add 192.0.2.8 for 0ms: by hand",
            ]
        );
    });
}

/// What the command line says of people counts at the door, at once.
#[test]
fn changes_count_at_the_doors() {
    let mut server = Portreeve::start();
    let dora = Sftp::by_password(&server, "dora", "first password");
    dora.batch("pwd").fails("denied");
    run_with(
        &server,
        "account add dora --group staff --password-stdin",
        "first password\n",
    )
    .ok();
    dora.batch("pwd").ok();
    run_with(&server, "account passwd dora", "second password\n").ok();
    dora.batch("pwd").fails("denied");
    Sftp::by_password(&server, "dora", "second password")
        .batch("pwd")
        .ok();
    let by_key = Sftp::by_key(&server, "dora");
    by_key.batch("pwd").fails("denied");
    let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
    run_with(&server, "account key add dora -", &public).ok();
    by_key.batch("pwd").ok();
    assert!(json(&server, "account show dora")["last_login"].is_string());

    let mut held = hold(&server, "dora");
    run(&server, "account disable dora").ok();
    until("a disabled account's session ends", PATIENCE, || !held.alive());
    by_key.batch("pwd").fails("denied");
    run(&server, "account enable dora").ok();
    let mut held = hold(&server, "dora");
    run(&server, "account remove dora").ok();
    until("a removed account's session ends", PATIENCE, || !held.alive());
    by_key.batch("pwd").fails("denied");

    let alice = Sftp::by_key(&server, "alice");
    run(&server, "ban add 127.0.0.1").ok();
    assert!(!alice.batch("pwd").status.success(), "a banned address");
    run(&server, "ban remove 127.0.0.1").ok();
    alice.batch("pwd").ok();
    // A ban that is made while nobody serves is there when somebody does.
    assert!(server.stop().success());
    run(&server, "ban add 127.0.0.1").ok();
    server.restart();
    assert!(
        !alice.batch("pwd").status.success(),
        "a ban made without the server"
    );
    run(&server, "ban remove 127.0.0.1").ok();
    alice.batch("pwd").ok();
}

/// A live SFTP session that says nothing; it is in when this returns.
fn hold(server: &Portreeve, user: &str) -> Running {
    let logins = || {
        let audit = server.audit();
        audit
            .iter()
            .filter(|r| r.story() == "sftp login ok" && r.text("user") == user)
            .count()
    };
    let before = logins();
    let client = Sftp::by_key(server, user);
    let held = client.ssh_held(&["-s", &client.at(), "sftp"], b"");
    until("the session is in", PATIENCE, || logins() > before);
    held
}

#[test]
fn a_session_is_listed_and_ended() {
    let mut server = Portreeve::start();
    says(run(&server, "session list"), &["none"]);
    let mut alice = hold(&server, "alice");
    let mut bob = hold(&server, "bob");
    says(
        run(&server, "session list"),
        &["id", "idle s", "alice", "bob", "people", "127.0.0.1:"],
    );
    let listed = json(&server, "session list");
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let of = |user: &str| {
        let found = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["user"] == user)
            .unwrap();
        assert_eq!(
            (&found["door"], &found["listener"]),
            (&"sftp".into(), &"sftp".into())
        );
        found["id"].as_str().unwrap().to_owned()
    };
    let id = of("alice");
    refused(&server, 1, "session kill abc", &["'abc'", "session"]);
    let since = server.audit().len();
    says(run(&server, &format!("session kill {id}")), &["done"]);
    until("the client is gone", PATIENCE, || !alice.alive());
    assert!(bob.alive(), "the other goes on");
    until("it is no longer listed", PATIENCE, || {
        json(&server, "session list").as_array().unwrap().len() == 1
    });
    refused(&server, 1, &format!("session kill {id}"), &["no session", &id]);
    let killed = json(&server, &format!("session kill {}", of("bob")));
    assert_eq!(killed["killed"], of("bob"));
    until("the other client is gone", PATIENCE, || !bob.alive());
    assert_eq!(
        changes(&server, since),
        [
            format!("ok session kill {id}"),
            format!("failed session kill {id}"),
            format!("failed session kill {id}"),
            format!("ok session kill {}", of("bob")),
        ]
    );
    until("the end of the session is recorded", PATIENCE, || {
        let audit = server.audit();
        audit
            .iter()
            .any(|r| r.text("act") == "logout" && r.text("session") == id)
    });
    // The person may come back: a session was ended, nobody was shut out.
    Sftp::by_key(&server, "alice").batch("pwd").ok();

    assert!(server.stop().success());
    for line in ["session list", "status", "reload", &format!("session kill {id}")] {
        refused(
            &server,
            1,
            line,
            &["no server is running", "state", "portreeve serve"],
        );
    }
}

#[test]
fn explain_answers_with_and_without_a_server() {
    both(|server| {
        says(
            run(server, "explain login --user alice --from 192.0.2.7"),
            &[
                "alice from 192.0.2.7",
                "people",
                "let in, if the credential is right",
                "groups  staff",
                "/shared",
            ],
        );
        let told = json(server, "explain login --user alice --credential key");
        assert_eq!(
            (&told["method"], &told["gates"]),
            (&"people".into(), &"admit".into())
        );
        let told = json(server, "explain login --user adminus");
        assert_eq!(told["gates"], "refuse", "{told}");
        says(
            run(server, "explain access --user alice --path /x"),
            &["read", "delete", "mount"],
        );
        let told = json(server, "explain access --user reader --path /x --verb delete");
        assert_eq!(told["verbs"].as_array().unwrap().len(), 1);
        assert_eq!(told["verbs"][0]["allowed"], false);
        refused(
            server,
            1,
            "explain access --user alice --path /x --verb fly",
            &["'fly'", "make-dir"],
        );
        refused(
            server,
            1,
            "explain login --user alice --protocol ftp",
            &["no listener 'ftp'", "https"],
        );
        // Who only asks leaves no record.
        let since = server.audit().len();
        run(server, "explain login --user bob").ok();
        run(server, "account list").ok();
        assert_eq!(changes(server, since), [""; 0]);
    });
}

#[test]
fn status_and_reload_tell_how_it_stands() {
    let server = Portreeve::start();
    says(
        run(&server, "status"),
        &[
            "ready          yes",
            "generation     1",
            "old-sftp",
            "https",
            "up",
        ],
    );
    let told = json(&server, "status");
    assert_eq!(
        (&told["ready"], &told["degraded"], &told["generation"]),
        (&true.into(), &false.into(), &1.into())
    );
    assert_eq!(told["listeners"].as_array().unwrap().len(), 3);
    says(run(&server, "reload"), &["configuration 2 serves now"]);
    assert_eq!(json(&server, "reload")["generation"], 3);

    let file = server.config.file();
    let good = fs::read_to_string(&file).unwrap();
    // While the file is being edited the server can be asked all the same.
    for bad in [
        good.replace("address = ", "adress = "),
        good.replace("[server]\n", "[server\n"),
        good.replace("name = \"portreeve.test\"", "name \"= \"x\""),
    ] {
        fs::write(&file, bad).unwrap();
        refused(&server, 1, "reload", &["portreeve.toml:"]);
        let told = json(&server, "status");
        assert_eq!((&told["ready"], &told["degraded"]), (&true.into(), &true.into()));
        assert!(
            told["reload_error"].as_str().unwrap().contains("portreeve.toml:"),
            "{told}"
        );
        assert_eq!(told["generation"], 3, "the old one serves");
        run(&server, "session list").ok();
    }
    fs::write(&file, good).unwrap();
    assert_eq!(json(&server, "reload")["generation"], 4);
    assert_eq!(json(&server, "status")["reload_error"], Value::Null);
}

/// Without a server the command line holds the lock: neither it nor a server comes between.
#[test]
fn the_data_directory_has_one_owner_at_a_time() {
    let mut server = Portreeve::start();
    assert!(server.stop().success());
    let lock = fs::File::options()
        .write(true)
        .open(server.dir().join("state/lock"))
        .unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    refused(&server, 1, "account list", &["another server uses", "state"]);
    let done = run(&server, "serve");
    assert_eq!(done.status.code(), Some(1), "{}", done.said());
    assert!(done.err.contains("another server uses"), "{}", done.err);
    drop(lock);
    run(&server, "account list").ok();
    // A crash leaves the socket behind: nobody listens there.
    server.restart();
    server.crash();
    assert!(server.dir().join("state/control.sock").exists());
    run(&server, "account list").ok();
    refused(&server, 1, "status", &["no server is running"]);
}

#[test]
fn strangers_are_sent_to_the_owner() {
    if !skip::root() {
        skip::skip_by_nature("another user's data directory: needs root");
        return;
    }
    let mut server = Portreeve::start();
    let state = server.dir().join("state");
    // Somebody else beside the running server: the socket is not theirs.
    let desk = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(desk.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let told = fs::read_to_string(server.config.file()).unwrap();
    let own = desk.path().join("portreeve.toml");
    fs::write(
        &own,
        told.replace("\"state\"", &format!("{:?}", state.to_str().unwrap())),
    )
    .unwrap();
    let program = desk.path().join("portreeve");
    fs::copy(binary(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["account", "list", "--config"])
        .arg(&own);
    let done = process::run(&mut command, b"", PATIENCE).fails("as the server's own user or as root");
    assert_eq!(done.status.code(), Some(1));

    // Root beside somebody else's state, while no server runs: it would leave files that are root's.
    assert!(server.stop().success());
    let owned: Vec<_> = entries(&state);
    for path in &owned {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    chown(&state, Some(65534), Some(65534)).unwrap();
    for line in [
        "account list",
        "account add dora --group staff",
        "ban list",
        "explain login --user alice",
    ] {
        refused(
            &server,
            1,
            line,
            &["belongs to another user", "sudo -u '#65534'", "state"],
        );
    }
    assert_eq!(entries(&state), owned, "nothing was left there");
    chown(&state, Some(0), Some(0)).unwrap();
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

/// What is typed wrong: the exit code is 2, and the message says what, where and how to mend it.
#[test]
fn wrong_arguments_are_explained() {
    let server = Portreeve::start();
    let usage: &[(&str, &[&str])] = &[
        ("fly", &["unrecognized subcommand 'fly'", "Usage", "--help"]),
        ("statsu", &["'statsu'", "status"]),
        ("account", &["Usage", "add", "remove"]),
        ("account add dora", &["--group <"]),
        ("account add --group staff", &["<NAME>"]),
        ("account show", &["<NAME>"]),
        ("account show a b", &["unexpected argument 'b'"]),
        (
            "account add dora --group staff --password x",
            &["--password", "--password-stdin"],
        ),
        ("ban add 1.2.3", &["'1.2.3'", "<ADDRESS>", "IP address"]),
        ("ban add 192.0.2.1 --for 5", &["--for <", "\"30s\""]),
        ("explain login", &["--user <USER>"]),
        ("explain login --user a --credential x", &["'x'", "password, key"]),
        ("completions tcsh", &["'tcsh'", "bash", "zsh"]),
        ("audit verify", &["<FILES>"]),
        ("account passwd alice", &["standard input", "printf"]),
        ("hash-password", &["standard input", "printf"]),
    ];
    for (line, words) in usage {
        let done = server.command(&line.split(' ').collect::<Vec<_>>(), b"");
        assert_eq!(done.status.code(), Some(2), "{line}\n{}", done.said());
        assert_eq!(done.text(), "", "{line}");
        for word in *words {
            assert!(
                done.err.contains(word),
                "{line}: {word:?} is missing\n{}",
                done.err
            );
        }
    }
    let failed: &[(&str, &[&str])] = &[
        (
            "account add dora --group stuff",
            &["no group 'stuff'", "staff, readers", "[groups.stuff]"],
        ),
        (
            "account add dora --group staff --expires soon",
            &["'soon'", "2027-01-31"],
        ),
        ("account add dora --group staff --ssh-key nonsense", &["key"]),
        ("account show nobody", &["no account 'nobody'"]),
    ];
    for (line, words) in failed {
        refused(&server, 1, line, words);
    }
    assert_eq!(
        json(&server, "account list"),
        serde_json::json!([]),
        "nothing was half done"
    );
    // The configuration is looked for, not found, and how to name it is said.
    for verb in ["serve", "check", "status", "account list"] {
        let mut args: Vec<&str> = verb.split(' ').collect();
        args.extend(["--config", "/nonexistent/p.toml"]);
        let done = server.command(&args, b"");
        assert_eq!(done.status.code(), Some(2), "{verb}");
        for word in [
            "/nonexistent/p.toml",
            "No such file",
            "--config FILE",
            "PORTREEVE_CONFIG",
        ] {
            assert!(
                done.err.contains(word),
                "{verb}: {word:?} is missing\n{}",
                done.err
            );
        }
    }
    // The other ways to name it.
    let mut command = Command::new(binary());
    command
        .arg("status")
        .env("PORTREEVE_CONFIG", server.config.file());
    process::run(&mut command, b"", PATIENCE).ok();
    let done = server.command(&["account", "--help"], b"").ok();
    assert!(done.text().contains("passwd"));
    server.command(&["--version"], b"").ok();
}

/// What needs neither a server nor a configuration.
#[test]
fn the_other_verbs_stand_alone() {
    let server = Portreeve::start();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = server.command(&["completions", shell], b"").ok();
        assert!(done.text().contains("hash-password"), "{shell}");
    }
    let script = server.command(&["completions", "bash"], b"").ok();
    process::run(Command::new("bash").arg("-n"), &script.out, PATIENCE).ok();
    let page = server.command(&["man"], b"").ok().text();
    assert!(
        page.starts_with(".ie") || page.contains(".TH portreeve 1"),
        "{page}"
    );
    for word in ["account key add", "ban remove", "explain access"] {
        assert!(page.contains(&format!(".SS portreeve {word}")), "{word}");
    }

    let hash = server.command(&["hash-password"], b"a b \xc3\xa9\n").ok().text();
    assert!(
        hash.starts_with("$argon2id$") && hash.matches('\n').count() == 1,
        "{hash}"
    );
    let done = server.command(&["hash-password", "--json"], b"secret\n").ok();
    let told: Value = serde_json::from_str(&done.text()).unwrap();
    assert!(told["hash"].as_str().unwrap().starts_with("$argon2id$"));
    assert!(!done.said().contains("secret"));
    let long = vec![b'x'; 70_000];
    server.command(&["hash-password"], &long).fails("longer than");

    says(run(&server, "check"), &["portreeve.toml", "fine", "3 listeners"]);
    assert_eq!(json(&server, "check")["ok"], true);

    let log = server.dir().join("state/audit.jsonl");
    run(&server, "account add dora --group staff").ok();
    let verify = |args: &[&str]| {
        let mut all = vec!["audit", "verify"];
        all.extend(args);
        server.command(&all, b"")
    };
    says(verify(&[log.to_str().unwrap()]), &["records: one unbroken chain"]);
    let forged = server.dir().join("forged.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    assert!(whole.contains("(staff)"));
    fs::write(&forged, whole.replace("(staff)", "(boss!)")).unwrap();
    let done = verify(&[forged.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1), "{}", done.said());
    assert!(
        done.text().contains("BROKEN") && done.text().contains("forged.jsonl:"),
        "{}",
        done.said()
    );
    let done = verify(&[forged.to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!((done.status.code(), &told["ok"]), (Some(1), &false.into()));
    let done = verify(&["/nonexistent.jsonl"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(done.err.contains("/nonexistent.jsonl"), "{}", done.err);
}

/// A child that does not outlive its test.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line is an interface: programs read it, key for key.
#[test]
fn the_demo_prints_exactly_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let mut command = Command::new(binary());
    command
        .args(["demo", "--ephemeral", "--json", "--dir"])
        .arg(&demo);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = Ours(child.unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    let word = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("{key} in {line}"));
    let port = |key: &str| {
        let port = word(key)
            .strip_prefix("127.0.0.1:")
            .and_then(|port| port.parse::<u16>().ok());
        port.filter(|port| *port > 0)
            .unwrap_or_else(|| panic!("{key} in {line}"))
    };
    let config = demo.join("portreeve.toml");
    let expected = format!(
        "{{\"sftp\":\"127.0.0.1:{}\",\"ftps\":null,\"https\":\"127.0.0.1:{}\",\"console\":null,\"user\":\"demo\",\
         \"password\":\"{}\",\"admin\":\"admin\",\"admin_password\":\"{}\",\"config\":\"{}\"}}\n",
        port("sftp"),
        port("https"),
        word("password"),
        word("admin_password"),
        config.display()
    );
    assert_eq!(line, expected);
    assert_ne!(port("sftp"), port("https"));
    for secret in [word("password"), word("admin_password")] {
        assert!(
            secret.len() >= 16 && secret.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{secret}"
        );
    }
    assert_ne!(word("password"), word("admin_password"));
    // The demo is a server like any other: it is asked, and told to end.
    let file = config.to_str().unwrap();
    let ask = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.args(args).args(["--config", file]);
        process::run(&mut command, b"", PATIENCE).ok()
    };
    says(ask(&["status"]), &["ready          yes"]);
    says(ask(&["account", "list"]), &["demo"]);
    says(ask(&["admin", "list"]), &["admin", "administrator"]);
    let pid = i32::try_from(child.0.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.0.wait().unwrap().success());
    let mut rest = String::new();
    lines.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "one line and nothing behind it");
}
