//! Delta queries: first everything, then what has changed since, of the messages of a folder or of all folders.
//! Invariants: what changes while the pages are read comes with the next round; links are opaque, good as they were given, and
//! may expire (410).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{Desk, folders, messages, pages};
use crate::wire::{Answer, odata};

/// Where a reader of changes stands.
#[derive(Debug, Clone)]
pub(crate) struct DeltaState {
    /// The link as it was given: path and query.
    pub(crate) shown: String,
    pub(crate) expired: bool,
    /// The folder whose messages they are; none for folders.
    folder: Option<u64>,
    select: Option<Vec<String>>,
    /// `$filter`, told again.
    filter: Option<String>,
    change: Option<String>,
    size: usize,
    /// Everything up to this number of a change has been told, or will be by the pages that are left.
    since: u64,
    /// What this round tells and how much of it has been told; none at the start of the next one.
    left: Option<(Arc<Vec<Item>>, usize)>,
}

/// Something to tell.
#[derive(Debug, Clone)]
enum Item {
    /// A message or folder that is there.
    There(u64),
    /// One that is gone: its ids, immutable and regular.
    Gone(String, String),
}

fn expired() -> Answer {
    Answer::error(
        410,
        "syncStateNotFound",
        "The sync state generation is not found; the delta token is too old.",
    )
}

fn link(desk: &mut Desk<'_>, kind: &str, mut state: DeltaState) -> String {
    let word = format!("~{}", desk.world.mint());
    // Both kinds are asked for by the same word inside, whatever it is called outside.
    state.shown = format!("{}?%24{kind}=%7E{}", desk.asked.path(), &word[1..]);
    let url = format!("{}{}", desk.asked.origin, state.shown);
    desk.world.deltas.insert(word, state);
    url
}

/// The messages of a folder.
pub(crate) fn messages(desk: &mut Desk<'_>, folder: &str) -> Result<Answer, Answer> {
    let query = desk.asked.query();
    if let Some(word) = query.get("$deltatoken").cloned() {
        return round(desk, &word);
    }
    let folder = folders::find(desk, folder)?;
    pages::only(desk, &["$select", "$top", "$filter", "$orderby", "changeType"])?;
    let select = odata::select(
        query.get("$select").map(String::as_str),
        odata::MESSAGE,
        "Microsoft.OutlookServices.Message",
    )?;
    let filter = odata::filter(query.get("$filter").map(String::as_str))?;
    let order = query.get("$orderby").map(String::as_str);
    if filter.iter().any(|t| !t.since()) || order.is_some_and(|o| o.trim() != "receivedDateTime desc") {
        return Err(Answer::error(
            400,
            "ErrorInvalidUrlQuery",
            "The query is not supported with delta.",
        ));
    }
    let change = query.get("changeType").cloned();
    if change
        .as_ref()
        .is_some_and(|c| !["created", "updated", "deleted"].contains(&c.as_str()))
    {
        return Err(Answer::error(
            400,
            "ErrorInvalidUrlQuery",
            "The changeType is not known.",
        ));
    }
    let size = pages::size(desk, 10)?;
    let mailbox = desk.mailbox();
    let mut held: Vec<_> = mailbox
        .held(folder.key)
        .filter(|m| filter.iter().all(|t| t.holds(m)))
        .collect();
    odata::sort(&mut held, &[]);
    let left = held.into_iter().map(|m| Item::There(m.key)).collect();
    let state = DeltaState {
        shown: String::new(),
        expired: false,
        folder: Some(folder.key),
        select,
        filter: query.get("$filter").cloned(),
        change,
        size,
        since: mailbox.latest(),
        left: Some((Arc::new(left), 0)),
    };
    tell(desk, state)
}

/// All folders of the mailbox, flat.
pub(crate) fn folders(desk: &mut Desk<'_>) -> Result<Answer, Answer> {
    let query = desk.asked.query();
    if let Some(word) = query.get("$deltatoken").cloned() {
        return round(desk, &word);
    }
    pages::only(desk, &["$select", "$top", "includeHiddenFolders"])?;
    let select = odata::select(
        query.get("$select").map(String::as_str),
        odata::FOLDER,
        "microsoft.graph.mailFolder",
    )?;
    let size = pages::size(desk, 10)?;
    let mailbox = desk.mailbox();
    let root = mailbox.root();
    let left = mailbox
        .folders
        .keys()
        .filter(|f| **f != root)
        .map(|f| Item::There(*f))
        .collect();
    let state = DeltaState {
        shown: String::new(),
        expired: false,
        folder: None,
        select,
        filter: None,
        change: None,
        size,
        since: mailbox.latest(),
        left: Some((Arc::new(left), 0)),
    };
    tell(desk, state)
}

