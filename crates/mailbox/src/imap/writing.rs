//! Changes: a part taken out, messages deleted, moved and taken in.
//!
//! Invariants: changes of one mailbox go one by one; a message is removed by its UID alone (UID EXPUNGE, RFC
//! 4315), and only after what takes its place is on the server; where somebody else removed it meanwhile, what
//! was to take its place goes too. What parsing holds in memory at once is bounded for the whole process.

mod append;

use std::sync::Arc;

use portreeve_model::Timestamp;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use tokio::sync::Semaphore;

use super::{
    Inner, Refresh,
    connection::{Connection, folder as argument},
    error::{ImapError, Kind},
    index::details,
    ledger::{Alias, Intent, Records},
    reading::{PIECE, Section, piece},
    row::{Known, Row},
};
use crate::{
    AttachmentKind, FolderId, MessageId, PartId,
    mime::{Located, cut, inspect},
};
pub(super) use append::Once;

/// Largest message that a part can be taken out of, in bytes.
const MAX_REWRITE: u64 = 192 << 20;
/// What writing messages anew may hold in memory at once, in MiB, twice over: the old one and the new one.
static ROOM: Semaphore = Semaphore::const_new(256);
/// How much of a part is compared before it is taken out.
const COMPARED: usize = 64 << 10;
/// Most messages that are looked at to find one that was written before a crash.
const MAX_CANDIDATES: usize = 200;

impl Inner {
    /// Takes a part out: the message is written anew without it.
    pub(super) async fn delete_part(
        self: &Arc<Self>,
        folder: &FolderId,
        id: &MessageId,
        part: &PartId,
    ) -> FsResult<()> {
        let _turn = self.changing.lock().await;
        let mut lease = self.open_to_change(folder).await?;
        let connection = lease.connection()?;
        let outcome = self.write_without(connection, folder, id, part).await;
        self.slots.of(folder).stale();
        outcome
    }

