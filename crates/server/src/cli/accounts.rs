//! `account …` and `admin …`.

use std::path::PathBuf;

use super::{Failure, Out, ask, show};
use crate::control::{AccountRequest, Realm, Request};

/// A configuration and what is asked.
pub(crate) type Parts = (PathBuf, AccountRequest);

/// Asks it.
pub(super) fn run(realm: Realm, (config, what): Parts, out: &mut Out) -> Result<(), Failure> {
    let show = match &what {
        AccountRequest::List => show::accounts,
        AccountRequest::Remove { .. } => show::done,
        _ => show::account,
    };
    ask::ask(&config, Request::Account { realm, what }, out, show)
}
