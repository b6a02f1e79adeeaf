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

use crate::{
    Gatekeeper, LimitsOptions, Session, admission::Permit, carried_through::carried_through, live::Live,
};

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
    audience: Audience,
    way: Option<Way>,
    tries: u32,
    /// Keys offered in a row.
    offers: u32,
    limits: Limits,
    /// Shared with a try that goes on when the connection is dropped: nobody hangs up to get more tries
    /// at a time than connections.
    permit: Arc<Permit<IpAddr>>,
}

/// The way through one chain. When it is dropped, keys that were offered in vain are counted once.
struct Way {
    chain: Arc<Chain>,
    flow: Option<Flow>,
    gate: Gatekeeper,
    id: ConnectionId,
    origin: Origin,
    /// Whether a try was recorded: then offers that led to it are no event of their own.
    tried: bool,
}

/// Keys that one connection may offer: an agent's worth, and an end to guessing who has which key.
const OFFERS: u32 = 64;

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
            way: Some(Way::new(&gate, chain, id, &origin, audience)),
            audience,
            gate,
            origin,
            tries: 0,
            offers: 0,
            limits: Limits {
                attempts: limits.auth_attempts,
                grace: limits.login_grace.0,
                idle: limits.idle.0,
                refusal: limits.refusal_delay.0,
                sessions_per_user: limits.sessions_per_user,
            },
            permit: Arc::new(permit),
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
        if self.tries >= self.limits.attempts || self.offers >= OFFERS {
            return false;
        }
        self.offers += 1;
        self.follow_world();
        match self.way.as_mut().and_then(|way| way.flow.as_mut()) {
            Some(flow) => flow.offer_key(user.clone(), key).await,
            None => false,
        }
    }

    /// Tries a credential. Takes as long for every refusal, and is recorded. A try that was begun is
    /// gone through with and counts, even if the client hangs up before the answer.
    pub async fn sign_in(&mut self, user: &UserName, credential: Credential) -> SignIn {
        self.attempt(user, Try::Credential(credential)).await
    }

    /// Answers what [`SignIn::Ask`] asked of `user`.
    pub async fn reply(&mut self, user: &UserName, answers: Vec<Secret>) -> SignIn {
        self.attempt(user, Try::Answers(answers)).await
    }

    /// Refuses a try without asking the chain, for a reason of the door's own (no TLS). It counts as a try,
    /// takes as long as any refusal, and is recorded, at most so often a minute from one address: it costs
    /// the client nothing.
    pub async fn refuse(&mut self, user: &UserName, why: &str) -> SignIn {
        let began = Instant::now();
        self.tries = self.tries.saturating_add(1);
        let act = Act::Login {
            trail: Vec::new(),
            method: None,
        };
        self.gate
            .turned_away_from(&self.origin, Some((self.id, user)), act, why, began);
        let door = self.origin.door.name();
        metrics::counter!("portreeve_logins_total", "door" => door, "outcome" => "refused").increment(1);
        tokio::time::sleep_until((began + self.limits.refusal).into()).await;
        if self.tries >= self.limits.attempts {
            SignIn::Closed
        } else {
            SignIn::Refused
        }
    }

    /// Records that what came is none of this door's business (a request of another protocol): the
    /// connection is to be closed. At most so many a minute from one address, as at accept.
    pub fn turned_away(&self, why: &str) {
        self.gate.turned_away(&self.origin, why, Instant::now());
    }

    async fn attempt(&mut self, user: &UserName, what: Try) -> SignIn {
        let began = Instant::now();
        if self.tries >= self.limits.attempts {
            return SignIn::Closed;
        }
        self.tries += 1;
        let last = self.tries >= self.limits.attempts;
        // Taken before the chain: what changes from here on is asked about at the first operation.
        let pulse = self.gate.pulse();
        self.follow_world();
        let Some(mut way) = self.way.take() else {
            return SignIn::Closed;
        };
        let book = Book {
            gate: self.gate.clone(),
            id: self.id,
            origin: self.origin.clone(),
            began,
            pulse,
            per_user: self.limits.sessions_per_user,
        };
        let (user, permit) = (user.clone(), Arc::clone(&self.permit));
        let (way, answer) = carried_through(Box::pin(async move {
            let _held = permit;
            let answer = match &mut way.flow {
                Some(flow) => {
                    way.tried = true;
                    book.judge(flow, &user, what).await
                }
                None => SignIn::Closed,
            };
            (way, answer)
        }))
        .await;
        self.way = Some(way);
        match answer {
            SignIn::Ask { .. } => return answer,
            SignIn::Welcome(_) => {
                // Over HTTP one connection signs in again and again: only refusals in a row count.
                (self.tries, self.offers) = (0, 0);
                return answer;
            }
            SignIn::Refused | SignIn::Closed | SignIn::Full(_) => {}
        }
        let door = self.origin.door.name();
        metrics::counter!("portreeve_logins_total", "door" => door, "outcome" => "refused").increment(1);
        tokio::time::sleep_until((began + self.limits.refusal).into()).await;
        match answer {
            SignIn::Refused if last => SignIn::Closed,
            answer => answer,
        }
    }

    /// A reload counts for connections that were accepted before it: who signs in now passes the chain
    /// that serves now, from zero.
    fn follow_world(&mut self) {
        let world = self.gate.world();
        let chain = world.entrance(&self.origin.listener);
        if self
            .way
            .as_ref()
            .is_some_and(|way| !Arc::ptr_eq(&way.chain, chain))
        {
            self.takes = chain.takes();
            self.way = Some(Way::new(
                &self.gate,
                Arc::clone(chain),
                self.id,
                &self.origin,
                self.audience,
            ));
        }
    }
}

