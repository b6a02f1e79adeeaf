//! Cases about accounts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portreeve_auth::{Account, AccountChange, AccountKey, Accounts, AccountsError, Audience, Membership};
use portreeve_model::{GroupName, RoleName, UserName};

use super::{Outcome, Place, ensure, equal, text};

/// Names that are one account each, in the order of their bytes.
const NAMES: &[&str] = &[
    "'; DROP TABLE accounts; --",
    "100%_",
    "Alice",
    "alice",
    "alice@example.com",
    "bob\\",
    "stra\u{df}e",
    "\u{e9}ve",
    "\u{5f20}\u{4f1f}",
    "\u{1f9d1}\u{200d}\u{1f680}",
];

fn name(raw: &str) -> Result<UserName, String> {
    UserName::new(raw).map_err(text)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(seconds * 1_000_000 + 123_456)
}

fn user(raw: &str) -> Result<Account, String> {
    let groups = ["staff", "b\u{fc}ro", "a,b \"c\""]
        .into_iter()
        .map(GroupName::new)
        .collect::<Result<_, _>>();
    Ok(Account::new(
        name(raw)?,
        Membership::Groups(groups.map_err(text)?),
        at(1_700_000_000),
    ))
}

fn admin(raw: &str) -> Result<Account, String> {
    let role = RoleName::new("operator").map_err(text)?;
    Ok(Account::new(
        name(raw)?,
        Membership::Roles(vec![role]),
        at(1_700_000_000),
    ))
}

fn key(n: usize) -> AccountKey {
    AccountKey {
        fingerprint: format!("SHA256:{n}"),
        line: format!("from=\"10.0.0.0/8\" ssh-ed25519 AAAA{n} key {n}"),
        label: format!("key {n}"),
    }
}

pub(super) async fn comes_back_as_it_went_in(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    for (n, raw) in NAMES.iter().enumerate() {
        let mut account = user(raw)?;
        if n % 2 == 0 {
            account.password = Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned());
            account.keys = vec![key(2), key(1), key(3)];
            account.disabled = true;
            account.expires = Some(UNIX_EPOCH - Duration::from_micros(1_500_000));
            account.mail = Some(format!("{n}@example.com"));
            account.last_login = Some(at(1_800_000_000));
        }
        store.add(&account).await.map_err(text)?;
        let found = store
            .find(Audience::Transfer, &account.name)
            .await
            .map_err(text)?;
        ensure(found.as_ref() == Some(&account), || {
            format!("{raw:?} came back as {found:?}")
        })?;
    }
    let nobody = store
        .find(Audience::Transfer, &name("nobody")?)
        .await
        .map_err(text)?;
    equal(&nobody, &None, "an unknown name")
}

pub(super) async fn audiences_are_two_realms(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    store.add(&user("alice")?).await.map_err(text)?;
    store.add(&admin("alice")?).await.map_err(text)?;
    store
        .remove(Audience::Transfer, &name("alice")?)
        .await
        .map_err(text)?;
    let left = store.find(Audience::Admin, &name("alice")?).await.map_err(text)?;
    equal(
        &left,
        &Some(admin("alice")?),
        "the administrator of the same name",
    )
}

