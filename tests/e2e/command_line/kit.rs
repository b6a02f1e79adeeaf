//! Verbs of the program, run beside a server, and what is insisted on in their answers.

use portreeve_tests::{Done, Portreeve, Running, Sftp, process::until, server::PATIENCE};
use serde_json::Value;

/// Runs a verb with the configuration of `server`.
#[track_caller]
pub fn run_with(server: &Portreeve, line: &str, input: &str) -> Done {
    let mut args: Vec<&str> = line.split(' ').collect();
    let file = server.config.file();
    args.extend(["--config", file.to_str().expect("UTF-8")]);
    server.command(&args, input.as_bytes())
}

#[track_caller]
pub fn run(server: &Portreeve, line: &str) -> Done {
    run_with(server, line, "")
}

/// The answer for programs: one line of JSON on standard output and nothing beside it.
#[track_caller]
pub fn json(server: &Portreeve, line: &str) -> Value {
    let done = run(server, &format!("--json {line}")).ok();
    let text = done.text();
    assert_eq!(text.matches('\n').count(), 1, "{line}: {text:?}");
    assert_eq!(done.err, "", "{line}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}"))
}

/// Insists on an exit code and on words of the message; the message is on standard error alone, for
/// programs it is JSON on standard output too.
#[track_caller]
pub fn refused(server: &Portreeve, code: i32, line: &str, words: &[&str]) {
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
pub fn says(done: Done, words: &[&str]) {
    let text = done.ok().text();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in\n{text}");
    }
}

/// What the audit log tells of changes from `since` on: `outcome change`.
pub fn changes(server: &Portreeve, since: usize) -> Vec<String> {
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
pub fn both(walk: impl Fn(&Portreeve)) {
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

/// A live SFTP session that says nothing; it is in when this returns.
pub fn hold(server: &Portreeve, user: &str) -> Running {
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
