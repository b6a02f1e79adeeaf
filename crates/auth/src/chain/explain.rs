//! What the chain would do with a name, without any credential.
//!
//! Invariant: the walk is that of a try to sign in ([`crate::Flow`]): steps in order, those left out that
//! do not take the credential, and each step's policy on what it says.

use std::sync::Arc;

use portreeve_model::TrailStep;

use super::{Chain, OnFault, OnReject, StepKind, note, within};
use crate::{Explanation, Identity, Inquiry, Reason};

/// A step that a try would come to and that knows the name. No proof of anything.
#[derive(Debug)]
pub struct Candidate {
    /// The step.
    pub step: Arc<str>,
    /// Whom it would sign in.
    pub identity: Identity,
    /// Why it refuses whatever it is shown; none where the right credential is let in.
    pub barred: Option<Reason>,
}

/// What [`Chain::explain`] found.
#[derive(Debug)]
pub struct Explained {
    /// What each step said; methods that would decide say `known` or `reject`.
    pub trail: Vec<TrailStep>,
    /// Why the gates refuse.
    pub denied: Option<String>,
    /// Who knows the name, in the order of a try. Beside a barred one, more than one only where a step
    /// has `on_reject = "next"`: a credential that is wrong for it may be right for the next.
    pub candidates: Vec<Candidate>,
    /// The step that ends every try for this name, and why: it rejects, or cannot find out.
    pub ended: Option<(Arc<str>, Reason)>,
}

impl Explained {
    /// The first step that lets the right credential in.
    #[must_use]
    pub fn open(&self) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|candidate| candidate.barred.is_none())
    }
}

impl Chain {
    /// What the chain would do with such a try: for `explain`, never for a door.
    pub async fn explain(&self, inquiry: &Inquiry<'_>) -> Explained {
        let mut trail = Vec::new();
        let asked = self
            .ask_gates(inquiry.origin, Some(inquiry.user), inquiry.at, &mut trail)
            .await;
        let mut explained = Explained {
            trail,
            denied: asked.denial.map(|denial| denial.why),
            candidates: Vec::new(),
            ended: None,
        };
        for step in &self.steps {
            let StepKind::Method {
                method,
                on_fault,
                on_reject,
            } = &step.kind
            else {
                continue;
            };
            let mut say = |verdict, why: &str| explained.trail.push(note(step, verdict, why));
            if !step.enabled {
                say("skipped", "disabled in the configuration");
                continue;
            }
            if !method.takes().contains(&inquiry.credential) {
                say(
                    "skipped",
                    &format!("does not take a {}", inquiry.credential.name()),
                );
                continue;
            }
            let said = within(&**method, method.explain(inquiry), Explanation::Unavailable).await;
            match said {
                Explanation::Silent => say("silent", "says nothing without a credential; it may decide"),
                Explanation::Unknown => say("not-mine", "does not know the name"),
                Explanation::Unavailable(fault) => {
                    say("fault", &fault.0);
                    if *on_fault == OnFault::Stop {
                        explained.ended = Some((Arc::clone(&step.name), Reason(fault.0)));
                        break;
                    }
                }
                Explanation::Known {
                    identity,
                    barred,
                    state,
                } => {
                    let barred = match barred {
                        Some(reason) => Some(reason),
                        None => self.denies_known(&identity, inquiry).await,
                    };
                    match &barred {
                        Some(reason) => say("reject", &reason.0),
                        None => say("known", &state),
                    }
                    let step_name = Arc::clone(&step.name);
                    let stop = *on_reject == OnReject::Stop;
                    if let Some(reason) = barred.clone().filter(|_| stop) {
                        explained.ended = Some((Arc::clone(&step_name), reason));
                    }
                    explained.candidates.push(Candidate {
                        step: step_name,
                        identity,
                        barred,
                    });
                    if stop {
                        break;
                    }
                }
            }
        }
        explained
    }

    /// Who is accepted passes the gates once more, by the name that the method knows.
    async fn denies_known(&self, identity: &Identity, inquiry: &Inquiry<'_>) -> Option<Reason> {
        if identity.user == *inquiry.user {
            return None;
        }
        let asked = self
            .ask_gates(inquiry.origin, Some(&identity.user), inquiry.at, &mut Vec::new())
            .await;
        let denial = asked.denial?;
        Some(Reason(format!(
            "the method knows the person as '{}': {}",
            identity.user, denial.why
        )))
    }
}
