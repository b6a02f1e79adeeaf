//! `on_unavailable`, from the file to the chain: one step that cannot find out, with both answers to it.

use async_trait::async_trait;
use portreeve_auth::{AccountChange, AccountsError, BanList, Credential, hash_password};
use portreeve_model::{Door, Origin, Secret};
use portreeve_session::{Audience, SignIn};

use super::*;
const TEXT: &str = r#"
[server]
data_dir = "data"
[limits]
refusal_delay = "1ms"
[[listener]]
name = "next"
protocol = "sftp"
address = "127.0.0.1:0"
auth = ["lenient", "file"]
[[listener]]
name = "stop"
protocol = "sftp"
address = "127.0.0.1:0"
auth = ["strict", "file"]
[[listener]]
name = "default"
protocol = "sftp"
address = "127.0.0.1:0"
auth = ["plain", "file"]
[[auth]]
name = "lenient"
type = "application"
on_unavailable = "next"
[[auth]]
name = "strict"
type = "application"
on_unavailable = "stop"
[[auth]]
name = "plain"
type = "application"
[[auth]]
name = "file"
type = "local-file"
path = "accounts.toml"
[groups.staff]
mounts = [{ path = "/", storage = "files", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

/// A store that cannot be reached.
struct Dead;

fn dead<T>() -> Result<T, AccountsError> {
    Err(AccountsError::Unavailable("down".to_owned()))
}

#[async_trait]
impl Accounts for Dead {
    async fn find(&self, _: Audience, _: &UserName) -> Result<Option<Account>, AccountsError> {
        dead()
    }

    async fn list(&self, _: Audience, _: Option<&UserName>, _: usize) -> Result<Vec<Account>, AccountsError> {
        dead()
    }

    async fn add(&self, _: &Account) -> Result<(), AccountsError> {
        dead()
    }

    async fn change(&self, _: Audience, _: &UserName, _: AccountChange) -> Result<(), AccountsError> {
        dead()
    }

    async fn remove(&self, _: Audience, _: &UserName) -> Result<(), AccountsError> {
        dead()
    }

    async fn record_login(
        &self,
        _: Audience,
        _: &UserName,
        _: std::time::SystemTime,
    ) -> Result<(), AccountsError> {
        dead()
    }

    fn generation(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_find_out_stops_or_asks_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let secret = Secret::new("a password of the file".to_owned());
    let hash = hash_password(&secret).unwrap();
    std::fs::write(
        dir.path().join("accounts.toml"),
        format!("[accounts.alice]\npassword = \"{hash}\"\ngroups = [\"staff\"]\n"),
    )
    .unwrap();
    let file = dir.path().join("p.toml");
    let config = check::check_text(TEXT, &file, &file).unwrap();
    let book = Store::open("sqlite:t.db", dir.path()).await.unwrap();
    let lasting = Lasting {
        accounts: Arc::new(Dead),
        ..Lasting::new(&config, &book, Arc::new(BanList::new(None)))
    };
    let (world, ..) =
        crate::wiring::build(&config, &lasting, &Backends::default(), &Methods::default()).unwrap();
    let gate = Gatekeeper::new(world, Audit::nowhere(), Arc::new(book));
    let alice = UserName::new("alice").unwrap();
    for (listener, let_in) in [("next", true), ("stop", false), ("default", false)] {
        let here = SocketAddr::from(([127, 0, 0, 1], 22));
        let origin = Origin::new(Door::Sftp, listener.into(), here, here);
        let mut connection = gate.knock(origin, Audience::Transfer).await.unwrap();
        let answer = connection
            .sign_in(&alice, Credential::Password(secret.clone()))
            .await;
        assert_eq!(matches!(answer, SignIn::Welcome(_)), let_in, "{listener}");
        assert_eq!(matches!(answer, SignIn::Refused), !let_in, "{listener}");
    }
}
