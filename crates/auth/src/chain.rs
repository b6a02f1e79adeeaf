//! The ordered steps, and what follows from their facts.

mod explain;

use std::{sync::Arc, time::SystemTime};

use portreeve_model::{Origin, TrailStep, UserName, options::DurationText};

pub use explain::{Candidate, Explained};

use crate::{
    CredentialKind, Denial, Fault, Gate, Method, Principal, Reason, Standing, Verified,
    contained::{BROKE_DOWN, contained},
};

/// What follows when a method cannot find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    /// The login ends: fail closed. The default.
    Stop,
    /// The next step is asked (`on_unavailable = "next"`): a way around a method that is down, so it
    /// has to be chosen.
    Next,
}

/// What follows when a method rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReject {
    /// The login ends. The default.
    Stop,
    /// The next step is asked (`on_reject = "next"`).
    Next,
}

/// One step of the chain.
#[derive(Clone)]
pub struct Step {
    /// Its name in the configuration: unique within the chain.
    pub name: Arc<str>,
    /// A disabled step is skipped.
    pub enabled: bool,
    /// What it is.
    pub kind: StepKind,
}

/// A gate, or a method with its policy.
#[derive(Clone)]
pub enum StepKind {
    /// May refuse, cannot accept.
    Gate(Arc<dyn Gate>),
    /// States facts.
    Method {
        /// The method.
        method: Arc<dyn Method>,
        /// When it cannot find out.
        on_fault: OnFault,
        /// When it rejects.
        on_reject: OnReject,
    },
}

impl Step {
    /// A gate.
    #[must_use]
    pub fn gate(name: impl Into<Arc<str>>, gate: Arc<dyn Gate>) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            kind: StepKind::Gate(gate),
        }
    }

    /// A method that fails closed.
    #[must_use]
    pub fn method(name: impl Into<Arc<str>>, method: Arc<dyn Method>) -> Self {
        let kind = StepKind::Method {
            method,
            on_fault: OnFault::Stop,
            on_reject: OnReject::Stop,
        };
        Self {
            name: name.into(),
            enabled: true,
            kind,
        }
    }
}

/// The steps in their order: immutable, shared by all connections of a world.
#[derive(Clone, Default)]
pub struct Chain {
    steps: Vec<Step>,
}

impl Chain {
    /// From steps in order.
    #[must_use]
    pub const fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// The part of the chain that a listener names, in the chain's own order; `Err` holds the first
    /// name that is no step.
    ///
    /// # Errors
    /// The unknown name.
    pub fn subset(&self, names: &[String]) -> Result<Self, String> {
        if let Some(unknown) = names
            .iter()
            .find(|name| !self.steps.iter().any(|s| *s.name == **name))
        {
            return Err(unknown.clone());
        }
        let steps = self
            .steps
            .iter()
            .filter(|step| names.iter().any(|name| **name == *step.name));
        Ok(Self::new(steps.cloned().collect()))
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The kinds of credential that some enabled method takes.
    #[must_use]
    pub fn takes(&self) -> Vec<CredentialKind> {
        let mut kinds = Vec::new();
        for step in self.steps.iter().filter(|step| step.enabled) {
            if let StepKind::Method { method, .. } = &step.kind {
                for kind in method.takes() {
                    if !kinds.contains(kind) {
                        kinds.push(*kind);
                    }
                }
            }
        }
        kinds
    }

    /// Asks every gate, at accept (`user` is `None`) or before a try. What each said is added to `trail`.
    ///
    /// # Errors
    /// The first denial.
    pub async fn admit(
        &self,
        origin: &Origin,
        user: Option<&UserName>,
        now: SystemTime,
        trail: &mut Vec<TrailStep>,
    ) -> Result<(), Denial> {
        let asked = self.ask_gates(origin, user, now, trail).await;
        asked.denial.map_or(Ok(()), Err)
    }

    /// Asks every gate, whatever the others say: who admitted has to learn how it went on.
    pub(crate) async fn ask_gates(
        &self,
        origin: &Origin,
        user: Option<&UserName>,
        now: SystemTime,
        trail: &mut Vec<TrailStep>,
    ) -> Asked<'_> {
        let mut asked = Asked {
            denial: None,
            admitted: Vec::new(),
        };
        for step in &self.steps {
            let StepKind::Gate(gate) = &step.kind else {
                continue;
            };
            if !step.enabled {
                trail.push(note(step, "skipped", "disabled in the configuration"));
                continue;
            }
            let answer = contained(gate.admit(origin, user, now)).await;
            match answer.unwrap_or_else(|| {
                Err(Denial {
                    why: BROKE_DOWN.into(),
                })
            }) {
                Ok(()) => {
                    trail.push(note(step, "admit", ""));
                    asked.admitted.push(gate);
                }
                Err(denial) => {
                    trail.push(note(step, "deny", &denial.why));
                    asked.denial.get_or_insert(denial);
                }
            }
        }
        asked
    }

