//! What a hostile server, or a hostile message, may make us hold: servers that say what no real one would.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use portreeve_vfs::{FsError, FsErrorKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{World, inbox, mail};
use crate::{
    MailOptions, MailStore,
    imap::{
        connection::Connection,
        error::{ImapError, Kind},
        index,
        row::Known,
        wire::{MAX_RESPONSE, MAX_VALUES},
    },
};

/// A connection to a server that answers each command by what `answer` makes of it: texts until none comes, each
/// of which may hold `TAG`. The counter tells how many bytes of answers it got rid of.
async fn connect<A, I>(answer: A) -> (Connection, Arc<AtomicUsize>)
where
    A: Fn(&str) -> I + Send + 'static,
    I: Iterator<Item = String> + Send,
{
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let mut lines = BufReader::new(read).lines();
        let _ = write.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await;
        while let Ok(Some(line)) = lines.next_line().await {
            let (tag, command) = line.split_once(' ').unwrap();
            for text in answer(command) {
                let text = text.replace("TAG", tag);
                if write.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                count.fetch_add(text.len(), Ordering::Relaxed);
            }
        }
    });
    (Connection::open(Box::new(ours)).await.unwrap(), sent)
}

fn told(error: ImapError) -> (FsErrorKind, String) {
    let error = FsError::from(error);
    (error.kind(), error.to_string())
}

/// Millions of tiny values: in one response, in many, in lists that hold one each, in statuses. It is said what is
/// wrong, and the connection serves on where the answer ends.
#[tokio::test]
async fn an_answer_of_too_many_values_is_an_error_and_no_loss() {
    let in_one = format!("* X {}\r\n", "a ".repeat(MAX_VALUES + 1));
    let in_many = format!("* X {}\r\n", "a ".repeat(1000)).repeat(MAX_VALUES / 1000 + 1);
    let lists = format!("* X {}\r\n", "(a)".repeat(1000)).repeat(MAX_VALUES / 6000 + 1);
    let bare = "* 1 EXISTS\r\n".repeat(MAX_VALUES / 4);
    let statuses = "* OK x\r\n".repeat(MAX_VALUES / 4 + 1);
    for text in [in_one, in_many, lists, bare, statuses] {
        let head: String = text.chars().take(20).collect();
        let (mut connection, _) = connect(move |command| {
            let flood = if command == "FLOOD" {
                text.clone()
            } else {
                String::new()
            };
            [flood, "* 7 EXISTS\r\nTAG OK done\r\n".to_owned()].into_iter()
        })
        .await;
        let error = connection.run("FLOOD").await.unwrap_err();
        assert_eq!(error.kind, Kind::TooMuch, "{head}");
        let (kind, text) = told(error);
        assert_eq!(kind, FsErrorKind::TooLarge);
        assert!(text.contains("more than is held in memory"), "{text}");
        assert!(connection.usable(), "{head}");
        assert_eq!(connection.run("NOOP").await.unwrap().data.len(), 1, "{head}");
    }
}

/// One that never ends: it is left.
#[tokio::test]
async fn an_answer_without_end_is_left() {
    let piece = format!("* X {}\r\n", "a ".repeat(500_000));
    let (mut connection, sent) = connect(move |_| std::iter::repeat(piece.clone())).await;
    let error = connection.run("FLOOD").await.unwrap_err();
    assert_eq!(error.kind, Kind::TooMuch);
    assert!(!connection.usable());
    assert!(sent.load(Ordering::Relaxed) < 300 << 20);
}

/// Where nothing was asked for, little is listened to.
#[tokio::test]
async fn news_without_end_are_left() {
    for text in ["* 1 EXISTS\r\n", "* OK x\r\n"] {
        let (mut connection, _) = connect(|_| std::iter::repeat(text.to_owned())).await;
        let login = connection.login("a", "b").await.unwrap_err();
        assert_eq!(login.kind, Kind::Lost, "{text}");
        let (mut connection, _) = connect(|_| std::iter::repeat(text.to_owned())).await;
        let (_wanted, mut otherwise) = tokio::sync::watch::channel(());
        let idle = connection.idle(std::time::Duration::from_secs(60), &mut otherwise);
        assert_eq!(idle.await.unwrap_err().kind, Kind::Lost, "{text}");
    }
    let many: String = (0..100_000).fold("* CAPABILITY".to_owned(), |mut text, n| {
        let _ = write!(text, " X{n}");
        text
    });
    let (mut connection, _) = connect(move |_| [format!("{many}\r\nTAG OK\r\n")].into_iter()).await;
    connection.run("CAPABILITY").await.unwrap();
    assert!(connection.can("X1") && !connection.can("X99999"));
}

/// A small response that is kept keeps nothing else that came with it.
#[tokio::test]
async fn a_response_is_held_by_itself() {
    let (mut connection, _) = connect(|_| ["* X abc\r\nTAG OK done\r\n".to_owned()].into_iter()).await;
    let mut answer = connection.run("NOOP").await.unwrap();
    let value = answer.data.remove(0).values.remove(0);
    drop(answer);
    assert!(value.bytes().unwrap().is_unique());
}

