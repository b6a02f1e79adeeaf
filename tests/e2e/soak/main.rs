//! 1,000 idle and 500 active SFTP sessions at one server: no error, bounded memory, listings that
//! do not wait. In the slice for every change the same with 100 and 20, for a few seconds.
//!
//! `PORTREEVE_SOAK_SECONDS` says how long the active sessions work (60 in the long run; 600 is the
//! promise as it is written). All sessions are real ones over SSH, from one process of russh clients on
//! the machine of the server: what they measure holds their own waiting for the processors too.
//! Active sessions do one listing, upload and download a second each. As fast as they can, 500 of them
//! saturate a small machine, and then everybody waits: this is no promise about that.

mod client;
mod load;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    sync::Arc,
    time::{Duration, Instant},
};

use portreeve_tests::{Person, Portreeve, process::until, server::PATIENCE, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{runtime, sync::oneshot};

use client::Door;

/// Resident memory of the whole server under the full load, in KiB: 400 MiB. A part of it is there
/// without any session; the rest goes by their number.
const MOST: u64 = 400 << 10;
const WITHOUT_SESSIONS: u64 = 64 << 10;
const SESSIONS: u64 = 1_500;

/// What the audit log of the run says.
#[derive(Default)]
struct Told {
    logins: usize,
    logouts: usize,
    uploads: usize,
    downloads: usize,
    /// The server's own time of each OPENDIR, in microseconds.
    lists: Vec<u32>,
    /// Records of something that went wrong.
    amiss: Vec<String>,
}

#[test]
fn many_sessions_at_once_are_served_well() {
    let (idle, active) = skip::slice_or_full((100, 20), (1_000, 500));
    let seconds = std::env::var("PORTREEVE_SOAK_SECONDS").map(|text| text.parse().expect("seconds"));
    let lasting = Duration::from_secs(seconds.unwrap_or(skip::slice_or_full(4, 60)));
    let all = idle + active;
    if !room_for(all) {
        skip(&format!(
            "{all} sessions: RLIMIT_NOFILE does not allow so many sockets"
        ));
        return;
    }
    let server = Portreeve::start_with(|config| {
        config.people = load::people(all).map(|name| Person::new(&name)).collect();
    });
    for session in idle..all {
        let dir = server
            .config
            .home(&load::person(session))
            .join(load::dir(session));
        fs::create_dir_all(&dir).unwrap();
        for n in 0..load::LYING {
            fs::write(dir.join(format!("lying{n}")), "x").unwrap();
        }
    }
    let key = russh::keys::load_secret_key(server.config.key(), None).unwrap();
    let door = Door {
        at: server.doors().sftp,
        key: Arc::new(key),
        config: Arc::default(),
    };
    let run = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // A channel says goodbye by a task when it is dropped.
    let _inside = run.enter();

    // What the first sessions bring about once is not the cost of an idle one.
    let warm = 16;
    drop(run.block_on(load::open(&door, 0, warm)).unwrap());
    let _ = told_when(&server, warm);
    let (before, descriptors) = (pss(&server), server.usage().1);
    let sleepers = run.block_on(load::open(&door, 0, idle)).unwrap();
    let each = pss(&server).saturating_sub(before) / idle as u64;
    let workers = run.block_on(load::open(&door, idle, all)).unwrap();

    let cpu = (ticks(server.pid()), ticks(std::process::id()));
    let (stop, over) = oneshot::channel();
    let (kept, tally) = run.block_on(async {
        let resting = tokio::spawn(load::idle(sleepers, over));
        let worked = load::active(workers, idle, Instant::now() + lasting).await;
        stop.send(()).unwrap();
        let (mut kept, tally) = worked.unwrap();
        kept.extend(resting.await.unwrap().unwrap());
        (kept, tally)
    });
    let cpu = (ticks(server.pid()) - cpu.0, ticks(std::process::id()) - cpu.1);
    let (resident, most) = (status(&server, "VmRSS:"), status(&server, "VmHWM:"));
    let open = server.usage().1;
    assert_eq!(kept.len(), all, "a session was lost");
    drop(kept);
    until("descriptors come back", PATIENCE, || {
        server.usage().1 <= descriptors + 12
    });
    let told = told_when(&server, warm + all);
    let (by_client, by_server) = (p99(&tally.lists), p99(&told.lists));
    println!(
        "{idle} idle and {active} active sessions, {} s: {} lists, {} uploads, {} downloads\n\
         an idle session: {each} KiB; resident {resident} KiB, at most {most} KiB; {open} descriptors\n\
         p99 as the client saw it: list {by_client:?}, upload {:?}, download {:?}; OPENDIR in the server {by_server:?}\n\
         processor time: server {} ms, client {} ms",
        lasting.as_secs(),
        tally.lists.len(),
        tally.puts.len(),
        tally.gets.len(),
        p99(&tally.puts),
        p99(&tally.gets),
        cpu.0 * 10,
        cpu.1 * 10,
    );
    assert!(told.amiss.is_empty(), "{}", told.amiss.join("\n"));
    assert_eq!((told.logins, told.logouts), (warm + all, warm + all));
    // Everything that was done is recorded, each once.
    assert_eq!(
        (told.lists.len(), told.uploads, told.downloads),
        (tally.lists.len(), tally.puts.len(), tally.gets.len())
    );
    assert!(told.uploads >= active, "the active sessions did nothing");
    let bound = WITHOUT_SESSIONS + (MOST - WITHOUT_SESSIONS) * all as u64 / SESSIONS;
    assert!(
        most < bound,
        "{most} KiB resident for {all} sessions, at most {bound}"
    );
    assert!(each < 150, "{each} KiB for an idle session");
    if skip::full() {
        assert!(
            by_client < Duration::from_millis(250),
            "p99 of a listing: {by_client:?}"
        );
    }
}

/// Makes room for the sockets of this process; the server does so for itself.
fn room_for(sessions: usize) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let wanted = sessions as u64 + 200;
    let enough = |have: Option<u64>| have.is_none_or(|have| have >= wanted);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    enough(limit.current) || (enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok())
}