/// Begins the next round.
fn round(desk: &mut Desk<'_>, word: &str) -> Result<Answer, Answer> {
    let state = desk
        .world
        .deltas
        .get(word)
        .filter(|s| s.shown == desk.asked.target && s.left.is_none())
        .cloned();
    let Some(mut state) = state else {
        return Err(Answer::error(400, "BadRequest", "Badly formed token."));
    };
    if state.expired {
        return Err(expired());
    }
    state.size = pages::size(desk, state.size)?;
    let moved = desk.settings.tells_moved;
    let mailbox = desk.mailbox();
    let latest = mailbox.latest();
    let mut left = Vec::new();
    let mut told = BTreeSet::new();
    if let Some(folder) = state.folder {
        if !mailbox.folders.contains_key(&folder) {
            return Err(Answer::error(
                404,
                "ErrorFolderNotFound",
                "The specified folder could not be found in the store.",
            ));
        }
        let filter = odata::filter(state.filter.as_deref())?;
        for change in mailbox
            .changes
            .iter()
            .rev()
            .filter(|c| c.folder == folder && c.number > state.since)
        {
            if !told.insert(change.message) {
                continue;
            }
            let (item, kind) = match mailbox
                .messages
                .get(&change.message)
                .filter(|m| moved || m.folder == folder)
            {
                Some(stored) if !filter.iter().all(|t| t.holds(stored)) => continue,
                Some(stored) if stored.entered > state.since => (Item::There(stored.key), "created"),
                Some(stored) => (Item::There(stored.key), "updated"),
                None => (
                    Item::Gone(change.ids.immutable.clone(), change.ids.regular.clone()),
                    "deleted",
                ),
            };
            if state.change.as_ref().is_none_or(|c| c == kind) {
                left.push(item);
            }
        }
    } else {
        let root = mailbox.root();
        for change in mailbox
            .folder_changes
            .iter()
            .rev()
            .filter(|c| c.number > state.since && c.folder != root)
        {
            if told.insert(change.folder) {
                left.push(if mailbox.folders.contains_key(&change.folder) {
                    Item::There(change.folder)
                } else {
                    Item::Gone(change.id.clone(), change.id.clone())
                });
            }
        }
    }
    left.reverse();
    state.since = latest;
    state.left = Some((Arc::new(left), 0));
    tell(desk, state)
}

/// Answers a next link.
pub(crate) fn go_on(desk: &mut Desk<'_>, word: &str) -> Result<Answer, Answer> {
    let Some(state) = desk.world.deltas.get(word).cloned() else {
        return Err(Answer::error(400, "BadRequest", "Badly formed token."));
    };
    if state.expired {
        return Err(expired());
    }
    tell(desk, state)
}

/// One page.
fn tell(desk: &mut Desk<'_>, mut state: DeltaState) -> Result<Answer, Answer> {
    let (all, from) = state.left.take().unwrap_or_default();
    let to = (from + state.size).min(all.len());
    let mut value = Vec::new();
    for item in &all[from..to] {
        let shown = match item {
            Item::There(key) => show(desk, &state, *key),
            Item::Gone(immutable, regular) => {
                let id = if desk.immutable { immutable } else { regular };
                Some(json!({"id": id, "@removed": {"reason": "deleted"}}))
            }
        };
        value.extend(shown);
    }
    if desk.settings.replays
        && let Some(first) = value.first().cloned()
    {
        value.push(first);
    }
    let mut page = json!({"@odata.context": format!("{}/v1.0/$metadata#Collection(delta)", desk.asked.origin), "value": value});
    if to == all.len() {
        page["@odata.deltaLink"] = json!(link(desk, "deltatoken", state));
    } else {
        state.left = Some((all, to));
        page["@odata.nextLink"] = json!(link(desk, "skiptoken", state));
    }
    Ok(Answer::json(200, page))
}

/// What there is to say of something that was there; nothing if it has gone meanwhile: the next round tells.
fn show(desk: &mut Desk<'_>, state: &DeltaState, key: u64) -> Option<Value> {
    if let Some(folder) = state.folder {
        let moved = desk.settings.tells_moved;
        let stored = desk
            .mailbox()
            .messages
            .get(&key)
            .filter(|m| moved || m.folder == folder)
            .cloned()?;
        return Some(messages::show(desk, &stored, state.select.as_deref()));
    }
    let mailbox = desk.mailbox();
    let folder = mailbox.folders.get(&key)?;
    Some(folders::show(mailbox, folder, state.select.as_deref()))
}
