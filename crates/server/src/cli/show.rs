//! Answers for people.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// A change that was made.
pub(super) fn done(_: &Json) -> String {
    "done".to_owned()
}

/// `reload`.
pub(super) fn reload(answer: &Json) -> String {
    format!(
        "configuration {} serves now",
        answer.get("generation").map(word).unwrap_or_default()
    )
}

/// `status`.
pub(super) fn status(answer: &Json) -> String {
    let mut out = String::new();
    for key in [
        "ready",
        "degraded",
        "draining",
        "generation",
        "reload_error",
        "store_error",
    ] {
        let _ = writeln!(out, "{key:14} {}", word(&answer[key]));
    }
    for trouble in items(&answer["trouble"]) {
        let _ = writeln!(out, "{:14} {}", "trouble", word(trouble));
    }
    out.push_str(&table(
        &["name", "protocol", "address", "state", "error"],
        &answer["listeners"],
    ));
    out
}

/// `session list`.
pub(super) fn sessions(answer: &Json) -> String {
    table(
        &[
            "id",
            "user",
            "method",
            "door",
            "peer",
            "since",
            "idle_s",
            "bytes_read",
            "bytes_written",
        ],
        answer,
    )
}

/// `ban list`.
pub(super) fn bans(answer: &Json) -> String {
    table(&["address", "since", "remaining_s", "reason"], answer)
}

/// `secret list`.
pub(super) fn secrets(answer: &Json) -> String {
    table(&["name", "changed"], answer)
}

/// `account list`, `admin list`.
pub(super) fn accounts(answer: &Json) -> String {
    let names = if items(answer).iter().any(|account| account.get("roles").is_some()) {
        "roles"
    } else {
        "groups"
    };
    table(
        &[
            "name",
            names,
            "password",
            "keys",
            "disabled",
            "expires",
            "last_login",
        ],
        answer,
    )
}

/// One account.
pub(super) fn account(answer: &Json) -> String {
    let mut out = String::new();
    for (key, value) in answer.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("keys", Json::Array(keys)) => {
                for key in keys {
                    let _ = writeln!(
                        out,
                        "{:12} {} {}",
                        "key",
                        word(&key["fingerprint"]),
                        word(&key["label"])
                    );
                }
            }
            _ => {
                let _ = writeln!(out, "{key:12} {}", word(value));
            }
        }
    }
    out
}

/// `explain login`.
pub(super) fn login(answer: &Json) -> String {
    let mut out = format!(
        "{} from {} at '{}' with a {}\n\n",
        word(&answer["user"]),
        word(&answer["from"]),
        word(&answer["listener"]),
        word(&answer["credential"])
    );
    out.push_str(&table(
        &["step", "kind", "takes_credential", "verdict", "why"],
        &answer["steps"],
    ));
    let _ = writeln!(out, "\nresult  {}", word(&answer["result"]));
    let _ = writeln!(out, "method  {}", word(&answer["method"]));
    let _ = writeln!(out, "groups  {}\n", word(&answer["groups"]));
    out.push_str(&table(
        &["path", "storage", "subpath", "group", "verbs"],
        &answer["mounts"],
    ));
    out
}

/// `explain access`.
pub(super) fn access(answer: &Json) -> String {
    let mut out = String::new();
    for key in [
        "user", "chain", "sign_in", "method", "groups", "path", "mount", "storage", "group",
    ] {
        let _ = writeln!(out, "{key:8} {}", word(&answer[key]));
    }
    out.push('\n');
    out.push_str(&table(&["verb", "allowed", "because"], &answer["verbs"]));
    out
}

fn items(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text without what could steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_unicode().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// A value as a word; what could steer a terminal is escaped.
fn word(json: &Json) -> String {
    match json {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => plain(text),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Array(all) if all.iter().all(Json::is_string) => {
            all.iter().map(word).collect::<Vec<_>>().join(", ")
        }
        Json::Array(all) => all.len().to_string(),
        other => other.to_string(),
    }
}

fn table(columns: &[&str], rows: &Json) -> String {
    let rows: Vec<Vec<String>> = items(rows)
        .iter()
        .map(|row| columns.iter().map(|column| word(&row[*column])).collect())
        .collect();
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let heads: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(&rows).collect();
    let width = |at: usize| {
        all.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let mut out = String::new();
    for row in &all {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let pad = width(at).unwrap_or_default() - cell.chars().count() + 2;
            let _ = write!(line, "{cell}{:pad$}", "");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