    async fn write_without(
        &self,
        connection: &mut Connection,
        folder: &FolderId,
        id: &MessageId,
        part: &PartId,
    ) -> FsResult<()> {
        can_remove(connection)?;
        let state = connection.selected().cloned().ok_or(FsErrorKind::NotFound)?;
        // What a broken connection left behind comes first: it may be this very message.
        let records = self.ledger.peek(folder, state.validity).await?;
        if records.unfinished() {
            self.repair(connection, folder, state.validity, &records).await;
            connection.select(&folder.0, true, true).await?;
        }
        let known = self.look_at(connection, folder, id).await?;
        let at = known
            .places
            .iter()
            .position(|place| place.id == *part)
            .ok_or(FsErrorKind::NotFound)?;
        let raw_size = known.size;
        let _room = room(raw_size).await?;
        let raw = whole(connection, folder, state.validity, &known).await?;
        let inspected = inspect(&raw, Timestamp::default());
        let located = same_part(&known, &inspected.parts, at)?;
        let place = known.places.get(at).ok_or(FsErrorKind::NotFound)?;
        let section = Section {
            folder: folder.clone(),
            validity: state.validity,
            uid: known.uid,
            section: place.part.section.clone(),
            octets: place.part.octets,
        };
        let told = piece(connection, &section, 0)
            .await?
            .ok_or(FsErrorKind::NotFound)?;
        let ours = raw.get(located.body.clone()).unwrap_or_default();
        let compared = told.len().min(ours.len()).min(COMPARED);
        if told.get(..compared) != ours.get(..compared)
            || (compared < COMPARED && told.len().abs_diff(ours.len()) > 4)
        {
            return Err(differs());
        }
        let new = cut(&raw, located);
        drop(raw);
        let records = self.ledger.peek(folder, state.validity).await?;
        let mut removed = records
            .aliases
            .get(&known.uid)
            .map(|alias| alias.removed.clone())
            .unwrap_or_default();
        if !place.part.alone && !place.part.root {
            removed.push(place.part.section.clone());
        }
        let intent = Intent {
            alias: Alias {
                id: id.0.to_string(),
                removed,
                replaces: Some(known.uid),
            },
            from: state.next.unwrap_or_else(|| known.uid.saturating_add(1)),
            internet_id: known.message.summary.internet_id.clone(),
            names: names(&known, Some(at)),
            date: known.date.clone(),
            size: Some(new.len() as u64),
        };
        // Reading took its time: what follows needs the folder open for changes, and the same one.
        let open = connection.select(&folder.0, true, false).await?;
        if open.validity != state.validity {
            return Err(FsErrorKind::NotFound.into());
        }
        can_mark(connection)?;
        self.ledger
            .intend(folder, state.validity, known.uid, &intent)
            .await?;
        let flags = kept_flags(&known.flags);
        let date = known.date.clone();
        let size = new.len() as u64;
        let mut source = Once(Some(new.into()));
        let appended = connection
            .append(&folder.0, &flags, date.as_deref(), size, &mut source)
            .await;
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                // Where the server said no, there is nothing; where the connection broke, the next look finds out.
                if connection.usable() {
                    self.ledger.given_up(folder, state.validity, known.uid).await?;
                }
                return Err(error.into());
            }
        };
        let uid = match appended.filter(|(validity, _)| *validity == state.validity) {
            Some((_, uid)) => Some(uid),
            None => find_written(connection, &intent).await?,
        };
        let Some(uid) = uid else {
            return Err(FsError::new(FsErrorKind::Backend)
                .context("the mail server does not show the message that it has taken in"));
        };
        self.ledger
            .written(folder, state.validity, uid, &intent.alias, Some(known.uid))
            .await?;
        self.slots.of(folder).removed(known.uid);
        if !remove(connection, known.uid).await? {
            // Somebody deleted or moved the message meanwhile: a copy of it must not come up again.
            remove(connection, uid).await?;
            self.ledger.gone(folder, state.validity, &[uid]).await?;
            return Err(FsErrorKind::NotFound.into());
        }
        let done = Alias {
            replaces: None,
            ..intent.alias
        };
        self.ledger
            .written(folder, state.validity, uid, &done, None)
            .await
    }

    /// Ends what was begun and broke off. Whoever calls holds the turn of changes. Failures are told to the log:
    /// it is tried again at the next look.
    pub(super) async fn repair(
        &self,
        connection: &mut Connection,
        folder: &FolderId,
        validity: u32,
        records: &Records,
    ) {
        let outcome = async {
            connection.select(&folder.0, true, true).await?;
            if connection.selected().is_none_or(|open| open.validity != validity) {
                return Ok(());
            }
            for (old, intent) in &records.intents {
                match find_written(connection, intent).await? {
                    None => self.ledger.given_up(folder, validity, *old).await?,
                    Some(uid) => {
                        self.ledger
                            .written(folder, validity, uid, &intent.alias, Some(*old))
                            .await?;
                        self.supersede(connection, folder, validity, uid, &intent.alias)
                            .await?;
                    }
                }
            }
            for (uid, alias) in &records.aliases {
                self.supersede(connection, folder, validity, *uid, alias).await?;
            }
            Ok::<(), Refresh>(())
        };
        if let Err(error) = outcome.await {
            tracing::warn!(folder = %folder.0, ?error, "a message that was being written anew is left as it is for now");
        }
    }

    /// Removes the message that `uid` has taken the place of.
    async fn supersede(
        &self,
        connection: &mut Connection,
        folder: &FolderId,
        validity: u32,
        uid: u32,
        alias: &Alias,
    ) -> Result<(), Refresh> {
        let Some(old) = alias.replaces else {
            return Ok(());
        };
        can_remove(connection)?;
        remove(connection, old).await?;
        let done = Alias {
            replaces: None,
            ..alias.clone()
        };
        self.ledger.written(folder, validity, uid, &done, None).await?;
        Ok(())
    }

    /// Deletes a message for good.
    pub(super) async fn delete_message(&self, folder: &FolderId, id: &MessageId) -> FsResult<()> {
        let _turn = self.changing.lock().await;
        let mut lease = self.open_to_change(folder).await?;
        let connection = lease.connection()?;
        can_remove(connection)?;
        let validity = connection.selected().map_or(0, |open| open.validity);
        let (uid, _) = self.locate(folder, validity, id).await?;
        let removed = remove(connection, uid).await;
        self.slots.of(folder).removed(uid);
        if removed? {
            Ok(())
        } else {
            Err(FsErrorKind::NotFound.into())
        }
    }

    /// Marks a message as deleted.
    pub(super) async fn soft_delete(&self, folder: &FolderId, id: &MessageId) -> FsResult<()> {
        let _turn = self.changing.lock().await;
        let mut lease = self.open_to_change(folder).await?;
        let connection = lease.connection()?;
        let validity = connection.selected().map_or(0, |open| open.validity);
        let (uid, _) = self.locate(folder, validity, id).await?;
        let marked = mark(connection, uid).await;
        self.slots.of(folder).removed(uid);
        if marked? {
            Ok(())
        } else {
            Err(FsErrorKind::NotFound.into())
        }
    }

    /// Moves a message; it keeps its id where the server tells what became of it.
    pub(super) async fn move_message(
        &self,
        folder: &FolderId,
        id: &MessageId,
        to: &FolderId,
    ) -> FsResult<()> {
        let _turn = self.changing.lock().await;
        let mut lease = self.open_to_change(folder).await?;
        let connection = lease.connection()?;
        let validity = connection.selected().map_or(0, |open| open.validity);
        let (uid, removed) = self.locate(folder, validity, id).await?;
        let known = details(connection, &[uid]).await?;
        if !known.iter().any(|row| row.uid == uid && !row.has("\\Deleted")) {
            return Err(FsErrorKind::NotFound.into());
        }
        let moves = connection.can("MOVE");
        if !moves {
            can_remove(connection)?;
        }
        let command = if moves { "MOVE" } else { "COPY" };
        let moved = connection
            .run(&format!("UID {command} {uid} {}", argument(&to.0)?))
            .await;
        self.slots.of(folder).removed(uid);
        self.slots.of(to).stale();
        let moved = moved.map_err(|error| match error.kind {
            // The message is still here: not to be taken for one that is gone.
            Kind::Gone => FsError::new(FsErrorKind::Refused).context("the target folder is not there"),
            _ => error.into(),
        })?;
        let mut code = moved.code("COPYUID").unwrap_or_default().split(' ');
        let target: Option<u32> = code.next().and_then(|text| text.parse().ok());
        let new: Option<u32> = code.nth(1).and_then(|text| text.parse().ok());
        // Two folders may number alike: an id is taken along only where it can mean nothing else there.
        if let (Some(target), Some(new)) = (target, new)
            && super::uid_of(id, target).is_none_or(|own| own == new)
        {
            let alias = Alias {
                id: id.0.to_string(),
                removed,
                replaces: None,
            };
            self.ledger.written(to, target, new, &alias, None).await?;
        }
        if !moves {
            remove(connection, uid).await?;
        }
        Ok(())
    }

    pub(super) async fn open_to_change(&self, folder: &FolderId) -> FsResult<super::pool::Lease> {
        match self.pool.change(&folder.0).await {
            Ok(lease) => Ok(lease),
            Err(error) => Err(self.settle(folder, error).await),
        }
    }
}

