//! Get, then delete, while another client works in the same mailbox; and crashes in the middle of it.

use std::time::Duration;

use bytes::Bytes;
use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_vfs::SpoolArea;
use proptest::prelude::*;

use super::{
    store::{Act, Fails, Far},
    *,
};
use crate::{Layout, MailOptions, MailStore, MemoryShelf, Shelf, Surroundings};

fn open(far: &Arc<Far>, shelf: &Arc<dyn Shelf>, layout: Layout) -> Mailbox {
    let spool = Arc::new(SpoolArea::new(std::env::temp_dir(), 1 << 20, 1 << 20));
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    let around = Surroundings::new(Arc::clone(shelf), spool, cloud);
    let mail = MailOptions {
        template: "{attachment.name}".into(),
        layout,
        ..MailOptions::default()
    };
    Mailbox::over(Arc::clone(far) as Arc<dyn MailStore>, "test", &mail, &around).unwrap()
}

/// All files with their paths, as one listing after the other shows them.
async fn files(mailbox: &Mailbox) -> Vec<String> {
    let (mut dirs, mut out) = (vec!["/Inbox".to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        let Ok(mut listing) = mailbox.list(&cx(), &path(&dir), None).await else {
            continue;
        };
        for entry in listing.next(1000).await.unwrap() {
            let at = format!("{dir}/{}", entry.name.as_ref().unwrap());
            if entry.is_dir() {
                dirs.push(at);
            } else {
                out.push(at);
            }
        }
    }
    out
}

async fn get(mailbox: &Mailbox, file: &str) -> FsResult<Bytes> {
    let open = mailbox.open_read(&cx(), &path(file)).await?;
    open.read(0, 100, Vec::new()).await.map(Bytes::from)
}

/// Gets a file and deletes it by its name, and checks that nothing else went.
/// `between` happens before the deletion, `meanwhile` before each call that it makes.
async fn get_then_delete(
    far: &Arc<Far>,
    mailbox: &Mailbox,
    n: usize,
    between: Vec<Option<Act>>,
    meanwhile: Vec<Option<Act>>,
) -> Result<(), TestCaseError> {
    let files = files(mailbox).await;
    if files.is_empty() {
        return Ok(());
    }
    let file = &files[n % files.len()];
    let Ok(read) = get(mailbox, file).await else {
        return Ok(());
    };
    let before = {
        let mut inside = far.inside.lock();
        between.into_iter().flatten().for_each(|act| inside.act(act));
        inside.meanwhile = meanwhile.into();
        inside.lost()
    };
    let deleted = mailbox.remove(&cx(), &path(file), Removal::File).await;
    let inside = far.inside.lock();
    let (after, lost) = (inside.contents(), inside.lost());
    let by_us: Vec<&Bytes> = lost.difference(&before).collect();
    prop_assert!(
        by_us.iter().all(|content| **content == read),
        "{file}: read {read:?}, deleted {by_us:?}"
    );
    match deleted {
        Ok(()) => prop_assert!(!after.contains(&read), "{file} is still there"),
        Err(error) => {
            prop_assert_eq!(error.kind(), FsErrorKind::NotFound);
            prop_assert!(by_us.is_empty());
            prop_assert!(inside.taken.contains(&read), "{file} was there, and not deleted");
        }
    }
    Ok(())
}

fn act() -> impl Strategy<Value = Option<Act>> {
    prop_oneof![
        2 => Just(None),
        3 => (0usize..4).prop_map(|n| Some(Act::Part(n))),
        1 => (0usize..4).prop_map(|n| Some(Act::Message(n))),
        2 => (1usize..3).prop_map(|n| Some(Act::Deliver(n))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What was read is deleted, or nothing is, whatever another client does between any two calls.
    #[test]
    fn get_then_delete_removes_what_was_read_or_nothing(
        messages in prop::collection::vec(0usize..3, 1..4),
        steps in prop::collection::vec(
            (0usize..4, prop::collection::vec(act(), 0..3), prop::collection::vec(act(), 0..6), any::<bool>()),
            1..6,
        ),
        cached in any::<bool>(),
        nested in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let far = Far::fresh_for(if cached { Duration::from_secs(3600) } else { Duration::ZERO });
            let layout = if nested { Layout::Messages } else { Layout::Flat };
            let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
            for parts in messages {
                far.inside.lock().act(Act::Deliver(parts));
            }
            let mut mailbox = open(&far, &shelf, layout);
            for (n, between, meanwhile, restart) in steps {
                if restart {
                    mailbox = open(&far, &shelf, layout);
                }
                get_then_delete(&far, &mailbox, n, between, meanwhile).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

/// Wherever the process dies while the attachments of a message are deleted one after the other, nothing
/// that was not asked for is lost, and doing it again gets it done.
#[tokio::test]
async fn a_crash_at_any_change_loses_nothing_and_repeats_safely() {
    for how in [Fails::Before, Fails::After] {
        for at in 0..4 {
            let far = Far::new();
            let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
            far.deliver("s", &[("a", "one"), ("b", "two")]);
            far.deliver("s", &[("a", "other")]);
            let mailbox = open(&far, &shelf, Layout::Flat);
            assert_eq!(files(&mailbox).await, ["/Inbox/a", "/Inbox/a (1)", "/Inbox/b"]);
            far.fail(at, how);
            for file in ["/Inbox/a", "/Inbox/b"] {
                let _ = mailbox.remove(&cx(), &path(file), Removal::File).await;
            }
            far.heal();
            let left = far.inside.lock().contents();
            assert!(left.contains(&b"other"[..]), "{how:?} {at}");
            let mailbox = open(&far, &shelf, Layout::Flat);
            for file in ["/Inbox/a", "/Inbox/b"] {
                match mailbox.remove(&cx(), &path(file), Removal::File).await {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error.kind(), FsErrorKind::NotFound, "{how:?} {at}"),
                }
            }
            assert_eq!(files(&mailbox).await, ["/Inbox/a (1)"], "{how:?} {at}");
            assert_eq!(far.inside.lock().mails.len(), 1, "{how:?} {at}");
        }
    }
}

/// Two storages over one mailbox that show different things do not take each other's parts for gone.
#[tokio::test]
async fn two_storages_name_each_for_itself() {
    let far = Far::new();
    let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
    far.deliver("s", &[("a.pdf", "one"), ("a.PDF", "two"), ("a.xml", "three")]);
    let spool = Arc::new(SpoolArea::new(std::env::temp_dir(), 1 << 20, 1 << 20));
    let around = Surroundings::new(shelf, spool, Cloud::new(Arc::new(MemoryVault::default())));
    let open = |storage: &str, include: &str| {
        let mail = MailOptions {
            storage: storage.into(),
            template: "{attachment.name}".into(),
            include: vec![include.into()],
            ..MailOptions::default()
        };
        Mailbox::over(Arc::clone(&far) as Arc<dyn MailStore>, "test", &mail, &around).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(
            files(&open("some", "*.pdf")).await,
            ["/Inbox/a (1).PDF", "/Inbox/a.pdf"]
        );
        assert_eq!(files(&open("other", "*.xml")).await, ["/Inbox/a.xml"]);
        assert_eq!(far.inside.lock().contents().len(), 3);
    }
}

/// The name of what another client has deleted goes to no newcomer in between.
#[tokio::test]
async fn a_newcomer_does_not_inherit_a_name() {
    let far = Far::new();
    let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
    far.inside.lock().act(Act::Deliver(1));
    let mailbox = open(&far, &shelf, Layout::Flat);
    let meanwhile = vec![None, Some(Act::Deliver(1))];
    get_then_delete(&far, &mailbox, 0, vec![Some(Act::Part(0))], meanwhile)
        .await
        .unwrap();
    assert_eq!(files(&mailbox).await, ["/Inbox/a (1).pdf"]);
}
