//! The two people of the demo: a transfer user and an administrator, each with a new password.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portreeve_auth::{Account, AccountChange, Accounts, AccountsError, Audience, Membership, hash_password};
use portreeve_model::{GroupName, RoleName, Secret, UserName};
use portreeve_store::Store;

/// Names and passwords, to be told once.
pub(super) struct People {
    pub(super) user: &'static str,
    pub(super) password: Secret,
    pub(super) admin: &'static str,
    pub(super) admin_password: Secret,
}

/// Makes the accounts, or gives them new passwords.
///
/// # Errors
/// A sentence.
pub(super) async fn settle(store: &Store) -> Result<People, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let group = GroupName::new("demo").map_err(|error| text(&error))?;
    let role = RoleName::new("administrator").map_err(|error| text(&error))?;
    let people = People {
        user: "demo",
        password: password()?,
        admin: "admin",
        admin_password: password()?,
    };
    settle_one(
        store,
        people.user,
        Membership::Groups(vec![group]),
        &people.password,
    )
    .await?;
    settle_one(
        store,
        people.admin,
        Membership::Roles(vec![role]),
        &people.admin_password,
    )
    .await?;
    Ok(people)
}

async fn settle_one(
    store: &Store,
    name: &str,
    member_of: Membership,
    password: &Secret,
) -> Result<(), String> {
    let name = UserName::new(name).map_err(|error| error.to_string())?;
    let audience: Audience = member_of.audience();
    let secret = password.clone();
    let hashed = tokio::task::spawn_blocking(move || hash_password(&secret)).await;
    let hashed = hashed
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let mut account = Account::new(name.clone(), member_of, SystemTime::now());
    account.password = Some(hashed.clone());
    match store.add(&account).await {
        Ok(()) => Ok(()),
        Err(AccountsError::Exists(_)) => {
            let change = AccountChange::Password(Some(hashed));
            store
                .change(audience, &name, change)
                .await
                .map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// 96 bits, typeable.
fn password() -> Result<Secret, String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    // A dash in front would be an option to many programs.
    Ok(Secret::new(
        URL_SAFE_NO_PAD.encode(bytes).replace('-', "x").replace('_', "y"),
    ))
}
