//! Accounts of the store through a whole flow: what the trail says, and what the clock does to them.

use portreeve_model::ConnectionId;

use super::*;
use crate::{Chain, EXPIRES_CLAIM, Flow, Progress, Step, fakes::Turned};

const NOW: &str = "2030-06-15T12:00:00Z";

fn ours(line: &str) -> AccountKey {
    AccountKey::parse(line, None, KeyRules::default()).unwrap()
}

/// A flow at [`NOW`] from 192.0.2.1.
struct Way {
    flow: Flow,
    clock: Arc<Turned>,
    bench: Bench,
    method: Arc<Application>,
}

fn way(bench: Bench) -> Way {
    let clock = Arc::new(Turned::at(NOW));
    let options = ApplicationOptions::default();
    let method = Application::new(&options, Arc::clone(&bench.store) as _, Arc::clone(&bench.hasher));
    let method = Arc::new(method.with_clock(Arc::clone(&clock) as _));
    let chain = Chain::new(vec![Step::method("own", Arc::clone(&method) as _)]);
    let flow = Flow::new(
        Arc::new(chain),
        ConnectionId::fresh(),
        origin("192.0.2.1"),
        Audience::Transfer,
    )
    .with_clock(Arc::clone(&clock) as _);
    Way {
        flow,
        clock,
        bench,
        method,
    }
}

impl Way {
    /// The outcome, and the verdict and reason of the one step there is.
    async fn tries(&mut self, user: &str, credential: Credential) -> (Option<Identity>, String) {
        let progress = self.flow.submit(name(user), credential).await;
        let trail = self.flow.take_trail();
        assert_eq!(trail.len(), 1, "one step, one word: {trail:?}");
        let said = format!("{}: {}: {}", trail[0].step, trail[0].verdict, trail[0].why);
        match progress {
            Progress::Done(verified) => (Some(verified.identity().clone()), said),
            Progress::Refused => (None, said),
            other => panic!("{other:?}: {said}"),
        }
    }
}

#[tokio::test]
async fn every_refusal_has_its_reason_in_the_trail() {
    let bench = Bench::new();
    bench.put("alice", staff(), |_| {}).await;
    bench.put("dora", staff(), |a| a.disabled = true).await;
    bench.put("ed", staff(), |a| a.expires = Some(moment(NOW))).await;
    bench
        .put("fay", staff(), |a| {
            a.expires = Some(moment("2030-06-15T12:00:01Z"));
        })
        .await;
    for (user, options) in [
        ("gus", "expiry-time=\"20300615\" "),
        ("hal", "from=\"10.0.0.0/8\" "),
        ("ida", ""),
        ("jon", "expiry-time=\"20300616\",from=\"192.0.2.0/24\" "),
    ] {
        let line = format!("{options}{KEY}");
        let member_of = staff();
        bench.put(user, member_of, |a| a.keys = vec![ours(&line)]).await;
    }
    bench
        .put("kim", staff(), |a| {
            a.keys = vec![ours(KEY)];
            a.disabled = true;
            a.password = None;
        })
        .await;
    let mut way = way(bench);
    let offered = |line: &str| Credential::PublicKey(key(line));
    for (user, credential, want) in [
        ("alice", password("right"), "accept"),
        ("alice", password("wrong"), "reject: wrong password"),
        ("alice", password(""), "reject: wrong password"),
        ("nobody", password("right"), "not-mine: does not know the name"),
        (
            "dora",
            password("right"),
            "reject: the account 'dora' is disabled",
        ),
        ("dora", password("wrong"), "reject: wrong password"),
        (
            "ed",
            password("right"),
            "reject: the account 'ed' expired on 2030-06-15T12:00:00Z",
        ),
        ("fay", password("right"), "accept"),
        ("gus", offered(KEY), "reject: the key has expired"),
        (
            "hal",
            offered(KEY),
            "reject: the key may not be used from 192.0.2.1",
        ),
        ("ida", offered(KEY), "accept"),
        (
            "ida",
            offered(OTHER_KEY),
            "reject: the account has no key SHA256:",
        ),
        ("jon", offered(KEY), "accept"),
        ("kim", offered(KEY), "reject: the account 'kim' is disabled"),
        ("kim", password("right"), "reject: the account has no password"),
    ] {
        let (who, said) = way.tries(user, credential).await;
        assert!(said.starts_with(&format!("own: {want}")), "{user}: {said}");
        assert_eq!(who.is_some(), want == "accept", "{user}: {said}");
    }
}

