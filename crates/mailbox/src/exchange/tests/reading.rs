//! Content: exact, whole or an error, whatever breaks on the way.

use portreeve_tests_microsoft::{Attachment, Message as Mail};

use super::*;
use crate::{MessageId, PartId};

async fn only(world: &World, mail: Mail) -> (FolderId, MessageId, PartId) {
    let subject = mail.subject.clone().unwrap_or_default();
    world.mailbox.deliver("Inbox", mail);
    let inbox = world.inbox().await;
    let message = world.message(&inbox, &subject).await;
    let part = message.attachments.first().unwrap().id.clone();
    (inbox, message.id.clone(), part)
}

/// A part of 150 MB is read at its end, verified in length, and no more of it is in memory than the spool
/// holds back.
#[tokio::test]
async fn a_large_part_is_exact_to_its_last_byte() {
    let world = World::new();
    let size = 150_000_000;
    let attachment = Attachment::generated("big.bin", size, 7);
    let sha = attachment.content().unwrap().sha256();
    let (inbox, message, part) = only(&world, Mail::new("Big").with(attachment)).await;
    assert_eq!(
        world.store.part_size(&inbox, &message, &part).await.unwrap(),
        size
    );
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    let mut hash = sha2::Sha256::default();
    let mut at = 0;
    loop {
        let piece = content.read(at, 1 << 20, Vec::new()).await.unwrap();
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        sha2::Digest::update(&mut hash, &piece);
    }
    assert_eq!(at, size);
    let hex: String = sha2::Digest::finalize(hash)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, sha);
}

#[tokio::test]
async fn a_download_that_breaks_off_is_taken_up_again_and_whole() {
    let world = World::new();
    let attachment = Attachment::generated("a.bin", 3_000_000, 1);
    let want = attachment.content().unwrap().all();
    let (inbox, message, part) = only(&world, Mail::new("Cut").with(attachment)).await;
    world.standin.faults().cut_downloads(1_000_000, 2);
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    let got = read(&*content).await.unwrap();
    assert!(got == *want);
}

#[tokio::test]
async fn a_download_that_never_gets_through_is_an_error_and_no_torn_file() {
    let world = World::new();
    let attachment = Attachment::generated("a.bin", 2_000_000, 1);
    let (inbox, message, part) = only(&world, Mail::new("Cut").with(attachment)).await;
    world.standin.faults().cut_downloads(400_000, 1000);
    // It may show at once, or to the reader.
    if let Ok(content) = world.store.open_part(&inbox, &message, &part).await {
        assert!(read(&*content).await.is_err());
    }
}

#[tokio::test]
async fn a_size_that_was_asked_costs_the_open_that_follows_nothing() {
    let world = World::new();
    let (inbox, message, part) = only(&world, Mail::new("Small").file("a.txt", "content")).await;
    world.settle().await;
    world.standin.clear_log();
    assert_eq!(world.store.part_size(&inbox, &message, &part).await.unwrap(), 7);
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    assert_eq!(read(&*content).await.unwrap(), b"content");
    assert_eq!(world.standin.calls(), 1, "{:?}", world.standin.log());
}

#[tokio::test]
async fn content_without_a_length_is_read_to_its_end_first() {
    let world = World::new();
    let (inbox, message, part) = only(&world, Mail::new("Chunked").file("a.txt", vec![7; 600_000])).await;
    world.standin.faults().no_content_length(true);
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    assert_eq!(content.size(), 600_000);
    assert_eq!(read(&*content).await.unwrap(), vec![7; 600_000]);
}

#[tokio::test]
async fn attached_messages_are_read_as_they_are_and_links_cannot_be() {
    let world = World::new();
    let mime = "Subject: Inner\r\n\r\nHello\r\n";
    let mail = Mail::new("Both")
        .with(Attachment::item("Inner", mime))
        .with(Attachment::reference("l", "https://x/l"));
    let (inbox, id, part) = only(&world, mail).await;
    let content = world.store.open_part(&inbox, &id, &part).await.unwrap();
    let got = read(&*content).await.unwrap();
    assert!(String::from_utf8_lossy(&got).contains("Subject: Inner"));
    let message = world.message(&inbox, "Both").await;
    let link = &message.attachments[1].id;
    assert_eq!(
        kind(world.store.open_part(&inbox, &id, link).await),
        Some(FsErrorKind::Unsupported)
    );
}

#[tokio::test]
async fn whole_messages_and_their_text() {
    let world = World::new();
    let mail = Mail::new("Whole").file("a.txt", "content").body("Dear reader");
    let (inbox, message, part) = only(&world, mail).await;
    let whole = world.store.open_message(&inbox, &message).await.unwrap();
    let before = String::from_utf8(read(&*whole).await.unwrap()).unwrap();
    assert!(
        before.contains("Subject: Whole") && before.contains("a.txt"),
        "{before}"
    );
    let text = world.store.open_text(&inbox, &message).await.unwrap();
    assert_eq!(
        String::from_utf8(read(&*text).await.unwrap()).unwrap().trim(),
        "Dear reader"
    );
    // With an attachment less it is another message, whoever still reads the former.
    world.store.delete_part(&inbox, &message, &part).await.unwrap();
    let after = world.store.open_message(&inbox, &message).await.unwrap();
    assert!(
        !String::from_utf8(read(&*after).await.unwrap())
            .unwrap()
            .contains("a.txt")
    );
}

#[tokio::test]
async fn a_message_that_is_moved_in_mid_download_is_read_to_its_end() {
    let world = World::new();
    let attachment = Attachment::generated("a.bin", 2_000_000, 3);
    let want = attachment.content().unwrap().all();
    let (inbox, message, part) = only(&world, Mail::new("Moving").with(attachment)).await;
    world.standin.faults().cut_downloads(500_000, 1);
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    world.mailbox.move_message(&message.0, "Archive");
    assert!(read(&*content).await.unwrap() == *want);
    // Under its old folder it is not found any more.
    assert_eq!(
        kind(world.store.message(&inbox, &message).await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_message_that_is_deleted_in_mid_download_is_an_error_or_whole() {
    let world = World::new();
    let attachment = Attachment::generated("a.bin", 2_000_000, 3);
    let (inbox, message, part) = only(&world, Mail::new("Doomed").with(attachment)).await;
    world.standin.faults().cut_downloads(500_000, 1);
    let content = world.store.open_part(&inbox, &message, &part).await.unwrap();
    world.mailbox.delete_message(&message.0);
    match read(&*content).await {
        Ok(got) => assert_eq!(got.len(), 2_000_000),
        Err(error) => assert_eq!(error.kind(), FsErrorKind::NotFound),
    }
}
