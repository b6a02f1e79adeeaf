use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    time::SystemTime,
};

use parking_lot::Mutex;
use portreeve_model::RoleName;

use super::*;
use crate::{
    AccountKey, AccountsError, Check, HashCost, KEY_CLAIM, PASSWORD_CLAIM, StoredHash,
    conformance::{Person, Subject},
    fakes::{KEY, OTHER_KEY, attempt, group, key, moment, name, origin, password, secret},
};

mod flow;

const CHEAP: HashCost = HashCost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

/// A store in memory that can be away.
#[derive(Default)]
struct Memory {
    accounts: Mutex<BTreeMap<(bool, UserName), Account>>,
    away: AtomicBool,
    generation: AtomicU64,
    finds: AtomicUsize,
    noted: AtomicUsize,
}

impl Memory {
    fn put(&self, account: Account) {
        let admin = account.member_of.audience() == Audience::Admin;
        self.accounts
            .lock()
            .insert((admin, account.name.clone()), account);
        self.generation.fetch_add(1, SeqCst);
    }

    fn here(&self) -> Result<(), AccountsError> {
        if self.away.load(SeqCst) {
            return Err(AccountsError::Unavailable("away".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Accounts for Memory {
    async fn find(&self, audience: Audience, name: &UserName) -> Result<Option<Account>, AccountsError> {
        self.finds.fetch_add(1, SeqCst);
        self.here()?;
        let key = (audience == Audience::Admin, name.clone());
        Ok(self.accounts.lock().get(&key).cloned())
    }

    async fn list(&self, _: Audience, _: Option<&UserName>, _: usize) -> Result<Vec<Account>, AccountsError> {
        self.here()?;
        Ok(self.accounts.lock().values().cloned().collect())
    }

    async fn add(&self, account: &Account) -> Result<(), AccountsError> {
        self.here()?;
        self.put(account.clone());
        Ok(())
    }

    async fn change(
        &self,
        audience: Audience,
        name: &UserName,
        change: AccountChange,
    ) -> Result<(), AccountsError> {
        self.here()?;
        let mut accounts = self.accounts.lock();
        let account = accounts
            .get_mut(&(audience == Audience::Admin, name.clone()))
            .ok_or_else(|| AccountsError::NoAccount(name.clone()))?;
        if let AccountChange::Rehash { from, to } = change
            && account.password.as_ref() == Some(&from)
        {
            account.password = Some(to);
        }
        self.generation.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn remove(&self, audience: Audience, name: &UserName) -> Result<(), AccountsError> {
        self.here()?;
        self.accounts
            .lock()
            .remove(&(audience == Audience::Admin, name.clone()));
        self.generation.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn record_login(
        &self,
        audience: Audience,
        name: &UserName,
        at: SystemTime,
    ) -> Result<(), AccountsError> {
        self.here()?;
        self.noted.fetch_add(1, SeqCst);
        let key = (audience == Audience::Admin, name.clone());
        if let Some(account) = self.accounts.lock().get_mut(&key) {
            account.last_login = Some(at);
        }
        Ok(())
    }

    fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }
}

struct Bench {
    store: Arc<Memory>,
    hasher: Arc<Hasher>,
    method: Application,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let hasher = Arc::new(Hasher::new(CHEAP, 2, 64).unwrap());
        let options = ApplicationOptions::default();
        let method = Application::new(&options, Arc::clone(&store) as _, Arc::clone(&hasher));
        Self {
            store,
            hasher,
            method,
        }
    }

    async fn put(&self, user: &str, member_of: Membership, change: impl FnOnce(&mut Account)) {
        let mut account = Account::new(name(user), member_of, SystemTime::UNIX_EPOCH);
        account.password = Some(self.hasher.hash(&secret("right")).await.unwrap());
        change(&mut account);
        self.store.put(account);
    }

    async fn accepted(&self, user: &str, credential: Credential) -> Option<Identity> {
        match self.method.verify(&attempt(user, credential)).await {
            Verdict::Accept(identity) => Some(identity),
            _ => None,
        }
    }
}

fn staff() -> Membership {
    Membership::Groups(vec![group("staff")])
}

fn operators() -> Membership {
    Membership::Roles(vec![RoleName::new("operator").unwrap()])
}

#[tokio::test]
async fn passes_the_suite_of_methods_for_both_audiences() {
    for (audience, member_of) in [(Audience::Transfer, staff()), (Audience::Admin, operators())] {
        let bench = Bench::new();
        bench.put("alice", member_of.clone(), |_| {}).await;
        bench.put("dora", member_of.clone(), |a| a.disabled = true).await;
        bench
            .put("ed", member_of, |a| a.expires = Some(SystemTime::UNIX_EPOCH))
            .await;
        let person = |user: &str| Person::new(user, "right").unwrap();
        let subject = Subject {
            method: &bench.method,
            audience,
            works: &|| bench.hasher.works(),
            active: person("alice"),
            disabled: Some(person("dora")),
            expired: Some(person("ed")),
            outage: Some(&|away| bench.store.away.store(away, SeqCst)),
        };
        assert_eq!(crate::conformance::check(&subject).await, Ok(()), "{audience:?}");
    }
}

#[tokio::test]
async fn a_decoy_asks_the_store_as_a_try_does() {
    let bench = Bench::new();
    bench.put("alice", staff(), |_| {}).await;
    for user in ["alice", "nobody"] {
        for credential in [password("wrong"), Credential::PublicKey(key(KEY))] {
            let attempt = attempt(user, credential);
            let cost = || (bench.store.finds.load(SeqCst), bench.hasher.works());
            let before = cost();
            bench.method.verify(&attempt).await;
            let between = cost();
            bench.method.decoy(&attempt).await;
            let after = cost();
            assert_eq!(
                (between.0 - before.0, between.1 - before.1),
                (after.0 - between.0, after.1 - between.1)
            );
        }
    }
}

#[tokio::test]
async fn two_realms_of_one_name() {
    let bench = Bench::new();
    bench.put("alice", operators(), |_| {}).await;
    assert!(matches!(
        bench.method.verify(&attempt("alice", password("right"))).await,
        Verdict::NotMine
    ));
    bench.put("alice", staff(), |a| a.password = None).await;
    assert!(bench.accepted("alice", password("right")).await.is_none());
    let mut admin = attempt("alice", password("right"));
    admin.audience = Audience::Admin;
    let Verdict::Accept(who) = bench.method.verify(&admin).await else {
        panic!("the administrator's password is right");
    };
    assert!(who.groups.is_empty() && who.roles.len() == 1);
    bench.store.remove(Audience::Admin, &name("alice")).await.unwrap();
    assert!(matches!(
        bench.method.still_valid(&who, Audience::Admin).await,
        Standing::Gone(_)
    ));
}

#[tokio::test]
async fn keys_and_their_removal() {
    let bench = Bench::new();
    let ours = |line: &str| AccountKey::parse(line, None, KeyRules::default()).unwrap();
    let weak = AccountKey {
        line: "ssh-dss AAAAB3NzaC1kc3M=".into(),
        ..ours(KEY)
    };
    bench
        .put("alice", staff(), |a| a.keys = vec![weak, ours(KEY)])
        .await;
    let offered = attempt("alice", Credential::PublicKey(key(KEY)));
    assert_eq!(bench.method.knows_key(&offered).await, KeyAnswer::Yes);
    let who = bench
        .accepted("alice", Credential::PublicKey(key(KEY)))
        .await
        .unwrap();
    assert_eq!(who.claims[KEY_CLAIM], ours(KEY).fingerprint);
    assert!(
        bench
            .accepted("alice", Credential::PublicKey(key(OTHER_KEY)))
            .await
            .is_none()
    );
    assert_eq!(
        bench.method.still_valid(&who, Audience::Transfer).await,
        Standing::Valid
    );
    bench
        .put("alice", staff(), |a| a.keys = vec![ours(OTHER_KEY)])
        .await;
    assert!(matches!(
        bench.method.still_valid(&who, Audience::Transfer).await,
        Standing::Gone(_)
    ));
    bench.store.away.store(true, SeqCst);
    assert!(matches!(
        bench.method.knows_key(&offered).await,
        KeyAnswer::Fault(_)
    ));
    assert!(matches!(
        bench.method.still_valid(&who, Audience::Transfer).await,
        Standing::Unknown(_)
    ));
}

#[tokio::test]
async fn a_weak_hash_is_made_stronger_by_its_own_password_only() {
    let bench = Bench::new();
    let weaker = Hasher::new(
        HashCost {
            memory_kib: 32,
            ..CHEAP
        },
        1,
        4,
    )
    .unwrap();
    let weak = weaker.hash(&secret("right")).await.unwrap();
    bench
        .put("alice", staff(), |a| a.password = Some(weak.clone()))
        .await;
    let stored = || {
        let key = (false, name("alice"));
        bench.store.accounts.lock()[&key].password.clone().unwrap()
    };
    assert!(bench.accepted("alice", password("wrong")).await.is_none());
    assert_eq!(stored(), weak);
    let who = bench.accepted("alice", password("right")).await.unwrap();
    let standing = bench.method.still_valid(&who, Audience::Transfer).await;
    assert_eq!(standing, Standing::Valid, "a stronger hash is no other password");
    let strong = StoredHash::parse(&stored()).unwrap();
    assert_ne!(stored(), weak);
    assert_eq!(
        bench.hasher.check(Some(&strong), &secret("right")).await,
        Ok(Check::Right { outdated: false })
    );
    assert!(bench.accepted("alice", password("right")).await.is_some());
}

#[tokio::test]
async fn sign_ins_are_noted_once_a_minute() {
    let bench = Bench::new();
    bench.put("alice", staff(), |_| {}).await;
    for _ in 0..5 {
        assert!(bench.accepted("alice", password("right")).await.is_some());
        assert!(bench.accepted("alice", password("wrong")).await.is_none());
    }
    assert_eq!(bench.store.noted.load(SeqCst), 1);
    let mut later = attempt("alice", password("right"));
    later.at += Duration::from_secs(61);
    assert!(matches!(bench.method.verify(&later).await, Verdict::Accept(_)));
    assert_eq!(bench.store.noted.load(SeqCst), 2);
}

#[tokio::test]
async fn a_stored_hash_that_cannot_be_used_is_our_fault() {
    let bench = Bench::new();
    bench
        .put("alice", staff(), |a| {
            let greedy =
                "$argon2id$v=19$m=9000000,t=1,p=1$c2FsdHNhbHQ$ZG9udCB0cnVzdCBtZSB0aGlzIGlzIDMyIGJ5dGVzISE";
            a.password = Some(greedy.into());
        })
        .await;
    let verdict = bench.method.verify(&attempt("alice", password("right"))).await;
    let Verdict::Fault(fault) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(
        fault.0.contains("alice") && fault.0.contains("1 GiB"),
        "{}",
        fault.0
    );
}

#[tokio::test]
async fn explains_without_a_credential() {
    let bench = Bench::new();
    let elsewhere = format!("from=\"10.0.0.0/8\" {KEY}");
    bench
        .put("alice", staff(), |a| {
            a.keys = vec![AccountKey::parse(&elsewhere, None, KeyRules::default()).unwrap()];
            a.expires = Some(moment("2030-01-01T00:00:00Z"));
        })
        .await;
    let explain = async |user: &str, audience, credential, from: &str, at: &str| {
        let inquiry = Inquiry {
            user: &name(user),
            audience,
            credential,
            origin: &origin(from),
            at: moment(at),
        };
        match bench.method.explain(&inquiry).await {
            Explanation::Known {
                barred,
                state,
                identity,
            } => {
                assert_eq!(identity.groups, [group("staff")]);
                barred.map_or(state, |reason| format!("barred: {}", reason.0))
            }
            Explanation::Unknown => "unknown".to_owned(),
            other => panic!("{other:?}"),
        }
    };
    use Audience::{Admin, Transfer};
    use CredentialKind::{Password, PublicKey};
    let (early, late) = ("2029-12-31T00:00:00Z", "2030-01-01T00:00:00Z");
    for (user, audience, credential, from, at, want) in [
        (
            "alice",
            Transfer,
            Password,
            "192.0.2.1",
            early,
            "active until 2030-01-01",
        ),
        (
            "alice",
            Transfer,
            Password,
            "192.0.2.1",
            late,
            "barred: the account 'alice' expired on 2030-01-01",
        ),
        ("alice", Transfer, PublicKey, "10.1.2.3", early, "active"),
        (
            "alice",
            Transfer,
            PublicKey,
            "192.0.2.1",
            early,
            "may not be used from 192.0.2.1",
        ),
        ("alice", Admin, Password, "192.0.2.1", early, "unknown"),
        ("bob", Transfer, Password, "192.0.2.1", early, "unknown"),
    ] {
        let got = explain(user, audience, credential, from, at).await;
        assert!(got.contains(want), "{user} {credential:?} {from} {at}: {got}");
    }
    for (credential, want) in [(Password, "has no password"), (PublicKey, "has no key")] {
        bench.put("carl", staff(), |a| a.password = None).await;
        let got = explain("carl", Transfer, credential, "192.0.2.1", early).await;
        assert!(got.contains(want), "{got}");
    }
    bench.put("dora", staff(), |a| a.disabled = true).await;
    let got = explain("dora", Transfer, Password, "192.0.2.1", early).await;
    assert_eq!(got, "barred: the account 'dora' is disabled");
    assert_eq!(bench.hasher.works(), 4, "only the passwords that were set");
}

#[tokio::test]
async fn the_generation_is_the_stores() {
    let bench = Bench::new();
    let before = bench.method.generation();
    bench.put("alice", staff(), |_| {}).await;
    assert!(bench.method.generation() > before);
    let before = bench.method.generation();
    assert!(bench.accepted("alice", password("right")).await.is_some());
    assert_eq!(bench.method.generation(), before, "a sign-in is no change");
}

#[tokio::test]
async fn another_password_ends_what_the_old_one_opened() {
    let bench = Bench::new();
    let keys = vec![AccountKey::parse(KEY, None, KeyRules::default()).unwrap()];
    bench.put("alice", staff(), |a| a.keys = keys.clone()).await;
    let by_password = bench.accepted("alice", password("right")).await.unwrap();
    let by_key = bench
        .accepted("alice", Credential::PublicKey(key(KEY)))
        .await
        .unwrap();
    assert!(!by_key.claims.contains_key(PASSWORD_CLAIM));
    let stored = bench.store.accounts.lock()[&(false, name("alice"))]
        .password
        .clone()
        .unwrap();
    let mark = &by_password.claims[PASSWORD_CLAIM];
    assert!(mark.len() == 16 && !stored.contains(mark.as_str()), "{mark}");
    let standing = async |who: &Identity| bench.method.still_valid(who, Audience::Transfer).await;
    // Another change leaves both; a rebuilt method (a reload) knows the mark.
    bench
        .store
        .accounts
        .lock()
        .get_mut(&(false, name("alice")))
        .unwrap()
        .last_login = None;
    let options = ApplicationOptions::default();
    let rebuilt = Application::new(&options, Arc::clone(&bench.store) as _, Arc::clone(&bench.hasher));
    assert_eq!(
        rebuilt.still_valid(&by_password, Audience::Transfer).await,
        Standing::Valid
    );
    for change in [Some("other"), Some("right"), None] {
        let phc = match change {
            Some(text) => Some(bench.hasher.hash(&secret(text)).await.unwrap()),
            None => None,
        };
        bench
            .put("alice", staff(), |a| {
                a.keys = keys.clone();
                a.password = phc;
            })
            .await;
        let gone = standing(&by_password).await;
        assert!(
            matches!(&gone, Standing::Gone(why) if why.0.contains("password of 'alice' was changed")),
            "{gone:?}"
        );
        assert_eq!(standing(&by_key).await, Standing::Valid, "{change:?}");
    }
}

/// Two sign-ins with one weak hash make it stronger at the same time: both sessions stand.
#[tokio::test]
async fn a_race_to_strengthen_a_hash_ends_nobody() {
    let bench = Bench::new();
    let weaker = Hasher::new(
        HashCost {
            memory_kib: 32,
            ..CHEAP
        },
        1,
        4,
    )
    .unwrap();
    let weak = weaker.hash(&secret("right")).await.unwrap();
    bench
        .put("alice", staff(), |a| a.password = Some(weak.clone()))
        .await;
    let (one, two) = tokio::join!(
        bench.accepted("alice", password("right")),
        bench.accepted("alice", password("right"))
    );
    for who in [one.unwrap(), two.unwrap()] {
        assert_eq!(
            bench.method.still_valid(&who, Audience::Transfer).await,
            Standing::Valid
        );
    }
    // Where the password is changed in the middle, nobody inherits the new one.
    let stale = {
        bench
            .put("alice", staff(), |a| a.password = Some(weak.clone()))
            .await;
        let account = bench.store.accounts.lock()[&(false, name("alice"))].clone();
        let attempt = attempt("alice", password("right"));
        let Verdict::Accept(who) = bench.method.verify(&attempt).await else {
            panic!("it is right")
        };
        let other = bench.hasher.hash(&secret("other")).await.unwrap();
        bench.put("alice", staff(), |a| a.password = Some(other)).await;
        bench.method.accepted(&account, who, &attempt, true).await
    };
    let standing = bench.method.still_valid(&stale, Audience::Transfer).await;
    assert!(matches!(standing, Standing::Gone(_)), "{standing:?}");
}
