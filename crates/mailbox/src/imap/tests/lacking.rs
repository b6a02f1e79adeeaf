//! Servers that can less.

use super::*;
use crate::{OnDelete, OnUpload};

fn world(capabilities: &str, change: impl FnOnce(&mut ImapOptions)) -> Option<World> {
    Dovecot::installed().then(|| {
        let more = format!("imap_capability = {capabilities}\n");
        let dovecot = Dovecot::start_with(&Tokens::Introspected, &more);
        World::on(Arc::new(dovecot), change)
    })
}

/// Without UIDPLUS, others' marked mail would go with ours: nothing is deleted, and it is said why.
#[tokio::test]
async fn without_uidplus_nothing_is_removed() {
    let Some(mut world) = world("IMAP4rev1", |_| {}) else {
        return;
    };
    let both: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &both));
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 2, &[("c", b"3")]));
    for file in ["/Inbox/a", "/Inbox/c"] {
        let refused = world.delete(file).await.unwrap_err();
        assert_eq!(refused.kind(), FsErrorKind::Unsupported, "{file}");
        assert!(refused.to_string().contains("UIDPLUS"), "{refused}");
    }
    assert_eq!(world.count("INBOX"), 2);
    world.options.mail.on_delete = OnDelete::Soft;
    world.options.mail.on_upload = OnUpload::Draft;
    world.restart();
    world.delete("/Inbox/c").await.unwrap();
    assert_eq!(world.list("/Inbox").await, ["a", "b"]);
    assert_eq!(world.count("INBOX"), 2);
    // Without CONDSTORE, nothing tells that a flag has changed: it is seen all the same.
    world
        .dovecot
        .client("alice")
        .say("SELECT INBOX")
        .say("UID STORE 1 +FLAGS (\\Deleted)")
        .run();
    assert!(world.list("/Inbox").await.is_empty());
}

#[tokio::test]
async fn without_move_a_message_is_copied_and_removed() {
    let Some(world) = world("IMAP4rev1 UIDPLUS", |_| {}) else {
        return;
    };
    for n in 1..=2 {
        world
            .dovecot
            .deliver("alice", "INBOX", &mail("s", n, &[(&n.to_string(), b"x")]));
    }
    world
        .dovecot
        .client("alice")
        .say("SELECT INBOX")
        .say("UID STORE 2 +FLAGS (\\Deleted)")
        .run();
    let id = world.store.messages(&inbox(), None).await.unwrap().items[0]
        .id
        .clone();
    let trash = FolderId("Trash".into());
    world.store.move_message(&inbox(), &id, &trash).await.unwrap();
    assert_eq!((world.count("INBOX"), world.count("Trash")), (1, 1));
    assert_eq!(
        world.store.message(&trash, &id).await.unwrap().attachments[0].name,
        "1"
    );
    let nowhere = world.store.move_message(&trash, &id, &"Nowhere".into()).await;
    assert_eq!(kind(nowhere), Some(FsErrorKind::Refused));
    assert_eq!(world.count("Trash"), 1);
}
