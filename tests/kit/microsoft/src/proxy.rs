//! A proxy that speaks HTTP/1.1 CONNECT, for what must reach the world through one.
//! Invariants: it resolves names itself, so a name that only it knows proves that a call went through it; it relays bytes and
//! never looks into them.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct State {
    credentials: Option<String>,
    refuse: Option<u16>,
    refused_hosts: Vec<String>,
    names: BTreeMap<String, SocketAddr>,
    tunnels: BTreeMap<String, u64>,
    heads: Vec<String>,
    denied: u64,
    open: Vec<TcpStream>,
}

/// The proxy; it stops accepting when dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl ConnectProxy {
    /// Starts one that lets everybody through. Names beneath `standin.test` are this machine.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                thread::spawn(move || tunnel(client, &state));
            }
        });
        Self { address, state, stop }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the product's option wants it: `connect://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("connect://{}", self.address)
    }

    /// Wants a name and a password from now on (Basic), else 407.
    pub fn credentials(&self, name: &str, password: &str) {
        self.state.lock().credentials =
            Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
    }

    /// Answers every CONNECT with this status from now on; none lets them through again.
    pub fn refuse(&self, status: Option<u16>) {
        self.state.lock().refuse = status;
    }

    /// Refuses a host (without its port) with 403: an allow-list that forgot it.
    pub fn refuse_host(&self, host: &str) {
        self.state.lock().refused_hosts.push(host.to_owned());
    }

    /// A name that only the proxy knows: whatever the port, it leads there.
    pub fn name(&self, host: &str, address: SocketAddr) {
        self.state.lock().names.insert(host.to_owned(), address);
    }

    /// How many tunnels were opened, by `host:port` as clients asked.
    #[must_use]
    pub fn tunnels(&self) -> BTreeMap<String, u64> {
        self.state.lock().tunnels.clone()
    }

    /// How many clients were refused.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.state.lock().denied
    }

    /// The heads of the requests as they came, credentials too.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.state.lock().heads.clone()
    }

    /// Breaks every tunnel that is open.
    pub fn cut(&self) {
        for socket in self.state.lock().open.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        self.cut();
    }
}

/// The head of a request, up to the empty line; nothing if it is too long or breaks off.
fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 || head.len() > 16 * 1024 {
            return None;
        }
    }
    Some(head)
}

fn tunnel(client: TcpStream, state: &Mutex<State>) {
    let _ = client.set_nodelay(true);
    let Ok(reading) = client.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    let Some(head) = head(&mut reader) else { return };
    let mut client = client;
    let upstream = match judge(&head, state) {
        Ok(upstream) => upstream,
        Err(status) => {
            state.lock().denied += 1;
            let more = if status == 407 {
                "Proxy-Authenticate: Basic realm=\"standin\"\r\n"
            } else {
                ""
            };
            let _ = write!(
                client,
                "HTTP/1.1 {status} Refused\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return;
        }
    };
    if client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .is_err()
    {
        return;
    }
    let (Ok(mut to_client), Ok(mut from_upstream), Ok(mut to_upstream)) =
        (client.try_clone(), upstream.try_clone(), upstream.try_clone())
    else {
        return;
    };
    state
        .lock()
        .open
        .extend([client.try_clone(), upstream.try_clone()].into_iter().flatten());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_upstream, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    // What the client sent with the head, and the rest.
    let _ = std::io::copy(&mut reader, &mut to_upstream);
    let _ = to_upstream.shutdown(Shutdown::Write);
}

/// Where it leads, or the status of the refusal.
fn judge(head: &str, state: &Mutex<State>) -> Result<TcpStream, u16> {
    let mut state = state.lock();
    state.heads.push(head.to_owned());
    let mut words = head.split(' ');
    let (Some("CONNECT"), Some(place)) = (words.next(), words.next()) else {
        return Err(405);
    };
    let (host, port) = place.rsplit_once(':').ok_or(400u16)?;
    let port: u16 = port.parse().map_err(|_| 400u16)?;
    let given = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    if state.credentials.is_some() && state.credentials != given {
        return Err(407);
    }
    if let Some(status) = state.refuse {
        return Err(status);
    }
    if state.refused_hosts.iter().any(|h| h == host) {
        return Err(403);
    }
    let named = state.names.get(host).copied();
    *state.tunnels.entry(place.to_owned()).or_default() += 1;
    drop(state);
    let local = host.ends_with(".standin.test") || host == "localhost";
    let upstream = match named {
        Some(address) => TcpStream::connect(address),
        None if local => TcpStream::connect(("127.0.0.1", port)),
        None => TcpStream::connect((host.trim_matches(['[', ']']), port)),
    };
    let upstream = upstream.map_err(|_| 502u16)?;
    let _ = upstream.set_nodelay(true);
    Ok(upstream)
}
