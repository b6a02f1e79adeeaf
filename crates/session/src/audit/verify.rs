//! Verifying an audit file: every line whole in itself and bound to the one before it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::file::{bind, is_intact, sealed};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, in plain words.
    pub what: String,
    /// Whether records were changed or are missing. A torn line, which a server leaves that dies while
    /// it writes, is told but breaks nothing.
    pub broken: bool,
}

/// What an audit file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whole records.
    pub records: u64,
    /// Lines that do not fit.
    pub findings: Vec<Finding>,
    /// The last line: what the next file of the chain continues.
    pub last: Option<Vec<u8>>,
    /// What the next record will be bound to. Noted elsewhere, it tells later whether the end was cut off:
    /// it must still be some record's hash.
    pub head: Option<String>,
}

/// What binds a record. Other fields are not looked at.
#[derive(serde::Deserialize)]
struct Record {
    prev: String,
}

/// Reads an audit file and answers how many records it holds, and every line that does not fit. The
/// first line may continue a rotated file: `after` is that file's last line, where it is known; without
/// it the first line is believed.
///
/// # Errors
/// When the file cannot be read.
pub fn verify(path: &Path, after: Option<&[u8]>) -> io::Result<Verified> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut findings, mut count, mut number) = (Vec::new(), 0, 0);
    let mut expected = after.map(bind);
    let (mut line, mut line_before, mut torn) = (Vec::new(), None, None);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(Verified {
                records: count,
                findings,
                head: line_before.as_deref().map(bind),
                last: line_before,
            });
        }
        number += 1;
        let whole = line.last() == Some(&b'\n');
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let finding = |what: &str, broken| Finding {
            line: number,
            what: what.to_owned(),
            broken,
        };
        let record: Option<Record> = serde_json::from_slice(text).ok();
        let vouched = |prev: &str| expected.as_ref().is_none_or(|expected| prev == expected);
        match (record, sealed(text)) {
            (Some(record), Some(seal)) => {
                count += 1;
                if !is_intact(seal) {
                    findings.push(finding("broken: it was changed: its hash does not fit it", true));
                }
                if !vouched(&record.prev) {
                    let what = "broken: it does not follow the line before it: lines are missing between them, or \
                                were put in";
                    findings.push(finding(what, true));
                } else if let Some(torn) = torn.and_then(|at: usize| findings.get_mut(at)) {
                    // The server that came after has seen it as it is.
                    torn.what = "torn: the server died while writing it".to_owned();
                    torn.broken = false;
                }
                torn = None;
            }
            (None, None) if !whole => findings.push(finding(
                "torn: it has no end (the server died while writing it, or writes it now)",
                false,
            )),
            (None, None) => {
                torn = Some(findings.len());
                findings.push(finding(
                    "broken: it is no record, and no line after it vouches for it",
                    true,
                ));
            }
            _ => findings.push(finding("broken: it was changed: it is no whole record", true)),
        }
        expected = Some(bind(text));
        line_before = Some(text.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::audit::{Sink, file, rotation, tests::terms};

    fn checked(path: &Path) -> (u64, Vec<Finding>) {
        let verified = verify(path, None).unwrap();
        (verified.records, verified.findings)
    }

    fn lines(path: &Path) -> Vec<u64> {
        checked(path)
            .1
            .iter()
            .filter(|finding| finding.broken)
            .map(|finding| finding.line)
            .collect()
    }

    fn write(path: &Path, lines: &[&str]) {
        let mut sink = file::File::open(path, terms(1 << 20, 3)).unwrap();
        for line in lines {
            sink.write(line).unwrap();
        }
    }

    #[test]
    fn a_changed_a_missing_and_a_torn_line_show() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        write(&path, &["{\"a\":1}", "{\"a\":2}"]);
        write(&path, &["{\"a\":3}", "{\"a\":4}"]);
        assert_eq!(checked(&path), (4, vec![]));

        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, good.replace("\"a\":2", "\"a\":9")).unwrap();
        assert_eq!(lines(&path), [2]);
        // The last line has no successor that could tell.
        fs::write(&path, good.replace("\"a\":4", "\"a\":9")).unwrap();
        assert_eq!(lines(&path), [4]);
        // Who seals a changed line anew is told by the next.
        let mut second: Vec<_> = good.lines().map(str::to_owned).collect();
        let (body, _) = sealed(second[1].as_bytes()).unwrap();
        let body = String::from_utf8_lossy(body).replace("\"a\":2", "\"a\":9");
        second[1] = format!(
            "{body},\"hash\":\"{}\"}}",
            &blake3::hash(body.as_bytes()).to_hex()[..32]
        );
        fs::write(&path, second.join("\n") + "\n").unwrap();
        assert_eq!(lines(&path), [3]);

        let without: String = good
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != 1)
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        fs::write(&path, without).unwrap();
        assert_eq!(lines(&path), [2]);

        fs::write(&path, &good.as_bytes()[..good.len() - 5]).unwrap();
        write(&path, &["{\"a\":5}"]);
        let (count, findings) = checked(&path);
        assert_eq!((count, findings.len()), (4, 1));
        assert!(findings[0].what.starts_with("torn"), "{findings:?}");
    }

    #[test]
    fn any_byte_that_is_changed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        write(&path, &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() - 1 {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let line = 1 + good[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            assert!(
                lines(&path).first() == Some(&line),
                "byte {at}: {:?}",
                checked(&path)
            );
        }
    }

    #[test]
    fn rotation_keeps_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut sink = file::File::open(&path, terms(100, 2)).unwrap();
        for n in 0..20 {
            sink.write(&format!("{{\"n\":{n}}}")).unwrap();
        }
        drop(sink);
        let older = fs::read(path.with_extension("jsonl.1")).unwrap();
        let last = older.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap();
        assert_eq!(verify(&path, Some(last)).unwrap().findings, vec![]);
        assert!(path.with_extension("jsonl.2").exists() && !path.with_extension("jsonl.3").exists());
    }

    #[test]
    fn files_that_are_kept_by_age_are_one_chain_from_the_first_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let terms = rotation::Retention {
            keep_for: std::time::Duration::from_hours(1),
            ..terms(100, 2)
        };
        let mut sink = file::File::open(&path, terms).unwrap();
        for n in 0..40 {
            if n == 20 {
                // The machine died between two renames: a number is missing.
                drop(sink);
                let count = rotation::rotated(&path).unwrap().len() as u32;
                for n in (2..=count).rev() {
                    fs::rename(rotation::numbered(&path, n), rotation::numbered(&path, n + 1)).unwrap();
                }
                sink = file::File::open(&path, terms).unwrap();
            }
            sink.write(&format!("{{\"n\":{n}}}")).unwrap();
        }
        let mut last: Option<Vec<u8>> = None;
        let mut records = 0;
        let files = (1..=20).rev().map(|n| rotation::numbered(&path, n));
        for file in files.chain([path.clone()]).filter(|file| file.exists()) {
            let verified = verify(&file, last.as_deref()).unwrap();
            assert_eq!(verified.findings, vec![], "{}", file.display());
            records += verified.records;
            last = verified.last;
        }
        assert_eq!(records, 40);
    }
}
