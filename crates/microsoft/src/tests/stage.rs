//! A server of HTTPS that plays what a test tells it to, and remembers what it was asked.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use portreeve_model::Secret;
use rustls::{ServerConfig, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use crate::{App, Cloud, Credential, Graph, GraphLimits, GraphMailbox, MemoryVault, Net, NetOptions};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How many came before it.
    pub(crate) nth: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A field of a form, as it was sent.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(n, _)| *n == name)?.1;
        let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
        Some(value.into_owned())
    }
}

/// What to answer.
pub(crate) enum Answer {
    /// A status, headers, a body.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// Another answer once there is a permit.
    Held(Arc<Semaphore>, Box<Self>),
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::With(status, Vec::new(), body.to_string().into_bytes())
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({"error": {"code": code, "message": "m"}}))
    }

    pub(crate) fn and(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::With(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::With(status, headers, body)
            }
            other => other,
        }
    }
}

type Play = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

struct Scene {
    play: Play,
    asked: Mutex<Vec<Asked>>,
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// The server, at `localhost`. It ends with the test's runtime.
pub(crate) struct Stage {
    pub(crate) port: u16,
    scene: Arc<Scene>,
    dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn open(play: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scene = Arc::new(Scene {
            play: Box::new(play),
            asked: Mutex::default(),
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        });
        let played = Arc::clone(&scene);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, scene) = (acceptor.clone(), Arc::clone(&played));
                tokio::spawn(async move { serve(stream, acceptor, scene).await });
            }
        });
        Self { port, scene, dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.scene.asked.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.scene.asked.lock().len()
    }

    /// How many were asked at a path that ends so.
    pub(crate) fn count_of(&self, end: &str) -> usize {
        self.scene
            .asked
            .lock()
            .iter()
            .filter(|a| a.path.ends_with(end))
            .count()
    }

    /// The most requests that were open at once.
    pub(crate) fn peak(&self) -> usize {
        self.scene.peak.load(SeqCst)
    }

    /// Waits until so many were asked.
    pub(crate) async fn until(&self, count: usize) {
        let wait = async {
            while self.count() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("nobody asked");
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn net(&self, proxy: Option<String>) -> Arc<Net> {
        let ca_file = Some(self.ca());
        Net::open(&NetOptions { proxy, ca_file }).unwrap()
    }

    pub(crate) fn app(&self, credential: Credential) -> App {
        App {
            token_endpoint: Some(self.url("/token")),
            backoff: Duration::from_millis(1),
            ..App::new(
                crate::CloudName::Global,
                "tenant".to_owned(),
                "client".to_owned(),
                credential,
                self.net(None),
            )
        }
    }

    /// A mailbox whose waits are short.
    pub(crate) fn mailbox(&self) -> GraphMailbox {
        self.graph(quick()).mailbox("box@example.org")
    }

    pub(crate) fn graph(&self, limits: GraphLimits) -> Arc<Graph> {
        let cloud = Cloud::new(Arc::new(MemoryVault::default()));
        cloud
            .graph(&self.app(secret("s3cret")), &self.url("/v1.0"), limits)
            .unwrap()
    }
}

pub(crate) fn secret(text: &str) -> Credential {
    Credential::Secret(Secret::new(text.to_owned()))
}

/// Limits whose waits are short.
pub(crate) fn quick() -> GraphLimits {
    GraphLimits {
        backoff: Duration::from_millis(1),
        ..GraphLimits::default()
    }
}

/// A token that is good for an hour.
pub(crate) fn token(text: &str) -> Answer {
    Answer::json(
        200,
        &json!({"token_type": "Bearer", "expires_in": 3599, "access_token": text}),
    )
}

/// A token for whoever asks at `/token`, and the play for all else; `nth` counts without the tokens.
pub(crate) fn graph_play(
    play: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let nth = AtomicUsize::new(0);
    move |asked| {
        if asked.path == "/token" {
            return token("t0ken");
        }
        let nth = nth.fetch_add(1, SeqCst);
        play(&Asked { nth, ..asked.clone() })
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, scene: Arc<Scene>) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut asked = read(&mut stream).await?;
    scene.peak.fetch_max(scene.now.fetch_add(1, SeqCst) + 1, SeqCst);
    {
        let mut all = scene.asked.lock();
        asked.nth = all.len();
        all.push(asked.clone());
    }
    let mut answer = (scene.play)(&asked);
    while let Answer::Held(gate, then) = answer {
        gate.acquire().await.unwrap().forget();
        answer = *then;
    }
    let mut bytes = Vec::new();
    match answer {
        Answer::With(status, headers, body) => {
            bytes.extend(format!("HTTP/1.1 {status} S\r\nconnection: close\r\n").bytes());
            for (name, value) in headers {
                bytes.extend(format!("{name}: {value}\r\n").bytes());
            }
            bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
        Answer::Raw(raw) => bytes = raw,
        Answer::Held(..) => {}
    }
    // Before the answer: whoever has it may ask again at once.
    scene.now.fetch_sub(1, SeqCst);
    stream.write_all(&bytes).await.ok()?;
    stream.shutdown().await.ok()
}

/// Reads one request.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        method,
        path,
        headers,
        body,
        nth: 0,
    })
}
