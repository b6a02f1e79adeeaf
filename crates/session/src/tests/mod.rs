//! The choke point as a door meets it: a real gatekeeper over a storage in memory, with the audit file
//! read back. Each room attacks one promise.

mod damped;
mod data_connections;
mod detours;
mod faults;
mod hanging_up;
mod limits;
mod listed;
mod reloads;
mod rights;
mod storage;
mod telling;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_auth::{
    Attempt, Audience, Chain, Credential, CredentialKind, Denial, End, Gate, GroupRule, Identity, Method,
    Reason, Resolver, Standing, Step, Verdict,
};
use portreeve_model::{
    ConnectionId, Door, GroupName, Origin, Secret, UserName, VPath, options::DurationText,
};
use portreeve_vfs::{FileSystem, FsResult, Memory, OpenWrite, WriteMode};
use tokio::sync::Semaphore;

use crate::{
    AuditOptions, Connection, Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountLimits, MountOptions,
    MountPlan, Partials, QuotaBook, RuleOptions, Session, SignIn, SinkOptions, VerbWords, World,
    audit::Audit,
};

const KEY: &str = "files:/";

fn p(raw: &str) -> VPath {
    VPath::parse(raw).unwrap()
}

fn how(mode: WriteMode) -> OpenWrite {
    OpenWrite::new(mode)
}

fn zeros(len: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![0; len])]
}

/// Lets in whoever says "open", after `turns` were given, unless closed.
struct Keeper {
    turns: Semaphore,
    asked: AtomicU64,
    closed: AtomicBool,
    changes: AtomicU64,
    claims: Mutex<BTreeMap<String, String>>,
}

#[async_trait]
impl Method for Keeper {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.turns.acquire().await.unwrap().forget();
        let right = matches!(&attempt.credential, Credential::Password(word) if word.expose() == "open");
        if !right || self.closed.load(Ordering::SeqCst) {
            return Verdict::Reject(Reason("wrong".into()));
        }
        Verdict::Accept(Identity {
            user: attempt.user.clone(),
            subject: attempt.user.to_string(),
            groups: vec![GroupName::new("staff").unwrap()],
            roles: Vec::new(),
            external: Vec::new(),
            claims: self.claims.lock().clone(),
        })
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        if self.closed.load(Ordering::SeqCst) {
            return Standing::Gone(Reason("closed".into()));
        }
        Standing::Valid
    }

    fn generation(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

/// A gate that writes down what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<End>>);

#[async_trait]
impl Gate for Told {
    async fn admit(&self, _: &Origin, _: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        Ok(())
    }

    async fn settle(&self, _: ConnectionId, _: &Origin, _: Option<&UserName>, end: End, _: SystemTime) {
        self.0.lock().push(end);
    }
}

/// What a mount of the rig may look like.
#[derive(Default)]
struct Terms {
    verbs: Option<&'static [&'static str]>,
    rules: Vec<RuleOptions>,
    limits: MountLimits,
    partials: Partials,
}

struct Rig {
    gate: Gatekeeper,
    keeper: Arc<Keeper>,
    told: Arc<Told>,
    book: Arc<MemoryQuota>,
    storage: Arc<dyn FileSystem>,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(storage: impl FileSystem + 'static, terms: &Terms) -> Self {
        Self::over(Arc::new(storage), terms)
    }

