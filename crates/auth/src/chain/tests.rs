use std::sync::atomic::Ordering::SeqCst;

use portreeve_model::ConnectionId;

use super::*;
use crate::{
    Audience, CredentialKind, End, Flow, Inquiry, Progress,
    fakes::{ALL, Fake, Porter, Says, identity, name, origin, password},
};

#[derive(Clone, Copy)]
struct Policy(OnFault, OnReject);

const CLOSED: Policy = Policy(OnFault::Stop, OnReject::Stop);
const POLICIES: [Policy; 4] = [
    CLOSED,
    Policy(OnFault::Next, OnReject::Stop),
    Policy(OnFault::Stop, OnReject::Next),
    Policy(OnFault::Next, OnReject::Next),
];

/// What the rules say, written a second time and without the chain: who decides, and how it ends.
fn expected(steps: &[(usize, Says, Policy)]) -> (Option<usize>, &'static str) {
    for (label, says, Policy(on_fault, on_reject)) in steps {
        match says {
            Says::Accept => return (Some(*label), "done"),
            Says::Challenge => return (Some(*label), "ask"),
            Says::Reject if *on_reject == OnReject::Stop => return (None, "refused"),
            Says::Fault if *on_fault == OnFault::Stop => return (None, "unavailable"),
            Says::Reject | Says::Fault | Says::NotMine => {}
        }
    }
    (None, "refused")
}

