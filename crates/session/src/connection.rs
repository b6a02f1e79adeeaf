//! One connection: its permits, and its tries to sign in.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portreeve_auth::{
    Audience, Chain, Credential, CredentialKind, Flow, Progress, Prompt, PublicKey, Verified,
};
use portreeve_model::{Act, ConnectionId, Event, Origin, Outcome, Secret, TrailStep, UserName};
use tokio_util::sync::CancellationToken;

use crate::{Gatekeeper, LimitsOptions, Session, admission::Permit, live::Live};

/// What a door learns of a try to sign in.
#[must_use]
#[derive(Debug)]
pub enum SignIn {
    /// Let in.
    Welcome(Session),
    /// More is wanted: show it and call [`Connection::reply`].
    Ask {
        /// A line above the questions.
        instruction: String,
        /// The questions.
        prompts: Vec<Prompt>,
    },
    /// Refused. Wrong, unknown, forbidden, or something we depend on is down: it looks the same.
    Refused,
    /// Refused, and the connection has used up its tries: close it.
    Closed,
    /// The credential was right, but no session may be opened now. The text may be shown.
    Full(String),
}

/// A connection that was not turned away. When it is dropped its permits come back, and keys that were
/// offered in vain are counted once.
pub struct Connection {
    id: ConnectionId,
    gate: Gatekeeper,
    origin: Origin,
    takes: Vec<CredentialKind>,
    flow: Option<Flow>,
    tries: u32,
    limits: Limits,
    _permit: Permit<IpAddr>,
}

/// The limits of the world in which the connection was accepted.
struct Limits {
    attempts: u32,
    grace: Duration,
    idle: Duration,
    refusal: Duration,
    sessions_per_user: u32,
}

impl Connection {
    pub(crate) fn new(
        gate: Gatekeeper,
        origin: Origin,
        audience: Audience,
        chain: Arc<Chain>,
        permit: Permit<IpAddr>,
        limits: &LimitsOptions,
    ) -> Self {
        let id = ConnectionId::fresh();
        Self {
            id,
            takes: chain.takes(),
            flow: Some(Flow::new(chain, id, origin.clone(), audience)),
            gate,
            origin,
            tries: 0,
            limits: Limits {
                attempts: limits.auth_attempts,
                grace: limits.login_grace.0,
                idle: limits.idle.0,
                refusal: limits.refusal_delay.0,
                sessions_per_user: limits.sessions_per_user,
            },
            _permit: permit,
        }
    }

    /// The connection's id, for logs.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where it comes from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The kinds of credential that the listener's chain takes: a door offers no others.
    #[must_use]
    pub fn takes(&self) -> &[CredentialKind] {
        &self.takes
    }

    /// Fires when the server stops.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        self.gate.draining()
    }

    /// How long the connection may take to sign in.
    #[must_use]
    pub const fn login_grace(&self) -> Duration {
        self.limits.grace
    }

    /// How long a session may do nothing (the gatekeeper ends it; a door may tell the client).
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.limits.idle
    }

    /// Whether a key, offered without a signature, is worth signing with. Offers are no tries, but
    /// there is an end to them: clients with a whole agent get through, guessers do not.
    pub async fn offer_key(&mut self, user: &UserName, key: PublicKey) -> bool {
        match &mut self.flow {
            Some(flow) if self.tries < self.limits.attempts => flow.offer_key(user.clone(), key).await,
            _ => false,
        }
    }

    /// Tries a credential. Takes as long for every refusal, and is recorded.
    pub async fn sign_in(&mut self, user: &UserName, credential: Credential) -> SignIn {
        self.attempt(user, Try::Credential(credential)).await
    }

    /// Answers what [`SignIn::Ask`] asked of `user`.
    pub async fn reply(&mut self, user: &UserName, answers: Vec<Secret>) -> SignIn {
        self.attempt(user, Try::Answers(answers)).await
    }

    async fn attempt(&mut self, user: &UserName, what: Try) -> SignIn {
        let began = Instant::now();
        if self.tries >= self.limits.attempts {
            return SignIn::Closed;
        }
        self.tries += 1;
        let last = self.tries >= self.limits.attempts;
        let book = Book {
            gate: self.gate.clone(),
            id: self.id,
            origin: self.origin.clone(),
            began,
        };
        let (per_user, refusal) = (self.limits.sessions_per_user, self.limits.refusal);
        let Some(flow) = &mut self.flow else {
            return SignIn::Closed;
        };
        let progress = match what {
            Try::Credential(credential) => flow.submit(user.clone(), credential).await,
            Try::Answers(answers) => flow.reply(user.clone(), answers).await,
        };
        let trail = flow.take_trail();
        let answer = match progress {
            Progress::Ask(challenge) => {
                return SignIn::Ask {
                    instruction: challenge.instruction,
                    prompts: challenge.prompts,
                };
            }
            Progress::Done(verified) => match book.welcome(user, verified, trail, per_user).await {
                Ok(session) => {
                    // Over HTTP one connection signs in again and again: only refusals in a row count.
                    self.tries = 0;
                    return SignIn::Welcome(session);
                }
                Err(answer) => answer,
            },
            Progress::Refused => book.refused(user, trail, "the credential was not accepted"),
            Progress::Unavailable => book.refused(user, trail, "a method could not find out"),
        };
        metrics::counter!("portreeve_logins_total", "door" => book.origin.door.name(), "outcome" => "refused")
            .increment(1);
        tokio::time::sleep_until((began + refusal).into()).await;
        match answer {
            SignIn::Refused if last => SignIn::Closed,
            answer => answer,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(flow), Ok(runtime)) = (self.flow.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(flow.abandon());
        }
    }
}

