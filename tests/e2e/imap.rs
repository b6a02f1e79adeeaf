//! A mailbox by IMAP through three doors, on a real Dovecot.

use std::fs;

use portreeve_tests::{
    Curl, Dovecot, Ftps, Portreeve, Sftp, Tokens, config::Config, config::PASSWORD, config::Person,
    curl::encode, data, dovecot, process::until, server::PATIENCE,
};
use portreeve_tests_microsoft::{ConnectProxy, Content, Standin};

/// A server with a mailbox at `/imap` that alice may do everything with.
fn serve(table: &str) -> Portreeve {
    let table = table.to_owned();
    Portreeve::start_with(move |config: &mut Config| {
        config.person("alice").groups.push("post");
        config.audit = "digest = \"sha256\"";
        config.more = format!(
            "[groups.post]\nmounts = [{{ path = \"/imap\", storage = \"imap\", verbs = \"full\" }}]\n\
             [storage.imap]\ntype = \"imap\"\nhost = \"localhost\"\nfresh_for = \"100ms\"\n{table}\n"
        );
    })
}

fn by_password(dovecot: &Dovecot, more: &str) -> Portreeve {
    let password = serde_json::Value::from(dovecot::PASSWORD);
    serve(&format!(
        "port = {}\nca_file = \"{}\"\nusername = \"alice\"\npassword = {password}\n{more}",
        dovecot.port(),
        dovecot.ca_file().display()
    ))
}

/// A message with attachments of any bytes.
fn mail(id: u32, subject: &str, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = format!(
        "From: Shop <shop@example.com>\r\nTo: alice@example.com\r\nSubject: {subject}\r\nMessage-ID: <{id}@example.com>\r\n\
         Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n\
         --b0\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n"
    );
    for (name, content) in attachments {
        text.push_str(&format!(
            "--b0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
        ));
        for line in content.chunks(57) {
            text.push_str(&base64(line));
            text.push_str("\r\n");
        }
    }
    text.push_str("--b0--\r\n");
    text.into_bytes()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let all = three
            .iter()
            .enumerate()
            .fold(0_u32, |all, (n, byte)| all | u32::from(*byte) << (16 - 8 * n));
        for digit in 0..4 {
            let index = all >> (18 - 6 * digit) & 63;
            out.push(if digit > three.len() {
                '='
            } else {
                char::from(DIGITS[index as usize])
            });
        }
    }
    out
}

fn messages(dovecot: &Dovecot, folder: &str) -> usize {
    let found = dovecot.doveadm(&["search", "-u", "alice", "mailbox", folder], b"");
    found.lines().count()
}

fn stories(server: &Portreeve, verb: &str) -> Vec<String> {
    let records = server.audit();
    let stories = records.iter().map(|record| record.story());
    stories.filter(|story| story.contains(verb)).collect()
}

