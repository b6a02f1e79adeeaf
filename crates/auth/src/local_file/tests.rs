use std::{path::PathBuf, sync::atomic::AtomicUsize};

use super::*;
use crate::{
    Credential, EXPIRES_CLAIM, HashCost, KEY_CLAIM, MAIL_CLAIM,
    conformance::{Person, Subject},
    fakes::{KEY, OTHER_KEY, Turned, attempt, group, key, name, password, secret},
};

const CHEAP: HashCost = HashCost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

fn hasher() -> Arc<Hasher> {
    Arc::new(Hasher::new(CHEAP, 2, 64).unwrap())
}

struct Bench {
    dir: tempfile::TempDir,
    hasher: Arc<Hasher>,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            hasher: hasher(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("accounts.toml")
    }

    /// As an administrator should: a whole file, renamed into place.
    fn put(&self, text: &str) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let new = self
            .dir
            .path()
            .join(format!("new-{}", NUMBER.fetch_add(1, Ordering::SeqCst)));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn try_open(&self) -> Result<Arc<LocalFile>, FileProblems> {
        let options = LocalFileOptions {
            path: self.path(),
            allow_rsa_2048: false,
        };
        LocalFile::open(
            &options,
            Some(&[group("staff"), group("guests")]),
            Some(&["@corp.example".to_owned()]),
            Arc::clone(&self.hasher),
        )
    }

    async fn phc(&self, password: &str) -> String {
        self.hasher.hash(&secret(password)).await.unwrap()
    }
}

async fn accepted(file: &LocalFile, user: &str, credential: Credential) -> Option<Identity> {
    match file.verify(&attempt(user, credential)).await {
        Verdict::Accept(identity) => Some(identity),
        _ => None,
    }
}

#[tokio::test]
async fn passes_the_suite_of_methods() {
    let bench = Bench::new();
    let phc = bench.phc("right").await;
    bench.put(&format!(
        "[accounts.alice]\npassword = \"{phc}\"\ngroups = [\"staff\"]\n\
         [accounts.dora]\npassword = \"{phc}\"\ndisabled = true\n\
         [accounts.ed]\npassword = \"{phc}\"\nexpires = 2020-01-01T00:00:00Z\n"
    ));
    let file = bench.try_open().unwrap();
    let person = |user: &str| Person::new(user, "right").unwrap();
    let subject = Subject {
        method: &*file,
        audience: Audience::Transfer,
        works: &|| bench.hasher.works(),
        active: person("alice"),
        disabled: Some(person("dora")),
        expired: Some(person("ed")),
        outage: None,
    };
    assert_eq!(crate::conformance::check(&subject).await, Ok(()));
}

#[tokio::test]
async fn a_name_without_a_password_costs_what_others_cost() {
    let bench = Bench::new();
    bench.put(&format!("[accounts.keyed]\nssh_keys = ['{KEY}']\n"));
    let file = bench.try_open().unwrap();
    let verdict = file.verify(&attempt("keyed", password("x"))).await;
    assert!(matches!(verdict, Verdict::Reject(_)), "{verdict:?}");
    assert_eq!(bench.hasher.works(), 1);
}

#[tokio::test]
async fn keys_let_in_within_their_restrictions() {
    let bench = Bench::new();
    bench.put(&format!(
        "[accounts.alice]\nmail = \"alice@example.com\"\ngroups = [\"staff\"]\n\
         ssh_keys = ['from=\"192.0.2.0/24\" {KEY} laptop', 'expiry-time=\"20200101\" {OTHER_KEY}']\n\
         [accounts.away]\nssh_keys = ['from=\"10.0.0.0/8\" {KEY}']\n\
         [accounts.dora]\ndisabled = true\nssh_keys = ['{KEY}']\n"
    ));
    let file = bench.try_open().unwrap();
    for (user, line, good) in [
        ("alice", KEY, true),
        ("alice", OTHER_KEY, false),
        ("away", KEY, false),
        ("dora", KEY, false),
        ("nobody", KEY, false),
    ] {
        let offered = attempt(user, Credential::PublicKey(key(line)));
        let want = if good { KeyAnswer::Yes } else { KeyAnswer::No };
        assert_eq!(file.knows_key(&offered).await, want, "{user}");
        let who = accepted(&file, user, Credential::PublicKey(key(line))).await;
        assert_eq!(who.is_some(), good, "{user}");
        if let Some(who) = who {
            assert!(who.claims[KEY_CLAIM].starts_with("SHA256:"));
            assert_eq!(who.claims[MAIL_CLAIM], "alice@example.com");
        }
    }
    assert_eq!(bench.hasher.works(), 0);
}

