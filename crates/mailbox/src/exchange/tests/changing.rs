//! What the store changes in the mailbox, and what it refuses.

use async_trait::async_trait;
use portreeve_tests_microsoft::{Attachment, Message as Mail};
use portreeve_vfs::FsError;

use super::*;
use crate::{Draft, FolderKind, MessageId, PartId};

/// Bytes to upload.
struct Bytes(Vec<u8>);

#[async_trait]
impl Content for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        into.extend_from_slice(&rest[..len.min(rest.len())]);
        Ok(into)
    }
}

/// Bytes that cannot be read beyond a point.
struct Failing(u64);

#[async_trait]
impl Content for Failing {
    fn size(&self) -> u64 {
        self.0
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        if at > self.0 / 2 {
            return Err(FsError::new(FsErrorKind::Backend));
        }
        into.resize(into.len() + len, 1);
        Ok(into)
    }
}

/// Bytes whose draft somebody moves while they are read; then they end.
struct Meddled(MailboxHandle);

#[async_trait]
impl Content for Meddled {
    fn size(&self) -> u64 {
        9_000_000
    }

    async fn read(&self, _: u64, _: usize, _: Vec<u8>) -> FsResult<Vec<u8>> {
        for found in self.0.messages("Inbox") {
            self.0.move_message(&found.id, "Archive");
        }
        Err(FsError::new(FsErrorKind::Backend))
    }
}

fn draft(name: &str) -> Draft {
    Draft {
        subject: "Upload".into(),
        file_name: name.into(),
        to: Vec::new(),
    }
}

#[tokio::test]
async fn attachments_and_messages_go_and_are_gone_from_the_index_at_once() {
    let world = World::new();
    world
        .mailbox
        .deliver("Inbox", Mail::new("two").file("a.txt", "1").file("b.txt", "2"));
    world
        .mailbox
        .deliver("Inbox", Mail::new("one").file("c.txt", "3"));
    let inbox = world.inbox().await;
    let two = world.message(&inbox, "two").await;
    let one = world.message(&inbox, "one").await;
    world
        .store
        .delete_part(&inbox, &two.id, &two.attachments[0].id)
        .await
        .unwrap();
    world.store.delete_message(&inbox, &one.id).await.unwrap();
    // Nothing was asked anew: the index is fresh for an hour here.
    assert_eq!(
        world.listing(&inbox).await,
        BTreeMap::from([("two".into(), vec!["b.txt".into()])])
    );
    assert_eq!(world.mailbox.messages("Inbox").len(), 1);
    // It went to Deleted Items, where a person can find it.
    assert_eq!(world.mailbox.messages("Deleted Items").len(), 1);
    let fresh = world.store.message(&inbox, &two.id).await.unwrap();
    assert_eq!(fresh.attachments.len(), 1);
    assert!(fresh.complete);
    let again = world
        .store
        .delete_part(&inbox, &two.id, &two.attachments[0].id)
        .await;
    assert_eq!(kind(again), Some(FsErrorKind::NotFound));
}

#[tokio::test]
async fn what_decides_over_a_message_is_asked_and_not_remembered() {
    let world = World::new();
    let id = world.mailbox.deliver("Inbox", Mail::new("M").file("a.txt", "1"));
    let inbox = world.inbox().await;
    let message = world.message(&inbox, "M").await;
    world
        .mailbox
        .attach(&id, Attachment::reference("link", "https://x/"));
    assert_eq!(
        world
            .store
            .message(&inbox, &message.id)
            .await
            .unwrap()
            .attachments
            .len(),
        2
    );
}