/// Room for a message of `size` bytes and for what is made of it.
async fn room(size: u64) -> FsResult<tokio::sync::SemaphorePermit<'static>> {
    if size > MAX_REWRITE {
        return Err(FsError::new(FsErrorKind::TooLarge).context(format!(
            "the message is too large to take one attachment out of it ({} MiB at most): delete the whole message with a \
             mail program",
            MAX_REWRITE >> 20
        )));
    }
    let wanted = u32::try_from(size >> 20).unwrap_or(u32::MAX).clamp(1, 256);
    ROOM.acquire_many(wanted)
        .await
        .map_err(|_| FsErrorKind::Cancelled.into())
}

/// A whole message.
async fn whole(
    connection: &mut Connection,
    folder: &FolderId,
    validity: u32,
    known: &Known,
) -> FsResult<Vec<u8>> {
    let section = Section {
        folder: folder.clone(),
        validity,
        uid: known.uid,
        section: String::new(),
        octets: known.size,
    };
    let mut raw = Vec::new();
    loop {
        let piece = piece(connection, &section, raw.len() as u64)
            .await?
            .ok_or(FsErrorKind::NotFound)?;
        raw.extend_from_slice(&piece);
        if piece.is_empty() {
            return Ok(raw);
        }
        if raw.len() as u64 > MAX_REWRITE + u64::from(PIECE) {
            return Err(FsErrorKind::TooLarge.into());
        }
    }
}

/// The part of the message at hand that the server's description means.
fn same_part<'a>(known: &Known, parts: &'a [Located], at: usize) -> FsResult<&'a Located> {
    let alike = known.places.iter().zip(parts).all(|(place, located)| {
        let (told, ours) = (&place.part.described, &located.attachment);
        told.kind == Some(ours.kind)
            && told.encoding == located.encoding
            && (ours.kind == AttachmentKind::Item || told.name == ours.name)
    });
    let located = parts
        .get(at)
        .filter(|_| alike && known.places.len() == parts.len());
    located.ok_or_else(differs)
}

fn differs() -> FsError {
    FsError::new(FsErrorKind::Unsupported).context(
        "the mail server describes this message's parts otherwise than they are: none of them can be taken out safely; \
         delete the whole message with a mail program",
    )
}

/// The names of a message's attachments, but for one.
fn names(known: &Known, without: Option<usize>) -> Vec<String> {
    let all = known.message.attachments.iter().enumerate();
    all.filter(|(index, _)| Some(*index) != without)
        .map(|(_, attachment)| attachment.name.clone())
        .collect()
}

