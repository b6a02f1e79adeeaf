//! The choke point, from knock to event, over a memory storage.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod desk;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use desk::{desk, desk_with, origin, path, try_in, world};
use portreeve_model::{Timestamp, Verb};
use portreeve_session::{
    Attrs, Audience, DigestKind, FsError, FsErrorKind, LimitsOptions, Links, OpenWrite, Removal, Rename,
    Session, SignIn, Upload, WriteMode,
};

const FULL: &str = r#"[{"path":"/","storage":"files","subpath":"/{user}","verbs":"full"}]"#;

async fn open(session: &Session, at: &str, mode: WriteMode) -> Result<Upload, FsError> {
    session.fs().upload(&path(at), OpenWrite::new(mode)).await
}

async fn put(session: &Session, at: &str, content: &str) -> Result<(), FsError> {
    let upload = open(session, at, WriteMode::Replace).await?;
    upload
        .write(0, vec![Bytes::copy_from_slice(content.as_bytes())])
        .await?;
    upload.commit().await.map(|_| ())
}

async fn get(session: &Session, at: &str) -> Result<String, FsError> {
    let download = session.fs().download(&path(at)).await?;
    Ok(String::from_utf8(download.read(0, 1 << 20, Vec::new()).await?).unwrap())
}

fn kind<T>(result: Result<T, FsError>) -> Option<FsErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn what_happens_is_recorded_once_and_in_order() {
    let desk = desk(FULL);
    let session = desk.session("alice").await;
    put(&session, "/a", "hello").await.unwrap();
    assert_eq!(get(&session, "/a").await.unwrap(), "hello");
    session
        .fs()
        .make_dir(&path("/d"), Attrs::default())
        .await
        .unwrap();
    session
        .fs()
        .rename(&path("/a"), &path("/d/b"), Rename::NoReplace)
        .await
        .unwrap();
    session.fs().stat(&path("/d/b"), Links::Follow).await.unwrap();
    assert_eq!(
        kind(session.fs().stat(&path("/none"), Links::Follow).await),
        Some(FsErrorKind::NotFound)
    );
    session.fs().list(&path("/d"), None).await.unwrap();
    session.fs().remove(&path("/d/b"), Removal::File).await.unwrap();
    session.fs().remove(&path("/d"), Removal::Dir).await.unwrap();
    assert_eq!(
        kind(session.fs().remove(&path("/d"), Removal::Dir).await),
        Some(FsErrorKind::NotFound)
    );
    drop(session);
    assert_eq!(
        desk.events(),
        [
            "login ok alice",
            "upload ok /a",
            "download ok /a",
            "make-dir ok /d",
            "rename ok /a",
            "list ok /d",
            "remove-file ok /d/b",
            "remove-dir ok /d",
            "remove-dir failed /d",
            "logout ok closed",
        ]
    );
    assert_eq!(desk.last("download")["bytes"], 5);
}

