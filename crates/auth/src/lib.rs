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

mod account;
mod accounts;
mod anonymous;
mod application;
mod attempt;
mod bans;
mod chain;
mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contained;
mod deny_username;
#[cfg(test)]
mod fakes;
mod flow;
mod gate;
mod hasher;
mod ip_time_ban;
mod local_file;
mod method;
mod option_error;
mod principal;
mod resolver;
mod ssh_keys;

pub use account::{KEY_CLAIM, MAIL_CLAIM, PASSWORD_CLAIM};
pub use accounts::{Account, AccountChange, AccountKey, Accounts, AccountsError, Membership};
pub use anonymous::{ANONYMOUS_MAIL_CLAIM, Anonymous, AnonymousOptions};
pub use application::{Application, ApplicationOptions};
pub use attempt::{Attempt, Audience, Credential, CredentialKind, PublicKey};
pub use bans::{Ban, BanBook, BanBookError, BanChange, BanRecords};
pub use chain::{Candidate, Chain, Explained, OnFault, OnReject, Renewal, Step, StepKind};
pub use clock::{Clock, MachineClock};
pub use deny_username::{DenyUsername, DenyUsernameOptions};
pub use flow::{Flow, Progress};
pub use gate::{Denial, End, Gate};
pub use hasher::{Check, HashCost, HashError, Hasher, MAX_PASSWORD, StoredHash, hash_password};
pub use ip_time_ban::{BanList, BannedSource, IpTimeBan, IpTimeBanOptions, MAX_BAN};
pub use local_file::{FileProblem, FileProblems, LocalFile, LocalFileOptions, local_file_accounts};
pub use method::{
    Challenge, Explanation, Fault, Identity, Inquiry, KeyAnswer, Method, Prompt, Reason, Standing, Verdict,
};
pub use option_error::OptionError;
pub use principal::{EXPIRES_CLAIM, Principal, READ_ONLY_CLAIM, Verified};
pub use resolver::{GroupRule, Parts, Resolver, RoleRule, StepRules, folder};
pub use ssh_keys::{AuthorizedKey, KeyLineError, KeyRules};
