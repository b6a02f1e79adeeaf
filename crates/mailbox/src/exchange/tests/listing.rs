//! What is listed: all of it, once, as what it is.

use std::collections::BTreeSet;

use portreeve_tests_microsoft::{Attachment, Message};

use super::*;
use crate::{AttachmentKind, FolderKind};

#[tokio::test]
async fn folders_of_any_depth_are_there_and_hidden_or_search_folders_are_not() {
    let world = World::new();
    world.standin.faults().page_size(Some(3));
    world.mailbox.folder("Inbox/Customers/ACME/2024");
    world.mailbox.folder_named("", "a/b: \"c\"");
    world.mailbox.hidden_folder("Secret");
    world.mailbox.folder("Secret/Below");
    world.mailbox.search_folder("With files");
    let top = world.store.folders(None, None).await.unwrap().items;
    let names: BTreeSet<&str> = top.iter().map(|folder| &*folder.name).collect();
    let want = [
        "Archive",
        "Deleted Items",
        "Drafts",
        "Inbox",
        "Junk Email",
        "Outbox",
        "Sent Items",
        "a/b: \"c\"",
    ];
    assert_eq!(names, BTreeSet::from(want));
    let kind = |name: &str| top.iter().find(|folder| folder.name == name).unwrap().kind;
    assert_eq!(kind("Inbox"), FolderKind::Inbox);
    assert_eq!(kind("Sent Items"), FolderKind::WellKnown);
    assert_eq!(kind("a/b: \"c\""), FolderKind::Ordinary);
    assert_eq!(
        world.folder("Inbox/Customers/ACME/2024").await.kind,
        FolderKind::Ordinary
    );
}

#[tokio::test]
async fn every_message_is_there_once_whatever_the_pages() {
    let world = World::new();
    let faults = world.standin.faults();
    faults.page_size(Some(7));
    faults.empty_pages(true);
    faults.replays(true);
    for n in 0..100 {
        let message = Message::new(&format!("M{n}")).file("same.txt", n.to_string().into_bytes());
        world
            .mailbox
            .deliver("Inbox", if n % 4 == 0 { Message::new("bare") } else { message });
    }
    let inbox = world.inbox().await;
    let first = world.listing(&inbox).await;
    assert_eq!(first.len(), 75);
    world.settle().await;
    assert_eq!(world.listing(&inbox).await, first);
    let ids: BTreeSet<_> = world
        .messages(&inbox)
        .await
        .unwrap()
        .iter()
        .map(|message| message.id.clone())
        .collect();
    assert_eq!(ids.len(), 75);
}

#[tokio::test]
async fn a_first_listing_costs_its_pages_and_the_next_look_one_call() {
    let world = World::new();
    for n in 0..1000 {
        let message = Message::new(&format!("M{n}")).file("a.txt", "x");
        world.mailbox.deliver("Inbox", message);
    }
    let inbox = world.inbox().await;
    let before = world.store.graph().calls();
    world.standin.clear_log();
    assert_eq!(world.listing(&inbox).await.len(), 1000);
    let listed = world
        .standin
        .log()
        .iter()
        .filter(|call| !call.target.contains("/delta"))
        .count();
    assert_eq!(listed, 5, "200 messages a page");
    world.settle().await;
    assert!(world.store.graph().calls() > before);

    world.expire().await;
    world.standin.clear_log();
    world.store.look(Some(&inbox)).await.unwrap();
    let token = world.store.change_token(&inbox).await.unwrap();
    assert_eq!(world.listing(&inbox).await.len(), 1000);
    assert_eq!(world.store.change_token(&inbox).await.unwrap(), token);
    let calls = world.standin.log().iter().filter(|call| !call.batched).count();
    assert_eq!(calls, 1, "{:?}", world.standin.log());
}

#[tokio::test]
async fn kinds_names_and_sizes() {
    let world = World::new();
    let mime = "Subject: Inner\r\n\r\nHello";
    let message = Message::new("All kinds")
        .file("a.pdf", "pdf")
        .with(Attachment::inline("logo.png", "png"))
        .with(Attachment::item("Re: offer", mime))
        .with(Attachment::reference(
            "plan.docx",
            "https://example.com/plan.docx",
        ))
        .file("", "nameless")
        .file("a.pdf", "twin");
    world.mailbox.deliver("Inbox", message);
    let inbox = world.inbox().await;
    let message = world.message(&inbox, "All kinds").await;
    let got: Vec<(AttachmentKind, &str)> = message
        .attachments
        .iter()
        .map(|part| (part.kind, &*part.name))
        .collect();
    assert_eq!(
        got,
        [
            (AttachmentKind::File, "a.pdf"),
            (AttachmentKind::Inline, "logo.png"),
            (AttachmentKind::Item, "Re: offer.eml"),
            (AttachmentKind::Reference, "plan.docx"),
            (AttachmentKind::File, "attachment.bin"),
            (AttachmentKind::File, "a.pdf"),
        ]
    );
    // Graph reports 203 bytes for these 3: a product that believed it would cut or pad every file.
    assert!(message.attachments.iter().all(|part| part.size.is_none()));
    let first = message.attachments.first().unwrap();
    assert_eq!(
        world
            .store
            .part_size(&inbox, &message.id, &first.id)
            .await
            .unwrap(),
        3
    );
    assert!(message.complete);
}

