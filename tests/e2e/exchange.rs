//! A mailbox in Exchange Online through three doors, against the stand-in for Microsoft's services.

use std::{fs, time::Duration};

use portreeve_tests::{
    Curl, Ftps, Portreeve, Sftp,
    config::{Config, PASSWORD},
    curl::encode,
    data,
    process::until,
    server::PATIENCE,
};
use portreeve_tests_microsoft::{Content, MailboxHandle, Message, Standin};
use rustix::process::Signal;

const ADDRESS: &str = "invoices@example.com";

/// A server with a mailbox at `/exchange` that alice may do everything with, `more` in the storage's table.
fn serve(standin: &Standin, more: &str) -> Portreeve {
    let more = more.to_owned();
    Portreeve::start_with(|config| configure(config, standin, &more))
}

fn configure(config: &mut Config, standin: &Standin, more: &str) {
    config.person("alice").groups.push("post");
    config.audit = "digest = \"sha256\"";
    fs::write(config.dir.join("graph.secret"), standin.secret()).unwrap();
    config.more = format!(
        "[groups.post]\nmounts = [{{ path = \"/exchange\", storage = \"exchange\", verbs = \"full\" }}]\n\
         [storage.exchange]\ntype = \"exchange\"\nmailbox = \"{ADDRESS}\"\ndirectory_id = \"{}\"\n\
         application_id = \"{}\"\npassword = {{ file = \"graph.secret\" }}\nauthority = \"{}\"\ngraph = \"{}\"\n\
         ca_file = \"{}\"\nfresh_for = \"200ms\"\n{more}\n",
        standin.tenant(),
        standin.app_id(),
        standin.authority(),
        standin.graph(),
        standin.ca_file().display(),
    );
}

fn example(mailbox: &MailboxHandle) -> (Vec<u8>, Vec<u8>) {
    let (report, income) = (data::bytes(3_500_000, 1), data::bytes(300_000, 2));
    let mut mail = Message::new("Report for May 2024")
        .file("report-may.pdf", report.clone())
        .file("income-2024-05-01.csv", income.clone());
    mail.message_id = Some("<report@example.com>".into());
    mailbox.deliver("Inbox", mail);
    let mut mail = Message::new("Order ACME Ltd").file("order.xml", "<order/>");
    mail.message_id = Some("<order@example.com>".into());
    mailbox.deliver("Inbox", mail);
    (report, income)
}

fn stories(server: &Portreeve, verb: &str) -> Vec<String> {
    server
        .audit()
        .iter()
        .map(|record| record.story())
        .filter(|story| story.contains(verb))
        .collect()
}

