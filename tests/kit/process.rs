//! Child processes: each in its own group, none outlives its owner, all with a deadline.

use std::{
    io::{Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How a command ended, with what it printed.
#[derive(Debug)]
pub struct Done {
    /// The command line, for messages.
    pub line: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: String,
}

impl Done {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Insists on success.
    ///
    /// # Panics
    /// If it failed, with everything it said.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(
            self.status.success(),
            "{} ended with {}\n{}",
            self.line,
            self.status,
            self.said()
        );
        self
    }

    /// Insists on failure, and on a part of the message.
    ///
    /// # Panics
    /// If it succeeded, or said something else.
    #[track_caller]
    pub fn fails(self, saying: &str) -> Self {
        assert!(
            !self.status.success(),
            "{} should have failed\n{}",
            self.line,
            self.said()
        );
        assert!(
            self.said().to_lowercase().contains(&saying.to_lowercase()),
            "{} failed, but did not say {saying:?}\n{}",
            self.line,
            self.said()
        );
        self
    }

    /// Both streams.
    #[must_use]
    pub fn said(&self) -> String {
        let out = self.text();
        let tail = out.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
        format!("--- stdout\n{}\n--- stderr\n{}", &out[tail..], self.err)
    }

    /// Whether a signal ended it.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.status.signal().is_some()
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot start, or is not done within `patience`.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8], patience: Duration) -> Done {
    let running = Running::start(command, input);
    running.wait(patience)
}

/// A child in its own process group; dropping it kills the group.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    /// While it is kept, the input stays open.
    hold: Option<Sender<()>>,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts it, feeding `input` to it.
    ///
    /// # Panics
    /// If it cannot start.
    #[track_caller]
    pub fn start(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Self::hold(command, input);
        running.hold = None;
        running
    }

    /// Starts it, feeds `input` to it, and leaves its input open: it ends when it wants to.
    ///
    /// # Panics
    /// If it cannot start.
    #[track_caller]
    pub fn hold(command: &mut Command, input: &[u8]) -> Self {
        let line = format!("{command:?}");
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{line} cannot start: {e}"));
        let mut stdin = child.stdin.take().expect("piped");
        let (hold, held) = channel();
        let input = input.to_vec();
        thread::spawn(move || {
            // A client that ends early does not read everything: that is its right.
            let _ = stdin.write_all(&input);
            let _ = stdin.flush();
            let _ = held.recv();
        });
        let out = child.stdout.take().map(drain);
        let err = child.stderr.take().map(drain);
        Self {
            line,
            child,
            hold: Some(hold),
            out,
            err,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = pid(&self.child) {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL to the whole group, then reaps.
    pub fn kill(mut self) -> Done {
        self.kill_group();
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within `patience`.
    #[track_caller]
    pub fn wait(mut self, patience: Duration) -> Done {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !self.alive() {
                return self.finish();
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill_group();
        let done = self.finish();
        panic!("{} was not done after {patience:?}\n{}", done.line, done.said());
    }

    fn kill_group(&mut self) {
        if let Some(pid) = pid(&self.child) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.kill();
    }

    fn finish(&mut self) -> Done {
        let status = self.child.wait().expect("a child can be reaped");
        Done {
            line: self.line.clone(),
            status,
            out: self
                .out
                .take()
                .map(|t| t.join().unwrap_or_default())
                .unwrap_or_default(),
            err: String::from_utf8_lossy(
                &self
                    .err
                    .take()
                    .map(|t| t.join().unwrap_or_default())
                    .unwrap_or_default(),
            )
            .into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.alive() {
            self.kill_group();
            let _ = self.child.wait();
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        all
    })
}

/// Waits until something is so.
///
/// # Panics
/// If it is not within `patience`.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !so() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