#[test]
fn three_doors_list_read_delete_and_write_the_same_mailbox() {
    if !Dovecot::installed() {
        return;
    }
    let dovecot = Dovecot::start(&Tokens::Introspected);
    let (report, income) = (data::bytes(3_500_000, 1), data::bytes(300_001, 2));
    let parts: [(&str, &[u8]); 2] = [("report-may.pdf", &report), ("income-2024-05-01.csv", &income)];
    dovecot.deliver("alice", "INBOX", &mail(1, "Report for May 2024", &parts));
    dovecot.deliver(
        "alice",
        "INBOX",
        &mail(2, "Order ACME Ltd", &[("order.xml", b"<order/>")]),
    );
    let server = by_password(&dovecot, "on_upload = \"draft\"");
    let (curl, sftp, ftps) = (
        Curl::new(&server, "alice", PASSWORD),
        Sftp::by_key(&server, "alice"),
        Ftps::new(&server, "alice"),
    );
    let inbox = "/imap/Inbox";
    let want = [
        "Order ACME Ltd-order.xml",
        "Report for May 2024-income-2024-05-01.csv",
        "Report for May 2024-report-may.pdf",
    ];
    let [order_file, income_file, report_file] = want.map(|name| format!("{inbox}/{name}"));
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
    for (file, content) in [(&report_file, &report), (&income_file, &income)] {
        let reply = curl.read(file).is(200);
        assert_eq!(reply.header("content-length"), Some(&*content.len().to_string()));
        assert!(reply.body == *content);
        sftp.batch(&format!("get \"{file}\" got")).ok();
        assert!(fs::read(server.dir().join("got")).unwrap() == *content);
        ftps.lftp(&format!("get \"{file}\" -o got2")).ok();
        let got = server.dir().join("got2");
        assert!(fs::read(&got).unwrap() == *content);
        // lftp overwrites nothing.
        fs::remove_file(got).unwrap();
    }
    let seen = dovecot.doveadm(&["search", "-u", "alice", "mailbox", "INBOX", "SEEN"], b"");
    assert_eq!(seen, "", "nothing is marked as read");

    // Each door deletes one; the message goes with its last attachment.
    sftp.batch(&format!("rm \"{income_file}\"")).ok();
    curl.read(&income_file).is(404);
    assert!(
        curl.read(&report_file).is(200).body == report,
        "its sibling is what it was"
    );
    assert_eq!(messages(&dovecot, "INBOX"), 2);
    ftps.lftp(&format!("rm \"{report_file}\"")).ok();
    curl.read(&report_file).is(404);
    assert_eq!(
        messages(&dovecot, "INBOX"),
        1,
        "the message went with its last attachment"
    );
    let gone = curl.request(
        &["-X", "DELETE"],
        &format!("/api/v1/files?path={}", encode(&order_file)),
    );
    assert!(matches!(gone.status, 200 | 204), "{}", gone.text());
    assert_eq!(messages(&dovecot, "INBOX"), 0);

    // Each door uploads one, which is a draft.
    fs::write(server.dir().join("up.bin"), &report).unwrap();
    sftp.batch("put up.bin /imap/Drafts/by-sftp.bin").ok();
    ftps.lftp("put up.bin -o /imap/Drafts/by-ftps.bin").ok();
    let reply = curl.upload(&server.dir().join("up.bin"), "/imap/Drafts/by-https.bin");
    assert!((200..300).contains(&reply.status), "{}", reply.text());
    for door in ["sftp", "ftps", "https"] {
        let got = curl.read(&format!("/imap/Drafts/by-{door}.bin")).is(200);
        assert!(got.body == report, "{door}");
    }
    let drafts = dovecot.doveadm(&["search", "-u", "alice", "mailbox", "Drafts", "DRAFT"], b"");
    assert_eq!(drafts.lines().count(), 3);

    assert_eq!(
        stories(&server, "remove-file"),
        [
            format!("sftp remove-file ok {income_file}"),
            format!("ftps remove-file ok {report_file}"),
            format!("https remove-file ok {order_file}"),
        ]
    );
    let uploads = stories(&server, "/imap/Drafts/by-");
    for door in ["sftp", "ftps", "https"] {
        let told = uploads
            .iter()
            .any(|story| story.starts_with(door) && story.contains("upload"));
        assert!(told, "{door}: {uploads:?}");
    }
    // Each record says what it was in the mailbox; whole files that passed in order, what passed.
    for (file, name, content) in [
        (&report_file, "report-may.pdf", &report),
        (&income_file, "income-2024-05-01.csv", &income),
    ] {
        for door in ["sftp", "ftps", "https"] {
            let read = server.record(door, "download", file);
            assert_eq!(read.mail(), ["alice", "<1@example.com>", name], "{door}");
            let digest = format!("sha256:{}", Content::from(content.clone()).sha256());
            assert!(
                read.text("digest") == digest || door == "sftp" && read.text("digest").is_empty(),
                "{door}: {read:?}"
            );
        }
    }
    for (door, file, id, name) in [
        ("sftp", &income_file, "<1@example.com>", "income-2024-05-01.csv"),
        ("ftps", &report_file, "<1@example.com>", "report-may.pdf"),
        ("https", &order_file, "<2@example.com>", "order.xml"),
    ] {
        let gone = server.record(door, "remove-file", file);
        assert_eq!(gone.mail(), ["alice", id, name], "{door}");
    }
    for door in ["sftp", "ftps", "https"] {
        let (file, name) = (format!("/imap/Drafts/by-{door}.bin"), format!("by-{door}.bin"));
        let up = server.record(door, "upload", &file);
        assert_eq!((up.item("mailbox"), up.item("attachment")), ("alice", &*name));
        assert!(up.item("message_id").starts_with('<'), "{up:?}");
        assert_eq!(up.mail(), server.record("https", "download", &file).mail());
    }
    let log = server.log();
    assert!(!log.contains("hunter2"), "a password is in the log");
}

