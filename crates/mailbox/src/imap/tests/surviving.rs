//! What goes wrong on the way: lost connections, crashes between two steps, folders made anew.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use portreeve_tests::process::until;
use portreeve_vfs::conformance::{Fixture, Stage, run};

use super::*;
use crate::{
    OnUpload, Sizes,
    imap::{
        index,
        ledger::{Alias, Intent, Ledger},
    },
};

/// A connection that is cut while an attachment is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_does_not_end_a_read() {
    let Some(world) = World::new(|options| options.connections = 1) else {
        return;
    };
    let content = portreeve_tests::data::bytes(20_000_000, 5);
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 1, &[("large.bin", &content)]));
    assert_eq!(world.list("/Inbox").await, ["large.bin"]);
    let before = world.store.inner.pool.dialled();
    let dovecot = Arc::clone(&world.dovecot);
    let kicking = std::thread::spawn(move || (0..4).filter(|_| dovecot.kick()).count());
    let read = world.read("/Inbox/large.bin").await.unwrap();
    assert!(read == content);
    let kicked = kicking.join().unwrap();
    let dialled = world.store.inner.pool.dialled() - before;
    assert!(
        kicked > 0 && dialled > 0,
        "no connection was lost: the test shows nothing ({kicked}, {dialled})"
    );
}

/// Whatever step of writing a message anew was the last before a crash: the next look ends it, and nothing is lost
/// or shown twice.
#[tokio::test]
async fn a_crash_between_two_steps_is_ended_at_the_next_look() {
    let Some(mut world) = World::new(|_| {}) else {
        return;
    };
    let both: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &both));
    let index = world.store.inner.index(&inbox()).await.unwrap();
    let validity = index.state.as_ref().unwrap().validity;
    let id = index.known[&1].message.id.clone();
    let ledger = Ledger::new(
        Arc::clone(&world.shelf) as Arc<dyn Shelf>,
        world.store.inner.space.clone(),
    );
    let intent = Intent {
        alias: Alias {
            id: id.0.to_string(),
            removed: vec!["2".into()],
            replaces: Some(1),
        },
        from: 2,
        internet_id: "m1@example.com".into(),
        names: vec!["b".into()],
        date: None,
        size: None,
    };
    // Before the new message was sent.
    ledger.intend(&inbox(), validity, 1, &intent).await.unwrap();
    world.restart();
    assert_eq!(world.list("/Inbox").await, ["a", "b"]);
    assert_eq!(world.count("INBOX"), 1);
    assert!(!ledger.load(&inbox(), validity).await.unwrap().unfinished());
    // After it was sent, before that was recorded.
    ledger.intend(&inbox(), validity, 1, &intent).await.unwrap();
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("other", 7, &[("c", b"3")]));
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &both[1..]));
    world.restart();
    assert_eq!(world.list("/Inbox").await, ["b", "c"]);
    assert_eq!(world.read("/Inbox/b").await.unwrap(), b"2");
    assert_eq!(world.count("INBOX"), 2);
    let page = world.store.messages(&inbox(), None).await.unwrap();
    assert!(
        page.items
            .iter()
            .any(|message| message.id == id && &*message.attachments[0].id.0 == "3")
    );
    // After it was recorded, before the old one was removed.
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &both));
    let alias = Alias {
        replaces: Some(4),
        ..intent.alias.clone()
    };
    ledger.written(&inbox(), validity, 3, &alias, None).await.unwrap();
    world.restart();
    assert_eq!(world.list("/Inbox").await, ["b", "c"]);
    assert_eq!(world.count("INBOX"), 2);
    assert!(!ledger.load(&inbox(), validity).await.unwrap().unfinished());
}

/// A message without `Message-ID`, which many scanners send.
fn nameless(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let text = String::from_utf8(mail("scan", 1, parts)).unwrap();
    text.replace("Message-ID: <m1@example.com>\r\n", "").into_bytes()
}

