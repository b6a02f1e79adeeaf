//! The mailbox through two doors: attachments are files.

use std::{fs, path::Path};

use portreeve_tests::{
    Curl, Done, Ftp, Ftps, Portreeve, Sftp, clients, config::PASSWORD, curl, process::until, server::PATIENCE,
};

/// A message with attachments, delivered as Maildir delivers.
fn deliver(maildir: &Path, id: &str, subject: &str, attachments: &[(&str, &[u8])]) {
    let mut text = format!(
        "From: Shop <shop@example.com>\r\nTo: alice@example.com\r\nSubject: {subject}\r\nMessage-ID: <{id}@example.com>\r\n\
         Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n\
         --b0\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n"
    )
    .into_bytes();
    for (name, content) in attachments {
        let head = format!(
            "--b0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
        );
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(content);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"--b0--\r\n");
    let fresh = maildir.join("tmp").join(id);
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, maildir.join("new").join(id)).unwrap();
}

fn messages(maildir: &Path) -> usize {
    ["new", "cur"]
        .iter()
        .map(|d| fs::read_dir(maildir.join(d)).unwrap().count())
        .sum()
}

#[test]
fn an_attachment_is_read_by_both_doors_and_deleted_for_both() {
    let server = Portreeve::start();
    let maildir = server.config.maildir();
    deliver(
        &maildir,
        "1.order",
        "Order 7",
        &[("order.xml", b"<order/>"), ("terms.pdf", b"%PDF")],
    );
    let (sftp, curl) = (
        Sftp::by_key(&server, "alice"),
        Curl::new(&server, "alice", PASSWORD),
    );
    let (order, terms) = ("/mail/Inbox/Order 7-order.xml", "/mail/Inbox/Order 7-terms.pdf");

    let mut listed = Vec::new();
    until("the message is seen", PATIENCE, || {
        listed = curl.list("/mail/Inbox");
        listed.len() == 2
    });
    listed.sort();
    assert_eq!(listed, ["Order 7-order.xml", "Order 7-terms.pdf"]);
    sftp.batch(&format!("get \"{order}\" got\nls -l /mail/Inbox"))
        .ok();
    assert_eq!(fs::read(server.dir().join("got")).unwrap(), b"<order/>");
    let reply = curl.read(order).is(200);
    assert_eq!(reply.body, b"<order/>");
    assert_eq!(reply.header("content-length"), Some("8"));

    sftp.batch(&format!("rm \"{order}\"")).ok();
    curl.read(order).is(404);
    assert_eq!(curl.read(terms).is(200).body, b"%PDF");
    assert_eq!(messages(&maildir), 1, "one attachment is left, so the message is");

    let deleted = curl.request(
        &["-X", "DELETE"],
        &format!("/api/v1/files?path={}", curl::encode(terms)),
    );
    assert!(matches!(deleted.status, 200 | 204), "{}", deleted.text());
    sftp.batch(&format!("get \"{terms}\" gone")).fails("not found");
    assert_eq!(
        messages(&maildir),
        0,
        "the last attachment takes the message with it"
    );

    let stories: Vec<String> = server
        .audit()
        .iter()
        .map(|r| r.story())
        .filter(|s| s.contains("remove-file"))
        .collect();
    assert_eq!(
        stories,
        [
            format!("sftp remove-file ok {order}"),
            format!("https remove-file ok {terms}")
        ]
    );
}

