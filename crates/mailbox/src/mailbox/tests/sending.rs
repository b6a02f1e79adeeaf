//! Uploads that are sent, and those that are taken in.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_vfs::SpoolArea;

use super::{
    store::{Fails, Far},
    *,
};
use crate::{
    Change, LeftWaiting, MailOptions, MailStore, Mailboxes, MakeMailbox, MemoryShelf, Shelf, Surroundings,
};

/// What one process sees of the shelf: nothing any more, once it is dead.
struct Line {
    shelf: Arc<MemoryShelf>,
    dead: AtomicBool,
}

impl Line {
    fn check(&self) -> FsResult<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(FsErrorKind::Backend.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Shelf for Line {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        self.check()?;
        self.shelf.load(space).await
    }

    async fn spaces(&self, prefix: &str) -> FsResult<Vec<String>> {
        self.check()?;
        self.shelf.spaces(prefix).await
    }

    async fn save(&self, space: &str, changes: &[Change]) -> FsResult<()> {
        self.check()?;
        self.shelf.save(space, changes).await
    }

    async fn replace(&self, space: &str, records: &[(String, String)]) -> FsResult<()> {
        self.check()?;
        self.shelf.replace(space, records).await
    }

    async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        self.check()?;
        self.shelf.rename(from, to).await
    }
}

struct Post {
    far: Arc<Far>,
    line: Arc<Line>,
    around: Surroundings,
    mailbox: Mailbox,
}

impl Post {
    fn new() -> Self {
        Self::on(Far::new(), Arc::default())
    }

    fn on(far: Arc<Far>, shelf: Arc<MemoryShelf>) -> Self {
        let dead = AtomicBool::new(false);
        let line = Arc::new(Line { shelf, dead });
        let shelf = Arc::clone(&line) as Arc<dyn Shelf>;
        let spool = Arc::new(SpoolArea::new(std::env::temp_dir(), 1 << 20, 1 << 20));
        let around = Surroundings::new(shelf, spool, Cloud::new(Arc::new(MemoryVault::default())));
        let mailbox = Self::open(&far, &around);
        Self {
            far,
            line,
            around,
            mailbox,
        }
    }

    fn open(far: &Arc<Far>, around: &Surroundings) -> Mailbox {
        let mail = MailOptions {
            on_upload: OnUpload::Send,
            ..MailOptions::default()
        };
        Mailbox::over(Arc::clone(far) as Arc<dyn MailStore>, "test", &mail, around).unwrap()
    }

    /// Another storage over the same mailbox, or the same one set up anew.
    fn also(&self, storage: &str, far: &Arc<Far>, delay: &str) -> Mailbox {
        let mail = MailOptions {
            on_upload: OnUpload::Send,
            storage: storage.into(),
            send_delay: serde_json::from_str(&format!("\"{delay}\"")).unwrap(),
            ..MailOptions::default()
        };
        Mailbox::over(Arc::clone(far) as Arc<dyn MailStore>, "test", &mail, &self.around).unwrap()
    }

    /// As after the process died: what it still does reaches neither mailbox nor shelf.
    fn restart(self) -> Self {
        let far = Far::new();
        std::mem::swap(&mut *far.inside.lock(), &mut *self.far.inside.lock());
        far.heal();
        self.far.fail(0, Fails::Before);
        self.line.dead.store(true, Ordering::SeqCst);
        Self::on(far, Arc::clone(&self.line.shelf))
    }

    async fn upload(&self, file: &str, content: &str) -> FsResult<Arc<dyn portreeve_vfs::WriteFile>> {
        let how = OpenWrite::new(WriteMode::Replace);
        let open = self.mailbox.open_write(&cx(), &path(file), how).await?;
        open.write(0, vec![content.to_owned().into()]).await?;
        Ok(open)
    }

    async fn put(&self, file: &str, content: &str) -> FsResult<()> {
        self.upload(file, content).await?.commit().await.map(drop)
    }

    async fn list(&self, dir: &str) -> Vec<String> {
        let mut listing = self.mailbox.list(&cx(), &path(dir), None).await.unwrap();
        let mut names = Vec::new();
        loop {
            let some = listing.next(1).await.unwrap();
            if some.is_empty() {
                return names;
            }
            names.extend(some.into_iter().map(|entry| entry.name.unwrap().to_string()));
        }
    }

    async fn remove(&self, at: &str, what: Removal) -> FsResult<()> {
        self.mailbox.remove(&cx(), &path(at), what).await
    }

