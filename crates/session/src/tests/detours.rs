//! Detours around a right: by a handle, by a name, by a claim, by another mount, by an old connection.

use portreeve_vfs::{Attrs, FsErrorKind, Rename, WriteMode};

use super::*;
use crate::Effect;

fn rule(pattern: &str, effect: Effect, verbs: &[&str]) -> RuleOptions {
    RuleOptions {
        pattern: pattern.into(),
        effect,
        verbs: Some(VerbWords::Many(verbs.iter().map(ToString::to_string).collect())),
    }
}

fn planted(files: &[&str]) -> Memory {
    let memory = Memory::new();
    for file in files {
        memory.plant(&p(file), b"content").unwrap();
    }
    memory
}

async fn content(session: &Session, path: &str) -> Vec<u8> {
    let download = session.fs().download(&p(path)).await.unwrap();
    download.read(0, 100, Vec::new()).await.unwrap()
}

/// Rules hold for those who may only read, and none of them gives such a person more.
#[tokio::test]
async fn a_person_who_may_only_read_stays_under_the_rules() {
    let terms = Terms {
        rules: vec![
            rule("/private/**", Effect::Deny, &["full"]),
            rule("/drop/**", Effect::Allow, &["full"]),
        ],
        ..Terms::default()
    };
    let rig = Rig::new(planted(&["/private/secret", "/drop/there"]), &terms);
    *rig.keeper.claims.lock() = [(portreeve_auth::READ_ONLY_CLAIM.to_owned(), "true".to_owned())].into();
    let session = rig.session().await;
    let read = session.fs().download(&p("/private/secret")).await;
    assert!(read.is_err(), "a rule was forgotten");
    assert!(session.fs().download(&p("/drop/there")).await.is_ok());
    let written = put(&session, "/drop/new", 3).await.unwrap_err();
    assert_eq!(written.kind(), FsErrorKind::Refused);
}

/// Whoever may append changes nothing of what was there: not by the handle's attributes, nor by offset.
#[tokio::test]
async fn to_append_is_not_to_overwrite() {
    let terms = Terms {
        verbs: Some(&["list", "read", "create", "append"]),
        ..Terms::default()
    };
    let session = Rig::new(planted(&["/log"]), &terms).session().await;
    let upload = session
        .fs()
        .upload(&p("/log"), how(WriteMode::Append { create: true }))
        .await
        .unwrap();
    for attrs in [
        Attrs {
            size: Some(3),
            ..Attrs::default()
        },
        Attrs {
            mode: Some(0o777),
            ..Attrs::default()
        },
        Attrs {
            modified: Some(portreeve_model::Timestamp::default()),
            ..Attrs::default()
        },
    ] {
        let set = upload.set_attrs(attrs).await.unwrap_err();
        assert_eq!(set.kind(), FsErrorKind::Refused, "{attrs:?}");
    }
    upload.append(vec![Bytes::from_static(b"+")]).await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(content(&session, "/log").await, b"content+");

    let resumed = how(WriteMode::Resume { at: 8 });
    let upload = session.fs().upload(&p("/log"), resumed).await.unwrap();
    let below = upload.write(2, zeros(1)).await.unwrap_err();
    assert_eq!(below.kind(), FsErrorKind::Refused);
    assert!(upload.commit().await.is_err(), "a refused write sticks (V4)");
    assert_eq!(content(&session, "/log").await, b"content+");

    // A file of one's own, which nobody sees yet, is another matter.
    let upload = session
        .fs()
        .upload(&p("/new"), how(WriteMode::Append { create: true }))
        .await;
    let upload = upload.unwrap();
    upload.append(zeros(5)).await.unwrap();
    let attrs = Attrs {
        size: Some(2),
        mode: Some(0o600),
        ..Attrs::default()
    };
    upload.set_attrs(attrs).await.unwrap();
    assert_eq!(upload.commit().await.unwrap().size, Some(2));
}

