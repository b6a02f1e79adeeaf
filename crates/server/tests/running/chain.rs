//! One chain, several listeners: which steps count where, whose groups everybody gets, and what follows
//! when a step rejects.

use std::{fs, net::SocketAddr};

use super::{
    server::{Server, verb},
    web::Web,
};

/// Two steps over the store that differ in what follows them, and a file behind them.
const CONFIG: &str = r#"
[server]
data_dir = "data"
[limits]
refusal_delay = "1ms"
[[listener]]
name = "lenient-first"
protocol = "https"
address = "127.0.0.1:0"
auth = ["ban", "lenient", "file"]
[[listener]]
name = "store-only"
protocol = "https"
address = "127.0.0.1:0"
auth = ["ban", "strict"]
[[listener]]
name = "strict-first"
protocol = "https"
address = "127.0.0.1:0"
auth = ["ban", "strict", "file"]
[[auth]]
name = "ban"
type = "ip-time-ban"
allow = ["127.0.0.0/8"]
[[auth]]
name = "lenient"
type = "application"
on_unavailable = "next"
on_reject = "next"
[[auth]]
name = "strict"
type = "application"
on_unavailable = "stop"
on_reject = "stop"
[[auth]]
name = "file"
type = "local-file"
path = "accounts.toml"
base_groups = ["guests"]
[groups.staff]
mounts = [{ path = "/staff", storage = "files", verbs = "full" }]
[groups.guests]
mounts = [{ path = "/guests", storage = "files", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

const PASSWORD: &str = "a password of the file";
const OTHER: &str = "a password of the store";

/// What somebody sees in the root, or the status that refuses them.
fn look(at: SocketAddr, user: &str, password: &str) -> Result<Vec<String>, u16> {
    let (status, body) = Web::connect(at).get("/api/v1/files?path=/", Some((user, password)));
    if status != 200 {
        return Err(status);
    }
    let listing: serde_json::Value = serde_json::from_str(&body).unwrap();
    let entries = listing["entries"].as_array().unwrap().iter();
    Ok(entries
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect())
}

#[test]
fn the_steps_of_a_listener_decide_who_gets_in_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("portreeve.toml"), CONFIG).unwrap();
    let hash = verb(dir.path(), "hash-password", &format!("{PASSWORD}\n"));
    let account = |name: &str| {
        format!(
            "[accounts.{name}]\npassword = \"{}\"\ngroups = [\"staff\"]\n",
            hash.trim()
        )
    };
    fs::write(
        dir.path().join("accounts.toml"),
        account("alice") + &account("both"),
    )
    .unwrap();
    let mut server = Server::start(dir, &[]);
    let [lenient_first, store_only, strict_first] =
        server.addresses(["lenient-first", "store-only", "strict-first"]);
    for name in ["bob", "both"] {
        server.verb(
            &format!("account add {name} --group staff --password-stdin"),
            &format!("{OTHER}\n"),
        );
    }
    let see = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    for (what, at, user, password, want) in [
        (
            "base_groups of the file come first",
            lenient_first,
            "alice",
            PASSWORD,
            see(&["guests", "staff"]),
        ),
        (
            "the file does not count there",
            store_only,
            "alice",
            PASSWORD,
            Err(401),
        ),
        (
            "a step that knows nobody asks the next",
            strict_first,
            "alice",
            PASSWORD,
            see(&["guests", "staff"]),
        ),
        (
            "base_groups are of one step alone",
            lenient_first,
            "bob",
            OTHER,
            see(&["staff"]),
        ),
        (
            "the store counts there",
            store_only,
            "bob",
            OTHER,
            see(&["staff"]),
        ),
        (
            "rejected by the first, let in by the next",
            lenient_first,
            "both",
            PASSWORD,
            see(&["guests", "staff"]),
        ),
        (
            "rejected by the first, and that is it",
            strict_first,
            "both",
            PASSWORD,
            Err(401),
        ),
        (
            "let in by the first",
            strict_first,
            "both",
            OTHER,
            see(&["staff"]),
        ),
        ("wrong everywhere", lenient_first, "alice", "wrong", Err(401)),
    ] {
        assert_eq!(look(at, user, password), want, "{what}");
    }
}
