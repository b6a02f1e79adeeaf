use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::supervisor::Reserve;

/// Answers with what it was asked.
struct Parrot;

#[async_trait]
impl Steward for Parrot {
    async fn answer(&self, request: Request, who: &str) -> Result<Json, String> {
        match request {
            Request::Reload => Err("no".to_owned()),
            request => Ok(json!({ "asked": format!("{request:?}"), "who": who })),
        }
    }
}

fn listen_in(dir: &Path) -> CancellationToken {
    let stop = CancellationToken::new();
    listen(
        &dir.join(SOCKET),
        Arc::new(Parrot),
        stop.clone(),
        Arc::new(Reserve::default()),
    )
    .unwrap();
    stop
}

fn raw(dir: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(dir.join(SOCKET)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_its_own_user_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(SOCKET), "left over").unwrap();
    let stop = listen_in(dir.path());
    let mode = std::fs::metadata(dir.path().join(SOCKET))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = dir.path().to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let Link::Up(stream) = link(&path).unwrap() else {
            panic!("nobody listens")
        };
        let told = call(stream, &Request::SessionKill { session: "x".into() }).unwrap();
        assert_eq!(
            told["who"],
            format!("uid {}", rustix::process::geteuid().as_raw())
        );
        let Link::Up(stream) = link(&path).unwrap() else {
            panic!("nobody listens")
        };
        assert_eq!(call(stream, &Request::Reload), Err("no".to_owned()));

        assert!(raw(&path, b"nonsense\n").contains("no request"));
        assert!(raw(&path, b"{\"do\":\"status\"").contains("too long or has no end"));
        assert!(raw(&path, b"{\"do\":\"fly\"}\n").contains("unknown variant"));
        assert!(raw(&path, b"\xff\xfe\n").contains("no request"));
        path
    });
    let path = asked.await.unwrap();
    stop.cancel();
    // The socket goes when the task ends; what remains of it refuses.
    while matches!(link(&path).unwrap(), Link::Up(_)) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn requests_say_what_they_change_and_no_secret() {
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$secret";
    let change = |what: AccountRequest| {
        Request::Account {
            realm: Realm::Transfer,
            what,
        }
        .change()
    };
    let name = || "alice".to_owned();
    let passwd = AccountRequest::Passwd {
        name: name(),
        password: Some(phc.to_owned()),
    };
    assert!(
        !format!("{passwd:?}").contains("argon2"),
        "not even for debugging"
    );
    for (what, want) in [
        (passwd, Some("account passwd alice")),
        (AccountRequest::List, None),
        (
            AccountRequest::Disabled {
                name: name(),
                disabled: true,
            },
            Some("account disable alice"),
        ),
        (
            AccountRequest::Expire {
                name: name(),
                at: None,
            },
            Some("account expire alice never"),
        ),
        (
            AccountRequest::Remove { name: name() },
            Some("account remove alice"),
        ),
    ] {
        assert_eq!(change(what).as_deref(), want);
    }
    assert_eq!(Request::BanList.change(), None);
}

/// A desk without a server, over a store of its own.
async fn desk(dir: &Path) -> Desk {
    let store = portreeve_store::Store::open("sqlite:t.db", dir).await.unwrap();
    Desk {
        seat: Seat::Alone {
            world: None,
            audit: portreeve_session::audit::Audit::nowhere(),
        },
        accounts: Arc::new(store.clone()),
        secrets: Arc::new(crate::secrets::Keeper::new(store.clone(), None, dir)),
        bans: Arc::new(portreeve_auth::BanList::new(Some(Arc::new(store)))),
        listeners: Vec::new(),
        sections: (vec!["staff".to_owned()], Vec::new()),
        suffixes: vec!["@corp.example".to_owned()],
    }
}

async fn ask(desk: &Desk, request: Json) -> Result<Json, String> {
    desk.answer(serde_json::from_value(request).unwrap(), "uid 0")
        .await
}

fn account(what: &Json) -> Json {
    json!({ "do": "account", "realm": "transfer", "what": what })
}

