//! The suite that every backend and every layer passes: the contract and V1-V8 as executable cases.
//!
//! A backend gives a [`Fixture`]; [`run`] gives every case a fresh [`Stage`] and answers with a
//! [`Report`], or with everything that failed. What a backend cannot do by its own
//! [`crate::Capabilities`] is skipped, and `refusals` asserts that it is refused instead.
//!
//! Invariant: cases use the contract alone, wait for nothing but answers, and know no backend.

mod attributes;
mod copying;
mod directories;
mod exclusive;
mod listing;
mod names;
mod partials;
mod reading;
mod refusals;
mod renaming;
mod report;
mod room;
mod writing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use portreeve_model::VPath;

use crate::FileSystem;
pub use report::{Failures, Report, Stop};
pub use room::Room;

/// How long a case may take before it counts as hanging: far more than any needs.
const HANGS: Duration = Duration::from_secs(120);

/// What a backend brings to be tested.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A fresh, empty storage (but for its sample).
    async fn stage(&self) -> Box<dyn Stage>;
}

/// One fresh storage, for one case. It owns what must live as long, such as a temporary directory.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The storage.
    fn fs(&self) -> Arc<dyn FileSystem>;

    /// The directory in which the cases work: it is there.
    fn base(&self) -> VPath {
        VPath::root()
    }

    /// A file that is there from the start, with its content: what read-only storages are tested by.
    fn sample(&self) -> Option<(VPath, Vec<u8>)> {
        None
    }

    /// The same storage opened anew, as after a restart; none where it cannot be.
    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        None
    }

    /// Ends when what dropped handles left to a reaper is done.
    async fn settle(&self) {}
}

/// One case.
pub struct Case {
    /// `topic::what it proves`.
    pub name: &'static str,
    /// The rule that it proves.
    pub rule: &'static str,
    run: for<'a> fn(&'a Room) -> BoxFuture<'a, Result<(), Stop>>,
}

macro_rules! cases {
    ($($topic:ident { $($case:ident: $rule:literal,)* })*) => {
        /// Every case, in the order in which they run.
        pub const CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($topic), "::", stringify!($case)),
            rule: $rule,
            run: |room| Box::pin($topic::$case(room)),
        },)*)*];
    };
}