/// The example of the manual that people come from, listed, read and deleted by each door.
#[test]
fn three_doors_list_read_and_delete_the_same_mailbox() {
    let standin = Standin::start();
    let mailbox = standin.mailbox(ADDRESS);
    let (report, income) = example(&mailbox);
    let server = serve(&standin, "");
    let inbox = "/exchange/Inbox";
    let order_file = format!("{inbox}/Order ACME Ltd-order.xml");
    let income_file = format!("{inbox}/Report for May 2024-income-2024-05-01.csv");
    let report_file = format!("{inbox}/Report for May 2024-report-may.pdf");
    let curl = Curl::new(&server, "alice", PASSWORD);
    let sftp = Sftp::by_key(&server, "alice");
    let ftps = Ftps::new(&server, "alice");

    // Exactly these names, by each door.
    let want = [
        "Order ACME Ltd-order.xml",
        "Report for May 2024-income-2024-05-01.csv",
        "Report for May 2024-report-may.pdf",
    ];
    let mut listed = curl.list(inbox);
    listed.sort();
    assert_eq!(listed, want);
    let by_sftp = sftp.batch(&format!("ls -1 \"{inbox}\"")).ok().text();
    let by_ftps = ftps.lftp(&format!("cls -1 \"{inbox}\"")).ok().text();
    for name in want {
        for (door, text) in [("sftp", &by_sftp), ("ftps", &by_ftps)] {
            assert_eq!(
                text.lines().filter(|line| line.ends_with(name)).count(),
                1,
                "{door}: {text}"
            );
        }
    }

    // The same bytes by each door.
    for (file, content) in [(&report_file, &report), (&income_file, &income)] {
        assert!(curl.read(file).is(200).body == *content);
        sftp.batch(&format!("get \"{file}\" got")).ok();
        assert!(fs::read(server.dir().join("got")).unwrap() == *content);
        let _ = fs::remove_file(server.dir().join("got2"));
        ftps.lftp(&format!("get \"{file}\" -o got2")).ok();
        assert!(fs::read(server.dir().join("got2")).unwrap() == *content);
    }

    // Each door deletes one; the message goes with its last attachment.
    sftp.batch(&format!("rm \"{income_file}\"")).ok();
    curl.read(&income_file).is(404);
    assert_eq!(mailbox.messages("Inbox").len(), 2);
    ftps.lftp(&format!("rm \"{report_file}\"")).ok();
    curl.read(&report_file).is(404);
    assert_eq!(
        mailbox.messages("Inbox").len(),
        1,
        "the message went with its last attachment"
    );
    assert_eq!(mailbox.messages("Deleted Items").len(), 1);
    let deleted = curl.request(
        &["-X", "DELETE"],
        &format!("/api/v1/files?path={}", encode(&order_file)),
    );
    assert!(matches!(deleted.status, 200 | 204), "{}", deleted.text());
    assert!(mailbox.messages("Inbox").is_empty());
    assert_eq!(
        stories(&server, "remove-file"),
        [
            format!("sftp remove-file ok {income_file}"),
            format!("ftps remove-file ok {report_file}"),
            format!("https remove-file ok {order_file}"),
        ]
    );
    // Each record says what it was in the mailbox; whole files that passed in order, what passed.
    let (report_id, order_id) = ("<report@example.com>", "<order@example.com>");
    for (file, name, content) in [
        (&report_file, "report-may.pdf", &report),
        (&income_file, "income-2024-05-01.csv", &income),
    ] {
        for door in ["sftp", "ftps", "https"] {
            let read = server.record(door, "download", file);
            assert_eq!(read.mail(), [ADDRESS, report_id, name], "{door}");
            let digest = format!("sha256:{}", Content::from(content.clone()).sha256());
            assert!(
                read.text("digest") == digest || door == "sftp" && read.text("digest").is_empty(),
                "{door}: {read:?}"
            );
        }
    }
    for (door, file, id, name) in [
        ("sftp", &income_file, report_id, "income-2024-05-01.csv"),
        ("ftps", &report_file, report_id, "report-may.pdf"),
        ("https", &order_file, order_id, "order.xml"),
    ] {
        let gone = server.record(door, "remove-file", file);
        assert_eq!(gone.mail(), [ADDRESS, id, name], "{door}");
        assert!(
            !gone.text("peer").is_empty() && gone.text("user") == "alice",
            "{gone:?}"
        );
    }
    assert!(standin.most_in_flight(ADDRESS) <= 4);
    let log = server.log();
    assert!(
        !log.contains(standin.secret()) && !log.contains("Bearer "),
        "a secret is in the log"
    );
}

/// Uploads become drafts, small and large, by each door; nothing is there before it is whole.
#[test]
fn three_doors_upload_drafts() {
    let standin = Standin::start();
    let mailbox = standin.mailbox(ADDRESS);
    mailbox.folder("Out");
    let server = serve(&standin, "on_upload = \"draft\"");
    let (small, large) = (data::bytes(10_000, 3), data::bytes(9_000_000, 4));
    fs::write(server.dir().join("small.bin"), &small).unwrap();
    fs::write(server.dir().join("large.bin"), &large).unwrap();
    let curl = Curl::new(&server, "alice", PASSWORD);
    let sftp = Sftp::by_key(&server, "alice");
    let ftps = Ftps::new(&server, "alice");
    sftp.batch("put small.bin /exchange/Out/by-sftp.bin\nput large.bin /exchange/Out/large-by-sftp.bin")
        .ok();
    ftps.lftp("put small.bin -o /exchange/Out/by-ftps.bin; put large.bin -o /exchange/Out/large-by-ftps.bin")
        .ok();
    for (from, to) in [("small.bin", "by-https.bin"), ("large.bin", "large-by-https.bin")] {
        let reply = curl.upload(&server.dir().join(from), &format!("/exchange/Out/{to}"));
        assert!((200..300).contains(&reply.status), "{}", reply.text());
    }
    let mut found = Vec::new();
    for message in mailbox.messages("Out") {
        let name = message.names().pop().unwrap();
        let want = if name.starts_with("large") { &large } else { &small };
        let content = mailbox.attachment(&message.id, &name).unwrap();
        assert!(*content.all() == **want, "{name}");
        assert!(
            curl.read(&format!("/exchange/Out/{name}")).is(200).body == *want,
            "{name}"
        );
        let door = name.rsplit_once("by-").unwrap().1.strip_suffix(".bin").unwrap();
        let up = server.record(door, "upload", &format!("/exchange/Out/{name}"));
        let read = server.record("https", "download", &format!("/exchange/Out/{name}"));
        assert_eq!(up.mail(), read.mail());
        assert_eq!((up.item("mailbox"), up.item("attachment")), (ADDRESS, &*name));
        assert!(up.item("message_id").starts_with('<'), "{up:?}");
        found.push(name);
    }
    found.sort();
    let want = [
        "by-ftps.bin",
        "by-https.bin",
        "by-sftp.bin",
        "large-by-ftps.bin",
        "large-by-https.bin",
        "large-by-sftp.bin",
    ];
    assert_eq!(found, want);
    assert_eq!(standin.open_uploads(), 0);
    // A connection that breaks leaves nothing.
    let mut slow = sftp.start_slowly(20_000, "put large.bin /exchange/Out/cut.bin");
    until("the upload has begun", PATIENCE, || slow.alive());
    drop(slow.kill());
    sftp.batch("mkdir /exchange/Out/Sub\nrmdir /exchange/Out/Sub")
        .ok();
    assert_eq!(mailbox.messages("Out").len(), 6);
}

