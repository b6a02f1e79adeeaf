//! Unfinished uploads in listings (V2): hidden by default; with `partials = "listed"` for their owner
//! alone, and never in place of anything else.

use portreeve_vfs::{Cursor, Entry, FsErrorKind, Rename, WriteMode};

use super::*;
use crate::{Effect, Upload};

fn listed() -> Terms {
    Terms {
        partials: Partials::Listed,
        ..Terms::default()
    }
}

async fn session_of(rig: &Rig, user: &str) -> Session {
    let word = Credential::Password(Secret::new("open".to_owned()));
    let user = UserName::new(user).unwrap();
    match rig.knock().await.sign_in(&user, word).await {
        SignIn::Welcome(session) => session,
        other => panic!("{other:?}"),
    }
}

async fn begin(session: &Session, path: &str, len: usize) -> Upload {
    let upload = session
        .fs()
        .upload(&p(path), how(WriteMode::Replace))
        .await
        .unwrap();
    upload.write(0, zeros(len)).await.unwrap();
    upload
}

async fn leave(session: &Session, path: &str, len: usize) {
    let why = FsErrorKind::Cancelled.into();
    begin(session, path, len).await.keep(why).await.unwrap();
}

fn tell(page: &[Entry]) -> impl Iterator<Item = String> + '_ {
    page.iter().map(|entry| {
        let (name, size) = (entry.name.as_ref().unwrap(), entry.size.unwrap_or(0));
        format!("{name}:{size}")
    })
}

/// A directory as `name:size`, in the order told, in pages of `max` that each begin at the last cursor.
async fn pages(session: &Session, dir: &str, max: usize) -> Vec<String> {
    let (mut told, mut from) = (Vec::new(), None::<Cursor>);
    loop {
        let mut listing = session.fs().list(&p(dir), from).await.unwrap();
        let page = listing.next(max).await.unwrap();
        if page.is_empty() {
            return told;
        }
        assert!(page.len() <= max);
        told.extend(tell(&page));
        from = listing.cursor();
    }
}

/// The same by one listing that is held, in order.
async fn held(session: &Session, dir: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut listing = session.fs().list(&p(dir), None).await.unwrap();
    loop {
        let page = listing.next(2).await.unwrap();
        if page.is_empty() {
            told.sort();
            return told;
        }
        told.extend(tell(&page));
    }
}

#[tokio::test]
async fn hidden_unless_the_mount_says_so() {
    let rig = Rig::plain();
    let alice = rig.session().await;
    leave(&alice, "/part", 5).await;
    assert!(held(&alice, "/").await.is_empty());
    rig.gate.swap(rig.world(&listed()));
    assert_eq!(held(&alice, "/").await, ["part:5"]);
}

#[tokio::test]
async fn for_their_owner_alone_in_any_session() {
    let rig = Rig::new(Memory::new(), &listed());
    let alice = rig.session().await;
    leave(&alice, "/part", 5).await;
    put(&alice, "/whole", 3).await.unwrap();
    let (later, bob) = (session_of(&rig, "alice").await, session_of(&rig, "bob").await);
    for session in [&alice, &later] {
        assert_eq!(held(session, "/").await, ["part:5", "whole:3"]);
    }
    assert_eq!(held(&bob, "/").await, ["whole:3"]);
    leave(&bob, "/part", 2).await;
    assert_eq!(held(&bob, "/").await, ["part:2", "whole:3"]);
    assert_eq!(held(&later, "/").await, ["part:5", "whole:3"]);
    // It is told of, nothing more.
    let read = later.fs().download(&p("/part")).await.map(drop);
    assert_eq!(read.unwrap_err().kind(), FsErrorKind::Incomplete);
}

#[tokio::test]
async fn whatever_else_is_there_comes_first() {
    let rig = Rig::new(Memory::new(), &listed());
    let alice = rig.session().await;
    put(&alice, "/file", 9).await.unwrap();
    leave(&alice, "/file", 5).await;
    assert_eq!(held(&alice, "/").await, ["file:9"]);
    // An own upload under the name, seen with its live size (V1).
    leave(&alice, "/open", 5).await;
    let resumed = how(WriteMode::Resume { at: 5 });
    let upload = alice.fs().upload(&p("/open"), resumed).await.unwrap();
    upload.write(5, zeros(2)).await.unwrap();
    assert_eq!(held(&alice, "/").await, ["file:9", "open:7"]);
    // Renamed onto what was left unfinished.
    leave(&alice, "/left", 1).await;
    let moved = begin(&alice, "/before", 3).await;
    alice
        .fs()
        .rename(&p("/before"), &p("/left"), Rename::Replace)
        .await
        .unwrap();
    assert_eq!(held(&alice, "/").await, ["file:9", "left:3", "open:7"]);
    drop((upload, moved));
}

#[tokio::test]
async fn what_the_rules_hide_stays_hidden() {
    let rule = RuleOptions {
        pattern: "/*.key".into(),
        effect: Effect::Deny,
        verbs: Some(VerbWords::Many(vec!["list".into(), "read".into()])),
    };
    let rig = Rig::new(Memory::new(), &listed());
    let alice = rig.session().await;
    leave(&alice, "/a.key", 5).await;
    leave(&alice, "/a.txt", 5).await;
    assert_eq!(held(&alice, "/").await, ["a.key:5", "a.txt:5"]);
    let ruled = Terms {
        rules: vec![rule],
        ..listed()
    };
    rig.gate.swap(rig.world(&ruled));
    assert_eq!(held(&alice, "/").await, ["a.txt:5"]);
}

#[tokio::test]
async fn every_name_once_in_pages_of_any_size() {
    let rig = Rig::new(Memory::new(), &listed());
    let alice = rig.session().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        leave(&alice, &format!("/part{n}"), n + 1).await;
        put(&alice, &format!("/whole{n}"), n + 1).await.unwrap();
        // Both: the complete file is told.
        put(&alice, &format!("/both{n}"), 9).await.unwrap();
        leave(&alice, &format!("/both{n}"), 1).await;
        expected.extend([
            format!("part{n}:{}", n + 1),
            format!("whole{n}:{}", n + 1),
            format!("both{n}:9"),
        ]);
    }
    expected.sort();
    for max in [1, 2, 3, 7, 8, 100] {
        let mut told = pages(&alice, "/", max).await;
        told.sort();
        assert_eq!(told, expected, "pages of {max}");
    }
    // A cursor from before the mount listed them means nothing any more, and says so.
    let foreign = alice
        .fs()
        .list(&p("/"), Some(Cursor([0, 0, 0, 0, 1].into())))
        .await;
    assert_eq!(foreign.map(drop).unwrap_err().kind(), FsErrorKind::Conflict);
}

#[tokio::test]
async fn one_that_is_finished_while_it_is_listed_is_told_once() {
    let rig = Rig::new(Memory::new(), &listed());
    let alice = rig.session().await;
    leave(&alice, "/part", 5).await;
    let mut listing = alice.fs().list(&p("/"), None).await.unwrap();
    let first = listing.next(10).await.unwrap();
    assert_eq!(first.len(), 1);
    let upload = alice
        .fs()
        .upload(&p("/part"), how(WriteMode::Resume { at: 5 }))
        .await
        .unwrap();
    upload.commit().await.unwrap();
    assert!(listing.next(10).await.unwrap().is_empty());
    assert_eq!(held(&alice, "/").await, ["part:5"]);
}
