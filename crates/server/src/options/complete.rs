//! `config/complete.toml`, written from the schema: every option with its meaning and its default.
//!
//! Options that must be given stand there with an example; all others are commented out as `#key =
//! default`. A test reads the file both ways, so it cannot go stale.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

/// Examples for options that have no default; by section and key.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("store", "key", "{ credential = \"portreeve-key\" }"),
    ("spool", "directory", "\"/var/spool/portreeve\""),
    ("tls", "certificate", "\"tls/fullchain.pem\""),
    ("tls", "key", "\"tls/key.pem\""),
    ("metrics", "address", "\"127.0.0.1:9090\""),
    ("audit", "digest", "\"sha256\""),
    ("audit", "sinks", "[{ type = \"file\", path = \"audit.jsonl\" }]"),
    ("listener sftp", "address", "\"0.0.0.0:2222\""),
    ("listener https", "address", "\"0.0.0.0:8443\""),
    ("listener ftps", "address", "\"0.0.0.0:2121\""),
    ("listener ftps", "name", "\"ftps\""),
    ("listener ftps", "public_address", "\"203.0.113.7\""),
    ("listener ftps", "welcome", "\"Files of Example Ltd\""),
    ("listener ftps", "login_text", "\"Files are kept for 30 days\""),
    ("listener sftp", "name", "\"sftp\""),
    ("listener https", "name", "\"https\""),
    (
        "listener https",
        "public_url",
        "\"https://files.example.com:8443\"",
    ),
    ("auth deny-username", "usernames", "[\"root\", \"admin\"]"),
    ("auth local-file", "path", "\"accounts.toml\""),
    ("auth anonymous", "groups", "[\"staff\"]"),
    (
        "groups staff",
        "external",
        "[\"CN=Staff,OU=Groups,DC=example,DC=com\"]",
    ),
    ("storage files", "root", "\"files\""),
    ("storage mail", "root", "\"mail\""),
    ("storage exchange", "mailbox", "\"invoices@example.com\""),
    (
        "storage exchange",
        "directory_id",
        "\"00000000-0000-0000-0000-000000000000\"",
    ),
    (
        "storage exchange",
        "application_id",
        "\"00000000-0000-0000-0000-000000000000\"",
    ),
    ("storage imap", "host", "\"imap.example.com\""),
    ("storage imap", "username", "\"invoices@example.com\""),
    ("storage imap", "password", "{ credential = \"imap\" }"),
    ("storage exchange", "password", "{ credential = \"graph\" }"),
];

/// Options that the schema does not ask for, but without which their table is not right: one of several ways
/// is taken.
const TAKEN: &[(&str, &str)] = &[
    ("storage exchange", "password"),
    ("storage imap", "username"),
    ("storage imap", "password"),
];

