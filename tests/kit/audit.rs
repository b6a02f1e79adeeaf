//! The audit log as the tests read it.

use std::{fs, path::Path, time::Instant};

use serde_json::Value;

use crate::server::PATIENCE;

/// One record.
#[derive(Debug, Clone)]
pub struct Record(pub Value);

impl Record {
    /// A field as text; empty where it is missing.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// A field as a number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    /// What the storage says of the file, by key; empty where it says nothing of that.
    #[must_use]
    pub fn item(&self, key: &str) -> &str {
        self.0["item"][key].as_str().unwrap_or_default()
    }

    /// What the record says of a file in a mailbox: mailbox, `Message-ID` and attachment, a word each.
    #[must_use]
    pub fn mail(&self) -> [&str; 3] {
        ["mailbox", "message_id", "attachment"].map(|key| self.item(key))
    }

    /// Whether it tells that `act` was done to `path` by `door`.
    #[must_use]
    pub fn is(&self, door: &str, act: &str, path: &str) -> bool {
        let words = ["door", "act", "outcome", "path"].map(|field| self.text(field));
        words == [door, act, "ok", path]
    }

    /// The record in words: `door act outcome path [size]`, as in `sftp upload ok /a.bin 1000`.
    /// The size stands behind transfers that succeeded.
    #[must_use]
    pub fn story(&self) -> String {
        let mut words = vec![
            self.text("door"),
            self.text("act"),
            self.text("outcome"),
            self.text("path"),
        ];
        if self.text("act") == "rename" || self.text("act") == "copy" {
            words.push(self.text("to"));
        }
        let size = self.number("size").map(|n| n.to_string()).unwrap_or_default();
        if self.text("act") == "upload" && self.text("outcome") == "ok" {
            words.push(&size);
        }
        words.retain(|w| !w.is_empty());
        words.join(" ")
    }
}

/// Reads a log.
///
/// # Panics
/// If a line, the last one too, is not a whole JSON object.
#[must_use]
pub fn read(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    // A line is being written at this moment.
    if !text.ends_with('\n') {
        lines.pop();
    }
    lines
        .into_iter()
        .map(|line| Record(serde_json::from_str(line).unwrap_or_else(|e| panic!("audit line {line:?}: {e}"))))
        .collect()
}

/// Waits until the records from `since` on tell exactly this story.
///
/// # Panics
/// If they tell another one, with both.
#[track_caller]
pub fn expect(log: impl Fn() -> Vec<Record>, since: usize, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE / 6;
    loop {
        let got: Vec<String> = log().iter().skip(since).map(Record::story).collect();
        if got == expected {
            return;
        }
        let hopeless = got.len() > expected.len() || !expected.iter().zip(&got).all(|(e, g)| e == g);
        assert!(
            !hopeless && Instant::now() < deadline,
            "the audit log tells\n  {}\nexpected\n  {}",
            got.join("\n  "),
            expected.join("\n  ")
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