/// After a crash, what a stranger sent meanwhile is not taken for the message that was written anew, though neither has
/// a `Message-ID` and the attachments are called alike; what was written is.
#[tokio::test]
async fn a_strangers_message_is_never_taken_for_the_one_that_was_written() {
    let Some(mut world) = World::new(|_| {}) else {
        return;
    };
    let old = nameless(&[("a", b"1"), ("b", b"2")]);
    let written = nameless(&[("b", b"2")]);
    world.dovecot.deliver("alice", "INBOX", &old);
    assert_eq!(world.list("/Inbox").await, ["a", "b"]);
    let index = world.store.inner.index(&inbox()).await.unwrap();
    let validity = index.state.as_ref().unwrap().validity;
    let known = Arc::clone(&index.known[&1]);
    let ledger = Ledger::new(
        Arc::clone(&world.shelf) as Arc<dyn Shelf>,
        world.store.inner.space.clone(),
    );
    let intent = Intent {
        alias: Alias {
            id: known.message.id.0.to_string(),
            removed: vec!["2".into()],
            replaces: Some(1),
        },
        from: 2,
        internet_id: String::new(),
        names: vec!["b".into()],
        date: known.date.clone(),
        size: Some(written.len() as u64),
    };
    let append = async |world: &World, date: Option<&str>, message: &[u8]| {
        let mut lease = world.store.inner.pool.take(None).await.unwrap();
        let mut source = crate::imap::writing::Once(Some(message.to_vec().into()));
        let size = message.len() as u64;
        let connection = lease.connection().unwrap();
        let taken = connection.append("INBOX", "", date, size, &mut source).await;
        taken.unwrap().unwrap().1
    };
    // A stranger's: of another second, byte for byte what was to be written; of the same second, but another.
    let other = nameless(&[("b", b"another content")]);
    for (date, message, shown) in [
        (Some(" 2-Mar-2026 10:00:00 +0000"), &written, "b (1)"),
        (known.date.as_deref(), &other, "b (2)"),
    ] {
        ledger.intend(&inbox(), validity, 1, &intent).await.unwrap();
        let uid = append(&world, date, message).await;
        world.restart();
        assert_eq!(world.list("/Inbox").await, ["a", "b", shown]);
        assert_eq!(world.count("INBOX"), 2);
        assert_eq!(world.read("/Inbox/a").await.unwrap(), b"1");
        let records = ledger.load(&inbox(), validity).await.unwrap();
        assert!(!records.unfinished() && records.aliases.is_empty());
        let id = crate::imap::ledger::natural(validity, uid);
        world.store.delete_message(&inbox(), &id).await.unwrap();
    }
    // The one that was written.
    ledger.intend(&inbox(), validity, 1, &intent).await.unwrap();
    append(&world, known.date.as_deref(), &written).await;
    world.restart();
    assert_eq!(world.list("/Inbox").await, ["b"]);
    assert_eq!(world.count("INBOX"), 1);
    let page = world.store.messages(&inbox(), None).await.unwrap();
    assert_eq!(page.items[0].id, known.message.id);
}

#[tokio::test]
async fn a_folder_made_anew_has_other_messages() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let make = || world.dovecot.client("alice").say("CREATE Lists").run();
    make();
    world
        .dovecot
        .deliver("alice", "Lists", &mail("s", 1, &[("old", b"old"), ("x", b"")]));
    assert_eq!(world.list("/Lists").await, ["old", "x"]);
    let lists = FolderId("Lists".into());
    let id = world.store.messages(&lists, None).await.unwrap().items[0]
        .id
        .clone();
    world.dovecot.client("alice").say("DELETE Lists").run();
    assert_eq!(
        kind(world.mailbox.list(&cx(), &path("/Lists"), None).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.message(&lists, &id).await),
        Some(FsErrorKind::NotFound)
    );
    make();
    world
        .dovecot
        .deliver("alice", "Lists", &mail("s", 2, &[("new", b"new"), ("y", b"")]));
    assert_eq!(world.list("/Lists").await, ["new", "y"]);
    assert_eq!(
        kind(world.delete("/Lists/old").await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.delete_message(&lists, &id).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(world.count("Lists"), 1);
    assert_eq!(world.read("/Lists/new").await.unwrap(), b"new");
}

/// With IDLE, news are there long before the listing would be asked for anew.
#[tokio::test(flavor = "multi_thread")]
async fn news_arrive_by_idle() {
    let Some(world) = World::new(|options| {
        options.idle = true;
        options.fresh_for = DurationText(Duration::from_secs(3600));
    }) else {
        return;
    };
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 1, &[("a", b"1")]));
    world.store.look(Some(&inbox())).await.unwrap();
    let token = world.store.change_token(&inbox()).await.unwrap();
    let slot = world.store.inner.slots.of(&inbox());
    until("the folder is watched", Duration::from_secs(10), || {
        slot.is_watched()
    });
    assert_eq!(world.store.change_token(&inbox()).await.unwrap(), token);
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 2, &[("b", b"2")]));
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while world.store.change_token(&inbox()).await.unwrap() == token {
        assert!(std::time::Instant::now() < deadline, "no news of the new message");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.store.messages(&inbox(), None).await.unwrap().items.len(), 2);
}

