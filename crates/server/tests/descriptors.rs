//! The descriptor that is kept for the moment when there are none. A process of its own: the limit
//! is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

use std::{fs::File, io, net::Ipv4Addr, sync::Arc};

use async_trait::async_trait;
use portreeve_model::{Door, Origin};
use portreeve_server::supervisor::{Desired, Entrance, Reserve, State, Supervisor, is_exhausted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::OwnedSemaphorePermit,
};

struct Server;

#[async_trait]
impl Entrance for Server {
    async fn enter(&self, mut stream: TcpStream, _: Origin, _: OwnedSemaphorePermit) {
        stream.write_all(b"served").await.unwrap();
    }
}

/// Takes every descriptor there is.
fn take_all() -> (Vec<File>, io::Error) {
    let mut taken = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => return (taken, error),
        }
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    // Closed over unread bytes or not: either way it is let go.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_let_go_and_the_reserve_comes_back() {
    let reserve = Arc::new(Reserve::default());
    let supervisor = Supervisor::new(Arc::clone(&reserve));
    let desired = Desired {
        name: "door".into(),
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        door: Door::Sftp,
        trusted: Vec::new(),
        entrance: Arc::new(Server),
    };
    supervisor.apply(vec![desired]).await;
    let State::Up(address) = supervisor.status()[0].state else {
        panic!("it listens")
    };
    let sockets: Vec<TcpSocket> = (0..8).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(128),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, few).unwrap();

    let (taken, error) = take_all();
    assert!(is_exhausted(&error), "{error}");
    assert!(!is_exhausted(&io::Error::from_raw_os_error(
        rustix::io::Errno::CONNABORTED.raw_os_error()
    )));
    // While it is lent one can be had, and exactly one; afterwards it is taken again. More than once.
    for _ in 0..3 {
        let had = reserve.lend(|| async { take_all().0.len() }).await;
        assert_eq!(had, 1);
        assert!(File::open("/dev/null").is_err(), "the reserve is kept again");
    }
    // Where the lent one is not given back, the next call makes do without, and takes one when it can.
    let kept = reserve.lend(|| async { File::open("/dev/null").unwrap() }).await;
    assert!(reserve.lend(|| async { File::open("/dev/null").is_err() }).await);
    drop(kept);
    reserve.refill();
    assert!(File::open("/dev/null").is_err(), "the reserve is whole again");

    // At the door: everybody who comes is let go, nobody is left hanging.
    let mut gone = Vec::new();
    for socket in sockets {
        let mut stream = socket.connect(address).await.unwrap();
        assert_eq!(answer(&mut stream).await, "");
        // Its descriptor is not to be had by the next one.
        gone.push(stream);
    }
    drop(taken);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        answer(&mut stream).await,
        "served",
        "as soon as there are some, all is well"
    );
    assert!(!reserve.first_notice(), "the shortage was told already");
    setrlimit(Resource::Nofile, before).unwrap();
}
