//! Deleting, moving, taking in; folders.

use portreeve_vfs::{Attrs, OpenWrite, Rename, WriteMode};

use super::*;
use crate::{OnDelete, OnUpload};

#[tokio::test]
async fn a_part_is_taken_out_and_its_siblings_keep_names_ids_and_bytes() {
    let Some(mut world) = World::new(|_| {}) else {
        return;
    };
    let parts: [(&str, &[u8]); 4] = [
        ("same.txt", b"one"),
        ("same.txt", b"two"),
        ("other.bin", b"three"),
        ("same.txt", b"two"),
    ];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &parts));
    let flagged = "UID STORE 1 +FLAGS (\\Flagged red)";
    world
        .dovecot
        .client("alice")
        .say("SELECT INBOX")
        .say(flagged)
        .run();
    let before = world.store.message(&inbox(), &"x".into()).await;
    assert_eq!(kind(before), Some(FsErrorKind::NotFound));
    assert_eq!(
        world.list("/Inbox").await,
        ["other.bin", "same (1).txt", "same (2).txt", "same.txt"]
    );
    let date = world.dovecot.doveadm(
        &["fetch", "-u", "alice", "date.received", "mailbox", "INBOX"],
        b"",
    );

    world.delete("/Inbox/same (1).txt").await.unwrap();
    assert_eq!(
        world.list("/Inbox").await,
        ["other.bin", "same (2).txt", "same.txt"]
    );
    assert_eq!(world.read("/Inbox/same (2).txt").await.unwrap(), b"two");
    assert_eq!(world.read("/Inbox/same.txt").await.unwrap(), b"one");
    assert_eq!(world.count("INBOX"), 1, "the old message is gone");
    let flags = world
        .dovecot
        .doveadm(&["fetch", "-u", "alice", "flags", "mailbox", "INBOX"], b"");
    assert!(flags.contains("\\Flagged") && flags.contains("red"), "{flags}");
    let after = world.dovecot.doveadm(
        &["fetch", "-u", "alice", "date.received", "mailbox", "INBOX"],
        b"",
    );
    assert_eq!(after, date);

    // Another process, another one, until the message goes with its last.
    world.restart();
    assert_eq!(
        world.list("/Inbox").await,
        ["other.bin", "same (2).txt", "same.txt"]
    );
    world.delete("/Inbox/same.txt").await.unwrap();
    world.restart();
    assert_eq!(world.list("/Inbox").await, ["other.bin", "same (2).txt"]);
    assert_eq!(world.read("/Inbox/other.bin").await.unwrap(), b"three");
    assert_eq!(world.read("/Inbox/same (2).txt").await.unwrap(), b"two");
    world.delete("/Inbox/other.bin").await.unwrap();
    assert_eq!(world.count("INBOX"), 1);
    world.delete("/Inbox/same (2).txt").await.unwrap();
    assert_eq!(world.count("INBOX"), 0);
    assert!(world.list("/Inbox").await.is_empty());
}

/// Commands that take so long that an open folder must be opened anew between them.
#[tokio::test]
async fn what_takes_long_is_changed_all_the_same() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    world.store.inner.pool.slow();
    let parts: [(&str, &[u8]); 3] = [("a.txt", b"one"), ("b.txt", b"two"), ("c.txt", b"three")];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &parts));
    world.delete("/Inbox/b.txt").await.unwrap();
    assert_eq!(world.list("/Inbox").await, ["a.txt", "c.txt"]);
    assert_eq!(world.read("/Inbox/c.txt").await.unwrap(), b"three");
    world.delete("/Inbox/a.txt").await.unwrap();
    assert_eq!(world.count("INBOX"), 1);
    world.delete("/Inbox/c.txt").await.unwrap();
    assert_eq!(world.count("INBOX"), 0);
}

