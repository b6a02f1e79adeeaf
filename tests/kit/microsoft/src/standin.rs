//! The stand-in as tests hold it: starting, addresses, applications and their rights, what was asked of it.
//! Invariant: when it is dropped, its listeners, its thread and its files are gone.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    entra::{assertion, keys, keys::ClientCertificate, tokens},
    faults::Faults,
    handle::MailboxHandle,
    log::{Call, Host, Log},
    mailbox::Mailbox,
    pki, server,
    server::Hub,
    throttle::Throttle,
    world::{APP, AppSecret, Refresh, SECRET, TENANT, World},
};

/// A running stand-in.
#[derive(Debug)]
pub struct Standin {
    hub: Arc<Hub>,
    port: u16,
    directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
}

impl Standin {
    /// Starts one with free ports and no mailbox. It runs on a thread of its own, so it can be used within any runtime or
    /// none.
    ///
    /// # Panics
    /// If it cannot listen or write its CA file.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// The same, with a port that is given (0: any).
    ///
    /// # Panics
    /// If it cannot listen or write its CA file.
    #[must_use]
    pub fn start_at(port: u16) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (authority, tls) = pki::make();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("portreeve-standin-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory for the CA file");
        fs::write(directory.join("ca.pem"), authority).expect("the CA file");
        let bind = |port: u16| {
            let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a port");
            listener
                .set_nonblocking(true)
                .expect("a listener that does not block");
            listener
        };
        let (main, upload) = (bind(port), bind(0));
        let port = main.local_addr().expect("bound").port();
        let hub = Arc::new(Hub {
            world: Mutex::new(World::new()),
            faults: Faults::new(),
            throttle: Arc::new(Throttle::default()),
            log: Log::default(),
            uploads: upload.local_addr().expect("bound").port(),
        });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&hub);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = |l| TcpListener::from_std(l).expect("a listener");
                tokio::spawn(server::serve(
                    Arc::clone(&shared),
                    listener(main),
                    Arc::clone(&tls),
                    false,
                ));
                tokio::spawn(server::serve(shared, listener(upload), tls, true));
                let _ = stopped.await;
            });
            runtime.shutdown_background();
        });
        Self {
            hub,
            port,
            directory,
            stop: Some(stop),
        }
    }

    // Where it is.

    /// `https://localhost:PORT`: the authority of Entra.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// `https://localhost:PORT/v1.0`: Graph with its version.
    #[must_use]
    pub fn graph(&self) -> String {
        format!("{}/v1.0", self.authority())
    }

    /// The port of both.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port of the host that takes uploads (`127.0.0.1`, or `outlook.standin.test` for who came by such a name).
    #[must_use]
    pub fn upload_port(&self) -> u16 {
        self.hub.uploads
    }

    /// The certificate of the throw-away authority, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The tenant's id. Its domain `standin.test` is known too.
    #[must_use]
    pub const fn tenant(&self) -> &'static str {
        TENANT
    }

    /// The id of the application that is registered from the start, with `Mail.ReadWrite` and `Mail.Send` everywhere.
    #[must_use]
    pub const fn app_id(&self) -> &'static str {
        APP
    }

    /// Its first secret.
    #[must_use]
    pub const fn secret(&self) -> &'static str {
        SECRET
    }

    // Mailboxes.

    /// The mailbox of an address, made with the folders that every mailbox has if it is not there yet.
    #[must_use]
    pub fn mailbox(&self, address: &str) -> MailboxHandle {
        let mut world = self.hub.world.lock();
        if world.mailbox(address).is_none() {
            let salt = world.mailboxes.len() as u64 + 1;
            world.mailboxes.push(Mailbox::new(address, salt * 0x0001_0001));
        }
        drop(world);
        MailboxHandle::new(Arc::clone(&self.hub), address)
    }

    // Applications.

    /// Registers another application.
    pub fn register(&self, id: &str, secret: &str) {
        self.hub.world.lock().register(id, secret);
    }

    fn app<T>(&self, id: &str, change: impl FnOnce(&mut crate::world::App) -> T) -> T {
        change(
            self.hub
                .world
                .lock()
                .app(id)
                .expect("an application that is registered"),
        )
    }

    /// Gives the application a new secret; the older ones have expired.
    #[must_use]
    pub fn rotate_secret(&self, app: &str) -> String {
        let value = format!("y9R~{}", self.hub.world.lock().mint());
        self.app(app, |app| {
            app.secrets.iter_mut().for_each(|s| s.expired = true);
            app.secrets.push(AppSecret {
                value: value.clone(),
                expired: false,
            });
        });
        value
    }

    /// What Entra grants the application, for every mailbox; it is in its tokens from then on.
    pub fn roles(&self, app: &str, roles: &[&str]) {
        self.app(app, |app| {
            app.roles = roles.iter().map(|r| (*r).to_owned()).collect();
        });
    }

    /// An application access policy: of what Entra grants only these mailboxes are reached. None lifts it.
    pub fn access_policy(&self, app: &str, mailboxes: Option<&[&str]>) {
        let policy = mailboxes.map(|all| all.iter().map(|m| m.to_lowercase()).collect::<BTreeSet<_>>());
        self.app(app, |app| app.policy = policy);
    }

    /// A grant by RBAC for Applications: this role for this mailbox; no token tells of it.
    pub fn rbac(&self, app: &str, mailbox: &str, role: &str) {
        self.app(app, |app| {
            app.rbac.insert((mailbox.to_lowercase(), role.to_owned()))
        });
    }

    /// Takes back every grant by RBAC for a mailbox.
    pub fn rbac_revoke(&self, app: &str, mailbox: &str) {
        self.app(app, |app| {
            app.rbac.retain(|(m, _)| !m.eq_ignore_ascii_case(mailbox));
        });
    }

    /// Registers a certificate for the application and gives it with its key (RSA, 2,048 bits).
    #[must_use]
    pub fn certificate(&self, app: &str) -> ClientCertificate {
        let certificate = keys::client().clone();
        self.app(app, |app| app.thumbprints.push(certificate.thumbprint.clone()));
        certificate
    }

    /// A certificate that nobody registered.
    #[must_use]
    pub fn foreign_certificate(&self) -> ClientCertificate {
        keys::foreign().clone()
    }

    /// Trusts an identity provider for the application and gives an assertion of it that is good for so many seconds.
    #[must_use]
    pub fn federated_assertion(&self, app: &str, seconds: i64) -> String {
        let subject = "system:serviceaccount:portreeve:portreeve";
        self.app(app, |app| app.federated.push(subject.to_owned()));
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({"iss": assertion::ISSUER, "sub": subject, "aud": assertion::AUDIENCE,
            "iat": now, "nbf": now, "exp": now + seconds, "jti": self.hub.world.lock().guid()});
        tokens::sign(&claims, keys::foreign())
    }

    /// Whether the application is a public client, which has no secret.
    pub fn public_client(&self, app: &str, yes: bool) {
        self.app(app, |app| app.public = yes);
    }

    /// A refresh token for a user, as a sign-in would have given it.
    #[must_use]
    pub fn refresh_token(&self, app: &str, user: &str) -> String {
        let mut world = self.hub.world.lock();
        let token = format!("1.AX0A{}-{}", world.mint(), world.mint());
        let refresh = Refresh {
            app: app.to_owned(),
            user: user.to_owned(),
            revoked: false,
        };
        world.refresh.insert(token.clone(), refresh);
        token
    }

    /// Revokes every refresh token of a user.
    pub fn revoke_refresh_tokens(&self, user: &str) {
        let mut world = self.hub.world.lock();
        world
            .refresh
            .values_mut()
            .filter(|r| r.user.eq_ignore_ascii_case(user))
            .for_each(|r| r.revoked = true);
    }

    /// Every access token that was given out is expired from now on.
    pub fn expire_tokens(&self) {
        let now = jiff::Timestamp::now();
        self.hub
            .world
            .lock()
            .tokens
            .values_mut()
            .for_each(|t| t.expires = now);
    }

    /// Every upload session that is open is expired from now on.
    pub fn expire_uploads(&self) {
        self.hub
            .world
            .lock()
            .uploads
            .values_mut()
            .for_each(|u| u.expired = true);
    }

    /// Every delta link and every page of a delta query that was given out is answered with 410 from now on.
    pub fn expire_deltas(&self) {
        self.hub
            .world
            .lock()
            .deltas
            .values_mut()
            .for_each(|d| d.expired = true);
    }

    /// Upload sessions that are open.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.hub.world.lock().uploads.len()
    }

    /// The keys that tokens are signed with, as a JSON Web Key Set; also served at `/{tenant}/discovery/v2.0/keys`.
    #[must_use]
    pub fn jwks(&self) -> Value {
        keys::signing().jwks()
    }

    /// The public key that tokens are signed with, SubjectPublicKeyInfo in PEM, and its `kid`.
    #[must_use]
    pub fn signing_key(&self) -> (String, String) {
        (keys::signing().public_pem(), keys::signing().kid().to_owned())
    }

    // What goes wrong, and what was asked.

    /// The switches.
    #[must_use]
    pub fn faults(&self) -> &Arc<Faults> {
        &self.hub.faults
    }

    /// Every call since the start, or since [`Standin::clear_log`].
    #[must_use]
    pub fn log(&self) -> Vec<Call> {
        self.hub.log.all()
    }

    /// How many calls there were; a batch counts, and so does each request in it.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.log().len() as u64
    }

    /// How many calls there were whose `METHOD path?query` contains this.
    #[must_use]
    pub fn calls_like(&self, part: &str) -> u64 {
        self.log()
            .iter()
            .filter(|c| format!("{} {}", c.method, c.target).contains(part))
            .count() as u64
    }

    /// How many requests came over the wire, those for tokens left out: a batch is one.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.log()
            .iter()
            .filter(|c| c.host != Host::Entra && !c.batched)
            .count() as u64
    }

    /// How many bytes of bodies came and went with these.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        let log = self.log();
        let counted = log.iter().filter(|c| c.host != Host::Entra && !c.batched);
        counted.fold((0, 0), |(came, went), call| {
            (came + call.bytes_in, went + call.bytes_out)
        })
    }

    /// Forgets calls and the most that were in flight.
    pub fn clear_log(&self) {
        self.hub.log.clear();
        self.hub.throttle.reset();
    }

    /// The most requests for a mailbox (of one application) that were in flight at once, refused ones too; `*` is all mailboxes.
    #[must_use]
    pub fn most_in_flight(&self, mailbox: &str) -> usize {
        self.hub.throttle.most(mailbox)
    }

    /// How many requests for a mailbox are in flight now.
    #[must_use]
    pub fn in_flight(&self, mailbox: &str) -> usize {
        self.hub.throttle.now(mailbox)
    }

    /// How many requests were over the limit of their mailbox.
    #[must_use]
    pub fn over_limit(&self) -> u64 {
        self.hub.throttle.over()
    }

    /// How many requests came again before the time that `Retry-After` had told them.
    #[must_use]
    pub fn early_retries(&self) -> u64 {
        self.hub.throttle.early()
    }

    /// How many access tokens were given out.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        self.hub.world.lock().issued
    }

    /// Header and claims of the last client assertion.
    #[must_use]
    pub fn last_client_assertion(&self) -> Option<Value> {
        self.hub.world.lock().assertion.clone()
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
