//! One connection's way through the chain.

use std::sync::Arc;

use portreeve_model::{ConnectionId, Origin, Secret, TrailStep, UserName};

use crate::{
    Attempt, Audience, Chain, Challenge, Clock, Credential, CredentialKind, End, Gate, KeyAnswer,
    MachineClock, OnFault, OnReject, PublicKey, Verdict, Verified,
    chain::{Step, StepKind, note, within},
    contained::contained,
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
    /// Who was named with keys that let nobody in, so far.
    offered: Option<UserName>,
    /// What the steps said to the first key that was offered.
    offer_trail: Vec<TrailStep>,
    /// Whether a gate was told of a refusal on this connection.
    counted: bool,
    trail: Vec<TrailStep>,
    clock: Arc<dyn Clock>,
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
            offer_trail: Vec::new(),
            counted: false,
            trail: Vec::new(),
            clock: Arc::new(MachineClock::default()),
        }
    }

    /// With another clock by which tries are dated, hence accounts and keys expire.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
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
        let attempt = self.attempt(user, Credential::PublicKey(key));
        let chain = Arc::clone(&self.chain);
        let mut trail = Vec::new();
        let gates = chain
            .ask_gates(&attempt.origin, Some(&attempt.user), attempt.at, &mut trail)
            .await;
        let (mut known, mut closed) = (false, false);
        for (step, method, on_fault, _) in methods(&chain) {
            if !method.answers(&attempt) {
                continue;
            }
            match within(&**method, method.knows_key(&attempt), KeyAnswer::Fault).await {
                KeyAnswer::Yes => known |= !closed,
                KeyAnswer::No => trail.push(note(step, "not-mine", "does not take the key that was offered")),
                KeyAnswer::Fault(_) => closed |= on_fault == OnFault::Stop,
            }
        }
        let admitted = gates.denial.is_none();
        if self.offered.is_none() {
            self.offer_trail = trail;
        }
        self.offered.get_or_insert(attempt.user);
        admitted && known
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

    /// The connection ended: answers whose keys were offered in vain, and what the steps said. Keys that were offered and let nobody in count once, however many they
    /// were, and not at all where a password was counted already.
    pub async fn abandon(mut self) -> Option<(UserName, Vec<TrailStep>)> {
        let user = self.offered.take().filter(|_| !self.counted)?;
        let chain = Arc::clone(&self.chain);
        // A gate that refuses now has refused or would refuse the offers too: it is not told.
        let gates = chain
            .ask_gates(&self.origin, Some(&user), self.clock.wall(), &mut Vec::new())
            .await;
        self.settle(&gates.admitted, &user, End::Abandoned).await;
        Some((user, self.offer_trail))
    }

    async fn run(&mut self, attempt: Attempt, only: Option<&Arc<str>>) -> Progress {
        let chain = Arc::clone(&self.chain);
        let mut gates = chain
            .ask_gates(&attempt.origin, Some(&attempt.user), attempt.at, &mut self.trail)
            .await;
        let mut progress = Progress::Refused;
        if gates.denial.is_none() {
            progress = self.ask_methods(&chain, &attempt, only).await;
        } else {
            // A denied name costs what a wrong password costs.
            for (_, method, ..) in methods(&chain) {
                if method.answers(&attempt) {
                    within(&**method, method.decoy(&attempt), drop).await;
                }
            }
        }
        if let Progress::Done(verified) = &progress {
            // While the method looked, other tries may have earned the address a ban; and the method
            // may know the person by a name that is denied.
            let mut trail = Vec::new();
            let name = &verified.identity.user;
            gates = chain
                .ask_gates(&attempt.origin, Some(name), self.clock.wall(), &mut trail)
                .await;
            if gates.denial.is_some() {
                self.trail.extend(trail);
                progress = Progress::Refused;
            }
        }
        match (&progress, attempt.credential.kind()) {
            (Progress::Done(_), _) => {
                self.offered = None;
                self.settle(&gates.admitted, &attempt.user, End::Accepted).await;
            }
            // Clients try their keys one after the other, with or without asking before: they count
            // once, when the connection ends. Asking for `none` is how SSH clients learn what is taken.
            (Progress::Refused, CredentialKind::PublicKey) => {
                self.offered.get_or_insert(attempt.user);
            }
            (Progress::Refused, CredentialKind::Nothing) | (Progress::Ask(_), _) => {}
            (Progress::Refused, CredentialKind::Password | CredentialKind::Reply) => {
                self.counted = true;
                self.settle(&gates.admitted, &attempt.user, End::Refused).await;
            }
            (Progress::Unavailable, _) => {
                self.settle(&gates.admitted, &attempt.user, End::Faulted).await;
            }
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
                    within(&**method, method.decoy(attempt), drop).await;
                }
                continue;
            }
            if !method.answers(attempt) {
                let why = format!("does not take {} here", attempt.credential.kind().name());
                self.trail.push(note(step, "skipped", &why));
                continue;
            }
            match within(&**method, method.verify(attempt), Verdict::Fault).await {
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

    async fn settle(&self, gates: &[&Arc<dyn Gate>], user: &UserName, end: End) {
        let now = self.clock.wall();
        for gate in gates {
            // A gate that breaks down over it has not counted; the others do.
            contained(gate.settle(self.connection, &self.origin, Some(user), end, now)).await;
        }
    }

    fn attempt(&self, user: UserName, credential: Credential) -> Attempt {
        Attempt {
            connection: self.connection,
            origin: self.origin.clone(),
            audience: self.audience,
            user,
            credential,
            at: self.clock.wall(),
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

#[cfg(test)]
mod panics;
#[cfg(test)]
mod tests;
