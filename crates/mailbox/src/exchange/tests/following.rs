//! What changes is seen: by deltas, without a restart, and after one.

use portreeve_tests_microsoft::Message;

use super::*;

#[tokio::test]
async fn changes_of_messages_are_seen_with_the_next_look() {
    let world = World::new();
    let kept = world.mailbox.deliver(
        "Inbox",
        Message::new("kept").file("a.txt", "1").file("b.txt", "2"),
    );
    let moved = world
        .mailbox
        .deliver("Inbox", Message::new("moved").file("a.txt", "1"));
    let gone = world
        .mailbox
        .deliver("Inbox", Message::new("gone").file("a.txt", "1"));
    world.mailbox.deliver("Inbox", Message::new("bare"));
    let inbox = world.inbox().await;
    assert_eq!(world.listing(&inbox).await.len(), 3);
    world.settle().await;
    let token = world.store.change_token(&inbox).await.unwrap();

    let found = world.mailbox.message(&kept).unwrap();
    world.mailbox.delete_attachment(&kept, &found.attachments[0]);
    world.mailbox.move_message(&moved, "Archive");
    world.mailbox.delete_message(&gone);
    world
        .mailbox
        .deliver("Inbox", Message::new("new").file("n.txt", "3"));
    world.expire().await;
    assert_ne!(world.store.change_token(&inbox).await.unwrap(), token);
    let want = BTreeMap::from([
        ("kept".to_owned(), vec!["b.txt".to_owned()]),
        ("new".to_owned(), vec!["n.txt".to_owned()]),
    ]);
    assert_eq!(world.listing(&inbox).await, want);
    let archive = world.folder("Archive").await.id;
    assert!(world.listing(&archive).await.contains_key("moved"));
}

#[tokio::test]
async fn what_changes_while_the_first_round_is_read_is_not_lost() {
    let world = World::new();
    for n in 0..30 {
        world
            .mailbox
            .deliver("Inbox", Message::new(&format!("M{n}")).file("a.txt", "1"));
    }
    world.standin.faults().page_size(Some(10));
    let inbox = world.inbox().await;
    let hold = world.standin.faults().hold("/delta?%24skiptoken");
    assert_eq!(world.listing(&inbox).await.len(), 30);
    let waiting = tokio::task::spawn_blocking(move || {
        assert!(hold.wait(1, Duration::from_secs(20)));
        hold
    });
    let hold = waiting.await.unwrap();
    world
        .mailbox
        .deliver("Inbox", Message::new("late").file("a.txt", "1"));
    hold.release();
    world.settle().await;
    world.expire().await;
    assert_eq!(world.listing(&inbox).await.len(), 31);
}

#[tokio::test]
async fn folders_made_renamed_and_deleted_are_seen_with_the_next_look() {
    let world = World::new();
    world.mailbox.folder("Inbox/Old");
    world.mailbox.folder("Gone");
    world.folder("Inbox/Old").await;
    world.mailbox.folder("Inbox/New/Deep");
    world.mailbox.rename_folder("Inbox/Old", "Renamed");
    world.mailbox.delete_folder("Gone");
    world.expire().await;
    world.standin.clear_log();
    world.folder("Inbox/New/Deep").await;
    world.folder("Inbox/Renamed").await;
    let top = world.store.folders(None, None).await.unwrap().items;
    assert!(!top.iter().any(|folder| folder.name == "Gone"));
    assert_eq!(world.standin.calls(), 1, "{:?}", world.standin.log());
}

/// What we change ourselves is told by no later delta as new: it must be written down all the same.
#[tokio::test]
async fn our_own_changes_survive_a_restart() {
    let mut world = World::new();
    for subject in ["kept", "deleted", "moved", "shorter"] {
        let message = Message::new(subject).file("a.txt", "1").file("b.txt", "2");
        world.mailbox.deliver("Inbox", message);
    }
    let inbox = world.inbox().await;
    let archive = world.folder("Archive").await.id;
    world.listing(&inbox).await;
    world.settle().await;
    let of = |subject: &'static str| world.message(&inbox, subject);
    let (deleted, moved, shorter) = (of("deleted").await, of("moved").await, of("shorter").await);
    world.store.delete_message(&inbox, &deleted.id).await.unwrap();
    world
        .store
        .move_message(&inbox, &moved.id, &archive)
        .await
        .unwrap();
    let part = &shorter.attachments[0].id;
    world.store.delete_part(&inbox, &shorter.id, part).await.unwrap();
    let draft = crate::Draft {
        subject: "drafted".into(),
        file_name: "d.txt".into(),
        to: Vec::new(),
    };
    let content = Arc::new(crate::in_memory::InMemory("draft".into()));
    world.store.create_draft(&inbox, &draft, content).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        world.expire().await;
        told.push(world.listing(&inbox).await);
        world.restart();
    }
    let names: Vec<&str> = told[0].keys().map(String::as_str).collect();
    assert_eq!(names, ["drafted", "kept", "shorter"]);
    assert_eq!(told[0]["shorter"], ["b.txt"]);
    assert!(told.iter().all(|listing| *listing == told[0]), "{told:?}");
}

