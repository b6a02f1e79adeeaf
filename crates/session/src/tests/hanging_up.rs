//! A client that hangs up in mid-act, and the door that drops the operation with it.

use std::{future::Future, pin::pin, task::Poll};

use portreeve_vfs::{FileSystem as _, Links, OpCx, Owner, Rename, WriteMode};
use tokio_util::sync::CancellationToken;

use super::{storage::Slow, *};

/// Polls once, then gives up.
async fn begin_and_drop<T>(act: impl Future<Output = T>) {
    let mut act = pin!(act);
    std::future::poll_fn(|cx| {
        assert!(
            act.as_mut().poll(cx).is_pending(),
            "it ended before it could be dropped"
        );
        Poll::Ready(())
    })
    .await;
}

fn bob() -> OpCx {
    let id = portreeve_model::SessionId::fresh();
    OpCx::new(id, Owner("bob".into()), CancellationToken::new())
}

#[tokio::test]
async fn a_commit_that_was_begun_is_recorded_as_it_ended() {
    let (slow, memory, answers) = Slow::new();
    let rig = Rig::new(slow, &Terms::default());
    let session = rig.session().await;
    let upload = session
        .fs()
        .upload(&p("/a"), how(WriteMode::Replace))
        .await
        .unwrap();
    upload.write(0, zeros(10)).await.unwrap();
    begin_and_drop(upload.commit()).await;
    drop(upload);
    answers.add_permits(1);
    until(async || !rig.outcomes("upload").is_empty()).await;
    assert!(memory.stat(&bob(), &p("/a"), Links::Keep).await.is_ok());
    assert_eq!(rig.outcomes("upload"), ["ok"]);
    let info = rig.gate.sessions().remove(0);
    assert_eq!((info.transfers, info.bytes_written), (0, 10));
    assert!(session.fs().live().pending.is_empty());
}

#[tokio::test]
async fn a_rename_that_was_begun_is_recorded_as_it_ended() {
    let (slow, memory, answers) = Slow::new();
    memory.plant(&p("/a"), b"x").unwrap();
    let rig = Rig::new(slow, &Terms::default());
    let session = rig.session().await;
    begin_and_drop(session.fs().rename(&p("/a"), &p("/b"), Rename::NoReplace)).await;
    answers.add_permits(1);
    until(async || !rig.outcomes("rename").is_empty()).await;
    assert_eq!(rig.outcomes("rename"), ["ok"]);
}

/// Tries to sign in, hangs up before the answer, and has the try go on to its end.
async fn hang_up_while_signing_in(rig: &Rig, word: &str) {
    rig.keeper.turns.forget_permits(1000);
    let mut connection = rig.knock().await;
    begin_and_drop(try_sign_in(&mut connection, word)).await;
    drop(connection);
    assert_eq!(
        rig.gate.connections(),
        1,
        "the try still holds the connection's permit"
    );
    rig.keeper.turns.add_permits(1);
    until(async || rig.gate.connections() == 0).await;
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_is_counted_all_the_same() {
    let rig = Rig::plain();
    hang_up_while_signing_in(&rig, "wrong").await;
    assert_eq!(*rig.told.0.lock(), [End::Refused]);
    assert_eq!(rig.outcomes("login"), ["refused"]);
}

#[tokio::test]
async fn a_sign_in_that_nobody_waits_for_leaves_no_session() {
    let rig = Rig::plain();
    hang_up_while_signing_in(&rig, "open").await;
    assert!(rig.gate.sessions().is_empty());
    assert_eq!(*rig.told.0.lock(), [End::Accepted]);
    let acts: Vec<_> = rig.events().into_iter().map(|(act, ..)| act).collect();
    assert_eq!(acts, ["login", "logout"]);
}

/// A session that is ended in mid-file: what was read is no whole download.
#[tokio::test]
async fn a_download_that_an_end_of_the_session_cuts_has_failed() {
    for (read, outcome) in [(4, "failed"), (10, "ok")] {
        let rig = Rig::plain();
        let session = rig.session().await;
        put(&session, "/a", 10).await.unwrap();
        let download = session.fs().download(&p("/a")).await.unwrap();
        download.read(0, read, Vec::new()).await.unwrap();
        session.end("revoked");
        drop(download);
        assert_eq!(rig.outcomes("download"), [outcome]);
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_kept_once() {
    let rig = Rig::with_quota(100);
    let session = rig.session().await;
    let upload = session
        .fs()
        .upload(&p("/a"), how(WriteMode::Replace))
        .await
        .unwrap();
    upload.write(0, zeros(10)).await.unwrap();
    drop(upload);
    until(async || !rig.outcomes("upload").is_empty()).await;
    assert_eq!(session.fs().partial(&p("/a")).await.unwrap().unwrap().size, 10);
    assert_eq!(
        (rig.outcomes("upload"), rig.used().await),
        (vec!["failed".to_owned()], 10)
    );
}
