//! The PROXY protocol header, versions 1 and 2 (HAProxy's `proxy-protocol.txt`).
//!
//! Invariant: exactly the header is read from the stream, never a byte after it, so the door begins
//! where the client began; and no more than 107 bytes (version 1) or 16 + 4096 (version 2) are kept.

use std::{io, net::SocketAddr, time::Duration};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Signature of version 2.
const V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, line end included.
const V1_MAX: usize = 107;
/// Longest body of version 2 that is taken: addresses and type-length-values.
const V2_MAX: usize = 4096;

/// Both ends as the proxy tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
}

/// Why a header is none.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It did not come in time.
    #[error("no PROXY header within the deadline")]
    Slow,
    /// The connection failed or ended first.
    #[error("the connection ended before the PROXY header did: {0}")]
    Read(#[from] io::Error),
    /// Something else came.
    #[error("no PROXY header of version 1 or 2")]
    Malformed,
}

/// Reads the header. `None` is the proxy itself (`LOCAL` of version 2, `UNKNOWN` of version 1, or a
/// family without addresses): a health check, served under its own address.
///
/// # Errors
/// [`HeaderError`]; the connection is to be dropped, since nothing true is known of its origin.
pub async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    deadline: Duration,
) -> Result<Option<Ends>, HeaderError> {
    let raw = tokio::time::timeout(deadline, collect(stream))
        .await
        .map_err(|_| HeaderError::Slow)??;
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    let Ok((header, used)) = ProxyHeader::parse(&raw, config) else {
        return Err(HeaderError::Malformed);
    };
    if used != raw.len() {
        return Err(HeaderError::Malformed);
    }
    match header.proxied_address() {
        None => Ok(None),
        Some(ends) if ends.protocol == Protocol::Stream => Ok(Some(Ends {
            peer: ends.source,
            local: ends.destination,
        })),
        Some(_) => Err(HeaderError::Malformed),
    }
}

async fn collect(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, HeaderError> {
    // Both versions are longer than the signature of version 2.
    let mut raw = vec![0; V2.len()];
    stream.read_exact(&mut raw).await?;
    if raw == V2 {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [_, _, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_MAX {
            return Err(HeaderError::Malformed);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        raw.extend_from_slice(&fixed);
        raw.append(&mut body);
        return Ok(raw);
    }
    if !raw.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    while raw.last() != Some(&b'\n') {
        if raw.len() >= V1_MAX {
            return Err(HeaderError::Malformed);
        }
        raw.push(stream.read_u8().await?);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut raw = V2.to_vec();
        raw.extend_from_slice(&[0x20 | command, family]);
        raw.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        raw.extend_from_slice(body);
        raw
    }

    fn v4_body() -> Vec<u8> {
        vec![192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 22]
    }

    async fn check(raw: &[u8], want: &str) {
        let mut sent = raw.to_vec();
        sent.extend_from_slice(b"SSH-2.0-x");
        let mut stream = sent.as_slice();
        let shown = match read_header(&mut stream, SOON).await {
            Ok(None) => "own".to_owned(),
            Ok(Some(ends)) => format!("{} {}", ends.peer, ends.local),
            Err(HeaderError::Malformed) => "malformed".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, want, "{}", raw.escape_ascii());
        if want != "malformed" {
            assert_eq!(stream, b"SSH-2.0-x", "not a byte too many, not one too few");
        }
    }

    #[tokio::test]
    async fn reads_both_versions_and_not_a_byte_more() {
        check(
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 22\r\n",
            "192.0.2.7:12345 10.0.0.1:22",
        )
        .await;
        check(
            b"PROXY TCP6 2001:db8::7 ::1 12345 22\r\n",
            "[2001:db8::7]:12345 [::1]:22",
        )
        .await;
        check(b"PROXY UNKNOWN\r\n", "own").await;
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "own").await;
        check(&v2(1, 0x11, &v4_body()), "192.0.2.7:12345 10.0.0.1:22").await;
        check(&v2(0, 0x00, &[]), "own").await;
        check(&v2(0, 0x11, &v4_body()), "own").await;
        let mut with_tlv = v4_body();
        with_tlv.extend_from_slice(&[0x04, 0, 2, 0, 0]);
        check(&v2(1, 0x11, &with_tlv), "192.0.2.7:12345 10.0.0.1:22").await;
    }

    #[tokio::test]
    async fn refuses_what_is_no_header() {
        check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed").await;
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 22\r\n", "malformed").await;
        check(b"PROXY TCP4 2001:db8::7 ::1 1 22\r\n", "malformed").await;
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 22\n", "malformed").await;
        check(format!("PROXY TCP4 {}", "1".repeat(4096)).as_bytes(), "malformed").await;
        check(&v2(2, 0x11, &v4_body()), "malformed").await;
        check(&v2(1, 0x12, &v4_body()), "malformed").await;
        check(&v2(1, 0x11, &[1, 2, 3]), "malformed").await;
        check(&v2(1, 0x77, &v4_body()), "malformed").await;
        let mut long = V2.to_vec();
        long.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        check(&long, "malformed").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_header_is_given_up() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PROXY TCP4 192.0.2.7").await.unwrap();
        let end = read_header(&mut server, SOON).await;
        assert!(matches!(end, Err(HeaderError::Slow)), "{end:?}");
    }

    #[tokio::test]
    async fn an_early_end_is_an_error() {
        let end = read_header(&mut b"PROXY TCP4 192.0.2.7".as_slice(), SOON).await;
        assert!(matches!(end, Err(HeaderError::Read(_))), "{end:?}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(version in 0..3usize, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut raw = [&b""[..], b"PROXY ", &V2][version].to_vec();
            raw.extend_from_slice(&tail);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _ = runtime.block_on(read_header(&mut raw.as_slice(), SOON));
        }
    }
}
