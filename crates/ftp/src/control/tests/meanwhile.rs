//! The control connection while something goes on beside it.

use std::time::Duration;

use portreeve_vfs::Call;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Far, Rig, Terms, bytes, until};

const LARGE: usize = 30_000_000;

/// What a transfer has moved so far.
async fn moved(far: &mut Far) -> u64 {
    let came = far.say("STAT").await;
    let bytes = came
        .strip_prefix("213 a transfer is under way: ")
        .unwrap_or_else(|| panic!("{came}"));
    bytes.strip_suffix(" bytes so far").unwrap().parse().unwrap()
}

/// The bytes that a reply says are kept.
fn kept(reply: &str) -> u64 {
    let (_, rest) = reply.split_once("; ").unwrap_or_else(|| panic!("{reply}"));
    let (bytes, rest) = rest.split_once(' ').unwrap();
    assert_eq!(rest, format!("bytes are kept, go on with REST {bytes}"));
    bytes.parse().unwrap()
}

#[tokio::test]
async fn stat_and_noop_are_answered_during_a_download() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        rig.plant("/f", &bytes(LARGE));
        let mut far = rig.alice().await;
        let mut data = far.begin("RETR f", "150 here come 30000000 bytes").await;
        let mut some = vec![0; 5_000_000];
        data.read_exact(&mut some).await.unwrap();
        let passed = moved(&mut far).await;
        assert!((5_000_000 - 300_000..LARGE as u64).contains(&passed), "{passed}");
        far.expect("NOOP", "200 a transfer is under way").await;
        let mut rest = Vec::new();
        data.read_to_end(&mut rest).await.unwrap();
        assert!(rest == bytes(LARGE)[5_000_000..]);
        far.hears("226 30000000 bytes were sent").await;
        far.expect("NOOP", "200 nothing done").await;
    }
}

#[tokio::test]
async fn abor_ends_a_download() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        rig.plant("/f", &bytes(LARGE));
        let mut far = rig.alice().await;
        let mut data = far.begin("RETR f", "150 here come 30000000 bytes").await;
        // As RFC 959 has it, with Telnet's sequences in front.
        far.send(b"\xff\xf4\xff\xf2abor\r\n").await;
        far.hears("426 the client aborted the transfer").await;
        far.hears("226 the transfer was aborted").await;
        let mut came = Vec::new();
        let end = data.read_to_end(&mut came).await;
        assert!(came.len() < LARGE);
        assert!(end.is_err() || tls == "optional", "it must not look whole");
        let told = rig.events("download", &["why"]);
        assert_eq!(told, [json!(["failed", "the client aborted the transfer"])]);
        far.expect("ABOR", "226 nothing was under way").await;
    }
}

#[tokio::test]
async fn abor_ends_an_upload_and_all_that_came_is_kept() {
    for tls in ["explicit", "optional"] {
        for len in [1000, 40_000, 2_000_000] {
            let rig = Rig::tls(tls);
            let mut far = rig.alice().await;
            let mut data = far.begin("STOR f", "150 go on").await;
            data.write_all(&bytes(len)).await.unwrap();
            data.flush().await.unwrap();
            until(async || moved(&mut far).await == len as u64).await;
            let cut =
                format!("426 the client aborted the transfer; {len} bytes are kept, go on with REST {len}");
            far.expect("ABOR", &cut).await;
            far.hears("226 the transfer was aborted").await;
            far.expect("SIZE f", &format!("213 {len}")).await;
            let told = rig.events("upload", &["bytes", "kept"]);
            assert_eq!(told, [json!(["failed", len, len])]);
            far.expect(&format!("REST {len}"), "350 …").await;
            let rest = &bytes(3_000_000)[len..];
            let stored = format!("226 {} bytes were stored", rest.len());
            assert_eq!(far.put("STOR f", rest).await, stored);
            assert!(far.get("RETR f").await.0 == bytes(3_000_000));
        }
    }
}

