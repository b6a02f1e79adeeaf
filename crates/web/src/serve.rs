//! One connection, from handshake to goodbye: hyper with limits and time-outs on everything.

use std::{pin::pin, sync::Arc, time::Duration};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portreeve_session::Connection;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    WebDoor,
    answer::{MAX_FIELDS, answer},
    link::{Fate, Link},
};

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// What hyper may hold of one HTTP/1.1 connection in each direction.
const HTTP1_BUFFER: usize = 256 << 10;
/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 100;
/// What a client may send ahead on a stream and on a connection: 8 MiB fill 160 MiB/s at 50 ms.
const HTTP2_WINDOW: u32 = 8 << 20;
/// The largest frame that a client may send.
const HTTP2_FRAME: u32 = 256 << 10;
/// What hyper may hold of an answer on one HTTP/2 stream.
const HTTP2_BUFFER: usize = 256 << 10;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// How often a connection's fate is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Serves one connection until it ends: by the client, by idleness, by the drain. The handshake is
/// done already; `h2` says what ALPN agreed on.
pub async fn serve<S>(door: Arc<WebDoor>, stream: S, h2: bool, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    door.keep_clean();
    let draining = connection.draining().clone();
    let link = Link::new(connection);
    let io = TokioIo::new(stream);
    let service = {
        let (door, link) = (Arc::clone(&door), Arc::clone(&link));
        service_fn(move |request| answer(Arc::clone(&door), Arc::clone(&link), request))
    };
    // Two types without a trait in common for what is done with them.
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = pin!($connection);
            let (mut draining, mut goodbye) = (pin!(draining.cancelled()), pin!(link.goodbye.cancelled()));
            let mut look = tokio::time::interval(LOOK);
            let mut leaving = false;
            loop {
                let leave = tokio::select! {
                    biased;
                    _ = connection.as_mut() => return,
                    () = &mut draining, if !leaving => true,
                    () = &mut goodbye, if !leaving => true,
                    // Whoever is to leave and never asked for anything may not even have said hello.
                    _ = look.tick() => match link.fate() {
                        Fate::Stay if leaving && !link.was_used() => return,
                        Fate::Stay => false,
                        Fate::Leave => true,
                        Fate::Cut => return,
                    },
                };
                if leave && !leaving {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }};
    }
    if h2 {
        drive!(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(HTTP2_WINDOW)
                .initial_connection_window_size(HTTP2_WINDOW)
                .max_frame_size(HTTP2_FRAME)
                .max_concurrent_streams(HTTP2_STREAMS)
                .max_header_list_size(MAX_HEAD as u32)
                .max_send_buf_size(HTTP2_BUFFER)
                .keep_alive_interval(HTTP2_PING)
                .keep_alive_timeout(HTTP2_PING)
                .serve_connection(io, service)
        );
    } else {
        drive!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(door.shared.header_timeout)
                .max_headers(MAX_FIELDS)
                .max_header_size(MAX_HEAD)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(io, service)
        );
    }
}