/// Parts of parts, and parts that are alone: what is left is what was there.
#[tokio::test]
async fn nested_parts_are_taken_out() {
    let Some(world) = World::new(|options| options.mail.inline = true) else {
        return;
    };
    let message = "Subject: s\r\nMessage-ID: <n@x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
        --o\r\nContent-Type: multipart/related; boundary=i\r\n\r\n--i\r\nContent-Type: text/html\r\n\r\n<img>\r\n\
        --i\r\nContent-Type: image/gif; name=a.gif\r\nContent-ID: <a>\r\n\r\nGIF1\r\n\
        --i\r\nContent-Type: image/gif; name=b.gif\r\nContent-ID: <b>\r\n\r\nGIF2\r\n--i--\r\n\
        --o\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: application/zip; name=alone.zip\r\n\r\nPK\r\n--m--\r\n\
        --o\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\ntext\r\n\
        --o\r\nContent-Type: application/pdf; name=z.pdf\r\n\r\n%PDF\r\n--o--\r\n";
    world.dovecot.deliver("alice", "INBOX", message.as_bytes());
    assert_eq!(
        world.list("/Inbox").await,
        ["Inner.eml", "a.gif", "alone.zip", "b.gif", "z.pdf"]
    );
    for (gone, left) in [
        (
            "a.gif",
            &[("b.gif", "GIF2"), ("z.pdf", "%PDF"), ("alone.zip", "PK")][..],
        ),
        (
            "alone.zip",
            &[
                ("b.gif", "GIF2"),
                ("z.pdf", "%PDF"),
                ("Inner.eml", "Subject: Inner\r\n\r\ntext"),
            ],
        ),
        ("Inner.eml", &[("b.gif", "GIF2"), ("z.pdf", "%PDF")]),
    ] {
        world.delete(&format!("/Inbox/{gone}")).await.unwrap();
        for (name, content) in left {
            let read = world.read(&format!("/Inbox/{name}")).await.unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), *content, "after {gone}");
        }
    }
    assert_eq!(world.list("/Inbox").await, ["b.gif", "z.pdf"]);
    assert_eq!(world.count("INBOX"), 1);
}

#[tokio::test]
async fn others_marked_mail_is_not_touched() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    for n in 1..=3 {
        world
            .dovecot
            .deliver("alice", "INBOX", &mail("s", n, &[(&format!("{n}.txt"), b"x")]));
    }
    let mark = "UID STORE 2 +FLAGS (\\Deleted)";
    world.dovecot.client("alice").say("SELECT INBOX").say(mark).run();
    assert_eq!(
        world.list("/Inbox").await,
        ["1.txt", "3.txt"],
        "what is marked is not shown"
    );
    world.delete("/Inbox/1.txt").await.unwrap();
    assert_eq!(
        world.count("INBOX"),
        2,
        "what another client marked is still there"
    );
    assert_eq!(world.list("/Inbox").await, ["3.txt"]);
}

#[tokio::test]
async fn what_another_client_took_away_is_gone() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    for n in 1..=2 {
        world.dovecot.deliver(
            "alice",
            "INBOX",
            &mail("s", n, &[("a.txt", b"x"), (&format!("b{n}.txt"), b"y")]),
        );
    }
    assert_eq!(
        world.list("/Inbox").await,
        ["a (1).txt", "a.txt", "b1.txt", "b2.txt"]
    );
    world
        .dovecot
        .client("alice")
        .say("SELECT INBOX")
        .say("UID MOVE 1 Trash")
        .run();
    assert_eq!(
        kind(world.delete("/Inbox/a.txt").await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.read("/Inbox/b1.txt").await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        (world.count("INBOX"), world.count("Trash")),
        (1, 1),
        "nothing came up again"
    );
    assert_eq!(world.list("/Inbox").await, ["a (1).txt", "b2.txt"]);
    assert_eq!(world.read("/Inbox/a (1).txt").await.unwrap(), b"x");
}

#[tokio::test]
async fn the_last_attachment_moves_or_marks_its_message_when_told_to() {
    let Some(mut world) = World::new(|options| {
        options.mail.on_delete = OnDelete::Move;
        options.mail.move_to = Some("/Done".into());
    }) else {
        return;
    };
    world
        .mailbox
        .make_dir(&cx(), &path("/Done"), Attrs::default())
        .await
        .unwrap();
    for n in 1..=2 {
        world
            .dovecot
            .deliver("alice", "INBOX", &mail("s", n, &[(&format!("{n}.txt"), b"x")]));
    }
    world.delete("/Inbox/1.txt").await.unwrap();
    assert_eq!((world.count("INBOX"), world.count("Done")), (1, 1));
    assert_eq!(world.list("/Done").await, ["1.txt"]);
    world.options.mail.on_delete = OnDelete::Soft;
    world.options.mail.move_to = None;
    world.restart();
    world.delete("/Inbox/2.txt").await.unwrap();
    assert!(world.list("/Inbox").await.is_empty());
    assert_eq!(world.count("INBOX"), 1, "it can be brought back");
}

