//! The ordered steps, and what follows from their facts.

use std::{sync::Arc, time::SystemTime};

use portreeve_model::{Origin, TrailStep, UserName};

use crate::{CredentialKind, Denial, Gate, Identity, Method, Principal, Standing};

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
        for step in &self.steps {
            let StepKind::Gate(gate) = &step.kind else {
                continue;
            };
            if !step.enabled {
                trail.push(note(step, "skipped", "disabled in the configuration"));
                continue;
            }
            match gate.admit(origin, user, now).await {
                Ok(()) => trail.push(note(step, "admit", "")),
                Err(denial) => {
                    trail.push(note(step, "deny", &denial.why));
                    return Err(denial);
                }
            }
        }
        Ok(())
    }

    /// How a live principal stands: asked of the method that accepted it, and of no other.
    pub async fn standing(&self, who: &Principal) -> Standing {
        let step = self.steps.iter().find(|step| *step.name == *who.method());
        match step.filter(|step| step.enabled).map(|step| &step.kind) {
            Some(StepKind::Method { method, .. }) => method.still_valid(who.identity()).await,
            _ => Standing::Gone(crate::Reason(format!(
                "the method '{}' that let the session in is no longer in the chain",
                who.method()
            ))),
        }
    }

    /// As `who`, with what its method knows now: the proof stays with the method that accepted.
    #[must_use]
    pub fn renewed(&self, who: &Principal, identity: Identity) -> crate::Verified {
        crate::Verified {
            method: Arc::clone(&who.0.verified.method),
            audience: who.audience(),
            identity,
        }
    }
}

pub(crate) fn note(step: &Step, verdict: &'static str, why: &str) -> TrailStep {
    TrailStep {
        step: step.name.to_string(),
        verdict,
        why: why.to_owned(),
    }
}