#[tokio::test]
async fn soft_deletion_and_moves_keep_ids() {
    let world = World::new();
    world
        .mailbox
        .deliver("Inbox", Mail::new("soft").file("a.txt", "1"));
    world
        .mailbox
        .deliver("Inbox", Mail::new("move").file("a.txt", "1"));
    let inbox = world.inbox().await;
    let (soft, moved) = (
        world.message(&inbox, "soft").await,
        world.message(&inbox, "move").await,
    );
    let (bin, archive) = (
        world.folder("Deleted Items").await.id,
        world.folder("Archive").await.id,
    );
    world.store.soft_delete(&inbox, &soft.id).await.unwrap();
    world
        .store
        .move_message(&inbox, &moved.id, &archive)
        .await
        .unwrap();
    assert!(world.listing(&inbox).await.is_empty());
    assert_eq!(world.message(&bin, "soft").await.id, soft.id);
    assert_eq!(world.message(&archive, "move").await.id, moved.id);
    assert_eq!(
        world.message(&archive, "move").await.attachments,
        moved.attachments
    );
    // What is in Deleted Items already is deleted.
    world.store.soft_delete(&bin, &soft.id).await.unwrap();
    assert!(world.mailbox.messages("Deleted Items").is_empty());
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_a_move() {
    let world = World::new();
    world
        .mailbox
        .deliver("Inbox", Mail::new("move").file("a.txt", "1"));
    let inbox = world.inbox().await;
    let moved = world.message(&inbox, "move").await;
    let archive = world.folder("Archive").await.id;
    world.standin.faults().lose_replies(1, "/move");
    world
        .store
        .move_message(&inbox, &moved.id, &archive)
        .await
        .unwrap();
    assert_eq!(world.mailbox.messages("Archive").len(), 1);
}

#[tokio::test]
async fn folders_are_made_renamed_moved_and_deleted() {
    let world = World::new();
    let made = world.store.create_folder(None, "Made").await.unwrap();
    assert_eq!(
        kind(world.store.create_folder(None, "made").await),
        Some(FsErrorKind::Exists)
    );
    let child = world.store.create_folder(Some(&made.id), "Child").await.unwrap();
    assert_eq!(world.folder("Made/Child").await.id, child.id);
    let inbox = world.inbox().await;
    let renamed = world
        .store
        .rename_folder(&child.id, Some(&inbox), "Moved")
        .await
        .unwrap();
    assert!(renamed.is_empty(), "ids stay");
    assert_eq!(world.folder("Inbox/Moved").await.id, child.id);
    world.expire().await;
    assert_eq!(world.folder("Inbox/Moved").await.id, child.id);
    assert!(world.mailbox.folders().contains(&"Inbox/Moved".to_owned()));
    world.store.delete_folder(&made.id).await.unwrap();
    world.expire().await;
    let top = world.store.folders(None, None).await.unwrap().items;
    assert!(!top.iter().any(|folder| folder.name == "Made"));
}

#[tokio::test]
async fn half_a_rename_is_none() {
    let world = World::new();
    world.mailbox.folder("From");
    world.mailbox.folder("Inbox/Taken");
    let from = world.folder("From").await;
    let inbox = world.inbox().await;
    let refused = world.store.rename_folder(&from.id, Some(&inbox), "Taken").await;
    assert_eq!(kind(refused), Some(FsErrorKind::Exists));
    assert!(world.mailbox.folders().contains(&"From".to_owned()));
    world.expire().await;
    assert_eq!(world.folder("From").await.id, from.id);
}

#[tokio::test]
async fn folders_that_hold_anything_or_are_needed_stay() {
    let world = World::new();
    for (path, fill) in [("WithMail", 0), ("WithChild", 1), ("WithHidden", 2)] {
        world.mailbox.folder(path);
        match fill {
            0 => drop(world.mailbox.deliver(path, Mail::new("no attachment"))),
            1 => drop(world.mailbox.folder(&format!("{path}/Child"))),
            _ => world.mailbox.hidden_folder(&format!("{path}/Hidden")),
        }
        world.expire().await;
        let folder = world.folder(path).await;
        assert_eq!(
            kind(world.store.delete_folder(&folder.id).await),
            Some(FsErrorKind::NotEmpty),
            "{path}"
        );
    }
    for name in ["Inbox", "Drafts", "Sent Items", "Deleted Items"] {
        let folder = world.folder(name).await;
        assert_eq!(
            kind(world.store.delete_folder(&folder.id).await),
            Some(FsErrorKind::Refused)
        );
        let renamed = world.store.rename_folder(&folder.id, None, "Other").await;
        assert_eq!(kind(renamed), Some(FsErrorKind::Refused));
    }
}

#[tokio::test]
async fn drafts_small_and_large_are_there_whole() {
    let world = World::new();
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    for size in [0, 1, 3_000_000, 3_145_728, 9_000_001] {
        let name = format!("f{size}.bin");
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        let made = world
            .store
            .create_draft(&inbox, &draft(&name), Arc::new(Bytes(bytes.clone())))
            .await
            .unwrap();
        let part = made.attachments.first().unwrap();
        assert_eq!(part.name, name);
        let content = world.store.open_part(&inbox, &made.id, &part.id).await.unwrap();
        assert!(read(&*content).await.unwrap() == bytes, "{size}");
        assert!(
            world
                .messages(&inbox)
                .await
                .unwrap()
                .iter()
                .any(|message| message.id == made.id)
        );
    }
    assert_eq!(world.mailbox.messages("Inbox").len(), 5);
}

#[tokio::test]
async fn a_draft_that_cannot_be_whole_is_none() {
    let world = World::new();
    let inbox = world.inbox().await;
    // The bytes cannot be read.
    let failed = world
        .store
        .create_draft(&inbox, &draft("a"), Arc::new(Failing(9_000_000)))
        .await;
    assert!(failed.is_err());
    assert_eq!(world.mailbox.total(), 0, "a torn draft was left behind");
    // The directory takes no message this large: told plainly.
    world.mailbox.largest_message(1_000_000);
    let failed = world
        .store
        .create_draft(&inbox, &draft("a"), Arc::new(Bytes(vec![1; 2_000_000])))
        .await;
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::TooLarge);
    assert!(error.message().contains("35 MB"), "{error}");
    assert_eq!(world.mailbox.total(), 0);
    assert_eq!(world.standin.open_uploads(), 0);
}

