//! An account or a key that expires while its session runs: judged by a clock that the test turns.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_auth::{
    Attempt, Audience, Chain, Clock, Credential, CredentialKind, EXPIRES_CLAIM, Fault, GroupRule, Identity,
    Method, Reason, Resolver, Standing, Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin, Secret, UserName, VPath};
use portreeve_session::{
    Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountPlan, Session, SignIn, World, audit::Audit,
};
use portreeve_vfs::{FsErrorKind, Links, Memory};

/// 2030-06-15T12:00:00Z.
const START: Duration = Duration::from_secs(1_907_755_200);
const END: &str = "2030-06-15T13:00:00Z";
const HOUR: Duration = Duration::from_secs(3600);

struct Turned(Mutex<SystemTime>);

impl Turned {
    fn turn(&self, change: impl FnOnce(SystemTime) -> SystemTime) {
        let mut now = self.0.lock();
        *now = change(*now);
    }
}

impl Clock for Turned {
    fn passed(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        *self.0.lock()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    Valid,
    /// With another end.
    Until(&'static str),
    Unknown,
    /// Nothing at all.
    Hangs,
}

/// Lets in until [`END`] and never says by itself that somebody has expired.
struct Lease(Mutex<Says>);

fn until(user: &str, end: &str) -> Identity {
    Identity {
        user: UserName::new(user).unwrap(),
        subject: user.to_owned(),
        groups: vec![GroupName::new("staff").unwrap()],
        roles: Vec::new(),
        external: Vec::new(),
        claims: BTreeMap::from([(EXPIRES_CLAIM.to_owned(), end.to_owned())]),
    }
}

#[async_trait]
impl Method for Lease {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        match attempt.user.as_str() {
            "alice" => Verdict::Accept(until("alice", END)),
            "odd" => Verdict::Accept(until("odd", "tomorrow")),
            _ => Verdict::Reject(Reason("who?".into())),
        }
    }

    async fn still_valid(&self, who: &Identity, _: Audience) -> Standing {
        let says = *self.0.lock();
        match says {
            Says::Valid => Standing::Valid,
            Says::Until(end) => Standing::Changed(until(&who.subject, end)),
            Says::Unknown => Standing::Unknown(Fault("away".into())),
            Says::Hangs => std::future::pending().await,
        }
    }
}

struct Rig {
    gate: Gatekeeper,
    clock: Arc<Turned>,
    method: Arc<Lease>,
}

fn rig(says: Says) -> Rig {
    let clock = Arc::new(Turned(Mutex::new(SystemTime::UNIX_EPOCH + START)));
    let method = Arc::new(Lease(Mutex::new(says)));
    let staff = GroupName::new("staff").unwrap();
    let options = serde_json::from_str(r#"{"path":"/","storage":"files","verbs":"full"}"#).unwrap();
    let mount = MountPlan::new(&options, Arc::new(Memory::new())).unwrap();
    let rule = GroupRule {
        group: staff.clone(),
        external: Vec::new(),
    };
    let limits = LimitsOptions {
        refusal_delay: portreeve_model::options::DurationText(Duration::ZERO),
        ..LimitsOptions::default()
    };
    let world = World::new(
        Chain::new(vec![Step::method("lease", Arc::clone(&method) as _)]),
        Resolver::new(vec![rule], Vec::new()),
        BTreeMap::from([(staff, GroupPlan { mounts: vec![mount] })]),
        limits,
    );
    let quota = Arc::new(MemoryQuota::default());
    let gate = Gatekeeper::by_clock(world, Audit::nowhere(), quota, Arc::clone(&clock) as _);
    Rig { gate, clock, method }
}

impl Rig {
    async fn sign_in(&self, user: &str) -> SignIn {
        let end = "192.0.2.1:4711".parse().unwrap();
        let origin = Origin::new(Door::Sftp, "sftp".into(), end, end);
        let mut connection = self.gate.knock(origin, Audience::Transfer).await.unwrap();
        let proof = Credential::Password(Secret::new("any".into()));
        connection.sign_in(&UserName::new(user).unwrap(), proof).await
    }

    async fn session(&self) -> Session {
        match self.sign_in("alice").await {
            SignIn::Welcome(session) => session,
            other => panic!("{other:?}"),
        }
    }
}

async fn look(session: &Session) -> Result<(), FsErrorKind> {
    let root = VPath::parse("/").unwrap();
    session
        .fs()
        .stat(&root, Links::Keep)
        .await
        .map(|_| ())
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn the_next_operation_after_the_end_is_refused() {
    for says in [Says::Valid, Says::Unknown] {
        let rig = rig(says);
        let session = rig.session().await;
        rig.clock.turn(|now| now + HOUR - Duration::from_nanos(1));
        assert_eq!(look(&session).await, Ok(()));
        rig.clock.turn(|now| now + Duration::from_nanos(1));
        assert_eq!(look(&session).await, Err(FsErrorKind::Cancelled));
        assert_eq!(session.end_reason(), Some("revoked"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_ended_by_the_next_sweep_whatever_its_method_says() {
    for says in [Says::Valid, Says::Unknown, Says::Hangs] {
        let rig = rig(says);
        let session = rig.session().await;
        rig.gate.sweep().await;
        assert!(!session.ended().is_cancelled());
        rig.clock.turn(|now| now + HOUR);
        // On the paused clock a method that hangs costs the round, and no more.
        let began = tokio::time::Instant::now();
        rig.gate.sweep().await;
        assert!(session.ended().is_cancelled());
        assert!(began.elapsed() <= Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(session.end_reason(), Some("revoked"));
    }
}

#[tokio::test]
async fn who_is_given_more_time_goes_on() {
    let rig = rig(Says::Until("2030-06-15T15:00:00Z"));
    let session = rig.session().await;
    rig.clock.turn(|now| now + HOUR);
    assert_eq!(look(&session).await, Ok(()));
    rig.gate.sweep().await;
    *rig.method.0.lock() = Says::Valid;
    rig.clock.turn(|now| now + HOUR);
    assert_eq!(look(&session).await, Ok(()), "the new end counts");
    rig.clock.turn(|now| now + HOUR);
    assert_eq!(look(&session).await, Err(FsErrorKind::Cancelled));
}

/// R-14: an hour back gives no session an end, ten years forward give it one, and back again does not
/// wake it.
#[tokio::test]
async fn the_wall_clock_jumps_under_a_session() {
    let rig = rig(Says::Valid);
    let session = rig.session().await;
    rig.clock.turn(|now| now - HOUR);
    rig.gate.sweep().await;
    assert_eq!(look(&session).await, Ok(()));
    rig.clock.turn(|now| now + Duration::from_secs(10 * 366 * 86400));
    rig.gate.sweep().await;
    assert!(session.ended().is_cancelled());
    rig.clock.turn(|now| now - Duration::from_secs(10 * 366 * 86400));
    assert_eq!(look(&session).await, Err(FsErrorKind::Cancelled));
    assert_eq!(
        look(&rig.session().await).await,
        Ok(()),
        "a new sign-in is judged by today's clock"
    );
}

#[tokio::test]
async fn who_expires_at_no_time_that_can_be_read_is_not_let_in() {
    let answer = rig(Says::Valid).sign_in("odd").await;
    assert!(matches!(answer, SignIn::Refused), "{answer:?}");
}
