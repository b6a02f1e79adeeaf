use std::{net::Ipv4Addr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::*;

/// Tells who came, answers with its name, and panics where it is told to.
struct Echo {
    name: &'static str,
    seen: mpsc::UnboundedSender<Origin>,
}

#[async_trait]
impl Entrance for Echo {
    async fn enter(&self, mut stream: TcpStream, origin: Origin, waiting: OwnedSemaphorePermit) {
        drop(waiting);
        self.seen.send(origin).unwrap();
        // All of it: closing over unread bytes would be a reset.
        let mut bytes = [0; 256];
        if stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {
            assert_ne!(bytes[0], b'!', "told to panic");
            stream.write_all(self.name.as_bytes()).await.unwrap();
        }
    }
}

fn supervisor() -> Supervisor {
    Supervisor::new(Arc::new(Reserve::default()))
}

fn desired(
    name: &'static str,
    address: SocketAddr,
    trusted: &[&str],
) -> (Desired, mpsc::UnboundedReceiver<Origin>) {
    let (tell, seen) = mpsc::unbounded_channel();
    let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
    let entrance = Arc::new(Echo { name, seen: tell });
    (
        Desired {
            name: name.into(),
            address,
            door: Door::Sftp,
            trusted,
            entrance,
        },
        seen,
    )
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn up(supervisor: &Supervisor, name: &str) -> SocketAddr {
    match supervisor
        .status()
        .into_iter()
        .find(|status| &*status.name == name)
        .unwrap()
        .state
    {
        State::Up(address) => address,
        state => panic!("{name} is {state:?}"),
    }
}

async fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_taken_port_stops_nobody_and_is_bound_once_free() {
    let taken = std::net::TcpListener::bind(anywhere()).unwrap();
    let supervisor = supervisor();
    let (blocked, _seen_blocked) = desired("blocked", taken.local_addr().unwrap(), &[]);
    let (free, _seen_free) = desired("free", anywhere(), &[]);
    supervisor.apply(vec![blocked, free]).await;
    assert_eq!(ask(up(&supervisor, "free"), b"x").await, "free");
    let state = supervisor
        .status()
        .into_iter()
        .find(|status| &*status.name == "blocked")
        .unwrap()
        .state;
    assert!(matches!(state, State::Down(_)), "{state:?}");

    let mut changes = supervisor.running.lock().get("blocked").unwrap().state.clone();
    drop(taken);
    changes
        .wait_for(|state| matches!(state, State::Up(_)))
        .await
        .unwrap();
    assert_eq!(ask(up(&supervisor, "blocked"), b"x").await, "blocked");
}

#[tokio::test]
async fn an_unchanged_address_keeps_its_socket_and_its_connections() {
    let supervisor = supervisor();
    let (old, mut seen) = desired("door", anywhere(), &[]);
    supervisor.apply(vec![old.clone()]).await;
    let address = up(&supervisor, "door");
    let mut living = TcpStream::connect(address).await.unwrap();
    seen.recv().await.unwrap();

    let (mut new, _seen_new) = desired("new", anywhere(), &[]);
    new.name = "door".into();
    supervisor.apply(vec![new]).await;
    assert_eq!(up(&supervisor, "door"), address, "the same socket, port 0 or not");
    assert_eq!(ask(address, b"x").await, "new", "with the new entrance");
    living.write_all(b"x").await.unwrap();
    let mut answer = String::new();
    living.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "door", "the old connection goes on with the old one");

    supervisor.apply(Vec::new()).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_listener_moves_to_another_address() {
    let supervisor = supervisor();
    let (first, _seen) = desired("door", anywhere(), &[]);
    supervisor.apply(vec![first]).await;
    let before = up(&supervisor, "door");
    let other = std::net::TcpListener::bind(anywhere())
        .unwrap()
        .local_addr()
        .unwrap();
    let (moved, _seen_moved) = desired("door", other, &[]);
    supervisor.apply(vec![moved]).await;
    assert_eq!(up(&supervisor, "door"), other);
    assert!(TcpStream::connect(before).await.is_err());
}

#[tokio::test]
async fn the_origin_is_what_a_trusted_proxy_tells() {
    let supervisor = supervisor();
    let (trusting, mut seen) = desired("trusting", anywhere(), &["127.0.0.0/8"]);
    let (plain, mut seen_plain) = desired("plain", anywhere(), &["10.0.0.0/8"]);
    supervisor.apply(vec![trusting, plain]).await;

    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 22\r\nx";
    assert_eq!(ask(up(&supervisor, "trusting"), header).await, "trusting");
    assert_eq!(
        seen.recv().await.unwrap().peer,
        "192.0.2.7:12345".parse().unwrap()
    );

    assert_eq!(
        ask(up(&supervisor, "plain"), header).await,
        "plain",
        "not parsed: just bytes"
    );
    assert!(
        seen_plain.recv().await.unwrap().peer.ip().is_loopback(),
        "not believed"
    );

    assert_eq!(
        ask(up(&supervisor, "trusting"), b"SSH-2.0-OpenSSH_9.9\r\n").await,
        "",
        "required"
    );
    assert!(
        seen.try_recv().is_err(),
        "a connection of unknown origin is not served"
    );
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let supervisor = supervisor();
    let (door, mut seen) = desired("door", anywhere(), &[]);
    supervisor.apply(vec![door]).await;
    let address = up(&supervisor, "door");
    for _ in 0..100 {
        assert_eq!(ask(address, b"!").await, "");
        seen.recv().await.unwrap();
    }
    assert_eq!(ask(address, b"x").await, "door");
    supervisor.stop().await;
    supervisor.idle().await;
}

#[tokio::test]
async fn stop_closes_sockets_and_waits_for_connections() {
    let supervisor = supervisor();
    let (door, mut seen) = desired("door", anywhere(), &[]);
    supervisor.apply(vec![door]).await;
    let address = up(&supervisor, "door");
    let mut living = TcpStream::connect(address).await.unwrap();
    seen.recv().await.unwrap();
    supervisor.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "refused at once");
    assert_eq!(supervisor.connections(), 1);
    living.write_all(b"x").await.unwrap();
    supervisor.idle().await;
}