#[tokio::test]
async fn a_draft_that_somebody_has_taken_is_theirs() {
    let world = World::new();
    let inbox = world.inbox().await;
    let content = Arc::new(Meddled(world.mailbox.clone()));
    let failed = world.store.create_draft(&inbox, &draft("a"), content).await;
    assert!(failed.is_err());
    assert_eq!(world.mailbox.messages("Archive").len(), 1);
}

#[tokio::test]
async fn a_draft_that_nobody_waits_for_any_more_is_taken_away() {
    let world = World::new();
    let inbox = world.inbox().await;
    let hold = world.standin.faults().hold("/attachments");
    let store = Arc::new(world.store);
    let (making, at) = (Arc::clone(&store), inbox.clone());
    let task = tokio::spawn(async move {
        making
            .create_draft(&at, &draft("a"), Arc::new(Bytes(vec![1; 100])))
            .await
    });
    let hold = tokio::task::spawn_blocking(move || {
        assert!(hold.wait(1, Duration::from_secs(20)));
        hold
    });
    let hold = hold.await.unwrap();
    task.abort();
    hold.release();
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.mailbox.total() > 0 {
        assert!(Instant::now() < deadline, "the draft is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What begins the line of a draft's creation.
fn creation() -> String {
    format!("POST /v1.0/users/{ADDRESS}/mailFolders/")
}

#[tokio::test]
async fn a_draft_whose_creation_was_not_answered_is_gone_on_with() {
    for status in ["lost", "batch of faults"] {
        let world = World::new();
        world.standin.faults().page_size(Some(1));
        world.standin.faults().empty_pages(true);
        let inbox = world.inbox().await;
        // Somebody else's drafts, as like it as can be.
        for _ in 0..3 {
            let mut other = Mail::new("Upload");
            other.draft = true;
            world.mailbox.deliver("Inbox", other);
        }
        world.standin.faults().lose_replies(1, &creation());
        if status != "lost" {
            world
                .standin
                .faults()
                .fail_next(3, "singleValueExtendedProperties", 503);
        }
        let made = world
            .store
            .create_draft(&inbox, &draft("a"), Arc::new(Bytes(vec![1; 100])))
            .await
            .unwrap();
        let all = world.mailbox.messages("Inbox");
        assert_eq!(all.len(), 4, "it was made once");
        let whole: Vec<_> = all.iter().filter(|found| !found.attachments.is_empty()).collect();
        assert_eq!((whole.len(), &*whole[0].id), (1, &*made.id.0));
    }
}

#[tokio::test]
async fn a_draft_whose_creation_was_not_answered_is_taken_away_where_it_does_not_become_whole() {
    let world = World::new();
    let inbox = world.inbox().await;
    let mut other = Mail::new("Upload");
    other.draft = true;
    world.mailbox.deliver("Inbox", other);
    world.standin.faults().lose_replies(1, &creation());
    let failed = world
        .store
        .create_draft(&inbox, &draft("a"), Arc::new(Failing(9_000_000)))
        .await;
    assert!(failed.is_err());
    assert_eq!(world.mailbox.total(), 1);
    assert!(world.mailbox.messages("Inbox")[0].message.extended.is_empty());
}

#[tokio::test]
async fn a_draft_that_was_not_made_or_cannot_be_told_is_not_known() {
    let make = async |world: &World, inbox: &FolderId| {
        world
            .store
            .create_draft(inbox, &draft("a"), Arc::new(Bytes(vec![1; 100])))
            .await
            .unwrap_err()
    };
    let unknown = |error: &FsError| error.message().contains("whether it was done is not known");
    // Nothing was made.
    let world = World::new();
    let inbox = world.inbox().await;
    world.standin.faults().fail_next(1, &creation(), 0);
    assert!(unknown(&make(&world, &inbox).await));
    assert_eq!(world.mailbox.total(), 0);
    // The question is refused.
    world.standin.faults().lose_replies(1, &creation());
    world
        .standin
        .faults()
        .fail_next(1, "filter=singleValueExtendedProperties", 400);
    assert!(unknown(&make(&world, &inbox).await));
    assert_eq!(world.mailbox.total(), 1, "it is left behind, as the log says");
    // There are two of it, or what is found is none any more: none is touched.
    for copied in [true, false] {
        let world = World::new();
        let inbox = world.inbox().await;
        world.standin.faults().lose_replies(1, &creation());
        let hold = world
            .standin
            .faults()
            .hold("filter=singleValueExtendedProperties");
        let (error, ()) = tokio::join!(make(&world, &inbox), async {
            let hold = tokio::task::spawn_blocking(move || {
                assert!(hold.wait(1, Duration::from_secs(20)));
                hold
            });
            let hold = hold.await.unwrap();
            let made = world.mailbox.messages("Inbox").pop().unwrap();
            let mut twin = made.message.clone();
            twin.draft = copied;
            world.mailbox.deliver("Inbox", twin);
            if !copied {
                world.mailbox.delete_message(&made.id);
            }
            hold.release();
        });
        assert!(unknown(&error), "{error}");
        assert_eq!(world.mailbox.total(), 1 + usize::from(copied));
    }
}

#[tokio::test]
async fn drafts_are_sent_once() {
    let world = World::new();
    let drafts = world.folder("Drafts").await.id;
    let to = Draft {
        to: vec!["bob@example.org".into()],
        ..draft("order.xml")
    };
    let made = world
        .store
        .create_draft(&drafts, &to, Arc::new(Bytes(b"<x/>".to_vec())))
        .await
        .unwrap();
    assert_eq!(world.store.drafts_folder().await.unwrap(), drafts);
    // The answer is lost, and yet it is known to be sent.
    world.standin.faults().lose_replies(1, "/send");
    world.store.send_draft(&drafts, &made.id).await.unwrap();
    // Its id lives on in Sent Items: that is no draft to send.
    assert_eq!(
        kind(world.store.send_draft(&drafts, &made.id).await),
        Some(FsErrorKind::NotFound)
    );
    let sent = world.mailbox.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to, ["bob@example.org"]);
    assert_eq!(sent[0].attachments[0].0, "order.xml");
    assert_eq!(
        kind(world.store.message(&drafts, &made.id).await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn whole_messages_are_taken_in() {
    let world = World::new();
    let archive = world.folder("Archive").await.id;
    let mime = b"Subject: Old mail\r\nFrom: a@example.org\r\nMIME-Version: 1.0\r\n\r\nHello\r\n";
    let id: MessageId = world
        .store
        .import(&archive, Arc::new(Bytes(mime.to_vec())))
        .await
        .unwrap();
    let found = world.mailbox.message(&id.0).unwrap();
    assert_eq!(found.message.subject.as_deref(), Some("Old mail"));
    let large = world
        .store
        .import(&archive, Arc::new(Bytes(vec![b'a'; 3_000_001])))
        .await;
    let error = large.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::TooLarge);
    assert!(error.message().contains("3000000"), "{error}");
}

#[tokio::test]
async fn ids_that_are_none_are_not_found() {
    let world = World::new();
    let inbox = world.inbox().await;
    assert_eq!(world.folder("Inbox").await.kind, FolderKind::Inbox);
    for id in ["x", "../../me", "a/b", "AAAA="] {
        let (message, part) = (MessageId::from(id), PartId::from(id));
        assert_eq!(
            kind(world.store.message(&inbox, &message).await),
            Some(FsErrorKind::NotFound),
            "{id}"
        );
        let open = world.store.open_part(&inbox, &message, &part).await;
        assert_eq!(kind(open), Some(FsErrorKind::NotFound), "{id}");
    }
}
