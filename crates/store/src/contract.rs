//! The suite that every engine passes: accounts, bans, quotas, records and sealed secrets as their users
//! expect them.
//!
//! An engine gives a [`Place`]: an empty database that can be opened more than once, as by several
//! processes and after a restart. [`run`] gives every case a fresh one and answers with the number of
//! cases, or with everything that failed.

mod accounts;
mod bans;
mod quota;
mod records;

use async_trait::async_trait;

use crate::{Store, StoreError};

/// One empty database.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens it: again and again, and beside stores that are open.
    ///
    /// # Errors
    /// As [`Store::open`].
    async fn open(&self) -> Result<Store, StoreError>;
}

/// Where places come from.
#[async_trait]
pub trait Places: Send + Sync {
    /// A fresh one.
    async fn fresh(&self) -> Box<dyn Place>;
}

/// How a case ends: well, or with what was wrong.
type Outcome = Result<(), String>;

macro_rules! cases {
    ($places:expr, $failures:ident, $count:ident: $($module:ident :: $case:ident),* $(,)?) => {
        $(
            $count += 1;
            let place = $places.fresh().await;
            if let Err(why) = $module::$case(&*place).await {
                $failures.push(format!("{}::{}: {why}", stringify!($module), stringify!($case)));
            }
        )*
    };
}

/// Runs every case.
///
/// # Errors
/// What failed, one line each.
pub async fn run(places: &dyn Places) -> Result<usize, Vec<String>> {
    let mut failures = Vec::new();
    let mut count = 0;
    cases!(places, failures, count:
        accounts::comes_back_as_it_went_in,
        accounts::audiences_are_two_realms,
        accounts::every_change_is_kept_and_moves_the_generation,
        accounts::refusals_change_nothing,
        accounts::lists_in_the_order_of_bytes,
        accounts::survives_a_restart,
        accounts::many_writers_lose_nothing,
        accounts::a_password_changed_meanwhile_is_not_undone,
        accounts::another_process_is_noticed,
        bans::failures_count_severally_until_pruned,
        bans::a_ban_replaces_and_forgets_failures,
        bans::a_batch_is_applied_in_its_order,
        bans::many_batches_lose_nothing,
        quota::counts_what_was_established,
        quota::never_exceeds_its_limit,
        quota::extremes_do_not_wrap,
        records::are_kept_in_their_spaces,
        records::are_replaced_and_renamed_as_a_whole,
        records::are_found_by_how_their_space_begins,
        records::secrets_are_opened_by_their_key_and_name_alone,
    );
    if failures.is_empty() {
        Ok(count)
    } else {
        Err(failures)
    }
}

/// Fails with `what` unless `so`.
fn ensure(so: bool, what: impl FnOnce() -> String) -> Outcome {
    if so { Ok(()) } else { Err(what()) }
}

/// Fails unless both are the same.
fn equal<T: PartialEq + std::fmt::Debug>(got: &T, expected: &T, what: &str) -> Outcome {
    ensure(got == expected, || {
        format!("{what}: got {got:?}, expected {expected:?}")
    })
}

/// Any error as text.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
