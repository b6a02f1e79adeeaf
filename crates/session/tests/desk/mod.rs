//! A desk to test at: a world with one method that knows `alice` and `bob` by the password `right`,
//! memory storages, and an audit file that is read back.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use portreeve_auth::{
    Attempt, Audience, Chain, Credential, CredentialKind, GroupRule, Identity, Method, Reason, Resolver,
    Standing, Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin, Secret, UserName, VPath};
use portreeve_session::{
    Connection, Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountOptions, MountPlan, Session, SignIn,
    World, audit::Audit,
};
use portreeve_vfs::{FileSystem, Memory};

/// Knows two names; can be told that `bob` is gone.
#[derive(Default)]
pub(crate) struct Two {
    pub(crate) bob_is_gone: AtomicBool,
    pub(crate) changes: AtomicU64,
}

#[async_trait]
impl Method for Two {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        let name = attempt.user.as_str();
        if !["alice", "bob"].contains(&name) {
            return Verdict::NotMine;
        }
        match &attempt.credential {
            Credential::Password(secret) if secret.expose() == "right" => Verdict::Accept(Identity {
                user: attempt.user.clone(),
                subject: name.to_owned(),
                groups: vec![GroupName::new("staff").unwrap()],
                roles: vec![],
                external: vec![],
                claims: BTreeMap::new(),
            }),
            _ => Verdict::Reject(Reason("wrong password".into())),
        }
    }

    async fn still_valid(&self, who: &Identity, _: Audience) -> Standing {
        if who.subject == "bob" && self.bob_is_gone.load(Ordering::SeqCst) {
            return Standing::Gone(Reason("removed".into()));
        }
        Standing::Valid
    }

    fn generation(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

/// The desk.
pub(crate) struct Desk {
    pub(crate) gate: Gatekeeper,
    pub(crate) method: Arc<Two>,
    pub(crate) memory: Arc<Memory>,
    audit: PathBuf,
    _dir: tempfile::TempDir,
}

pub(crate) fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

/// The mounts of `staff` as JSON text of the options, all over one memory storage.
pub(crate) fn desk(mounts: &str) -> Desk {
    desk_with(mounts, LimitsOptions::default(), None)
}

pub(crate) fn desk_with(
    mounts: &str,
    mut limits: LimitsOptions,
    digest: Option<portreeve_session::DigestKind>,
) -> Desk {
    limits.refusal_delay.0 = std::time::Duration::ZERO;
    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(Memory::new());
    let method = Arc::new(Two::default());
    let world = world(mounts, &memory, &method, limits);
    let mut options: portreeve_session::AuditOptions =
        serde_json::from_str(r#"{"sinks":[{"type":"file","path":"audit.jsonl"}]}"#).unwrap();
    options.digest = digest;
    let audit = Audit::open(&options, dir.path()).unwrap();
    let gate = Gatekeeper::new(world, audit, Arc::new(MemoryQuota::default()));
    Desk {
        gate,
        method,
        memory,
        audit: dir.path().join("audit.jsonl"),
        _dir: dir,
    }
}

pub(crate) fn world(mounts: &str, memory: &Arc<Memory>, method: &Arc<Two>, limits: LimitsOptions) -> World {
    let staff = GroupName::new("staff").unwrap();
    let options: Vec<MountOptions> = serde_json::from_str(mounts).unwrap();
    let plans = options
        .iter()
        .map(|option| MountPlan::new(option, Arc::clone(memory) as Arc<dyn FileSystem>).unwrap());
    let groups = BTreeMap::from([(
        staff.clone(),
        GroupPlan {
            mounts: plans.collect(),
        },
    )]);
    let chain = Chain::new(vec![Step::method("two", Arc::clone(method) as Arc<dyn Method>)]);
    let resolver = Resolver::new(
        vec![GroupRule {
            group: staff,
            external: vec![],
        }],
        vec![],
    );
    World::new(chain, resolver, groups, limits)
}

impl Desk {
    pub(crate) async fn knock(&self) -> Connection {
        self.gate
            .knock(origin("192.0.2.1:5000"), Audience::Transfer)
            .await
            .unwrap()
    }

    pub(crate) async fn session(&self, user: &str) -> Session {
        let mut connection = self.knock().await;
        match try_in(&mut connection, user, "right").await {
            SignIn::Welcome(session) => session,
            other => panic!("{other:?}"),
        }
    }

    /// `act outcome detail` of every record so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.audit).unwrap_or_default();
        let records = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        records
            .map(|r| {
                let detail = [&r["path"], &r["reason"], &r["user"]]
                    .into_iter()
                    .find(|v| v.is_string());
                let text = |v: &serde_json::Value| v.as_str().unwrap_or("").to_owned();
                format!(
                    "{} {} {}",
                    text(&r["act"]),
                    text(&r["outcome"]),
                    text(detail.unwrap_or(&r["act"]))
                )
            })
            .collect()
    }

    /// The last record of an act.
    pub(crate) fn last(&self, act: &str) -> serde_json::Value {
        let text = std::fs::read_to_string(&self.audit).unwrap_or_default();
        let mut records = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        records.rfind(|r| r["act"] == act).unwrap_or_default()
    }
}

pub(crate) fn origin(peer: &str) -> Origin {
    Origin::new(
        Door::Sftp,
        "sftp".into(),
        peer.parse().unwrap(),
        "192.0.2.9:22".parse().unwrap(),
    )
}

pub(crate) async fn try_in(connection: &mut Connection, user: &str, password: &str) -> SignIn {
    let user = UserName::new(user).unwrap();
    connection
        .sign_in(&user, Credential::Password(Secret::new(password.into())))
        .await
}