#[tokio::test]
async fn abor_does_not_wait_for_a_client_that_goes_on_sending() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    let mut data = far.begin("STOR f", "150 go on").await;
    let sending = tokio::spawn(async move {
        let block = bytes(100_000);
        while data.write_all(&block).await.is_ok() {}
    });
    until(async || moved(&mut far).await > 3_000_000).await;
    let cut = far.say("ABOR").await;
    far.hears("226 the transfer was aborted").await;
    sending.await.unwrap();
    far.expect("SIZE f", &format!("213 {}", kept(&cut))).await;
}

#[tokio::test]
async fn what_a_slow_storage_has_not_taken_yet_is_kept_too() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    let hold = rig.faulty.hold(Call::Write);
    let mut data = far.begin("STOR f", "150 go on").await;
    data.write_all(&bytes(200_000)).await.unwrap();
    data.flush().await.unwrap();
    until(async || moved(&mut far).await == 200_000).await;
    assert_eq!(hold.arrived(), 1);
    far.send(b"ABOR\r\n").await;
    hold.let_go(2);
    far.hears("426 the client aborted the transfer; 200000 bytes are kept, go on with REST 200000")
        .await;
    far.hears("226 the transfer was aborted").await;
    far.expect("SIZE f", "213 200000").await;
}

#[tokio::test]
async fn abor_ends_the_wait_for_a_data_connection() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.alice().await;
    far.expect("EPSV", "229 …").await;
    far.send(b"RETR f\r\n").await;
    far.expect("NOOP", "200 a transfer is under way").await;
    far.expect("ABOR", "426 the client aborted the transfer").await;
    far.hears("226 the transfer was aborted").await;
    assert_eq!(far.get("RETR f").await.0, b"content");
    assert_eq!(rig.events("download", &[]).len(), 1, "the first never began");
}

#[tokio::test]
async fn what_comes_during_a_transfer_waits_and_keeps_its_order() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        rig.plant("/f", &bytes(LARGE));
        let mut far = rig.alice().await;
        let mut data = far.begin("RETR f", "150 …").await;
        far.send(b"MKD d\r\nCWD d\r\nFOO\r\nNOOP\r\nPWD\r\nSIZE /f\r\n")
            .await;
        far.hears("200 a transfer is under way").await;
        assert!(rig.events("make-dir", &[]).is_empty());
        let mut content = Vec::new();
        data.read_to_end(&mut content).await.unwrap();
        for expected in [
            "226 30000000 bytes were sent",
            "257 \"/d\" was made",
            "250 there you are",
            "500 no such command; HELP lists them",
            "257 \"/d\" is where you are",
            "213 30000000",
        ] {
            far.hears(expected).await;
        }
    }
}

#[tokio::test]
async fn whoever_sends_much_during_a_transfer_gets_all_answers() {
    let rig = Rig::optional();
    rig.plant("/f", &bytes(LARGE));
    let mut far = rig.alice().await;
    let mut data = far.begin("RETR f", "150 …").await;
    far.send(&b"PWD\r\n".repeat(1000)).await;
    let mut content = Vec::new();
    data.read_to_end(&mut content).await.unwrap();
    far.hears("226 30000000 bytes were sent").await;
    for _ in 0..1000 {
        far.hears("257 \"/\" is where you are").await;
    }
    far.expect("NOOP", "200 nothing done").await;
}

#[tokio::test]
async fn whoever_sends_without_end_during_a_transfer_is_sent_away() {
    for (line, times) in [
        ("PWD\r\n".to_owned(), 2000),
        (format!("CWD {}\r\n", "x".repeat(8000)), 20),
    ] {
        let rig = Rig::optional();
        let mut far = rig.alice().await;
        let mut data = far.begin("STOR f", "150 go on").await;
        data.write_all(&bytes(1000)).await.unwrap();
        while far.say("STAT").await != "213 a transfer is under way: 1000 bytes so far" {}
        far.send(line.repeat(times).as_bytes()).await;
        far.hears("421 too many commands came during a transfer; 1000 bytes are kept, go on with REST 1000; closing")
            .await;
    }
}

