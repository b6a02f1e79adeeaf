//! A panic ends one connection, is counted once, and is logged with its place. A process of its
//! own: the hook is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    panic,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use portreeve_model::{Door, Origin};
use portreeve_server::{
    ops,
    supervisor::{Desired, Entrance, Reserve, State, Supervisor},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

/// Panics in the three ways that a payload can have, or answers.
struct Clumsy;

#[async_trait]
impl Entrance for Clumsy {
    async fn enter(&self, mut stream: TcpStream, _: Origin, _: OwnedSemaphorePermit) {
        let what = stream.read_u8().await.unwrap();
        match what {
            b'1' => panic!("a fixed message"),
            b'2' => panic!("a message with a number: {what}"),
            b'3' => panic::panic_any(7_u8),
            _ => stream.write_all(b"served").await.unwrap(),
        }
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_connection_and_is_counted_and_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    ops::metrics::begin();
    ops::panics::watch();
    ops::panics::watch();
    let supervisor = Supervisor::new(Arc::new(Reserve::default()));
    let desired = Desired {
        name: "clumsy".into(),
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        door: Door::Sftp,
        trusted: Vec::new(),
        entrance: Arc::new(Clumsy),
    };
    supervisor.apply(vec![desired]).await;
    let State::Up(address) = supervisor.status()[0].state else {
        panic!("it listens")
    };
    let mut answers = Vec::new();
    for what in [b'1', b'2', b'x', b'3', b'x'] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[what]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answers.push(answer);
    }
    supervisor.stop().await;
    supervisor.idle().await;
    // From here on a panic is a failed assertion: told as usual.
    let _ = panic::take_hook();
    assert_eq!(answers, ["", "", "served", "", "served"]);
    let numbers = ops::metrics::render();
    assert!(numbers.contains("portreeve_panics_total 3\n"), "{numbers}");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert_eq!(told.len(), 3, "{text}");
    for (line, what) in told.iter().zip([
        "a fixed message",
        "a message with a number: 50",
        "a panic without a message",
    ]) {
        for word in [what, "tests/panics.rs:", "listener=clumsy", "the server goes on"] {
            assert!(line.contains(word), "{word} is missing in {line}");
        }
    }
}
