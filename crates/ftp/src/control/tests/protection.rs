//! PBSZ, PROT and CCC, and what is recorded of whoever wants less protection.

use serde_json::json;

use super::rig::{Rig, Terms};
use crate::tls::rig::{TLS12, TLS13};

#[tokio::test]
async fn where_tls_is_needed_it_cannot_be_given_up() {
    let rig = Rig::tls("explicit");
    let mut far = rig.dial().await;
    far.check(&[
        ("PBSZ 0", "503 PBSZ comes after AUTH TLS"),
        ("PROT P", "503 PROT comes after AUTH TLS and PBSZ"),
        ("CCC", "533 the control connection has no TLS"),
        ("AUTH TLS", "234 begin the TLS handshake"),
    ])
    .await;
    far.start_tls().await;
    far.sign_in("alice").await;
    far.check(&[
        ("PROT P", "503 PROT comes after AUTH TLS and PBSZ"),
        ("PBSZ", "501 PBSZ wants 0"),
        ("PBSZ -1", "501 PBSZ wants 0"),
        ("PROT P", "503 PROT comes after AUTH TLS and PBSZ"),
        ("PBSZ 16384", "200 PBSZ=0"),
        ("PROT C", "534 data connections need TLS here"),
        ("PROT S", "536 TLS knows PROT P and PROT C"),
        ("PROT E", "536 TLS knows PROT P and PROT C"),
        ("PROT", "504 PROT wants P or C"),
        ("PROT X", "504 PROT wants P or C"),
        (
            "PASV",
            "521 data connections need TLS here: send PBSZ 0 and PROT P first",
        ),
        ("PROT p", "200 data connections have TLS"),
        ("PROT C", "534 data connections need TLS here"),
        ("PASV", "227 Entering Passive Mode (127,0,0,1,…"),
        ("CCC", "534 the control connection keeps its TLS"),
    ])
    .await;
    assert_eq!(
        rig.knocks(),
        [
            "PROT C: data connections without TLS were asked for",
            "a data connection without TLS was asked for",
            "PROT C: data connections without TLS were asked for",
            "CCC: a control connection without TLS was asked for",
        ]
    );
}

#[tokio::test]
async fn an_implicit_listener_protects_data_connections_from_the_start() {
    let rig = Rig::tls("implicit");
    rig.plant("/f", b"content");
    let mut far = rig.dial().await;
    far.sign_in("alice").await;
    assert!(far.say("STAT").await.contains("PROT P"));
    let (content, end) = far.get("RETR f").await;
    assert_eq!((&*content, &*end), (&b"content"[..], "226 7 bytes were sent"));
    far.expect("AUTH TLS", "503 this connection has TLS already")
        .await;
    far.expect("PROT C", "503 PROT comes after AUTH TLS and PBSZ")
        .await;
}

#[tokio::test]
async fn where_tls_is_optional_the_client_chooses() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.secured().await;
    far.sign_in("alice").await;
    assert_eq!(far.get("RETR f").await.0, b"content");
    far.protect().await;
    assert_eq!(far.get("RETR f").await.0, b"content");
    far.expect("PROT C", "200 data connections are in clear text")
        .await;
    far.protected = false;
    assert_eq!(far.get("RETR f").await.0, b"content");
    assert_eq!(
        rig.events("download", &["tls_reused"]),
        [json!(["ok", null]), json!(["ok", true]), json!(["ok", null])]
    );
    assert!(rig.knocks().is_empty());
}

#[tokio::test]
async fn what_was_prepared_for_clear_text_is_not_used_with_tls() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.secured().await;
    far.sign_in("alice").await;
    let _data = far.data().await;
    far.protect().await;
    far.expect(
        "RETR f",
        "425 no data connection was prepared: send EPSV or PASV first",
    )
    .await;
}

#[tokio::test]
async fn whether_the_control_session_was_resumed_is_recorded_and_can_be_demanded() {
    for versions in [TLS12, TLS13] {
        for (reuse, resumes) in [("prefer", true), ("require", true), ("off", false)] {
            let rig = Rig::new(Terms {
                options: json!({"session_reuse": reuse}),
                versions,
                ..Terms::default()
            });
            let mut far = rig.alice().await;
            assert_eq!(far.put("STOR f", b"content").await, "226 7 bytes were stored");
            assert_eq!(far.get("RETR f").await.0, b"content");
            assert_eq!(rig.events("upload", &["tls_reused"]), [json!(["ok", resumes])]);
            assert_eq!(rig.events("download", &["tls_reused"]), [json!(["ok", resumes])]);
        }
    }
}

#[tokio::test]
async fn under_require_another_tls_session_gets_nothing() {
    const REFUSAL: &str =
        "522 the data connection does not resume the TLS session of the control connection…";
    for versions in [TLS12, TLS13] {
        let rig = Rig::new(Terms {
            options: json!({"session_reuse": "require"}),
            versions,
            ..Terms::default()
        });
        rig.plant("/f", b"content");
        let mut far = rig.alice().await;
        // Another client, as far as TLS can tell.
        far.tls = rig.stranger();
        for command in ["RETR f", "LIST", "MLSD", "STOR g"] {
            let (came, end) = far.get(command).await;
            assert!(came.is_empty(), "{command}: {came:?}");
            assert!(end.starts_with(REFUSAL.trim_end_matches('…')), "{command}: {end}");
        }
        far.expect("SIZE g", "550 no such file or directory").await;
        assert_eq!(rig.events("download", &["bytes"]), [json!(["refused", 0])]);
        assert_eq!(rig.events("upload", &["bytes"]), [json!(["refused", 0])]);
        assert_eq!(rig.knocks().len(), 2, "the listings");
    }
}