fn flags(command: &str, most: u32) -> String {
    let mut text = String::new();
    if command.starts_with("UID SEARCH") {
        text.push_str("* SEARCH");
        for uid in 1..=most {
            let _ = write!(text, " {uid}");
        }
        text.push_str("\r\n");
    } else if let Some((first, last)) = command.split(' ').nth(2).and_then(|set| set.split_once(':')) {
        let words: String = (0..20).map(|n| format!(" $word{n}")).collect();
        for uid in first.parse::<u32>().unwrap()..=last.parse().unwrap_or(most) {
            let _ = write!(
                text,
                "* {uid} FETCH (UID {uid} FLAGS (\\Seen{words}) MODSEQ ({uid}))\r\n"
            );
        }
    }
    text + "TAG OK done\r\n"
}

/// As many messages as are shown by default, each with twenty flags and more.
#[tokio::test]
async fn a_folder_at_its_bound_is_listed() {
    let most = MailOptions::default().max_entries;
    let (mut connection, _) = connect(move |command| [flags(command, most)].into_iter()).await;
    let (rows, whole) = index::flags(&mut connection, most as usize, index::FLAGS)
        .await
        .unwrap();
    assert_eq!((rows.len(), whole), (most as usize, true));
    assert_eq!(rows[&most].flags.as_ref().unwrap().len(), 21);
}

/// A search that is answered in another way, with too little or not at all hides no message, and where the server shows
/// none at all, the folder is not taken for an empty one.
#[tokio::test]
async fn a_search_that_tells_too_little_hides_nothing() {
    const MOST: u32 = 25;
    for (found, shown, expunged) in [
        ("* ESEARCH (TAG \"TAG\") UID ALL 1:25\r\n", MOST, 0),
        ("", MOST, 0),
        ("* SEARCH 3 4\r\n", MOST, 0),
        ("* 9 EXPUNGE\r\n* SEARCH\r\n", MOST - 1, 1),
        ("", MOST - 5, 0),
        ("", 0, 0),
    ] {
        let (mut connection, _) = connect(move |command| {
            let text = if command.starts_with("UID SEARCH") {
                format!("{found}TAG OK done\r\n")
            } else if let Some((first, last)) = command.split(' ').nth(1).and_then(|set| set.split_once(':'))
            {
                assert!(command.starts_with("FETCH "), "{command}");
                let rows = first.parse::<u32>().unwrap()..=last.parse().unwrap_or(shown).min(shown);
                assert!(rows.clone().count() <= 10, "{command}");
                let rows = rows.map(|n| format!("* {n} FETCH (UID {} FLAGS ())\r\n", n * 7));
                rows.collect::<String>() + "TAG OK done\r\n"
            } else {
                "TAG BAD what\r\n".to_owned()
            };
            [text].into_iter()
        })
        .await;
        let flags = index::flags(&mut connection, MOST as usize, 10).await;
        if shown == 0 {
            let (kind, text) = told(flags.unwrap_err());
            assert_eq!(kind, FsErrorKind::Unsupported);
            assert!(text.contains("shows none"), "{text}");
            continue;
        }
        let (rows, whole) = flags.unwrap();
        let uids: Vec<u32> = rows.into_keys().collect();
        assert_eq!(uids, (1..=shown).map(|n| n * 7).collect::<Vec<_>>(), "{found}");
        assert_eq!(whole, shown + expunged == MOST, "{found}");
    }
}

/// What is said of one message hangs on who sent it: it keeps no other from being listed.
#[tokio::test]
async fn one_message_of_too_many_parts_hides_no_other() {
    let row = |uid: u32, structure: &str| {
        let date = "INTERNALDATE \" 1-May-2024 10:00:00 +0200\"";
        format!("* {uid} FETCH (UID {uid} FLAGS () {date} RFC822.SIZE 9 {structure})\r\n")
    };
    let (mut connection, _) = connect(move |command| {
        let set = command.split(' ').nth(2).unwrap();
        let mut text = String::new();
        let range = |part: &str| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            first.parse::<u32>().unwrap()..=last.parse().unwrap()
        };
        for uid in set.split(',').flat_map(range) {
            text.push_str(&match (uid, command.contains("BODYSTRUCTURE")) {
                (_, false) => row(uid, ""),
                // More than one answer may hold; and some that are only too much together.
                (7, true) => row(uid, &format!("BODYSTRUCTURE ({})", "(a)".repeat(MAX_VALUES / 4))),
                (20..=29, true) => row(uid, &format!("BODYSTRUCTURE ({})", "(a)".repeat(MAX_VALUES / 25))),
                (_, true) => row(
                    uid,
                    "BODYSTRUCTURE (\"application\" \"pdf\" (\"name\" \"a\") NIL NIL \"base64\" 20)",
                ),
            });
        }
        [text + "TAG OK done\r\n"].into_iter()
    })
    .await;
    let uids: Vec<u32> = (1..=100).collect();
    let rows = index::details(&mut connection, &uids).await.unwrap();
    let found: Vec<u32> = rows.iter().map(|row| row.uid).collect();
    assert_eq!(found, uids);
    for row in rows {
        let structure = row.structure.as_ref();
        let want = !(row.uid == 7 || (20..30).contains(&row.uid));
        assert_eq!(structure.is_some_and(|found| found.complete), want, "{}", row.uid);
        assert_eq!(structure.is_none(), row.uid == 7, "{}", row.uid);
    }
}

