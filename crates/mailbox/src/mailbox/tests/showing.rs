use std::os::unix::fs::symlink;

use super::*;

#[tokio::test]
async fn the_example_of_the_seed_document() {
    let world = World::sample(|_| {});
    assert_eq!(
        world.list("/Inbox").await,
        [
            "Order ACME Ltd-order.xml",
            "Report for May 2024-income-2024-05-01.csv",
            "Report for May 2024-report-may.pdf",
        ]
    );
    let csv = world
        .get("/Inbox/Report for May 2024-income-2024-05-01.csv")
        .await
        .unwrap();
    assert!(csv.starts_with(b"date,customer,amount\r\n"));
    assert!(
        world
            .get("/Inbox/Report for May 2024-report-may.pdf")
            .await
            .unwrap()
            .ends_with(b"%%EOF\n")
    );
    assert_eq!(world.list("/").await, ["Archive/", "Inbox/", "Projects/"]);
    assert_eq!(world.list("/Archive").await, ["2024/"]);
    assert_eq!(
        world.list("/Archive/2024").await,
        [
            "Fwd- question-A question about invoice 17.eml",
            "Newsletter January-events.ics",
        ]
    );
    assert_eq!(
        world.list("/Projects").await,
        [
            "-..-etc- urgent- gpj.exe -now--CON-aux.txt",
            "Pr\u{e9}sentation \u{2013} plan-notes \u{20ac}.txt",
        ]
    );
    let eml = world
        .get("/Archive/2024/Fwd- question-A question about invoice 17.eml")
        .await
        .unwrap();
    assert!(
        String::from_utf8(eml)
            .unwrap()
            .contains("Subject: A question about invoice 17\r\n")
    );
    // The received date, not the file's.
    let stat = world
        .mailbox
        .stat(&cx(), &path("/Inbox/Order ACME Ltd-order.xml"), Links::Keep)
        .await;
    assert_eq!(stat.unwrap().modified.unwrap().seconds, 1_717_493_405);
}

#[tokio::test]
async fn inline_parts_only_when_asked_for() {
    let world = World::sample(|options| options.mail.inline = true);
    assert!(
        world
            .list("/Archive/2024")
            .await
            .contains(&"Newsletter January-logo.png".to_owned())
    );
}

#[tokio::test]
async fn filters_and_templates() {
    let world = World::sample(|options| {
        options.mail.include = vec!["*.pdf".into(), "*.csv".into()];
        options.mail.exclude = vec!["2024*.csv".into()];
        options.mail.template = "{sent.year} {from.email} {attachment.name}".into();
    });
    assert_eq!(
        world.list("/Inbox").await,
        ["2024 reports@example.com report-may.pdf"]
    );
    let hidden = "/Inbox/2024 orders@acme.example order.xml";
    assert_eq!(kind(world.open(hidden).await), Some(FsErrorKind::NotFound));
}

#[tokio::test]
async fn every_encoding_byte_for_byte() {
    let world = World::empty(|_| {});
    let data: Vec<u8> = (0..=255u8).cycle().take(700_001).collect();
    let coded = {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&data);
        text.as_bytes()
            .chunks(76)
            .map(|l| format!("{}\r\n", std::str::from_utf8(l).unwrap()))
            .collect::<String>()
    };
    let quoted: String = data.iter().take(5000).map(|b| format!("={b:02X}=\r\n")).collect();
    let latin = b"caf\xe9;1\r\n";
    let part = |name: &str, encoding: &str| {
        format!(
            "--b\r\nContent-Type: text/csv; charset=iso-8859-1\r\nContent-Disposition: attachment; filename={name}\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n"
        )
    };
    let mut raw = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    for (name, encoding, body) in [
        ("a", "base64", coded.as_bytes()),
        ("b", "quoted-printable", quoted.as_bytes()),
        ("c", "8bit", latin),
        (
            "d",
            "binary",
            &data.iter().copied().filter(|b| *b != b'\n').collect::<Vec<u8>>(),
        ),
    ] {
        raw.extend(part(name, encoding).bytes());
        raw.extend(body);
        raw.extend(b"\r\n");
    }
    raw.extend(b"--b--\r\n");
    world.deliver("new/1.x", raw);
    assert_eq!(world.get("/Inbox/s-a").await.unwrap(), data);
    assert_eq!(world.get("/Inbox/s-b").await.unwrap(), data[..5000]);
    assert_eq!(world.get("/Inbox/s-c").await.unwrap(), latin);
    assert_eq!(
        world.get("/Inbox/s-d").await.unwrap().len(),
        data.iter().filter(|b| **b != b'\n').count()
    );
    // Ranges of what is spooled, read in any order, and after the message is gone.
    let open = world.open("/Inbox/s-a").await.unwrap();
    fs::remove_file(world.root("new/1.x")).unwrap();
    for at in [600_000usize, 0, 699_999, 255] {
        let got = open.read(at as u64, 1000, Vec::new()).await.unwrap();
        assert_eq!(got, data[at..(at + 1000).min(data.len())]);
    }
}

