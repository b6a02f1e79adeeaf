//! A TCP relay that cuts connections: after so many bytes from the client, by FIN or by RST.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The stream ends without a goodbye of the protocol above it (no TLS close_notify).
    Fin,
    /// The connection is reset.
    Rst,
}

/// The relay; it stops accepting when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// Relays to `server` and cuts each connection once `after` bytes came from its client.
    #[must_use]
    pub fn cutting(server: SocketAddr, after: u64, how: Cut) -> Self {
        Self::start(server, Some((after, how)), String::new())
    }

    /// Only relays.
    #[must_use]
    pub fn plain(server: SocketAddr) -> Self {
        Self::start(server, None, String::new())
    }

    /// Relays as a load balancer does that says with a PROXY header (version 1) where its client is.
    #[must_use]
    pub fn telling(server: SocketAddr, client: &str) -> Self {
        let header = format!("PROXY TCP4 {client} 127.0.0.1 40000 {}\r\n", server.port());
        Self::start(server, None, header)
    }

    fn start(server: SocketAddr, cut: Option<(u64, Cut)>, header: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::ports::free())).expect("a port for the relay");
        let address = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&passed));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut upstream) = TcpStream::connect(server) else {
                    continue;
                };
                if upstream.write_all(header.as_bytes()).is_err() {
                    continue;
                }
                relay(client, upstream, cut, Arc::clone(&count));
            }
        });
        Self {
            address,
            passed,
            stop,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that passed from clients to the server.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn relay(client: TcpStream, server: TcpStream, cut: Option<(u64, Cut)>, count: Arc<AtomicU64>) {
    let (Ok(mut from_server), Ok(mut to_client)) = (server.try_clone(), client.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        let mut seen = 0u64;
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = client.read(&mut buffer) {
            if n == 0 {
                break;
            }
            let allowed = cut.map_or(n, |(after, _)| {
                n.min(usize::try_from(after.saturating_sub(seen)).unwrap_or(n))
            });
            if server.write_all(&buffer[..allowed]).is_err() {
                break;
            }
            seen += allowed as u64;
            count.fetch_add(allowed as u64, Ordering::Relaxed);
            if allowed < n {
                break;
            }
        }
        if let Some((after, Cut::Rst)) = cut
            && seen >= after
        {
            // Closing with linger 0 sends RST; the other clone of the socket goes with `shutdown` above.
            let _ = rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO));
            let _ = rustix::net::connect_unspec(&server);
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
}
