//! The server under test, as a process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    audit::{self, Record},
    config::{Config, PASSWORD},
    process::until,
};

/// How long anything local may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program: `PORTREEVE_BIN`, else the release build.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("PORTREEVE_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/portreeve"),
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --release -p portreeve-server`, or use tests/run",
        path.display()
    );
    path
}

/// Where the doors are and who may enter.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The SFTP door.
    pub sftp: SocketAddr,
    /// The HTTPS door.
    pub https: SocketAddr,
    /// The FTPS door that begins in clear; the demo's one.
    pub ftps: SocketAddr,
    /// The FTPS door that begins with TLS; not in the demo.
    pub ftps_implicit: SocketAddr,
    /// The FTPS door that insists on resumed sessions; not in the demo.
    pub ftps_strict: SocketAddr,
    /// The FTP door that insists on nothing; not in the demo.
    pub ftp: SocketAddr,
    /// Somebody who may enter.
    pub user: String,
    /// With what.
    pub password: String,
}

/// The running server. Dropping it kills it.
#[derive(Debug)]
pub struct Portreeve {
    child: Option<Child>,
    dir: Option<TempDir>,
    doors: Doors,
    /// What it was started with, unless it is the demo.
    pub config: Config,
    demo: Option<serde_json::Value>,
}

impl Portreeve {
    /// The standard configuration in a fresh directory.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The standard configuration, changed.
    #[must_use]
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = scratch();
        let mut config = Config::new(dir.path());
        change(&mut config);
        config.write();
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let doors = Doors {
            sftp: local(config.sftp),
            https: local(config.https),
            ftps: local(config.ftps),
            ftps_implicit: local(config.ftps_implicit),
            ftps_strict: local(config.ftps_strict),
            ftp: local(config.ftp),
            user: "alice".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let mut server = Self {
            child: None,
            dir: Some(dir),
            doors,
            config,
            demo: None,
        };
        server.restart();
        server
    }

    /// `portreeve demo --ephemeral --json`.
    ///
    /// # Panics
    /// If it does not print its line, or not in the promised form.
    #[must_use]
    pub fn demo() -> Self {
        let dir = scratch();
        let mut command = Command::new(binary());
        command
            .args(["demo", "--ephemeral", "--json", "--dir"])
            .arg(dir.path().join("demo"));
        let log = fs::File::create(dir.path().join("server.log")).expect("a log");
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("readable");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| {
            let said = fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
            panic!("the demo's line {line:?} is no JSON: {e}\n{said}")
        });
        let text = |key: &str| {
            ready[key]
                .as_str()
                .unwrap_or_else(|| panic!("{key} is missing in {ready}"))
                .to_owned()
        };
        let doors = Doors {
            sftp: text("sftp").parse().expect("an address"),
            https: text("https").parse().expect("an address"),
            ftps: text("ftps").parse().expect("an address"),
            ftps_implicit: SocketAddr::from(([127, 0, 0, 1], 0)),
            ftps_strict: SocketAddr::from(([127, 0, 0, 1], 0)),
            ftp: SocketAddr::from(([127, 0, 0, 1], 0)),
            user: text("user"),
            password: text("password"),
        };
        let config = Config::new(dir.path());
        Self {
            child: Some(child),
            dir: Some(dir),
            doors,
            config,
            demo: Some(ready),
        }
    }

    /// What the demo printed.
    #[must_use]
    pub const fn demo_line(&self) -> Option<&serde_json::Value> {
        self.demo.as_ref()
    }

    /// The doors.
    #[must_use]
    pub const fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The directory of everything: for scratch files of the test too.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("kept until the end").path()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Starts it with what is configured, and waits until every door answers.
    ///
    /// # Panics
    /// If it ends instead, with its log.
    pub fn restart(&mut self) {
        self.start_under(&[]);
    }

    /// The same beneath another program, such as `strace`.
    pub fn start_under(&mut self, wrapper: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir().join("server.log"))
            .expect("a log");
        let mut command = match wrapper.split_first() {
            None => Command::new(binary()),
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(binary());
                command
            }
        };
        command.args(["serve", "--config"]).arg(self.config.file());
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        let old = SocketAddr::from(([127, 0, 0, 1], self.config.old_sftp));
        let Doors {
            sftp,
            https,
            ftps,
            ftps_implicit,
            ftps_strict,
            ftp,
            ..
        } = self.doors.clone();
        for address in [sftp, old, https, ftps, ftps_implicit, ftps_strict, ftp] {
            while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
                let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
                assert!(ended.is_none(), "the server ended with {ended:?}\n{}", self.log());
                assert!(Instant::now() < deadline, "no door at {address}\n{}", self.log());
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("server.log")).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("it runs");
        kill_process(pid, signal).expect("a signal to our own child");
    }

    /// SIGKILL, as a crash.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id())
                .ok()
                .and_then(Pid::from_raw)
                .expect("a pid");
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            child.wait().expect("reaped");
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let mut status = None;
        until("the server ends", patience, || {
            status = child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(PATIENCE)
    }

    /// The audit log: the demo's lies where its configuration says, ours in `state`.
    #[must_use]
    pub fn audit(&self) -> Vec<Record> {
        let path = match &self.demo {
            None => self.dir().join("state/audit.jsonl"),
            Some(_) => crate::data::tree(self.dir())
                .into_iter()
                .find(|p| p.ends_with("audit.jsonl"))
                .map_or_else(|| self.dir().join("audit.jsonl"), |p| self.dir().join(p)),
        };
        audit::read(&path)
    }

    /// The record of an act that was done; it may come a moment after the answer.
    ///
    /// # Panics
    /// If there is none in time.
    #[must_use]
    pub fn record(&self, door: &str, act: &str, path: &str) -> Record {
        let mut found = None;
        until(&format!("{door} {act} {path} is recorded"), PATIENCE, || {
            found = self.audit().into_iter().find(|record| record.is(door, act, path));
            found.is_some()
        });
        found.expect("it was found")
    }

    /// Waits until the audit log, from `since` on, tells exactly this story (see [`Record::story`]).
    ///
    /// # Panics
    /// If it tells another one.
    #[track_caller]
    pub fn expect_story(&self, since: usize, expected: &[&str]) {
        audit::expect(|| self.audit(), since, expected);
    }

    /// Waits until the audit log, from `since` on, tells this story so often, and no more.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_told(&self, since: usize, story: &str, times: usize) {
        let stories = || -> Vec<String> { self.audit()[since..].iter().map(Record::story).collect() };
        until(
            &format!("{times} × {story:?} in {:#?}", stories()),
            PATIENCE / 6,
            || stories().iter().filter(|s| *s == story).count() >= times,
        );
        let count = stories().iter().filter(|s| *s == story).count();
        assert_eq!(count, times, "{story:?} in {:#?}", stories());
    }

    /// Resident memory in KiB, and open descriptors.
    #[must_use]
    pub fn usage(&self) -> (u64, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let rss = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0);
        let fds = fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count);
        (rss, fds)
    }

    /// Runs one of its commands beside it.
    #[must_use]
    pub fn command(&self, args: &[&str], input: &[u8]) -> crate::Done {
        let mut command = Command::new(binary());
        command.args(args);
        crate::process::run(&mut command, input, PATIENCE)
    }
}

impl Drop for Portreeve {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log());
            if let Some(dir) = self.dir.take() {
                eprintln!("--- its directory is kept: {}", dir.keep().display());
            }
        }
        self.crash();
    }
}

/// A directory on a disk: what is tested about durability must not lie in memory.
fn scratch() -> TempDir {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests/scratch");
    fs::create_dir_all(&base).expect("a directory for the tests");
    tempfile::Builder::new()
        .prefix("pt-")
        .tempdir_in(base.canonicalize().expect("made"))
        .expect("a directory for the test")
}