/// A server sends as much of a header as it is asked for: one that is longer than any response may be keeps neither its
/// own message nor another one from being listed.
#[tokio::test]
async fn one_message_of_a_huge_header_hides_no_other() {
    let (mut connection, _) = connect(|command| {
        let (name, most) = match command.split_once(")]<0.") {
            Some((_, rest)) => (
                "BODY[HEADER.FIELDS (SUBJECT)]<0>",
                rest.trim_end_matches([')', '>']).parse().unwrap(),
            ),
            None => ("BODY[HEADER.FIELDS (SUBJECT)]", usize::MAX),
        };
        let row = |uid: u32, subject: &str| {
            let mut header = format!("Subject: {subject}\r\n\r\n");
            header.truncate(most);
            format!(
                "* {uid} FETCH (UID {uid} FLAGS () RFC822.SIZE 9 {name} {{{}}}\r\n{header})\r\n",
                header.len()
            )
        };
        let huge = "x".repeat(MAX_RESPONSE + 1);
        [
            row(1, "one"),
            row(2, &huge),
            row(3, "three"),
            "TAG OK done\r\n".to_owned(),
        ]
        .into_iter()
    })
    .await;
    let rows = index::details(&mut connection, &[1, 2, 3]).await.unwrap();
    let lengths: Vec<usize> = rows
        .iter()
        .map(|row| row.header.as_ref().unwrap().len())
        .collect();
    assert_eq!(lengths, [16, index::HEADER, 18]);
    let subjects = rows.into_iter().map(|row| {
        let known = Known::new(row, "1.1".into(), &[]);
        known.message.summary.subject.chars().take(5).collect::<String>()
    });
    assert_eq!(subjects.collect::<Vec<_>>(), ["one", "xxxxx", "three"]);
}

/// A real server sends pieces of header fields, and no more of them; another one may know no pieces.
#[tokio::test]
async fn a_real_server_sends_so_much_of_a_header() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let line = format!(" {}\r\n", "x".repeat(900));
    let subject = format!("Subject: long\r\n{}", line.repeat((4 << 20) / line.len()));
    let long = String::from_utf8(mail("s", 1, &[("a.txt", b"one")])).unwrap();
    let long = long.replace("Subject: s\r\n", "");
    let long = long.replacen("\r\n\r\n", &format!("\r\n{subject}\r\n"), 1);
    let short = mail("short", 2, &[("b.txt", b"two")]);
    world.dovecot.deliver("alice", "INBOX", long.as_bytes());
    world.dovecot.deliver("alice", "INBOX", &short);
    assert_eq!(world.list("/Inbox").await, ["a.txt", "b.txt"]);
    assert_eq!(world.read("/Inbox/a.txt").await.unwrap(), b"one");
    let page = world.store.messages(&inbox(), None).await.unwrap();
    let told = page.items.iter().map(|message| &message.summary);
    let mut told: Vec<(String, &str)> = told
        .map(|summary| (summary.subject.chars().take(5).collect(), &*summary.internet_id))
        .collect();
    told.sort_unstable();
    let want = [("long ", "m1@example.com"), ("short", "m2@example.com")];
    assert_eq!(told, want.map(|(subject, id)| (subject.to_owned(), id)));
    let mut lease = world.store.inner.pool.take(None).await.unwrap();
    let connection = lease.connection().unwrap();
    connection.select("INBOX", false, false).await.unwrap();
    let rows = index::details(connection, &[1, 2]).await.unwrap();
    let lengths: Vec<usize> = rows
        .iter()
        .map(|row| row.header.as_ref().unwrap().len())
        .collect();
    assert_eq!(lengths[0], index::HEADER);
    assert!(lengths[1] < 1000, "{lengths:?}");
}

#[tokio::test]
async fn a_server_that_knows_no_pieces_is_asked_for_the_whole() {
    let (mut connection, _) = connect(|command| {
        let text = if command.contains(")]<0.") {
            "TAG BAD what\r\n".to_owned()
        } else {
            "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {3}\r\na\r\n)\r\nTAG OK\r\n".to_owned()
        };
        [text].into_iter()
    })
    .await;
    let rows = index::details(&mut connection, &[1]).await.unwrap();
    assert_eq!(rows[0].header.as_deref(), Some(&b"a\r\n"[..]));
}
