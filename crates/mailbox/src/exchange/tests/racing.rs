//! What others do between two calls of ours, and what Graph leaves out.

use portreeve_tests_microsoft::{Attachment, Hold, Message as Mail};

use super::*;

/// Waits until a call is held up.
async fn held(hold: Hold) -> Hold {
    let waiting = tokio::task::spawn_blocking(move || {
        assert!(hold.wait(1, Duration::from_secs(20)));
        hold
    });
    waiting.await.unwrap()
}

/// Messages in the Inbox, listed and followed: the ids by which they were delivered.
async fn followed(world: &World, subjects: &[&str]) -> (FolderId, Vec<String>) {
    let deliver = |subject: &&str| {
        world
            .mailbox
            .deliver("Inbox", Mail::new(subject).file("a.txt", "1"))
    };
    let ids = subjects.iter().map(deliver).collect();
    let inbox = world.inbox().await;
    assert_eq!(world.listing(&inbox).await.len(), subjects.len());
    world.settle().await;
    (inbox, ids)
}

async fn subjects(world: &World, inbox: &FolderId) -> Vec<String> {
    world.listing(inbox).await.into_keys().collect()
}

#[tokio::test]
async fn what_changes_between_the_listing_and_the_first_round_is_not_lost() {
    let world = World::new();
    let deliver = |subject: &str| {
        world
            .mailbox
            .deliver("Inbox", Mail::new(subject).file("a.txt", "1"))
    };
    deliver("stays");
    let goes = deliver("goes");
    let inbox = world.inbox().await;
    let hold = world.standin.faults().hold("/messages/delta?");
    assert_eq!(world.listing(&inbox).await.len(), 2);
    let hold = held(hold).await;
    deliver("comes");
    world.mailbox.delete_message(&goes);
    hold.release();
    world.settle().await;
    world.expire().await;
    assert_eq!(subjects(&world, &inbox).await, ["comes", "stays"]);
}

#[tokio::test]
async fn a_message_that_is_told_to_be_elsewhere_is_not_here() {
    let world = World::new();
    let (inbox, ids) = followed(&world, &["M"]).await;
    world.standin.faults().tells_moved(true);
    world.mailbox.move_message(&ids[0], "Archive");
    world.expire().await;
    world.standin.clear_log();
    assert!(world.listing(&inbox).await.is_empty());
    assert_eq!(world.standin.calls(), 1, "it is not asked for either");
}

#[tokio::test]
async fn a_message_that_moves_or_goes_while_it_is_asked_for_is_not_here() {
    let world = World::new();
    let (inbox, ids) = followed(&world, &["moves", "goes", "stays"]).await;
    for (n, id) in ids.iter().enumerate() {
        world.mailbox.change_subject(id, &format!("changed {n}"));
    }
    world.expire().await;
    let hold = world.standin.faults().hold("$batch");
    let (listing, ()) = tokio::join!(world.listing(&inbox), async {
        let hold = held(hold).await;
        world.mailbox.move_message(&ids[0], "Archive");
        world.mailbox.delete_message(&ids[1]);
        hold.release();
    });
    assert_eq!(listing.into_keys().collect::<Vec<_>>(), ["changed 2"]);
}

#[tokio::test]
async fn a_message_that_goes_while_its_attachments_are_asked_for_takes_no_other_along() {
    let world = World::new();
    world.standin.faults().no_inner_select(true);
    let deliver = |subject: &str| {
        world
            .mailbox
            .deliver("Inbox", Mail::new(subject).file("a.txt", "1"))
    };
    let (goes, _) = (deliver("goes"), deliver("stays"));
    let inbox = world.inbox().await;
    let hold = world.standin.faults().hold("$batch");
    let (listing, ()) = tokio::join!(world.listing(&inbox), async {
        let hold = held(hold).await;
        world.mailbox.delete_message(&goes);
        hold.release();
    });
    assert_eq!(listing.keys().collect::<Vec<_>>(), ["stays"]);
}

#[tokio::test]
async fn a_mailbox_that_is_away_while_a_message_is_asked_for_has_not_lost_it() {
    let world = World::new();
    let (inbox, ids) = followed(&world, &["M"]).await;
    world.mailbox.change_subject(&ids[0], "changed");
    world.expire().await;
    let hold = world.standin.faults().hold("$batch");
    let (refused, ()) = tokio::join!(world.messages(&inbox), async {
        let hold = held(hold).await;
        world.mailbox.enabled(false);
        hold.release();
    });
    assert_eq!(kind(refused), Some(FsErrorKind::Backend));
    world.mailbox.enabled(true);
    assert_eq!(subjects(&world, &inbox).await, ["changed"]);
}

