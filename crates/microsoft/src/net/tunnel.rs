//! The way through a proxy: CONNECT of HTTP/1.1 (RFC 9110 section 9.3.6), the reply read byte for byte within bounds.
//!
//! Not one byte behind the reply is taken: it belongs to the tunnel.

use portreeve_model::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    NetError,
    proxy::{Proxy, place},
};

/// Longest head of a reply. Proxies send a page of text with a refusal; its head is short.
const MOST_HEAD: usize = 16 * 1024;

/// What a proxy said, or that it is not HTTP.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Status(u16),
    Garbage(&'static str),
}

/// Asks for a way to a host on a connection to the proxy.
pub(super) async fn open(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    proxy: &Proxy,
) -> Result<(), NetError> {
    let target = place(host, port);
    let refused = |status: u16, why: String| NetError::Refused {
        proxy: proxy.place(),
        target: target.clone(),
        status,
        why,
    };
    // What ends a line would end the request: a host name holds none.
    if !host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c))
        || host.is_empty()
    {
        return Err(NetError::Host(host.to_owned()));
    }
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = proxy.authorization() {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let request = Secret::new(request);
    let broken = |e: std::io::Error| refused(0, format!("the connection broke: {e}"));
    stream
        .write_all(request.expose().as_bytes())
        .await
        .map_err(broken)?;

    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST_HEAD {
            return Err(refused(
                0,
                format!("its reply has no end within {MOST_HEAD} bytes"),
            ));
        }
        // One byte at a time: what follows the head is the tunnel's, and there is no giving back.
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(refused(0, "it closed the connection within its reply".to_owned()));
            }
            Err(e) => return Err(broken(e)),
        }
    }
    match parse(&head) {
        Reply::Status(200..=299) => Ok(()),
        Reply::Status(status) => Err(refused(status, meaning(status))),
        Reply::Garbage(why) => Err(refused(0, format!("its reply is not HTTP: {why}"))),
    }
}

fn meaning(status: u16) -> String {
    match status {
        407 => "it wants other credentials, or credentials at all (407): write connect://user:password@host:port; \
                only Basic is spoken"
            .to_owned(),
        403 => "it forbids this host (403): have it allowed".to_owned(),
        502..=504 => format!("it cannot reach the host itself ({status})"),
        _ => format!("it answered {status}"),
    }
}

/// Reads the status line of a reply's head (RFC 9112 section 4) and that the rest are header lines.
fn parse(head: &[u8]) -> Reply {
    let Ok(text) = std::str::from_utf8(head) else {
        return Reply::Garbage("not text");
    };
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    if !matches!(words.next(), Some("HTTP/1.1" | "HTTP/1.0")) {
        return Reply::Garbage("it does not begin with HTTP/1.1 or HTTP/1.0");
    }
    let status = words
        .next()
        .filter(|word| word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|word| word.parse::<u16>().ok())
        .filter(|status| (100..600).contains(status));
    let Some(status) = status else {
        return Reply::Garbage("it has no status");
    };
    if lines.any(|line| !line.is_empty() && !line.contains(':')) {
        return Reply::Garbage("a header line without a colon");
    }
    Reply::Status(status)
}

/// Lets the reply's parser loose on any bytes; for the fuzz target.
#[doc(hidden)]
#[must_use]
pub fn fuzz_reply(head: &[u8]) -> bool {
    matches!(parse(head), Reply::Status(200..=299))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        for (head, reply) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Reply::Status(200)),
            ("HTTP/1.0 200 OK\r\nVia: 1.1 squid\r\n\r\n", Reply::Status(200)),
            ("HTTP/1.1 200\r\n\r\n", Reply::Status(200)),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n\r\n",
                Reply::Status(407),
            ),
        ] {
            assert_eq!(parse(head.as_bytes()), reply, "{head}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for head in [
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "\r\n\r\n",
            "",
        ] {
            assert!(matches!(parse(head.as_bytes()), Reply::Garbage(_)), "{head:?}");
        }
        assert!(matches!(parse(b"HTTP/1.1 200 \xff\r\n\r\n"), Reply::Garbage(_)));
    }
}
