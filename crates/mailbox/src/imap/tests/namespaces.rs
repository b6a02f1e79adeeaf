//! Servers that keep all folders of an account below a prefix.

use portreeve_vfs::{Attrs, OpenWrite, Rename, WriteMode};

use super::*;
use crate::OnUpload;

fn world(more: &str, change: impl FnOnce(&mut ImapOptions)) -> Option<World> {
    Dovecot::installed().then(|| {
        let more = format!("namespace inbox {{\n prefix = INBOX.\n separator = .\n}}\n{more}");
        let dovecot = Dovecot::start_with(&Tokens::Introspected, &more);
        World::on(Arc::new(dovecot), change)
    })
}

/// As Courier, Cyrus and many a Dovecot have it: the prefix is neither seen nor typed.
#[tokio::test]
async fn folders_below_a_prefix_are_shown_at_the_top() {
    let Some(world) = world("", |options| options.mail.on_upload = OnUpload::Draft) else {
        return;
    };
    let fs = &world.mailbox;
    assert_eq!(world.list("/").await, ["Drafts", "Inbox", "Trash"]);
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 1, &[("a.txt", b"one")]));
    assert_eq!(world.list("/Inbox").await, ["a.txt"]);
    // Another client's folders, one within another.
    let client = world.dovecot.client("alice");
    client.say("CREATE INBOX.Theirs.deep").run();
    assert_eq!(world.list("/").await, ["Drafts", "Inbox", "Theirs", "Trash"]);
    assert_eq!(world.list("/Theirs").await, ["deep"]);

    fs.make_dir(&cx(), &path("/R&D \u{fc}"), Attrs::default())
        .await
        .unwrap();
    fs.make_dir(&cx(), &path("/R&D \u{fc}/in"), Attrs::default())
        .await
        .unwrap();
    let listed = |folder: &str| {
        let all = world.dovecot.doveadm(&["mailbox", "list", "-u", "alice"], b"");
        all.lines().any(|line| line == folder)
    };
    assert!(listed("INBOX.R&D \u{fc}.in"));
    // The delimiter is no part of a name; nothing can be below an Inbox that is the way to everything else.
    for bad in ["/a.b", "/Inbox/x"] {
        let made = fs.make_dir(&cx(), &path(bad), Attrs::default()).await;
        assert_eq!(kind(made), Some(FsErrorKind::InvalidName), "{bad}");
    }
    assert!(!listed("INBOX.x"));
    let again = fs.make_dir(&cx(), &path("/Inbox"), Attrs::default()).await;
    assert_eq!(kind(again), Some(FsErrorKind::Exists));
    let again = world.store.create_folder(None, "INBOX").await;
    assert_eq!(kind(again), Some(FsErrorKind::Exists));

    world.dovecot.deliver(
        "alice",
        "INBOX.R&D \u{fc}.in",
        &mail("s", 2, &[("b", b"2"), ("c", b"3")]),
    );
    world.delete("/R&D \u{fc}/in/c").await.unwrap();
    let rename = |from: &'static str, to: &'static str| async move {
        fs.rename(&cx(), &path(from), &path(to), Rename::NoReplace).await
    };
    rename("/R&D \u{fc}", "/Research").await.unwrap();
    assert!(listed("INBOX.Research.in") && !listed("INBOX.R&D \u{fc}"));
    assert_eq!(world.list("/Research/in").await, ["b"]);
    rename("/Research/in", "/Theirs/moved").await.unwrap();
    assert_eq!(world.read("/Theirs/moved/b").await.unwrap(), b"2");
    rename("/Theirs/moved", "/out").await.unwrap();
    assert!(listed("INBOX.out"));
    assert!(rename("/Drafts", "/D").await.is_err(), "its use protects it");

    let file = fs
        .open_write(
            &cx(),
            &path("/Drafts/up.bin"),
            OpenWrite::new(WriteMode::CreateNew),
        )
        .await
        .unwrap();
    file.write(0, vec![b"draft".to_vec().into()]).await.unwrap();
    file.commit().await.unwrap();
    assert_eq!(world.count("INBOX.Drafts"), 1);
    assert_eq!(world.read("/Drafts/up.bin").await.unwrap(), b"draft");
    for file in ["/Drafts/up.bin", "/out/b", "/Inbox/a.txt"] {
        world.delete(file).await.unwrap();
    }
    assert_eq!((world.count("INBOX.Drafts"), world.count("INBOX")), (0, 0));
    for dir in ["/out", "/Research", "/Theirs/deep", "/Theirs"] {
        fs.remove(&cx(), &path(dir), Removal::Dir).await.unwrap();
    }
    assert_eq!(world.list("/").await, ["Drafts", "Inbox", "Trash"]);
}

/// A folder called like the Inbox, and one called like a shared one: each is there, the account's own under its name.
#[tokio::test]
async fn folders_of_one_name_are_all_there() {
    let more = "namespace public {\n type = public\n prefix = Pub.\n separator = .\n \
                location = sdbox:%h/../public\n list = yes\n subscriptions = no\n}\n";
    let Some(world) = world(more, |_| {}) else {
        return;
    };
    let client = world.dovecot.client("alice");
    client
        .say("CREATE INBOX.Inbox")
        .say("CREATE INBOX.Inbox.below")
        .say("CREATE INBOX.Pub")
        .say("CREATE Pub.notes")
        .run();
    world
        .dovecot
        .deliver("alice", "INBOX.Inbox", &mail("s", 1, &[("mine", b"1")]));
    world
        .dovecot
        .deliver("alice", "Pub.notes", &mail("s", 2, &[("all", b"2")]));
    assert_eq!(
        world.list("/").await,
        ["Drafts", "Inbox", "Inbox (1)", "Pub", "Pub (shared)", "Trash"]
    );
    assert_eq!(world.list("/Inbox").await, Vec::<String>::new());
    assert_eq!(world.list("/Inbox (1)").await, ["below", "mine"]);
    assert_eq!(world.list("/Pub").await, Vec::<String>::new());
    assert_eq!(world.list("/Pub (shared)/notes").await, ["all"]);
    assert_eq!(world.read("/Pub (shared)/notes/all").await.unwrap(), b"2");
}

/// Without a prefix, what is below the Inbox stays there, beside a folder of the same name at the top.
#[tokio::test]
async fn without_a_prefix_folders_below_the_inbox_stay_there() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let client = world.dovecot.client("alice");
    client.say("CREATE INBOX/Lists").say("CREATE Lists").run();
    assert_eq!(world.list("/").await, ["Drafts", "Inbox", "Lists", "Trash"]);
    assert_eq!(world.list("/Inbox").await, ["Lists"]);
    for dir in ["/Inbox/new", "/new"] {
        let made = world.mailbox.make_dir(&cx(), &path(dir), Attrs::default()).await;
        made.unwrap();
    }
    assert_eq!(world.list("/Inbox").await, ["Lists", "new"]);
    assert_eq!(
        world.list("/").await,
        ["Drafts", "Inbox", "Lists", "Trash", "new"]
    );
}