/// An unfinished upload of somebody who may only add does not take the place of a file that came since.
#[tokio::test]
async fn a_partial_does_not_replace_what_may_only_be_added_to() {
    let terms = Terms {
        verbs: Some(&["list", "read", "create", "append"]),
        ..Terms::default()
    };
    let memory = Memory::new();
    let session = Rig::new(memory.clone(), &terms).session().await;
    let upload = session
        .fs()
        .upload(&p("/f"), how(WriteMode::Replace))
        .await
        .unwrap();
    upload.write(0, zeros(3)).await.unwrap();
    upload.keep(FsErrorKind::Cancelled.into()).await.unwrap();
    memory.plant(&p("/f"), b"theirs").unwrap();
    for mode in [WriteMode::Append { create: true }, WriteMode::Resume { at: 3 }] {
        let opened = session.fs().upload(&p("/f"), how(mode)).await;
        assert_eq!(opened.unwrap_err().kind(), FsErrorKind::Conflict, "{mode:?}");
    }
    assert_eq!(content(&session, "/f").await, b"theirs");
}

/// What may not be made under a name does not come there by a rename, alone or with its directory.
#[tokio::test]
async fn a_rename_makes_nothing_that_must_not_be_made() {
    let terms = Terms {
        rules: vec![
            rule("/**/*.exe", Effect::Deny, &["create", "overwrite", "append"]),
            rule("/shut/**", Effect::Deny, &["create"]),
        ],
        ..Terms::default()
    };
    let memory = planted(&["/a.txt", "/d/f", "/shut/old", "/x.exe"]);
    let session = Rig::new(memory, &terms).session().await;
    for (from, to, replace) in [
        ("/a.txt", "/evil.exe", Rename::NoReplace),
        ("/a.txt", "/evil.exe", Rename::Replace),
        ("/a.txt", "/x.exe", Rename::Replace),
        ("/a.txt", "/shut/new", Rename::NoReplace),
        ("/d", "/shut/d", Rename::NoReplace),
    ] {
        let moved = session.fs().rename(&p(from), &p(to), replace).await;
        assert_eq!(moved.unwrap_err().kind(), FsErrorKind::Refused, "{from} {to}");
    }
    // What may be replaced may be replaced by a rename too, and what lies there may stay there.
    for (from, to, replace) in [
        ("/a.txt", "/shut/old", Rename::Replace),
        ("/shut/old", "/shut/older", Rename::NoReplace),
        ("/x.exe", "/y.exe", Rename::NoReplace),
    ] {
        session.fs().rename(&p(from), &p(to), replace).await.unwrap();
    }
}

/// People who share a name (anonymous visitors) do not read each other's unfinished uploads.
#[tokio::test]
async fn what_was_left_unfinished_is_not_read_back_without_the_right_to_read() {
    for (verbs, reads) in [(&["create"][..], false), (&["create", "read"][..], true)] {
        let terms = Terms {
            verbs: Some(verbs),
            ..Terms::default()
        };
        let rig = Rig::new(Memory::new(), &terms);
        let session = rig.session().await;
        let upload = session
            .fs()
            .upload(&p("/f"), how(WriteMode::Replace))
            .await
            .unwrap();
        upload.write(0, zeros(3)).await.unwrap();
        upload.keep(FsErrorKind::Cancelled.into()).await.unwrap();
        let mut open = how(WriteMode::Append { create: true });
        open.read_back = true;
        let upload = session.fs().upload(&p("/f"), open).await.unwrap();
        assert_eq!(upload.read(0, 3, Vec::new()).await.is_ok(), reads, "{verbs:?}");
    }
}

/// A listener's part of the chain goes with it: the whole chain may let in more than it did.
#[tokio::test]
async fn nobody_signs_in_on_a_listener_that_was_removed() {
    let rig = Rig::plain();
    for (listener, enters) in [("sftp", true), ("other", false)] {
        let mut connection = rig.knock().await;
        let world = rig.world(&Terms::default()).with_listeners([Arc::from(listener)]);
        rig.gate.swap(world);
        let signed_in = try_sign_in(&mut connection, "open").await;
        assert_eq!(matches!(signed_in, SignIn::Welcome(_)), enters, "{signed_in:?}");
    }
}
