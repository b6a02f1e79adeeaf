//! A world that changes under connections and sessions.

use portreeve_vfs::{FsErrorKind, Links, WriteMode};

use super::*;

#[tokio::test]
async fn a_connection_from_before_a_reload_passes_the_new_chain() {
    let rig = Rig::plain();
    let mut connection = rig.knock().await;
    let nobody = World::new(
        Chain::default(),
        Resolver::default(),
        BTreeMap::new(),
        LimitsOptions::default(),
    );
    rig.gate.swap(nobody);
    let answer = try_sign_in(&mut connection, "open").await;
    assert!(matches!(answer, SignIn::Refused), "{answer:?}");
    assert_eq!(rig.keeper.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_changes_during_a_sign_in_is_asked_about_at_once() {
    let rig = Rig::plain();
    rig.keeper.turns.forget_permits(1000);
    let mut connection = rig.knock().await;
    let (answer, ()) = tokio::join!(try_sign_in(&mut connection, "open"), async {
        until(async || rig.keeper.asked.load(Ordering::SeqCst) == 1).await;
        rig.gate.swap(rig.world(&Terms {
            verbs: Some(&["create"]),
            ..Terms::default()
        }));
        rig.keeper.turns.add_permits(1);
    });
    let SignIn::Welcome(session) = answer else {
        panic!("{answer:?}")
    };
    let listed = session.fs().list(&p("/d"), None).await;
    assert!(matches!(
        listed.err().map(|e| e.kind()),
        Some(FsErrorKind::Refused | FsErrorKind::NotFound)
    ));
    rig.keeper.closed.store(true, Ordering::SeqCst);
    rig.keeper.changes.fetch_add(1, Ordering::SeqCst);
    assert_eq!(
        session.fs().stat(&p("/"), Links::Keep).await.unwrap_err().kind(),
        FsErrorKind::Cancelled
    );
    assert_eq!(session.end_reason(), Some("revoked"));
}

#[tokio::test]
async fn an_idle_session_follows_with_the_sweep() {
    let rig = Rig::plain();
    let sessions = [rig.session().await, rig.session().await];
    rig.keeper.closed.store(true, Ordering::SeqCst);
    rig.gate.sweep().await;
    assert!(
        sessions.iter().all(|s| !s.ended().is_cancelled()),
        "nothing told of a change"
    );
    rig.keeper.changes.fetch_add(1, Ordering::SeqCst);
    rig.gate.sweep().await;
    assert!(sessions.iter().all(|s| s.ended().is_cancelled()));
}

/// A transfer that runs while its permission is withdrawn ends, and nothing of it appears; one whose
/// permission stays goes on, whatever else changed.
#[tokio::test]
async fn a_transfer_ends_when_its_permission_is_withdrawn() {
    for (verbs, up, down) in [
        (&["full"][..], true, true),
        (&["list", "create"], true, false),
        (&["read-only"], false, true),
        (&["list"], false, false),
    ] {
        let memory = Memory::new();
        memory.plant(&p("/there"), b"content").unwrap();
        let rig = Rig::new(memory, &Terms::default());
        let session = rig.session().await;
        let download = session.fs().download(&p("/there")).await.unwrap();
        let upload = session
            .fs()
            .upload(&p("/new"), how(WriteMode::Replace))
            .await
            .unwrap();
        upload.write(0, zeros(3)).await.unwrap();
        let verbs: &'static [&'static str] = verbs;
        rig.gate.swap(rig.world(&Terms {
            verbs: Some(verbs),
            ..Terms::default()
        }));
        rig.gate.sweep().await;
        assert_eq!(download.read(0, 7, Vec::new()).await.is_ok(), down, "{verbs:?}");
        assert_eq!(upload.write(3, zeros(3)).await.is_ok(), up, "{verbs:?}");
        assert_eq!(upload.commit().await.is_ok(), up, "{verbs:?}");
        drop(download);
        let visible = rig
            .storage
            .stat(&session.fs().live().cx, &p("/new"), Links::Keep)
            .await;
        assert_eq!(visible.is_ok(), up, "{verbs:?}");
        let outcome = |ok| vec![if ok { "ok" } else { "refused" }.to_owned()];
        assert_eq!(rig.outcomes("upload"), outcome(up), "{verbs:?}");
        assert_eq!(rig.outcomes("download"), outcome(down), "{verbs:?}");
    }
}
