//! The mailbox while Microsoft's services have a bad day.

use std::collections::HashSet;

use portreeve_tests_microsoft::{Attachment, Message as Mail};

use super::*;
use crate::{AttachmentKind, FolderKind};

/// Every defence at once: a fifth of all calls fails in one way or another, and yet everything comes,
/// once, whole, and never with more than four requests under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_complete_though_a_fifth_of_the_calls_fails() {
    let world = World::new();
    let faults = world.standin.faults();
    faults.page_size(Some(20));
    faults.retry_after(Some("0"));
    faults.seed(11);
    faults.every_kind(0.2);
    let mut want = BTreeMap::new();
    for folder in 0..5 {
        let path = format!("Inbox/F{folder}");
        world.mailbox.folder(&path);
        for n in 0..40 {
            let content = format!("{folder} {n}").repeat(1000);
            let mail = Mail::new(&format!("{folder}-{n}")).file("a.txt", content.clone().into_bytes());
            world.mailbox.deliver(&path, mail);
            want.insert(format!("{folder}-{n}"), content.into_bytes());
        }
    }
    let store = Arc::new(world.store);
    let top = again(|| store.folders(None, None)).await.items;
    let inbox = top.into_iter().find(|folder| folder.name == "Inbox").unwrap();
    let folders = again(|| store.folders(Some(&inbox.id), None)).await.items;
    let mut tasks = Vec::new();
    for folder in folders {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let page = again(|| store.messages(&folder.id, None)).await;
            assert!(page.next.is_none());
            let mut got = Vec::new();
            for message in page.items {
                let part = &message.attachments[0].id;
                let content = again(|| store.open_part(&folder.id, &message.id, part)).await;
                got.push((message.summary.subject.clone(), read(&*content).await.unwrap()));
            }
            got
        }));
    }
    let mut got = Vec::new();
    for task in tasks {
        got.extend(task.await.unwrap());
    }
    assert_eq!(got.len(), want.len(), "something came twice or not at all");
    assert!(got.into_iter().collect::<BTreeMap<_, _>>() == want);
    assert!(faults.injected() > 50, "{}", faults.injected());
    assert!(
        world.standin.most_in_flight(ADDRESS) <= 4,
        "{}",
        world.standin.most_in_flight(ADDRESS)
    );
    assert_eq!(world.standin.over_limit(), 0);
}

/// What a client does with an error that says that it passes.
async fn again<T, F: Future<Output = FsResult<T>>>(ask: impl Fn() -> F) -> T {
    for _ in 0..5 {
        match ask().await {
            Ok(got) => return got,
            Err(error) => assert_ne!(error.retry(), portreeve_vfs::Retry::Never, "{error}"),
        }
    }
    panic!("it does not get through");
}

#[tokio::test]
async fn answers_that_are_broken_are_never_the_end_of_a_list() {
    use portreeve_tests_microsoft::Fault;
    for fault in [Fault::TruncatedJson, Fault::EmbeddedError] {
        let world = World::new();
        for n in 0..60 {
            world
                .mailbox
                .deliver("Inbox", Mail::new(&format!("M{n}")).file("a.txt", "1"));
        }
        let inbox = world.inbox().await;
        world.standin.faults().page_size(Some(10));
        world.standin.faults().rate(fault, 0.3);
        assert_eq!(world.listing(&inbox).await.len(), 60, "{fault:?}");
    }
}

#[tokio::test]
async fn while_exchange_asks_to_slow_down_the_index_serves() {
    let mut world = World::new();
    world.mailbox.deliver("Inbox", Mail::new("M").file("a.txt", "1"));
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    world.settle().await;
    // With little patience, as if it were used up.
    let limits = GraphLimits {
        attempts: 2,
        patience: Duration::from_millis(10),
        ..limits()
    };
    world.store = open(
        &world.options,
        world.standin.secret(),
        limits,
        &around(&world.shelf, &world.dir),
    );
    world.folder("Inbox").await;
    world.listing(&inbox).await;
    world.expire().await;
    world.standin.faults().retry_after(Some("600"));
    world.standin.faults().fail_next(1000, "/v1.0", 429);
    world.store.look(Some(&inbox)).await.unwrap();
    assert_eq!(world.listing(&inbox).await.len(), 1);
    assert_eq!(world.folder("Inbox").await.id, inbox);
    // What needs an answer of its own is told when to come back.
    let refused = world
        .store
        .message(&inbox, &world.message(&inbox, "M").await.id)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::Throttled);
    assert!(matches!(refused.retry(), portreeve_vfs::Retry::After(wait) if wait > Duration::from_secs(300)));
}

#[tokio::test]
async fn tokens_that_expire_on_the_way_are_renewed() {
    let world = World::new();
    for n in 0..30 {
        world
            .mailbox
            .deliver("Inbox", Mail::new(&format!("M{n}")).file("a.txt", "1"));
    }
    world.standin.faults().page_size(Some(5));
    let inbox = world.inbox().await;
    let issued = world.standin.tokens_issued();
    let hold = world.standin.faults().hold("skiptoken");
    let standin = &world.standin;
    let (listing, ()) = tokio::join!(world.listing(&inbox), async {
        let hold = tokio::task::spawn_blocking(move || {
            assert!(hold.wait(1, Duration::from_secs(20)));
            hold
        });
        let hold = hold.await.unwrap();
        standin.expire_tokens();
        hold.release();
    });
    assert_eq!(listing.len(), 30);
    assert!(world.standin.tokens_issued() > issued);
}

