use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use super::*;
use crate::{
    BanList, DenyUsername, DenyUsernameOptions, IpTimeBan, IpTimeBanOptions,
    fakes::{Fake, KEY, OTHER_KEY, Porter, Says, key, name, origin, password, secret},
};

fn flow(steps: Vec<Step>) -> Flow {
    Flow::new(
        Arc::new(Chain::new(steps)),
        ConnectionId::fresh(),
        origin("192.0.2.1"),
        Audience::Transfer,
    )
}

fn fake(label: &str, says: Says) -> (Arc<Fake>, Step) {
    let fake = Arc::new(Fake::new(label, says));
    let step = Step::method(label, Arc::clone(&fake) as _);
    (fake, step)
}

fn porter() -> (Arc<Porter>, Step) {
    let porter = Arc::new(Porter::default());
    let step = Step::gate("porter", Arc::clone(&porter) as _);
    (porter, step)
}

fn ban(count: u32) -> (Arc<BanList>, Step) {
    let list = Arc::new(BanList::new(None));
    let options = IpTimeBanOptions {
        ban_after_count: count,
        ..IpTimeBanOptions::default()
    };
    let gate = IpTimeBan::new(&options, Arc::clone(&list)).unwrap();
    (list, Step::gate("ban", Arc::new(gate)))
}

fn deny(who: &str) -> Step {
    let options = DenyUsernameOptions {
        usernames: vec![who.to_owned()],
    };
    Step::gate("deny", Arc::new(DenyUsername::new(&options, &[]).unwrap()))
}

fn banned(list: &BanList) -> bool {
    list.banned("192.0.2.1".parse().unwrap()).is_some()
}

#[tokio::test]
async fn a_reply_goes_to_the_method_that_asked() {
    let (first, first_step) = fake("first", Says::NotMine);
    let (second, second_step) = fake("second", Says::Challenge);
    let (third, third_step) = fake("third", Says::Accept);
    let mut flow = flow(vec![first_step, second_step, third_step]);
    assert!(matches!(
        flow.submit(name("alice"), password("pw")).await,
        Progress::Ask(_)
    ));
    let Progress::Done(verified) = flow.reply(name("alice"), vec![secret("123456")]).await else {
        panic!("the reply is right");
    };
    assert_eq!(verified.method(), "second");
    assert_eq!(first.verified.load(SeqCst), 1, "not asked again");
    assert_eq!(second.verified.load(SeqCst), 2);
    assert_eq!(third.works(), 0);
    // The challenge is used up.
    assert!(matches!(
        flow.reply(name("alice"), vec![secret("123456")]).await,
        Progress::Refused
    ));
    assert_eq!(second.verified.load(SeqCst), 2);
}

#[tokio::test]
async fn a_changed_name_in_mid_dialogue_starts_from_zero() {
    let (method, step) = fake("method", Says::Challenge);
    let mut flow = flow(vec![step]);
    assert!(matches!(
        flow.submit(name("alice"), password("pw")).await,
        Progress::Ask(_)
    ));
    assert!(matches!(
        flow.reply(name("bob"), vec![secret("1")]).await,
        Progress::Refused
    ));
    // Nor is the first dialogue taken up again.
    assert!(matches!(
        flow.reply(name("alice"), vec![secret("1")]).await,
        Progress::Refused
    ));
    assert_eq!(method.verified.load(SeqCst), 1, "no reply reached the method");

    assert!(matches!(
        flow.submit(name("alice"), password("pw")).await,
        Progress::Ask(_)
    ));
    let _ = flow.offer_key(name("alice"), key(KEY)).await;
    assert!(matches!(
        flow.reply(name("alice"), vec![secret("1")]).await,
        Progress::Refused
    ));
    assert!(matches!(
        flow.submit(name("alice"), password("pw")).await,
        Progress::Ask(_)
    ));
    assert!(matches!(
        flow.submit(name("bob"), password("pw")).await,
        Progress::Ask(_)
    ));
    assert!(matches!(
        flow.reply(name("alice"), vec![secret("1")]).await,
        Progress::Refused
    ));
}

