//! A desk to test at: a door over a storage in memory, and an SSH client that sends whatever it is told.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_auth::{
    Attempt, Audience, Chain, Challenge, Credential, CredentialKind, GroupRule, Identity, KeyAnswer, Method,
    Prompt, Reason, Resolver, Standing, Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin};
use portreeve_session::{
    Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountOptions, MountPlan, World, audit::Audit,
};
use portreeve_sftp::{HostKeys, SftpDoor, SftpOptions, serve};
use portreeve_vfs::{FileSystem, Memory};
use russh::{
    ChannelMsg, client,
    keys::{PublicKeyOrCertificate, ssh_key},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};

mod slow;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use slow::{Pace, Slow};

/// Lets `alice` in by the password `right` or by `key`; `carol` by `right` and then the code `42`.
pub(crate) struct People {
    pub(crate) key: Option<ssh_key::PublicKey>,
}

impl People {
    fn accept(attempt: &Attempt) -> Verdict {
        Verdict::Accept(Identity {
            user: attempt.user.clone(),
            subject: attempt.user.as_str().to_owned(),
            groups: vec![GroupName::new("staff").unwrap()],
            roles: vec![],
            external: vec![],
            claims: BTreeMap::new(),
        })
    }

    fn has_key(&self, attempt: &Attempt) -> bool {
        matches!((&attempt.credential, &self.key), (Credential::PublicKey(offered), Some(key))
            if attempt.user.as_str() == "alice" && offered.0.key_data() == key.key_data())
    }
}

#[async_trait]
impl Method for People {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::PublicKey]
    }

    async fn knows_key(&self, attempt: &Attempt) -> KeyAnswer {
        if self.has_key(attempt) {
            KeyAnswer::Yes
        } else {
            KeyAnswer::No
        }
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        match (&attempt.credential, attempt.user.as_str()) {
            (Credential::PublicKey(_), _) if self.has_key(attempt) => Self::accept(attempt),
            (Credential::Password(secret), "alice") if secret.expose() == "right" => Self::accept(attempt),
            (Credential::Password(secret), "carol") if secret.expose() == "right" => {
                Verdict::Challenge(Challenge {
                    instruction: "second factor".to_owned(),
                    prompts: vec![Prompt {
                        text: "Code: ".to_owned(),
                        echo: true,
                    }],
                    patience: Duration::from_secs(60),
                    state: Arc::new(()),
                })
            }
            (Credential::Reply { answers, .. }, "carol") if answers.iter().any(|a| a.expose() == "42") => {
                Self::accept(attempt)
            }
            _ => Verdict::Reject(Reason("wrong".into())),
        }
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        Standing::Valid
    }
}

/// The server's side.
pub(crate) struct Desk {
    pub(crate) gate: Gatekeeper,
    pub(crate) door: Arc<SftpDoor>,
    pub(crate) memory: Arc<Memory>,
}

pub(crate) fn keys() -> HostKeys {
    // Made once: an RSA key takes seconds in a debug build.
    static KEYS: std::sync::OnceLock<HostKeys> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| HostKeys::load_or_create(tempfile::tempdir().unwrap().path()).unwrap())
        .clone()
}

pub(crate) fn desk() -> Desk {
    let memory = Arc::new(Memory::new());
    desk_over(
        Arc::clone(&memory) as Arc<dyn FileSystem>,
        memory,
        None,
        &SftpOptions::default(),
    )
}

pub(crate) fn desk_over(
    storage: Arc<dyn FileSystem>,
    memory: Arc<Memory>,
    key: Option<ssh_key::PublicKey>,
    options: &SftpOptions,
) -> Desk {
    desk_with_audit(storage, memory, key, options, Audit::nowhere())
}