    fn sent(&self) -> Vec<(String, String)> {
        let inside = self.far.inside.lock();
        inside
            .sent
            .iter()
            .map(|(to, name, _)| (to.clone(), name.clone()))
            .collect()
    }

    fn drafts(&self) -> usize {
        let inside = self.far.inside.lock();
        inside
            .mails
            .values()
            .filter(|mail| mail.folder == "Drafts")
            .count()
    }
}

const BOB: &str = "/Outbox/bob@x.example";

fn to_bob(name: &str) -> (String, String) {
    ("bob@x.example".into(), name.into())
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_told_of_as_the_message_that_is_to_be_sent() {
    let post = Post::new();
    let said = |cx: &OpCx| {
        let item = cx.noted().and_then(portreeve_vfs::Note::item).unwrap_or_default();
        let word = |key| item.get(key).unwrap_or_default().to_owned();
        [word("message_id"), word("attachment")]
    };
    let (file, renamed) = (path(&format!("{BOB}/a.txt")), path(&format!("{BOB}/b.txt")));
    let upload = cx();
    let how = OpenWrite::new(WriteMode::Replace);
    let open = post.mailbox.open_write(&upload, &file, how).await.unwrap();
    assert_eq!(said(&upload), ["", "a.txt"]);
    open.commit().await.unwrap();
    assert_eq!(said(&upload), ["<m0001@far>", "a.txt"]);
    let read = cx();
    post.mailbox.open_read(&read, &file).await.unwrap();
    assert_eq!(said(&read), ["<m0001@far>", "a.txt"]);
    let rename = cx();
    let done = post.mailbox.rename(&rename, &file, &renamed, Rename::NoReplace);
    done.await.unwrap();
    assert_eq!(said(&rename), ["<m0002@far>", "b.txt"]);
    let taken_back = cx();
    post.mailbox
        .remove(&taken_back, &renamed, Removal::File)
        .await
        .unwrap();
    assert_eq!(said(&taken_back), ["<m0002@far>", "b.txt"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_into_the_outbox_is_sent_after_the_delay() {
    let post = Post::new();
    // The real folder of that name is hidden.
    assert_eq!(post.list("/").await, ["Drafts", "Inbox", "Outbox", "Sent"]);
    assert!(
        post.mailbox
            .stat(&cx(), &path("/outbox"), Links::Keep)
            .await
            .is_err()
    );
    post.mailbox
        .make_dir(&cx(), &path(BOB), Attrs::default())
        .await
        .unwrap();
    assert!(post.list("/Outbox").await.is_empty());
    let open = post.upload(&format!("{BOB}/a.txt"), "hello").await.unwrap();
    seconds(100).await;
    assert_eq!(
        (post.drafts(), post.list(BOB).await.len()),
        (0, 0),
        "nothing before commit"
    );
    let entry = open.commit().await.unwrap();
    assert_eq!(entry.size, Some(5));
    assert_eq!(post.list("/Outbox").await, ["bob@x.example"]);
    assert_eq!(post.list(BOB).await, ["a.txt"]);
    let file = path(&format!("{BOB}/a.txt"));
    assert_eq!(post.mailbox.stat(&cx(), &file, Links::Keep).await.unwrap(), entry);
    let read = post.mailbox.open_read(&cx(), &file).await.unwrap();
    assert_eq!(read.read(0, 9, Vec::new()).await.unwrap(), b"hello");
    assert_eq!(
        kind(post.put(&format!("{BOB}/A.txt"), "x").await),
        Some(FsErrorKind::InvalidName)
    );
    assert_eq!(
        kind(post.remove(BOB, Removal::Dir).await),
        Some(FsErrorKind::NotEmpty)
    );
    seconds(28).await;
    assert!(post.sent().is_empty());
    seconds(4).await;
    assert_eq!(post.sent(), [to_bob("a.txt")]);
    assert_eq!((post.drafts(), post.list("/Outbox").await.len()), (0, 0));
    post.remove(BOB, Removal::Dir).await.unwrap();
    // The task has ended, and begins again.
    post.put(&format!("{BOB}/b.txt"), "x").await.unwrap();
    seconds(32).await;
    assert_eq!(post.sent(), [to_bob("a.txt"), to_bob("b.txt")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_in_time_is_not_sent() {
    let post = Post::new();
    for name in ["a", "b", "c.filepart"] {
        post.put(&format!("{BOB}/{name}"), "x").await.unwrap();
    }
    post.remove(&format!("{BOB}/a"), Removal::File).await.unwrap();
    assert_eq!(
        kind(post.remove(&format!("{BOB}/a"), Removal::File).await),
        Some(FsErrorKind::NotFound)
    );
    // Clients that write under a temporary name first.
    let (from, to) = (path(&format!("{BOB}/c.filepart")), path(&format!("{BOB}/c")));
    post.mailbox
        .rename(&cx(), &from, &to, Rename::NoReplace)
        .await
        .unwrap();
    let other = path("/Outbox/eve@x.example/c");
    assert_eq!(
        kind(post.mailbox.rename(&cx(), &to, &other, Rename::NoReplace).await),
        Some(FsErrorKind::Refused)
    );
    assert_eq!(
        (post.list(BOB).await, post.drafts()),
        (vec!["b".to_owned(), "c".to_owned()], 2)
    );
    seconds(40).await;
    assert_eq!(post.sent(), [to_bob("b"), to_bob("c")]);
    assert_eq!(post.drafts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_loses_nor_sends_twice() {
    let post = Post::new();
    post.put(&format!("{BOB}/a"), "x").await.unwrap();
    post.upload(&format!("{BOB}/never"), "x").await.unwrap();
    let post = post.restart();
    assert_eq!(post.list(BOB).await, ["a"]);
    // It is sent, and the process dies before that is recorded.
    post.far.fail(0, Fails::After);
    seconds(35).await;
    let post = post.restart();
    assert_eq!(post.list(BOB).await, ["a"]);
    seconds(3600).await;
    assert_eq!(post.sent(), [to_bob("a")]);
    assert!(post.list(BOB).await.is_empty());
    assert!(post.line.shelf.load("outbox\ntest").await.unwrap().is_empty());
}

/// Mailboxes of whatever address, in a storage; how many were made.
fn any(post: &Post, storage: &str) -> (Arc<Mailboxes>, Arc<AtomicUsize>) {
    let (far, around) = (Arc::clone(&post.far), post.around.clone());
    let mail = MailOptions {
        on_upload: OnUpload::Send,
        storage: storage.into(),
        ..MailOptions::default()
    };
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let make: MakeMailbox = Box::new(move |address| {
        count.fetch_add(1, Ordering::SeqCst);
        let store = Arc::clone(&far) as Arc<dyn MailStore>;
        let mailbox = Mailbox::over(store, &format!("far {address}"), &mail, &around);
        Ok(Arc::new(mailbox.map_err(|_| FsErrorKind::Backend)?))
    });
    let all = Arc::new(Mailboxes::any(make).unwrap());
    made.store(0, Ordering::SeqCst);
    (all, made)
}

async fn put_at(all: &Mailboxes, file: &str) {
    let how = OpenWrite::new(WriteMode::Replace);
    let open = all.open_write(&cx(), &path(file), how).await.unwrap();
    open.write(0, vec!["x".into()]).await.unwrap();
    open.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_waits_is_sent_though_nobody_uses_its_mailbox() {
    let post = Post::new();
    let (mine, _) = any(&post, "mine");
    put_at(&mine, "/ann@x/Outbox/bob@x.example/a").await;
    put_at(&mine, "/jim@x/Outbox/bob@x.example/b").await;
    let (other, _) = any(&post, "other");
    put_at(&other, "/ann@x/Outbox/bob@x.example/c").await;
    put_at(&other, "/eve@x/Outbox/bob@x.example/d").await;
    let broken = [Change::Put {
        key: "k".into(),
        value: "?".into(),
    }];
    post.line.save("outbox\nfar odd@x", &broken).await.unwrap();
    let broken = [Change::Put {
        key: "k".into(),
        value: "?".into(),
    }];
    post.line.save("outbox\nfarther@x", &broken).await.unwrap();
    let post = post.restart();
    // Nobody else opens anything.
    let (mine, made) = any(&post, "mine");
    let left = || LeftWaiting::new(&post.around, "mine", "far ".into());
    post.line.dead.store(true, Ordering::SeqCst);
    mine.open_waiting(left());
    seconds(60).await;
    assert!(post.sent().is_empty());
    // The records can be read again.
    post.line.dead.store(false, Ordering::SeqCst);
    seconds(60).await;
    assert_eq!(
        made.load(Ordering::SeqCst),
        2,
        "those in which something of its own waits"
    );
    let mut sent = post.sent();
    sent.sort();
    // What the other storage has waiting in a mailbox that is open goes out by what is there.
    assert_eq!(sent, ["a", "b", "c"].map(to_bob));
    // A storage that was given up before that opens nothing.
    let (other, made) = any(&post, "other");
    other.open_waiting(LeftWaiting::new(&post.around, "other", "far ".into()));
    drop(other);
    seconds(60).await;
    assert_eq!((made.load(Ordering::SeqCst), post.sent().len()), (0, 3));
}

/// A configuration that is only looked at, or refused after its storages were opened.
#[tokio::test(start_paused = true)]
async fn who_does_not_serve_sends_nothing() {
    let post = Post::new();
    let (mine, _) = any(&post, "mine");
    put_at(&mine, "/ann@x/Outbox/bob@x.example/a").await;
    let mut post = post.restart();
    post.around = post.around.holding_back();
    let left = |post: &Post| LeftWaiting::new(&post.around, "mine", "far ".into());
    let (mine, made) = any(&post, "mine");
    mine.open_waiting(left(&post));
    seconds(3600).await;
    assert_eq!((made.load(Ordering::SeqCst), post.sent().len()), (1, 0));
    drop(mine);
    post.around.send_what_waits();
    seconds(3600).await;
    assert!(post.sent().is_empty(), "nobody has it any more");

    let (refused, made) = any(&post, "mine");
    refused.open_waiting(left(&post));
    while made.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(refused);
    seconds(1).await;
    let (mine, _) = any(&post, "mine");
    mine.open_waiting(left(&post));
    seconds(3600).await;
    assert_eq!(post.sent(), [to_bob("a")]);
}

#[tokio::test(start_paused = true)]
async fn two_of_one_mailbox_send_once() {
    let post = Post::new();
    post.put(&format!("{BOB}/a"), "x").await.unwrap();
    // As at a reload: the former one may still have sessions.
    let other = Post::open(&post.far, &post.around);
    seconds(60).await;
    assert_eq!(post.sent(), [to_bob("a")]);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn storages_of_one_mailbox_see_and_delay_what_is_theirs() {
    let post = Post::new();
    let other = post.also("other", &post.far, "1h");
    let file = format!("{BOB}/a");
    post.put(&file, "x").await.unwrap();
    let at = path(&file);
    let missing = Some(FsErrorKind::NotFound);
    assert_eq!(kind(other.stat(&cx(), &at, Links::Keep).await), missing);
    assert_eq!(kind(other.open_read(&cx(), &at).await), missing);
    assert_eq!(kind(other.remove(&cx(), &at, Removal::File).await), missing);
    let to = path(&format!("{BOB}/b"));
    let renamed = other.rename(&cx(), &at, &to, Rename::NoReplace).await;
    assert_eq!(kind(renamed), missing);
    let mut listing = other.list(&cx(), &path("/Outbox"), None).await.unwrap();
    assert!(listing.next(9).await.unwrap().is_empty());
    // Nor does what one has waiting take the name from the other, or its delay.
    let how = OpenWrite::new(WriteMode::Replace);
    let open = other.open_write(&cx(), &at, how).await.unwrap();
    open.write(0, vec!["y".into()]).await.unwrap();
    open.commit().await.unwrap();
    assert_eq!((post.list(BOB).await, post.drafts()), (vec!["a".to_owned()], 2));
    seconds(60).await;
    assert_eq!(post.sent(), [to_bob("a")]);
    assert!(other.stat(&cx(), &at, Links::Keep).await.is_ok());
    seconds(3600).await;
    assert_eq!(post.sent(), [to_bob("a"), to_bob("a")]);
}

#[tokio::test(start_paused = true)]
async fn a_store_set_up_anew_sends_when_it_is_used_or_the_former_is_gone() {
    // As with credentials that do not work: nothing is there.
    let bad = Far::new();
    bad.inside.lock().send_fails = true;
    let post = Post::new();
    post.put(&format!("{BOB}/a"), "x").await.unwrap();
    // A reload that is refused has opened its storages, for a while or longer.
    let refused = post.also("", &bad, "1s");
    seconds(60).await;
    drop(refused);
    post.put(&format!("{BOB}/b"), "x").await.unwrap();
    seconds(60).await;
    assert_eq!(post.sent(), [to_bob("a"), to_bob("b")]);

    // Another password is set: the former one does not work any more, and has sessions still.
    let moved = |from: &Arc<Far>| {
        let to = Far::new();
        std::mem::swap(&mut *to.inside.lock(), &mut *from.inside.lock());
        from.inside.lock().send_fails = true;
        to
    };
    post.put(&format!("{BOB}/c"), "x").await.unwrap();
    let second = moved(&post.far);
    let unused = post.also("", &second, "30s");
    seconds(3600).await;
    assert_eq!(second.inside.lock().sent.len(), 2);
    let Post {
        mailbox,
        around,
        line,
        ..
    } = post;
    drop(mailbox);
    seconds(7200).await;
    assert_eq!(second.inside.lock().sent.len(), 3, "its sessions are gone");

    let mut post = Post {
        far: Arc::clone(&second),
        line,
        around,
        mailbox: unused,
    };
    post.put(&format!("{BOB}/d"), "x").await.unwrap();
    let third = moved(&second);
    let used = post.also("", &third, "30s");
    used.list(&cx(), &path("/Outbox"), None).await.unwrap();
    // Who still uses the former one does not bring it back.
    post.list("/Outbox").await;
    seconds(60).await;
    assert_eq!(third.inside.lock().sent.len(), 4, "somebody uses it");
    post.mailbox = used;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_stays_and_is_tried_again() {
    let post = Post::new();
    post.far.inside.lock().send_fails = true;
    post.put(&format!("{BOB}/a"), "x").await.unwrap();
    seconds(600).await;
    assert_eq!(
        (post.list(BOB).await, post.sent().len()),
        (vec!["a".to_owned()], 0)
    );
    post.far.inside.lock().send_fails = false;
    seconds(3600).await;
    assert_eq!(post.sent(), [to_bob("a")]);

    // Not for ever: but then it can still be seen, and deleted.
    post.far.inside.lock().send_fails = true;
    post.put(&format!("{BOB}/b"), "x").await.unwrap();
    seconds(4 * 24 * 3600).await;
    post.far.inside.lock().send_fails = false;
    seconds(4 * 24 * 3600).await;
    assert_eq!(post.sent().len(), 1);
    post.remove(&format!("{BOB}/b"), Removal::File).await.unwrap();
    assert_eq!(post.drafts(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_one_address_is_a_recipient_and_nothing_else_takes_uploads() {
    let post = Post::new();
    for refused in [
        "/Inbox/a",
        "/Outbox/a",
        "/a",
        "/Outbox/a@b,c@d/a",
        "/Outbox/a@b\r\nBcc: c@d/a",
        "/Outbox/bob/a",
        "/Outbox/bob@x.example/sub/a",
        "/outbox/bob@x.example/a",
    ] {
        assert!(post.put(refused, "x").await.is_err(), "{refused:?}");
    }
    for refused in ["/Outbox/nobody", "/Outbox/bob@x.example/sub", "/OUTBOX"] {
        let made = post
            .mailbox
            .make_dir(&cx(), &path(refused), Attrs::default())
            .await;
        assert!(made.is_err(), "{refused}");
    }
    let refused = Some(FsErrorKind::Refused);
    assert_eq!(kind(post.remove("/Outbox", Removal::Dir).await), refused);
    let renamed = post
        .mailbox
        .rename(&cx(), &path("/Outbox"), &path("/x"), Rename::NoReplace)
        .await;
    assert_eq!(kind(renamed), refused);
    // A draft that cannot be made leaves nothing.
    post.far.fail(0, Fails::Before);
    assert!(post.put(&format!("{BOB}/a"), "x").await.is_err());
    post.far.heal();
    assert_eq!((post.drafts(), post.list(BOB).await.len()), (0, 0));
}

#[tokio::test]
async fn whole_messages_are_taken_in() {
    let world = World::empty(|o| o.mail.on_upload = OnUpload::Import);
    let raw = mail("Taken in", 1, &[("a.pdf", "content")]);
    for name in ["a.pdf", "a.eml.filepart"] {
        let refused = world.put(&format!("/Inbox/{name}"), raw.as_bytes()).await;
        assert_eq!(kind(refused), Some(FsErrorKind::Refused), "{name}");
    }
    world.put("/Inbox/x.EML", raw.as_bytes()).await.unwrap();
    assert_eq!(world.list("/Inbox").await, ["Taken in-a.pdf"]);
    assert_eq!(world.get("/Inbox/Taken in-a.pdf").await.unwrap(), b"content");
    let new = world.files("new");
    assert_eq!(fs::read(world.root("new").join(&new[0])).unwrap(), raw.as_bytes());
}

#[test]
fn a_store_that_cannot_send_says_so() {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path()).unwrap();
    let mut options = MaildirOptions::new(dir.path());
    options.mail.on_upload = OnUpload::Send;
    let error = Mailbox::maildir(&options).err().unwrap();
    assert_eq!(error.option, "on_upload");
}
