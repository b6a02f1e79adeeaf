//! What concerns the server itself: sessions, explanations, its standing, and who may ask.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use portreeve_tests::{
    Portreeve, Sftp,
    process::{self, until},
    server::{PATIENCE, binary},
    skip,
};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::kit::{both, changes, hold, json, refused, run, says};

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
            "implicit",
            "up",
        ],
    );
    let told = json(&server, "status");
    assert_eq!(
        (&told["ready"], &told["degraded"], &told["generation"]),
        (&true.into(), &false.into(), &1.into())
    );
    assert_eq!(told["listeners"].as_array().unwrap().len(), 7);
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
