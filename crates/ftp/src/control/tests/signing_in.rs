//! Signing in: its order, what it tells, its limits, and AUTH.

use serde_json::json;
use tokio::io::AsyncReadExt;

use super::rig::{Rig, Terms, bytes};

const NAME: (&str, &str) = ("USER alice", "331 now the password, with PASS");

#[tokio::test]
async fn the_name_then_the_password() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.check(&[
        ("PASS open", "503 first the name, with USER"),
        ("USER", "501 that is no user name"),
        ("PASS open", "503 first the name, with USER"),
        ("USER bob", "331 now the password, with PASS"),
        NAME,
        ("ACCT x", "202 no account is needed"),
        ("NOOP", "200 nothing done"),
        ("PASS open", "230 welcome"),
        ("STAT", "211-Portreeve\n connected from 127.0.0.1:…"),
        ("USER bob", "503 you are signed in; REIN begins anew"),
        ("PASS open", "503 you are signed in"),
        ("PWD", "257 \"/\" is where you are"),
    ])
    .await;
    let logins = rig.events("login", &["user"]);
    assert_eq!(logins, [json!(["ok", "alice"])]);
}

#[tokio::test]
async fn whoever_is_refused_begins_with_the_name() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.check(&[
        NAME,
        ("PASS wrong", "530 not signed in"),
        ("PASS open", "503 first the name, with USER"),
        ("PWD", "530 sign in first, with USER and PASS"),
        ("USER nobody", "331 now the password, with PASS"),
        ("PASS", "530 not signed in"),
        NAME,
        ("PASS  open", "530 not signed in"),
        NAME,
        ("PASS open", "230 welcome"),
    ])
    .await;
    let logins = rig.events("login", &["user"]);
    assert_eq!(
        logins,
        [
            json!(["refused", "alice"]),
            json!(["refused", "nobody"]),
            json!(["refused", "alice"]),
            json!(["ok", "alice"]),
        ]
    );
}

fn three_tries() -> Terms {
    Terms {
        limits: json!({"auth_attempts": 3}),
        ..Terms::default()
    }
}

#[tokio::test]
async fn tries_are_counted() {
    let rig = Rig::new(three_tries());
    let mut far = rig.secured().await;
    for _ in 0..2 {
        far.check(&[NAME, ("PASS wrong", "530 not signed in")]).await;
    }
    far.check(&[NAME, ("PASS wrong", "421 too many tries to sign in; closing")])
        .await;
    far.ends().await;
    assert_eq!(rig.events("login", &[]).len(), 3);
}

#[tokio::test]
async fn a_name_in_clear_text_is_a_recorded_try() {
    let rig = Rig::new(three_tries());
    let mut far = rig.dial().await;
    let refused = "534 TLS is needed here: send AUTH TLS first";
    far.check(&[
        ("USER alice", refused),
        ("PASS open", refused),
        ("USER alice", refused),
        ("USER alice", "421 too many tries to sign in; closing"),
    ])
    .await;
    far.ends().await;
    let why = "the control connection has no TLS";
    let expected = json!(["refused", "alice", why]);
    assert_eq!(
        rig.events("login", &["user", "why"]),
        [expected.clone(), expected.clone(), expected]
    );
}

#[tokio::test]
async fn sessions_of_one_user_are_counted() {
    let rig = Rig::new(Terms {
        limits: json!({"sessions_per_user": 1}),
        ..Terms::default()
    });
    let first = rig.alice().await;
    let mut far = rig.secured().await;
    far.expect(NAME.0, NAME.1).await;
    far.expect(
        "PASS open",
        "421 too many sessions of this user are open; close one and try again",
    )
    .await;
    far.ends().await;
    first.gone().await;
    rig.alice().await.gone().await;
}

#[tokio::test]
async fn whoever_quits_is_out_before_their_connection_is() {
    let rig = Rig::new(Terms {
        limits: json!({"sessions_per_user": 1}),
        ..Terms::default()
    });
    let mut first = rig.alice().await;
    first.expect("QUIT", "221 goodbye").await;
    rig.alice().await.gone().await;
    first.ends().await;
}

#[tokio::test]
async fn auth_comes_once_and_before_signing_in() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.check(&[
        ("AUTH SSL", "504 AUTH TLS is what can be had"),
        ("AUTH GSSAPI", "504 AUTH TLS is what can be had"),
        ("AUTH", "504 AUTH TLS is what can be had"),
        NAME,
        ("auth tls-c", "234 begin the TLS handshake"),
    ])
    .await;
    far.start_tls().await;
    far.check(&[
        // The name came in clear text: it may be somebody else's.
        ("PASS open", "503 first the name, with USER"),
        ("AUTH TLS", "503 this connection has TLS already"),
        NAME,
        ("PASS open", "230 welcome"),
        ("AUTH TLS", "503 this connection has TLS already"),
    ])
    .await;
    let mut plain = rig.alice().await;
    plain.expect("AUTH TLS", "503 AUTH comes before signing in").await;
    plain.expect("PWD", "257 \"/\" is where you are").await;
}

