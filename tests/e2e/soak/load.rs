//! What the sessions do: idle ones nothing, active ones list, upload and download at a steady pace. An
//! answer that is not the right one is an error, and what was uploaded is compared byte by byte.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use portreeve_tests::data;
use tokio::{
    sync::{Semaphore, oneshot::Receiver},
    task::JoinSet,
    time::{MissedTickBehavior, interval, interval_at, timeout},
};

use crate::client::{Client, Door};

/// An active session lists, uploads and downloads once in this time: 60 listings a minute, of which the
/// audit log damps none (from 100 a minute on).
const PACE: Duration = Duration::from_secs(1);

/// Sessions of one person from one address: below `sessions_per_user` and `connections_per_ip` as they
/// are without being configured (100), and few enough that the audit log damps none of their listings
/// (from 1,000 a minute on).
const TOGETHER: usize = 15;

/// Signing in costs a key exchange on either side; so many at a time.
const AT_ONCE: usize = 8;

/// Idle sessions say a word so often, long before `limits.idle` (10 minutes).
const GREETING: Duration = Duration::from_secs(240);

/// Files that lie in the directory of an active session from the start.
pub(crate) const LYING: u32 = 20;

/// Names among which an active session's uploads go round.
const NAMES: u64 = 4;

/// Bytes of an upload.
const SIZE: usize = 4096;

/// How long each list, upload and download took for the client, in microseconds.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) lists: Vec<u32>,
    pub(crate) puts: Vec<u32>,
    pub(crate) gets: Vec<u32>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &mut Self) {
        self.lists.append(&mut other.lists);
        self.puts.append(&mut other.puts);
        self.gets.append(&mut other.gets);
    }
}

/// Everybody that it takes.
pub(crate) fn people(sessions: usize) -> impl Iterator<Item = String> {
    (0..sessions).step_by(TOGETHER).map(person)
}

/// The person of a session.
pub(crate) fn person(session: usize) -> String {
    format!("p{}", session / TOGETHER)
}

/// The directory of an active session within its person's files.
pub(crate) fn dir(session: usize) -> String {
    format!("s{session}")
}

/// Signs in the sessions `from..to`, in this order.
pub(crate) async fn open(door: &Door, from: usize, to: usize) -> Result<Vec<Client>, String> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = Vec::new();
    for session in from..to {
        let (door, turns) = (door.clone(), Arc::clone(&turns));
        opening.push(tokio::spawn(async move {
            let _turn = turns.acquire().await;
            let host = 1 + u8::try_from(session / TOGETHER).expect("few addresses");
            let address = IpAddr::from(Ipv4Addr::new(127, 0, 7, host));
            Client::open(&door, address, &person(session)).await
        }));
    }
    let mut clients = Vec::new();
    for one in opening {
        clients.push(one.await.map_err(|panic| panic.to_string())??);
    }
    Ok(clients)
}

/// Keeps sessions idle until told otherwise; all of them must still be there then.
pub(crate) async fn idle(mut clients: Vec<Client>, mut over: Receiver<()>) -> Result<Vec<Client>, String> {
    while timeout(GREETING, &mut over).await.is_err() {
        greet(&mut clients).await?;
    }
    greet(&mut clients).await?;
    Ok(clients)
}

async fn greet(clients: &mut [Client]) -> Result<(), String> {
    for client in clients {
        client
            .greet()
            .await
            .map_err(|e| format!("an idle session: {e}"))?;
    }
    Ok(())
}

/// Has every session list, upload and download until `deadline`.
pub(crate) async fn active(
    clients: Vec<Client>,
    first: usize,
    deadline: Instant,
) -> Result<(Vec<Client>, Tally), String> {
    let mut running = JoinSet::new();
    // Spread over the pace: people do not move in step.
    let mut start = interval(PACE / u32::try_from(clients.len().max(1)).expect("few sessions"));
    for (n, client) in clients.into_iter().enumerate() {
        start.tick().await;
        let session = first + n;
        running.spawn(async move {
            let done = rounds(client, session, deadline).await;
            done.map_err(|e| format!("the active session {session}: {e}"))
        });
    }
    let (mut kept, mut all) = (Vec::new(), Tally::default());
    for done in running.join_all().await {
        let (client, mut tally) = done?;
        kept.push(client);
        all.add(&mut tally);
    }
    Ok((kept, all))
}

async fn rounds(mut client: Client, session: usize, deadline: Instant) -> Result<(Client, Tally), String> {
    let (dir, mut tally) = (format!("/{}", dir(session)), Tally::default());
    let mut pace = interval_at((Instant::now() + PACE / 2).into(), PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0.. {
        pace.tick().await;
        if Instant::now() >= deadline {
            break;
        }
        let began = Instant::now();
        let entries = client.list(&dir).await?;
        tally.lists.push(micros(began));
        let expected = LYING + u32::try_from(NAMES.min(round)).expect("few names");
        if entries != expected {
            return Err(format!("{entries} entries in {dir}, {expected} expected"));
        }
        let path = format!("{dir}/up{}", round % NAMES);
        let content = data::bytes(SIZE, (session as u64) << 32 | round);
        let began = Instant::now();
        client.put(&path, &content).await?;
        tally.puts.push(micros(began));
        let began = Instant::now();
        let back = client.read(&path).await?;
        tally.gets.push(micros(began));
        if back != content {
            return Err(format!("{path} came back as {} other bytes", back.len()));
        }
    }
    Ok((client, tally))
}

fn micros(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX)
}