/// The audit log, as soon as so many sessions are over.
fn told_when(server: &Portreeve, over: usize) -> Told {
    let mut last = Told::default();
    until("their ends are recorded", PATIENCE, || {
        last = told(server);
        last.logouts >= over
    });
    last
}

/// Reads the audit log with its rotated files, line by line: in the long run it is large.
fn told(server: &Portreeve) -> Told {
    let mut told = Told::default();
    for entry in fs::read_dir(server.dir().join("state")).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("audit") {
            continue;
        }
        let mut log = BufReader::new(File::open(entry.path()).unwrap());
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            // The last line may be one that is being written.
            if line.ends_with('\n') {
                told.hear(&line);
            }
            line.clear();
        }
    }
    told
}

impl Told {
    fn hear(&mut self, line: &str) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        if record["outcome"] != "ok" {
            self.amiss.push(line.to_owned());
        }
        match record["act"].as_str().unwrap_or_default() {
            "login" => self.logins += 1,
            "logout" => self.logouts += 1,
            "upload" => self.uploads += 1,
            "download" => self.downloads += 1,
            "list" => self.lists.push((record["ms"].as_f64().unwrap() * 1_000.0) as u32),
            _ => {}
        }
    }
}

fn p99(micros: &[u32]) -> Duration {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    Duration::from_micros(u64::from(sorted.get(at).copied().unwrap_or(0)))
}

/// Proportional set size, KiB.
fn pss(server: &Portreeve) -> u64 {
    field(&format!("/proc/{}/smaps_rollup", server.pid()), "Pss:")
}

/// A field of the server's status, KiB.
fn status(server: &Portreeve, name: &str) -> u64 {
    field(&format!("/proc/{}/status", server.pid()), name)
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// Clock ticks (10 ms) that a process has used.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
