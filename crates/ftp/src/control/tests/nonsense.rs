//! What is no command, and how much of it is borne.

use super::rig::{Rig, Terms};

const NONE: &str = "500 no such command; HELP lists them";

#[tokio::test]
async fn what_is_no_command_is_told_and_borne_for_a_while() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.check(&[
        ("FOO", NONE),
        ("", "500 that is no command"),
        (" NOOP", "500 that is no command"),
        ("NOOP\tx", "500 that is no command"),
        ("ABCDEFGHIJK", "500 that is no command"),
        ("SITECHMOD 1", NONE),
        ("noop", "200 nothing done"),
        ("NoOp with words", "200 nothing done"),
    ])
    .await;
    for round in 0..3 {
        for n in 1..20 {
            far.expect("FOO", NONE).await;
            assert!(n < 20, "{round}");
        }
        // A command, refused or not, begins the count anew.
        far.expect("PWD", "530 sign in first, with USER and PASS").await;
    }
    for _ in 1..20 {
        far.expect("FOO", NONE).await;
    }
    far.expect("FOO", "421 too much that is no command; closing")
        .await;
    far.ends().await;
}

#[tokio::test]
async fn whoever_sends_nonsense_without_reading_still_hears_why_it_ends() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.send(&b"FOO\r\n".repeat(3000)).await;
    for _ in 1..20 {
        far.hears(NONE).await;
    }
    far.hears("421 too much that is no command; closing").await;
    far.ends().await;
}

#[tokio::test]
async fn an_overlong_line_is_refused_and_the_next_one_counts() {
    let long = "500 the line is too long: 8192 bytes are possible";
    let rig = Rig::optional();
    let mut far = rig.alice().await;
    let name = "x".repeat(8192 - "SIZE \r\n".len());
    far.expect(&format!("SIZE {name}"), "553 …").await;
    far.expect(&format!("SIZE {name}y"), long).await;
    far.expect(&format!("STOR {}", "x".repeat(20_000)), long).await;
    far.expect("PWD", "257 \"/\" is where you are").await;
}

#[tokio::test]
async fn an_endless_line_is_not_listened_to_for_ever() {
    for signed_in in [false, true] {
        let rig = Rig::optional();
        let mut far = match signed_in {
            true => rig.alice().await,
            false => rig.dial().await,
        };
        far.send(&[b'x'; 100_000]).await;
        far.hears("500 the line is too long: 8192 bytes are possible")
            .await;
        far.hears("421 too much that is no command; closing").await;
        far.ends().await;
    }
}

#[tokio::test]
async fn to_http_not_a_word_is_said() {
    let rig = Rig::optional();
    for (line, signed_in) in [
        ("GET / HTTP/1.1", false),
        ("POST /x HTTP/1.1", false),
        ("get", false),
        ("PUT f", true),
        ("OPTIONS *", true),
    ] {
        let mut far = match signed_in {
            true => rig.alice().await,
            false => rig.dial().await,
        };
        let before = rig.knocks().len();
        far.send(format!("{line}\r\nHost: x\r\n\r\nSTAT\r\n").as_bytes())
            .await;
        far.ends().await;
        assert_eq!(rig.knocks()[before..], ["an HTTP request came"], "{line}");
    }
}

#[tokio::test]
async fn tls_without_having_asked_for_it_is_closed() {
    let rig = Rig::new(Terms::default());
    let mut far = rig.dial().await;
    far.send(b"\x16\x03\x01\x00\xa5\x01\r\nUSER x\r\n").await;
    far.ends().await;
    assert!(rig.records().is_empty());
}

#[tokio::test]
async fn a_handshake_that_fails_ends_the_connection() {
    let rig = Rig::tls("explicit");
    let mut far = rig.dial().await;
    far.expect("AUTH TLS", "234 begin the TLS handshake").await;
    far.send(b"USER alice\r\nPASS open\r\n").await;
    far.gone().await;
    assert!(rig.records().is_empty());
}

#[tokio::test]
async fn telnet_is_taken_out() {
    let rig = Rig::optional();
    let mut far = rig.alice().await;
    // IAC IP IAC DM before ABOR (RFC 959, section 4.1.3), and IAC IAC in a name.
    far.send(b"\xff\xf4\xff\xf2ABOR\r\n").await;
    far.hears("226 nothing was under way").await;
    far.send(b"MKD a\xff\xffb\r\n").await;
    assert!(far.reply().await.starts_with("257 "));
    rig.gate.drain();
    far.hears("421 the server is shutting down; closing").await;
    assert_eq!(
        rig.records()
            .iter()
            .filter(|record| record["path_hex"] == "2f61ff62")
            .count(),
        1
    );
}