#[tokio::test]
async fn folders_of_both_layouts_and_their_names() {
    let world = World::sample(|_| {});
    for dir in [
        ".INBOX.Sub/cur",
        ".Entw&APw-rfe/cur",
        "Clients/ACME/cur",
        "Clients/notmail",
        ".git/objects",
        "Pro:jects/cur",
        ".INBOX/cur",
    ] {
        fs::create_dir_all(world.root(dir)).unwrap();
    }
    symlink("/etc", world.root(".Evil")).unwrap();
    symlink(world.root("Clients"), world.root("Link")).unwrap();
    assert_eq!(
        world.list("/").await,
        [
            "Archive/",
            "Clients/",
            "Entw\u{fc}rfe/",
            "INBOX (1)/",
            "Inbox/",
            "Pro-jects/",
            "Projects/"
        ]
    );
    assert_eq!(world.list("/Clients").await, ["ACME/"]);
    assert_eq!(
        world.list("/Inbox").await.first().unwrap(),
        "Order ACME Ltd-order.xml"
    );
    assert!(world.list("/Inbox").await.contains(&"Sub/".to_owned()));
    // A folder made later is there at once.
    fs::create_dir_all(world.root(".Archive.2025/cur")).unwrap();
    assert_eq!(world.list("/Archive").await, ["2024/", "2025/"]);
}

