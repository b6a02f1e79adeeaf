//! Accounts, administrators and bans: alike with a server and without one, and felt at the doors.

use std::fs;

use portreeve_tests::{Portreeve, Sftp, process::until, server::PATIENCE};

use super::kit::{both, changes, hold, json, refused, run, run_with, says};

#[test]
fn accounts_are_made_shown_changed_and_removed() {
    both(|server| {
        let since = server.audit().len();
        let secret = "a password of dora";
        let made = run_with(
            server,
            "account add dora --group staff --group readers --expires 2099-01-31 --mail d@example.com --password-stdin",
            &format!("{secret}\n"),
        );
        says(
            made,
            &[
                "name         dora",
                "groups       staff, readers",
                "password     yes",
                "2099-01-31T00:00:00Z",
            ],
        );
        refused(
            server,
            1,
            "account add dora --group staff",
            &["already", "'dora'"],
        );
        refused(
            server,
            1,
            "account add Dora --group staff",
            &["'dora'", "private folder", "another name"],
        );

        let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
        run_with(server, "account key add dora -", &public).ok();
        let shown = json(server, "account show dora");
        assert_eq!(
            (
                &shown["name"],
                &shown["groups"],
                &shown["password"],
                &shown["mail"],
                &shown["disabled"]
            ),
            (
                &"dora".into(),
                &serde_json::json!(["staff", "readers"]),
                &true.into(),
                &"d@example.com".into(),
                &false.into()
            )
        );
        let fingerprint = shown["keys"][0]["fingerprint"].as_str().unwrap().to_owned();
        assert!(fingerprint.starts_with("SHA256:"));
        says(run(server, "account show dora"), &[&fingerprint, "test key"]);
        says(
            run(server, "account list"),
            &["name", "last login", "dora", "staff, readers"],
        );
        assert_eq!(json(server, "account list").as_array().unwrap().len(), 1);

        says(run(server, "account disable dora"), &["disabled     yes"]);
        assert_eq!(json(server, "account list")[0]["disabled"], true);
        says(run(server, "account enable dora"), &["disabled     no"]);
        says(
            run(server, "account groups dora readers"),
            &["groups       readers"],
        );
        says(run(server, "account expire dora never"), &["expires      -"]);
        run_with(server, "account passwd dora", "another one\n").ok();
        let bare = json(server, &format!("account key remove dora {fingerprint}"));
        assert_eq!(bare["keys"], serde_json::json!([]));
        refused(
            server,
            1,
            &format!("account key remove dora {fingerprint}"),
            &["dora", "no key", &fingerprint],
        );
        says(run(server, "account remove dora"), &["done"]);
        refused(server, 1, "account show dora", &["no account 'dora'"]);
        refused(server, 1, "account remove dora", &["no account 'dora'"]);
        says(run(server, "account list"), &["none"]);

        let told = changes(server, since);
        let key_again = format!("failed account key remove dora {fingerprint}");
        // Every complaint was asked for twice: for people and for programs.
        assert_eq!(
            told,
            [
                "ok account add dora (staff, readers)",
                "failed account add dora (staff)",
                "failed account add dora (staff)",
                "failed account add Dora (staff)",
                "failed account add Dora (staff)",
                "ok account key add dora",
                "ok account disable dora",
                "ok account enable dora",
                "ok account groups dora (readers)",
                "ok account expire dora never",
                "ok account passwd dora",
                &format!("ok account key remove dora {fingerprint}"),
                &key_again,
                &key_again,
                "ok account remove dora",
                "failed account remove dora",
                "failed account remove dora",
            ]
        );
        let log = fs::read_to_string(server.dir().join("state/audit.jsonl")).unwrap();
        assert!(
            !log.contains(secret) && !log.contains("argon2"),
            "no secret is recorded"
        );
    });
}

#[test]
fn administrators_are_no_transfer_users() {
    both(|server| {
        let since = server.audit().len();
        says(
            run_with(
                server,
                "admin add chief --role boss --password-stdin",
                "secret of chief\n",
            ),
            &["roles        boss"],
        );
        says(run(server, "admin list"), &["chief", "boss"]);
        assert_eq!(
            json(server, "admin show chief")["roles"],
            serde_json::json!(["boss"])
        );
        assert_eq!(
            json(server, "account list"),
            serde_json::json!([]),
            "not among the others"
        );
        refused(server, 1, "account show chief", &["no account 'chief'"]);
        refused(
            server,
            1,
            "admin add other --role bos",
            &["no role 'bos'", "boss", "[roles.bos]"],
        );
        let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
        run_with(server, "admin key add chief -", &public).ok();
        run(server, "admin disable chief").ok();
        assert_eq!(json(server, "admin show chief")["disabled"], true);
        run(server, "admin enable chief").ok();
        run_with(server, "admin passwd chief", "new secret\n").ok();
        says(run(server, "admin delete chief"), &["done"]);
        assert_eq!(
            changes(server, since),
            [
                "ok admin add chief (boss)",
                "failed admin add other (bos)",
                "failed admin add other (bos)",
                "ok admin key add chief",
                "ok admin disable chief",
                "ok admin enable chief",
                "ok admin passwd chief",
                "ok admin remove chief",
            ]
        );
    });
}