/// The rest of a list that came along in part decides over deletions.
#[tokio::test]
async fn attachments_that_do_not_all_come_along_are_asked_to_the_end() {
    let world = World::new();
    world.standin.faults().expand_most(Some(2));
    world.standin.faults().page_size(Some(2));
    let mail = (0..7).fold(Mail::new("M"), |mail, n| mail.file(&format!("{n}.txt"), "1"));
    world.mailbox.deliver("Inbox", mail);
    let inbox = world.inbox().await;
    assert_eq!(world.listing(&inbox).await["M"].len(), 7);
    let id = world.message(&inbox, "M").await.id.clone();
    let asked = world.store.message(&inbox, &id).await.unwrap();
    assert!(asked.complete);
    assert_eq!(asked.attachments.len(), 7);
}

#[tokio::test]
async fn attachments_that_do_not_come_along_any_more_are_asked_by_themselves() {
    let world = World::new();
    let (inbox, ids) = followed(&world, &["M"]).await;
    world.standin.faults().no_inner_select(true);
    world.mailbox.change_subject(&ids[0], "changed");
    world.expire().await;
    let listing = world.listing(&inbox).await;
    assert_eq!(listing["changed"], ["a.txt"]);
    let asked = world
        .store
        .message(&inbox, &ids[0].as_str().into())
        .await
        .unwrap();
    assert!(asked.complete && asked.attachments.len() == 1);
}

#[tokio::test]
async fn what_is_told_twice_or_to_be_gone_is_asked_for_once_or_not_at_all() {
    let world = World::new();
    let (inbox, ids) = followed(&world, &["changes", "goes"]).await;
    world.standin.faults().replays(true);
    world.mailbox.change_subject(&ids[0], "changed");
    world.expire().await;
    world.standin.clear_log();
    world.listing(&inbox).await;
    let log = world.standin.log();
    let single = log.iter().filter(|call| call.target.contains("expand")).count();
    assert_eq!(single, 1, "{log:#?}");
    world.mailbox.delete_message(&ids[1]);
    world.expire().await;
    world.standin.clear_log();
    assert_eq!(subjects(&world, &inbox).await, ["changed"]);
    assert_eq!(world.standin.log().len(), 1, "{:#?}", world.standin.log());
}

#[tokio::test]
async fn a_folder_that_was_too_large_for_a_while_is_shown_again() {
    let world = World::with(|options| options.mail.max_entries = 4);
    let (inbox, ids) = followed(&world, &["a", "b"]).await;
    // One round tells of what came before it tells of what went.
    world.mailbox.deliver("Inbox", Mail::new("c").file("a.txt", "1"));
    world.mailbox.delete_message(&ids[0]);
    world.expire().await;
    world.standin.faults().page_size(Some(1));
    let first = world.messages(&inbox).await;
    assert_eq!(kind(first), Some(FsErrorKind::TooLarge));
    assert_eq!(subjects(&world, &inbox).await, ["b", "c"]);
}

#[tokio::test]
async fn a_folder_that_is_gone_takes_its_records_along() {
    let world = World::new();
    world.mailbox.folder("Inbox/Old");
    world
        .mailbox
        .deliver("Inbox/Old", Mail::new("M").file("a.txt", "1"));
    let old = world.folder("Inbox/Old").await.id;
    world.listing(&old).await;
    world.settle().await;
    let records = async || world.shelf.spaces("index\0").await.unwrap().len();
    assert_eq!(records().await, 1);
    world.mailbox.delete_folder("Inbox/Old");
    world.expire().await;
    world.inbox().await;
    assert_eq!(records().await, 0);
}

/// Ids differ in the case of one letter alone.
#[tokio::test]
async fn ids_are_told_apart_by_case() {
    let world = World::new();
    // Twins are made one after the other, messages and attachments alike.
    let ids: Vec<String> = (0..40)
        .map(|n| world.mailbox.deliver("Inbox", Mail::new(&format!("M{n}"))))
        .collect();
    for (n, id) in ids.iter().enumerate() {
        let file = Attachment::file("a.txt", n.to_string().into_bytes());
        world.mailbox.attach(id, file);
    }
    let inbox = world.inbox().await;
    let all = world.messages(&inbox).await.unwrap();
    let folded: std::collections::BTreeSet<String> =
        all.iter().map(|message| message.id.0.to_lowercase()).collect();
    assert!(
        all.len() == 40 && folded.len() == 20,
        "{} {}",
        all.len(),
        folded.len()
    );
    for message in all {
        let part = &message.attachments[0].id;
        let content = world.store.open_part(&inbox, &message.id, part).await.unwrap();
        let got = String::from_utf8(read(&*content).await.unwrap()).unwrap();
        assert_eq!(format!("M{got}"), message.summary.subject);
    }
}