#[tokio::test]
async fn quit_waits_for_the_end() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    let mut data = far.begin("STOR f", "150 go on").await;
    data.write_all(b"con").await.unwrap();
    far.send(b"QUIT\r\n").await;
    far.expect("NOOP", "200 a transfer is under way").await;
    data.write_all(b"tent").await.unwrap();
    data.shutdown().await.unwrap();
    far.hears("226 7 bytes were stored").await;
    far.hears("221 goodbye").await;
    far.ends().await;
    assert_eq!(rig.events("upload", &["bytes"]), [json!(["ok", 7])]);
    assert_eq!(rig.events("logout", &["reason"]), [json!(["ok", "closed"])]);
}

#[tokio::test]
async fn a_control_connection_that_is_lost_keeps_the_part() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        let mut far = rig.alice().await;
        let mut data = far.begin("STOR f", "150 go on").await;
        data.write_all(&bytes(2_000_000)).await.unwrap();
        data.flush().await.unwrap();
        until(async || moved(&mut far).await == 2_000_000).await;
        far.gone().await;
        let told = rig.events("upload", &["kept", "why"]);
        assert_eq!(
            told,
            [json!(["failed", 2_000_000, "the control connection broke"])]
        );
        rig.alice().await.expect("SIZE f", "213 2000000").await;
    }
}

#[tokio::test]
async fn a_control_connection_that_is_lost_ends_a_download_and_a_wait() {
    let rig = Rig::tls("explicit");
    rig.plant("/f", &bytes(LARGE));
    let mut far = rig.alice().await;
    let _data = far.begin("RETR f", "150 …").await;
    far.gone().await;
    let told = rig.events("download", &["why"]);
    assert_eq!(told, [json!(["failed", "the control connection broke"])]);
    let mut far = rig.alice().await;
    far.expect("EPSV", "229 …").await;
    far.send(b"RETR f\r\n").await;
    far.gone().await;
}

#[tokio::test]
async fn a_digest_under_way_is_aborted_too() {
    let rig = Rig::optional();
    rig.plant("/f", &bytes(1_000_000));
    let mut far = rig.alice().await;
    let hold = rig.faulty.hold(Call::Read);
    far.send(b"HASH f\r\n").await;
    hold.let_go(2);
    until(async || hold.arrived() == 3).await;
    assert_eq!(moved(&mut far).await, 2 * (256 << 10));
    far.expect("ABOR", "426 the client aborted the transfer").await;
    far.hears("226 the transfer was aborted").await;
    let told = rig.events("download", &["bytes", "why"]);
    assert_eq!(
        told,
        [json!([
            "failed",
            2 * (256 << 10),
            "the client aborted the transfer"
        ])]
    );
}

fn hasty() -> Rig {
    Rig::new(Terms {
        options: json!({"data_timeout": "50ms", "stall_timeout": "200ms"}),
        ..Terms::default()
    })
}

#[tokio::test]
async fn a_data_connection_that_does_not_come_is_425() {
    let rig = hasty();
    let mut far = rig.alice().await;
    far.check(&[
        ("EPSV", "229 …"),
        (
            "LIST",
            "425 no data connection came about in time; a firewall may be in its way",
        ),
    ])
    .await;
    // It comes, and no handshake with it.
    let _data = far.data().await;
    far.expect("STOR f", "150 go on").await;
    far.hears("425 the TLS handshake of the data connection took too long")
        .await;
    assert_eq!(
        rig.events("upload", &["bytes", "kept"]),
        [json!(["failed", 0, null])]
    );
}

#[tokio::test]
async fn a_transfer_on_which_nothing_moves_is_426_and_the_part_is_kept() {
    let rig = hasty();
    let mut far = rig.alice().await;
    let mut data = far.begin("STOR f", "150 go on").await;
    data.write_all(b"part").await.unwrap();
    data.flush().await.unwrap();
    far.hears("426 nothing moved on the data connection for too long; 4 bytes are kept, go on with REST 4")
        .await;
    far.expect("SIZE f", "213 4").await;
    let told = rig.events("upload", &["kept"]);
    assert_eq!(told, [json!(["failed", 4])]);
    tokio::time::timeout(Duration::from_secs(100), data.read_to_end(&mut Vec::new()))
        .await
        .expect("the data connection is closed")
        .ok();
}
