//! What tests of the pumps need: files of a real session over a storage in memory, and clients.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use portreeve_auth::{Attempt, Chain, GroupRule, Identity, Method, Resolver, Standing, Step, Verdict};
use portreeve_model::{Door, GroupName, Origin, Secret, UserName, VPath};
use portreeve_session::{
    Audience, Credential, CredentialKind, Download, Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota,
    MountOptions, MountPlan, OpenWrite, Session, SignIn, Upload, World, WriteMode, audit::Audit,
};
use portreeve_vfs::{Faulty, FileSystem, Memory};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    SessionReuse,
    data::{Channel, DataStream, Pace, socket::Wire},
    tls::rig::{Keeping, Versions, client, listener},
};

struct Anybody;

#[async_trait]
impl Method for Anybody {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
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

/// A session and its storage.
pub(in crate::data) struct Files {
    pub(in crate::data) memory: Arc<Memory>,
    pub(in crate::data) faulty: Arc<Faulty>,
    pub(in crate::data) session: Session,
    planted: AtomicUsize,
}

impl Files {
    pub(in crate::data) async fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::over(Arc::<Memory>::clone(&memory)));
        let group = GroupName::new("staff").unwrap();
        let mount: MountOptions =
            serde_json::from_str(r#"{"path":"/","storage":"m","verbs":"full"}"#).unwrap();
        let mount = MountPlan::new(&mount, Arc::<Faulty>::clone(&faulty) as Arc<dyn FileSystem>).unwrap();
        let groups = BTreeMap::from([(group.clone(), GroupPlan { mounts: vec![mount] })]);
        let rule = GroupRule {
            group,
            external: Vec::new(),
        };
        let chain = Chain::new(vec![Step::method("anybody", Arc::new(Anybody))]);
        let world = World::new(
            chain,
            Resolver::new(vec![rule], Vec::new()),
            groups,
            LimitsOptions::default(),
        );
        let gate = Gatekeeper::new(world, Audit::nowhere(), Arc::new(MemoryQuota::default()));
        let origin = Origin::new(
            Door::Ftps,
            "ftps".into(),
            "192.0.2.1:5000".parse().unwrap(),
            "192.0.2.9:21".parse().unwrap(),
        );
        let mut connection = gate.knock(origin, Audience::Transfer).await.unwrap();
        let user = UserName::new("alice").unwrap();
        let credential = Credential::Password(Secret::new("open".to_owned()));
        let SignIn::Welcome(session) = connection.sign_in(&user, credential).await else {
            panic!("not let in");
        };
        Self {
            memory,
            faulty,
            session,
            planted: AtomicUsize::new(0),
        }
    }

    pub(in crate::data) async fn download(&self, content: &[u8]) -> Download {
        let path = VPath::parse(format!("/down{}", self.planted.fetch_add(1, Ordering::SeqCst))).unwrap();
        self.memory.plant(&path, content).unwrap();
        self.session.fs().download(&path).await.unwrap()
    }

    pub(in crate::data) async fn upload(&self, mode: WriteMode) -> Upload {
        let path = VPath::parse("/up").unwrap();
        self.session
            .fs()
            .upload(&path, OpenWrite::new(mode))
            .await
            .unwrap()
    }

    /// What stands under the name of the upload.
    pub(in crate::data) async fn content(&self) -> Vec<u8> {
        let path = VPath::parse("/up").unwrap();
        let file = self.session.fs().download(&path).await.unwrap();
        file.read(0, 1 << 30, Vec::new()).await.unwrap()
    }
}

impl Wire for DuplexStream {}

/// Bytes that differ from place to place.
pub(in crate::data) fn bytes(len: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..=250).collect();
    block.iter().copied().cycle().take(len).collect()
}

pub(in crate::data) const PACE: Pace = Pace {
    stall: Duration::from_secs(60),
    transfer: Duration::from_secs(24 * 3600),
};

/// A listener and a client that knows how to speak to it.
pub(in crate::data) struct Tls {
    pub(in crate::data) server: Arc<ServerConfig>,
    pub(in crate::data) client: Arc<ClientConfig>,
}

pub(in crate::data) fn tls(versions: Versions) -> Tls {
    let mut server = listener(versions);
    server.send_tls13_tickets = 0;
    Tls {
        server: Arc::new(server),
        client: Arc::new(client(versions, Keeping::new())),
    }
}

impl Tls {
    /// Both ends of a data connection, past the handshake.
    pub(in crate::data) async fn join<S: Wire, C: AsyncRead + AsyncWrite + Unpin>(
        &self,
        near: S,
        far: C,
    ) -> (DataStream<S>, TlsStream<C>) {
        let accept = Channel::new(near).protect(
            Some(Arc::clone(&self.server)),
            SessionReuse::Prefer,
            Duration::from_secs(60),
        );
        let connect =
            TlsConnector::from(Arc::clone(&self.client)).connect("localhost".try_into().unwrap(), far);
        let (near, far) = tokio::join!(accept, connect);
        (near.unwrap_or_else(|why| panic!("{why}")), far.unwrap())
    }

    /// The same over a pipe that holds so many bytes.
    pub(in crate::data) async fn pipe(
        &self,
        holds: usize,
    ) -> (DataStream<DuplexStream>, TlsStream<DuplexStream>) {
        let (near, far) = duplex(holds);
        self.join(near, far).await
    }
}

/// Both ends of a data connection without TLS.
pub(in crate::data) async fn plain(holds: usize) -> (DataStream<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(holds);
    let near = Channel::new(near)
        .protect(None, SessionReuse::Prefer, Duration::from_secs(60))
        .await;
    (near.unwrap_or_else(|why| panic!("{why}")), far)
}

/// Everything that the client reads, and how that ended.
pub(in crate::data) async fn drained(mut client: impl AsyncRead + Unpin) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = Vec::new();
    let end = client.read_to_end(&mut all).await;
    (all, end.map(drop))
}
