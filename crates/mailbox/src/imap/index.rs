//! What is known of a folder's messages, kept between listings.
//!
//! Invariants: an index is immutable; a newer one takes its place as a whole. It is brought up to date by what
//! opening the folder tells, by the flags of all messages where that differs, and by the structure of those
//! that are new: no body is ever fetched for it. All indexes together are bounded.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    answer::Answer,
    connection::{Connection, Selected},
    error::{ImapError, Kind},
    ledger::{Records, natural},
    row::{FIELDS, Known, Row, keywords},
    wire::Value,
};
use crate::{FolderId, MessageId};

/// How many messages are asked for in one command.
const RANGE: usize = 200;
/// How many messages' flags are asked for in one command: with eighty flags each, that is still an answer that is
/// held.
pub(super) const FLAGS: usize = 10_000;
/// Into how many commands one is taken apart of which the answer is too large.
const APART: usize = 8;
/// How much of the header fields of one message is asked for, in bytes: of very long ones the rest would break the
/// connection, and with it each look at the folder.
pub(super) const HEADER: usize = 256 << 10;
/// Longest list of UIDs in one command, in bytes.
const MAX_SET: usize = 4_000;

/// A folder's messages.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// What the folder said of itself when this was made.
    pub(super) state: Option<Selected>,
    /// Changes whenever the messages do.
    pub(super) revision: u64,
    /// By UID.
    pub(super) known: BTreeMap<u32, Arc<Known>>,
    ids: HashMap<MessageId, u32>,
    /// Messages and attachments.
    pub(super) entries: usize,
    /// Whether some messages were not shown, were left out since they may be in the making, or go by ids that may not be theirs: it
    /// is not to be taken for what the folder holds.
    partial: bool,
    /// Whether the records changed while it was made.
    torn: bool,
}

impl Index {
    /// One message.
    pub(super) fn find(&self, id: &MessageId) -> Option<&Arc<Known>> {
        self.known.get(self.ids.get(id)?)
    }

    /// Whether a folder that says this of itself still holds the same messages with the same flags.
    pub(super) fn holds(&self, now: &Selected) -> bool {
        let Some(then) = &self.state else {
            return false;
        };
        // Without modification sequences, flags may have changed and nothing tells.
        !self.partial
            && then.modseq.is_some()
            && (then.validity, then.next, then.exists, then.modseq)
                == (now.validity, now.next, now.exists, now.modseq)
    }

    /// Whether it holds all that the folder does: a message that is not in it is gone.
    pub(super) const fn whole(&self) -> bool {
        !self.partial
    }

    /// The same, made of records that have changed meanwhile.
    pub(super) fn torn(self) -> Self {
        Self {
            partial: true,
            torn: true,
            ..self
        }
    }

    /// A newer index; `known` and `records` tell what the messages are.
    fn new(state: Selected, revision: u64, known: BTreeMap<u32, Arc<Known>>, partial: bool) -> Self {
        let ids = known.iter().map(|(uid, known)| (known.message.id.clone(), *uid));
        let entries = known.values().map(|known| known.message.entries()).sum();
        Self {
            ids: ids.collect(),
            state: Some(state),
            revision,
            known,
            entries,
            partial,
            torn: false,
        }
    }
}

/// Brings an index up to date on a connection that has just opened the folder. None: the folder holds more
/// than `max_entries`.
pub(super) async fn update(
    connection: &mut Connection,
    before: Option<&Index>,
    records: &Records,
    revision: u64,
    max_entries: usize,
) -> Result<Option<Index>, ImapError> {
    let Some(state) = connection.selected().cloned() else {
        return Err(ImapError::lost("no folder is open"));
    };
    if state.exists as usize > max_entries {
        return Ok(None);
    }
    let before = before.filter(|before| {
        let then = before.state.as_ref();
        then.is_some_and(|then| then.validity == state.validity)
    });
    let (mut live, whole) = flags(connection, state.exists as usize, FLAGS).await?;
    for uid in records.replaced() {
        live.remove(&uid);
    }
    let mut partial = !whole;
    if let Some(from) = records.being_written() {
        let count = live.len();
        live.retain(|uid, _| *uid < from);
        partial |= live.len() < count;
    }
    let ids = ids(state.validity, &live, records);
    let mut known = BTreeMap::new();
    let mut unknown = Vec::new();
    for (uid, row) in &live {
        // The id may be right and the parts' not, where it was made before the record of it was there.
        let sound = before.filter(|before| !before.torn || !records.aliases.contains_key(uid));
        let same = sound.and_then(|before| before.known.get(uid)).filter(|known| {
            Some(&known.message.id) == ids.get(uid)
                && known
                    .keywords
                    .iter()
                    .eq(keywords(row.flags.as_deref().unwrap_or_default()))
        });
        match same {
            Some(same) => {
                known.insert(*uid, Arc::clone(same));
            }
            None => unknown.push(*uid),
        }
    }
    let mut entries: usize = known.values().map(|known| known.message.entries()).sum();
    for range in unknown.chunks(RANGE) {
        for row in details(connection, range).await? {
            // Deleted in between.
            if row.has("\\Deleted") {
                continue;
            }
            let Some(id) = ids.get(&row.uid) else {
                continue;
            };
            let removed = records
                .aliases
                .get(&row.uid)
                .map(|alias| alias.removed.as_slice());
            let one = Known::new(row, id.clone(), removed.unwrap_or_default());
            entries += one.message.entries();
            if entries > max_entries {
                return Ok(None);
            }
            known.insert(one.uid, Arc::new(one));
        }
    }
    Ok(Some(Index::new(state, revision, known, partial)))
}