pub(super) async fn every_change_is_kept_and_moves_the_generation(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let alice = name("alice")?;
    let mut seen = store.generation();
    store.add(&user("alice")?).await.map_err(text)?;
    ensure(store.generation() > seen, || {
        "add did not move the generation".to_owned()
    })?;
    let changes = [
        AccountChange::Password(Some("one".to_owned())),
        AccountChange::Rehash {
            from: "one".to_owned(),
            to: "two".to_owned(),
        },
        AccountChange::AddKey(key(1)),
        AccountChange::AddKey(key(2)),
        AccountChange::AddKey(AccountKey {
            label: "renamed".to_owned(),
            ..key(1)
        }),
        AccountChange::RemoveKey("SHA256:2".to_owned()),
        AccountChange::Disabled(true),
        AccountChange::Expires(Some(at(1_900_000_000))),
        AccountChange::Mail(Some("alice@example.com".to_owned())),
        AccountChange::MemberOf(Membership::Groups(Vec::new())),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        seen = store.generation();
        store
            .change(Audience::Transfer, &alice, change)
            .await
            .map_err(text)?;
        ensure(store.generation() > seen, || {
            format!("change {n} did not move the generation")
        })?;
    }
    let found = store
        .find(Audience::Transfer, &alice)
        .await
        .map_err(text)?
        .ok_or("alice is gone")?;
    let expected = Account {
        member_of: Membership::Groups(Vec::new()),
        password: Some("two".to_owned()),
        keys: vec![AccountKey {
            label: "renamed".to_owned(),
            ..key(1)
        }],
        disabled: true,
        expires: Some(at(1_900_000_000)),
        mail: Some("alice@example.com".to_owned()),
        ..user("alice")?
    };
    ensure(found == expected, || format!("got {found:?}"))?;

    seen = store.generation();
    store
        .record_login(Audience::Transfer, &alice, at(1_800_000_000))
        .await
        .map_err(text)?;
    store
        .record_login(Audience::Transfer, &alice, at(1_700_000_001))
        .await
        .map_err(text)?;
    equal(&store.generation(), &seen, "the generation after a sign-in")?;
    let found = store
        .find(Audience::Transfer, &alice)
        .await
        .map_err(text)?
        .ok_or("alice is gone")?;
    equal(&found.last_login, &Some(at(1_800_000_000)), "the latest sign-in")?;

    store.remove(Audience::Transfer, &alice).await.map_err(text)?;
    ensure(store.generation() > seen, || {
        "remove did not move the generation".to_owned()
    })?;
    // A new account of the old name has none of the old one's keys.
    store.add(&user("alice")?).await.map_err(text)?;
    let again = store.find(Audience::Transfer, &alice).await.map_err(text)?;
    equal(
        &again,
        &Some(user("alice")?),
        "an account of a removed one's name",
    )
}

pub(super) async fn refusals_change_nothing(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let (alice, nobody) = (name("alice")?, name("nobody")?);
    let mut first = user("alice")?;
    first.keys = vec![key(1)];
    store.add(&first).await.map_err(text)?;
    let seen = store.generation();

    let mut second = user("alice")?;
    second.keys = vec![key(2)];
    equal(
        &store.add(&second).await,
        &Err(AccountsError::Exists(alice.clone())),
        "adding it twice",
    )?;
    let gone = AccountsError::NoAccount(nobody.clone());
    let change = store
        .change(Audience::Transfer, &nobody, AccountChange::Disabled(true))
        .await;
    equal(&change, &Err(gone.clone()), "changing nobody")?;
    let change = store
        .change(Audience::Transfer, &nobody, AccountChange::AddKey(key(1)))
        .await;
    equal(&change, &Err(gone.clone()), "a key for nobody")?;
    equal(
        &store.remove(Audience::Transfer, &nobody).await,
        &Err(gone.clone()),
        "removing nobody",
    )?;
    equal(
        &store.record_login(Audience::Transfer, &nobody, at(1)).await,
        &Err(gone),
        "a sign-in of nobody",
    )?;
    let change = store
        .change(
            Audience::Transfer,
            &alice,
            AccountChange::RemoveKey("SHA256:9".to_owned()),
        )
        .await;
    equal(
        &change,
        &Err(AccountsError::NoKey(alice.clone(), "SHA256:9".to_owned())),
        "removing no key",
    )?;
    let roles = AccountChange::MemberOf(Membership::Roles(Vec::new()));
    let change = store.change(Audience::Transfer, &alice, roles).await;
    equal(
        &change,
        &Err(AccountsError::WrongAudience),
        "roles for a transfer user",
    )?;

    equal(&store.generation(), &seen, "the generation after refusals")?;
    let found = store.find(Audience::Transfer, &alice).await.map_err(text)?;
    ensure(found.as_ref() == Some(&first), || {
        format!("refusals left {found:?}")
    })
}