#[tokio::test]
async fn a_moved_message_keeps_its_id() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 1, &[("a", b"1"), ("b", b"2")]));
    let page = world.store.messages(&inbox(), None).await.unwrap();
    let id = page.items[0].id.clone();
    let first = page.items[0].attachments[0].id.clone();
    world.store.delete_part(&inbox(), &id, &first).await.unwrap();
    let trash = FolderId("Trash".into());
    world.store.move_message(&inbox(), &id, &trash).await.unwrap();
    let there = world.store.message(&trash, &id).await.unwrap();
    assert_eq!(there.attachments.len(), 1);
    assert_eq!(
        &*there.attachments[0].id.0, "3",
        "the second attachment is what it was"
    );
    assert_eq!(
        kind(world.store.message(&inbox(), &id).await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn uploads_are_drafts() {
    let Some(world) = World::new(|options| options.mail.on_upload = OnUpload::Draft) else {
        return;
    };
    let content = portreeve_tests::data::bytes(1_500_000, 3);
    let how = || OpenWrite::new(WriteMode::CreateNew);
    let file = world
        .mailbox
        .open_write(&cx(), &path("/Drafts/r\u{e9}port.bin"), how())
        .await
        .unwrap();
    file.write(0, vec![content.clone().into()]).await.unwrap();
    assert_eq!(world.count("Drafts"), 0, "nobody sees it before it is whole");
    file.commit().await.unwrap();
    assert_eq!(world.list("/Drafts").await, ["r\u{e9}port.bin"]);
    assert!(world.read("/Drafts/r\u{e9}port.bin").await.unwrap() == content);
    let flags = world
        .dovecot
        .doveadm(&["fetch", "-u", "alice", "flags", "mailbox", "Drafts"], b"");
    assert!(flags.contains("\\Draft"), "{flags}");
    let file = world
        .mailbox
        .open_write(&cx(), &path("/Drafts/x"), how())
        .await
        .unwrap();
    file.write(0, vec![content.into()]).await.unwrap();
    file.discard().await.unwrap();
    assert_eq!(world.count("Drafts"), 1);
}

#[tokio::test]
async fn a_message_is_taken_in_as_it_is() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let message = mail("Import", 9, &[("a.txt", b"content")]);
    let content = Arc::new(crate::in_memory::InMemory(message.clone().into()));
    let id = world.store.import(&inbox(), content).await.unwrap();
    let there = world.store.open_message(&inbox(), &id).await.unwrap();
    assert_eq!(there.read(0, 1 << 20, Vec::new()).await.unwrap(), message);
    let text = world.store.open_text(&inbox(), &id).await.unwrap();
    assert_eq!(text.read(0, 100, Vec::new()).await.unwrap(), b"See the files.");
}

#[tokio::test]
async fn folders_come_go_and_change_their_names() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let make = |name: &'static str| {
        let fs = Arc::clone(&world.mailbox);
        async move { fs.make_dir(&cx(), &path(name), Attrs::default()).await }
    };
    make("/R&D \u{fc}").await.unwrap();
    make("/R&D \u{fc}/deep").await.unwrap();
    assert_eq!(kind(make("/R&D \u{fc}").await), Some(FsErrorKind::Exists));
    assert_eq!(kind(make("/nowhere/x").await), Some(FsErrorKind::NotFound));
    world.dovecot.deliver(
        "alice",
        "R&D \u{fc}/deep",
        &mail("s", 1, &[("a", b"1"), ("b", b"2")]),
    );
    world.delete("/R&D \u{fc}/deep/a").await.unwrap();
    // A level that holds nothing but folders.
    world.dovecot.client("alice").say("CREATE Level/below").run();
    assert_eq!(world.list("/Level").await, ["below"]);
    // Another client's folder is there at the next look.
    world.dovecot.client("alice").say("CREATE Theirs").run();
    assert_eq!(
        world.list("/").await,
        ["Drafts", "Inbox", "Level", "R&D \u{fc}", "Theirs", "Trash"]
    );
    let rename = |from: &'static str, to: &'static str| {
        let fs = Arc::clone(&world.mailbox);
        async move { fs.rename(&cx(), &path(from), &path(to), Rename::NoReplace).await }
    };
    rename("/R&D \u{fc}", "/Theirs/R").await.unwrap();
    assert_eq!(world.list("/Theirs/R/deep").await, ["b"]);
    assert_eq!(world.read("/Theirs/R/deep/b").await.unwrap(), b"2");
    assert!(rename("/Inbox", "/x").await.is_err());
    let remove = |name: &'static str| {
        let fs = Arc::clone(&world.mailbox);
        async move { fs.remove(&cx(), &path(name), Removal::Dir).await }
    };
    assert_eq!(kind(remove("/Theirs").await), Some(FsErrorKind::NotEmpty));
    assert_eq!(kind(remove("/Theirs/R/deep").await), Some(FsErrorKind::NotEmpty));
    assert!(remove("/Trash").await.is_err());
    world.delete("/Theirs/R/deep/b").await.unwrap();
    remove("/Theirs/R/deep").await.unwrap();
    remove("/Theirs/R").await.unwrap();
    assert_eq!(world.list("/Theirs").await, Vec::<String>::new());
}