/// The flags of all messages of the open folder, `at_once` in one command; those marked as deleted are left out. Tells
/// too whether as many were shown as `exists` says and are not known to have gone since.
pub(super) async fn flags(
    connection: &mut Connection,
    exists: usize,
    at_once: usize,
) -> Result<(BTreeMap<u32, Row>, bool), ImapError> {
    let mut expected = exists;
    let mut commands = Vec::new();
    if exists > at_once {
        // By their UIDs: positions change between two commands.
        let answer = connection.run("UID SEARCH ALL").await?;
        expected = expected.saturating_sub(expunged(&answer));
        let found = answer.data.iter().filter(|data| data.name == "SEARCH");
        let numbers = found.flat_map(|data| &data.values).filter_map(Value::number);
        let uids: BTreeSet<u32> = numbers.filter_map(|uid| u32::try_from(uid).ok()).collect();
        if uids.len() < expected {
            // Found some other way than it tells (ESEARCH, RFC 9051), or not all: by position, since no message may
            // go while FETCH by position is answered, nor between two of them (RFC 3501 §7.4.1).
            commands = by_position(expected, at_once);
        }
        let uids: Vec<u32> = uids.into_iter().collect();
        for some in uids.chunks(at_once.max(1)).filter(|_| uids.len() >= expected) {
            if let (Some(first), Some(last)) = (some.first(), some.last()) {
                commands.push(format!("UID FETCH {first}:{last}"));
            }
        }
    } else if exists > 0 {
        commands.push("UID FETCH 1:*".to_owned());
    }
    let mut live = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for command in commands {
        let answer = connection.run(&format!("{command} (UID FLAGS)")).await?;
        expected = expected.saturating_sub(expunged(&answer));
        for row in answer.data.iter().filter_map(Row::read) {
            seen.insert(row.uid);
            if row.flags.is_some() && !row.has("\\Deleted") {
                live.insert(row.uid, row);
            }
        }
    }
    if seen.is_empty() && expected > 0 {
        return Err(ImapError::new(
            Kind::Unsupported,
            "the mail server shows none of the messages that it says are in the folder",
        ));
    }
    Ok((live, seen.len() >= expected))
}

/// Commands for `count` messages by their positions.
fn by_position(count: usize, at_once: usize) -> Vec<String> {
    let firsts = (1..=count).step_by(at_once.max(1));
    let command = |first: usize| match first.saturating_add(at_once.max(1)) {
        // What came since is at the end.
        next if next > count => format!("FETCH {first}:*"),
        next => format!("FETCH {first}:{}", next.saturating_sub(1)),
    };
    firsts.map(command).collect()
}

/// How many messages went, as an answer tells beside.
fn expunged(answer: &Answer) -> usize {
    answer.data.iter().filter(|data| data.name == "EXPUNGE").count()
}

/// The ids of messages: that of the one they stand for, unless another message of the folder has it.
fn ids(validity: u32, live: &BTreeMap<u32, Row>, records: &Records) -> HashMap<u32, MessageId> {
    let mut taken: HashSet<MessageId> = live
        .keys()
        .filter(|uid| !records.aliases.contains_key(uid))
        .map(|uid| natural(validity, *uid))
        .collect();
    let mut ids = HashMap::new();
    for uid in live.keys() {
        let own = natural(validity, *uid);
        let id = match records.aliases.get(uid) {
            Some(alias) => {
                let id = MessageId(alias.id.as_str().into());
                if taken.insert(id.clone()) { id } else { own }
            }
            None => own,
        };
        ids.insert(*uid, id);
    }
    ids
}