#[tokio::test]
async fn links_and_pipes_among_the_messages_are_not_followed() {
    let world = World::empty(|_| {});
    world.deliver("secret", mail("secret", 0, &[("a", "1")]));
    symlink(world.root("secret"), world.root("cur/1.x:2,")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.root("cur/2.x:2,"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(world.list("/Inbox").await.is_empty());
}

#[tokio::test]
async fn five_thousand_messages_are_parsed_once() {
    let world = World::empty(|_| {});
    for n in 0..5000 {
        world.deliver(
            &format!("cur/{n}.x:2,S"),
            mail("same", 0, &[("a.pdf", &n.to_string())]),
        );
    }
    let first = world.list("/Inbox").await;
    assert_eq!((first.len(), world.store.parsed()), (5000, 5000));
    // A flag changes, a message goes, one comes: one is parsed.
    fs::rename(world.root("cur/7.x:2,S"), world.root("cur/7.x:2,FS")).unwrap();
    fs::remove_file(world.root("cur/8.x:2,S")).unwrap();
    world.deliver("new/9999.x", mail("new", 0, &[("b.pdf", "b")]));
    let second = world.list("/Inbox").await;
    assert_eq!((second.len(), world.store.parsed()), (5000, 5001));
    // Names stayed with their messages: all but the one that went are still there.
    let kept = first.iter().filter(|name| second.contains(name)).count();
    assert_eq!(kept, 4999);
}

#[tokio::test]
async fn hostile_mail_hides_nothing_else() {
    let world = World::sample(|options| options.max_message = portreeve_model::options::SizeText(1 << 20));
    let before = world.list("/Inbox").await;
    let deep: String = (0..5000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    world.deliver("new/1.deep", deep);
    world.deliver("new/2.nested", format!("Subject: n\r\n{nested}"));
    world.deliver("new/3.huge", mail("huge", 0, &[("a", &"x".repeat(2 << 20))]));
    world.deliver("new/4.empty", "");
    world.deliver(
        "new/5.noise",
        (0..100_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>(),
    );
    world.deliver(
        "new/6.broken",
        "Content-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n\r\n----\r\n",
    );
    let after = world.list("/Inbox").await;
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    assert!(!after.iter().any(|name| name.starts_with("huge")));
}

#[tokio::test]
async fn a_listing_goes_on_at_its_cursor() {
    let world = World::sample(|_| {});
    fs::create_dir_all(world.root(".INBOX.P/cur")).unwrap();
    let mut listing = world.mailbox.list(&cx(), &path("/Inbox"), None).await.unwrap();
    let head = listing.next(2).await.unwrap();
    let cursor = listing.cursor();
    world.delete("/Inbox/Order ACME Ltd-order.xml").await.unwrap();
    let mut rest = world.mailbox.list(&cx(), &path("/Inbox"), cursor).await.unwrap();
    let rest = rest.next(100).await.unwrap();
    assert_eq!((head.len(), rest.len()), (2, 2));
    assert_eq!(
        rest[0].name.as_ref().unwrap().as_str(),
        Some("Report for May 2024-income-2024-05-01.csv")
    );
}

/// What a folder shows is whole, or refused in words.
#[tokio::test]
async fn a_folder_beyond_the_bound_is_refused_and_says_so() {
    let world = World::empty(|options| options.mail.max_entries = 10);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(world.root(".INBOX.Sub").join(sub)).unwrap();
    }
    world.deliver(".INBOX.Sub/cur/x", mail("s", 1, &[("below", "x")]));
    let refused = async |why: &str| {
        world.look_again();
        for error in [
            world.mailbox.list(&cx(), &path("/Inbox"), None).await.err(),
            world.open("/Inbox/S-a0").await.err(),
        ] {
            let error = error.unwrap_or_else(|| panic!("{why} is not refused"));
            assert_eq!(error.kind(), FsErrorKind::TooLarge, "{why}: {error}");
            let text = error.message();
            assert!(text.contains("more than 10 messages and attachments"), "{text}");
            assert!(text.contains("max_entries"), "{text}");
        }
        assert_eq!(
            world.list("/Inbox/Sub").await,
            ["s-below"],
            "{why}: the others go on"
        );
    };
    let one = |n: u32| mail("S", n, &[(&format!("a{n}"), "x")]);
    for n in 0..5 {
        world.deliver(&format!("cur/{n}"), one(n));
    }
    let whole = ["S-a0", "S-a1", "S-a2", "S-a3", "S-a4", "Sub/"];
    assert_eq!(world.list("/Inbox").await, whole);
    world.deliver("new/5", one(5));
    refused("a message with one attachment too many").await;
    fs::remove_file(world.root("new/5")).unwrap();
    assert_eq!(world.list("/Inbox").await, whole, "as soon as it fits again");
    world.deliver("cur/0", mail("S", 0, &[("a0", "x"), ("more", "x")]));
    refused("an attachment too many").await;
    fs::remove_file(world.root("cur/0")).unwrap();
    for n in 10..17 {
        world.deliver(&format!("cur/{n}"), "Subject: nothing attached\r\n\r\n");
    }
    refused("messages alone").await;
}

/// Beyond the bound the folder unused longest is forgotten, and only that.
#[tokio::test]
async fn folders_are_held_within_the_bound() {
    let world = World::empty(|options| options.mail.max_entries = 10);
    for (folder, messages) in [(".", 3), (".A", 2), (".B", 3)] {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(world.root(folder).join(sub)).unwrap();
        }
        for n in 0..messages {
            world.deliver(
                &format!("{folder}/cur/{n}"),
                mail("S", n, &[(&format!("a{n}"), "x")]),
            );
        }
    }
    for (folder, parsed, why) in [
        ("/Inbox", 3, "new"),
        ("/A", 5, "new: 6 + 4 are held"),
        ("/Inbox", 5, "held"),
        ("/A", 5, "held"),
        ("/B", 8, "new: the Inbox goes"),
        ("/A", 8, "held"),
        ("/Inbox", 11, "parsed again: B goes"),
    ] {
        world.list(folder).await;
        assert_eq!(world.store.parsed(), parsed, "{folder}: {why}");
    }
}
