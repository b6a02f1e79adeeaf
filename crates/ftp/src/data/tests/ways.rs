use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{
    Guide, SessionReuse,
    data::{Active, DataCx, Direct, Ports, Way, way::Unopened},
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

type Strangers = Arc<Mutex<Vec<IpAddr>>>;

fn cx(peer: IpAddr, guide: Arc<dyn Guide>) -> (DataCx, Strangers) {
    let strangers = Strangers::default();
    let told = Arc::clone(&strangers);
    let cx = DataCx {
        peer,
        local: HERE,
        patience: Duration::from_secs(30),
        guide,
        stranger: Box::new(move |address| told.lock().push(address)),
    };
    (cx, strangers)
}

/// A range of ports that were free a moment ago.
async fn free(many: u16) -> Ports {
    loop {
        let probe = TcpListener::bind((HERE, 0)).await.unwrap();
        let first = probe.local_addr().unwrap().port();
        if let Some(last) = first.checked_add(many - 1) {
            return Ports::new(first..=last);
        }
    }
}

#[tokio::test]
async fn a_passive_port_takes_one_connection_of_the_client() {
    let ports = free(20).await;
    let (cx, strangers) = cx(HERE, Arc::new(Direct));
    let passive = ports.open(HERE).unwrap();
    let at = SocketAddr::new(HERE, passive.port());
    let (channel, far) = tokio::join!(Way::Passive(passive).connect(&cx), TcpStream::connect(at));
    let stream = channel
        .unwrap()
        .protect(None, SessionReuse::Prefer, Duration::from_secs(1))
        .await;
    stream
        .unwrap_or_else(|why| panic!("{why}"))
        .finish(b"hello")
        .await
        .unwrap();
    let mut came = String::new();
    far.unwrap().read_to_string(&mut came).await.unwrap();
    assert_eq!((came.as_str(), strangers.lock().len()), ("hello", 0));
    assert_eq!(
        TcpStream::connect(at).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn an_ipv4_client_on_an_ipv6_socket_is_the_same_client() {
    let ports = free(20).await;
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    let (cx, _) = cx(mapped, Arc::new(Direct));
    let passive = ports.open(mapped).unwrap();
    let at = SocketAddr::new(HERE, passive.port());
    let (channel, _far) = tokio::join!(Way::Passive(passive).connect(&cx), TcpStream::connect(at));
    assert!(channel.is_ok());
}

/// Says of the first so many connections that they are somebody else's.
struct Liar(AtomicUsize);

#[async_trait]
impl Guide for Liar {
    async fn whose(&self, stream: &mut TcpStream, from: SocketAddr) -> io::Result<IpAddr> {
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        let lies = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        Ok(if lies.is_ok() {
            "192.0.2.77".parse().unwrap()
        } else {
            from.ip()
        })
    }
}

#[tokio::test]
async fn strangers_are_closed_and_reported_and_the_wait_goes_on() {
    let ports = free(20).await;
    let (cx, strangers) = cx(HERE, Arc::new(Liar(AtomicUsize::new(3))));
    let passive = ports.open(HERE).unwrap();
    let at = SocketAddr::new(HERE, passive.port());
    let clients = async {
        let mut last = None;
        for _ in 0..4 {
            let mut far = TcpStream::connect(at).await.unwrap();
            far.write_all(b"PROXYdata").await.unwrap();
            last = Some(far);
        }
        last.unwrap()
    };
    let (channel, _far) = tokio::join!(Way::Passive(passive).connect(&cx), clients);
    assert!(channel.is_ok());
    let stranger: IpAddr = "192.0.2.77".parse().unwrap();
    assert_eq!(*strangers.lock(), vec![stranger; 3]);
}

#[tokio::test]
async fn there_is_an_end_to_strangers() {
    let ports = free(20).await;
    let (cx, strangers) = cx("192.0.2.1".parse().unwrap(), Arc::new(Direct));
    let passive = ports.open(HERE).unwrap();
    let at = SocketAddr::new(HERE, passive.port());
    let strange = tokio::spawn(async move { while TcpStream::connect(at).await.is_ok() {} });
    let channel = Way::Passive(passive).connect(&cx).await;
    assert_eq!(channel.err(), Some(Unopened::Stranger));
    assert_eq!(strangers.lock().len(), 256);
    strange.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_for_ever() {
    let ports = free(20).await;
    let (cx, _) = cx(HERE, Arc::new(Direct));
    let passive = ports.open(HERE).unwrap();
    let began = Instant::now();
    let channel = Way::Passive(passive).connect(&cx).await;
    assert_eq!(
        (channel.err(), began.elapsed().as_secs()),
        (Some(Unopened::TimedOut), 30)
    );
}

#[tokio::test]
async fn ports_come_back_and_there_are_no_more_than_there_are() {
    let ports = free(3).await;
    let open: Vec<_> = (0..3).filter_map(|_| ports.open(HERE).ok()).collect();
    let mut numbers: Vec<_> = open.iter().map(super::super::ports::Passive::port).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), open.len());
    assert_eq!(ports.open(HERE).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(open);
    for _ in 0..50 {
        ports.open(HERE).unwrap();
    }
}

#[tokio::test]
async fn the_next_port_cannot_be_told() {
    let ports = free(500).await;
    let taken: std::collections::BTreeSet<_> = (0..20).map(|_| ports.open(HERE).unwrap().port()).collect();
    assert!(taken.len() > 10, "{taken:?}");
}

#[tokio::test]
async fn active_connections_go_to_the_client_from_where_it_knows_us() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (own, _) = cx(HERE, Arc::new(Direct));
    let (channel, came) = tokio::join!(Way::Active(Active::new(at)).connect(&own), listener.accept());
    assert!(channel.is_ok());
    assert_eq!(came.unwrap().1.ip(), HERE);
    let (other, _) = cx("192.0.2.1".parse().unwrap(), Arc::new(Direct));
    let channel = Way::Active(Active::new(at)).connect(&other).await;
    assert_eq!(channel.err(), Some(Unopened::Stranger), "no bounce");
    drop(listener);
    let channel = Way::Active(Active::new(at)).connect(&own).await;
    assert!(matches!(channel.err(), Some(Unopened::Failed(_))));
}
