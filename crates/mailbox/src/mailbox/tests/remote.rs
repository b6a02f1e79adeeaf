//! Options, and a store that is remote and slow.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_vfs::{FsError, Retry, SpoolArea};

use super::*;
use crate::{
    ChangeToken, Content, Draft, Folder, FolderId, MailOptions, MailStore, MemoryShelf, Message, MessageId,
    OnDelete, Page, PageCursor, PartId, Shelf, Sizes, StoreAbilities, Surroundings,
};

#[test]
fn options_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&mut MaildirOptions), option: &str, part: &str| {
        let mut options = MaildirOptions::new(dir.path());
        change(&mut options);
        let error = Mailbox::maildir(&options).err().unwrap();
        assert_eq!(error.option, option);
        assert!(error.text.contains(part), "{error}");
    };
    check(&|_| {}, "root", "no Maildir");
    sample::write(dir.path()).unwrap();
    check(&|o| o.root = "/nowhere".into(), "root", "/nowhere");
    check(
        &|o| o.mail.template = "{subject}".into(),
        "template",
        "message.subject",
    );
    check(&|o| o.mail.include = vec!["[".into()], "include", "'['");
    check(&|o| o.mail.exclude = vec!["[".into()], "exclude", "'['");
    check(&|o| o.mail.on_delete = OnDelete::Move, "on_delete", "/Processed");
    check(&|o| o.mail.max_entries = 0, "max_entries", "no message");
    check(&|o| o.mail.move_to = Some("/x".into()), "move_to", "on_delete");
}

/// A store over the network that hands out two messages a page, and asks to slow down when told.
struct Remote {
    inner: Arc<Maildir>,
    abilities: StoreAbilities,
    requests: AtomicU32,
    looks: AtomicU32,
    opened: AtomicU32,
    throttled: std::sync::atomic::AtomicBool,
}

impl Remote {
    fn ask(&self) -> FsResult<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.throttled.load(Ordering::Relaxed) {
            let error = FsError::new(FsErrorKind::Throttled);
            return Err(error.retry_advice(Retry::After(Duration::from_secs(30))));
        }
        Ok(())
    }
}

#[async_trait]
impl MailStore for Remote {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    async fn folders(&self, parent: Option<&FolderId>, from: Option<&PageCursor>) -> FsResult<Page<Folder>> {
        self.ask()?;
        // One folder a page, and an empty page between.
        let all = self.inner.folders(parent, None).await?.items;
        let at: usize = from.map_or(0, |cursor| cursor.0.parse().unwrap());
        let items = if at.is_multiple_of(2) {
            Vec::new()
        } else {
            all.get(at / 2).cloned().into_iter().collect()
        };
        let next = (at / 2 < all.len()).then(|| PageCursor((at + 1).to_string().into()));
        Ok(Page { items, next })
    }

    async fn messages(&self, folder: &FolderId, from: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>> {
        self.ask()?;
        let all = self.inner.messages(folder, None).await?.items;
        let at: usize = from.map_or(0, |cursor| cursor.0.parse().unwrap());
        // Overlapping by one, as offset paging over a changing folder does; sizes are not known.
        let mut items: Vec<Arc<Message>> = all.iter().skip(at.saturating_sub(1)).take(3).cloned().collect();
        for item in &mut items {
            Arc::make_mut(item)
                .attachments
                .iter_mut()
                .for_each(|a| a.size = None);
        }
        let next = (at + 2 < all.len()).then(|| PageCursor((at + 2).to_string().into()));
        Ok(Page { items, next })
    }

    async fn look(&self, _: Option<&FolderId>) -> FsResult<()> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        if self.throttled.load(Ordering::Relaxed) {
            return Err(FsErrorKind::Throttled.into());
        }
        Ok(())
    }

    async fn change_token(&self, _: &FolderId) -> FsResult<Option<ChangeToken>> {
        self.ask()?;
        Ok(None)
    }

    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message> {
        self.ask()?;
        self.inner.message(folder, message).await
    }

    async fn open_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        self.ask()?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.inner.open_part(folder, message, part).await
    }

    async fn delete_part(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<()> {
        self.ask()?;
        self.inner.delete_part(folder, message, part).await
    }

    async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.ask()?;
        self.inner.delete_message(folder, message).await
    }

    async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.inner.soft_delete(folder, message).await
    }

    async fn move_message(&self, folder: &FolderId, message: &MessageId, to: &FolderId) -> FsResult<()> {
        self.inner.move_message(folder, message, to).await
    }

    async fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder> {
        self.inner.create_folder(parent, name).await
    }

    async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        self.inner.rename_folder(folder, parent, name).await
    }

    async fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        self.inner.delete_folder(folder).await
    }

    async fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        self.inner.create_draft(folder, draft, content).await
    }
}