/// A round that breaks in the middle has changed the index already: the next one tells it again, and it is
/// written down then.
#[tokio::test]
async fn a_round_that_breaks_is_not_forgotten_at_a_restart() {
    let mut world = World::new();
    let ids: Vec<_> = (0..6)
        .map(|n| {
            let message = Message::new(&format!("M{n}")).file("a.txt", "1");
            world.mailbox.deliver("Inbox", message)
        })
        .collect();
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    world.settle().await;
    for id in &ids[..4] {
        world.mailbox.delete_message(id);
    }
    world.standin.faults().page_size(Some(2));
    world.standin.faults().fail_next(1, "skiptoken", 403);
    world.expire().await;
    assert!(
        world.messages(&inbox).await.is_err(),
        "the second page was refused"
    );
    for _ in 0..2 {
        world.expire().await;
        let left: Vec<String> = world.listing(&inbox).await.into_keys().collect();
        assert_eq!(left, ["M4", "M5"]);
        world.restart();
    }
}

#[tokio::test]
async fn a_restart_costs_one_delta_call_for_each_folder() {
    let mut world = World::new();
    for n in 0..300 {
        world
            .mailbox
            .deliver("Inbox", Message::new(&format!("M{n}")).file("a.txt", "1"));
    }
    let inbox = world.inbox().await;
    let before = world.listing(&inbox).await;
    world.settle().await;
    world
        .mailbox
        .deliver("Inbox", Message::new("meanwhile").file("a.txt", "1"));
    world.restart();
    world.standin.clear_log();
    let after = world.listing(&inbox).await;
    assert_eq!(after.len(), before.len() + 1);
    let asked: Vec<_> = world
        .standin
        .log()
        .into_iter()
        .filter(|call| call.target.starts_with("/v1.0"))
        .collect();
    // The delta, and what it told to be new.
    assert_eq!(asked.iter().filter(|call| !call.batched).count(), 2, "{asked:?}");
}

#[tokio::test]
async fn an_expired_delta_begins_anew() {
    let world = World::new();
    let first = world
        .mailbox
        .deliver("Inbox", Message::new("first").file("a.txt", "1"));
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    world.settle().await;
    world.mailbox.delete_message(&first);
    world
        .mailbox
        .deliver("Inbox", Message::new("second").file("a.txt", "1"));
    world.standin.expire_deltas();
    world.expire().await;
    world.store.look(Some(&inbox)).await.unwrap();
    let got = world.listing(&inbox).await;
    assert_eq!(got.into_keys().collect::<Vec<_>>(), ["second"]);
    // And from then on it is followed again.
    world.settle().await;
    world
        .mailbox
        .deliver("Inbox", Message::new("third").file("a.txt", "1"));
    world.expire().await;
    assert!(world.listing(&inbox).await.contains_key("third"));
}

#[tokio::test]
async fn many_changes_at_once_cost_a_listing_and_no_question_for_each() {
    let world = World::new();
    let ids: Vec<String> = (0..400)
        .map(|n| {
            world
                .mailbox
                .deliver("Inbox", Message::new(&format!("old {n}")).file("a.txt", "1"))
        })
        .collect();
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    world.settle().await;
    for (n, id) in ids.iter().enumerate() {
        world.mailbox.change_subject(id, &format!("new {n}"));
    }
    world.expire().await;
    world.standin.clear_log();
    let got = world.listing(&inbox).await;
    assert_eq!(got.len(), 400);
    assert!(got.keys().all(|subject| subject.starts_with("new")));
    // One page of the delta, two of the listing.
    assert_eq!(world.standin.calls(), 3, "{:?}", world.standin.log());
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_found() {
    let world = World::new();
    world.mailbox.folder("Doomed");
    world
        .mailbox
        .deliver("Doomed", Message::new("M").file("a.txt", "1"));
    let doomed = world.folder("Doomed").await.id;
    world.listing(&doomed).await;
    world.settle().await;
    world.mailbox.delete_folder("Doomed");
    world.expire().await;
    assert_eq!(kind(world.messages(&doomed).await), Some(FsErrorKind::NotFound));
    assert_eq!(
        kind(world.store.folders(Some(&doomed), None).await),
        Some(FsErrorKind::NotFound)
    );
}

/// The mailbox is moved to another cloud, or the option was wrong: what was kept has links that lead to where it was.
#[tokio::test]
async fn an_index_of_another_cloud_is_begun_anew_and_its_links_are_not_followed() {
    let mut world = World::new();
    world
        .mailbox
        .deliver("Inbox", Message::new("old").file("a.txt", "1"));
    let inbox = world.inbox().await;
    assert_eq!(world.listing(&inbox).await.len(), 1);
    world.settle().await;
    let other = Standin::start();
    let mailbox = other.mailbox(ADDRESS);
    mailbox.deliver("Inbox", Message::new("new").file("b.txt", "2"));
    let fresh_for = world.options.fresh_for;
    world.options = ExchangeOptions {
        fresh_for,
        ..options(&other)
    };
    world.store = open(
        &world.options,
        other.secret(),
        limits(),
        &around(&world.shelf, &world.dir),
    );
    world.standin.clear_log();
    // The stand-in makes ids alike.
    let again = world.inbox().await;
    assert_eq!(again, inbox, "the same records are looked at");
    let listing = world.listing(&again).await;
    assert_eq!(listing.keys().collect::<Vec<_>>(), ["new"]);
    assert!(world.standin.log().is_empty(), "nobody asks the former one");
}
