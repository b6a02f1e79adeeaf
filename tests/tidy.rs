//! The house rules that no compiler checks: arrows between crates, owners of vendor crates, the shape of files.
//!
//! Each test names every offence at once, with the file and what to do about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Most production lines in one file.
const MOST_LINES: usize = 600;
/// Most public items of the choke point: what doors have to learn.
const MOST_SESSION_ITEMS: usize = 40;
/// Most methods of the storage contract.
const MOST_FILE_SYSTEM_METHODS: usize = 15;
/// Names under which anything could hide.
const SHAPELESS: &[&str] = &[
    "common", "core", "utils", "util", "helpers", "manager", "types", "misc",
];
/// Doors see the choke point only.
const DOORS: &[&str] = &["sftp", "web", "ftp"];

/// Vendor crates and the only ones of ours that may depend on them.
const OWNERS: &[(&str, &[&str])] = &[
    ("russh", &["sftp"]),
    ("axum", &["web", "console"]),
    ("askama", &["web", "console"]),
    ("sqlx", &["store"]),
    ("mail-parser", &["mailbox"]),
    ("reqwest", &["microsoft"]),
    ("jsonwebtoken", &["microsoft", "idp"]),
    ("opendal", &["object"]),
    ("ldap3", &["idp"]),
    ("argon2", &["auth"]),
    ("clap", &["server"]),
    ("anyhow", &["server"]),
    ("rcgen", &["server"]),
    ("proxy-header", &["server"]),
    ("metrics-exporter-prometheus", &["server"]),
    ("tracing-subscriber", &["server"]),
];

/// Words of the source and the one crate that may say them.
const WORD_OWNERS: &[(&str, &str)] = &[
    ("openat2", "disk"),
    ("resolve_beneath", "disk"),
    ("argon2::", "auth"),
];

/// Pages that administrators need.
const PAGES: &[&str] = &[
    "sftp/docs/sftp.md",
    "ftp/docs/ftps.md",
    "web/docs/https.md",
    "disk/docs/disk.md",
    "mailbox/docs/maildir.md",
    "mailbox/docs/exchange.md",
    "mailbox/docs/imap.md",
    "microsoft/docs/microsoft.md",
    "store/docs/store.md",
    "auth/docs/ip-time-ban.md",
    "auth/docs/deny-username.md",
    "auth/docs/local-file.md",
    "auth/docs/application.md",
    "auth/docs/anonymous.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[track_caller]
fn check(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Every committed file, or one that will be, beneath a directory.
fn files(beneath: &str, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(beneath)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if !matches!(
                    &*name,
                    "target" | ".git" | "node_modules" | "corpus" | "artifacts" | "__pycache__"
                ) {
                    todo.push(path);
                }
            } else if name.ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    files("crates", ".rs")
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The crate that a file belongs to.
fn crate_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("crates")).expect("beneath crates");
    relative.iter().next().unwrap().to_string_lossy().into_owned()
}

/// Lines of the program itself: without the tests that stand in the same file.
fn production(path: &Path, text: &str) -> Vec<String> {
    let path = path.strip_prefix(root().join("tests")).unwrap_or(path);
    let name = path.file_name().unwrap().to_string_lossy();
    let in_tests = path.iter().any(|part| part == "tests" || part == "examples");
    if name == "tests.rs" || in_tests {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        let next_is_mod = all
            .peek()
            .is_some_and(|l| l.starts_with("mod ") || l.starts_with("pub(crate) mod "));
        if line.starts_with("#[cfg(test)]") && next_is_mod {
            if all.peek().is_some_and(|l| l.ends_with('{')) {
                break;
            }
            all.next();
            continue;
        }
        lines.push(line.to_owned());
    }
    lines
}

/// The same without comments.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    production(path, &text)
        .into_iter()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line))
        .collect()
}

fn packages() -> Vec<Value> {
    let done = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let all: Value = serde_json::from_slice(&done.stdout).unwrap();
    all["packages"].as_array().unwrap().clone()
}

/// Package name without the prefix, and its dependencies as (name, kind), `normal` where none is given.
fn arrows() -> BTreeMap<String, Vec<(String, String)>> {
    packages()
        .iter()
        .map(|package| {
            let name = package["name"]
                .as_str()
                .unwrap()
                .trim_start_matches("portreeve-")
                .to_owned();
            let dependencies = package["dependencies"].as_array().unwrap();
            let dependencies = dependencies
                .iter()
                .map(|d| {
                    let kind = d["kind"].as_str().unwrap_or("normal");
                    (d["name"].as_str().unwrap().to_owned(), kind.to_owned())
                })
                .collect();
            (name, dependencies)
        })
        .collect()
}

