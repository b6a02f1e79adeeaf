//! A door with its world, and clients that speak to it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_auth::{
    Attempt, Chain, GroupRule, Identity, Method, Reason, Resolver, Standing, Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin, VPath};
use portreeve_session::{
    Audience, AuditOptions, Credential, CredentialKind, Gatekeeper, GroupPlan, MemoryQuota, MountOptions,
    MountPlan, World, audit::Audit,
};
use portreeve_vfs::{Faulty, FileSystem, Memory};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    Direct, FtpDoor, FtpOptions, control,
    tls::rig::{Keeping, TLS13, Versions, client, listener},
};

/// Longer than anything takes that works.
const HUNG: Duration = Duration::from_secs(100);

/// Lets in whoever says "open".
struct Keeper;

#[async_trait]
impl Method for Keeper {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        if !matches!(&attempt.credential, Credential::Password(word) if word.expose() == "open") {
            return Verdict::Reject(Reason("wrong".into()));
        }
        Verdict::Accept(Identity {
            user: attempt.user.clone(),
            subject: attempt.user.to_string(),
            groups: vec![GroupName::new("staff").unwrap()],
            roles: Vec::new(),
            external: Vec::new(),
            claims: BTreeMap::new(),
        })
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        Standing::Valid
    }
}

/// A listener's door and its world.
pub(super) struct Rig {
    pub(super) memory: Memory,
    pub(super) faulty: Arc<Faulty>,
    pub(super) gate: Gatekeeper,
    door: Arc<FtpDoor>,
    versions: Versions,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

/// What differs from rig to rig.
pub(super) struct Terms {
    /// Of the listener.
    pub(super) options: Value,
    /// Of the one mount: `verbs`, `rules`, `limits`.
    pub(super) mount: Value,
    /// `[limits]`.
    pub(super) limits: Value,
    pub(super) memory: Memory,
    pub(super) versions: Versions,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            options: json!({}),
            mount: json!({}),
            limits: json!({}),
            memory: Memory::new(),
            versions: TLS13,
        }
    }
}

impl Rig {
    pub(super) fn new(terms: Terms) -> Self {
        let memory = terms.memory;
        let faulty = Arc::new(Faulty::over(Arc::new(memory.clone())));
        let group = GroupName::new("staff").unwrap();
        let mount = merged(
            json!({"path": "/", "storage": "files", "verbs": "full"}),
            &terms.mount,
        );
        let mount: MountOptions = serde_json::from_value(mount).unwrap();
        let mount = MountPlan::new(&mount, Arc::<Faulty>::clone(&faulty) as Arc<dyn FileSystem>).unwrap();
        let groups = BTreeMap::from([(group.clone(), GroupPlan { mounts: vec![mount] })]);
        let rule = GroupRule {
            group,
            external: Vec::new(),
        };
        let world = World::new(
            Chain::new(vec![Step::method("keeper", Arc::new(Keeper))]),
            Resolver::new(vec![rule], Vec::new()),
            groups,
            serde_json::from_value(merged(json!({"refusal_delay": "0s"}), &terms.limits)).unwrap(),
        );
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.jsonl");
        let audit: AuditOptions =
            serde_json::from_value(json!({"sinks": [{"type": "file", "path": log}]})).unwrap();
        let audit = Audit::open(&audit, dir.path()).unwrap();
        let options = merged(json!({"passive_ports": "20000-29999"}), &terms.options);
        let options: FtpOptions = serde_json::from_value(options).unwrap();
        let tls = Arc::new(listener(terms.versions));
        Self {
            gate: Gatekeeper::new(world, audit, Arc::new(MemoryQuota::default())),
            door: FtpDoor::new(&options, tls).unwrap(),
            versions: terms.versions,
            memory,
            faulty,
            log,
            _dir: dir,
        }
    }

    /// A listener on which nothing needs TLS.
    pub(super) fn optional() -> Self {
        Self::tls("optional")
    }

    /// A listener of this kind.
    pub(super) fn tls(kind: &str) -> Self {
        Self::new(Terms {
            options: json!({"tls": kind}),
            ..Terms::default()
        })
    }

    /// A client that knows no session.
    pub(super) fn stranger(&self) -> Arc<ClientConfig> {
        Arc::new(client(self.versions, Keeping::new()))
    }

    /// Puts a file there.
    pub(super) fn plant(&self, path: &str, content: &[u8]) {
        self.memory.plant(&p(path), content).unwrap();
    }

