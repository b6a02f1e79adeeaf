//! STOR, APPE and STOU: what becomes visible, what is kept, and what goes on from there.

use portreeve_session::FsErrorKind;
use portreeve_vfs::{Call, Fault, Memory};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Far, Rig, Terms, bytes};
use crate::tls::rig::{TLS12, TLS13};

const CUT: &str = "426 the data connection was closed without TLS close_notify: the file may be cut";
const MISSING: &str = "550 no such file or directory";

/// What is complete and visible at a path; nothing where it is not.
async fn content(rig: &Rig, path: &str) -> Option<Vec<u8>> {
    // Another person does not see what is unfinished.
    let mut bob = rig.secured().await;
    bob.sign_in("bob").await;
    bob.protect().await;
    match bob.say(&format!("SIZE {path}")).await.as_str() {
        MISSING => None,
        _ => Some(bob.get(&format!("RETR {path}")).await.0),
    }
}

fn last(rig: &Rig) -> serde_json::Value {
    rig.events("upload", &["path", "bytes", "size", "kept"])
        .pop()
        .unwrap()
}

#[tokio::test]
async fn a_file_is_there_whole_when_226_is_said() {
    for versions in [TLS12, TLS13] {
        for tls in ["explicit", "implicit", "optional"] {
            let rig = Rig::new(Terms {
                options: json!({"tls": tls}),
                versions,
                ..Terms::default()
            });
            let mut far = rig.alice().await;
            for len in [0, 1, 1000, 3_000_000] {
                let path = format!("/{len}");
                let end = far.put(&format!("STOR {path}"), &bytes(len)).await;
                assert_eq!(end, format!("226 {len} bytes were stored"), "{tls}");
                let reused = (tls != "optional").then_some(true);
                let told = rig.events("upload", &["path", "bytes", "size", "kept", "tls_reused"]);
                assert_eq!(told.last().unwrap(), &json!(["ok", path, len, len, null, reused]));
                assert!(
                    far.get(&format!("RETR {path}")).await.0 == bytes(len),
                    "{tls} {len}"
                );
            }
            assert_eq!(rig.events("upload", &[]).len(), 4, "one record each");
        }
    }
}

#[tokio::test]
async fn what_is_there_is_replaced_at_once_or_not_at_all() {
    let rig = Rig::tls("explicit");
    rig.plant("/f", b"the old one");
    let mut far = rig.alice().await;
    assert_eq!(
        far.put_and_cut("STOR f", b"the new").await,
        format!("{CUT}; 7 bytes are kept, go on with REST 7")
    );
    assert_eq!(content(&rig, "/f").await.unwrap(), b"the old one");
    // To its owner the name means the part.
    let unfinished = "550 an upload of yours to this name was cut after 7 bytes: go on with REST 7 and STOR, \
                      or upload it anew";
    far.expect("SIZE f", "213 7").await;
    far.refused("RETR f", unfinished).await;
    far.expect("HASH f", unfinished).await;
    assert_eq!(
        rig.events("download", &["user", "bytes"])[1..],
        [json!(["failed", "alice", 0]), json!(["failed", "alice", 0])]
    );
    assert_eq!(
        far.put("STOR f", b"another one").await,
        "226 11 bytes were stored"
    );
    assert_eq!(content(&rig, "/f").await.unwrap(), b"another one");
    far.expect("SIZE f", "213 11").await;
}

/// Who adds to a log, or fetches it, knows nothing of an upload that was cut: it must not become a file
/// by that, nor shut anybody out.
#[tokio::test]
async fn a_cut_upload_is_nothing_to_a_client_that_was_not_told_of_it() {
    let rig = Rig::tls("explicit");
    rig.plant("/log", b"the old one\n");
    let mut far = rig.alice().await;
    for path in ["/log", "/new"] {
        far.put_and_cut(&format!("STOR {path}"), b"torn").await;
    }
    let mut blind = rig.alice().await;
    assert_eq!(blind.get("RETR log").await.0, b"the old one\n");
    // curl -C - asks first, and goes on.
    let mut asking = rig.alice().await;
    asking.expect("SIZE new", "213 4").await;
    assert_eq!(
        asking.put("APPE new", b" and mended").await,
        "226 11 bytes were stored"
    );
    assert_eq!(content(&rig, "/new").await.unwrap(), b"torn and mended");
    assert_eq!(
        blind.put("APPE log", b"a line\n").await,
        "226 7 bytes were stored"
    );
    assert_eq!(content(&rig, "/log").await.unwrap(), b"the old one\na line\n");
    // A line that was cut is sent anew, by whoever sends it.
    far.put_and_cut("APPE log", b"another l").await;
    assert_eq!(
        blind.put("APPE log", b"another line\n").await,
        "226 13 bytes were stored"
    );
    assert_eq!(
        content(&rig, "/log").await.unwrap(),
        b"the old one\na line\nanother line\n"
    );
}