pub(super) async fn lists_in_the_order_of_bytes(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    for raw in NAMES.iter().rev() {
        let mut account = user(raw)?;
        account.keys = vec![key(1), key(2)];
        store.add(&account).await.map_err(text)?;
        store.add(&admin(raw)?).await.map_err(text)?;
    }
    let mut got = Vec::new();
    let mut after: Option<UserName> = None;
    loop {
        let page = store
            .list(Audience::Transfer, after.as_ref(), 3)
            .await
            .map_err(text)?;
        ensure(page.len() <= 3, || format!("a page of {}", page.len()))?;
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        ensure(page.iter().all(|a| a.keys.len() == 2), || {
            "keys are missing".to_owned()
        })?;
        got.extend(page.into_iter().map(|a| a.name.as_str().to_owned()));
    }
    equal(&got, &NAMES.iter().map(|n| (*n).to_owned()).collect(), "the list")?;
    equal(
        &store.list(Audience::Transfer, None, 0).await.map_err(text)?.len(),
        &0,
        "a page of nothing",
    )
}

pub(super) async fn survives_a_restart(place: &dyn Place) -> Outcome {
    let mut account = user("alice")?;
    account.keys = vec![key(1)];
    let seen = {
        let store = place.open().await.map_err(text)?;
        store.add(&account).await.map_err(text)?;
        let seen = store.generation();
        store.close().await;
        seen
    };
    let store = place.open().await.map_err(text)?;
    let found = store
        .find(Audience::Transfer, &account.name)
        .await
        .map_err(text)?;
    ensure(found.as_ref() == Some(&account), || {
        format!("came back as {found:?}")
    })?;
    equal(&store.generation(), &seen, "the generation after a restart")
}

pub(super) async fn many_writers_lose_nothing(place: &dyn Place) -> Outcome {
    // Two handles, as two processes have them.
    let stores = [
        place.open().await.map_err(text)?,
        place.open().await.map_err(text)?,
    ];
    let before = stores.iter().map(Accounts::generation).max().unwrap_or(0);
    store_all(&stores).await?;
    let [first, _] = &stores;
    let all = first.list(Audience::Transfer, None, 1_000).await.map_err(text)?;
    equal(&all.len(), &32, "accounts after 32 writers")?;
    let keys = all
        .iter()
        .find(|a| a.name.as_str() == "shared")
        .map(|a| a.keys.len());
    equal(&keys, &Some(31), "keys that 31 writers added to one account")?;
    let after = stores.iter().map(Accounts::generation).max().unwrap_or(0);
    equal(
        &(after - before),
        &63,
        "steps of the generation: 32 accounts and 31 keys",
    )
}

async fn store_all(stores: &[crate::Store; 2]) -> Outcome {
    let [first, second] = stores;
    first.add(&user("shared")?).await.map_err(text)?;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..31usize {
        let store = if n % 2 == 0 { first.clone() } else { second.clone() };
        let account = user(&format!("user {n}"))?;
        let shared = name("shared")?;
        tasks.spawn(async move {
            store.add(&account).await?;
            store
                .change(Audience::Transfer, &shared, AccountChange::AddKey(key(n)))
                .await?;
            store.find(Audience::Transfer, &account.name).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        let found = done.map_err(text)?.map_err(text)?;
        ensure(found.is_some(), || {
            "a writer does not see what it wrote".to_owned()
        })?;
    }
    Ok(())
}

pub(super) async fn a_password_changed_meanwhile_is_not_undone(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let alice = name("alice")?;
    store.add(&user("alice")?).await.map_err(text)?;
    let set = |to: &str| AccountChange::Password(Some(to.to_owned()));
    store
        .change(Audience::Transfer, &alice, set("new"))
        .await
        .map_err(text)?;
    let seen = store.generation();
    let late = AccountChange::Rehash {
        from: "old".to_owned(),
        to: "old, stronger".to_owned(),
    };
    store
        .change(Audience::Transfer, &alice, late)
        .await
        .map_err(text)?;
    let found = store
        .find(Audience::Transfer, &alice)
        .await
        .map_err(text)?
        .ok_or("alice is gone")?;
    equal(&found.password, &Some("new".to_owned()), "the password")?;
    equal(
        &store.generation(),
        &seen,
        "the generation after a rehash that did nothing",
    )
}

pub(super) async fn another_process_is_noticed(place: &dyn Place) -> Outcome {
    let (one, other) = (
        place.open().await.map_err(text)?,
        place.open().await.map_err(text)?,
    );
    one.add(&user("alice")?).await.map_err(text)?;
    let target = one.generation();
    let noticed = async {
        while other.generation() < target {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed)
        .await
        .map_err(|_| "a change by another process was not noticed".to_owned())
}