#[tokio::test]
async fn attached_items_are_called_by_what_they_are() {
    let world = World::new();
    let message = Message::new("Items")
        .with(Attachment::item("Lunch", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"))
        .with(Attachment::item("Ann", "BEGIN:VCARD\r\nEND:VCARD\r\n"))
        .with(Attachment::item("Mail", "Subject: x\r\n\r\n"));
    world.mailbox.deliver("Inbox", message);
    let inbox = world.inbox().await;
    let first = world.listing(&inbox).await;
    assert_eq!(first["Items"], ["Lunch.ics", "Ann.vcf", "Mail.eml"]);
    // One batch for all three; and where it is not told, they are taken for messages.
    world.settle().await;
    let batches = world
        .standin
        .log()
        .iter()
        .filter(|call| call.target.contains("$batch"))
        .count();
    assert_eq!(batches, 2, "the well-known folders, the items");
}

#[tokio::test]
async fn messages_with_inline_parts_alone_are_listed_where_those_are_shown() {
    for inline in [false, true] {
        let world = World::with(|options| options.mail.inline = inline);
        world.mailbox.deliver(
            "Inbox",
            Message::new("Logo").with(Attachment::inline("logo.png", "png")),
        );
        let inbox = world.inbox().await;
        assert_eq!(world.listing(&inbox).await.contains_key("Logo"), inline);
        world.settle().await;
        assert_eq!(world.listing(&inbox).await.contains_key("Logo"), inline);
    }
}

#[tokio::test]
async fn every_call_asks_for_immutable_ids() {
    let world = World::new();
    let id = world
        .mailbox
        .deliver("Inbox", Message::new("M").file("a.txt", "x"));
    let inbox = world.inbox().await;
    let message = world.message(&inbox, "M").await;
    world.settle().await;
    world.mailbox.move_message(&id, "Archive");
    let archive = world.folder("Archive").await.id;
    // The same id in another folder: regular ids change when a message moves.
    assert_eq!(world.message(&archive, "M").await.id, message.id);
    let odd: Vec<_> = world
        .standin
        .log()
        .into_iter()
        .filter(|call| {
            call.target.starts_with("/v1.0")
                && !call.target.contains("$batch")
                && !call.prefer.contains("ImmutableId")
        })
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[tokio::test]
async fn a_folder_with_more_than_is_held_is_refused() {
    let world = World::with(|options| options.mail.max_entries = 5);
    for n in 0..3 {
        world
            .mailbox
            .deliver("Inbox", Message::new(&format!("M{n}")).file("a.txt", "x"));
    }
    let inbox = world.inbox().await;
    let refused = world.messages(&inbox).await.unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::TooLarge);
    assert!(refused.message().contains("max_entries"));
}

/// A client that gives up in the middle of the first listing of a large folder is no reason to begin anew.
#[tokio::test]
async fn a_first_listing_goes_on_though_its_client_went() {
    let world = World::new();
    for n in 0..6 {
        let message = Message::new(&format!("M{n}")).file("a.txt", "1");
        world.mailbox.deliver("Inbox", message);
    }
    world.standin.faults().page_size(Some(2));
    let inbox = world.inbox().await;
    world.standin.clear_log();
    let hold = world.standin.faults().hold("skip");
    {
        let mut asked = Box::pin(world.store.messages(&inbox, None));
        let mut held = Box::pin(tokio::task::spawn_blocking(move || {
            assert!(hold.wait(1, Duration::from_secs(20)));
            hold
        }));
        let hold = tokio::select! {
            _ = &mut asked => panic!("the second page is held"),
            hold = &mut held => hold.unwrap(),
        };
        drop(asked);
        hold.release();
    }
    assert_eq!(world.listing(&inbox).await.len(), 6);
    world.settle().await;
    let first = |call: &&portreeve_tests_microsoft::Call| {
        call.target.contains("/messages?") && !call.target.contains("skip")
    };
    let log = world.standin.log();
    assert_eq!(log.iter().filter(first).count(), 1, "{log:?}");
}
