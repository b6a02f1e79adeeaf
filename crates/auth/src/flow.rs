//! One connection's way through the chain.

use std::{sync::Arc, time::SystemTime};

use portreeve_model::{ConnectionId, Origin, Secret, TrailStep, UserName};

use crate::{
    Attempt, Audience, Chain, Challenge, Credential, End, KeyAnswer, OnFault, OnReject, PublicKey, Verdict,
    Verified,
    chain::{Step, StepKind, note},
};

/// What a door learns of a try. Reasons are in the trail, not here.
#[must_use]
#[derive(Debug)]
pub enum Progress {
    /// Somebody was verified.
    Done(Verified),
    /// A method wants to know more: show it and call [`Flow::reply`].
    Ask(Challenge),
    /// Refused: wrong, unknown, or not allowed; nobody is told which.
    Refused,
    /// Refused because a method could not find out; the same on the wire.
    Unavailable,
}

/// A challenge that waits for its reply.
struct Pending {
    step: Arc<str>,
    user: UserName,
    challenge: Challenge,
}

/// One connection's tries. A changed user name starts from zero.
pub struct Flow {
    chain: Arc<Chain>,
    connection: ConnectionId,
    origin: Origin,
    audience: Audience,
    pending: Option<Pending>,
    offered: Option<UserName>,
    trail: Vec<TrailStep>,
}

impl Flow {
    /// A fresh flow for a connection.
    #[must_use]
    pub fn new(chain: Arc<Chain>, connection: ConnectionId, origin: Origin, audience: Audience) -> Self {
        Self {
            chain,
            connection,
            origin,
            audience,
            pending: None,
            offered: None,
            trail: Vec::new(),
        }
    }

    /// The steps of the last try, with their verdicts; empties it.
    pub fn take_trail(&mut self) -> Vec<TrailStep> {
        std::mem::take(&mut self.trail)
    }

    /// Whether a key, offered without a signature, is worth signing with. Every method is asked
    /// whatever the others said, so that an unknown name costs what a known one does.
    pub async fn offer_key(&mut self, user: UserName, key: PublicKey) -> bool {
        self.trail.clear();
        self.pending = None;
        let attempt = self.attempt(user.clone(), Credential::PublicKey(key));
        self.offered = Some(user);
        let mut trail = Vec::new();
        let chain = Arc::clone(&self.chain);
        let admitted = chain
            .admit(&attempt.origin, Some(&attempt.user), attempt.at, &mut trail)
            .await;
        let (mut known, mut closed) = (false, false);
        for (step, method, on_fault, _) in methods(&chain) {
            if !method.answers(&attempt) {
                continue;
            }
            match method.knows_key(&attempt).await {
                KeyAnswer::Yes => known |= !closed,
                KeyAnswer::No => {}
                KeyAnswer::Fault(fault) => {
                    trail.push(note(step, "fault", &fault.0));
                    closed |= on_fault == OnFault::Stop && !known;
                }
            }
        }
        admitted.is_ok() && known
    }

    /// Tries a credential.
    pub async fn submit(&mut self, user: UserName, credential: Credential) -> Progress {
        self.trail.clear();
        self.pending = None;
        let attempt = self.attempt(user, credential);
        self.run(attempt, None).await
    }

    /// Replies to the challenge that [`Progress::Ask`] posed to `user`. Without one, or for another
    /// name, it is refused.
    pub async fn reply(&mut self, user: UserName, answers: Vec<Secret>) -> Progress {
        self.trail.clear();
        let Some(pending) = self.pending.take().filter(|pending| pending.user == user) else {
            return Progress::Refused;
        };
        let attempt = self.attempt(
            user,
            Credential::Reply {
                answers,
                state: Arc::clone(&pending.challenge.state),
            },
        );
        self.run(attempt, Some(&pending.step)).await
    }

    /// The connection ended: keys that were offered and never used count once.
    pub async fn abandon(self) {
        if let Some(user) = &self.offered {
            self.settle(Some(user), End::Abandoned).await;
        }
    }