    /// A connection of which nothing was read yet.
    pub(super) async fn knock(&self) -> Far {
        let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listening.local_addr().unwrap();
        let far = TcpStream::connect(at).await.unwrap();
        let (near, peer) = listening.accept().await.unwrap();
        far.set_nodelay(true).unwrap();
        near.set_nodelay(true).unwrap();
        let origin = Origin::new(Door::Ftps, "ftps".into(), peer, at);
        let connection = self.gate.knock(origin, Audience::Transfer).await.unwrap();
        let served = control::serve(Arc::clone(&self.door), near, connection, Arc::new(Direct));
        Far {
            io: Some(Box::new(far)),
            came: Vec::new(),
            tls: Arc::new(client(self.versions, Keeping::new())),
            protected: false,
            served: tokio::spawn(served),
        }
    }

    /// A connection, past its greeting.
    pub(super) async fn dial(&self) -> Far {
        let mut far = self.knock().await;
        if self.door.options.tls == crate::TlsMode::Implicit {
            far.start_tls().await;
            far.protected = true;
        }
        assert!(far.reply().await.starts_with("220"));
        far
    }

    /// The same, with TLS.
    pub(super) async fn secured(&self) -> Far {
        let mut far = self.dial().await;
        if !far.protected {
            far.expect("AUTH TLS", "234 begin the TLS handshake").await;
            far.start_tls().await;
        }
        far
    }

    /// Somebody who is signed in: with TLS for control and data where the listener asks for it.
    pub(super) async fn alice(&self) -> Far {
        let mut far = match self.door.needs_tls() {
            true => self.secured().await,
            false => self.dial().await,
        };
        far.sign_in("alice").await;
        if self.door.needs_tls() {
            far.protect().await;
        }
        far
    }

    /// Every record of the audit log.
    pub(super) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Those of one act, in the order in which they came: outcome, and what `keys` name.
    pub(super) fn events(&self, act: &str, keys: &[&str]) -> Vec<Value> {
        let of_act = self.records().into_iter().filter(|record| record["act"] == act);
        of_act
            .map(|record| {
                let mut told = vec![record["outcome"].clone()];
                told.extend(keys.iter().map(|key| record[key].clone()));
                Value::Array(told)
            })
            .collect()
    }