#[tokio::test]
async fn what_came_behind_auth_in_clear_text_does_not_count() {
    let rig = Rig::tls("explicit");
    let mut far = rig.dial().await;
    far.send(b"AUTH TLS\r\nUSER mallory\r\nPASS open\r\nDELE x\r\n")
        .await;
    far.hears("234 begin the TLS handshake").await;
    far.start_tls().await;
    far.expect("PASS open", "503 first the name, with USER").await;
    assert!(rig.records().is_empty(), "{:?}", rig.records());
}

#[tokio::test]
async fn what_waited_for_the_end_of_a_transfer_in_clear_text_does_not_count_either() {
    let rig = Rig::optional();
    rig.plant("/f", &bytes(30_000_000));
    let mut far = rig.alice().await;
    let mut data = far.begin("RETR f", "150 …").await;
    far.send(b"REIN\r\nAUTH TLS\r\nUSER mallory\r\nPASS open\r\nNOOP\r\n")
        .await;
    far.hears("200 a transfer is under way").await;
    data.read_to_end(&mut Vec::new()).await.unwrap();
    far.hears("226 30000000 bytes were sent").await;
    far.hears("220 ready for another user").await;
    far.hears("234 begin the TLS handshake").await;
    far.start_tls().await;
    far.expect("PASS open", "503 first the name, with USER").await;
    assert_eq!(rig.events("login", &["user"]), [json!(["ok", "alice"])]);
}

#[tokio::test]
async fn rein_ends_the_session_and_keeps_tls() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    far.check(&[
        ("MKD d", "257 \"/d\" was made"),
        ("CWD d", "250 there you are"),
        ("TYPE I", "200 image"),
        ("OPTS MLST size", "200 MLST OPTS size;"),
        ("OPTS HASH MD5", "200 MD5"),
        ("REST 7", "350 the next transfer goes on at byte 7"),
        ("RNFR /d", "350 now the new name, with RNTO"),
        ("REIN", "220 ready for another user"),
    ])
    .await;
    assert_eq!(
        rig.events("logout", &["user", "reason"]),
        [json!(["ok", "alice", "closed"])]
    );
    far.check(&[
        ("PWD", "530 sign in first, with USER and PASS"),
        ("PASS open", "503 first the name, with USER"),
        ("HOST localhost", "220 it is served here"),
        ("USER bob", "331 now the password, with PASS"),
        ("PASS open", "230 welcome"),
        ("PWD", "257 \"/\" is where you are"),
        ("RNTO e", "503 RNTO comes right after RNFR"),
        ("OPTS HASH", "200 SHA-256"),
    ])
    .await;
    let stat = far.say("STAT").await;
    assert!(stat.contains("\n signed in as bob\n TLS: TLSv1_3 "), "{stat}");
    assert!(stat.contains("\n TYPE A, STRU F, MODE S, PROT P\n"), "{stat}");
    assert_eq!(
        far.say("FEAT").await.matches("*;").count(),
        6 + 1,
        "every fact is wanted again"
    );
}

#[tokio::test]
async fn what_was_prepared_for_a_transfer_is_not_the_next_persons() {
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional"}),
        mount: json!({"limits": {"max_file_size": "20 B"}}),
        ..Terms::default()
    });
    rig.plant("/f", b"0123456789");
    let mut far = rig.alice().await;
    let _data = far.data().await;
    far.check(&[
        ("OPTS HASH CRC32", "200 CRC32"),
        ("RANG 0 3", "350 from byte 0 to byte 3"),
        ("REST 7", "350 the next transfer goes on at byte 7"),
        ("ALLO 21", "200 the next upload is weighed by that size"),
        ("REIN", "220 ready for another user"),
    ])
    .await;
    far.sign_in("bob").await;
    far.check(&[
        (
            "RETR f",
            "425 no data connection was prepared: send EPSV or PASV first",
        ),
        ("REIN", "220 ready for another user"),
    ])
    .await;
    far.sign_in("bob").await;
    far.expect("HASH f", "213 SHA-256 0-9 …").await;
    assert_eq!(far.put("STOR g", b"content").await, "226 7 bytes were stored");
    far.check(&[
        ("REST 7", "350 the next transfer goes on at byte 7"),
        ("REIN", "220 ready for another user"),
    ])
    .await;
    far.sign_in("bob").await;
    assert_eq!(far.get("RETR f").await.0, b"0123456789");
}

#[tokio::test]
async fn texts_of_the_administrators() {
    for (text, greeting, login) in [
        ("One line", "220 One line", "230 One line"),
        (
            "Of two\nlines\r\n220 that is no end",
            "220-Of two\n lines\n 220 that is no end\n220 Portreeve is ready.",
            "230-Of two\n lines\n 220 that is no end\n230 welcome",
        ),
        ("", "220 Portreeve is ready.", "230 welcome"),
    ] {
        let rig = Rig::new(Terms {
            options: json!({"tls": "optional", "welcome": text, "login_text": text}),
            ..Terms::default()
        });
        let mut far = rig.knock().await;
        far.hears(greeting).await;
        far.check(&[NAME, ("PASS open", login)]).await;
    }
}
