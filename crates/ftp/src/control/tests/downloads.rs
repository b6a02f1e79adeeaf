//! RETR, to its end and cut.

use portreeve_session::FsErrorKind;
use portreeve_vfs::{Call, Fault};
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::rig::{Rig, bytes, until};
use crate::tls::rig::{TLS12, TLS13};

#[tokio::test]
async fn a_file_comes_whole() {
    for versions in [TLS12, TLS13] {
        for tls in ["explicit", "implicit", "optional"] {
            let rig = Rig::new(super::rig::Terms {
                options: json!({"tls": tls}),
                versions,
                ..Default::default()
            });
            let mut far = rig.alice().await;
            for len in [0, 1, 1000, 3_000_000] {
                let path = format!("/{len}");
                rig.plant(&path, &bytes(len));
                let (content, end) = far.get(&format!("RETR {path}")).await;
                assert!(content == bytes(len), "{tls} {len}");
                assert_eq!(end, format!("226 {len} bytes were sent"));
                let reused = (tls != "optional").then_some(true);
                assert_eq!(
                    rig.events("download", &["path", "bytes", "size", "tls_reused"])
                        .last()
                        .unwrap(),
                    &json!(["ok", path, len, len, reused])
                );
            }
            assert_eq!(rig.events("download", &[]).len(), 4, "one record each");
        }
    }
}

#[tokio::test]
async fn rest_goes_on_where_it_says_and_counts_once() {
    let rig = Rig::optional();
    rig.plant("/f", b"0123456789");
    let mut far = rig.alice().await;
    for (rest, content) in [(0, "0123456789"), (4, "456789"), (10, "")] {
        far.expect(&format!("REST {rest}"), "350 …").await;
        let (came, end) = far.get("RETR f").await;
        assert_eq!(came, content.as_bytes());
        assert_eq!(end, format!("226 {} bytes were sent", content.len()));
        assert_eq!(
            far.get("RETR f").await.0,
            b"0123456789",
            "the next one begins at its beginning"
        );
    }
    far.expect("REST 11", "350 …").await;
    far.refused("RETR f", "554 the file ends before byte 11").await;
    let last = rig.events("download", &["bytes"]).pop().unwrap();
    assert_eq!(last, json!(["failed", 0]));
    far.expect("REST 4", "350 …").await;
    far.listing("LIST").await;
    assert_eq!(
        far.get("RETR f").await.0,
        b"0123456789",
        "a listing takes it back"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told_before_150() {
    let rig = Rig::tls("explicit");
    rig.plant("/d/f", b"");
    let mut far = rig.alice().await;
    far.refused("RETR x", "550 no such file or directory").await;
    far.refused("RETR d", "550 it is a directory").await;
    far.check(&[
        ("RETR", "501 a path is missing"),
        (
            "RETR a\tb",
            "553 a path cannot contain control characters over FTP",
        ),
    ])
    .await;
    assert_eq!(
        rig.events("download", &["path"]),
        [json!(["failed", "/x"]), json!(["failed", "/d"])]
    );
}

#[tokio::test]
async fn a_file_that_breaks_off_is_not_told_as_whole() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        rig.plant("/f", &bytes(1_000_000));
        let mut far = rig.alice().await;
        rig.faulty.set(Fault {
            call: Some(Call::Read),
            nth: 3,
            times: 1,
            error: FsErrorKind::Backend.into(),
        });
        let mut data = far.begin("RETR f", "150 here come 1000000 bytes").await;
        let mut came = Vec::new();
        let end = data.read_to_end(&mut came).await;
        assert!(end.is_err() || tls == "optional", "no farewell of TLS");
        assert!(came.len() < 1_000_000);
        far.hears("451 the storage failed").await;
        let told = rig.events("download", &["bytes", "why"]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0][0], "failed");
        assert_eq!(told[0][2], "the storage failed");
    }
}

#[tokio::test]
async fn a_client_that_goes_gets_426_and_the_record_says_how_far_it_came() {
    for tls in ["explicit", "optional"] {
        let rig = Rig::tls(tls);
        rig.plant("/f", &bytes(30_000_000));
        let mut far = rig.alice().await;
        let mut data = far.begin("RETR f", "150 here come 30000000 bytes").await;
        let mut some = vec![0; 100_000];
        data.read_exact(&mut some).await.unwrap();
        drop(data);
        far.hears("426 the data connection broke: …").await;
        let told = rig.events("download", &["bytes", "size"]).pop().unwrap();
        let passed = told[1].as_u64().unwrap();
        assert!((100_000..30_000_000).contains(&passed), "{told}");
        assert_eq!(told, json!(["failed", passed, 30_000_000]));
        far.expect("NOOP", "200 nothing done").await;
    }
}

#[tokio::test]
async fn a_control_connection_that_went_before_150_is_no_download() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.alice().await;
    let hold = rig.faulty.hold(Call::OpenRead);
    let _data = far.data().await;
    // What lies unread at the client's end makes its going a reset.
    far.send(b"NOOP\r\nRETR f\r\n").await;
    until(async || hold.arrived() == 1).await;
    far.hang_up();
    hold.let_go(1);
    far.gone().await;
    let told = rig.events("download", &["bytes"]);
    assert_eq!(told, [json!(["failed", 0])]);
}