pub(crate) fn desk_with_audit(
    storage: Arc<dyn FileSystem>,
    memory: Arc<Memory>,
    key: Option<ssh_key::PublicKey>,
    options: &SftpOptions,
    audit: Audit,
) -> Desk {
    let group = GroupName::new("staff").unwrap();
    let mount: MountOptions = serde_json::from_str(r#"{"path":"/","storage":"m","verbs":"full"}"#).unwrap();
    let mount = MountPlan::new(&mount, storage).unwrap();
    let groups = BTreeMap::from([(group.clone(), GroupPlan { mounts: vec![mount] })]);
    let chain = Chain::new(vec![Step::method("people", Arc::new(People { key }))]);
    let rule = GroupRule {
        group,
        external: vec![],
    };
    let mut limits = LimitsOptions::default();
    limits.refusal_delay.0 = Duration::ZERO;
    let world = World::new(chain, Resolver::new(vec![rule], vec![]), groups, limits);
    let gate = Gatekeeper::new(world, audit, Arc::new(MemoryQuota::default()));
    Desk {
        gate,
        door: SftpDoor::new(options, &keys()),
        memory,
    }
}

pub(crate) struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

pub(crate) type Ssh = client::Handle<Trusting>;

impl Desk {
    /// A raw connection to the door.
    pub(crate) async fn dial(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let origin = Origin::new(
            Door::Sftp,
            "sftp".into(),
            "192.0.2.1:5000".parse().unwrap(),
            "192.0.2.9:22".parse().unwrap(),
        );
        let connection = self.gate.knock(origin, Audience::Transfer).await.unwrap();
        tokio::spawn(serve(Arc::clone(&self.door), theirs, connection));
        ours
    }

    pub(crate) async fn ssh(&self) -> Ssh {
        let config = client::Config {
            maximum_packet_size: 32 * 1024,
            // Like real clients, it reads its socket whether or not its user reads the channel.
            channel_buffer_size: 1000,
            ..client::Config::default()
        };
        client::connect_stream(Arc::new(config), self.dial().await, Trusting)
            .await
            .unwrap()
    }

    pub(crate) async fn alice(&self) -> Ssh {
        let mut ssh = self.ssh().await;
        assert!(
            ssh.authenticate_password("alice", "right")
                .await
                .unwrap()
                .success()
        );
        ssh
    }

    pub(crate) async fn sftp(&self) -> Sftp {
        Sftp::over(self.alice().await).await
    }
}

/// A client that speaks packets.
pub(crate) struct Sftp {
    pub(crate) ssh: Arc<Ssh>,
    stream: russh::ChannelStream<client::Msg>,
    next: u32,
}

/// A reply: kind, id, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn code(&self) -> u32 {
        assert_eq!(self.kind, 101, "{self:?}");
        u32::from_be_bytes(self.body[..4].try_into().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        let len = u32::from_be_bytes(self.body[4..8].try_into().unwrap()) as usize;
        String::from_utf8(self.body[8..8 + len].to_vec()).unwrap()
    }

    /// The handle as it is sent back: with its length.
    pub(crate) fn handle(&self) -> Vec<u8> {
        assert_eq!(
            self.kind,
            102,
            "{self:?} {}",
            if self.kind == 101 {
                self.text()
            } else {
                String::new()
            }
        );
        self.body.clone()
    }

    pub(crate) fn data(&self) -> &[u8] {
        assert_eq!(
            self.kind,
            103,
            "{:?}",
            if self.kind == 101 {
                self.text()
            } else {
                String::new()
            }
        );
        &self.body[4..]
    }

    /// The size in ATTRS.
    pub(crate) fn size(&self) -> u64 {
        assert_eq!(self.kind, 105, "{self:?}");
        u64::from_be_bytes(self.body[4..12].try_into().unwrap())
    }
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

pub(crate) const NO_ATTRS: [u8; 4] = [0; 4];
pub(crate) const READ: u32 = 1;
pub(crate) const WRITE: u32 = 2;
pub(crate) const CREAT: u32 = 8;
pub(crate) const TRUNC: u32 = 16;
pub(crate) const EXCL: u32 = 32;

impl Sftp {
    pub(crate) async fn over(ssh: Ssh) -> Self {
        Self::silent(ssh).await.greeted().await
    }

    async fn greeted(mut self) -> Self {
        self.raw(&[&5_u32.to_be_bytes()[..], &[1], &3_u32.to_be_bytes()].concat())
            .await;
        assert_eq!(self.answer().await.kind, 2);
        self
    }

    /// Without INIT.
    pub(crate) async fn silent(ssh: Ssh) -> Self {
        Self::on(Arc::new(ssh)).await
    }

    /// Another channel of the same connection.
    pub(crate) async fn beside(&self) -> Self {
        Self::on(Arc::clone(&self.ssh)).await.greeted().await
    }

    async fn on(ssh: Arc<Ssh>) -> Self {
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        Self {
            ssh,
            stream: channel.into_stream(),
            next: 0,
        }
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// As [`Sftp::raw`], by who may be sent away meanwhile.
    pub(crate) async fn push(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends without waiting; answers the id.
    pub(crate) async fn send(&mut self, kind: u8, body: &[u8]) -> u32 {
        self.next += 1;
        let id = self.next;
        self.raw(&Self::packet(kind, id, body)).await;
        id
    }

    pub(crate) fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
        let len = (5 + body.len()) as u32;
        [&len.to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the channel was closed")
    }

    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        Self::next_answer(&mut self.stream).await
    }

    async fn next_answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
        let len = stream.read_u32().await.ok()?;
        let mut packet = vec![0; len as usize];
        stream.read_exact(&mut packet).await.ok()?;
        let id = u32::from_be_bytes(packet[1..5].try_into().unwrap());
        Some(Answer {
            kind: packet[0],
            id,
            body: packet.split_off(5),
        })
    }

    /// Sends `packets` and reads `count` answers meanwhile.
    pub(crate) async fn flood(&mut self, packets: &[u8], count: usize) -> Vec<Answer> {
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let answers = async {
            let mut answers = Vec::new();
            while answers.len() < count {
                answers.push(
                    Self::next_answer(&mut read)
                        .await
                        .expect("the channel was closed"),
                );
            }
            answers
        };
        let (sent, answers) = tokio::join!(write.write_all(packets), answers);
        sent.unwrap();
        answers
    }

    pub(crate) async fn ask(&mut self, kind: u8, body: &[u8]) -> Answer {
        let id = self.send(kind, body).await;
        let answer = self.answer().await;
        assert_eq!(answer.id, id);
        answer
    }

    pub(crate) async fn open(&mut self, path: &str, flags: u32) -> Answer {
        self.ask(
            3,
            &[&string(path.as_bytes())[..], &flags.to_be_bytes(), &NO_ATTRS].concat(),
        )
        .await
    }

    pub(crate) async fn close(&mut self, handle: &[u8]) -> Answer {
        self.ask(4, handle).await
    }

    pub(crate) fn read_body(handle: &[u8], at: u64, len: u32) -> Vec<u8> {
        [handle, &at.to_be_bytes(), &len.to_be_bytes()].concat()
    }

    pub(crate) fn write_body(handle: &[u8], at: u64, data: &[u8]) -> Vec<u8> {
        [handle, &at.to_be_bytes(), &string(data)].concat()
    }

    pub(crate) async fn put(&mut self, path: &str, data: &[u8]) {
        let handle = self.open(path, WRITE | CREAT | TRUNC).await.handle();
        for (n, piece) in data.chunks(200_000).enumerate() {
            let body = Self::write_body(&handle, n as u64 * 200_000, piece);
            assert_eq!(self.ask(6, &body).await.code(), 0);
        }
        assert_eq!(self.close(&handle).await.code(), 0);
    }

    pub(crate) async fn get(&mut self, path: &str) -> Vec<u8> {
        let handle = self.open(path, READ).await.handle();
        let mut all = Vec::new();
        loop {
            let answer = self
                .ask(5, &Self::read_body(&handle, all.len() as u64, 100_000))
                .await;
            if answer.kind == 101 {
                assert_eq!(answer.code(), 1);
                break;
            }
            all.extend_from_slice(answer.data());
        }
        assert_eq!(self.close(&handle).await.code(), 0);
        all
    }

    pub(crate) async fn stat(&mut self, path: &str) -> Answer {
        self.ask(17, &string(path.as_bytes())).await
    }

    /// Ends the connection without a word to the channel.
    pub(crate) async fn cut(self) {
        let Self { ssh, stream, .. } = self;
        drop(stream);
        ssh.disconnect(russh::Disconnect::ByApplication, "", "")
            .await
            .unwrap();
    }
}

/// Everything a refused program says: stderr and its exit status.
pub(crate) async fn listen(mut channel: russh::Channel<client::Msg>) -> (String, Option<u32>) {
    let mut text = String::new();
    let mut status = None;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::ExtendedData { data, .. } => text.push_str(&String::from_utf8_lossy(&data)),
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            ChannelMsg::Failure => text.push_str("(failure)"),
            _ => {}
        }
    }
    (text, status)
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}