#[tokio::test]
async fn a_session_knows_when_account_or_key_ends() {
    let bench = Bench::new();
    let (soon, late) = ("2030-06-16T00:00:00Z", "2031-01-01T00:00:00Z");
    let line = format!("expiry-time=\"20300616\" {KEY}");
    for (user, expires) in [
        ("never", None),
        ("late", Some(late)),
        ("early", Some("2030-06-15T23:00:00Z")),
    ] {
        let keys = vec![ours(&line)];
        bench
            .put(user, staff(), |a| {
                a.keys = keys;
                a.expires = expires.map(moment);
            })
            .await;
    }
    let mut way = way(bench);
    for (user, credential, want) in [
        ("never", password("right"), None),
        ("never", Credential::PublicKey(key(KEY)), Some(soon)),
        ("late", password("right"), Some(late)),
        ("late", Credential::PublicKey(key(KEY)), Some(soon)),
        (
            "early",
            Credential::PublicKey(key(KEY)),
            Some("2030-06-15T23:00:00Z"),
        ),
    ] {
        let (who, said) = way.tries(user, credential).await;
        let who = who.unwrap_or_else(|| panic!("{user}: {said}"));
        assert_eq!(who.claims.get(EXPIRES_CLAIM).map(String::as_str), want, "{user}");
        assert_eq!(
            way.method.still_valid(&who, Audience::Transfer).await,
            Standing::Valid,
            "{user}"
        );
    }
    // Who is given more time has it at once.
    let (who, _) = way.tries("early", password("right")).await;
    if let Some(account) = way.bench.store.accounts.lock().get_mut(&(false, name("early"))) {
        account.expires = Some(moment(late));
    }
    let Standing::Changed(now) = way.method.still_valid(&who.unwrap(), Audience::Transfer).await else {
        panic!("its end has changed");
    };
    assert_eq!(now.claims[EXPIRES_CLAIM], late);
}

/// Expiry is what people wrote down: it follows the wall clock wherever that jumps, and nothing that was
/// judged before is remembered.
#[tokio::test]
async fn the_wall_clock_jumps_over_the_end_of_an_account() {
    let bench = Bench::new();
    let expires = |at: &'static str| move |a: &mut Account| a.expires = Some(moment(at));
    bench.put("past", staff(), expires("2030-06-15T09:00:00Z")).await;
    bench.put("just", staff(), expires("2030-06-15T11:30:00Z")).await;
    bench.put("next", staff(), expires("2030-06-15T14:00:00Z")).await;
    bench.put("ever", staff(), |_| {}).await;
    let mut way = way(bench);
    let session = way.tries("next", password("right")).await.0.unwrap();
    // (the clock, may sign in: past, just, next, ever)
    for (at, may) in [
        (NOW, [false, false, true, true]),
        ("2030-06-15T11:00:00Z", [false, true, true, true]), // − 1 h
        (NOW, [false, false, true, true]),
        ("2040-06-15T12:00:00Z", [false, false, false, true]), // + 10 y
        (NOW, [false, false, true, true]),
        ("1970-01-01T00:00:00Z", [true, true, true, true]),
    ] {
        way.clock.turn_to(at);
        for (user, may) in ["past", "just", "next", "ever"].into_iter().zip(may) {
            let (who, said) = way.tries(user, password("right")).await;
            assert_eq!(who.is_some(), may, "{user} at {at}: {said}");
        }
        let standing = way.method.still_valid(&session, Audience::Transfer).await;
        assert_eq!(matches!(standing, Standing::Valid), may[2], "{at}: {standing:?}");
    }
}
