//! TLS of the raw client: it takes any certificate, keeps the tickets it was given and says whether it resumed.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, ProtocolVersion,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::{
        ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

/// Which versions a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Both.
    Any,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// What one client does about TLS: its connections share its tickets.
#[derive(Debug, Clone)]
pub struct Tls {
    version: Version,
    tickets: Option<Arc<Tickets>>,
    alpn: Vec<Vec<u8>>,
}

impl Tls {
    /// A client that has met nobody yet.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            tickets: Some(Arc::default()),
            alpn: Vec::new(),
        }
    }

    /// The same, which forgets: it resumes nothing.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.tickets = None;
        self
    }

    /// The same with the tickets of somebody else.
    #[must_use]
    pub fn with(mut self, tickets: &Arc<Tickets>) -> Self {
        self.tickets = Some(Arc::clone(tickets));
        self
    }

    /// The same, naming a protocol.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        self.alpn.push(protocol.as_bytes().to_vec());
        self
    }

    /// Its tickets; where it keeps none, an empty box.
    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        self.tickets.clone().unwrap_or_default()
    }

    /// The handshake. Where `at_once` is not set it happens with the first byte.
    ///
    /// # Errors
    /// If it fails.
    pub fn wrap(self, mut stream: TcpStream, at_once: bool) -> io::Result<Wire> {
        let mut config = match self.version {
            Version::Any => BASES[0].clone(),
            Version::Tls12 => BASES[1].clone(),
            Version::Tls13 => BASES[2].clone(),
        };
        config.resumption = match self.tickets {
            Some(tickets) => Resumption::store(tickets),
            None => Resumption::disabled(),
        };
        config.alpn_protocols = self.alpn;
        let name = ServerName::try_from("portreeve.test").expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        while at_once && tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(tls, stream))))
    }
}

// Tickets are bound to the verifier and the client's credentials as objects, so all configurations share one of each.
static BASES: LazyLock<[ClientConfig; 3]> = LazyLock::new(|| {
    let base = |versions: &[&'static SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(versions)
            .expect("versions of this provider")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth()
    };
    [base(&[&TLS13, &TLS12]), base(&[&TLS12]), base(&[&TLS13])]
});

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// A connection, in clear or not.
#[derive(Debug)]
pub enum Wire {
    /// Bytes as they are.
    Clear(TcpStream),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// The connection beneath.
    #[must_use]
    pub const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// Whether the handshake resumed a session; None without one.
    #[must_use]
    pub fn resumed(&self) -> Option<bool> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(tls) => tls.conn.handshake_kind().map(|k| k == HandshakeKind::Resumed),
        }
    }

    /// The version of TLS that was agreed.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(tls) => tls.conn.protocol_version(),
        }
    }

    /// The handshake, where it has not been.
    ///
    /// # Errors
    /// If it fails.
    pub fn shake(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock)?;
            }
        }
        Ok(())
    }

    /// close_notify, without a FIN.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn close_notify(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            while tls.conn.wants_write() {
                tls.conn.write_tls(&mut tls.sock)?;
            }
        }
        Ok(())
    }

    /// The end of the stream in our direction.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn fin(&self) -> io::Result<()> {
        self.tcp().shutdown(Shutdown::Write)
    }

    /// Closing will send RST.
    ///
    /// # Panics
    /// If the connection is no socket.
    pub fn rst(self) {
        rustix::net::sockopt::set_socket_linger(self.tcp(), Some(Duration::ZERO)).expect("a socket");
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buf),
            Self::Tls(tls) => tls.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(buf),
            Self::Tls(tls) => tls.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// Sessions to resume. TLS 1.2 sessions as often as one likes, a TLS 1.3 ticket once, the newest first.
#[derive(Debug, Default)]
pub struct Tickets {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
    given: AtomicUsize,
}

impl Tickets {
    /// How many TLS 1.3 tickets ever came.
    #[must_use]
    pub fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().expect("no panic within") = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().expect("no panic within").clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().expect("no panic within") = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.tls13.lock().expect("no panic within").push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().expect("no panic within").pop()
    }
}

/// The certificate of a test server is its own.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