#[test]
fn bans_are_made_told_and_lifted() {
    both(|server| {
        let since = server.audit().len();
        says(run(server, "ban list"), &["none"]);
        run(server, "ban add 192.0.2.7 --for 2h --reason nosy").ok();
        let made = json(server, "ban add 2001:db8::1 --for 1d");
        assert_eq!(made["address"], "2001:db8::", "its /64");
        says(
            run(server, "ban list"),
            &["address", "192.0.2.7", "nosy", "by hand"],
        );
        let listed = json(server, "ban list");
        let remaining = |address: &str| {
            let found = listed
                .as_array()
                .unwrap()
                .iter()
                .find(|ban| ban["address"] == address);
            found.unwrap()["remaining_s"].as_u64().unwrap()
        };
        assert!((7_000..=7_200).contains(&remaining("192.0.2.7")), "{listed}");
        assert!(remaining("2001:db8::") > 80_000, "{listed}");
        run(server, "ban remove 192.0.2.7").ok();
        refused(server, 1, "ban remove 192.0.2.7", &["192.0.2.7 is not banned"]);
        run(server, "ban remove 2001:db8::ff").ok();
        refused(server, 1, "ban add 192.0.2.8 --for 0s", &["a second or more"]);
        assert_eq!(json(server, "ban list"), serde_json::json!([]));
        assert_eq!(
            changes(server, since),
            [
                "ok ban add 192.0.2.7 for 2h: nosy",
                "ok ban add 2001:db8::1 for 1d: by hand",
                "ok ban remove 192.0.2.7",
                "failed ban remove 192.0.2.7",
                "failed ban remove 192.0.2.7",
                "ok ban remove 2001:db8::ff",
                "failed ban add 192.0.2.8 for 0ms: by hand",
                "failed ban add 192.0.2.8 for 0ms: by hand",
            ]
        );
    });
}

/// What the command line says of people counts at the door, at once.
#[test]
fn changes_count_at_the_doors() {
    let mut server = Portreeve::start();
    let dora = Sftp::by_password(&server, "dora", "first password");
    dora.batch("pwd").fails("denied");
    run_with(
        &server,
        "account add dora --group staff --password-stdin",
        "first password\n",
    )
    .ok();
    dora.batch("pwd").ok();
    run_with(&server, "account passwd dora", "second password\n").ok();
    dora.batch("pwd").fails("denied");
    Sftp::by_password(&server, "dora", "second password")
        .batch("pwd")
        .ok();
    let by_key = Sftp::by_key(&server, "dora");
    by_key.batch("pwd").fails("denied");
    let public = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
    run_with(&server, "account key add dora -", &public).ok();
    by_key.batch("pwd").ok();
    assert!(json(&server, "account show dora")["last_login"].is_string());

    let mut held = hold(&server, "dora");
    run(&server, "account disable dora").ok();
    until("a disabled account's session ends", PATIENCE, || !held.alive());
    by_key.batch("pwd").fails("denied");
    run(&server, "account enable dora").ok();
    let mut held = hold(&server, "dora");
    run(&server, "account remove dora").ok();
    until("a removed account's session ends", PATIENCE, || !held.alive());
    by_key.batch("pwd").fails("denied");

    let alice = Sftp::by_key(&server, "alice");
    run(&server, "ban add 127.0.0.1").ok();
    assert!(!alice.batch("pwd").status.success(), "a banned address");
    run(&server, "ban remove 127.0.0.1").ok();
    alice.batch("pwd").ok();
    // A ban that is made while nobody serves is there when somebody does.
    assert!(server.stop().success());
    run(&server, "ban add 127.0.0.1").ok();
    server.restart();
    assert!(
        !alice.batch("pwd").status.success(),
        "a ban made without the server"
    );
    run(&server, "ban remove 127.0.0.1").ok();
    alice.batch("pwd").ok();
}
