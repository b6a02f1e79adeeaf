use std::fs;

use portreeve_model::{Act, Outcome, options::SizeText};

use super::*;

fn start() -> Event {
    Event {
        at: std::time::UNIX_EPOCH,
        connection: None,
        session: None,
        origin: None,
        user: None,
        act: Act::Start,
        outcome: Outcome::Ok,
        took: std::time::Duration::ZERO,
    }
}

fn to_file(path: &Path, rotate_at: u64) -> Audit {
    let options = AuditOptions {
        sinks: vec![SinkOptions::File {
            path: path.to_owned(),
            rotate_at: SizeText(rotate_at),
            keep: 2,
        }],
        ..AuditOptions::default()
    };
    Audit::open(&options, Path::new("/")).unwrap()
}

#[test]
fn two_logs_of_one_file_keep_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    // A reload opens the file while the old log still writes; a command line may, too.
    let (old, new) = (to_file(&path, 1 << 20), to_file(&path, 1 << 20));
    for audit in [&old, &new, &new, &old, &new] {
        audit.record(&start()).unwrap();
    }
    old.become_like(new);
    old.record(&start()).unwrap();
    let verified = verify(&path, None).unwrap();
    assert_eq!((verified.records, verified.findings), (6, vec![]));
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut sink = file::File::open(&path, 1 << 20, 1).unwrap();
    sink.write("{\"n\":1}").unwrap();
    fs::rename(&path, dir.path().join("away")).unwrap();
    sink.look_now();
    sink.write("{\"n\":2}").unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("\"n\":2"));
    let away = fs::read(dir.path().join("away")).unwrap();
    let verified = verify(&path, Some(away.trim_ascii_end())).unwrap();
    assert_eq!((verified.records, verified.findings), (1, vec![]));
}

#[test]
fn a_rotation_that_fails_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut sink = file::File::open(&path, 10, 2).unwrap();
    // Where the next file should go, there is a directory that is not empty.
    fs::create_dir_all(dir.path().join("audit.jsonl.2/x")).unwrap();
    fs::write(dir.path().join("audit.jsonl.1"), "").unwrap();
    for n in 0..5 {
        sink.write(&format!("{{\"n\":{n}}}")).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);
}

#[test]
fn a_broken_sink_stops_acts_in_mode_required_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("log");
    let open = |mode| {
        let options = AuditOptions {
            sinks: vec![SinkOptions::Syslog {
                socket: socket.clone(),
            }],
            mode,
            ..AuditOptions::default()
        };
        Audit::open(&options, dir.path()).unwrap()
    };
    let (required, best_effort) = (open(AuditMode::Required), open(AuditMode::BestEffort));
    assert!(required.record(&start()).is_err() && !required.healthy());
    assert!(best_effort.record(&start()).is_ok() && best_effort.healthy());
    assert_eq!((required.lost(), best_effort.lost()), (1, 1));
    let daemon = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    required.record(&start()).unwrap();
    assert!(required.healthy());
    let mut datagram = [0; 1024];
    let len = daemon.recv(&mut datagram).unwrap();
    assert!(datagram[..len].starts_with(b"<110>1 "));
}

#[test]
fn a_long_story_is_cut() {
    let mut event = start();
    event.outcome = Outcome::Refused("\u{e9}".repeat(100_000));
    let line = encode::line(&event);
    assert!(
        line.len() < 1200 && line.contains("(200000 bytes)"),
        "{}",
        line.len()
    );
}