#[tokio::test]
async fn a_cut_upload_is_kept_for_its_owner_who_goes_on() {
    for len in [1, 100, 700_000] {
        let rig = Rig::tls("explicit");
        let mut far = rig.alice().await;
        let whole = bytes(1_000_000);
        let end = far.put_and_cut("STOR f", &whole[..len]).await;
        assert_eq!(end, format!("{CUT}; {len} bytes are kept, go on with REST {len}"));
        assert_eq!(last(&rig), json!(["failed", "/f", len, null, len]));
        assert_eq!(content(&rig, "/f").await, None);
        assert_eq!(far.listing("NLST").await, "", "listings do not show it");
        far.check(&[
            ("SIZE f", &format!("213 {len}")),
            ("OPTS MLST type;size", "200 MLST OPTS type;size;"),
            (
                "MLST f",
                &format!("250-Facts:\n type=file;size={len}; /f\n250 End"),
            ),
            ("REST 7777777", "350 …"),
        ])
        .await;
        far.refused(
            "STOR f",
            &format!("554 cannot go on at byte 7777777: {len} bytes are there"),
        )
        .await;
        far.expect(&format!("REST {len}"), "350 …").await;
        let end = far.put("STOR f", &whole[len..]).await;
        assert_eq!(end, format!("226 {} bytes were stored", whole.len() - len));
        assert!(content(&rig, "/f").await.unwrap() == whole);
        assert_eq!(
            last(&rig),
            json!(["ok", "/f", whole.len() - len, whole.len(), null])
        );
    }
}

#[tokio::test]
async fn a_part_is_meant_only_by_clients_that_were_told_of_it() {
    let part = "550 an upload of yours to this name was cut after 4 bytes: go on with REST 4 and STOR, or \
                upload it anew";
    for tells in ["SIZE log", "MDTM log", "MLST log"] {
        let rig = Rig::tls("explicit");
        rig.plant("/log", b"lines\n");
        rig.alice().await.put_and_cut("STOR log", b"torn").await;
        let mut far = rig.alice().await;
        // It knows the file, and neither reads nor makes visible what is torn.
        assert_eq!(far.get("RETR log").await.0, b"lines\n");
        far.expect("HASH log", "213 SHA-256 0-5 …").await;
        assert_eq!(content(&rig, "/log").await.unwrap(), b"lines\n");
        assert!(!far.say(tells).await.starts_with('5'));
        far.refused("RETR log", part).await;
        far.expect("HASH log", part).await;
        // Another session of the same connection was told nothing.
        far.expect("REIN", "220 ready for another user").await;
        far.sign_in("alice").await;
        assert_eq!(far.get("RETR log").await.0, b"lines\n");
        assert!(!far.say(tells).await.starts_with('5'));
        assert_eq!(
            far.put("APPE log", b" off").await,
            "226 4 bytes were stored",
            "{tells}"
        );
        assert_eq!(far.get("RETR log").await.0, b"torn off");
        assert_eq!(content(&rig, "/log").await.unwrap(), b"torn off");
    }
}

#[tokio::test]
async fn plain_stor_throws_the_part_away() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    far.put_and_cut("STOR f", b"part").await;
    assert_eq!(far.put("STOR f", b"whole").await, "226 5 bytes were stored");
    assert_eq!(content(&rig, "/f").await.unwrap(), b"whole");
    far.expect("REST 4", "350 …").await;
    far.refused("STOR f", "554 cannot go on at byte 4: 5 bytes are there")
        .await;
}