/// The table of `crates/README.md`: what each crate may depend on.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("crates/README.md")).expect("crates/README.md, the map");
    let mut rows = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.trim_start().starts_with('|') || cells.len() < 3 {
            inside = false;
            continue;
        }
        if cells[0].eq_ignore_ascii_case("crate") && cells[2].to_lowercase().contains("may depend on") {
            inside = true;
            continue;
        }
        if !inside || cells[0].starts_with("--") {
            continue;
        }
        let name = cells[0].trim_matches('`').to_owned();
        let may = cells[2]
            .split([' ', ',', '`'])
            .filter(|w| !w.is_empty() && !matches!(*w, "–" | "-"));
        rows.insert(name, may.map(str::to_owned).collect());
    }
    assert!(
        rows.len() >= 10,
        "crates/README.md has no dependency table: | crate | one line | may depend on (ours) |"
    );
    rows
}

#[test]
fn arrows_point_downward() {
    let table = table();
    let mut offences = Vec::new();
    for (name, dependencies) in arrows() {
        // The tests and their kit know everybody and nobody knows them.
        if name.starts_with("tests") {
            continue;
        }
        let Some(may) = table.get(&name) else {
            offences.push(format!("crates/README.md: the table has no row for `{name}`"));
            continue;
        };
        for (other, kind) in dependencies {
            let Some(other) = other.strip_prefix("portreeve-") else {
                continue;
            };
            // Tests may build what stands beneath them, never what stands above.
            let fine = match kind.as_str() {
                "dev" => !reaches(&table, other, &name),
                _ => may.contains("all") || may.contains(other),
            };
            if !fine {
                offences.push(format!(
                    "crates/{name}: may not depend on `{other}` ({kind}); the table says {may:?}"
                ));
            }
        }
    }
    check(offences);
}

/// Whether the table leads from one crate to another.
fn reaches(table: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    table.get(from).is_some_and(|may| {
        may.contains("all") || may.contains(to) || may.iter().any(|next| reaches(table, next, to))
    })
}

