//! From a real configuration, as the command line asks where no server runs.

use std::sync::Arc;

use portreeve_auth::{BanList, hash_password};
use portreeve_model::Secret;
use portreeve_session::audit::Audit;
use serde_json::Value as Json;

use crate::{
    check,
    control::{Desk, Request, Seat},
    wiring::{Backends, Lasting, Methods, build},
};

const CONFIG: &str = r#"
[server]
data_dir = "data"
[[listener]]
protocol = "sftp"
address = "127.0.0.1:0"
[[listener]]
name = "partners"
protocol = "https"
address = "127.0.0.1:0"
auth = ["deny", "partners"]
[[auth]]
name = "deny"
type = "deny-username"
usernames = ["root"]
[[auth]]
name = "staff"
type = "local-file"
path = "staff.toml"
on_reject = "REJECT"
[[auth]]
name = "partners"
type = "local-file"
path = "partners.toml"
[groups.staff]
mounts = [{ path = "/", storage = "files", verbs = "full" }]
[groups.partners]
mounts = [{ path = "/in", storage = "files", verbs = "read-only" }]
[storage.files]
type = "disk"
root = "files"
"#;

struct Rig {
    desk: Desk,
    _dir: tempfile::TempDir,
}

async fn rig(on_reject: &str) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let phc = hash_password(&Secret::new("right".to_owned())).unwrap();
    let account = |name: &str, group: &str, more: &str| {
        format!("[accounts.{name}]\npassword = '{phc}'\ngroups = ['{group}']\n{more}\n")
    };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFn6sVTbOTXrxBsc1qPUPSaW0tOzZ0kxVUcdXDiAkF2S";
    let keyed = format!("ssh_keys = ['from=\"10.0.0.0/8\" {key}']");
    let staff = [
        account("alice", "staff", &keyed),
        account("both", "staff", ""),
        account("dora", "staff", "disabled = true"),
        account("ed", "staff", "expires = 2020-01-01T00:00:00Z"),
        account("root", "staff", ""),
        "[accounts.nobody]\ngroups = ['staff']\n".to_owned(),
        format!("[accounts.ungrouped]\npassword = '{phc}'\n"),
    ];
    let partners = [account("both", "partners", ""), account("dora", "partners", "")];
    for (name, text) in [("staff", staff.concat()), ("partners", partners.concat())] {
        std::fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
    }
    std::fs::create_dir(dir.path().join("files")).unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, CONFIG.replace("REJECT", on_reject)).unwrap();
    let config = check::check_file(&file).unwrap();
    let store = portreeve_store::Store::open("sqlite:t.db", dir.path())
        .await
        .unwrap();
    let lasting = Lasting::new(&config, &store, Arc::new(BanList::new(None)));
    let (world, ..) = build(&config, &lasting, &Backends::default(), &Methods::default()).unwrap();
    let desk = Desk {
        seat: Seat::Alone {
            world: Some(Arc::new(world)),
            audit: Audit::nowhere(),
        },
        accounts: lasting.accounts,
        secrets: lasting.secrets,
        bans: lasting.bans,
        listeners: config
            .listeners
            .iter()
            .map(|l| (Arc::clone(&l.name), l.protocol.door()))
            .collect(),
        sections: Desk::sections_of(&config),
        suffixes: Desk::suffixes_of(&config),
    };
    Rig { desk, _dir: dir }
}

impl Rig {
    async fn login(&self, user: &str, listener: &str, credential: &str, from: &str) -> Json {
        let request = Request::ExplainLogin {
            user: user.to_owned(),
            from: from.parse().unwrap(),
            listener: listener.to_owned(),
            credential: credential.to_owned(),
        };
        self.desk.answer(request, "uid 0").await.unwrap()
    }

    async fn access(&self, user: &str, listener: Option<&str>) -> Result<Json, String> {
        let request = Request::ExplainAccess {
            user: user.to_owned(),
            path: "/in/x".to_owned(),
            verb: Some("delete".to_owned()),
            listener: listener.map(str::to_owned),
        };
        self.desk.answer(request, "uid 0").await
    }
}

const OPEN: &str = "let in, if the credential is right";