#[tokio::test]
async fn appe_adds_to_the_end() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    assert_eq!(far.put("APPE f", b"one").await, "226 3 bytes were stored");
    far.expect("REST 1", "350 …").await;
    assert_eq!(far.put("APPE f", b"two").await, "226 3 bytes were stored");
    assert_eq!(content(&rig, "/f").await.unwrap(), b"onetwo");
    assert_eq!(last(&rig), json!(["ok", "/f", 3, 6, null]));
    // A part goes on at its end.
    assert_eq!(
        far.put_and_cut("STOR g", b"par").await,
        format!("{CUT}; 3 bytes are kept, go on with REST 3")
    );
    assert_eq!(far.put("APPE g", b"ts").await, "226 2 bytes were stored");
    assert_eq!(content(&rig, "/g").await.unwrap(), b"parts");
    // A cut one leaves what was there.
    assert_eq!(
        far.put_and_cut("APPE f", b"three").await,
        format!("{CUT}; 11 bytes are kept, go on with REST 11")
    );
    assert_eq!(content(&rig, "/f").await.unwrap(), b"onetwo");
}

#[tokio::test]
async fn rest_counts_once() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    far.check(&[("REST 5", "350 …"), ("RETR a\tb", "553 …")]).await;
    assert_eq!(far.put("STOR f", b"new").await, "226 3 bytes were stored");
    far.expect("REST 5", "350 …").await;
    let end = far.put("STOU", b"new").await;
    assert!(end.starts_with("226 "), "{end}");
    assert_eq!(far.put("STOR f", b"newer").await, "226 5 bytes were stored");
}

