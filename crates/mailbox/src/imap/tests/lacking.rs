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

/// What this account may not mark as deleted stays as it was, and people hear why: no copy comes up, nothing is marked,
/// and nothing is left to be ended later. By another's hand, since an owner could give themselves the right.
#[tokio::test]
async fn without_the_right_to_mark_nothing_is_removed_or_written() {
    let more =
        "mail_plugins = acl\nprotocol imap {\n mail_plugins = acl imap_acl\n}\nplugin {\n acl = vfile\n}\n";
    let Some(mut world) = Dovecot::installed().then(|| {
        let dovecot = Dovecot::start_with(&Tokens::Introspected, more);
        World::on(Arc::new(dovecot), |_| {})
    }) else {
        return;
    };
    world.dovecot.client("alice").say("CREATE Guarded").run();
    let both: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    world.dovecot.deliver("alice", "Guarded", &mail("s", 1, &both));
    world
        .dovecot
        .deliver("alice", "Guarded", &mail("s", 2, &[("c", b"3")]));
    // All but `t` (delete-messages), and the right to give it.
    let rights = [
        "lookup",
        "read",
        "write",
        "write-seen",
        "insert",
        "post",
        "create",
        "delete",
        "expunge",
    ];
    let allow = |world: &World, rights: &[&str]| {
        let set = [&["acl", "set", "-u", "alice", "Guarded", "owner"][..], rights].concat();
        world.dovecot.doveadm(&set, b"");
    };
    allow(&world, &rights);
    let flags = |world: &World| {
        world
            .dovecot
            .doveadm(&["fetch", "-u", "alice", "uid flags", "mailbox", "Guarded"], b"")
            .replace("\\Recent", "")
    };
    let before = flags(&world);
    let guarded = FolderId("Guarded".into());
    for on_delete in [OnDelete::Remove, OnDelete::Soft, OnDelete::Move] {
        if on_delete == OnDelete::Move {
            // Dovecot lets who may expunge move.
            world
                .dovecot
                .doveadm(&["acl", "delete", "-u", "alice", "Guarded", "owner"], b"");
            allow(&world, &rights[..8]);
        }
        world.options.mail.on_delete = on_delete;
        world.options.mail.move_to = (on_delete == OnDelete::Move).then(|| "/Trash".into());
        world.restart();
        for file in ["/Guarded/a", "/Guarded/c"] {
            let refused = world.delete(file).await.unwrap_err();
            assert_eq!(
                refused.kind(),
                FsErrorKind::Denied,
                "{on_delete:?} {file} {refused}"
            );
            assert!(refused.to_string().contains("does not allow it"), "{refused}");
        }
        assert_eq!(flags(&world), before, "{on_delete:?}");
        world.restart();
        assert_eq!(world.list("/Guarded").await, ["a", "b", "c"], "{on_delete:?}");
        assert_eq!(world.read("/Guarded/c").await.unwrap(), b"3");
    }
    let page = world.store.messages(&guarded, None).await.unwrap();
    let ids = page.items.iter().map(|message| &message.id);
    for id in ids {
        let refused = world.store.delete_message(&guarded, id).await;
        assert_eq!(kind(refused), Some(FsErrorKind::Denied));
    }
    assert_eq!(flags(&world), before);
    let index = world.store.inner.index(&guarded).await.unwrap();
    let validity = index.state.as_ref().unwrap().validity;
    let records = world.store.inner.ledger.load(&guarded, validity).await.unwrap();
    assert!(!records.unfinished());
    assert_eq!(world.count("Trash"), 0);
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