/// The text of the file.
#[must_use]
pub fn complete() -> String {
    let schema = super::schema();
    let section = |name: &str| {
        schema
            .pointer(&format!("/properties/{name}"))
            .cloned()
            .unwrap_or_default()
    };
    let mut out = String::from(
        "# Every option of Portreeve. Written by the program itself (`portreeve reference config`): do not edit.\n\
         # A line `#key = value` shows the default, or an example where it says so.\n",
    );
    for name in [
        "server", "store", "spool", "tls", "limits", "audit", "metrics", "log",
    ] {
        let commented = name == "tls";
        table(&mut out, &format!("[{name}]"), name, &section(name), commented);
    }
    let branches = |family: &Json, pointer: &str| -> Vec<Json> {
        family
            .pointer(pointer)
            .and_then(Json::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for (family, tag) in [("listener", "protocol"), ("auth", "type")] {
        for branch in branches(&section(family), "/items/oneOf") {
            let Some(word) = built_word(&branch, tag) else {
                continue;
            };
            table(
                &mut out,
                &format!("[[{family}]]"),
                &format!("{family} {word}"),
                &branch,
                false,
            );
        }
    }
    let group = section("groups")
        .get("additionalProperties")
        .cloned()
        .unwrap_or_default();
    table(&mut out, "[groups.staff]", "groups staff", &group, false);
    mounts(&mut out, &group);
    let role = section("roles")
        .get("additionalProperties")
        .cloned()
        .unwrap_or_default();
    table(&mut out, "[roles.operator]", "roles operator", &role, false);
    for branch in branches(&section("storage"), "/additionalProperties/oneOf") {
        let Some(word) = built_word(&branch, "type") else {
            continue;
        };
        let name = match word.as_str() {
            "disk" => "files",
            "maildir" => "mail",
            other => other,
        };
        table(
            &mut out,
            &format!("[storage.{name}]"),
            &format!("storage {name}"),
            &branch,
            false,
        );
    }
    out
}

fn built_word(branch: &Json, tag: &str) -> Option<String> {
    let built = branch.get("x-unbuilt").is_none();
    let word = branch.get("properties")?.get(tag)?.get("const")?.as_str()?;
    built.then(|| word.to_owned())
}

/// One table: its head, then its keys.
fn table(out: &mut String, head: &str, section: &str, schema: &Json, commented: bool) {
    out.push('\n');
    comment(out, schema, "");
    let _ = writeln!(out, "{}{head}", if commented { "#" } else { "" });
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Json::as_object);
    let tags = ["protocol", "type"];
    let mut keys: Vec<_> = properties.into_iter().flatten().collect();
    keys.sort_by_key(|(key, _)| (!tags.contains(&key.as_str()), !required.contains(&key.as_str())));
    for (key, option) in keys {
        if section.starts_with("groups ") && key == "mounts" {
            continue;
        }
        comment(out, option, "");
        if let Some(word) = option.get("const") {
            let _ = writeln!(out, "{key} = {word}");
            continue;
        }
        words(out, option);
        let example = EXAMPLES
            .iter()
            .find(|(s, k, _)| *s == section && *k == key)
            .map(|(_, _, text)| *text);
        let taken = TAKEN.contains(&(section, key.as_str()));
        if taken || required.contains(&key.as_str()) {
            let mark = if commented { "#" } else { "" };
            let _ = writeln!(out, "{mark}{key} = {}", example.unwrap_or("\"…\""));
            continue;
        }
        match option
            .get("default")
            .filter(|value| !value.is_null())
            .map(toml_text)
        {
            Some(value) if !(value == "[]" && example.is_some()) => {
                let _ = writeln!(out, "#{key} = {value}");
            }
            _ => match example {
                Some(value) => {
                    let _ = writeln!(out, "# no default; for example:\n#{key} = {value}");
                }
                None => {
                    let _ = writeln!(out, "# no default: {key} = …");
                }
            },
        }
    }
}

/// `mounts` of a group: a list of tables, written out with everything a mount may have.
fn mounts(out: &mut String, group: &Json) {
    let Some(mount) = group.pointer("/properties/mounts/items") else {
        return;
    };
    out.push('\n');
    comment(out, mount, "");
    let keys = mount.get("properties").and_then(Json::as_object);
    for (key, option) in keys.into_iter().flatten() {
        let _ = writeln!(out, "# {key}:");
        comment(out, option, "  ");
        let inner = option
            .get("properties")
            .or_else(|| option.pointer("/items/properties"));
        for (key, option) in inner.and_then(Json::as_object).into_iter().flatten() {
            let _ = writeln!(out, "#   {key}:");
            comment(out, option, "    ");
        }
    }
    out.push_str(
        "mounts = [\n  { path = \"/\", storage = \"files\", subpath = \"{user}\", verbs = \"full\" },\n  \
         { path = \"/mail\", storage = \"mail\", verbs = [\"list\", \"read\", \"delete\"], rules = [\n    \
         { pattern = \"/Archive/**\", effect = \"deny\", verbs = [\"delete\"] },\n  ] },\n]\n",
    );
}

fn comment(out: &mut String, schema: &Json, indent: &str) {
    let about = schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let mut line = String::new();
    for word in about.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() + indent.len() > 100 {
            let _ = writeln!(out, "# {indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "# {indent}{line}");
    }
}

/// The words that an option may have, where it is a choice.
fn words(out: &mut String, option: &Json) {
    let branches = option
        .get("oneOf")
        .or_else(|| option.get("anyOf"))
        .and_then(Json::as_array);
    let listed = option.get("enum").and_then(Json::as_array);
    let of_branches = branches
        .into_iter()
        .flatten()
        .filter_map(|branch| branch.get("const"));
    let nested = branches
        .into_iter()
        .flatten()
        .filter_map(|b| b.get("oneOf"))
        .filter_map(Json::as_array);
    let nested = nested.flatten().filter_map(|branch| branch.get("const"));
    let words: Vec<String> = listed
        .into_iter()
        .flatten()
        .chain(of_branches)
        .chain(nested)
        .filter_map(Json::as_str)
        .map(|word| format!("\"{word}\""))
        .collect();
    if !words.is_empty() {
        let _ = writeln!(out, "# one of {}", words.join(", "));
    }
}

/// A default in TOML's spelling: JSON's, but for tables.
fn toml_text(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{key} = {}", toml_text(value)))
                .collect();
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
        Json::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        other => json!(other).to_string(),
    }
}
