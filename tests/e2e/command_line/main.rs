//! The command line: every verb of the real program, beside a running server and without one.
//!
//! What each answers to people and to programs, its exit code, what it does at the doors, and that every
//! change stands in the audit log as `admin`.

mod accounts;
mod kit;
mod server;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use portreeve_tests::{
    Portreeve, process,
    server::{PATIENCE, binary},
};
use serde_json::Value;

use kit::{json, refused, run, says};

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
        ("ban add 1.2.3", &["'1.2.3'", "<ADDRESS>", "192.0.2.7"]),
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
        for word in ["/nonexistent/p.toml", "No such file", "--config FILE"] {
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

    says(run(&server, "check"), &["portreeve.toml", "fine", "7 listeners"]);
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
        "{{\"sftp\":\"127.0.0.1:{}\",\"ftps\":\"127.0.0.1:{}\",\"https\":\"127.0.0.1:{}\",\"console\":null,\"user\":\"demo\",\
         \"password\":\"{}\",\"admin\":\"admin\",\"admin_password\":\"{}\",\"config\":\"{}\"}}\n",
        port("sftp"),
        port("ftps"),
        port("https"),
        word("password"),
        word("admin_password"),
        config.display()
    );
    assert_eq!(line, expected);
    assert_ne!(port("sftp"), port("https"));
    assert_ne!(port("sftp"), port("ftps"));
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