#[test]
fn vendor_crates_have_one_owner() {
    let mut offences = Vec::new();
    for (name, dependencies) in arrows() {
        for (vendor, kind) in dependencies {
            // Tests may look at a protocol with whatever they like.
            if kind != "normal" || name.starts_with("tests") {
                continue;
            }
            if let Some((_, owners)) = OWNERS.iter().find(|(v, _)| *v == vendor)
                && !owners.contains(&name.as_str())
            {
                offences.push(format!("crates/{name}: `{vendor}` belongs to {owners:?}"));
            }
        }
    }
    for path in sources() {
        for (line, text) in code(&path) {
            for (word, owner) in WORD_OWNERS {
                if text.to_lowercase().contains(word) && crate_of(&path) != *owner {
                    offences.push(format!("{}:{line}: `{word}` belongs to `{owner}`", shown(&path)));
                }
            }
        }
    }
    check(offences);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut offences = Vec::new();
    for path in sources().into_iter().chain(files("tests", ".rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = production(&path, &text).len();
        if lines > MOST_LINES {
            offences.push(format!(
                "{}: {lines} lines, at most {MOST_LINES}: give it two rooms",
                shown(&path)
            ));
        }
        if lines > 0 && !text.starts_with("//!") {
            offences.push(format!(
                "{}: must begin with `//!`: what it owns, which invariant it keeps",
                shown(&path)
            ));
        }
    }
    check(offences);
}

#[test]
fn no_module_is_shapeless() {
    let mut offences = Vec::new();
    for path in sources() {
        for part in path.strip_prefix(root()).unwrap() {
            let part = part.to_string_lossy();
            if SHAPELESS.contains(&part.trim_end_matches(".rs")) {
                offences.push(format!(
                    "{}: `{part}` says nothing; name it for what it does",
                    shown(&path)
                ));
            }
        }
        for (line, text) in code(&path) {
            let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
            let named = words
                .iter()
                .position(|w| *w == "mod")
                .and_then(|at| words.get(at + 1));
            if let Some(name) = named.filter(|n| SHAPELESS.contains(n)) {
                offences.push(format!("{}:{line}: module `{name}` says nothing", shown(&path)));
            }
        }
    }
    for name in arrows().keys().filter(|n| SHAPELESS.contains(&n.as_str())) {
        offences.push(format!("crate `{name}` says nothing"));
    }
    check(offences);
}

#[test]
fn only_session_re_exports_and_doors_see_only_session() {
    let mut offences = Vec::new();
    for path in sources() {
        let owner = crate_of(&path);
        for (line, text) in code(&path) {
            if text.trim_start().starts_with("pub use portreeve_") && owner != "session" {
                offences.push(format!(
                    "{}:{line}: only `session` re-exports another crate of ours",
                    shown(&path)
                ));
            }
            let backend = text.contains("dyn FileSystem")
                || text.contains("portreeve_vfs")
                || text.contains("portreeve_auth");
            if DOORS.contains(&owner.as_str()) && backend {
                offences.push(format!(
                    "{}:{line}: a door sees `UserFs`, never a backend or a method",
                    shown(&path)
                ));
            }
        }
    }
    check(offences);
}

#[test]
fn interfaces_stay_small() {
    let mut offences = Vec::new();
    let session = fs::read_to_string(root().join("crates/session/src/lib.rs")).unwrap();
    let items = public_items(&session);
    if items.len() > MOST_SESSION_ITEMS {
        offences.push(format!(
            "session shows {} items, at most {MOST_SESSION_ITEMS}: {items:?}",
            items.len()
        ));
    }
    if items.is_empty() {
        offences.push("session shows nothing: this test has lost its object".to_owned());
    }
    let contract = fs::read_to_string(root().join("crates/vfs/src/contract.rs")).unwrap();
    let body = contract
        .split("pub trait FileSystem")
        .nth(1)
        .expect("the trait")
        .split("\n}")
        .next()
        .unwrap();
    let methods = body
        .lines()
        .filter(|l| l.starts_with("    fn ") || l.starts_with("    async fn "))
        .count();
    if methods == 0 || methods > MOST_FILE_SYSTEM_METHODS {
        offences.push(format!(
            "FileSystem has {methods} methods, at most {MOST_FILE_SYSTEM_METHODS}"
        ));
    }
    check(offences);
}

/// What `lib.rs` itself shows: its own items and those of its modules, not what it passes on.
fn public_items(lib: &str) -> Vec<String> {
    let mut items = Vec::new();
    for statement in lib.split(';') {
        let Some(at) = statement.find("pub use ") else {
            continue;
        };
        let path = &statement[at + "pub use ".len()..];
        if path.starts_with("portreeve_") {
            continue;
        }
        let names = path
            .split_once('{')
            .map_or(path.rsplit("::").next().unwrap_or(path), |(_, list)| list);
        items.extend(
            names
                .split(',')
                .map(|n| n.trim_matches([' ', '\n', '}']).to_owned())
                .filter(|n| !n.is_empty()),
        );
    }
    items
}

#[test]
fn nothing_is_unsafe() {
    let mut offences = Vec::new();
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let text = fs::read_to_string(&manifest).unwrap();
        let inherits = text.contains("[lints]\nworkspace = true");
        if !inherits && !text.contains("unsafe_code = \"forbid\"") {
            offences.push(format!(
                "{}: must take the lints of the workspace",
                shown(&manifest)
            ));
        }
    }
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    if !text.contains("unsafe_code = \"forbid\"") {
        offences.push("Cargo.toml: unsafe_code must be forbidden".to_owned());
    }
    check(offences);
}

#[test]
fn nothing_points_at_the_workshop() {
    // Put together here, so that this file does not offend itself.
    let words = [
        ["/wo", "rk/"].concat(),
        ["../sha", "red"].concat(),
        ["/tmp/bo", "ard"].concat(),
        ["shared/des", "ign"].concat(),
    ];
    let ends = [
        ".rs", ".md", ".toml", ".html", ".sh", ".py", ".yaml", ".yml", ".service", ".sql", ".css", "run",
    ];
    let mut offences = Vec::new();
    for path in files(".", "")
        .into_iter()
        .filter(|p| ends.iter().any(|e| p.to_string_lossy().ends_with(e)))
    {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (n, line) in text.lines().enumerate() {
            for word in &words {
                if line.contains(word.as_str()) {
                    offences.push(format!(
                        "{}:{}: names a place of the workshop: {word}",
                        shown(&path),
                        n + 1
                    ));
                }
            }
        }
    }
    check(offences);
}

#[test]
fn every_door_method_and_backend_has_its_page() {
    let missing = PAGES.iter().filter(|page| {
        let text = fs::read_to_string(root().join("crates").join(page)).unwrap_or_default();
        text.lines().count() < 10
    });
    check(
        missing
            .map(|page| format!("crates/{page}: a page for administrators is missing"))
            .collect(),
    );
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    // Put together here for the same reason.
    let words = [
        ["#[ig", "nore"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
    ];
    let mut offences = Vec::new();
    for path in sources().into_iter().chain(files("tests", ".rs")) {
        let text = fs::read_to_string(&path).unwrap();
        for (n, line) in text.lines().enumerate() {
            for word in words.iter().filter(|w| line.contains(w.as_str())) {
                offences.push(format!(
                    "{}:{}: `{word}`: do it or say in the documents that it is missing",
                    shown(&path),
                    n + 1
                ));
            }
        }
    }
    check(offences);
}