/// A fifth of all calls fails, three doors mirror at once: everything comes, whole.
#[test]
fn mirrors_of_three_doors_are_complete_on_a_bad_day() {
    let standin = Standin::start();
    let mailbox = standin.mailbox(ADDRESS);
    let mut want = Vec::new();
    for n in 0..60 {
        let content = data::bytes(20_000 + n * 97, n as u64);
        mailbox.deliver(
            "Inbox",
            Message::new(&format!("M{n:02}")).file("a.bin", content.clone()),
        );
        want.push((format!("M{n:02}-a.bin"), content));
    }
    let faults = standin.faults();
    faults.page_size(Some(7));
    faults.retry_after(Some("0"));
    faults.seed(5);
    faults.every_kind(0.2);
    let server = serve(&standin, "");
    let sftp = Sftp::by_key(&server, "alice").start("get -r /exchange/Inbox by-sftp");
    let ftps = Ftps::new(&server, "alice").start_lftp("mirror /exchange/Inbox by-ftps");
    let curl = Curl::new(&server, "alice", PASSWORD);
    for (name, content) in &want {
        let path = format!("/exchange/Inbox/{name}");
        let mut got = curl.read(&path);
        // A client that hears 503 comes again.
        for _ in 0..5 {
            if got.status == 200 {
                break;
            }
            got = curl.read(&path);
        }
        assert!(got.is(200).body == *content, "{name}");
    }
    sftp.wait(Duration::from_secs(300)).ok();
    ftps.wait(Duration::from_secs(300)).ok();
    for dir in ["by-sftp", "by-ftps"] {
        let dir = server.dir().join(dir);
        assert_eq!(data::tree(&dir).len(), want.len(), "{}", dir.display());
        for (name, content) in &want {
            assert!(fs::read(dir.join(name)).unwrap() == *content, "{name}");
        }
    }
    assert!(faults.injected() > 10);
    assert!(
        standin.most_in_flight(ADDRESS) <= 4,
        "{}",
        standin.most_in_flight(ADDRESS)
    );
    assert_eq!(standin.over_limit(), 0);
}

/// The secret is changed and reloaded without a restart; access that is withdrawn is told as such.
#[test]
fn a_new_secret_is_taken_by_a_reload_and_withdrawn_access_is_told() {
    let standin = Standin::start();
    let mailbox = standin.mailbox(ADDRESS);
    mailbox.deliver("Inbox", Message::new("M").file("a.txt", "content"));
    let server = serve(&standin, "");
    let curl = Curl::new(&server, "alice", PASSWORD);
    let file = "/exchange/Inbox/M-a.txt";
    assert_eq!(curl.read(file).is(200).body, b"content");
    let list = format!("/api/v1/files?path={}", encode("/exchange/Inbox"));
    let fresh = standin.rotate_secret(standin.app_id());
    standin.expire_tokens();
    until("the old secret is refused", PATIENCE, || {
        curl.get(&list).status != 200
    });
    let issued = standin.tokens_issued();
    fs::write(server.dir().join("graph.secret"), fresh).unwrap();
    server.signal(Signal::HUP);
    until("the new secret is used", PATIENCE, || {
        curl.get(&list).status == 200
    });
    assert!(standin.tokens_issued() > issued);
    standin.access_policy(standin.app_id(), Some(&[]));
    until("the refusal is heard", PATIENCE, || curl.get(&list).status == 403);
    let sftp = Sftp::by_key(&server, "alice");
    sftp.batch("ls /exchange/Inbox").fails("");
    standin.access_policy(standin.app_id(), None);
    until("access is back", PATIENCE, || curl.read(file).status == 200);
}
