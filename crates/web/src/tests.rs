//! The door as a client meets it: whole connections through a real gatekeeper, over pipes.

mod abuse;
mod files;
mod pages;
mod sign_in;
mod uploads;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_auth::{
    Attempt, Chain, Credential, CredentialKind, GroupRule, Identity, Method, Reason, Resolver, Standing,
    Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin, VPath, options::DurationText};
use portreeve_session::{
    Audience, Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountLimits, MountOptions, MountPlan,
    Partials, VerbWords, World, audit::Audit,
};
use portreeve_vfs::{Faulty, FileSystem, Memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{WebDoor, WebOptions, serve};

/// `alice:open sesame`.
const ALICE: &str = "Basic YWxpY2U6b3BlbiBzZXNhbWU=";
/// `alice:wrong`.
const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";
/// `reader:open sesame`: may list and read only.
const READER: &str = "Basic cmVhZGVyOm9wZW4gc2VzYW1l";

/// A method that counts how often it is asked to verify.
#[derive(Default)]
struct Asked {
    verified: AtomicU64,
    changes: AtomicU64,
    closed: AtomicBool,
}

#[async_trait]
impl Method for Asked {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        self.verified.fetch_add(1, Ordering::SeqCst);
        let right = match &attempt.credential {
            Credential::Password(password) => password.expose() == "open sesame",
            _ => false,
        };
        let group = match attempt.user.as_str() {
            "alice" => "full",
            "reader" => "readers",
            _ => return Verdict::NotMine,
        };
        if !right || self.closed.load(Ordering::SeqCst) {
            return Verdict::Reject(Reason("no".into()));
        }
        Verdict::Accept(Identity {
            user: attempt.user.clone(),
            subject: attempt.user.to_string(),
            groups: vec![GroupName::new(group).unwrap()],
            roles: Vec::new(),
            external: Vec::new(),
            claims: BTreeMap::new(),
        })
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        if self.closed.load(Ordering::SeqCst) {
            Standing::Gone(Reason("closed".into()))
        } else {
            Standing::Valid
        }
    }

    fn generation(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

/// A door, what is behind it, and how to knock.
struct Rig {
    door: Arc<WebDoor>,
    gate: Gatekeeper,
    asked: Arc<Asked>,
}

impl Rig {
    fn new(storage: impl FileSystem + 'static) -> Self {
        Self::with(storage, &WebOptions::default(), MountLimits::default())
    }

    fn with(storage: impl FileSystem + 'static, options: &WebOptions, limits: MountLimits) -> Self {
        let storage: Arc<dyn FileSystem> = Arc::new(storage);
        Self::limited(&storage, options, limits, Self::limits())
    }

    /// A storage that the test keeps a hand on.
    fn shared(storage: Arc<Faulty>) -> Self {
        let storage: Arc<dyn FileSystem> = storage;
        Self::limited(
            &storage,
            &WebOptions::default(),
            MountLimits::default(),
            Self::limits(),
        )
    }

    fn limits() -> LimitsOptions {
        LimitsOptions {
            refusal_delay: DurationText(Duration::ZERO),
            ..LimitsOptions::default()
        }
    }

    fn limited(
        storage: &Arc<dyn FileSystem>,
        options: &WebOptions,
        limits: MountLimits,
        of_sessions: LimitsOptions,
    ) -> Self {
        let asked = Arc::new(Asked::default());
        let mount = |verbs: &str| {
            let options = MountOptions {
                path: "/".into(),
                storage: "files".into(),
                subpath: None,
                verbs: VerbWords::One(verbs.into()),
                rules: Vec::new(),
                limits,
                partials: Partials::Hidden,
            };
            let mounts = vec![MountPlan::new(&options, Arc::clone(storage)).ok().unwrap()];
            GroupPlan { mounts }
        };
        let groups = BTreeMap::from([
            (GroupName::new("full").unwrap(), mount("full")),
            (GroupName::new("readers").unwrap(), mount("read-only")),
        ]);
        let rules = groups.keys().map(|group| GroupRule {
            group: group.clone(),
            external: Vec::new(),
        });
        let rules = rules.collect();
        let world = World::new(
            Chain::new(vec![Step::method("asked", Arc::clone(&asked) as Arc<dyn Method>)]),
            Resolver::new(rules, Vec::new()),
            groups,
            of_sessions,
        );
        Self {
            door: WebDoor::new(options).unwrap(),
            gate: Gatekeeper::new(world, Audit::nowhere(), Arc::new(MemoryQuota::default())),
            asked,
        }
    }

    /// The client's end of a new connection from `peer`.
    async fn connect_from(&self, peer: &str, h2: bool) -> DuplexStream {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let origin = Origin::new(
            Door::Https,
            "https".into(),
            address(peer),
            address("192.0.2.1:443"),
        );
        let connection = self.gate.knock(origin, Audience::Transfer).await.unwrap();
        let (client, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(Arc::clone(&self.door), server, h2, connection));
        client
    }

    async fn connect(&self) -> DuplexStream {
        self.connect_from("198.51.100.7:50000", false).await
    }

    /// One request on a connection of its own.
    async fn send(&self, request: Request<Body>) -> Answer {
        let stream = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Answer::of(sender.send_request(request).await.unwrap()).await
    }

    /// The same over HTTP/2.
    async fn send_h2(&self, mut request: Request<Body>) -> Answer {
        let target = format!("https://files.example{}", request.uri());
        *request.uri_mut() = target.parse().unwrap();
        request.headers_mut().remove("host");
        let stream = TokioIo::new(self.connect_from("198.51.100.7:50000", true).await);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Answer::of(sender.send_request(request).await.unwrap()).await
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request("GET", target, headers, "")).await
    }

    /// Sends bytes as they are and reads until the server closes. For tests with a clock of their own:
    /// what is kept open is closed after its time.
    async fn raw(&self, bytes: &[u8]) -> String {
        let (mut reader, mut writer) = tokio::io::split(self.connect().await);
        let mut got = Vec::new();
        let sends = async {
            let _ = writer.write_all(bytes).await;
        };
        let reads = tokio::time::timeout(Duration::from_secs(600), reader.read_to_end(&mut got));
        let ((), read) = tokio::join!(sends, reads);
        assert!(read.is_ok(), "the server neither answered to the end nor closed");
        String::from_utf8_lossy(&got).into_owned()
    }

    fn verified(&self) -> u64 {
        self.asked.verified.load(Ordering::SeqCst)
    }
}

/// Waits for what other tasks bring about.
async fn until(mut come: impl AsyncFnMut() -> bool) {
    for _ in 0..100_000 {
        if come().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come about");
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, hyper::Error>,
}

impl Answer {
    async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.map(http_body_util::Collected::to_bytes),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.body.as_ref().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.bytes()).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `name=value` of the cookie that was set.
    fn cookie(&self) -> String {
        let set = self.header("set-cookie");
        set.split(';').next().unwrap().to_owned()
    }
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "files.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

/// A storage with a file `/a.bin` of the digits over and over.
fn sample(size: usize) -> Memory {
    let memory = Memory::new();
    memory.plant(&path("/a.bin"), &content(size)).unwrap();
    memory
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| b'0' + u8::try_from(n % 10).unwrap()).collect()
}
