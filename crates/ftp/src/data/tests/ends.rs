//! What happens at the ends of real sockets, where the kernel has its say.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Blocking},
    sync::Arc,
    time::Duration,
};

use portreeve_session::WriteMode;
use rustls::{ClientConnection, HandshakeKind, StreamOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    CloseNotify::Require,
    SessionReuse,
    data::{
        Channel, Progress, Text,
        channel::Unprotected,
        receive,
        rig::{Files, PACE, bytes, tls},
        send,
    },
    tls::{
        Binding,
        rig::{Keeping, TLS12, TLS13, Versions, client, listener},
    },
};

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A client that writes, says goodbye and closes without having read a byte: like rclone.
fn put_and_run(at: SocketAddr, config: &Arc<rustls::ClientConfig>, content: &[u8]) -> Option<HandshakeKind> {
    let session = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, Blocking::connect(at).unwrap());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.write_all(content).unwrap();
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
    stream.conn.handshake_kind()
}

async fn three_million_bytes_fifty_times(versions: Versions) {
    let (files, content) = (Files::new().await, Arc::new(bytes(3_000_000)));
    let binding = Binding::new(&Arc::new(listener(versions)), SessionReuse::Prefer);
    let config = Arc::new(client(versions, Keeping::new()));
    let (listener, at) = listening().await;
    for round in 0..50 {
        let (content, config) = (Arc::clone(&content), Arc::clone(&config));
        let running = tokio::task::spawn_blocking(move || put_and_run(at, &config, &content));
        let (stream, _) = listener.accept().await.unwrap();
        let protected = Channel::new(stream).protect(
            Some(binding.data()),
            SessionReuse::Prefer,
            Duration::from_secs(60),
        );
        let stream = protected.await.unwrap_or_else(|why| panic!("{why}"));
        let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
        let received = receive(stream, &file, Some(0), Text::AsIs, &PACE, Require, &progress).await;
        assert_eq!(
            received.unwrap_or_else(|why| panic!("round {round}: {why}")),
            3_000_000
        );
        file.discard().await.unwrap();
        running.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_tls_1_3_is_not_cut_by_a_client_that_reads_nothing() {
    three_million_bytes_fifty_times(TLS13).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_tls_1_2_is_not_cut_by_a_client_that_reads_nothing() {
    three_million_bytes_fifty_times(TLS12).await;
}

#[tokio::test]
async fn a_download_survives_words_of_the_client_that_nobody_reads() {
    let (files, content) = (Files::new().await, bytes(300_000));
    let (listener, at) = listening().await;
    for _ in 0..20 {
        let mut far = TcpStream::connect(at).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        far.write_all(b"is anybody there?").await.unwrap();
        let near = Channel::new(near)
            .protect(None, SessionReuse::Prefer, Duration::from_secs(60))
            .await;
        let near = near.unwrap_or_else(|why| panic!("{why}"));
        let file = files.download(&content).await;
        let sent = send(near, &file, 0, Text::AsIs, &PACE, &Progress::default()).await;
        assert_eq!(sent.unwrap(), 300_000, "the answer does not wait for the client");
        // Only now does the client read: a reset would have thrown away what lies in its socket.
        let far = far.into_std().unwrap();
        far.set_nonblocking(false).unwrap();
        let came = tokio::task::spawn_blocking(move || {
            let (mut far, mut came) = (far, Vec::new());
            far.read_to_end(&mut came).map(|_| came)
        });
        assert!(came.await.unwrap().unwrap() == content);
    }
}

#[tokio::test]
async fn what_is_left_since_its_transfer_was_refused_is_not_reset() {
    let (listener, at) = listening().await;
    for _ in 0..20 {
        let mut far = TcpStream::connect(at).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        far.write_all(b"the client's hello").await.unwrap();
        near.readable().await.unwrap();
        Channel::new(near).leave();
        far.write_all(b"and more").await.unwrap();
        far.shutdown().await.unwrap();
        let read = far.read(&mut [0; 1]).await;
        assert_eq!(read.unwrap(), 0, "closed once the client has closed");
    }
}

#[tokio::test]
async fn demanded_reuse_is_asked_before_any_byte() {
    for versions in [TLS12, TLS13] {
        let binding = Binding::new(&Arc::new(listener(versions)), SessionReuse::Require);
        let known = Arc::new(client(versions, Keeping::new()));
        let control = super::super::rig::Tls {
            server: binding.control(),
            client: Arc::clone(&known),
        };
        let (near, far) = control.pipe(1 << 20).await;
        // The first word over the control connection brings the tickets.
        let spoken = tokio::spawn(crate::data::rig::drained(far));
        near.finish(b"220").await.unwrap();
        let (word, end) = spoken.await.unwrap();
        assert!(word == b"220" && end.is_ok());
        for (client, expected) in [
            (known, Ok(Some(true))),
            (tls(versions).client, Err(Unprotected::NotReused)),
        ] {
            let (near, far) = tokio::io::duplex(1 << 20);
            let server = Channel::new(near).protect(
                Some(binding.data()),
                SessionReuse::Require,
                Duration::from_secs(60),
            );
            let client =
                tokio_rustls::TlsConnector::from(client).connect("localhost".try_into().unwrap(), far);
            let (near, far) = tokio::join!(server, client);
            let refused = near.is_err();
            assert_eq!(near.map(|near| near.reused()), expected);
            if refused {
                let (came, end) = crate::data::rig::drained(far.unwrap()).await;
                assert!(came.is_empty() && end.is_ok(), "it is told by close_notify");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_handshake_fails() {
    let (near, mut far) = tokio::io::duplex(1000);
    let server = Channel::new(near).protect(
        Some(tls(TLS13).server),
        SessionReuse::Prefer,
        Duration::from_secs(60),
    );
    let client = far.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let (near, _) = tokio::join!(server, client);
    let why = near.err().unwrap();
    assert!(matches!(why, Unprotected::Failed(_)), "{why}");
}