    /// The reasons of what was turned away.
    pub(super) fn knocks(&self) -> Vec<String> {
        let of_act = self
            .records()
            .into_iter()
            .filter(|record| record["act"] == "knock");
        of_act
            .map(|record| {
                assert_eq!(record["outcome"], "refused");
                record["why"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

pub(super) fn p(path: &str) -> VPath {
    VPath::parse(path).unwrap()
}

fn merged(mut into: Value, from: &Value) -> Value {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
    into
}

/// Bytes both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The client's end of a control connection.
pub(super) struct Far {
    io: Option<Box<dyn Io>>,
    came: Vec<u8>,
    pub(super) tls: Arc<ClientConfig>,
    /// Whether data connections get TLS.
    pub(super) protected: bool,
    served: JoinHandle<()>,
}

impl Far {
    pub(super) async fn start_tls(&mut self) {
        let io = self.io.take().unwrap();
        assert!(self.came.is_empty(), "{:?}", String::from_utf8_lossy(&self.came));
        self.io = Some(wrapped(&self.tls, io).await);
    }

    pub(super) async fn sign_in(&mut self, user: &str) {
        self.expect(&format!("USER {user}"), "331 now the password, with PASS")
            .await;
        self.expect("PASS open", "230 welcome").await;
    }

    /// Asks for data connections with TLS.
    pub(super) async fn protect(&mut self) {
        self.expect("PBSZ 0", "200 PBSZ=0").await;
        self.expect("PROT P", "200 data connections have TLS").await;
        self.protected = true;
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let io = self.io.as_mut().unwrap();
        io.write_all(bytes).await.unwrap();
        io.flush().await.unwrap();
    }

    /// One reply, its lines with LF in between.
    pub(super) async fn reply(&mut self) -> String {
        let mut lines = vec![self.line().await.expect("the connection ended")];
        if lines[0].as_bytes().get(3) == Some(&b'-') {
            let last = format!("{} ", &lines[0][..3]);
            while !lines.last().unwrap().starts_with(&last) {
                lines.push(self.line().await.expect("the connection ended within a reply"));
            }
        }
        lines.join("\n")
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.came.windows(2).position(|two| two == b"\r\n") {
                let line = self.came.drain(..end + 2).take(end).collect::<Vec<u8>>();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            let io = self.io.as_mut().unwrap();
            let read = timeout(HUNG, io.read_buf(&mut self.came))
                .await
                .expect("no reply");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    /// A command, and the reply to it.
    pub(super) async fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// What is said to a command; `…` at the end stands for anything.
    pub(super) async fn expect(&mut self, command: &str, expected: &str) {
        let came = self.say(command).await;
        assert!(fits(&came, expected), "{command}:\n{came}\n{expected}");
    }

    /// Commands one after the other, each with what is said to it.
    pub(super) async fn check(&mut self, table: &[(&str, &str)]) {
        for (command, expected) in table {
            self.expect(command, expected).await;
        }
    }

    /// The next reply, unasked for.
    pub(super) async fn hears(&mut self, expected: &str) {
        let came = self.reply().await;
        assert!(fits(&came, expected), "{came}\n{expected}");
    }

    /// That nothing more comes, and that the server is done with this connection.
    pub(super) async fn ends(mut self) {
        assert_eq!(self.line().await, None);
        assert!(self.came.is_empty());
        self.gone().await;
    }

    /// Closes the control connection.
    pub(super) fn hang_up(&mut self) {
        drop(self.io.take());
    }

    /// Closes the control connection, and waits until the server has drawn its conclusions.
    pub(super) async fn gone(mut self) {
        self.hang_up();
        timeout(HUNG, self.served)
            .await
            .expect("it goes on")
            .expect("it panicked");
    }

    /// A data connection that the server waits for, without TLS yet.
    pub(super) async fn data(&mut self) -> TcpStream {
        let came = self.say("EPSV").await;
        let port = came
            .strip_prefix("229 Entering Extended Passive Mode (|||")
            .unwrap_or_else(|| panic!("{came}"));
        let port: u16 = port.strip_suffix("|)").unwrap().parse().unwrap();
        TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))
            .await
            .unwrap()
    }

    /// Begins a transfer: its data connection, as the server expects it, once it has said 150.
    pub(super) async fn begin(&mut self, command: &str, opening: &str) -> Box<dyn Io> {
        let data = self.data().await;
        self.expect(command, opening).await;
        match self.protected {
            true => wrapped(&self.tls, Box::new(data)).await,
            false => Box::new(data),
        }
    }

    /// A transfer that is refused before it begins.
    pub(super) async fn refused(&mut self, command: &str, expected: &str) {
        let _data = self.data().await;
        self.expect(command, expected).await;
    }

    /// What a download or a listing brings, and the last reply.
    pub(super) async fn get(&mut self, command: &str) -> (Vec<u8>, String) {
        let mut data = self.begin(command, "150 …").await;
        let mut content = Vec::new();
        timeout(HUNG, data.read_to_end(&mut content))
            .await
            .expect("it hangs")
            .unwrap();
        (content, self.reply().await)
    }

    /// What a listing says.
    pub(super) async fn listing(&mut self, command: &str) -> String {
        let (lines, end) = self.get(command).await;
        assert_eq!(end, "226 that is all", "{command}");
        String::from_utf8(lines).unwrap()
    }

    /// An upload to its end, and the last reply.
    pub(super) async fn put(&mut self, command: &str, content: &[u8]) -> String {
        let mut data = self.begin(command, "150 …").await;
        data.write_all(content).await.unwrap();
        data.shutdown().await.unwrap();
        self.reply().await
    }

    /// An upload by a client that does not mind when nobody takes the rest.
    pub(super) async fn put_to_the_end(&mut self, command: &str, content: &[u8]) -> String {
        let mut data = self.begin(command, "150 …").await;
        if data.write_all(content).await.is_ok() {
            let _ = data.shutdown().await;
        }
        self.reply().await
    }

    /// An upload that is cut: the data connection ends without the farewell of TLS.
    pub(super) async fn put_and_cut(&mut self, command: &str, content: &[u8]) -> String {
        assert!(self.protected, "nobody would notice");
        let mut data = self.begin(command, "150 …").await;
        data.write_all(content).await.unwrap();
        data.flush().await.unwrap();
        drop(data);
        self.reply().await
    }
}

async fn wrapped(tls: &Arc<ClientConfig>, io: Box<dyn Io>) -> Box<dyn Io> {
    let name = "localhost".try_into().unwrap();
    let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, io);
    Box::new(timeout(HUNG, connecting).await.expect("it hangs").unwrap())
}

fn fits(came: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(start) => came.starts_with(start),
        None => came == expected,
    }
}

/// Waits, without a clock, until something has come about.
pub(super) async fn until(mut come: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000_000 {
        if come().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come about");
}

/// Bytes that differ from place to place.
pub(super) fn bytes(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