async fn check(steps: &[(usize, Says, Policy)], gate_at: usize, denies: bool) {
    let porter = Arc::new(Porter {
        denies,
        ..Porter::default()
    });
    let fakes: Vec<Arc<Fake>> = steps
        .iter()
        .map(|(label, says, _)| Arc::new(Fake::new(&format!("m{label}"), *says)))
        .collect();
    let mut chain: Vec<Step> = fakes
        .iter()
        .zip(steps)
        .map(|(fake, (_, _, Policy(on_fault, on_reject)))| Step {
            name: fake.label.as_str().into(),
            enabled: true,
            kind: StepKind::Method {
                method: Arc::clone(fake) as _,
                on_fault: *on_fault,
                on_reject: *on_reject,
            },
        })
        .collect();
    chain.insert(gate_at, Step::gate("porter", Arc::clone(&porter) as _));
    let mut flow = Flow::new(
        Arc::new(Chain::new(chain)),
        ConnectionId::fresh(),
        origin("192.0.2.1"),
        Audience::Transfer,
    );
    let progress = flow.submit(name("alice"), password("pw")).await;
    let story = || {
        format!(
            "{:?} gate at {gate_at} denies {denies}",
            steps.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>()
        )
    };

    assert!(porter.asked.load(SeqCst) >= 1, "no gate is skipped: {}", story());
    let (who, ends) = if denies {
        (None, "refused")
    } else {
        expected(steps)
    };
    let got = match &progress {
        Progress::Done(_) => "done",
        Progress::Ask(_) => "ask",
        Progress::Refused => "refused",
        Progress::Unavailable => "unavailable",
    };
    assert_eq!(got, ends, "{}", story());
    if let Progress::Done(verified) = &progress {
        let label = format!("m{}", who.unwrap());
        assert_eq!(verified.method(), label, "{}", story());
        let groups: Vec<_> = verified
            .identity()
            .groups
            .iter()
            .map(portreeve_model::GroupName::as_str)
            .collect();
        assert_eq!(
            groups,
            [label.as_str()],
            "groups come from the one that accepted: {}",
            story()
        );
    }
    if matches!(progress, Progress::Refused | Progress::Unavailable) {
        for fake in &fakes {
            assert_eq!(
                fake.works(),
                1,
                "every refusal costs the same: {} {}",
                fake.label,
                story()
            );
        }
    }
    if denies {
        assert!(
            fakes.iter().all(|fake| fake.verified.load(SeqCst) == 0),
            "{}",
            story()
        );
    }
    let told: &[End] = match ends {
        _ if denies => &[],
        "done" => &[End::Accepted],
        "refused" => &[End::Refused],
        "unavailable" => &[End::Faulted],
        _ => &[],
    };
    assert_eq!(*porter.told.lock(), told, "{}", story());
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..=shorter.len() {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

#[tokio::test]
async fn every_order_of_up_to_four_methods_and_every_outcome() {
    let mut runs = 0;
    for n in 0..=4usize {
        for order in orders(n) {
            for code in 0..5usize.pow(u32::try_from(n).unwrap()) {
                let says = |label: usize| ALL[code / 5usize.pow(u32::try_from(label).unwrap()) % 5];
                let steps: Vec<_> = order.iter().map(|label| (*label, says(*label), CLOSED)).collect();
                check(&steps, runs % (n + 1), false).await;
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 1 + 5 + 2 * 25 + 6 * 125 + 24 * 625);
}

#[tokio::test]
async fn every_policy_of_up_to_three_methods_and_a_gate_anywhere() {
    for n in 1..=3usize {
        for code in 0..20usize.pow(u32::try_from(n).unwrap()) {
            let steps: Vec<_> = (0..n)
                .map(|at| {
                    let digit = code / 20usize.pow(u32::try_from(at).unwrap()) % 20;
                    (at, ALL[digit % 5], POLICIES[digit / 5])
                })
                .collect();
            check(&steps, code % (n + 1), code % 7 == 0).await;
        }
    }
}

fn chain_of(steps: Vec<Step>) -> Chain {
    Chain::new(steps)
}

fn method(label: &str, says: Says) -> Step {
    Step::method(label, Arc::new(Fake::new(label, says)))
}

fn disabled(mut step: Step) -> Step {
    step.enabled = false;
    step
}

#[tokio::test]
async fn a_disabled_step_neither_accepts_nor_denies() {
    let denier = Porter {
        denies: true,
        ..Porter::default()
    };
    let chain = chain_of(vec![
        disabled(Step::gate("porter", Arc::new(denier))),
        disabled(method("a", Says::Accept)),
        method("b", Says::Accept),
    ]);
    let mut flow = Flow::new(
        Arc::new(chain),
        ConnectionId::fresh(),
        origin("192.0.2.1"),
        Audience::Transfer,
    );
    let Progress::Done(verified) = flow.submit(name("alice"), password("pw")).await else {
        panic!("b accepts");
    };
    assert_eq!(verified.method(), "b");
    let verdicts: Vec<_> = flow
        .take_trail()
        .iter()
        .map(|s| (s.step.clone(), s.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("porter".into(), "skipped"),
            ("a".into(), "skipped"),
            ("b".into(), "accept")
        ]
    );
}

#[test]
fn a_listener_takes_a_part_in_the_chains_own_order() {
    let chain = chain_of(vec![
        method("a", Says::Reject),
        method("b", Says::Reject),
        method("c", Says::Reject),
    ]);
    let part = chain.subset(&["c".into(), "a".into()]).unwrap();
    let names: Vec<_> = part.steps().iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(chain.subset(&["a".into(), "x".into()]).err(), Some("x".into()));
}

#[test]
fn offers_what_enabled_methods_take() {
    let mut keys = Fake::new("keys", Says::NotMine);
    keys.takes = vec![CredentialKind::PublicKey];
    let mut none = Fake::new("none", Says::NotMine);
    none.takes = vec![CredentialKind::Nothing];
    let chain = chain_of(vec![
        Step::method("keys", Arc::new(keys)),
        disabled(Step::method("none", Arc::new(none))),
    ]);
    assert_eq!(chain.takes(), [CredentialKind::PublicKey]);
}

#[tokio::test]
async fn a_live_session_is_asked_of_its_own_method_alone() {
    let (own, other) = (
        Arc::new(Fake::new("own", Says::Accept)),
        Arc::new(Fake::new("other", Says::Accept)),
    );
    *other.standing.lock() = Standing::Gone(Reason("not mine".into()));
    let chain = chain_of(vec![
        Step::method("own", Arc::clone(&own) as _),
        Step::method("other", Arc::clone(&other) as _),
    ]);
    let rule = |group: &str| crate::GroupRule {
        group: crate::fakes::group(group),
        external: Vec::new(),
    };
    let resolver = crate::Resolver::new(vec![rule("own"), rule("new")], Vec::new());
    let verified = Verified {
        method: "own".into(),
        audience: Audience::Transfer,
        identity: identity("alice", &["own"]),
    };
    let who = resolver.resolve(verified).unwrap();
    assert!(matches!(chain.standing(&who).await, Renewal::Valid));

    *own.standing.lock() = Standing::Changed(identity("alice", &["new"]));
    let Renewal::Changed(verified) = chain.standing(&who).await else {
        panic!("the groups changed");
    };
    assert_eq!(verified.method(), "own");
    assert_eq!(
        resolver.resolve(verified).unwrap().groups(),
        [crate::fakes::group("new")]
    );

    *own.standing.lock() = Standing::Changed(identity("mallory", &["new"]));
    assert!(
        matches!(chain.standing(&who).await, Renewal::Gone(_)),
        "nobody becomes somebody else"
    );
    *own.standing.lock() = Standing::Unknown(Fault("down".into()));
    assert!(matches!(chain.standing(&who).await, Renewal::Unknown(_)));
    *own.standing.lock() = Standing::Gone(Reason("removed".into()));
    assert!(matches!(chain.standing(&who).await, Renewal::Gone(_)));

    *own.standing.lock() = Standing::Valid;
    let without = chain_of(vec![
        disabled(Step::method("own", Arc::clone(&own) as _)),
        method("b", Says::Accept),
    ]);
    assert!(matches!(without.standing(&who).await, Renewal::Gone(_)));
    assert!(matches!(
        chain_of(Vec::new()).standing(&who).await,
        Renewal::Gone(_)
    ));
}

#[tokio::test]
async fn the_generation_is_that_of_all_methods() {
    let dir = tempfile::tempdir().unwrap();
    let file = accounts(dir.path(), "[accounts.alice]\n");
    let chain = chain_of(vec![
        method("silent", Says::Accept),
        Step::method("file", Arc::clone(&file) as _),
    ]);
    let before = chain.generation();
    file.reload().await.unwrap();
    assert_ne!(chain.generation(), before);
}

fn accounts(dir: &std::path::Path, text: &str) -> Arc<crate::LocalFile> {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let path = dir.join(NUMBER.fetch_add(1, SeqCst).to_string());
    std::fs::write(&path, text).unwrap();
    let options = crate::LocalFileOptions {
        path,
        allow_rsa_2048: false,
    };
    crate::LocalFile::open(&options, None, None, Arc::new(crate::Hasher::for_this_machine())).unwrap()
}

/// Runs `explain` over steps of the names `a`, `b`, … and tells: the trail, who would be let in, and
/// which step ends it.
async fn explained(steps: Vec<Step>, credential: CredentialKind) -> (String, Option<String>, Option<String>) {
    let explained = chain_of(steps)
        .explain(&Inquiry {
            user: &name("alice"),
            audience: Audience::Transfer,
            credential,
            origin: &origin("192.0.2.1"),
            at: SystemTime::now(),
        })
        .await;
    let trail: Vec<String> = explained
        .trail
        .iter()
        .map(|s| format!("{}={}", s.step, s.verdict))
        .collect();
    let open = explained
        .open()
        .map(|open| format!("{}:{}", open.step, open.identity.groups[0]));
    (
        trail.join(" "),
        open,
        explained.ended.map(|(step, why)| format!("{step}: {}", why.0)),
    )
}

#[tokio::test]
async fn explain_walks_the_chain_as_a_try_does() {
    use CredentialKind::{Nothing, Password, PublicKey};
    let phc = crate::hash_password(&crate::fakes::secret("right")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let with = |label: &str, text: &str, on_reject| Step {
        kind: StepKind::Method {
            method: accounts(dir.path(), text) as _,
            on_fault: OnFault::Stop,
            on_reject,
        },
        ..Step::method(label, Arc::new(Fake::new("x", Says::NotMine)))
    };
    let alice = |group: &str, more: &str| {
        format!("[accounts.alice]\npassword = '{phc}'\ngroups = ['{group}']\n{more}")
    };
    let anonymous = || {
        let options = crate::AnonymousOptions {
            usernames: vec!["alice".into()],
            groups: vec!["guests".into()],
            allow_write: false,
        };
        Step::method("anonymous", Arc::new(crate::Anonymous::new(&options).unwrap()))
    };
    let only = |label: &str, kind| {
        let fake = Fake {
            takes: vec![kind],
            ..Fake::new(label, Says::Accept)
        };
        Step::method(label, Arc::new(fake))
    };
    let disabled = "disabled = true\n";
    let (stop, next) = (OnReject::Stop, OnReject::Next);
    let off = || Step {
        enabled: false,
        ..with("off", &alice("off", ""), stop)
    };
    for (steps, kind, trail, open, ended) in [
        // The first that knows the name decides.
        (
            vec![
                with("a", "", stop),
                off(),
                with("b", &alice("one", ""), stop),
                with("c", &alice("two", ""), stop),
            ],
            Password,
            "a=not-mine off=skipped b=known",
            Some("b:one"),
            None,
        ),
        // A barred account ends it …
        (
            vec![
                with("a", &alice("one", disabled), stop),
                with("b", &alice("two", ""), stop),
            ],
            Password,
            "a=reject",
            None,
            Some("a: the account 'alice' is disabled"),
        ),
        (
            vec![with("a", &alice("one", "expires = 2020-01-01T00:00:00Z\n"), stop)],
            Password,
            "a=reject",
            None,
            Some("a: the account 'alice' expired on 2020-01-01T00:00:00Z"),
        ),
        // … unless its step passes on.
        (
            vec![
                with("a", &alice("one", disabled), next),
                with("b", &alice("two", ""), stop),
            ],
            Password,
            "a=reject b=known",
            Some("b:two"),
            None,
        ),
        // What is wrong for a step that passes on may be right for the next.
        (
            vec![
                with("a", &alice("one", ""), next),
                with("b", &alice("two", ""), stop),
            ],
            Password,
            "a=known b=known",
            Some("a:one"),
            None,
        ),
        // A step that does not take the credential decides nothing.
        (
            vec![only("a", PublicKey), with("b", &alice("one", ""), stop)],
            Password,
            "a=skipped b=known",
            Some("b:one"),
            None,
        ),
        (
            vec![with("a", &alice("one", ""), stop), anonymous()],
            Nothing,
            "a=skipped anonymous=known",
            Some("anonymous:guests"),
            None,
        ),
        (
            vec![with("a", &alice("one", ""), stop), anonymous()],
            PublicKey,
            "a=reject",
            None,
            Some("a: the account has no key"),
        ),
        (
            vec![only("a", Password), with("b", "", stop)],
            Password,
            "a=silent b=not-mine",
            None,
            None,
        ),
    ] {
        let got = explained(steps, kind).await;
        let want = (
            trail.to_owned(),
            open.map(str::to_owned),
            ended.map(str::to_owned),
        );
        assert_eq!(got, want, "{kind:?}");
    }
}

/// Denies one spelling.
struct Spelling(&'static str);

#[async_trait::async_trait]
impl Gate for Spelling {
    async fn admit(&self, _: &Origin, user: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        match user {
            Some(user) if user.as_str() == self.0 => Err(Denial {
                why: "spelt so".into(),
            }),
            _ => Ok(()),
        }
    }

    async fn settle(&self, _: ConnectionId, _: &Origin, _: Option<&UserName>, _: End, _: SystemTime) {}
}

#[tokio::test]
async fn explain_asks_gates_by_both_names() {
    let options = crate::AnonymousOptions {
        groups: vec!["guests".into()],
        ..crate::AnonymousOptions::default()
    };
    let chain = chain_of(vec![
        Step::method("anonymous", Arc::new(crate::Anonymous::new(&options).unwrap())),
        Step::gate("porter", Arc::new(Spelling("ftp"))),
    ]);
    for (user, denied, ended) in [
        ("ftp", true, false),
        ("FTP", false, true),
        ("anonymous", false, false),
    ] {
        let inquiry = Inquiry {
            user: &name(user),
            audience: Audience::Transfer,
            credential: CredentialKind::Password,
            origin: &origin("192.0.2.1"),
            at: SystemTime::now(),
        };
        let explained = chain.explain(&inquiry).await;
        assert_eq!(
            (explained.denied.is_some(), explained.ended.is_some()),
            (denied, ended),
            "{user}"
        );
        assert_eq!(explained.open().is_none(), ended, "{user}");
    }
}