    /// How a live principal stands: asked of the method that accepted it, and of no other.
    pub async fn standing(&self, who: &Principal) -> Renewal {
        let step = self.steps.iter().find(|step| *step.name == *who.method());
        let Some(StepKind::Method { method, .. }) = step.filter(|step| step.enabled).map(|step| &step.kind)
        else {
            return Renewal::Gone(Reason(format!(
                "the method '{}' that let the session in is no longer in the chain",
                who.method()
            )));
        };
        let asked = method.still_valid(who.identity(), who.audience());
        match within(&**method, asked, Standing::Unknown).await {
            Standing::Valid => Renewal::Valid,
            Standing::Changed(identity) if identity.subject == who.identity().subject => {
                Renewal::Changed(Verified {
                    method: Arc::clone(&who.0.verified.method),
                    audience: who.audience(),
                    identity,
                })
            }
            Standing::Changed(_) => Renewal::Gone(Reason(format!(
                "the method '{}' now knows somebody else by the name '{}'",
                who.method(),
                who.user()
            ))),
            Standing::Gone(reason) => Renewal::Gone(reason),
            Standing::Unknown(fault) => Renewal::Unknown(fault),
        }
    }

    /// A number that differs as soon as any method's knowledge of any account has changed: whoever
    /// remembers a sign-in forgets it then. Compare it within one chain only.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.steps.iter().fold(0, |sum, step| match &step.kind {
            StepKind::Method { method, .. } => sum.wrapping_add(method.generation()),
            StepKind::Gate(_) => sum,
        })
    }
}

/// What [`Chain::standing`] found.
#[derive(Debug)]
pub enum Renewal {
    /// As it was.
    Valid,
    /// The same person with other groups, roles or claims: to be resolved anew.
    Changed(Verified),
    /// Disabled, expired, removed, or the method itself is gone: the session ends.
    Gone(Reason),
    /// The method could not find out: the session goes on.
    Unknown(Fault),
}

/// What the gates said.
pub(crate) struct Asked<'a> {
    pub(crate) denial: Option<Denial>,
    pub(crate) admitted: Vec<&'a Arc<dyn Gate>>,
}

/// An answer in time, or the fault that there was none.
pub(crate) async fn within<T>(
    method: &dyn Method,
    answer: impl Future<Output = T>,
    otherwise: impl FnOnce(Fault) -> T,
) -> T {
    let deadline = method.deadline();
    match tokio::time::timeout(deadline, contained(answer)).await {
        Ok(Some(answer)) => answer,
        Ok(None) => otherwise(Fault(BROKE_DOWN.into())),
        Err(_) => otherwise(Fault(format!("no answer within {}", DurationText(deadline)))),
    }
}

pub(crate) fn note(step: &Step, verdict: &'static str, why: &str) -> TrailStep {
    TrailStep {
        step: step.name.to_string(),
        verdict,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests;
