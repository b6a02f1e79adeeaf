use std::{fs, time::Duration};

use portreeve_model::{
    Act, Outcome,
    options::{DurationText, SizeText},
};

use super::*;

fn start() -> Event {
    Event {
        at: std::time::UNIX_EPOCH,
        connection: None,
        session: None,
        origin: None,
        user: None,
        act: Act::Start,
        item: None,
        outcome: Outcome::Ok,
        took: Duration::ZERO,
    }
}

/// Kept by number alone, with room enough.
pub(super) const fn terms(rotate_at: u64, keep: u32) -> Retention {
    Retention {
        rotate_at,
        keep,
        keep_for: Duration::ZERO,
        max_total: 1 << 40,
        when_full: WhenFull::Refuse,
    }
}

fn to_file(path: &Path, rotate_at: u64) -> Audit {
    let options = AuditOptions {
        sinks: vec![SinkOptions::File {
            path: path.to_owned(),
            rotate_at: SizeText(rotate_at),
            keep: 2,
            keep_for: DurationText(Duration::ZERO),
            max_total: SizeText(1 << 40),
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
    let mut sink = file::File::open(&path, terms(1 << 20, 1)).unwrap();
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
    // With a number, the name is longer than a name can be.
    let path = dir.path().join("a".repeat(254));
    fs::write(&path, "a line\n").unwrap();
    let mut sink = file::File::open(&path, terms(10, 2)).unwrap();
    for n in 0..5 {
        sink.write(&format!("{{\"n\":{n}}}")).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 6);
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
    let line = encode::line(&event, &Beside::default());
    assert!(
        line.len() < 1200 && line.contains("(200000 bytes)"),
        "{}",
        line.len()
    );
}

/// The rotated files that there are, and what the file of each record says.
fn left(path: &Path) -> Vec<u32> {
    (1..200)
        .filter(|n| rotation::numbered(path, *n).exists())
        .collect()
}

fn aged(path: &Path, age: Duration) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - age).unwrap();
}

/// Writes until it was rotated `times` times (every record is longer than `rotate_at`).
fn rotations(sink: &mut file::File, times: u32) {
    for n in 0..times {
        sink.write(&format!("{{\"n\":{n}}}")).unwrap();
    }
}

const DAY: Duration = Duration::from_hours(24);

#[test]
fn what_is_young_stays_and_what_is_old_goes_down_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let terms = Retention {
        keep_for: 7 * DAY,
        ..terms(10, 2)
    };
    let mut sink = file::File::open(&path, terms).unwrap();
    rotations(&mut sink, 51);
    assert_eq!(left(&path).len(), 50, "a flood pushes nothing out");
    for n in 5..=50 {
        aged(&rotation::numbered(&path, n), 8 * DAY);
    }
    // Somebody else's, and no rotated file.
    fs::write(dir.path().join("audit.jsonl.07"), "").unwrap();
    fs::write(dir.path().join("audit.jsonl.gz"), "").unwrap();
    rotations(&mut sink, 1);
    assert_eq!(left(&path), [1, 2, 3, 4, 5]);
    for n in 1..=5 {
        aged(&rotation::numbered(&path, n), 8 * DAY);
    }
    rotations(&mut sink, 1);
    assert_eq!(left(&path), [1, 2]);
    assert!(dir.path().join("audit.jsonl.07").exists() && dir.path().join("audit.jsonl.gz").exists());
}

#[test]
fn a_full_log_takes_no_record_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let terms = Retention {
        keep_for: 7 * DAY,
        max_total: 1000,
        ..terms(10, 2)
    };
    let mut sink = file::File::open(&path, terms).unwrap();
    // How many records are taken until it is full.
    let mut fill = || {
        let refusal = (0..100)
            .map(|n| (n, sink.write("{\"n\":1}")))
            .find(|(_, result)| result.is_err());
        let (taken, Err(error)) = refusal.unwrap() else {
            panic!("it is never full")
        };
        assert!(error.to_string().contains("max_total"), "{error}");
        let files = left(&path).into_iter().map(|n| rotation::numbered(&path, n));
        let bytes: u64 = files
            .chain([path.clone()])
            .map(|file| fs::metadata(file).unwrap().len())
            .sum();
        assert!((900..=1000).contains(&bytes), "{bytes}");
        sink.look_now();
        taken
    };
    assert!(fill() > 5);
    assert_eq!(fill(), 0);
    // What was moved away or has become too old makes room, and only as much.
    let of_oldest = |n: usize| rotation::numbered(&path, left(&path)[left(&path).len() - n]);
    fs::remove_file(of_oldest(1)).unwrap();
    fs::remove_file(of_oldest(1)).unwrap();
    assert!((1..=2).contains(&fill()));
    aged(&of_oldest(2), 8 * DAY);
    assert_eq!(fill(), 0, "only the oldest makes room");
    aged(&of_oldest(1), 8 * DAY);
    assert!((1..=2).contains(&fill()));
}

#[test]
fn a_full_log_stops_acts_in_mode_required_and_loses_its_oldest_in_best_effort() {
    for (mode, is_healthy) in [(AuditMode::Required, false), (AuditMode::BestEffort, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let options = AuditOptions {
            sinks: vec![SinkOptions::File {
                path: path.clone(),
                rotate_at: SizeText(300),
                keep: 1,
                keep_for: DurationText(7 * DAY),
                max_total: SizeText(2000),
            }],
            mode,
            ..AuditOptions::default()
        };
        let audit = Audit::open(&options, dir.path()).unwrap();
        let mut files = 0;
        let taken = (0..100).filter(|_| {
            files = files.max(left(&path).len());
            audit.record(&start()).is_ok()
        });
        assert_eq!(taken.count() == 100, is_healthy, "{mode:?}");
        assert_eq!(audit.healthy(), is_healthy, "{mode:?}");
        assert_eq!(audit.lost() == 0, is_healthy, "{mode:?}");
        assert!((3..8).contains(&files), "{files}");
    }
}

#[test]
fn terms_that_cannot_be_kept_are_refused() {
    for (rotate_at, keep, max_total, fits) in
        [(100, 2, 400, true), (100, 2, 399, false), (u64::MAX, 9, 1, false)]
    {
        let terms = Retention {
            max_total,
            ..terms(rotate_at, keep)
        };
        assert_eq!(terms.check().is_ok(), fits, "{rotate_at} {keep} {max_total}");
    }
}