#[tokio::test]
async fn a_change_is_taken_over_when_it_stands_still() {
    let bench = Bench::new();
    let phc = bench.phc("pw").await;
    let account = |more: &str| format!("[accounts.alice]\npassword = \"{phc}\"\n{more}\n");
    bench.put(&account("groups = [\"staff\"]"));
    let file = bench.try_open().unwrap();
    let who = accepted(&file, "alice", password("pw")).await.unwrap();
    assert_eq!(file.still_valid(&who, Audience::Transfer).await, Standing::Valid);
    assert!(!file.look().await, "nothing changed");
    let generation = file.generation();

    bench.put(&account("groups = [\"guests\"]"));
    assert!(!file.look().await, "perhaps somebody still writes");
    assert_eq!(file.generation(), generation);
    assert!(file.look().await);
    assert!(file.generation() > generation);
    let Standing::Changed(now) = file.still_valid(&who, Audience::Transfer).await else {
        panic!("the group changed");
    };
    assert_eq!(now.groups, [group("guests")]);

    bench.put(&account("disabled = true"));
    assert!(!file.look().await && file.look().await);
    assert!(matches!(
        file.still_valid(&who, Audience::Transfer).await,
        Standing::Gone(_)
    ));
    bench.put(&account("expires = 2020-01-01T00:00:00Z"));
    assert!(!file.look().await && file.look().await);
    assert!(matches!(
        file.still_valid(&who, Audience::Transfer).await,
        Standing::Gone(_)
    ));
    bench.put("");
    assert!(!file.look().await && file.look().await);
    assert!(matches!(
        file.still_valid(&who, Audience::Transfer).await,
        Standing::Gone(_)
    ));
    assert!(matches!(
        file.verify(&attempt("alice", password("pw"))).await,
        Verdict::NotMine
    ));
}