#[tokio::test]
async fn stou_chooses_a_name_and_tells_it() {
    let rig = Rig::tls("explicit");
    rig.plant("/d/x", b"");
    let mut far = rig.alice().await;
    for (command, start) in [
        ("STOU", "/upload."),
        ("STOU report", "/report."),
        ("STOU d/r", "/d/r."),
        ("STOU d/", "/d/upload."),
    ] {
        let data = far.data().await;
        let opening = far.say(command).await;
        let name = opening
            .strip_prefix("150 FILE: ")
            .unwrap_or_else(|| panic!("{opening}"))
            .to_owned();
        drop(data);
        let cut = far.reply().await;
        assert!(
            cut.starts_with("425 the TLS handshake of the data connection failed"),
            "{cut}"
        );
        let end = far.put(command, b"content").await;
        let stored = end
            .strip_prefix("226 7 bytes were stored as ")
            .unwrap()
            .to_owned();
        assert_ne!(name, stored);
        let dir = start.rsplit_once('/').unwrap().0;
        let path = format!("{dir}/{stored}");
        assert!(path.starts_with(start), "{path}");
        assert_eq!(content(&rig, &path).await.unwrap(), b"content");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_told_before_any_byte() {
    let rig = Rig::tls("explicit");
    rig.plant("/d/f", b"");
    let mut far = rig.alice().await;
    far.refused("STOR d", "550 it is a directory").await;
    far.refused("STOR x/y", MISSING).await;
    far.refused("APPE d", "550 it is a directory").await;
    far.check(&[
        ("STOR", "501 a path is missing"),
        ("APPE", "501 a path is missing"),
        (
            "STOR a\tb",
            "553 a path cannot contain control characters over FTP",
        ),
        (
            "STOU a\tb",
            "553 a path cannot contain control characters over FTP",
        ),
    ])
    .await;
    assert_eq!(
        rig.events("upload", &[]),
        [json!(["failed"]), json!(["failed"]), json!(["failed"])]
    );
}

#[tokio::test]
async fn a_refused_transfer_hears_why_before_its_data_connection_is_reset() {
    let rig = Rig::new(Terms {
        mount: json!({"verbs": "read-only"}),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    let refusal = "550 permission denied: your account lacks 'create' here";
    let missing = "550 no such file or directory";
    for (command, refusal) in [
        ("STOR f", refusal),
        ("APPE f", refusal),
        ("STOU", refusal),
        ("RETR f", missing),
        ("LIST d", missing),
        ("MLSD d", missing),
    ] {
        let mut data = far.data().await;
        // Whoever does not wait for 150 has begun its handshake.
        data.write_all(&[0x16; 300]).await.unwrap();
        far.expect(command, refusal).await;
        data.shutdown().await.unwrap();
        let mut came = Vec::new();
        let end = data.read_to_end(&mut came).await;
        assert!(end.is_ok() && came.is_empty(), "{command}: {end:?}");
    }
}

fn with_limits(limits: &serde_json::Value) -> Rig {
    Rig::new(Terms {
        mount: json!({"limits": limits}),
        ..Terms::default()
    })
}

async fn small_ones_go(far: &mut Far) {
    assert_eq!(far.put("STOR small", b"small").await, "226 5 bytes were stored");
}

#[tokio::test]
async fn allo_is_weighed_before_any_byte() {
    let rig = with_limits(&json!({"quota": "1000 B"}));
    let mut far = rig.alice().await;
    far.expect("ALLO 1001", "200 …").await;
    far.refused("STOR f", "552 …").await;
    assert_eq!(last(&rig), json!(["refused", "/f", 0, null, null]));
    // It counts once.
    small_ones_go(&mut far).await;
    far.expect("ALLO 995", "200 …").await;
    assert_eq!(far.put("STOR f", &[0; 995]).await, "226 995 bytes were stored");
    // What is resumed is weighed with what is there.
    far.check(&[("DELE f", "250 removed"), ("ALLO 600", "200 …")])
        .await;
    let end = far.put_and_cut("STOR f", &[0; 600]).await;
    assert!(
        end.ends_with("; 600 bytes are kept, go on with REST 600"),
        "{end}"
    );
    far.check(&[("ALLO 396", "200 …"), ("REST 600", "350 …")]).await;
    far.refused("STOR f", "552 …").await;
    far.check(&[("ALLO 395", "200 …"), ("REST 600", "350 …")]).await;
    assert_eq!(far.put("STOR f", &[0; 395]).await, "226 395 bytes were stored");

    let rig = with_limits(&json!({"max_file_size": "10 B"}));
    let mut far = rig.alice().await;
    far.expect("ALLO 11", "200 …").await;
    far.refused("STOR f", "552 …").await;
    small_ones_go(&mut far).await;
}

#[tokio::test]
async fn what_is_too_large_is_thrown_away() {
    for (limits, kind) in [
        (json!({"quota": "100000 B"}), "552 …"),
        (json!({"max_file_size": "100000 B"}), "552 …"),
    ] {
        let rig = with_limits(&limits);
        let mut far = rig.alice().await;
        let end = far.put_to_the_end("STOR f", &bytes(400_000)).await;
        assert!(end.starts_with(kind.trim_end_matches('…')), "{end}");
        assert!(!end.contains("kept"), "{end}");
        far.expect("SIZE f", MISSING).await;
        small_ones_go(&mut far).await;
    }
    let rig = Rig::new(Terms {
        memory: Memory::limited(100_000),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    let end = far.put_to_the_end("STOR f", &bytes(400_000)).await;
    assert_eq!(end, "452 no space left on the storage");
    far.expect("SIZE f", MISSING).await;
    small_ones_go(&mut far).await;
}

#[tokio::test]
async fn a_storage_that_fails_is_never_226() {
    for (call, nth, expected) in [
        (Call::Write, 1, "451 the storage failed"),
        (Call::Write, 2, "451 the storage failed…"),
        (Call::Commit, 1, "451 the storage failed"),
    ] {
        let rig = Rig::tls("explicit");
        let mut far = rig.alice().await;
        rig.faulty.set(Fault {
            call: Some(call),
            nth,
            times: 1,
            error: FsErrorKind::Backend.into(),
        });
        let end = far.put_to_the_end("STOR f", &bytes(600_000)).await;
        assert!(end.starts_with(expected.trim_end_matches('…')), "{call:?}: {end}");
        let told = rig.events("upload", &["why"]);
        assert_eq!(told, [json!(["failed", "the storage failed"])], "{call:?}");
        assert_eq!(content(&rig, "/f").await, None);
    }
}

#[tokio::test]
async fn in_clear_text_the_end_of_the_stream_is_the_end() {
    let rig = Rig::optional();
    let mut far = rig.alice().await;
    let mut data = far.begin("STOR f", "150 go on").await;
    data.write_all(b"content").await.unwrap();
    drop(data);
    far.hears("226 7 bytes were stored").await;
}

#[tokio::test]
async fn where_farewells_are_not_asked_for_any_end_is_one() {
    let rig = Rig::new(Terms {
        options: json!({"close_notify": "lenient"}),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    assert_eq!(
        far.put_and_cut("STOR f", b"content").await,
        "226 7 bytes were stored"
    );
}

#[tokio::test]
async fn whoever_may_not_look_may_add_all_the_same() {
    let rig = Rig::new(Terms {
        mount: json!({"verbs": ["create", "append"]}),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    for _ in 0..2 {
        assert_eq!(far.put("APPE log", b"line").await, "226 4 bytes were stored");
    }
    assert_eq!(rig.events("stat", &["path"]), Vec::<serde_json::Value>::new());
}