/// Two thousand messages: whole, without doubles, without a body; the second look costs one command.
#[tokio::test]
async fn a_large_folder_is_complete_and_kept() {
    let Some(world) = World::new(|options| options.connections = 1) else {
        return;
    };
    let mut mbox = Vec::new();
    for n in 0..2000_u32 {
        mbox.extend_from_slice(b"From x Mon Mar  2 10:00:00 2026\n");
        let message = mail("s", n, &[(&format!("{n}.txt"), b"content")]);
        mbox.extend(message.into_iter().filter(|byte| *byte != b'\r'));
        mbox.push(b'\n');
    }
    let file = world.spool.path().join("mbox");
    std::fs::write(&file, mbox).unwrap();
    std::fs::set_permissions(
        world.spool.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let source = format!(
        "mbox:{}:INBOX={}",
        world.spool.path().join("none").display(),
        file.display()
    );
    world
        .dovecot
        .doveadm(&["import", "-u", "alice", &source, "", "mailbox", "INBOX"], b"");
    assert_eq!(world.count("INBOX"), 2000);
    let mut names = world.list("/Inbox").await;
    names.dedup();
    assert_eq!(names.len(), 2000);
    let revision = world.store.change_token(&inbox()).await.unwrap();
    assert_eq!(world.list("/Inbox").await.len(), 2000);
    assert_eq!(
        world.store.change_token(&inbox()).await.unwrap(),
        revision,
        "nothing was fetched anew"
    );
    assert_eq!(world.read("/Inbox/1999.txt").await.unwrap(), b"content");
    // By several commands, as a folder of very many is asked: the same.
    let mut lease = world.store.inner.pool.take(None).await.unwrap();
    let connection = lease.connection().unwrap();
    connection.select("INBOX", false, false).await.unwrap();
    let at_once = index::flags(connection, 2000, 2000).await.unwrap();
    let in_parts = index::flags(connection, 2000, 300).await.unwrap();
    assert_eq!(
        (at_once.0.len(), at_once.1, in_parts == at_once),
        (2000, true, true)
    );
}

/// One Dovecot, and a user of it for each case.
struct Drafts {
    dovecot: Arc<Dovecot>,
    next: AtomicU32,
}

#[async_trait::async_trait]
impl Fixture for Drafts {
    async fn stage(&self) -> Box<dyn Stage> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        Box::new(World::on(Arc::clone(&self.dovecot), |options| {
            options.username = Some(format!("user{n}"));
            options.mail.on_upload = OnUpload::Draft;
            // The suite wants sizes in listings.
            options.mail.sizes = Sizes::OnList;
            options.connections = 8;
        }))
    }
}

#[async_trait::async_trait]
impl Stage for World {
    fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.mailbox) as Arc<dyn FileSystem>
    }

    fn base(&self) -> VPath {
        path("/Inbox")
    }

    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        let (_, mailbox) = open(&self.options, &self.around);
        Some(mailbox)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    if !Dovecot::installed() {
        return;
    }
    let drafts = Drafts {
        dovecot: Arc::new(Dovecot::start(&Tokens::Introspected)),
        next: AtomicU32::new(0),
    };
    let report = run(&drafts).await.unwrap();
    for case in [
        "writing::sparse_and_out_of_order",
        "exclusive::race",
        "listing::under_change",
        "renaming::no_replace_race",
    ] {
        assert!(report.passed.contains(&case), "{case}");
    }
    println!("{} passed, skipped: {:?}", report.passed.len(), report.skipped);
}
