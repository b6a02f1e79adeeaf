//! A connection against what a server might say: oddities that no real server can be made to show.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use portreeve_model::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::imap::{
    Mechanism,
    connection::{Connection, Stream},
    error::Kind,
    pool::{Dial, Pool},
    sign_in::{Proof, SignIn},
};

/// A connection to a server that greets, then answers each line with the next text and hangs up.
async fn connect(answers: &'static [&'static str]) -> Connection {
    converse(answers, false).await
}

/// The same with a server that may fall silent instead.
async fn converse(answers: &'static [&'static str], silent: bool) -> Connection {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let mut lines = BufReader::new(read).lines();
        let _ = write
            .write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR] hello\r\n")
            .await;
        for answer in answers {
            let Ok(Some(_)) = lines.next_line().await else {
                return;
            };
            let _ = write.write_all(answer.as_bytes()).await;
        }
        if silent {
            std::future::pending::<()>().await;
        }
    });
    Connection::open(Box::new(ours)).await.unwrap()
}

#[tokio::test]
async fn answers_are_told_from_news() {
    let mut connection = connect(&[
        "* 3 EXISTS\r\n* OK [X] still here\r\nZ9 OK another's tag\r\n* 1 FETCH (UID 5 FLAGS ())\r\nA1 OK done\r\n",
        "A2 NO [NONEXISTENT] there is none\r\n",
        "A3 BAD what\r\n",
        "* 1 FETCH (\r\n",
    ])
    .await;
    let answer = connection.run("NOOP").await.unwrap();
    assert_eq!(answer.data.len(), 2);
    assert_eq!(connection.run("NOOP").await.unwrap_err().kind, Kind::Gone);
    assert_eq!(connection.run("NOOP").await.unwrap_err().kind, Kind::Refused);
    assert!(connection.usable(), "a refusal is an answer");
    assert_eq!(connection.run("NOOP").await.unwrap_err().kind, Kind::Lost);
    assert!(!connection.usable(), "what is not understood ends the connection");
}

#[tokio::test]
async fn a_goodbye_and_an_end_are_losses() {
    for answers in [
        &["* BYE for now\r\n"][..],
        &["* 1 FETCH (BODY[] {100}\r\nshort"],
        &[],
    ] {
        let mut connection = connect(answers).await;
        let error = connection.run("NOOP").await.unwrap_err();
        assert_eq!(error.kind, Kind::Lost, "{answers:?}");
        assert!(!connection.usable());
    }
}

#[tokio::test]
async fn a_command_that_broke_off_ends_its_connection() {
    let mut connection = converse(&["* 1 EXISTS\r\n"], true).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), connection.run("NOOP"));
    assert!(waiting.await.is_err());
    assert!(!connection.usable());
    assert_eq!(connection.run("NOOP").await.unwrap_err().kind, Kind::Lost);
}

/// The reason of a refusal comes as a challenge; the empty answer to it brings the refusal itself.
#[tokio::test]
async fn a_challenge_is_answered_before_the_refusal() {
    let mut connection = connect(&["+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", "A1 NO refused\r\n"]).await;
    let mut heard = Vec::new();
    let outcome = connection
        .authenticate("XOAUTH2", "first", |challenge| {
            heard.push(challenge.to_vec());
            ""
        })
        .await
        .unwrap();
    assert_eq!(outcome.unwrap_err().text, "refused");
    assert_eq!(heard, [b"eyJzdGF0dXMiOiI0MDEifQ=="]);
    assert!(connection.usable());
    // One that asks without end is left.
    let mut endless = connect(&["+ \r\n"; 20]).await;
    assert_eq!(
        endless
            .authenticate("XOAUTH2", "x", |_| "")
            .await
            .unwrap_err()
            .kind,
        Kind::Lost
    );
}

#[tokio::test]
async fn a_folder_without_lasting_numbers_is_refused() {
    let mut connection = connect(&["* 1 EXISTS\r\nA1 OK [READ-ONLY] open\r\n"]).await;
    assert_eq!(
        connection.select("INBOX", false, false).await.unwrap_err().kind,
        Kind::Unsupported
    );
}

/// Nobody asks for the mailbox any more: its connections end all the same, each time.
#[tokio::test]
async fn a_connection_does_not_rest_for_ever() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let dial: Dial = Arc::new(move || {
        let count = Arc::clone(&count);
        async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let (read, mut write) = tokio::io::split(theirs);
                let mut lines = BufReader::new(read).lines();
                let _ = write.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    let tag = line.split(' ').next().unwrap();
                    let answer = format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n");
                    let _ = write.write_all(answer.as_bytes()).await;
                }
                count.fetch_sub(1, Ordering::SeqCst);
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        }
        .boxed()
    });
    let sign_in = SignIn {
        user: "a".into(),
        mailbox: "a".into(),
        proof: Proof::Password(Secret::new("b".into())),
        mechanism: Mechanism::Auto,
        host: "h".into(),
        port: 993,
    };
    let pool = Pool::new(dial, sign_in, 2);
    pool.rests_for(Duration::from_millis(50));
    for _ in 0..2 {
        let two = (pool.take(None).await.unwrap(), pool.take(None).await.unwrap());
        assert_eq!(open.load(Ordering::SeqCst), 2);
        drop(two);
        let deadline = Instant::now() + Duration::from_secs(10);
        while open.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "they rest for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