#[tokio::test]
async fn accounts_are_made_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path()).await;
    let add = |name: &str, groups: &[&str]| {
        account(
            &json!({ "act": "add", "name": name, "member_of": groups, "password": null, "keys": [], "expires": "2030-01-31", "mail": null }),
        )
    };
    let made = ask(&desk, add("alice", &["staff"])).await.unwrap();
    assert_eq!(
        (&made["groups"][0], &made["expires"]),
        (&json!("staff"), &json!("2030-01-31T00:00:00Z"))
    );
    for (request, word) in [
        (add("alice", &["staff"]), "already"),
        (add("Alice", &["staff"]), "private folder"),
        (add("alice@corp.example", &["staff"]), "private folder"),
        (add("ALICE@CORP.example", &["staff"]), "private folder"),
        (add("bob", &[]), "--group"),
        (add("bob", &["stuff"]), "no group 'stuff' (it has staff)"),
        (
            account(&json!({ "act": "member-of", "name": "alice", "member_of": ["staff", "x"] })),
            "describe it in [groups.x]",
        ),
        (
            json!({ "do": "account", "realm": "admin", "what": { "act": "add", "name": "root",
                "member_of": ["boss"], "password": null, "keys": [], "expires": null, "mail": null } }),
            "no role 'boss' (it has none)",
        ),
        (add("", &["staff"]), "empty"),
        (account(&json!({ "act": "show", "name": "bob" })), "no account"),
        (
            account(&json!({ "act": "passwd", "name": "alice", "password": "plain" })),
            "hash",
        ),
        (
            account(&json!({ "act": "key-add", "name": "alice", "line": "ssh-rsa xx" })),
            "key",
        ),
        (
            account(&json!({ "act": "expire", "name": "alice", "at": "tomorrow" })),
            "no time",
        ),
    ] {
        let error = ask(&desk, request.clone()).await.unwrap_err();
        assert!(error.contains(word), "{request}: {error}");
    }
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFn6sVTbOTXrxBsc1qPUPSaW0tOzZ0kxVUcdXDiAkF2S alice@laptop";
    let keyed = ask(
        &desk,
        account(&json!({ "act": "key-add", "name": "alice", "line": key })),
    )
    .await
    .unwrap();
    let fingerprint = keyed["keys"][0]["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("SHA256:"));
    let gone = ask(
        &desk,
        account(&json!({ "act": "key-remove", "name": "alice", "fingerprint": fingerprint })),
    );
    assert_eq!(gone.await.unwrap()["keys"], json!([]));
    let off = ask(
        &desk,
        account(&json!({ "act": "disabled", "name": "alice", "disabled": true })),
    )
    .await
    .unwrap();
    assert_eq!(off["disabled"], true);
    ask(&desk, account(&json!({ "act": "remove", "name": "alice" })))
        .await
        .unwrap();
    assert_eq!(
        ask(&desk, account(&json!({ "act": "list" }))).await.unwrap(),
        json!([])
    );
}

#[tokio::test]
async fn bans_by_hand_outlive_the_desk() {
    let dir = tempfile::tempdir().unwrap();
    let first = desk(dir.path()).await;
    ask(
        &first,
        json!({ "do": "ban-add", "address": "192.0.2.7", "length": "1h", "reason": "test" }),
    )
    .await
    .unwrap();
    drop(first);
    let second = desk(dir.path()).await;
    second.bans.load().await.unwrap();
    let listed = ask(&second, json!({ "do": "ban-list" })).await.unwrap();
    assert_eq!(
        (&listed[0]["address"], &listed[0]["reason"]),
        (&json!("192.0.2.7"), &json!("test"))
    );
    ask(&second, json!({ "do": "ban-remove", "address": "192.0.2.7" }))
        .await
        .unwrap();
    assert!(
        ask(&second, json!({ "do": "ban-remove", "address": "192.0.2.7" }))
            .await
            .unwrap_err()
            .contains("not banned")
    );
    assert!(
        ask(&second, json!({ "do": "session-list" }))
            .await
            .unwrap_err()
            .contains("no server")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_written_and_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path()).await;
    let secret = |what: Json| json!({ "do": "secret", "what": what });
    let set = secret(json!({ "act": "set", "name": "graph", "secret": "hunter2" }));
    let request: Request = serde_json::from_value(set.clone()).unwrap();
    assert_eq!(request.change().as_deref(), Some("secret set graph"));
    assert!(!format!("{request:?}").contains("hunter2"));
    let answer = ask(&desk, set).await.unwrap();
    assert!(!answer.to_string().contains("hunter2"), "{answer}");
    let listed = ask(&desk, secret(json!({ "act": "list" }))).await.unwrap();
    assert_eq!(listed[0]["name"], "graph");
    assert!(!listed.to_string().contains("hunter2"), "{listed}");
    for name in ["", "../x", "a b", ".hidden"] {
        let set = secret(json!({ "act": "set", "name": name, "secret": "x" }));
        assert!(ask(&desk, set).await.is_err(), "{name:?}");
    }
    let delete = secret(json!({ "act": "delete", "name": "graph" }));
    ask(&desk, delete.clone()).await.unwrap();
    let error = ask(&desk, delete).await.unwrap_err();
    assert!(error.contains("no sealed secret"), "{error}");
}