/// Everything but the bodies of some messages. Whoever sends mail decides how much is to be said of it: where that is
/// too much, fewer are asked for at once, and of a single one only what does not hang on its content.
pub(super) async fn details(connection: &mut Connection, uids: &[u32]) -> Result<Vec<Row>, ImapError> {
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    let mut todo = vec![uids];
    while let Some(some) = todo.pop() {
        for set in sets(some) {
            let whole = format!("BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS ({FIELDS})]");
            let found = match fetch(connection, &set, &format!("{whole}<0.{HEADER}>")).await {
                // Not every server knows pieces of header fields (RFC 3501 §6.4.5).
                Err(error) if error.kind == Kind::Refused => fetch(connection, &set, &whole).await,
                found => found,
            };
            match found {
                Ok(found) => rows.extend(found.into_iter().map(|row| (row.uid, row))),
                Err(error) if error.kind != Kind::TooMuch || !connection.usable() => return Err(error),
                Err(_) if some.len() > 1 => {
                    todo.extend(some.chunks(some.len().div_ceil(APART)));
                    break;
                }
                Err(_) => {
                    let found = fetch(connection, &set, "").await?;
                    rows.extend(found.into_iter().map(|row| (row.uid, row)));
                }
            }
        }
    }
    Ok(rows.into_values().collect())
}

async fn fetch(connection: &mut Connection, set: &str, more: &str) -> Result<Vec<Row>, ImapError> {
    let line = format!("UID FETCH {set} (UID FLAGS INTERNALDATE RFC822.SIZE {more}");
    let answer = connection.run(&format!("{})", line.trim_end())).await?;
    let rows = answer.data.iter().filter_map(Row::read);
    // News of a message's flags may come between: they are not the answer.
    let told = |row: &Row| {
        row.date.is_some() || row.size.is_some() || row.structure.is_some() || row.header.is_some()
    };
    Ok(rows.filter(told).collect())
}

/// UIDs as sequence sets (`3:7,9`), each of bounded length. `uids` are in order.
fn sets(uids: &[u32]) -> Vec<String> {
    let mut sets = Vec::new();
    let mut set = String::new();
    for run in uids.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        if set.len() > MAX_SET {
            sets.push(std::mem::take(&mut set));
        }
        if !set.is_empty() {
            set.push(',');
        }
        if first == last {
            set.push_str(&first.to_string());
        } else {
            set.push_str(&format!("{first}:{last}"));
        }
    }
    if !set.is_empty() {
        sets.push(set);
    }
    sets
}

/// What is held of one folder.
#[derive(Default)]
pub(super) struct Slot {
    /// Who brings the index up to date holds this.
    pub(super) gate: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    index: Option<Arc<Index>>,
    checked: Option<Instant>,
    watched: bool,
    used: Option<Instant>,
    /// How many changes were told of.
    changes: u64,
    /// Messages that were removed after the index was made.
    gone: HashSet<u32>,
}

impl Slot {
    /// The index, whatever its age.
    pub(super) fn index(&self) -> Option<Arc<Index>> {
        let mut state = self.state.lock();
        state.used = Some(Instant::now());
        state.index.clone()
    }

    /// The index, if it was checked lately enough. A folder that is watched says when it changes.
    pub(super) fn fresh(&self, within: Duration, watched: Duration) -> Option<Arc<Index>> {
        let mut state = self.state.lock();
        let age = state.checked?.elapsed();
        let fresh = age < within || (state.watched && age < watched);
        state.used = Some(Instant::now());
        state.index.clone().filter(|_| fresh)
    }

    /// What has been told of changes so far: to be taken before the folder is asked.
    pub(super) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// A newer index, or the same one checked again. What changed while it was made makes it stale at once.
    pub(super) fn set(&self, index: Arc<Index>, checked: Instant, changes: u64) {
        let mut state = self.state.lock();
        state.index = Some(index);
        if state.changes == changes {
            state.checked = Some(checked);
            state.gone.clear();
        }
    }

    /// Something has changed.
    pub(super) fn stale(&self) {
        let mut state = self.state.lock();
        state.checked = None;
        state.changes += 1;
    }

