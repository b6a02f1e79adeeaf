use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{MailStore, OnDelete};

#[tokio::test]
async fn the_attachment_then_the_message() {
    let world = World::sample(|_| {});
    assert_eq!(world.files("cur").len(), 2);
    world
        .delete("/Inbox/Report for May 2024-report-may.pdf")
        .await
        .unwrap();
    assert_eq!(
        world.list("/Inbox").await,
        [
            "Order ACME Ltd-order.xml",
            "Report for May 2024-income-2024-05-01.csv"
        ]
    );
    assert_eq!(world.files("cur").len(), 2);
    let csv = world
        .get("/Inbox/Report for May 2024-income-2024-05-01.csv")
        .await
        .unwrap();
    assert!(csv.ends_with(b"980.50\r\n"));
    world
        .delete("/Inbox/Report for May 2024-income-2024-05-01.csv")
        .await
        .unwrap();
    assert_eq!(world.files("cur").len(), 1);
    assert_eq!(
        kind(
            world
                .delete("/Inbox/Report for May 2024-income-2024-05-01.csv")
                .await
        ),
        Some(FsErrorKind::NotFound)
    );
    assert!(world.files("tmp").is_empty());
}

/// What a filter hides, references and items keep the message; inline parts do not, and never decide.
#[tokio::test]
async fn last_is_decided_unfiltered() {
    let with = |extra: &str| mail("s", 0, &[("a.pdf", "1")]).replace("--b--", &format!("{extra}\r\n--b--"));
    for (extra, stays) in [
        ("", false),
        (
            "--b\r\nContent-Type: image/png\r\nContent-Disposition: inline\r\nContent-ID: <1>\r\n\r\nx",
            false,
        ),
        (
            "--b\r\nContent-Disposition: attachment; filename=b.xml\r\n\r\nx",
            true,
        ),
        (
            "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx",
            true,
        ),
        (
            "--b\r\nContent-Type: message/external-body; access-type=URL\r\n\r\nx",
            true,
        ),
    ] {
        let world = World::empty(|options| {
            options.mail.include = vec!["*.pdf".into(), "*.png".into()];
            options.mail.inline = true;
        });
        world.deliver("cur/1.x:2,S", with(extra));
        world.delete("/Inbox/s-a.pdf").await.unwrap();
        assert_eq!(!world.files("cur").is_empty(), stays, "{extra}");
    }
    // Deleting an inline part leaves the message, whatever else is in it.
    let world = World::empty(|options| options.mail.inline = true);
    let inline = mail("s", 0, &[]).replace(
        "--b--",
        "--b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: inline\r\nContent-ID: <1>\r\n\r\nx\r\n--b--",
    );
    world.deliver("cur/1.x:2,S", inline);
    world.delete("/Inbox/s-a.png").await.unwrap();
    assert_eq!(world.files("cur").len(), 1);
    assert!(world.list("/Inbox").await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_not_wholly_known_stays() {
    let world = World::empty(|_| {});
    let many: Vec<(&str, &str)> = vec![("a", "1")];
    let filler = "--b\r\n\r\n\r\n".repeat(10_010);
    world.deliver(
        "cur/1.x:2,S",
        mail("s", 0, &many).replace("--b--", &format!("{filler}--b--")),
    );
    world.delete("/Inbox/s-a").await.unwrap();
    assert_eq!(world.files("cur").len(), 1);
}

#[tokio::test]
async fn moved_or_marked_where_configured() {
    let world = World::sample(|options| {
        options.mail.on_delete = OnDelete::Move;
        options.mail.move_to = Some("/Processed".into());
    });
    let order = "/Inbox/Order ACME Ltd-order.xml";
    // Without the folder nothing happens at all.
    assert_eq!(kind(world.delete(order).await), Some(FsErrorKind::Refused));
    assert!(world.get(order).await.is_ok());
    fs::create_dir_all(world.root(".Processed/cur")).unwrap();
    fs::create_dir_all(world.root(".Processed/new")).unwrap();
    fs::create_dir_all(world.root(".Processed/tmp")).unwrap();
    world.look_again();
    world.delete(order).await.unwrap();
    assert_eq!(world.list("/Processed").await, ["Order ACME Ltd-order.xml"]);
    assert_eq!(world.files("cur").len(), 1);

    let world = World::sample(|options| options.mail.on_delete = OnDelete::Soft);
    world.delete(order).await.unwrap();
    assert!(
        !world
            .list("/Inbox")
            .await
            .iter()
            .any(|name| name.starts_with("Order"))
    );
    assert!(
        world.files("cur").iter().any(|name| name.ends_with(":2,ST")),
        "{:?}",
        world.files("cur")
    );
}

#[tokio::test]
async fn names_survive_siblings_and_restarts() {
    let mut world = World::empty(|_| {});
    for n in 0..4 {
        world.deliver(
            &format!("cur/{n}.x:2,"),
            mail("s", n, &[("a.pdf", &n.to_string())]),
        );
    }
    assert_eq!(
        world.list("/Inbox").await,
        ["s-a (1).pdf", "s-a (2).pdf", "s-a (3).pdf", "s-a.pdf"]
    );
    // Another client takes the first; ours comes back after a restart.
    fs::remove_file(world.root("cur/0.x:2,")).unwrap();
    world.restart();
    world.deliver("new/9.x", mail("s", 0, &[("a.pdf", "9")]));
    assert_eq!(
        world.list("/Inbox").await,
        ["s-a (1).pdf", "s-a (2).pdf", "s-a (3).pdf", "s-a (4).pdf"]
    );
    for (name, content) in [("s-a (1).pdf", "1"), ("s-a (3).pdf", "3"), ("s-a (4).pdf", "9")] {
        assert_eq!(
            world.get(&format!("/Inbox/{name}")).await.unwrap(),
            content.as_bytes()
        );
    }
    world.delete("/Inbox/s-a (2).pdf").await.unwrap();
    assert_eq!(world.files("cur"), ["1.x:2,", "3.x:2,"]);
    assert_eq!(
        kind(world.delete("/Inbox/s-a.pdf").await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn two_who_delete_the_last_two_leave_no_empty_message() {
    for _ in 0..20 {
        let world = World::empty(|_| {});
        world.deliver("cur/1.x,S=500:2,S", mail("s", 0, &[("a", "1"), ("b", "2")]));
        let (a, b) = tokio::join!(world.delete("/Inbox/s-a"), world.delete("/Inbox/s-b"));
        a.unwrap();
        b.unwrap();
        assert!(world.files("cur").is_empty());
        assert!(world.files("tmp").is_empty());
    }
}

#[tokio::test]
async fn rewriting_keeps_everything_else() {
    let world = World::empty(|_| {});
    let raw = mail("s", 0, &[("a", "1"), ("b", "2")]);
    world.deliver(&format!("cur/1.x,S={}:2,FS", raw.len()), &raw);
    let file = world.root(&format!("cur/1.x,S={}:2,FS", raw.len()));
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    world.delete("/Inbox/s-a").await.unwrap();
    let want = mail("s", 0, &[("b", "2")]);
    let name = format!("1.x,S={}:2,FS", want.len());
    assert_eq!(world.files("cur"), std::slice::from_ref(&name));
    assert_eq!(
        fs::read_to_string(world.root(&format!("cur/{name}"))).unwrap(),
        want
    );
    assert_eq!(
        fs::metadata(world.root(&format!("cur/{name}")))
            .unwrap()
            .modified()
            .unwrap(),
        time
    );
}

/// What a crash can leave at each step of rewriting: the old message or the new one, never less.
#[tokio::test]
async fn a_crash_loses_no_other_attachment() {
    let (old, new) = (
        mail("s", 0, &[("a", "1"), ("b", "2")]),
        mail("s", 0, &[("b", "2")]),
    );
    let before = format!("cur/1.x,S={}:2,", old.len());
    let after = format!("cur/1.x,S={}:2,", new.len());
    for (files, want) in [
        // Half of the new form is written.
        (
            vec![("tmp/9.t", &new[..50]), (&*before, &*old)],
            &["s-a", "s-b"][..],
        ),
        // It is written, and the old one got the name with the new size.
        (vec![("tmp/9.t", &*new), (&*after, &*old)], &["s-a", "s-b"]),
        // They are swapped, and the old one is not yet unlinked.
        (vec![("tmp/9.t", &*old), (&*after, &*new)], &["s-b"]),
    ] {
        let world = World::empty(|_| {});
        for (file, raw) in files {
            world.deliver(file, raw);
        }
        assert_eq!(world.list("/Inbox").await, want);
        assert_eq!(world.get("/Inbox/s-b").await.unwrap(), b"2");
        // And the deletion can simply be tried again.
        match world.delete("/Inbox/s-a").await {
            Ok(()) => assert_eq!(want.len(), 2),
            Err(error) => assert_eq!((error.kind(), want.len()), (FsErrorKind::NotFound, 1)),
        }
        assert_eq!(world.list("/Inbox").await, ["s-b"]);
    }
}

/// While a mail client keeps changing flags, deletions land in the message, and neither a second
/// copy nor the old content comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_may_change_meanwhile() {
    let world = World::empty(|_| {});
    let names: Vec<String> = (0..12).map(|n| format!("f{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
    world.deliver("cur/1.x:2,", mail("s", 0, &files));
    let cur = world.root("cur");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let client = std::thread::spawn(move || {
        let mut n = 0u32;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            n += 1;
            let (from, to) = if n.is_multiple_of(2) {
                ("1.x:2,F", "1.x:2,")
            } else {
                ("1.x:2,", "1.x:2,F")
            };
            drop(fs::rename(cur.join(from), cur.join(to)));
            std::thread::yield_now();
        }
    });
    let mut left: Vec<String> = names.iter().map(|name| format!("s-{name}")).collect();
    while left.len() > 1 {
        let name = format!("/Inbox/{}", left[0]);
        match world.delete(&name).await {
            Ok(()) => drop(left.remove(0)),
            // The client was faster than all tries; nothing may have changed then.
            Err(error) => assert!(
                matches!(error.kind(), FsErrorKind::Conflict | FsErrorKind::NotFound),
                "{error:?}"
            ),
        }
        assert_eq!(world.files("cur").len(), 1);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    client.join().unwrap();
    assert_eq!(world.list("/Inbox").await, left);
    assert!(world.files("tmp").is_empty());
}

#[tokio::test]
async fn a_message_with_one_file_moves_others_do_not() {
    let world = World::sample(|_| {});
    let rename = async |from: &str, to: &str| {
        world
            .mailbox
            .rename(&cx(), &path(from), &path(to), Rename::NoReplace)
            .await
    };
    let order = "/Inbox/Order ACME Ltd-order.xml";
    for (from, to) in [
        (order, "/Inbox/other.xml"),
        (order, "/Projects/other.xml"),
        (order, "/Order ACME Ltd-order.xml"),
        (order, "/Archive/Order ACME Ltd-order.xml"),
        (
            "/Inbox/Report for May 2024-report-may.pdf",
            "/Projects/Report for May 2024-report-may.pdf",
        ),
        ("/Inbox", "/Post"),
    ] {
        assert_eq!(
            kind(rename(from, to).await),
            Some(FsErrorKind::Refused),
            "{from} to {to}"
        );
    }
    let content = world.get(order).await.unwrap();
    rename(order, "/Projects/Order ACME Ltd-order.xml").await.unwrap();
    assert_eq!(
        world.get("/Projects/Order ACME Ltd-order.xml").await.unwrap(),
        content
    );
    assert_eq!(kind(world.get(order).await), Some(FsErrorKind::NotFound));
}

#[derive(Debug, Clone)]
enum Step {
    Deliver(u8),
    /// Another client removes a whole message.
    Lose(u8),
    /// Another client changes flags, or moves it from new to cur.
    Flag(u8),
    Restart,
    /// Ours: list, then get and delete by name, with the steps of others between.
    GetDelete(u8, Box<Self>),
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        3 => (0u8..8).prop_map(Step::Deliver),
        2 => (0u8..8).prop_map(Step::Lose),
        1 => (0u8..8).prop_map(Step::Flag),
        1 => Just(Step::Restart),
    ];
    prop_oneof![
        2 => leaf.clone(),
        3 => (any::<u8>(), leaf).prop_map(|(pick, between)| Step::GetDelete(pick, Box::new(between))),
    ]
}

/// What is in the mailbox on disk: content to file. Contents are unique.
fn contents(world: &World) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for sub in ["cur", "new"] {
        for name in world.files(sub) {
            let raw = fs::read(world.root(sub).join(&name)).unwrap();
            for part in crate::inspect(&raw, Default::default()).parts {
                *out.entry(String::from_utf8(raw[part.body].to_vec()).unwrap())
                    .or_default() += 1;
            }
        }
    }
    out
}

async fn play(world: &mut World, serial: &mut u32, step: &Step) {
    let of = |world: &World, n: u8| {
        let prefix = format!("{n}.");
        ["cur", "new"].iter().find_map(|sub| {
            let names = world.files(sub);
            names
                .into_iter()
                .find(|name| name.starts_with(&prefix))
                .map(|name| (*sub, name))
        })
    };
    match step {
        Step::Deliver(n) => {
            if of(world, *n).is_none() {
                *serial += 3;
                let contents: Vec<String> = (0..u32::from(n % 3) + 1)
                    .map(|k| format!("content {}", *serial + k))
                    .collect();
                let files: Vec<(&str, &str)> = contents.iter().map(|c| ("a.pdf", &**c)).collect();
                world.deliver(&format!("new/{n}.{serial}"), mail("s", 0, &files));
            }
        }
        Step::Lose(n) => {
            if let Some((sub, name)) = of(world, *n) {
                fs::remove_file(world.root(sub).join(name)).unwrap();
            }
        }
        Step::Flag(n) => {
            if let Some((sub, name)) = of(world, *n) {
                let base = name.split(':').next().unwrap();
                fs::rename(
                    world.root(sub).join(&name),
                    world.root(&format!("cur/{base}:2,RS")),
                )
                .unwrap();
            }
        }
        Step::Restart => world.restart(),
        Step::GetDelete(pick, between) => {
            let names = world.list("/Inbox").await;
            if names.is_empty() {
                return;
            }
            let name = format!("/Inbox/{}", names[usize::from(*pick) % names.len()]);
            let got = String::from_utf8(world.get(&name).await.unwrap()).unwrap();
            Box::pin(play(world, serial, between)).await;
            world.look_again();
            let before = contents(world);
            let deleted = world.delete(&name).await;
            let mut want = before;
            match deleted {
                Ok(()) => assert_eq!(want.remove(&got), Some(1), "{name} was {got:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), FsErrorKind::NotFound);
                    assert!(
                        !want.contains_key(&got),
                        "{name}, {got:?}, is there, and was not found"
                    );
                }
            }
            assert_eq!(contents(world), want, "deleting {name} cost something else");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever others do between get and delete: what goes is what was fetched, or nothing.
    #[test]
    fn get_then_delete_never_hits_another(steps in proptest::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::empty(|_| {});
            let mut serial = 0;
            for step in &steps {
                play(&mut world, &mut serial, step).await;
            }
        });
    }
}

#[tokio::test]
async fn the_store_answers_for_what_is_gone() {
    let world = World::sample(|_| {});
    let (folder, id, part) = (".".into(), "nobody".into(), "p.0".into());
    assert_eq!(
        kind(world.store.message(&folder, &id).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.open_part(&folder, &id, &part).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.delete_part(&folder, &id, &part).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.delete_message(&folder, &id).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.soft_delete(&folder, &id).await),
        Some(FsErrorKind::NotFound)
    );
    assert_eq!(
        kind(world.store.messages(&"../x".into(), None).await),
        Some(FsErrorKind::NotFound)
    );
}