#[tokio::test]
async fn people_do_not_meet_in_their_folders() {
    let desk = desk(FULL);
    let (alice, bob) = (desk.session("alice").await, desk.session("bob").await);
    put(&alice, "/secret", "x").await.unwrap();
    assert_eq!(kind(get(&bob, "/secret").await), Some(FsErrorKind::NotFound));
    assert_eq!(
        kind(get(&bob, "/../alice/secret").await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_missing_verb_refuses_and_is_recorded() {
    let desk = desk(
        r#"[{"path":"/in","storage":"s","subpath":"in","verbs":["create"]},
            {"path":"/out","storage":"s","subpath":"out","verbs":"read-only"},
            {"path":"/all","storage":"s","subpath":"all","verbs":"full",
             "rules":[{"pattern":"/keep/**","effect":"deny","verbs":["delete","overwrite"]}]}]"#,
    );
    let session = desk.session("alice").await;
    let fs = session.fs();
    put(&session, "/in/a", "1").await.unwrap();
    // A drop box: what is there cannot be replaced, seen or read.
    assert_eq!(
        kind(put(&session, "/in/a", "2").await),
        Some(FsErrorKind::Refused)
    );
    assert_eq!(kind(get(&session, "/in/a").await), Some(FsErrorKind::NotFound));
    assert_eq!(
        kind(fs.stat(&path("/in/a"), Links::Follow).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(fs.list(&path("/in"), None).await),
        Some(FsErrorKind::NotFound)
    );
    assert!(fs.stat(&path("/in"), Links::Follow).await.unwrap().is_dir());
    for (at, want) in [
        ("/out/a", Some(FsErrorKind::Refused)),
        ("/nowhere/a", Some(FsErrorKind::NotFound)),
    ] {
        assert_eq!(kind(put(&session, at, "x").await), want, "{at}");
    }
    fs.make_dir(&path("/all/keep"), Attrs::default()).await.unwrap();
    put(&session, "/all/keep/a", "1").await.unwrap();
    assert_eq!(
        kind(put(&session, "/all/keep/a", "2").await),
        Some(FsErrorKind::Refused)
    );
    assert_eq!(
        kind(fs.remove(&path("/all/keep/a"), Removal::File).await),
        Some(FsErrorKind::Refused)
    );
    put(&session, "/all/b", "1").await.unwrap();
    let over = fs
        .rename(&path("/all/b"), &path("/all/keep/a"), Rename::Replace)
        .await;
    assert_eq!(kind(over), Some(FsErrorKind::Refused));
    assert_eq!(get(&session, "/all/keep/a").await.unwrap(), "1");
    assert!(
        desk.events()
            .contains(&"remove-file refused /all/keep/a".to_owned()),
        "{:?}",
        desk.events()
    );
    assert!(!fs.allows(&path("/all/keep/a"), Verb::Delete) && fs.allows(&path("/all/b"), Verb::Delete));
    // No mount can be removed or renamed, whatever the verbs.
    assert!(fs.remove(&path("/all"), Removal::Dir).await.is_err());
    assert!(
        fs.rename(&path("/all"), &path("/other"), Rename::NoReplace)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn one_who_may_only_create_loses_the_race_for_a_name() {
    let desk = desk(r#"[{"path":"/","storage":"s","verbs":["list","read","create"]}]"#);
    let session = desk.session("alice").await;
    let upload = open(&session, "/a", WriteMode::Replace).await.unwrap();
    put(&session, "/a", "first").await.unwrap();
    upload
        .write(0, vec![Bytes::from_static(b"second")])
        .await
        .unwrap();
    assert_eq!(kind(upload.commit().await), Some(FsErrorKind::Exists));
    assert_eq!(get(&session, "/a").await.unwrap(), "first");
}

#[tokio::test]
async fn own_view_shows_what_is_being_written_and_nobody_else_sees_it() {
    let desk = desk(r#"[{"path":"/","storage":"s","verbs":"full"}]"#);
    let (mine, other) = (desk.session("alice").await, desk.session("alice").await);
    let upload = open(&mine, "/a.filepart", WriteMode::Replace).await.unwrap();
    upload
        .write(0, vec![Bytes::from_static(b"12"), Bytes::from_static(b"345")])
        .await
        .unwrap();
    let entry = mine.fs().stat(&path("/a.filepart"), Links::Keep).await.unwrap();
    assert_eq!(entry.size, Some(5));
    let mut listing = mine.fs().list(&path("/"), None).await.unwrap();
    let names: Vec<_> = listing
        .next(10)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|e| e.name)
        .collect();
    assert_eq!(
        names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a.filepart"]
    );
    assert_eq!(listing.next(10).await.unwrap().len(), 0);
    assert_eq!(
        kind(other.fs().stat(&path("/a.filepart"), Links::Keep).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(mine.fs().download(&path("/a.filepart")).await),
        Some(FsErrorKind::Incomplete)
    );

    // Times, a rename, and a removal act on the pending write.
    let stamp = Timestamp::from_seconds(1_000_000);
    let times = Attrs {
        modified: Some(stamp),
        ..Attrs::default()
    };
    mine.fs()
        .set_attrs(&path("/a.filepart"), times, Links::Follow)
        .await
        .unwrap();
    mine.fs()
        .rename(&path("/a.filepart"), &path("/a"), Rename::NoReplace)
        .await
        .unwrap();
    assert_eq!(upload.path(), path("/a"));
    upload.commit().await.unwrap();
    let entry = other.fs().stat(&path("/a"), Links::Keep).await.unwrap();
    assert_eq!((entry.size, entry.modified), (Some(5), Some(stamp)));

    let doomed = open(&mine, "/b", WriteMode::Replace).await.unwrap();
    mine.fs().remove(&path("/b"), Removal::File).await.unwrap();
    assert_eq!(kind(doomed.commit().await), Some(FsErrorKind::NotFound));
    assert_eq!(
        kind(mine.fs().stat(&path("/b"), Links::Keep).await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_dropped_upload_is_kept_for_its_owner_and_recorded_as_failed() {
    let desk = desk(r#"[{"path":"/","storage":"s","verbs":"full"}]"#);
    let session = desk.session("alice").await;
    let upload = open(&session, "/a", WriteMode::Replace).await.unwrap();
    upload.write(0, vec![Bytes::from_static(b"123")]).await.unwrap();
    drop(upload);
    let kept = async {
        loop {
            if let Some(partial) = session.fs().partial(&path("/a")).await.unwrap() {
                return partial.size;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), kept).await.unwrap(),
        3
    );
    assert_eq!(
        kind(session.fs().stat(&path("/a"), Links::Follow).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        desk.session("bob").await.fs().partial(&path("/a")).await.unwrap(),
        None
    );
    let event = desk.last("upload");
    assert_eq!(
        (event["outcome"].as_str(), event["kept"].as_u64()),
        (Some("failed"), Some(3))
    );
    let resumed = open(&session, "/a", WriteMode::Resume { at: 3 }).await.unwrap();
    resumed.write(3, vec![Bytes::from_static(b"45")]).await.unwrap();
    resumed.commit().await.unwrap();
    assert_eq!(get(&session, "/a").await.unwrap(), "12345");
}

#[tokio::test]
async fn errors_stick() {
    let desk = desk(r#"[{"path":"/","storage":"s","verbs":"full","limits":{"max_file_size":"4 B"}}]"#);
    let session = desk.session("alice").await;
    let upload = open(&session, "/a", WriteMode::Replace).await.unwrap();
    upload.write(0, vec![Bytes::from_static(b"123")]).await.unwrap();
    let large = upload.write(3, vec![Bytes::from_static(b"45")]).await;
    assert_eq!(kind(large), Some(FsErrorKind::TooLarge));
    assert_eq!(
        kind(upload.write(3, vec![Bytes::from_static(b"4")]).await),
        Some(FsErrorKind::TooLarge)
    );
    assert_eq!(kind(upload.sync().await), Some(FsErrorKind::TooLarge));
    assert_eq!(kind(upload.commit().await), Some(FsErrorKind::TooLarge));
    assert_eq!(kind(get(&session, "/a").await), Some(FsErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_is_not_racy_and_gives_back() {
    let desk = desk(r#"[{"path":"/","storage":"s","verbs":"full","limits":{"quota":"10000 B"}}]"#);
    let session = desk.session("alice").await;
    let tries = (0..32).map(|n| {
        let session = session.clone();
        tokio::spawn(async move { put(&session, &format!("/f{n}"), &"x".repeat(1000)).await })
    });
    let mut whole = 0;
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(()) => whole += 1,
            Err(error) => assert_eq!(error.kind(), FsErrorKind::Quota, "{error}"),
        }
    }
    assert!(whole <= 10, "{whole} files of 1,000 bytes in a quota of 10,000");
    for n in 0..32 {
        let _ = session.fs().remove(&path(&format!("/f{n}")), Removal::File).await;
    }
    // All of it is free again, and replacing does not leak.
    for _ in 0..5 {
        put(&session, "/whole", &"y".repeat(5000)).await.unwrap();
    }
    let early = OpenWrite {
        size_hint: Some(9000),
        ..OpenWrite::new(WriteMode::CreateNew)
    };
    assert_eq!(
        kind(session.fs().upload(&path("/big"), early).await),
        Some(FsErrorKind::Quota)
    );
    put(&session, "/rest", &"z".repeat(5000)).await.unwrap();
    assert_eq!(kind(put(&session, "/one", "1").await), Some(FsErrorKind::Quota));
}

#[tokio::test]
async fn a_world_that_changes_reaches_live_sessions() {
    let desk = desk(FULL);
    let (alice, bob) = (desk.session("alice").await, desk.session("bob").await);
    put(&alice, "/a", "1").await.unwrap();
    let read_only = r#"[{"path":"/","storage":"files","subpath":"/{user}","verbs":"read-only"}]"#;
    desk.gate.swap(world(
        read_only,
        &desk.memory,
        &desk.method,
        LimitsOptions::default(),
    ));
    assert_eq!(kind(put(&alice, "/b", "1").await), Some(FsErrorKind::Refused));
    assert_eq!(get(&alice, "/a").await.unwrap(), "1");

    let upload = get(&bob, "/none");
    assert_eq!(kind(upload.await), Some(FsErrorKind::NotFound));
    desk.method.bob_is_gone.store(true, Ordering::SeqCst);
    desk.method.changes.fetch_add(1, Ordering::SeqCst);
    desk.gate.sweep().await;
    assert!(bob.ended().is_cancelled() && !alice.ended().is_cancelled());
    assert_eq!(
        kind(bob.fs().stat(&path("/"), Links::Follow).await),
        Some(FsErrorKind::Cancelled)
    );
    drop(bob);
    assert!(desk.events().contains(&"logout ok revoked".to_owned()));
}

#[tokio::test]
async fn tries_and_permits_have_an_end() {
    let limits = LimitsOptions {
        auth_attempts: 2,
        sessions_per_user: 1,
        connections_per_ip: 2,
        ..Default::default()
    };
    let desk = desk_with(FULL, limits, None);
    let mut connection = desk.knock().await;
    assert!(matches!(
        try_in(&mut connection, "alice", "wrong").await,
        SignIn::Refused
    ));
    assert!(matches!(
        try_in(&mut connection, "nobody", "right").await,
        SignIn::Closed
    ));
    assert!(matches!(
        try_in(&mut connection, "alice", "right").await,
        SignIn::Closed
    ));
    let second = desk.knock().await;
    assert!(
        desk.gate
            .knock(origin("192.0.2.1:7"), Audience::Transfer)
            .await
            .is_err()
    );
    drop((connection, second));
    let session = desk.session("alice").await;
    let mut more = desk.knock().await;
    assert!(matches!(
        try_in(&mut more, "alice", "right").await,
        SignIn::Full(_)
    ));
    drop(session);
    assert!(matches!(
        try_in(&mut more, "alice", "right").await,
        SignIn::Welcome(_)
    ));
    let events = desk.events();
    assert_eq!(
        events.iter().filter(|e| *e == "login refused alice").count(),
        2,
        "{events:?}"
    );
}

#[tokio::test]
async fn a_digest_is_of_what_passed() {
    let desk = desk_with(FULL, LimitsOptions::default(), Some(DigestKind::Sha256));
    let session = desk.session("alice").await;
    put(&session, "/a", "abc").await.unwrap();
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(desk.last("upload")["digest"], abc);
    get(&session, "/a").await.unwrap();
    assert_eq!(desk.last("download")["digest"], abc);
    let download = session.fs().download(&path("/a")).await.unwrap();
    download.read(1, 2, Vec::new()).await.unwrap();
    drop(download);
    assert!(desk.last("download")["digest"].is_null());
}

#[tokio::test]
async fn a_killed_session_stops_its_transfers() {
    let desk = desk(FULL);
    let session = desk.session("alice").await;
    put(&session, "/a", "abc").await.unwrap();
    let download = session.fs().download(&path("/a")).await.unwrap();
    let upload = Arc::new(open(&session, "/b", WriteMode::Replace).await.unwrap());
    let listed = desk.gate.sessions();
    assert_eq!(
        (listed.len(), listed[0].transfers, listed[0].user.as_str()),
        (1, 2, "alice")
    );
    assert!(desk.gate.kill(session.id()));
    assert_eq!(
        kind(download.read(0, 1, Vec::new()).await),
        Some(FsErrorKind::Cancelled)
    );
    assert_eq!(
        kind(upload.write(0, vec![Bytes::from_static(b"x")]).await),
        Some(FsErrorKind::Cancelled)
    );
    assert_eq!(kind(upload.commit().await), Some(FsErrorKind::Cancelled));
    assert_eq!(session.end_reason(), Some("killed"));
}

#[tokio::test]
async fn nothing_is_done_unrecorded() {
    // A syslog socket that is not there refuses every record.
    let desk = desk(FULL);
    let session = desk.session("alice").await;
    let options: portreeve_session::AuditOptions =
        serde_json::from_str(r#"{"sinks":[{"type":"syslog","socket":"/nowhere"}]}"#).unwrap();
    desk.gate
        .swap_audit(portreeve_session::audit::Audit::open(&options, std::path::Path::new("/")).unwrap());
    let first = session.fs().make_dir(&path("/d"), Attrs::default()).await;
    assert_eq!(kind(first), Some(FsErrorKind::Backend));
    assert_eq!(kind(put(&session, "/a", "1").await), Some(FsErrorKind::Backend));
    assert!(desk.gate.audit_lost() > 0);
    assert!(matches!(
        try_in(&mut desk.knock().await, "alice", "right").await,
        SignIn::Refused
    ));
}