#[tokio::test]
async fn a_refused_reply_ends_the_login_even_where_others_would_accept() {
    for reply in [Says::Reject, Says::NotMine, Says::Fault] {
        let mut asking = Fake::new("asking", Says::Challenge);
        asking.reply = reply;
        let (second, second_step) = fake("second", Says::Accept);
        let step = Step {
            name: "asking".into(),
            enabled: true,
            kind: StepKind::Method {
                method: Arc::new(asking),
                on_fault: OnFault::Next,
                on_reject: OnReject::Next,
            },
        };
        let mut flow = flow(vec![step, second_step]);
        assert!(matches!(
            flow.submit(name("alice"), password("pw")).await,
            Progress::Ask(_)
        ));
        assert!(
            matches!(
                flow.reply(name("alice"), vec![secret("1")]).await,
                Progress::Refused
            ),
            "{reply:?}"
        );
        assert_eq!(second.verified.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn all_keys_of_a_connection_count_once_and_passwords_each() {
    let (list, ban_step) = ban(3);
    let (_, step) = fake("method", Says::Reject);
    let steps = vec![ban_step, step];
    for connection in 1..=3 {
        let mut flow = flow(steps.clone());
        for line in [KEY, OTHER_KEY, KEY, OTHER_KEY, KEY] {
            assert!(!flow.offer_key(name("alice"), key(line)).await);
            // Some clients sign without asking.
            let signed = flow.submit(name("alice"), Credential::PublicKey(key(line))).await;
            assert!(matches!(signed, Progress::Refused));
        }
        assert!(!banned(&list), "connection {connection} is not over");
        flow.abandon().await;
        assert_eq!(banned(&list), connection == 3, "connection {connection}");
    }
    let (list, ban_step) = ban(3);
    let mut flow = flow(vec![ban_step, steps[1].clone()]);
    let _ = flow.offer_key(name("alice"), key(KEY)).await;
    for guess in 1..=3 {
        assert!(matches!(
            flow.submit(name("alice"), password("guess")).await,
            Progress::Refused
        ));
        assert_eq!(banned(&list), guess == 3, "guess {guess}");
    }
}

#[tokio::test]
async fn keys_before_or_after_a_counted_password_add_nothing() {
    for keys_first in [true, false] {
        let (porter, gate) = porter();
        let (_, step) = fake("method", Says::Reject);
        let mut flow = flow(vec![gate, step]);
        if keys_first {
            let _ = flow.offer_key(name("alice"), key(KEY)).await;
        }
        let _ = flow.submit(name("alice"), password("guess")).await;
        if !keys_first {
            let _ = flow.offer_key(name("alice"), key(KEY)).await;
        }
        flow.abandon().await;
        assert_eq!(*porter.told.lock(), [End::Refused], "keys first: {keys_first}");
    }
}

#[tokio::test]
async fn what_never_counts() {
    let mut anonymous = Fake::new("anonymous", Says::NotMine);
    anonymous.takes = vec![CredentialKind::Nothing];
    let (porter_1, gate) = porter();
    let mut none = flow(vec![gate, Step::method("anonymous", Arc::new(anonymous))]);
    assert!(matches!(
        none.submit(name("alice"), Credential::Nothing).await,
        Progress::Refused
    ));
    none.abandon().await;
    assert!(
        porter_1.told.lock().is_empty(),
        "asking what is taken is no guess"
    );

    let (porter_2, gate) = porter();
    let (_, step) = fake("method", Says::Accept);
    let mut keys = flow(vec![gate, step]);
    assert!(keys.offer_key(name("alice"), key(OTHER_KEY)).await);
    let signed = keys.submit(name("alice"), Credential::PublicKey(key(KEY))).await;
    assert!(matches!(signed, Progress::Done(_)));
    keys.abandon().await;
    assert_eq!(*porter_2.told.lock(), [End::Accepted], "some key fitted");

    let (porter_3, gate) = porter();
    let (_, step) = fake("method", Says::Reject);
    flow(vec![gate, step]).abandon().await;
    assert!(porter_3.told.lock().is_empty(), "a probe that tries nothing");
}

#[tokio::test]
async fn an_outage_is_nobodys_guess() {
    let (list, ban_step) = ban(1);
    let (_, step) = fake("method", Says::Fault);
    let mut flow = flow(vec![ban_step, step]);
    for _ in 0..10 {
        assert!(matches!(
            flow.submit(name("alice"), password("pw")).await,
            Progress::Unavailable
        ));
    }
    flow.abandon().await;
    assert!(!banned(&list));
}

#[tokio::test]
async fn a_banned_address_gets_nowhere_and_its_ban_stays_as_it_is() {
    let (list, ban_step) = ban(5);
    list.ban("192.0.2.1".parse().unwrap(), Duration::from_secs(60), "by hand");
    let (method, step) = fake("method", Says::Accept);
    let mut flow = flow(vec![ban_step, step]);
    assert!(!flow.offer_key(name("alice"), key(KEY)).await);
    assert_eq!(method.asked_key.load(SeqCst), 1, "the work is done all the same");
    for _ in 0..20 {
        assert!(matches!(
            flow.submit(name("alice"), password("right")).await,
            Progress::Refused
        ));
    }
    flow.abandon().await;
    assert_eq!(method.verified.load(SeqCst), 0);
    assert_eq!(method.decoyed.load(SeqCst), 20);
    let bans = list.list();
    assert_eq!(bans[0].reason, "by hand");
    assert!(bans[0].remaining <= Duration::from_secs(60));
}

#[tokio::test]
async fn a_denied_name_counts_for_the_ban_wherever_the_gates_stand() {
    for deny_first in [true, false] {
        let (list, ban_step) = ban(3);
        let (method, step) = fake("method", Says::Accept);
        let gates = if deny_first {
            [deny("root"), ban_step]
        } else {
            [ban_step, deny("root")]
        };
        let steps: Vec<Step> = gates.into_iter().chain([step]).collect();
        let mut flow = flow(steps);
        for guess in 1..=3 {
            assert!(matches!(
                flow.submit(name("Root"), password("pw")).await,
                Progress::Refused
            ));
            assert_eq!(
                banned(&list),
                guess == 3,
                "guess {guess}, deny first: {deny_first}"
            );
        }
        assert_eq!(
            (method.verified.load(SeqCst), method.decoyed.load(SeqCst)),
            (0, 3)
        );
    }
}

#[tokio::test]
async fn who_is_banned_while_the_method_looks_does_not_enter() {
    let (list, ban_step) = ban(5);
    let mut slow = Fake::new("slow", Says::Accept);
    let during = Arc::clone(&list);
    slow.meanwhile = Some(Box::new(move || {
        during.ban("192.0.2.1".parse().unwrap(), Duration::from_secs(60), "meanwhile");
    }));
    let mut flow = flow(vec![ban_step, Step::method("slow", Arc::new(slow))]);
    assert!(matches!(
        flow.submit(name("alice"), password("right")).await,
        Progress::Refused
    ));
    let trail = flow.take_trail();
    let verdicts: Vec<_> = trail.iter().map(|s| s.verdict).collect();
    assert_eq!(verdicts, ["admit", "accept", "deny"]);
}

#[tokio::test]
async fn a_method_cannot_bring_in_a_denied_name() {
    struct Alias;
    #[async_trait::async_trait]
    impl crate::Method for Alias {
        fn answers(&self, _: &Attempt) -> bool {
            true
        }
        fn takes(&self) -> &[CredentialKind] {
            &[CredentialKind::Password]
        }
        async fn verify(&self, _: &Attempt) -> Verdict {
            Verdict::Accept(crate::fakes::identity("root", &[]))
        }
        async fn still_valid(&self, _: &crate::Identity, _: Audience) -> crate::Standing {
            crate::Standing::Valid
        }
    }
    let mut flow = flow(vec![deny("root"), Step::method("alias", Arc::new(Alias))]);
    assert!(matches!(
        flow.submit(name("CORP\\r00t"), password("right")).await,
        Progress::Refused
    ));
}

#[tokio::test]
async fn offered_keys_cost_the_same_for_everybody() {
    for (first, second, worth) in [
        (Says::Accept, Says::NotMine, true),
        (Says::NotMine, Says::Accept, true),
        (Says::NotMine, Says::NotMine, false),
        (Says::Reject, Says::Reject, false),
        (Says::Fault, Says::Accept, false),
        (Says::Accept, Says::Fault, true),
    ] {
        let (a, a_step) = fake("a", first);
        let (b, b_step) = fake("b", second);
        let mut flow = flow(vec![a_step, b_step]);
        assert_eq!(
            flow.offer_key(name("alice"), key(KEY)).await,
            worth,
            "{first:?} {second:?}"
        );
        assert_eq!((a.asked_key.load(SeqCst), b.asked_key.load(SeqCst)), (1, 1));
        assert_eq!((a.works(), b.works()), (0, 0), "an offer is no try");
    }
}

/// A method whose other end never answers.
struct Hangs;

#[async_trait::async_trait]
impl crate::Method for Hangs {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }
    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password]
    }
    async fn knows_key(&self, _: &Attempt) -> KeyAnswer {
        std::future::pending().await
    }
    async fn verify(&self, _: &Attempt) -> Verdict {
        std::future::pending().await
    }
    async fn decoy(&self, _: &Attempt) {
        std::future::pending::<()>().await;
    }
    async fn still_valid(&self, _: &crate::Identity, _: Audience) -> crate::Standing {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_hangs_is_an_outage() {
    for (on_fault, entered) in [(OnFault::Stop, false), (OnFault::Next, true)] {
        let (list, ban_step) = ban(1);
        let (_, second) = fake("second", Says::Accept);
        let hanging = Step {
            name: "hangs".into(),
            enabled: true,
            kind: StepKind::Method {
                method: Arc::new(Hangs),
                on_fault,
                on_reject: OnReject::Stop,
            },
        };
        let mut flow = flow(vec![ban_step, hanging, second]);
        assert_eq!(flow.offer_key(name("alice"), key(KEY)).await, entered);
        match flow.submit(name("alice"), password("pw")).await {
            Progress::Done(verified) => assert!(entered && verified.method() == "second"),
            Progress::Unavailable => assert!(!entered),
            other => panic!("{other:?}"),
        }
        let trail = flow.take_trail();
        assert_eq!(
            (trail[1].verdict, trail[1].why.as_str()),
            ("fault", "no answer within 20s")
        );
        assert!(!banned(&list));
    }
}

#[tokio::test(start_paused = true)]
async fn a_decoy_that_hangs_holds_nobody_up_for_ever() {
    let (_, first) = fake("first", Says::Reject);
    let mut flow = flow(vec![first, Step::method("hangs", Arc::new(Hangs))]);
    assert!(matches!(
        flow.submit(name("alice"), password("pw")).await,
        Progress::Refused
    ));
}

#[tokio::test]
async fn with_real_methods_every_refusal_costs_one_hash_for_each() {
    let cost = crate::HashCost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    let hasher = Arc::new(crate::Hasher::new(cost, 2, 64).unwrap());
    let phc = hasher.hash(&secret("right")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |user: &str| {
        let path = dir.path().join(user);
        let text = format!(
            "[accounts.{user}]\npassword = '{phc}'\n[accounts.off-{user}]\npassword = '{phc}'\ndisabled = true\n\
             [accounts.keyed-{user}]\nssh_keys = ['{KEY}']\n"
        );
        std::fs::write(&path, text).unwrap();
        let options = crate::LocalFileOptions {
            path,
            allow_rsa_2048: false,
        };
        crate::LocalFile::open(&options, None, None, Arc::clone(&hasher)).unwrap()
    };
    let (list, ban_step) = ban(100);
    let steps = vec![
        ban_step,
        deny("root"),
        Step::method("a", file("alice")),
        Step::method("b", file("bob")),
    ];
    let mut flow = flow(steps);
    let tries = [
        ("nobody", "x"),
        ("alice", "wrong"),
        ("bob", "wrong"),
        ("alice", ""),
        ("off-alice", "right"),
        ("off-bob", "right"),
        ("keyed-alice", "right"),
        ("root", "right"),
    ];
    for (user, pw) in tries {
        let before = hasher.works();
        assert!(
            matches!(flow.submit(name(user), password(pw)).await, Progress::Refused),
            "{user}"
        );
        assert_eq!(hasher.works() - before, 2, "{user}");
    }
    list.ban("192.0.2.1".parse().unwrap(), Duration::from_secs(60), "by hand");
    let before = hasher.works();
    assert!(matches!(
        flow.submit(name("alice"), password("right")).await,
        Progress::Refused
    ));
    assert_eq!(hasher.works() - before, 2, "banned");
    list.lift("192.0.2.1".parse().unwrap());
    let Progress::Done(verified) = flow.submit(name("bob"), password("right")).await else {
        panic!("bob's password is right");
    };
    assert_eq!(verified.method(), "b");
}