    async fn run(&mut self, attempt: Attempt, only: Option<&Arc<str>>) -> Progress {
        let chain = Arc::clone(&self.chain);
        let gates = chain
            .admit(&attempt.origin, Some(&attempt.user), attempt.at, &mut self.trail)
            .await;
        if gates.is_err() {
            // A denied name costs what a wrong password costs; a ban is not lengthened by it.
            for (_, method, ..) in methods(&chain) {
                if method.answers(&attempt) {
                    method.decoy(&attempt).await;
                }
            }
            return Progress::Refused;
        }
        let progress = self.ask_methods(&chain, &attempt, only).await;
        match &progress {
            Progress::Done(_) => {
                self.offered = None;
                self.settle(Some(&attempt.user), End::Accepted).await;
            }
            Progress::Refused => {
                self.offered = None;
                self.settle(Some(&attempt.user), End::Refused).await;
            }
            Progress::Unavailable => self.settle(Some(&attempt.user), End::Faulted).await,
            Progress::Ask(_) => {}
        }
        progress
    }

    async fn ask_methods(&mut self, chain: &Chain, attempt: &Attempt, only: Option<&Arc<str>>) -> Progress {
        let mut end = None;
        for step in chain.steps() {
            let StepKind::Method {
                method,
                on_fault,
                on_reject,
            } = &step.kind
            else {
                continue;
            };
            if !step.enabled {
                self.trail
                    .push(note(step, "skipped", "disabled in the configuration"));
                continue;
            }
            if only.is_some_and(|name| *name != step.name) {
                continue;
            }
            if end.is_some() {
                if method.answers(attempt) {
                    method.decoy(attempt).await;
                }
                continue;
            }
            if !method.answers(attempt) {
                let why = format!("does not take {} here", attempt.credential.kind().name());
                self.trail.push(note(step, "skipped", &why));
                continue;
            }
            match method.verify(attempt).await {
                Verdict::Accept(identity) => {
                    self.trail.push(note(step, "accept", ""));
                    let method = Arc::clone(&step.name);
                    return Progress::Done(Verified {
                        method,
                        audience: self.audience,
                        identity,
                    });
                }
                Verdict::NotMine => self.trail.push(note(step, "not-mine", "does not know the name")),
                Verdict::Reject(reason) => {
                    self.trail.push(note(step, "reject", &reason.0));
                    if *on_reject == OnReject::Stop {
                        end = Some(Progress::Refused);
                    }
                }
                Verdict::Challenge(challenge) => {
                    self.trail.push(note(step, "challenge", ""));
                    self.pending = Some(Pending {
                        step: Arc::clone(&step.name),
                        user: attempt.user.clone(),
                        challenge: challenge.clone(),
                    });
                    return Progress::Ask(challenge);
                }
                Verdict::Fault(fault) => {
                    self.trail.push(note(step, "fault", &fault.0));
                    if *on_fault == OnFault::Stop {
                        end = Some(Progress::Unavailable);
                    }
                }
            }
        }
        end.unwrap_or(Progress::Refused)
    }

    async fn settle(&self, user: Option<&UserName>, end: End) {
        for step in self.chain.steps().iter().filter(|step| step.enabled) {
            if let StepKind::Gate(gate) = &step.kind {
                gate.settle(self.connection, &self.origin, user, end, SystemTime::now())
                    .await;
            }
        }
    }

    fn attempt(&self, user: UserName, credential: Credential) -> Attempt {
        Attempt {
            connection: self.connection,
            origin: self.origin.clone(),
            audience: self.audience,
            user,
            credential,
            at: SystemTime::now(),
        }
    }
}

type MethodStep<'a> = (&'a Step, &'a Arc<dyn crate::Method>, OnFault, OnReject);

fn methods(chain: &Chain) -> impl Iterator<Item = MethodStep<'_>> {
    chain
        .steps()
        .iter()
        .filter(|step| step.enabled)
        .filter_map(|step| match &step.kind {
            StepKind::Method {
                method,
                on_fault,
                on_reject,
            } => Some((step, method, *on_fault, *on_reject)),
            StepKind::Gate(_) => None,
        })
}