    /// We have removed a message, or another has taken its place.
    pub(super) fn removed(&self, uid: u32) {
        self.state.lock().gone.insert(uid);
        self.stale();
    }

    /// A message as the index has it, unless it was removed since.
    pub(super) fn find(&self, id: &MessageId) -> Option<(u32, Arc<Known>)> {
        let state = self.state.lock();
        let index = state.index.as_ref()?;
        let known = index.find(id).filter(|known| !state.gone.contains(&known.uid))?;
        Some((index.state.as_ref()?.validity, Arc::clone(known)))
    }

    /// The server tells what happens in the folder from now on, or does no longer.
    pub(super) fn watch(&self, watched: bool) {
        self.state.lock().watched = watched;
    }

    /// Whether the server tells what happens in the folder.
    pub(super) fn is_watched(&self) -> bool {
        self.state.lock().watched
    }

    /// Since when nobody has asked for the folder.
    pub(super) fn rested(&self) -> Duration {
        self.state
            .lock()
            .used
            .map_or(Duration::MAX, |used| used.elapsed())
    }
}

/// What is held of all folders.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<FolderId, Arc<Slot>>>);

impl Slots {
    /// That of one folder.
    pub(super) fn of(&self, folder: &FolderId) -> Arc<Slot> {
        Arc::clone(self.0.lock().entry(folder.clone()).or_default())
    }

    /// Forgets a folder.
    pub(super) fn forget(&self, folder: &FolderId) {
        self.0.lock().remove(folder);
    }

    /// Lets go of indexes that were not used for longest until all together hold at most `max_entries`; the
    /// one of `keep` stays.
    pub(super) fn trim(&self, keep: &FolderId, max_entries: usize) {
        let mut slots = self.0.lock();
        let size = |slot: &Slot| {
            slot.state
                .lock()
                .index
                .as_ref()
                .map_or(0, |index| index.entries + 1)
        };
        let mut total: usize = slots.values().map(|slot| size(slot)).sum();
        while total > max_entries {
            let oldest = slots
                .iter()
                .filter(|(id, slot)| *id != keep && size(slot) > 0)
                .min_by_key(|(_, slot)| slot.state.lock().used);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            total -= slots.remove(&id).map_or(0, |slot| size(&slot)).min(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::ledger::Alias;

    #[test]
    fn writes_sets_of_bounded_length() {
        assert_eq!(sets(&[1, 2, 3, 7, 9, 10]), ["1:3,7,9:10"]);
        assert_eq!(
            sets(&[u32::MAX - 1, u32::MAX]),
            [format!("{}:{}", u32::MAX - 1, u32::MAX)]
        );
        assert!(sets(&[]).is_empty());
        let every_second: Vec<u32> = (0..5000).map(|n| n * 2 + 1).collect();
        let sets = sets(&every_second);
        assert!(sets.len() > 1 && sets.iter().all(|set| set.len() < MAX_SET + 30));
        let count: usize = sets.iter().map(|set| set.split(',').count()).sum();
        assert_eq!(count, 5000);
    }

    #[test]
    fn no_two_messages_have_one_id() {
        let live: BTreeMap<u32, Row> = [3, 8, 9].map(|uid| (uid, Row::default())).into();
        let alias = |id: &str| Alias {
            id: id.into(),
            removed: Vec::new(),
            replaces: None,
        };
        let records = Records {
            // 8 stands for one that is gone, 9 (moved in from elsewhere) for one that is not.
            aliases: [(8, alias("7.1")), (9, alias("7.3"))].into(),
            ..Records::default()
        };
        let ids = ids(7, &live, &records);
        let have: BTreeMap<u32, &str> = ids.iter().map(|(uid, id)| (*uid, &*id.0)).collect();
        assert_eq!(have, [(3, "7.3"), (8, "7.1"), (9, "7.9")].into());
    }

    #[test]
    fn indexes_together_are_bounded() {
        let slots = Slots::default();
        for n in 0..4 {
            let index = Index {
                entries: 10,
                ..Index::default()
            };
            slots
                .of(&FolderId(n.to_string().into()))
                .set(Arc::new(index), Instant::now(), 0);
        }
        // The first was used last.
        slots.of(&"0".into()).index();
        slots.trim(&"3".into(), 25);
        let held = |id: &str| slots.of(&id.into()).index().is_some();
        assert_eq!(["0", "1", "2", "3"].map(held), [true, false, false, true]);
    }
}