    fn over(storage: Arc<dyn FileSystem>, terms: &Terms) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.jsonl");
        let keeper = Arc::new(Keeper {
            turns: Semaphore::new(1000),
            asked: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            claims: Mutex::default(),
        });
        let told = Arc::new(Told::default());
        let book = Arc::new(MemoryQuota::default());
        let world = world(&keeper, &told, &storage, terms);
        let audit = AuditOptions {
            sinks: vec![SinkOptions::File {
                path: log.clone(),
                rotate_at: portreeve_model::options::SizeText(1 << 30),
                keep: 1,
                keep_for: DurationText(Duration::ZERO),
                max_total: portreeve_model::options::SizeText(1 << 40),
            }],
            ..AuditOptions::default()
        };
        let audit = Audit::open(&audit, dir.path()).unwrap();
        Self {
            gate: Gatekeeper::new(world, audit, Arc::clone(&book) as Arc<dyn QuotaBook>),
            keeper,
            told,
            book,
            storage,
            log,
            _dir: dir,
        }
    }

    fn plain() -> Self {
        Self::new(Memory::new(), &Terms::default())
    }

    fn with_quota(bytes: u64) -> Self {
        let limits = MountLimits {
            quota: Some(portreeve_model::options::SizeText(bytes)),
            ..MountLimits::default()
        };
        let terms = Terms {
            limits,
            ..Terms::default()
        };
        Self::new(Memory::new(), &terms)
    }

    /// The world of the rig with other terms.
    fn world(&self, terms: &Terms) -> World {
        world(&self.keeper, &self.told, &self.storage, terms)
    }

    async fn knock(&self) -> Connection {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let origin = Origin::new(
            Door::Sftp,
            "sftp".into(),
            address("198.51.100.7:50000"),
            address("192.0.2.1:22"),
        );
        self.gate.knock(origin, Audience::Transfer).await.unwrap()
    }

    async fn session(&self) -> Session {
        match try_sign_in(&mut self.knock().await, "open").await {
            SignIn::Welcome(session) => session,
            other => panic!("{other:?}"),
        }
    }

    /// Every record, whole.
    fn records(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What the audit log holds: act, outcome and path of each record.
    fn events(&self) -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let word = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap_or("").to_owned();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .map(|record| {
                (
                    word(&record, "act"),
                    word(&record, "outcome"),
                    word(&record, "path"),
                )
            })
            .collect()
    }

    /// The outcomes of one act, in order.
    fn outcomes(&self, act: &str) -> Vec<String> {
        let of_act = self.events().into_iter().filter(|(name, ..)| name == act);
        of_act.map(|(_, outcome, _)| outcome).collect()
    }

    async fn used(&self) -> u64 {
        self.book.used(KEY).await.unwrap().unwrap_or(0)
    }
}

fn world(keeper: &Arc<Keeper>, told: &Arc<Told>, storage: &Arc<dyn FileSystem>, terms: &Terms) -> World {
    let verbs = terms.verbs.unwrap_or(&["full"]);
    let mount = MountOptions {
        path: "/".into(),
        storage: "files".into(),
        subpath: None,
        verbs: VerbWords::Many(verbs.iter().map(ToString::to_string).collect()),
        rules: terms.rules.clone(),
        limits: terms.limits,
        partials: terms.partials,
    };
    let mounts = vec![MountPlan::new(&mount, Arc::clone(storage)).ok().unwrap()];
    let staff = GroupName::new("staff").unwrap();
    let rule = GroupRule {
        group: staff.clone(),
        external: Vec::new(),
    };
    let chain = Chain::new(vec![
        Step::gate("told", Arc::clone(told) as Arc<dyn Gate>),
        Step::method("keeper", Arc::clone(keeper) as Arc<dyn Method>),
    ]);
    let limits = LimitsOptions {
        refusal_delay: DurationText(Duration::ZERO),
        connections_per_ip: 2,
        ..LimitsOptions::default()
    };
    World::new(
        chain,
        Resolver::new(vec![rule], Vec::new()),
        BTreeMap::from([(staff, GroupPlan { mounts })]),
        limits,
    )
}

async fn try_sign_in(connection: &mut Connection, word: &str) -> SignIn {
    let credential = Credential::Password(Secret::new(word.to_owned()));
    connection
        .sign_in(&UserName::new("alice").unwrap(), credential)
        .await
}

/// Uploads a whole file.
async fn put(session: &Session, path: &str, len: usize) -> FsResult<()> {
    let upload = session.fs().upload(&p(path), how(WriteMode::Replace)).await?;
    upload.write(0, zeros(len)).await?;
    upload.commit().await.map(drop)
}

/// Waits, without a clock, until something that goes on in the background has come about.
async fn until(mut come: impl AsyncFnMut() -> bool) {
    for _ in 0..100_000 {
        if come().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come about");
}
