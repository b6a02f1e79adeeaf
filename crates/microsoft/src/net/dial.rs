//! A TCP connection to whichever address of a name answers first: an address that swallows packets must not cost the
//! whole wait (RFC 8305, in short: one address after the other, a little apart, the first that answers wins).

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::sleep,
};

use super::NetError;

/// How long an address has before the next is tried beside it (RFC 8305 section 5).
const APART: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MOST: usize = 8;

/// Connects to a host's name or address.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, NetError> {
    let unreachable = |e: &io::Error| NetError::unreachable(host, port, e);
    let addresses: Vec<SocketAddr> = lookup_host((host, port))
        .await
        .map_err(|e| unreachable(&e))?
        .collect();
    let stream = first(&interleaved(addresses))
        .await
        .map_err(|e| unreachable(&e))?;
    // A small request must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut tries = FuturesUnordered::new();
    let mut left = addresses.iter().take(MOST);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = left.next() {
            tries.push(TcpStream::connect(*address));
        } else if tries.is_empty() {
            return Err(failed);
        }
        // Until one answers, one fails, or the next one's turn comes.
        let next = left.len() > 0;
        tokio::select! {
            Some(outcome) = tries.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = sleep(APART), if next => {}
        }
    }
}

/// Addresses with the families in turn, beginning with the resolver's choice (RFC 8305 section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, two): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == six);
    let mut all = Vec::with_capacity(one.len() + two.len());
    let (mut one, mut two) = (one.into_iter(), two.into_iter());
    loop {
        let pair = [one.next(), two.next()];
        if pair.iter().all(Option::is_none) {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let all = [at("[::1]:1"), at("[::2]:1"), at("[::3]:1"), at("1.1.1.1:1")];
        let order = interleaved(all.to_vec());
        assert_eq!(
            order,
            [at("[::1]:1"), at("1.1.1.1:1"), at("[::2]:1"), at("[::3]:1")]
        );
        assert!(interleaved(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_fails_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bad = closed.local_addr().unwrap();
        drop(closed);
        let stream = first(&[bad, bad, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let told = first(&[bad, bad]).await.unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
