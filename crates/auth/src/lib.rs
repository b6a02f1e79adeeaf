//! The ordered chain that lets people in.
//!
//! A [`Gate`] may refuse and can accept nobody; a [`Method`] states a fact about a credential
//! ([`Verdict`]); only the [`Chain`] turns facts into policy. A [`Flow`] is one connection's way
//! through the chain. What comes out is a [`Verified`] identity, which the [`Resolver`] turns into
//! a [`Principal`] with groups (transfer) or roles (administration).
//!
//! Invariants: [`Verified`] and [`Principal`] can be made only here; the method that accepts is the
//! only one whose identity, groups and roles count, and the triple never changes afterwards; reasons
//! go to the trail, never to the wire.

mod attempt;
mod chain;
mod flow;
mod gate;
mod method;
mod principal;
mod resolver;

pub use attempt::{Attempt, Audience, Credential, CredentialKind, PublicKey};
pub use chain::{Chain, OnFault, OnReject, Step, StepKind};
pub use flow::{Flow, Progress};
pub use gate::{Denial, End, Gate};
pub use method::{Challenge, Fault, Identity, KeyAnswer, Method, Prompt, Reason, Standing, Verdict};
pub use principal::{Principal, Verified};
pub use resolver::{GroupRule, Resolver, RoleRule, StepRules};