#[tokio::test]
async fn access_that_is_withdrawn_is_told_plainly() {
    let world = World::new();
    world.mailbox.deliver("Inbox", Mail::new("M").file("a.txt", "1"));
    let inbox = world.inbox().await;
    world.listing(&inbox).await;
    world.settle().await;
    world.standin.access_policy(world.standin.app_id(), Some(&[]));
    world.expire().await;
    let refused = world.messages(&inbox).await.unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::Denied);
    assert!(
        refused.message().contains("option mailbox") && refused.message().contains("doctor"),
        "{refused}"
    );
    assert!(
        !refused.message().to_lowercase().contains("invoices@"),
        "{refused}"
    );
    // And given back.
    world.standin.access_policy(world.standin.app_id(), None);
    assert_eq!(world.listing(&inbox).await.len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_is_not_there_is_told_as_such() {
    let world = World::new();
    world.mailbox.enabled(false);
    let refused = world.store.folders(None, None).await.unwrap_err();
    assert!(refused.message().contains("option mailbox"), "{refused}");
    assert_eq!(refused.kind(), FsErrorKind::Backend);
}

#[tokio::test]
async fn without_the_inner_select_of_an_expansion_attachments_are_asked_one_by_one() {
    let world = World::new();
    world.standin.faults().no_inner_select(true);
    for n in 0..50 {
        world.mailbox.deliver(
            "Inbox",
            Mail::new(&format!("M{n}")).file("a.txt", "1").file("b.txt", "2"),
        );
    }
    let inbox = world.inbox().await;
    let got = world.listing(&inbox).await;
    assert_eq!(got.len(), 50);
    assert!(got.values().all(|names| names.len() == 2));
    let message = world.message(&inbox, "M7").await;
    let asked = world.store.message(&inbox, &message.id).await.unwrap();
    assert!(asked.complete && asked.attachments.len() == 2);
    world.settle().await;
    world
        .mailbox
        .deliver("Inbox", Mail::new("late").file("c.txt", "1"));
    world.expire().await;
    assert_eq!(world.listing(&inbox).await["late"], ["c.txt"]);
}

#[tokio::test]
async fn where_folder_deltas_are_refused_the_levels_are_asked() {
    let world = World::new();
    world.mailbox.folder("Inbox/A/B");
    world.standin.faults().page_size(Some(2));
    world.standin.faults().fail_next(1, "mailFolders/delta", 400);
    assert_eq!(world.folder("Inbox/A/B").await.name, "B");
    let names: HashSet<String> = world
        .store
        .folders(None, None)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|folder| folder.name)
        .collect();
    assert!(names.len() >= 7, "{names:?}");
}

#[tokio::test]
async fn sessions_share_one_question() {
    let world = World::new();
    for n in 0..20 {
        world
            .mailbox
            .deliver("Inbox", Mail::new(&format!("M{n}")).file("a.txt", "1"));
    }
    let inbox = world.inbox().await;
    world.standin.clear_log();
    let all = futures::future::join_all((0..50).map(|_| world.messages(&inbox))).await;
    assert!(all.into_iter().all(|got| got.unwrap().len() == 20));
    let log = world.standin.log();
    let listings = log
        .iter()
        .filter(|call| call.target.contains("$filter=hasAttachments"));
    assert_eq!(listings.count(), 1, "{log:#?}");
}

/// A message may be deleted by this answer. Graph's `hasAttachments` leaves out what is marked as inline, links
/// among it, and says false.
#[tokio::test]
async fn the_deciding_question_is_whole_where_attachments_do_not_come_along() {
    let world = World::new();
    world.standin.faults().no_inner_select(true);
    let mut link = Attachment::reference("plan.docx", "https://cloud.example.test/plan");
    link.inline = true;
    let id = world
        .mailbox
        .deliver("Inbox", Mail::new("M").file("a.txt", "1").with(link));
    let inbox = world.inbox().await;
    let message = world.message(&inbox, "M").await;
    let found = world.mailbox.message(&id).unwrap();
    let file = found.names().iter().position(|name| name == "a.txt").unwrap();
    world.mailbox.delete_attachment(&id, &found.attachments[file]);
    let asked = world.store.message(&inbox, &message.id).await.unwrap();
    let kinds: Vec<AttachmentKind> = asked.attachments.iter().map(|a| a.kind).collect();
    assert_eq!(kinds, [AttachmentKind::Reference]);
}

/// A folder whose name could not be asked for a while must not lose its protection until the next restart.
#[tokio::test]
async fn well_known_folders_that_could_not_be_told_are_asked_again() {
    let world = World::new();
    world
        .standin
        .faults()
        .fail_next(u64::from(limits().attempts), "mailFolders/drafts", 500);
    assert!(world.store.folders(None, None).await.is_err());
    let drafts = world.folder("Drafts").await;
    assert_eq!(drafts.kind, FolderKind::WellKnown);
    assert_eq!(world.store.drafts_folder().await.unwrap(), drafts.id);
}