/// Puts `world`'s mailbox far away, with its records on `shelf`.
fn far_away(world: &mut World, shelf: &Arc<dyn Shelf>, sizes: Sizes) -> Arc<Remote> {
    let remote = Arc::new(Remote {
        inner: Arc::clone(&world.store),
        abilities: StoreAbilities {
            remote: true,
            fresh_for: Duration::from_secs(3600),
            ..world.store.abilities().clone()
        },
        requests: AtomicU32::new(0),
        looks: AtomicU32::new(0),
        opened: AtomicU32::new(0),
        throttled: false.into(),
    });
    let mail = MailOptions {
        template: "{attachment.name}".into(),
        on_upload: OnUpload::Draft,
        sizes,
        ..MailOptions::default()
    };
    let spool = Arc::new(SpoolArea::new(std::env::temp_dir(), 1000, 1000));
    let around = Surroundings::new(
        Arc::clone(shelf),
        spool,
        Cloud::new(Arc::new(MemoryVault::default())),
    );
    let store = Arc::clone(&remote) as Arc<dyn MailStore>;
    world.mailbox = Arc::new(Mailbox::over(store, "test", &mail, &around).unwrap());
    remote
}

#[tokio::test]
async fn a_remote_store_is_asked_seldom_and_serves_while_throttled() {
    let mut world = World::empty(|_| {});
    for n in 0..9 {
        world.deliver(&format!("cur/{n}.x:2,"), mail("s", n, &[("a", &n.to_string())]));
    }
    let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
    let remote = far_away(&mut world, &shelf, Sizes::OnStat);
    assert!(world.mailbox.capabilities().paged);

    let mut want: Vec<String> = (1..9).map(|n| format!("a ({n})")).collect();
    want.insert(0, "a".into());
    assert_eq!(world.list("/Inbox").await, want);
    assert_eq!(remote.looks.load(Ordering::Relaxed), 1);
    // A size is learnt once; everything else within its freshness costs nothing, misses included.
    let asked = remote.requests.load(Ordering::Relaxed) + 1;
    for again in [false, false, true] {
        if again {
            // As long as the part lives, whatever is listed anew.
            world.mailbox.shared.views.expire();
        }
        let file = path("/Inbox/a (3)");
        let stat = world.mailbox.stat(&cx(), &file, Links::Keep).await.unwrap();
        assert_eq!(stat.size, Some(1));
        if !again {
            assert_eq!(remote.requests.load(Ordering::Relaxed), asked);
        }
    }
    assert_eq!(remote.opened.load(Ordering::Relaxed), 1);
    let asked = remote.requests.load(Ordering::Relaxed);
    assert_eq!(
        kind(world.mailbox.stat(&cx(), &path("/Inbox/b"), Links::Keep).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(remote.requests.load(Ordering::Relaxed), asked);
    // An open file knows its size.
    let open = world.open("/Inbox/a (3)").await.unwrap();
    assert_eq!(open.entry().size, Some(1));
    assert_eq!(open.read(0, 9, Vec::new()).await.unwrap(), b"3");

    // While the store asks to slow down, the last listing serves; a deletion says so.
    remote.throttled.store(true, Ordering::Relaxed);
    world.mailbox.shared.views.expire();
    let mut listing = world.mailbox.list(&cx(), &path("/Inbox"), None).await.unwrap();
    assert_eq!(listing.next(100).await.unwrap().len(), 9);
    let refused = world.delete("/Inbox/a (3)").await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.retry()),
        (FsErrorKind::Throttled, Retry::After(Duration::from_secs(30)))
    );
    remote.throttled.store(false, Ordering::Relaxed);
    world.delete("/Inbox/a (3)").await.unwrap();
    assert_eq!(world.files("cur").len(), 8);
    assert_eq!(
        kind(world.open("/Inbox/a (3)").await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn sizes_are_learnt_before_a_listing_where_clients_trust_it() {
    let mut world = World::empty(|_| {});
    for n in 0..9 {
        let content = "x".repeat(n as usize);
        world.deliver(&format!("cur/{n}.x:2,"), mail("s", n, &[("a", &content)]));
    }
    let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
    for opened in [9, 0] {
        // What was learnt outlives the process.
        let remote = far_away(&mut world, &shelf, Sizes::OnList);
        let mut listing = world.mailbox.list(&cx(), &path("/Inbox"), None).await.unwrap();
        let entries = listing.next(100).await.unwrap();
        let mut sizes: Vec<Option<u64>> = entries.iter().map(|entry| entry.size).collect();
        sizes.sort();
        assert_eq!(sizes, (0..9).map(Some).collect::<Vec<_>>());
        assert_eq!(remote.opened.load(Ordering::Relaxed), opened);
    }
}

#[tokio::test]
async fn uploads_far_away_pass_through_the_spool() {
    let mut world = World::empty(|_| {});
    let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
    far_away(&mut world, &shelf, Sizes::OnStat);
    assert_eq!(world.mailbox.capabilities().max_file, Some(1000));
    world.put("/Inbox/new.txt", b"hello").await.unwrap();
    assert_eq!(world.get("/Inbox/new.txt").await.unwrap(), b"hello");
    let much = vec![0; 1001];
    assert_eq!(
        kind(world.put("/Inbox/much.txt", &much).await),
        Some(FsErrorKind::TooLarge)
    );
    assert_eq!(world.list("/Inbox").await, ["new.txt"]);
}
