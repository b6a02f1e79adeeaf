//! `audit verify`: whether the files of an audit log are one unbroken chain.

use std::path::PathBuf;

use portreeve_session::audit;
use serde_json::{Value, json};

use super::{Failure, Out};

/// Checks `files`, the oldest first: each continues the one before it.
pub(crate) fn verify(files: &[PathBuf], out: &mut Out) -> Result<(), Failure> {
    let (mut records, mut broken, mut told) = (0, 0, Vec::new());
    let (mut last, mut head): (Option<Vec<u8>>, _) = (None, None);
    for file in files {
        let verified = audit::verify(file, last.as_deref())
            .map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
        records += verified.records;
        for finding in verified.findings {
            broken += u64::from(finding.broken);
            told.push(
                json!({ "file": file, "line": finding.line, "what": finding.what, "broken": finding.broken }),
            );
        }
        last = verified.last.or(last);
        head = verified.head.or(head);
    }
    let answer = json!({ "ok": broken == 0, "records": records, "findings": told, "head": head });
    out.answer(&answer, text)?;
    if broken == 0 {
        Ok(())
    } else {
        Err(Failure::Told(1))
    }
}

fn text(answer: &Value) -> String {
    let mut text = String::new();
    for finding in answer
        .get("findings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let part = |key: &str| {
            finding
                .get(key)
                .map(|v| v.to_string().trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        text.push_str(&format!("{}:{}: {}\n", part("file"), part("line"), part("what")));
    }
    let records = answer.get("records").and_then(Value::as_u64).unwrap_or(0);
    let verdict = if answer.get("ok") == Some(&Value::Bool(true)) {
        "one unbroken chain"
    } else {
        "BROKEN"
    };
    text.push_str(&format!("{records} records: {verdict}\n"));
    if let Some(head) = answer.get("head").and_then(Value::as_str) {
        text.push_str(&format!("head {head}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_record_fails_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let options: portreeve_session::AuditOptions =
            serde_json::from_value(json!({ "sinks": [{ "type": "file", "path": path }] })).unwrap();
        let log = audit::Audit::open(&options, dir.path()).unwrap();
        let event = |act| portreeve_model::Event {
            at: std::time::SystemTime::UNIX_EPOCH,
            connection: None,
            session: None,
            origin: None,
            user: None,
            act,
            item: None,
            outcome: portreeve_model::Outcome::Ok,
            took: std::time::Duration::ZERO,
        };
        log.record(&event(portreeve_model::Act::Start)).unwrap();
        log.record(&event(portreeve_model::Act::Stop)).unwrap();
        let verdict = || {
            let mut out = Out::to(Box::new(std::io::sink()), Box::new(std::io::sink()), true);
            verify(std::slice::from_ref(&path), &mut out).is_ok()
        };
        assert!(verdict());
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.replace("start", "stale")).unwrap();
        assert!(!verdict());
    }
}
