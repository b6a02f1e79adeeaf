//! Steps that panic, a thousand times over: never an accept, never a hang, and the others go on.

use std::{sync::atomic::Ordering::SeqCst, time::SystemTime};

use async_trait::async_trait;

use super::*;
use crate::{
    Denial, Identity, Method, Standing,
    fakes::{Fake, KEY, Porter, Says, group, identity, key, name, origin, password},
};

const TIMES: usize = 1000;

/// A step that panics over whatever it is asked, where it begins or after it has waited.
struct Broken {
    late: bool,
}

impl Broken {
    async fn down(&self) -> ! {
        if self.late {
            tokio::task::yield_now().await;
        }
        panic!("told to panic")
    }
}

#[async_trait]
impl Method for Broken {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::PublicKey]
    }

    async fn knows_key(&self, _: &Attempt) -> KeyAnswer {
        self.down().await
    }

    async fn verify(&self, _: &Attempt) -> Verdict {
        self.down().await
    }

    async fn decoy(&self, _: &Attempt) {
        self.down().await;
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        self.down().await
    }
}

#[async_trait]
impl Gate for Broken {
    async fn admit(&self, _: &Origin, user: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        // Over one name alone, to be asked how it ended with the others.
        match user.is_some_and(|user| user.as_str() == "mallory") {
            true => self.down().await,
            false => Ok(()),
        }
    }

    async fn settle(&self, _: ConnectionId, _: &Origin, _: Option<&UserName>, _: End, _: SystemTime) {
        self.down().await;
    }
}

fn flow(steps: &[Step]) -> Flow {
    let chain = Arc::new(Chain::new(steps.to_vec()));
    Flow::new(
        chain,
        ConnectionId::fresh(),
        origin("192.0.2.1"),
        Audience::Transfer,
    )
}

fn broken(late: bool, on_fault: OnFault) -> Step {
    let mut step = Step::method("broken", Arc::new(Broken { late }));
    if let StepKind::Method { on_fault: policy, .. } = &mut step.kind {
        *policy = on_fault;
    }
    step
}

#[tokio::test]
async fn a_method_that_panics_could_not_find_out() {
    let after = Arc::new(Fake::new("after", Says::Accept));
    let accept = Step::method("after", Arc::clone(&after) as _);
    for n in 0..TIMES {
        let late = n.is_multiple_of(2);
        let steps = [broken(late, OnFault::Stop), accept.clone()];
        let mut closed = flow(&steps);
        let progress = closed.submit(name("alice"), password("pw")).await;
        assert!(matches!(progress, Progress::Unavailable), "{progress:?}");
        let trail = closed.take_trail();
        assert_eq!((&*trail[0].step, trail[0].verdict), ("broken", "fault"));
        assert!(trail[0].why.contains("broke down"), "{trail:?}");
        assert!(!closed.offer_key(name("alice"), key(KEY)).await, "fails closed");
        // The same flow goes on, and a policy that was chosen counts here too.
        let mut open = flow(&[broken(late, OnFault::Next), accept.clone()]);
        let progress = open.submit(name("alice"), password("pw")).await;
        let Progress::Done(verified) = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(verified.method(), "after");
        assert!(open.offer_key(name("alice"), key(KEY)).await);
    }
    assert_eq!(after.verified.load(SeqCst), TIMES);
    assert_eq!(
        after.decoyed.load(SeqCst),
        TIMES,
        "a refusal costs what it always costs"
    );
}

#[tokio::test]
async fn a_gate_that_panics_refuses_and_the_others_are_told() {
    for n in 0..TIMES {
        let porter = Arc::new(Porter::default());
        let steps = [
            Step::gate(
                "broken",
                Arc::new(Broken {
                    late: n.is_multiple_of(2),
                }),
            ),
            Step::gate("porter", Arc::clone(&porter) as _),
            Step::method("open", Arc::new(Fake::new("open", Says::Accept))),
            broken(false, OnFault::Stop),
        ];
        let mut flow = flow(&steps);
        let progress = flow.submit(name("mallory"), password("pw")).await;
        assert!(matches!(progress, Progress::Refused), "{progress:?}");
        assert_eq!(flow.take_trail()[0].verdict, "deny");
        let progress = flow.submit(name("alice"), password("pw")).await;
        assert!(matches!(progress, Progress::Done(_)), "{progress:?}");
        assert_eq!(*porter.told.lock(), [End::Refused, End::Accepted]);
    }
}

#[tokio::test]
async fn a_session_goes_on_while_its_method_panics() {
    let rule = crate::GroupRule {
        group: group("m"),
        external: Vec::new(),
    };
    let verified = Verified {
        method: "m".into(),
        audience: Audience::Transfer,
        identity: identity("alice", &["m"]),
    };
    let principal = crate::Resolver::new(vec![rule], Vec::new())
        .resolve(verified)
        .unwrap();
    for n in 0..TIMES {
        let method = Broken {
            late: n.is_multiple_of(2),
        };
        let chain = Chain::new(vec![Step::method("m", Arc::new(method))]);
        let standing = chain.standing(&principal).await;
        assert!(matches!(standing, crate::Renewal::Unknown(_)), "{standing:?}");
    }
}
