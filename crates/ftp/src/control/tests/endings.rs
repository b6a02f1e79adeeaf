//! How a connection ends from the server's side, and what is said then.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Rig, Terms, bytes};

const STOPPING: &str = "421 the server is shutting down; closing";

#[tokio::test]
async fn a_drain_is_told_to_everybody() {
    let rig = Rig::tls("explicit");
    let mut ends = vec![rig.dial().await, rig.secured().await, rig.alice().await];
    let mut named = rig.secured().await;
    named
        .expect("USER alice", "331 now the password, with PASS")
        .await;
    ends.push(named);
    rig.gate.drain();
    for mut far in ends {
        far.hears(STOPPING).await;
        far.ends().await;
    }
}

#[tokio::test]
async fn a_transfer_comes_to_its_end_in_a_drain() {
    let rig = Rig::tls("explicit");
    rig.plant("/f", &bytes(30_000_000));
    let mut far = rig.alice().await;
    let mut data = far.begin("RETR f", "150 …").await;
    far.send(b"PWD\r\n").await;
    rig.gate.drain();
    let mut content = Vec::new();
    data.read_to_end(&mut content).await.unwrap();
    assert!(content == bytes(30_000_000));
    far.hears("226 30000000 bytes were sent").await;
    far.hears(STOPPING).await;
    far.ends().await;
}

#[tokio::test]
async fn an_ended_session_is_told_why() {
    for (reason, expected) in [
        ("killed", "421 the session was ended: killed; closing"),
        ("revoked", "421 the session was ended: revoked; closing"),
        ("idle", "421 idle for too long; closing"),
        ("drained", STOPPING),
    ] {
        let rig = Rig::tls("explicit");
        let mut far = rig.alice().await;
        let mut stranger = rig.secured().await;
        rig.gate.end_all(reason);
        far.hears(expected).await;
        far.ends().await;
        assert_eq!(rig.events("logout", &["reason"]), [json!(["ok", reason])]);
        stranger.expect("NOOP", "200 nothing done").await;
    }
}

#[tokio::test]
async fn an_ended_session_ends_its_transfer_and_keeps_the_part() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    let mut data = far.begin("STOR f", "150 go on").await;
    data.write_all(&bytes(2_000_000)).await.unwrap();
    data.flush().await.unwrap();
    super::rig::until(async || far.say("STAT").await == "213 a transfer is under way: 2000000 bytes so far")
        .await;
    rig.gate.end_all("killed");
    far.hears("421 the session was ended: killed; closing").await;
    far.ends().await;
    let told = rig.events("upload", &["kept"]).pop().unwrap();
    assert_eq!(told[0], "failed");
    let kept = told[1].as_u64().unwrap();
    rig.alice().await.expect("SIZE f", &format!("213 {kept}")).await;
}

#[tokio::test]
async fn an_idle_session_is_ended_but_not_one_that_does_something() {
    let rig = Rig::new(Terms {
        limits: json!({"idle": "0s"}),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    rig.gate.sweep().await;
    far.hears("421 idle for too long; closing").await;
    far.ends().await;
}

const GRACE: &str = "421 not signed in within the time for that; closing";

fn with_grace() -> Rig {
    Rig::new(Terms {
        options: json!({"tls": "optional"}),
        limits: json!({"login_grace": "30s"}),
        ..Terms::default()
    })
}

#[tokio::test]
async fn whoever_does_not_sign_in_has_no_time_without_end() {
    let rig = with_grace();
    let mut far = rig.dial().await;
    far.expect("USER alice", "331 now the password, with PASS").await;
    tokio::time::pause();
    far.hears(GRACE).await;
    far.ends().await;
}

#[tokio::test]
async fn commands_do_not_prolong_the_time_for_signing_in() {
    let rig = with_grace();
    let mut far = rig.dial().await;
    tokio::time::pause();
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(14)).await;
        far.expect("NOOP", "200 nothing done").await;
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    far.hears(GRACE).await;
    far.ends().await;
}

#[tokio::test]
async fn whoever_signed_in_has_time_and_rein_gives_it_anew_once() {
    let rig = with_grace();
    let mut far = rig.alice().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    far.check(&[
        ("PWD", "257 \"/\" is where you are"),
        ("REIN", "220 ready for another user"),
        ("NOOP", "200 nothing done"),
    ])
    .await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    far.expect("REIN", "220 ready for another user").await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    far.expect("NOOP", GRACE).await;
    far.ends().await;
}