/// An app by itself, its token from the stand-in, everything through a proxy that wants a password; the user's
/// name in the form `mailbox~app`.
#[test]
fn by_a_token_and_through_a_proxy() {
    if !Dovecot::installed() {
        return;
    }
    let (standin, dovecot, proxy) = (
        Standin::start(),
        Dovecot::start(&Tokens::Introspected),
        ConnectProxy::start(),
    );
    standin.roles(standin.app_id(), &["IMAP.AccessAsApp"]);
    proxy.credentials("proxy", "p@ss");
    dovecot.grant_all("alice@example.com");
    dovecot.deliver(
        "alice@example.com",
        "INBOX",
        &mail(1, "Order", &[("order.xml", b"<order/>")]),
    );
    let read = |path| fs::read_to_string(path).unwrap();
    let both = tempfile::NamedTempFile::new().unwrap();
    fs::write(&both, read(standin.ca_file()) + &read(dovecot.ca_file())).unwrap();
    let server = serve(&format!(
        "port = {}\nca_file = \"{}\"\nusername = \"alice@example.com~{}\"\npassword = \"{}\"\n\
         token_endpoint = \"{}/{}/oauth2/v2.0/token\"\nproxy = \"connect://proxy:p%40ss@{}\"\n",
        dovecot.port(),
        both.path().display(),
        standin.app_id(),
        standin.secret(),
        standin.authority(),
        standin.tenant(),
        proxy.address(),
    ));
    let curl = Curl::new(&server, "alice", PASSWORD);
    assert_eq!(curl.read("/imap/Inbox/Order-order.xml").is(200).body, b"<order/>");
    let tunnels = proxy.tunnels();
    assert!(
        tunnels.len() >= 2,
        "the token and the mail both go through the proxy: {tunnels:?}"
    );
    // Access is withdrawn: said as such, and not for ever.
    dovecot.grant("*", None);
    let _ = dovecot.kick();
    let list = format!("/api/v1/files?path={}", encode("/imap/Inbox"));
    until("the refusal is heard", PATIENCE, || curl.get(&list).status != 200);
    dovecot.grant_all("alice@example.com");
    until("access is back", PATIENCE, || curl.get(&list).status == 200);
    let log = server.log();
    for secret in [standin.secret(), "eyJ", "p@ss"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

/// The master user of a Dovecot: who shows this password may open any mailbox.
const MASTER: &str = "passdb {\n driver = static\n args = password=sesame\n master = yes\n}\n";

/// A server on which these people share the storage at `/imap`, whatever their number.
fn serve_people(people: &[String], table: &str) -> Portreeve {
    Portreeve::start_with(|config: &mut Config| {
        for name in people {
            let mut person = Person::new(name);
            person.groups.push("post");
            person.mail = Some(format!("{name}@example.com"));
            config.people.push(person);
        }
        config.more = format!(
            "[groups.post]\nmounts = [{{ path = \"/imap\", storage = \"imap\", verbs = \"full\" }}]\n\
             [storage.imap]\ntype = \"imap\"\nhost = \"localhost\"\nfresh_for = \"100ms\"\nidle = false\n{table}\n"
        );
    })
}

/// `own` of these is what the person sees of `/imap`; nothing leads to what belongs to the others.
fn within_their_own(server: &Portreeve, people: &[String], own: &str, mailbox: impl Fn(&str) -> String) {
    let curl = Curl::new(server, own, PASSWORD);
    let mut top = curl.list("/imap");
    top.sort();
    assert_eq!(top, ["Drafts", "Inbox", "Trash"], "{own}");
    assert_eq!(curl.list("/imap/Inbox"), [format!("of-{own}.txt")]);
    let got = curl.read(&format!("/imap/Inbox/of-{own}.txt")).is(200);
    assert_eq!(got.text(), *own);
    for other in people.iter().filter(|other| *other != own) {
        for path in [
            format!("/imap/{}/Inbox/of-{other}.txt", mailbox(other)),
            format!("/imap/Inbox/of-{other}.txt"),
            format!("/imap/../{}/Inbox/of-{other}.txt", mailbox(other)),
        ] {
            let status = curl.read(&path).status;
            assert!(matches!(status, 400 | 403 | 404), "{own} {path}: {status}");
        }
        let file = server.dir().join("up");
        fs::write(&file, "x").unwrap();
        let status = curl
            .upload(&file, &format!("/imap/{}/Drafts/x", mailbox(other)))
            .status;
        assert!((400..500).contains(&status), "{own} {other}: {status}");
    }
}

fn deliver_to(dovecot: &Dovecot, person: &str, mailbox: &str) {
    let (name, content) = (format!("of-{person}.txt"), person.to_owned());
    let message = mail(1, "s", &[(&name, content.as_bytes())]);
    dovecot.deliver(mailbox, "INBOX", &message);
}

/// One storage for many people: each in their own mailbox, by a user who may open all, and nobody in another's.
#[test]
fn a_template_gives_everybody_their_own_mailbox() {
    if !Dovecot::installed() {
        return;
    }
    let dovecot = Dovecot::start_with(&Tokens::Introspected, MASTER);
    let people: Vec<String> = (0..6).map(|n| format!("user{n}")).collect();
    for person in &people {
        deliver_to(&dovecot, person, person);
    }
    let server = serve_people(
        &people,
        &format!(
            "port = {}\nca_file = \"{}\"\nusername = \"root\"\npassword = \"sesame\"\nmailbox = \"{{user}}\"\n\
             on_upload = \"draft\"\ntemplate = \"{{attachment.name}}\"",
            dovecot.port(),
            dovecot.ca_file().display()
        ),
    );
    for person in &people {
        within_their_own(&server, &people, person, str::to_owned);
    }
    // What one deletes is gone from theirs, and from no other.
    let curl = Curl::new(&server, "user3", PASSWORD);
    let path = encode("/imap/Inbox/of-user3.txt");
    let gone = curl.request(&["-X", "DELETE"], &format!("/api/v1/files?path={path}"));
    assert!(matches!(gone.status, 200 | 204), "{}", gone.text());
    for person in &people {
        let left = dovecot.doveadm(&["search", "-u", person, "mailbox", "INBOX"], b"");
        assert_eq!(left.lines().count(), usize::from(person != "user3"), "{person}");
    }
}

/// The same with an app's token, the template in the name before the app's, and in `mailbox`.
#[test]
fn a_template_before_an_app_gives_everybody_their_own_mailbox() {
    if !Dovecot::installed() {
        return;
    }
    let (standin, dovecot) = (Standin::start(), Dovecot::start(&Tokens::Introspected));
    standin.roles(standin.app_id(), &["IMAP.AccessAsApp"]);
    let people: Vec<String> = (0..3).map(|n| format!("user{n}")).collect();
    let mailbox = |person: &str| format!("{person}@example.com");
    for person in &people {
        deliver_to(&dovecot, person, &mailbox(person));
    }
    let read = |path| fs::read_to_string(path).unwrap();
    let both = tempfile::NamedTempFile::new().unwrap();
    fs::write(&both, read(standin.ca_file()) + &read(dovecot.ca_file())).unwrap();
    for name in [
        format!("username = \"{{user.mail}}~{}\"", standin.app_id()),
        format!(
            "application_id = \"{}\"\nmailbox = \"{{user.mail}}\"",
            standin.app_id()
        ),
    ] {
        let server = serve_people(
            &people,
            &format!(
                "port = {}\nca_file = \"{}\"\n{name}\npassword = \"{}\"\n\
                 token_endpoint = \"{}/{}/oauth2/v2.0/token\"\non_upload = \"draft\"\ntemplate = \"{{attachment.name}}\"",
                dovecot.port(),
                both.path().display(),
                standin.secret(),
                standin.authority(),
                standin.tenant(),
            ),
        );
        for person in &people {
            // The endpoint knows one mailbox for each token: here, whose turn it is.
            dovecot.grant_all(&mailbox(person));
            within_their_own(&server, &people, person, mailbox);
        }
    }
}

/// A list: each mailbox is a directory, and no other can be reached.
#[test]
fn listed_mailboxes_are_directories() {
    if !Dovecot::installed() {
        return;
    }
    let dovecot = Dovecot::start_with(&Tokens::Introspected, MASTER);
    let people: Vec<String> = (0..3).map(|n| format!("user{n}")).collect();
    for person in &people {
        deliver_to(&dovecot, person, person);
    }
    let server = serve_people(
        &people,
        &format!(
            "port = {}\nca_file = \"{}\"\nusername = \"root\"\npassword = \"sesame\"\nmailbox = [\"user2\", \"user0\"]\n\
             template = \"{{attachment.name}}\"",
            dovecot.port(),
            dovecot.ca_file().display()
        ),
    );
    let curl = Curl::new(&server, "user1", PASSWORD);
    assert_eq!(curl.list("/imap"), ["user0", "user2"]);
    for person in ["user0", "user2"] {
        let got = curl
            .read(&format!("/imap/{person}/Inbox/of-{person}.txt"))
            .is(200);
        assert_eq!(got.text(), person);
    }
    for path in [
        "user1/Inbox/of-user1.txt",
        "user0/Inbox/of-user2.txt",
        "root/Inbox",
    ] {
        curl.read(&format!("/imap/{path}")).is(404);
    }
}
