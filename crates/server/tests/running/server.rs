//! A server as a process, followed by its log: nothing waits for a time, all wait for a line.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with a configuration, and the server of it.
pub struct Server {
    pub dir: tempfile::TempDir,
    child: Option<Child>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Server {
    /// Starts it in `dir`, where `portreeve.toml` lies.
    pub fn start(dir: tempfile::TempDir, env: &[(&str, &OsStr)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
        command
            .args(["serve", "--config"])
            .arg(dir.path().join("portreeve.toml"));
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PORTREEVE_LOG"] {
            command.env_remove(name);
        }
        command.envs(env.iter().copied());
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let (tell, lines) = channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            dir,
            child: Some(child),
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that comes after those that were waited for, with all of `words`.
    pub fn line(&mut self, words: &[&str]) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line with {words:?} came\n{}", self.seen.join("\n"))
            };
            self.seen.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Where these listeners listen; waits until they do.
    pub fn addresses<const N: usize>(&mut self, names: [&str; N]) -> [SocketAddr; N] {
        self.line(&["listeners are up"]);
        names.map(|name| {
            let mark = format!("listening listener={name} address=");
            let found = self.seen.iter().find_map(|line| line.split_once(&mark));
            let (_, address) = found.unwrap_or_else(|| panic!("{name} does not listen: {:?}", self.seen));
            address.parse().unwrap()
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// Runs a verb beside it.
    pub fn verb(&self, line: &str, input: &str) {
        verb(self.dir.path(), line, input);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a verb for the configuration in `dir`; answers what it says.
pub fn verb(dir: &std::path::Path, line: &str, input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.args(line.split(' '));
    if !line.starts_with("hash-password") {
        command.arg("--config").arg(dir.join("portreeve.toml"));
    }
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(
        done.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}