/// What is shown in one try.
enum Try {
    Credential(Credential),
    Answers(Vec<Secret>),
}

/// What is needed to record a try and to open a session.
struct Book {
    gate: Gatekeeper,
    id: ConnectionId,
    origin: Origin,
    began: Instant,
}

impl Book {
    async fn welcome(
        &self,
        user: &UserName,
        verified: Verified,
        trail: Vec<TrailStep>,
        per_user: u32,
    ) -> Result<Session, SignIn> {
        let method = Some(verified.method().to_owned());
        let world = self.gate.world();
        let principal = match world.resolver().resolve(verified) {
            Ok(principal) => principal,
            Err(denial) => {
                self.login(user, trail, method, Outcome::Refused(denial.why));
                return Err(SignIn::Refused);
            }
        };
        let permit = self
            .gate
            .0
            .admission
            .sessions
            .take(principal.key(), per_user, u32::MAX)
            .map_err(|_| {
                let why = format!("{per_user} sessions of this user are open: limits.sessions_per_user");
                self.login(user, trail.clone(), method.clone(), Outcome::Refused(why));
                SignIn::Full("too many sessions of this user are open; close one and try again".into())
            })?;
        let opened = Live::open(self.gate.clone(), self.id, self.origin.clone(), principal, permit);
        let live = match opened.await {
            Ok(live) => live,
            Err(why) => {
                self.login(user, trail, method, Outcome::Failed(why));
                return Err(SignIn::Refused);
            }
        };
        let event = self.event(user, trail, method, Outcome::Ok, Some(live.id));
        if let Err(fault) = self.gate.record(&event) {
            tracing::error!(%fault, "a sign-in was refused because it cannot be recorded");
            live.end("unrecorded");
            return Err(SignIn::Refused);
        }
        self.gate.0.registry.enter(&live);
        metrics::counter!("portreeve_logins_total", "door" => self.origin.door.name(), "outcome" => "ok")
            .increment(1);
        Ok(Session::new(live))
    }

    fn refused(&self, user: &UserName, trail: Vec<TrailStep>, otherwise: &str) -> SignIn {
        // The step that decided says why; the last of them where none did.
        let why = trail
            .iter()
            .rev()
            .find(|step| !step.why.is_empty() && step.verdict != "skipped");
        let why = why.map_or_else(
            || otherwise.to_owned(),
            |step| format!("{}: {}", step.step, step.why),
        );
        self.login(user, trail, None, Outcome::Refused(why));
        SignIn::Refused
    }

    fn login(&self, user: &UserName, trail: Vec<TrailStep>, method: Option<String>, outcome: Outcome) {
        // A refusal stands whether or not its record can be written; the loss is counted and logged.
        let _ = self.gate.record(&self.event(user, trail, method, outcome, None));
    }

    fn event(
        &self,
        user: &UserName,
        trail: Vec<TrailStep>,
        method: Option<String>,
        outcome: Outcome,
        session: Option<portreeve_model::SessionId>,
    ) -> Event {
        Event {
            at: SystemTime::now(),
            connection: Some(self.id),
            session,
            origin: Some(self.origin.clone()),
            user: Some(user.to_string()),
            act: Act::Login { trail, method },
            outcome,
            took: self.began.elapsed(),
        }
    }
}