#[tokio::test]
async fn a_removed_key_ends_the_session_that_used_it() {
    let bench = Bench::new();
    let account = |line: &str| format!("[accounts.alice]\nssh_keys = ['{line}']\n");
    bench.put(&account(KEY));
    let file = bench.try_open().unwrap();
    let who = accepted(&file, "alice", Credential::PublicKey(key(KEY)))
        .await
        .unwrap();
    assert_eq!(file.still_valid(&who, Audience::Transfer).await, Standing::Valid);
    for line in [OTHER_KEY.to_owned(), format!("expiry-time=\"20200101\" {KEY}")] {
        bench.put(&account(&line));
        file.reload().await.unwrap();
        assert!(
            matches!(
                file.still_valid(&who, Audience::Transfer).await,
                Standing::Gone(_)
            ),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_last_good_file_serves_while_the_new_one_is_wrong() {
    let bench = Bench::new();
    let phc = bench.phc("pw").await;
    let good = format!("[accounts.alice]\npassword = \"{phc}\"\n");
    bench.put(&good);
    let file = bench.try_open().unwrap();
    let generation = file.generation();
    for bad in ["[accounts.alice\n", "[accounts.alice]\npasword = 1\n"] {
        bench.put(bad);
        assert!(!file.look().await && file.look().await);
        let trouble = file.trouble().unwrap();
        assert!(trouble.0[0].line > 0, "{trouble}");
        assert!(!file.look().await, "one report for one wrong file");
        assert!(accepted(&file, "alice", password("pw")).await.is_some());
        assert_eq!(file.generation(), generation);
    }
    std::fs::remove_file(bench.path()).unwrap();
    assert!(!file.look().await && file.look().await);
    assert!(file.trouble().unwrap().to_string().contains("cannot be read"));
    assert!(!file.look().await, "one report for one loss");
    assert!(accepted(&file, "alice", password("pw")).await.is_some());

    bench.put(&good);
    assert!(!file.look().await && file.look().await);
    assert_eq!(file.trouble(), None);
}

#[tokio::test]
async fn a_reload_by_hand_does_not_wait() {
    let bench = Bench::new();
    bench.put("");
    let file = bench.try_open().unwrap();
    bench.put("[accounts.bob]\n");
    assert_eq!(file.reload().await, Ok(()));
    assert_eq!(file.accounts(), 1);
    bench.put("accounts = 1");
    assert!(file.reload().await.is_err());
    assert_eq!(file.accounts(), 1);
    assert!(file.trouble().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_watcher_ends_with_the_method() {
    let bench = Bench::new();
    bench.put("");
    let file = bench.try_open().unwrap();
    let watcher = LocalFile::watch(&file);
    bench.put("[accounts.bob]\n");
    while file.accounts() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(file);
    watcher.await.unwrap();
}

#[test]
fn finds_every_problem_at_once() {
    let bench = Bench::new();
    let text = format!(
        "[accounts.alice]\n\
         pasword = 'x'\n\
         password = 'hunter2'\n\
         groups = ['staf', 7, '']\n\
         ssh_keys = ['command=\"ls\" {KEY}', 5,\n   '{KEY}', 'ssh-dss AAAA']\n\
         disabled = 'no'\n\
         expires = '2027-01-01'\n\
         [accounts.bob]\n\
         expires = 2027-01-01T00:00:00\n\
         mail = \"a\\nb\"\n\
         groups = 'staff'\n\
         [accounts.\"e\u{301}\"]\n\
         [groups.staff]\n"
    );
    bench.put(&text);
    let problems = bench.try_open().err().unwrap();
    let wanted = [
        (2, 1, "unknown key 'pasword'", "did you mean 'password'"),
        (3, 12, "not a password hash", ""),
        (4, 11, "no group 'staf'", "did you mean 'staff'"),
        (4, 19, "'groups' is not", "a list of names"),
        (4, 22, "no group name", ""),
        (5, 13, "'command' is not supported", ""),
        (5, 110, "'ssh_keys' is not", "authorized_keys"),
        (6, 88, "DSA", ""),
        (7, 12, "'disabled' is not", "true or false"),
        (8, 11, "'expires' is not", "2027-01-01T00:00:00Z"),
        (10, 11, "'expires' is not", "zone"),
        (11, 8, "'mail' is not", ""),
        (12, 10, "'groups' is not", "a list"),
        (13, 11, "no user name", ""),
        (14, 2, "unknown key 'groups'", "[accounts.NAME]"),
    ];
    let shown = problems.to_string();
    assert_eq!(problems.0.len(), wanted.len(), "{shown}");
    for (problem, (line, column, message, hint)) in problems.0.iter().zip(wanted) {
        let text = problem.to_string();
        assert_eq!((problem.line, problem.column), (line, column), "{text}");
        assert!(text.contains(message) && text.contains(hint), "{text}");
        assert!(!text.contains("hunter2"), "no secret is shown: {text}");
    }
}

#[test]
fn a_broken_text_is_told_with_its_lines() {
    let bench = Bench::new();
    bench.put("[accounts.alice]\ngroups = [\"a\"\ndisabled = tru\n[accounts.alice]\n");
    let problems = bench.try_open().err().unwrap();
    assert!(problems.0.iter().all(|p| p.line >= 2), "{problems}");
    for (bytes, want) in [
        (b"[accounts.a]\n\xff".to_vec(), "line 2 is not UTF-8"),
        (vec![b'#'; (16 << 20) + 1], "larger than 16 MiB"),
    ] {
        std::fs::write(bench.path(), bytes).unwrap();
        assert!(bench.try_open().err().unwrap().to_string().contains(want));
    }
    std::fs::remove_file(bench.path()).unwrap();
    assert!(
        bench
            .try_open()
            .err()
            .unwrap()
            .to_string()
            .contains("cannot be read")
    );
    std::fs::create_dir(bench.path()).unwrap();
    assert!(
        bench
            .try_open()
            .err()
            .unwrap()
            .to_string()
            .contains("regular file")
    );
}

#[test]
fn problems_are_bounded() {
    let bench = Bench::new();
    bench.put(
        &(0..5000)
            .map(|n| format!("[accounts.u{n}]\nx = 1\n"))
            .collect::<String>(),
    );
    assert_eq!(bench.try_open().err().unwrap().0.len(), 100);
}

#[test]
fn names_the_accounts_for_check() {
    let bench = Bench::new();
    bench.put("[accounts.zoe]\n[accounts.alice]\ngroups = [\"nowhere\"]\n");
    let options = LocalFileOptions {
        path: bench.path(),
        allow_rsa_2048: false,
    };
    assert_eq!(
        local_file_accounts(&options, None, None),
        Ok(vec![
            (name("alice"), vec![group("nowhere")]),
            (name("zoe"), Vec::new())
        ])
    );
    assert!(local_file_accounts(&options, Some(&[]), None).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(\\[accounts\\.[a-z\"']{0,3}\\]|[a-z_]{0,9} ?= ?|[\\[\\]{}\"'0-9T:Z,\n\u{e9}.-]){0,40}") {
        let _ = parse::parse(&text, KeyRules::default(), None, Some(&[]));
    }
}

#[tokio::test]
async fn twins_that_appear_live_are_refused_and_the_last_good_file_serves() {
    let bench = Bench::new();
    let phc = bench.phc("right").await;
    let alice = format!("[accounts.alice]\npassword = \"{phc}\"\n");
    bench.put(&alice);
    let file = bench.try_open().unwrap();
    for twin in ["Alice", "alice@corp.example", "ALICE@CORP.EXAMPLE"] {
        bench.put(&format!("{alice}[accounts.\"{twin}\"]\npassword = \"{phc}\"\n"));
        assert!(!file.look().await, "a change is looked at twice");
        assert!(file.look().await);
        let trouble = file.trouble().expect("twins are trouble");
        let (one, two) = if twin < "alice" {
            (twin, "alice")
        } else {
            ("alice", twin)
        };
        let want = format!("'{one}' and '{two}' would share one private folder");
        assert!(
            trouble.0[0].message.contains(&want) && trouble.0[0].line == 3,
            "{trouble}"
        );
        assert_eq!(file.accounts(), 1);
        assert!(accepted(&file, "alice", password("right")).await.is_some());
        assert!(accepted(&file, twin, password("right")).await.is_none());
        assert!(bench.try_open().is_err());
    }
    bench.put(&format!("{alice}[accounts.\"alice@other.example\"]\n"));
    file.reload().await.unwrap();
    assert!(file.trouble().is_none() && file.accounts() == 2);
    // Where no folder is made of a name, no two names meet.
    let options = LocalFileOptions {
        path: bench.path(),
        allow_rsa_2048: false,
    };
    bench.put("[accounts.alice]\n[accounts.Alice]\n");
    assert!(LocalFile::open(&options, None, None, hasher()).is_ok());
}

#[tokio::test]
async fn sessions_end_by_the_clock_that_is_given() {
    let bench = Bench::new();
    let phc = bench.phc("right").await;
    bench.put(&format!(
        "[accounts.alice]\npassword = \"{phc}\"\nexpires = 2030-01-01T00:00:00Z\n"
    ));
    let clock = Arc::new(Turned::at("2029-12-31T23:00:00Z"));
    let options = LocalFileOptions {
        path: bench.path(),
        allow_rsa_2048: false,
    };
    let file = LocalFile::open_by(&options, None, None, hasher(), Arc::clone(&clock) as _).unwrap();
    let mut early = attempt("alice", password("right"));
    early.at = clock.wall();
    let Verdict::Accept(who) = file.verify(&early).await else {
        panic!("it has not expired")
    };
    assert_eq!(who.claims[EXPIRES_CLAIM], "2030-01-01T00:00:00Z");
    assert_eq!(file.still_valid(&who, Audience::Transfer).await, Standing::Valid);
    clock.turn_to("2030-01-01T00:00:00Z");
    let standing = file.still_valid(&who, Audience::Transfer).await;
    assert!(
        matches!(&standing, Standing::Gone(why) if why.0.contains("expired on 2030-01-01")),
        "{standing:?}"
    );
}

#[tokio::test]
async fn another_password_in_the_file_ends_what_the_old_one_opened() {
    let bench = Bench::new();
    let put = |phc: &str| {
        bench.put(&format!(
            "[accounts.alice]\npassword = \"{phc}\"\nssh_keys = [\"{KEY}\"]\n"
        ));
    };
    let phc = bench.phc("right").await;
    put(&phc);
    let file = bench.try_open().unwrap();
    let by_password = accepted(&file, "alice", password("right")).await.unwrap();
    let by_key = accepted(&file, "alice", Credential::PublicKey(key(KEY)))
        .await
        .unwrap();
    put(&phc);
    file.reload().await.unwrap();
    assert_eq!(
        file.still_valid(&by_password, Audience::Transfer).await,
        Standing::Valid
    );
    put(&bench.phc("other").await);
    file.reload().await.unwrap();
    let gone = file.still_valid(&by_password, Audience::Transfer).await;
    assert!(
        matches!(&gone, Standing::Gone(why) if why.0.contains("was changed")),
        "{gone:?}"
    );
    assert_eq!(
        file.still_valid(&by_key, Audience::Transfer).await,
        Standing::Valid
    );
}
