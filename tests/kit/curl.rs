//! curl, for HTTPS and for its own SFTP.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{self, Done, Running},
    server::Portreeve,
};

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The status; 0 where none came.
    pub status: u16,
    /// Header lines of the last answer, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Insists on a status.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

/// A client: where, who, with what.
#[derive(Debug, Clone)]
pub struct Curl {
    base: String,
    credentials: String,
    dir: PathBuf,
    patience: Duration,
}

impl Curl {
    /// Somebody at the HTTPS door, by HTTP Basic.
    #[must_use]
    pub fn new(server: &Portreeve, user: &str, password: &str) -> Self {
        Self {
            base: format!("https://{}", server.doors().https),
            credentials: format!("{user}:{password}"),
            dir: server.dir().to_owned(),
            patience: Duration::from_secs(300),
        }
    }

    /// Through another port, such as a relay's.
    #[must_use]
    pub fn through(mut self, port: u16) -> Self {
        self.base = format!("https://127.0.0.1:{port}");
        self
    }

    /// The file API's address of a path's content.
    #[must_use]
    pub fn content(path: &str) -> String {
        format!("/api/v1/files/content?path={}", encode(path))
    }

    fn command(&self, args: &[&str], target: &str) -> Command {
        let mut command = self.bare(args);
        command.arg(format!("{}{target}", self.base));
        command
    }

    fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args([
            "-q",
            "-s",
            "-S",
            "-k",
            "--no-progress-meter",
            "--connect-timeout",
            "20",
        ]);
        if self.credentials != ":" {
            command.args(["-u", &self.credentials]);
        }
        command.args(args).current_dir(&self.dir);
        command
    }

    /// Many transfers by one process, `option` being `upload-file` or `output`: pairs of a local file and a path.
    #[must_use]
    pub fn batch<'a>(&self, option: &str, pairs: impl Iterator<Item = (&'a Path, &'a str)>) -> Done {
        let mut config = String::new();
        for (local, path) in pairs {
            let url = format!("{}{}", self.base, Self::content(path));
            let _ = writeln!(config, "{option} = {local:?}\nurl = {url:?}");
        }
        let mut command = self.bare(&["-f", "--fail-early", "--create-dirs", "-K", "-"]);
        process::run(&mut command, config.as_bytes(), self.patience)
    }

    /// Any request.
    #[must_use]
    pub fn request(&self, args: &[&str], target: &str) -> Reply {
        self.request_with(args, target, b"")
    }

    /// Any request, with standard input.
    #[must_use]
    pub fn request_with(&self, args: &[&str], target: &str, input: &[u8]) -> Reply {
        let head = tempfile::NamedTempFile::new_in(&self.dir).expect("a file for headers");
        let mut all = vec!["-D", head.path().to_str().expect("a path in UTF-8")];
        all.extend_from_slice(args);
        let done = process::run(&mut self.command(&all, target), input, self.patience);
        let raw = std::fs::read(head.path()).unwrap_or_default();
        reply(&String::from_utf8_lossy(&raw), done.out)
    }

    /// GET.
    #[must_use]
    pub fn get(&self, target: &str) -> Reply {
        self.request(&[], target)
    }

    /// The content of a file, in memory.
    #[must_use]
    pub fn read(&self, path: &str) -> Reply {
        self.get(&Self::content(path))
    }

    /// Downloads to a local file.
    #[must_use]
    pub fn download(&self, path: &str, to: &Path) -> Reply {
        self.request(&["-o", to.to_str().expect("UTF-8")], &Self::content(path))
    }

    /// Uploads a local file.
    #[must_use]
    pub fn upload(&self, from: &Path, path: &str) -> Reply {
        self.request(&["-T", from.to_str().expect("UTF-8")], &Self::content(path))
    }

    /// How much of an upload that was cut is kept for this person; None where nothing is.
    #[must_use]
    pub fn kept(&self, path: &str) -> Option<usize> {
        let head = self.request(&["-I", "-H", "Upload-Incomplete: 1"], &Self::content(path));
        head.header("upload-offset").and_then(|v| v.parse().ok())
    }

    /// Goes on with an upload of `all` from offset `at`.
    #[must_use]
    pub fn go_on(&self, path: &str, all: &[u8], at: usize) -> Reply {
        let range = format!("Content-Range: bytes {at}-{}/{}", all.len() - 1, all.len());
        let length = format!("Content-Length: {}", all.len() - at);
        let headers = ["-T", "-", "-H", &range, "-H", &length, "-H", "Transfer-Encoding:"];
        self.request_with(&headers, &Self::content(path), &all[at..])
    }

    /// Starts an upload and leaves it running.
    #[must_use]
    pub fn start_upload(&self, from: &Path, path: &str, more: &[&str]) -> Running {
        let mut all = vec!["-T", from.to_str().expect("UTF-8")];
        all.extend_from_slice(more);
        Running::start(&mut self.command(&all, &Self::content(path)), b"")
    }

    /// Starts a download and leaves it running.
    #[must_use]
    pub fn start_download(&self, path: &str, to: &Path, more: &[&str]) -> Running {
        let mut all = vec!["-o", to.to_str().expect("UTF-8")];
        all.extend_from_slice(more);
        Running::start(&mut self.command(&all, &Self::content(path)), b"")
    }

    /// Lists a directory to its end and gives the names.
    #[must_use]
    #[track_caller]
    pub fn list(&self, dir: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .get(&format!("/api/v1/files?path={}&limit=1000{cursor}", encode(dir)))
                .is(200)
                .json();
            let entries = page["entries"]
                .as_array()
                .unwrap_or_else(|| panic!("no entries: {page}"));
            names.extend(
                entries
                    .iter()
                    .map(|e| e["name"].as_str().expect("a name").to_owned()),
            );
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", encode(next)),
                None => return names,
            }
        }
    }
}

/// A command of curl's own SFTP (libssh2), by key, at the door that takes what libssh2 before 1.11 can do.
#[must_use]
pub fn sftp(server: &Portreeve, user: &str, args: &[&str], path: &str) -> Done {
    let key = server.config.key();
    let mut command = Command::new("curl");
    command
        .args(["-q", "-s", "-S", "-k", "--key"])
        .arg(&key)
        .arg("--pubkey")
        .arg(key.with_extension("pub"))
        .args(["-u", &format!("{user}:")])
        .args(args)
        .arg(format!(
            "sftp://127.0.0.1:{}{}",
            server.config.old_sftp,
            encode(path)
        ))
        .current_dir(server.dir());
    process::run(&mut command, b"", Duration::from_secs(300))
}

/// Percent-encodes everything but unreserved characters and `/`.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn reply(head: &str, body: Vec<u8>) -> Reply {
    // Redirects and 100 Continue come first: the last block counts.
    let blocks: Vec<&str> = head.split("\r\n\r\n").filter(|b| !b.trim().is_empty()).collect();
    let block = blocks.last().copied().unwrap_or_default();
    let mut lines = block.lines();
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let headers = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()))
        .collect();
    Reply {
        status,
        headers,
        body,
    }
}