#[tokio::test(flavor = "multi_thread")]
async fn login_tells_how_it_would_end() {
    let (stop, next) = (rig("stop").await, rig("next").await);
    let outside = "192.0.2.7";
    for (rig, user, listener, credential, from, want, method) in [
        (&stop, "alice", "sftp", "password", outside, OPEN, "staff"),
        (
            &stop,
            "dora",
            "sftp",
            "password",
            outside,
            "refused by 'staff': the account 'dora' is disabled",
            "staff",
        ),
        (
            &stop,
            "ed",
            "sftp",
            "password",
            outside,
            "refused by 'staff': the account 'ed' expired on 2020-01-01",
            "staff",
        ),
        (
            &stop,
            "nobody",
            "sftp",
            "password",
            outside,
            "refused by 'staff': the account has no password",
            "staff",
        ),
        (
            &stop,
            "dora",
            "sftp",
            "public-key",
            outside,
            "refused by 'staff': the account 'dora' is disabled",
            "staff",
        ),
        (&stop, "alice", "sftp", "public-key", "10.1.1.1", OPEN, "staff"),
        (
            &stop,
            "alice",
            "sftp",
            "public-key",
            outside,
            "may not be used from 192.0.2.7",
            "staff",
        ),
        (
            &stop,
            "ungrouped",
            "sftp",
            "password",
            outside,
            "refused: no group",
            "staff",
        ),
        (
            &stop,
            "root",
            "sftp",
            "password",
            outside,
            "a gate refuses: the name is denied by 'root'",
            "staff",
        ),
        (
            &stop,
            "who",
            "sftp",
            "password",
            outside,
            "no step that takes a password knows this name",
            "",
        ),
        // The part of the chain that the listener names.
        (
            &stop,
            "alice",
            "https",
            "password",
            outside,
            "no step that takes a password",
            "",
        ),
        (&stop, "dora", "partners", "password", outside, OPEN, "partners"),
        (&stop, "both", "sftp", "password", outside, OPEN, "staff"),
        // What one step rejects goes to the next.
        (&next, "dora", "sftp", "password", outside, OPEN, "partners"),
        (
            &next,
            "ed",
            "sftp",
            "password",
            outside,
            "refused by 'staff': the account 'ed' expired",
            "staff",
        ),
        (
            &next,
            "both",
            "sftp",
            "password",
            outside,
            "one that is wrong for 'staff' may be right for 'partners'",
            "staff",
        ),
    ] {
        let told = rig.login(user, listener, credential, from).await;
        let result = told["result"].as_str().unwrap();
        assert!(result.contains(want), "{user} {listener} {credential}: {result}");
        assert_eq!(
            result.starts_with("let in"),
            want == OPEN || want.starts_with("one that"),
            "{user}: {result}"
        );
        assert_eq!(
            told["method"].as_str().unwrap_or(""),
            method,
            "{user} {listener}: {told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_names_the_chain_and_asks_the_listeners_own() {
    let rig = rig("stop").await;
    for (user, listener, method, allowed, word) in [
        ("both", None, "staff", true, "the whole chain"),
        ("both", Some("sftp"), "staff", true, "of the listener 'sftp'"),
        (
            "both",
            Some("https"),
            "partners",
            false,
            "of the listener 'partners'",
        ),
        ("dora", None, "staff", true, "the whole chain"),
    ] {
        let told = rig.access(user, listener).await.unwrap();
        assert_eq!(told["method"], method, "{user} {listener:?}");
        assert_eq!(told["verbs"][0]["allowed"], allowed, "{user} {listener:?}");
        assert!(told["chain"].as_str().unwrap().contains(word), "{told}");
    }
    let told = rig.access("dora", None).await.unwrap();
    assert!(
        told["sign_in"][0].as_str().unwrap().contains("disabled"),
        "{told}"
    );
    assert!(
        rig.access("alice", Some("partners"))
            .await
            .unwrap_err()
            .contains("listener 'partners'")
    );
    assert!(
        rig.access("alice", Some("ftp"))
            .await
            .unwrap_err()
            .contains("no listener 'ftp'")
    );
}