/// One attachment, all three doors: whoever deletes it by FTPS deletes it for the others.
#[test]
fn an_attachment_is_read_by_three_doors_and_deleted_by_ftps() {
    let server = Portreeve::start();
    let maildir = server.config.maildir();
    let content = portreeve_tests::data::bytes(300_000, 1);
    deliver(
        &maildir,
        "1.order",
        "Order 7",
        &[("order.bin", &content), ("terms.pdf", b"%PDF")],
    );
    let (order, terms) = ("/mail/Inbox/Order 7-order.bin", "/mail/Inbox/Order 7-terms.pdf");
    let (sftp, curl) = (
        Sftp::by_key(&server, "alice"),
        Curl::new(&server, "alice", PASSWORD),
    );
    let mut ftp = Ftp::signed_in(&server, "alice");
    until("the message is seen", PATIENCE, || {
        ftp.names("/mail/Inbox").len() == 2
    });
    assert_eq!(
        ftp.names("/mail/Inbox"),
        ["Order 7-order.bin", "Order 7-terms.pdf"]
    );
    assert_eq!(ftp.say(&format!("SIZE {order}")).is(213).text(), "213 300000");
    assert!(ftp.get(order) == content);
    assert!(curl.read(order).is(200).body == content);
    sftp.batch(&format!("get \"{order}\" got")).ok();
    assert!(fs::read(server.dir().join("got")).unwrap() == content);
    // From the middle on, as a client does that goes on.
    ftp.say("REST 200000").is(350);
    assert!(ftp.get(order) == content[200_000..]);
    Ftps::new(&server, "alice")
        .implicit()
        .lftp("mirror /mail/Inbox mails")
        .ok();
    assert!(fs::read(server.dir().join("mails/Order 7-order.bin")).unwrap() == content);

    ftp.refusal("STOR /mail/Inbox/x").one_of(&[550, 553]);
    ftp.say("RMD /mail/Inbox").one_of(&[550, 553]);
    ftp.say(&format!("DELE {order}")).is(250);
    curl.read(order).is(404);
    sftp.batch(&format!("get \"{order}\" gone")).fails("not found");
    ftp.refusal(&format!("RETR {order}")).is(550);
    assert_eq!(ftp.get(terms), b"%PDF");
    assert_eq!(messages(&maildir), 1, "one attachment is left, so the message is");
    ftp.say(&format!("DELE {terms}")).is(250);
    curl.read(terms).is(404);
    assert_eq!(
        messages(&maildir),
        0,
        "the last attachment takes the message with it"
    );
    let log = server.audit();
    let removed: Vec<String> = log
        .iter()
        .map(|r| r.story())
        .filter(|s| s.contains("remove-file"))
        .collect();
    assert_eq!(
        removed,
        [
            format!("ftps remove-file ok {order}"),
            format!("ftps remove-file ok {terms}")
        ]
    );
}

#[test]
fn what_the_mount_does_not_allow_is_refused() {
    let server = Portreeve::start();
    let maildir = server.config.maildir();
    deliver(&maildir, "1.a", "Hi", &[("a.txt", b"a")]);
    fs::write(server.dir().join("x"), "x").unwrap();
    let sftp = Sftp::by_key(&server, "alice");
    until("the message is seen", PATIENCE, || {
        sftp.batch("get \"/mail/Inbox/Hi-a.txt\" got").status.success()
    });
    for batch in [
        "put x /mail/Inbox/x",
        "rename \"/mail/Inbox/Hi-a.txt\" /mail/Inbox/b",
        "mkdir /mail/new",
        "rmdir /mail",
    ] {
        assert!(!sftp.batch(batch).status.success(), "{batch} was allowed");
    }
    assert_eq!(messages(&maildir), 1);
}