cases! {
    reading {
        sample: "stat, listing and content of a file that is there agree",
        ranges: "any range; fewer bytes only at the end; what is in the buffer stays",
        parallel: "many reads at once on one handle",
        sequential: "from the start on, in odd pieces",
        wrong_kinds: "NotFound, IsDir, NotDir",
        outlives_replacement: "an open file is never a mixture of two",
    }
    writing {
        pieces: "pieces of one write are laid end to end",
        empty_file: "a file of no bytes is a file",
        sparse_and_out_of_order: "any offset; gaps are zeros",
        parallel: "many writes at once on one handle",
        nothing_before_commit: "V1: nobody sees it before commit, whole and exact after it",
        nothing_after_discard: "V1: discard leaves nothing",
        nothing_after_drop: "V1: drop shows nothing",
        old_content_until_commit: "V1: the old file is whole until commit",
        read_back: "a handle opened for both reads what it wrote",
        live_size: "V1: the handle tells the live size",
        truncate_on_handle: "size is set at once, shorter and longer",
        truncate_by_path: "size by path",
        update_in_place: "V6: update changes some bytes and keeps the rest",
        append: "V6: append adds at the end whatever offset is given",
        append_missing: "Append and Update without create on nothing are NotFound",
        ended_handle: "an ended handle refuses everything",
        wrong_places: "IsDir, NotDir, NotFound for the place of a new file",
        sync_is_not_commit: "sync makes durable, not visible",
    }
    exclusive {
        at_open: "CreateNew on a taken name is Exists",
        at_commit: "V7: CreateNew is exclusive at commit too",
        race: "V7: of many CreateNew at once exactly one wins",
        last_commit_wins: "V7: two writers of one name, the last commit wins",
        keep_after_failed_commit: "after a failed commit keep works",
        retarget_after_failed_commit: "after a failed commit another name works",
        discard_after_failed_commit: "after a failed commit discard works",
    }
    partials {
        resume: "V2: what was kept is gone on with",
        wrong_offset: "V2: a wrong offset is Conflict, names the length and costs nothing",
        resume_complete_file: "V2: a complete file of that length is gone on with",
        seen_by_owner_alone: "V2: by its owner, whatever the session, and by nobody else",
        never_listed: "V2, V8: in no listing, in no stat",
        told_by_directory: "V2: each once, to its owner alone, in its own directory",
        told_while_they_last: "V2: told by directory exactly as long as by exact name",
        incomplete_on_read: "V2: reading says incomplete and names the length",
        dropped_by_replace: "V2: plain Replace starts anew",
        continued_by_append: "V2: Append goes on with it",
        continued_by_update: "V2: Update works on it",
        removed_by_owner: "V2: Removal::File removes it",
        gone_with_its_name: "V2: a rename onto its name, and removing the file there, drop it",
        swept_by_rmdir: "V8: rmdir sweeps kept partials",
        beside_the_old_file: "V2: an interrupted replacement leaves the old file",
        after_restart: "V2: survives a restart",
        drop_keeps: "V2: a dropped handle leaves what keep would",
    }
    names {
        hostile: "newlines, quotes, emoji, leading dash and dot, blanks: kept byte for byte",
        longest: "names of the longest length, in files, directories and renames",
        not_utf8: "any bytes, or InvalidName",
        deep: "deep paths",
        like_temp_names: "V8: a name that is refused is refused clearly, never hidden after commit",
    }
    listing {
        whole: "every entry once, with exact sizes, in pages of any size",
        by_cursor: "goes on at a cursor",
        under_change: "what stays is listed once, whatever comes and goes",
        no_dots: "neither . nor .. nor temp names while a file is written",
        many: "more entries than a page",
        wrong_kinds: "NotFound, NotDir",
    }
    renaming {
        plain: "a new name, the same content",
        moved: "another directory, the same name; another name only where files can be renamed",
        no_replace: "NoReplace on a taken name is Exists and changes nothing",
        replace: "Replace replaces",
        no_replace_race: "of many NoReplace at once exactly one wins",
        missing: "NotFound",
        directory: "a directory with what is in it",
        into_itself: "a directory cannot be moved into itself",
        over_other_kinds: "a file over a directory and a directory over a file are refused",
        root: "the root can be neither renamed nor removed",
        while_written: "V1: retarget changes the name that commit gives",
        retarget_no_replace: "V7: a NoReplace retarget holds until commit",
    }
    directories {
        make: "make, list, stat, remove",
        taken: "Exists",
        orphan: "the parent must be there",
        not_empty: "NotEmpty, and nothing is lost",
        wrong_kinds: "Removal::File on a directory is IsDir, Removal::Dir on a file is NotDir",
        remove_file: "a removed file is gone",
        removed_under_a_writer: "a commit never brings a removed directory back",
    }
    attributes {
        times_last: "V7: times set on the handle or at open survive commit",
        times_by_path: "times by path",
        mode_stripped: "set-user-id, set-group-id and sticky never stick",
        replacing_keeps_mode: "V7: replacing keeps the mode",
        missing: "NotFound",
    }
    copying {
        plain: "a copy is equal and independent",
        no_replace: "NoReplace on a taken name is Exists",
        missing: "NotFound, IsDir",
        hard_link: "a second name of one file; exclusive",
        space: "free is at most total",
    }
    refusals {
        read_only: "a read-only storage refuses every change",
        each_capability: "what the capabilities deny is refused, not ignored",
    }
}

/// Runs every case.
///
/// # Errors
/// [`Failures`]: each case that failed, with where and why.
pub async fn run(fixture: &dyn Fixture) -> Result<Report, Failures> {
    run_where(fixture, |_| true).await
}

/// Runs the cases whose name is chosen.
///
/// # Errors
/// As [`run`].
pub async fn run_where(fixture: &dyn Fixture, chosen: impl Fn(&str) -> bool) -> Result<Report, Failures> {
    let mut report = Report::default();
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        let room = Room::new(fixture.stage().await);
        let outcome = match tokio::time::timeout(HANGS, (case.run)(&room)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Stop::fail("it hangs")),
        };
        report.add(case, outcome);
    }
    report.finish()
}

#[cfg(test)]
mod sabotage;
#[cfg(test)]
mod tests;