impl Way {
    fn new(
        gate: &Gatekeeper,
        chain: Arc<Chain>,
        id: ConnectionId,
        origin: &Origin,
        audience: Audience,
    ) -> Self {
        Self {
            flow: Some(Flow::new(Arc::clone(&chain), id, origin.clone(), audience)),
            chain,
            gate: gate.clone(),
            id,
            origin: origin.clone(),
            tried: false,
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let (Some(flow), Ok(runtime)) = (self.flow.take(), tokio::runtime::Handle::try_current()) {
            let book = Book {
                gate: self.gate.clone(),
                id: self.id,
                origin: self.origin.clone(),
                began: Instant::now(),
                pulse: 0,
                per_user: 0,
            };
            let tried = self.tried;
            runtime.spawn(async move {
                if let Some((user, trail)) = flow.abandon().await.filter(|_| !tried) {
                    let why = "keys were offered, and none of them is the account's";
                    let _ = book.refused(&user, trail, why);
                }
            });
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
    pulse: u64,
    per_user: u32,
}

impl Book {
    /// One try, to its record.
    async fn judge(&self, flow: &mut Flow, user: &UserName, what: Try) -> SignIn {
        let progress = match what {
            Try::Credential(credential) => flow.submit(user.clone(), credential).await,
            Try::Answers(answers) => flow.reply(user.clone(), answers).await,
        };
        let trail = flow.take_trail();
        match progress {
            Progress::Ask(challenge) => SignIn::Ask {
                instruction: challenge.instruction,
                prompts: challenge.prompts,
            },
            Progress::Done(verified) => match self.welcome(user, verified, trail).await {
                Ok(session) => SignIn::Welcome(session),
                Err(answer) => answer,
            },
            Progress::Refused => self.refused(user, trail, "the credential was not accepted"),
            Progress::Unavailable => self.refused(user, trail, "a method could not find out"),
        }
    }

    async fn welcome(
        &self,
        user: &UserName,
        verified: Verified,
        trail: Vec<TrailStep>,
    ) -> Result<Session, SignIn> {
        let per_user = self.per_user;
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
        let (gate, origin) = (self.gate.clone(), self.origin.clone());
        let opened = Live::open(gate, self.id, origin, principal, permit, self.pulse);
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
            item: None,
            outcome,
            took: self.began.elapsed(),
        }
    }
}