/// The flags that a new message takes over. `\Recent` is the server's own.
fn kept_flags(flags: &[String]) -> String {
    let kept = flags.iter().filter(|flag| {
        let own = flag.eq_ignore_ascii_case("\\Recent") || flag.eq_ignore_ascii_case("\\Deleted");
        !own && flag
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"(){%*\"]".contains(&byte))
    });
    kept.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Others' mail that is marked as deleted would go with a plain EXPUNGE.
fn can_remove(connection: &Connection) -> Result<(), ImapError> {
    if connection.can("UIDPLUS") || connection.can("IMAP4REV2") {
        return Ok(());
    }
    Err(ImapError::new(
        Kind::Unsupported,
        "the mail server cannot remove single messages (UIDPLUS, RFC 4315): use on_delete = \"soft\"",
    ))
}

/// Whether the open folder lets messages be marked as deleted; a server may take the mark, and not keep it.
fn can_mark(connection: &Connection) -> Result<(), ImapError> {
    if connection
        .selected()
        .is_none_or(|open| open.writable && open.deletes)
    {
        return Ok(());
    }
    Err(not_marked())
}

fn not_marked() -> ImapError {
    ImapError::new(
        Kind::Denied,
        "the mail server does not let this account delete messages of this folder",
    )
}

/// Marks a message as deleted. False: it is not there any more.
async fn mark(connection: &mut Connection, uid: u32) -> Result<bool, ImapError> {
    can_mark(connection)?;
    // The server tells of what went meanwhile before it takes the next command for it.
    connection.run("NOOP").await?;
    let there = connection.run(&format!("UID FETCH {uid} (UID)")).await?;
    if !there.data.iter().filter_map(Row::read).any(|row| row.uid == uid) {
        return Ok(false);
    }
    let answer = connection
        .run(&format!("UID STORE {uid} +FLAGS (\\Deleted)"))
        .await?;
    let told = answer
        .data
        .iter()
        .filter_map(Row::read)
        .any(|row| row.uid == uid && row.has("\\Deleted"));
    if told {
        return Ok(true);
    }
    // A message that bore the mark already may not be told of again.
    let after = connection.run(&format!("UID FETCH {uid} (UID FLAGS)")).await?;
    let mut rows = after.data.iter().filter_map(Row::read);
    match rows.find(|row| row.uid == uid && row.flags.is_some()) {
        None => Ok(false),
        Some(row) if row.has("\\Deleted") => Ok(true),
        Some(_) => Err(not_marked()),
    }
}

/// Removes a message for good. False: it was not there any more.
async fn remove(connection: &mut Connection, uid: u32) -> Result<bool, ImapError> {
    if !mark(connection, uid).await? {
        return Ok(false);
    }
    connection.run(&format!("UID EXPUNGE {uid}")).await?;
    Ok(true)
}

/// The message that was written as `intent` says, if it was: one that came after, with the same `Message-ID` and
/// just the attachments that it was to have.
async fn find_written(connection: &mut Connection, intent: &Intent) -> Result<Option<u32>, ImapError> {
    let from = intent.from;
    let answer = connection.run(&format!("UID FETCH {from}:* (UID)")).await?;
    let rows = answer.data.iter().filter_map(Row::read);
    // `*` is the last message, even where that came before `from`.
    let mut uids: Vec<u32> = rows.map(|row| row.uid).filter(|uid| *uid >= from).collect();
    uids.sort_unstable();
    uids.dedup();
    uids.truncate(MAX_CANDIDATES);
    if uids.is_empty() {
        return Ok(None);
    }
    // Nothing to know it by: two messages are better than a stranger's in the place of one.
    if intent.internet_id.is_empty() && intent.date.is_none() {
        return Ok(None);
    }
    for row in details(connection, &uids).await? {
        if row.has("\\Deleted") {
            continue;
        }
        let uid = row.uid;
        let known = Known::new(row, MessageId("".into()), &[]);
        // It was written with the date of the old one.
        let dated = intent.date.is_none() || intent.date == known.date;
        let named = known.message.summary.internet_id == intent.internet_id;
        // Without a name, what has another length is another's: some servers estimate it, and two messages are better.
        let sized = !intent.internet_id.is_empty() || intent.size.is_none_or(|size| size == known.size);
        if named && dated && sized && names(&known, None) == intent.names {
            return Ok(Some(uid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_kept_as_far_as_they_can_be_written() {
        let flags = ["\\Seen", "\\Recent", "\\deleted", "red", "$x", "a b", "a)b"].map(str::to_owned);
        assert_eq!(kept_flags(&flags), "\\Seen red $x");
    }
}