/// Names come from whoever writes to us.
#[test]
fn hostile_subjects_are_names_and_nothing_else() {
    let server = Portreeve::start();
    let maildir = server.config.maildir();
    for (n, subject) in [
        "../../../etc/cron.d/x",
        "..",
        "a/b\\c",
        "con",
        "=?utf-8?B?YQpiAGM=?=",
        "\u{202e}fdp.exe",
        "x\u{1b}[2J",
        "   ",
        "<img src=x onerror=alert(1)>",
    ]
    .iter()
    .enumerate()
    {
        deliver(
            &maildir,
            &format!("{n}.h"),
            subject,
            &[("../../a.txt", b"a"), ("a.txt", b"a")],
        );
    }
    let curl = Curl::new(&server, "alice", PASSWORD);
    let mut names = Vec::new();
    until("the messages are seen", PATIENCE, || {
        names = curl.list("/mail/Inbox");
        names.len() == 18
    });
    for name in &names {
        assert!(
            !name.contains(['/', '\\', '\0', '\n', '\u{1b}', '\u{202e}', '<', '>']),
            "{name:?}"
        );
        assert!(
            name != ".." && name.chars().count() <= 240 && name.len() <= 255,
            "{name:?}"
        );
        assert_eq!(
            curl.read(&format!("/mail/Inbox/{name}")).is(200).body,
            b"a",
            "{name:?}"
        );
    }
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

/// List, read and delete with each client of the SFTP door but OpenSSH's, which has its own test above; what one
/// removed is gone for the other door, and the message with its last attachment.
#[test]
fn other_clients_list_read_and_delete_attachments() {
    let server = Portreeve::start();
    let maildir = server.config.maildir();
    let content: &[u8] = b"<order>\xc3\xa9</order>";
    let https = Curl::new(&server, "alice", PASSWORD);
    let inbox = "/mail/Inbox";
    type Client<'a> = (&'a str, &'a dyn Fn(&str, &str) -> Done);
    // Each: list the inbox to standard output; get PATH to `got`; remove PATH.
    let lftp = |what: &str, path: &str| {
        let line = match what {
            "list" => format!("cls -1 {inbox}"),
            "get" => format!("get \"{path}\" -o got"),
            _ => format!("rm \"{path}\""),
        };
        clients::lftp(&server, "alice", &line)
    };
    let rclone = |what: &str, path: &str| {
        let remote = format!("r:{path}");
        match what {
            "list" => clients::rclone(&server, "alice", &["lsf", &format!("r:{inbox}")]),
            "get" => clients::rclone(&server, "alice", &["copyto", &remote, "got"]),
            _ => clients::rclone(&server, "alice", &["deletefile", &remote]),
        }
    };
    let curl = |what: &str, path: &str| match what {
        "list" => curl::sftp(&server, "alice", &["-l"], &format!("{inbox}/")),
        "get" => curl::sftp(&server, "alice", &["-o", "got"], path),
        // The list comes along: curl always transfers something.
        _ => curl::sftp(
            &server,
            "alice",
            &["-Q", &format!("rm \"{path}\""), "-l"],
            &format!("{inbox}/"),
        ),
    };
    let clients: [Client<'_>; 3] = [("lftp", &lftp), ("rclone", &rclone), ("curl", &curl)];
    for (who, client) in clients {
        let (id, name) = (format!("1.{who}"), format!("Order by {who}-order one.xml"));
        deliver(
            &maildir,
            &id,
            &format!("Order by {who}"),
            &[("order one.xml", content)],
        );
        let path = format!("{inbox}/{name}");
        until("the message is seen", PATIENCE, || {
            https.list(inbox).contains(&name)
        });
        let listed = client("list", "").ok().text();
        assert!(listed.lines().any(|l| l.ends_with(&name)), "{who}: {listed}");
        let got = server.dir().join("got");
        let _ = fs::remove_file(&got);
        client("get", &path).ok();
        assert_eq!(fs::read(&got).unwrap(), content, "{who}");
        assert_eq!(messages(&maildir), 1, "{who}");
        let since = server.audit().len();
        client("remove", &path).ok();
        let _ = https.read(&path).is(404);
        assert!(!https.list(inbox).contains(&name), "{who}");
        assert_eq!(
            messages(&maildir),
            0,
            "{who}: the message went with its attachment"
        );
        let records = server.audit().split_off(since);
        let gone = records
            .iter()
            .find(|record| record.is("sftp", "remove-file", &path));
        let said = gone.map(|record| record.mail());
        let message = format!("<{id}@example.com>");
        assert_eq!(said, Some(["mail", &*message, "order one.xml"]), "{who}");
        let removed: Vec<String> = records
            .iter()
            .map(|r| r.story())
            .filter(|s| s.contains("remove"))
            .collect();
        assert_eq!(removed, [format!("sftp remove-file ok {path}")], "{who}");
    }
}
