//! Mail folders: lists one level at a time, making, renaming, moving and deleting.
//! Invariants: no two folders of one parent differ in case alone; the folders that every mailbox has stay.

use serde_json::{Map, Value, json};

use super::{Desk, malformed, no_route, not_found, pages, well_formed};
use crate::{
    mailbox::{Folder, Mailbox},
    wire::{Answer, odata},
};

/// Well-known names of folders that no mailbox here has: known, but not found.
const ABSENT: &[&str] = &[
    "clutter",
    "conflicts",
    "conversationhistory",
    "localfailures",
    "recoverableitemsdeletions",
    "scheduled",
    "searchfolders",
    "serverfailures",
    "syncissues",
];

fn missing() -> Answer {
    Answer::error(
        404,
        "ErrorFolderNotFound",
        "The specified folder could not be found in the store.",
    )
}

/// The folder of an id or a well-known name.
pub(crate) fn find(desk: &mut Desk<'_>, id: &str) -> Result<Folder, Answer> {
    let mailbox = desk.mailbox();
    if let Some(folder) = mailbox.well_known(id) {
        return Ok(folder.clone());
    }
    if ABSENT.iter().any(|name| name.eq_ignore_ascii_case(id)) {
        return Err(missing());
    }
    if !well_formed(id) {
        return Err(malformed());
    }
    mailbox
        .folders
        .values()
        .find(|f| f.id == id)
        .cloned()
        .ok_or_else(missing)
}

pub(crate) fn show(mailbox: &Mailbox, folder: &Folder, select: Option<&[String]>) -> Value {
    let held = || mailbox.held(folder.key);
    let parent = folder
        .parent
        .and_then(|p| mailbox.folders.get(&p))
        .map(|p| p.id.clone());
    let size: u64 = held()
        .flat_map(|m| &m.hung)
        .filter_map(|h| h.attachment.content())
        .map(crate::Content::len)
        .sum();
    let all = [
        ("displayName", json!(folder.name)),
        ("parentFolderId", json!(parent)),
        (
            "childFolderCount",
            json!(mailbox.children(folder.key).filter(|c| !c.hidden).count()),
        ),
        (
            "unreadItemCount",
            json!(held().filter(|m| !m.message.read).count()),
        ),
        ("totalItemCount", json!(held().count())),
        ("sizeInBytes", json!(size)),
        ("isHidden", json!(folder.hidden)),
    ];
    let mut shown = Map::new();
    if folder.search {
        shown.insert(
            "@odata.type".to_owned(),
            json!("#microsoft.graph.mailSearchFolder"),
        );
    }
    shown.insert("id".to_owned(), json!(folder.id));
    for (name, value) in all {
        if select.is_none_or(|s| s.iter().any(|n| n == name)) {
            shown.insert(name.to_owned(), value);
        }
    }
    if folder.search && select.is_none() {
        shown.insert("isSupported".to_owned(), json!(true));
        shown.insert("filterQuery".to_owned(), json!("hasAttachments eq true"));
    }
    Value::Object(shown)
}

fn list(desk: &mut Desk<'_>, parent: u64, skip: usize) -> Result<Answer, Answer> {
    pages::only(
        desk,
        &[
            "$select",
            "$top",
            "$skip",
            "$count",
            "$filter",
            "$expand",
            "includeHiddenFolders",
        ],
    )?;
    let query = desk.asked.query();
    let select = odata::select(
        query.get("$select").map(String::as_str),
        odata::FOLDER,
        "microsoft.graph.mailFolder",
    )?;
    let name = match query.get("$filter") {
        None => None,
        Some(text) => {
            let name = text
                .strip_prefix("displayName eq '")
                .and_then(|t| t.strip_suffix('\''));
            Some(
                name.ok_or_else(|| Answer::error(400, "RequestBroker--ParseUri", "Invalid filter clause"))?
                    .replace("''", "'"),
            )
        }
    };
    let expand = match query.get("$expand").map(String::as_str) {
        None => false,
        Some("childFolders") => true,
        Some(other) => return Err(no_route(other)),
    };
    let hidden = query.get("includeHiddenFolders").is_some_and(|h| h == "true");
    let found: Vec<Folder> = desk
        .mailbox()
        .children(parent)
        .filter(|f| (hidden || !f.hidden) && name.as_ref().is_none_or(|n| f.name.eq_ignore_ascii_case(n)))
        .cloned()
        .collect();
    pages::cut(desk, &found, skip, 10, |desk, folder| {
        let mailbox = desk.mailbox();
        let mut shown = show(mailbox, folder, select.as_deref());
        if expand {
            // As in Graph, an expanded collection is the first page of it and says no more.
            let children = mailbox
                .children(folder.key)
                .filter(|c| hidden || !c.hidden)
                .take(10);
            shown["childFolders"] = children.map(|c| show(mailbox, c, None)).collect();
        }
        shown
    })
}

fn name_of(body: &Value) -> Result<String, Answer> {
    match body.get("displayName").and_then(Value::as_str) {
        Some(name) if !name.is_empty() && name.chars().count() <= 255 => Ok(name.to_owned()),
        _ => Err(Answer::error(
            400,
            "ErrorInvalidParameter",
            "The display name of the folder is missing or too long.",
        )),
    }
}

fn exists() -> Answer {
    Answer::error(
        409,
        "ErrorFolderExists",
        "A folder with the specified name already exists.",
    )
}

fn make(desk: &mut Desk<'_>, parent: u64) -> Result<Answer, Answer> {
    let body = desk.asked.json()?;
    let name = name_of(&body)?;
    let mailbox = desk.mailbox();
    if mailbox.child(parent, &name).is_some() {
        return Err(exists());
    }
    let key = mailbox.add_folder(Some(parent), &name, None);
    if body["isHidden"] == json!(true)
        && let Some(folder) = mailbox.folders.get_mut(&key)
    {
        folder.hidden = true;
    }
    Ok(Answer::json(201, show(mailbox, &mailbox.folders[&key], None)))
}

fn change(desk: &mut Desk<'_>, folder: &Folder) -> Result<Answer, Answer> {
    let name = name_of(&desk.asked.json()?)?;
    let mailbox = desk.mailbox();
    if folder.distinguished.is_some() {
        return Err(Answer::error(
            403,
            "ErrorAccessDenied",
            "Distinguished folders cannot be renamed.",
        ));
    }
    if folder
        .parent
        .and_then(|p| mailbox.child(p, &name))
        .is_some_and(|f| f.key != folder.key)
    {
        return Err(exists());
    }
    if let Some(stored) = mailbox.folders.get_mut(&folder.key) {
        stored.name = name;
    }
    mailbox.folder_changed(folder.key);
    Ok(Answer::json(
        200,
        show(mailbox, &mailbox.folders[&folder.key], None),
    ))
}

fn relocate(desk: &mut Desk<'_>, folder: &Folder) -> Result<Answer, Answer> {
    let body = desk.asked.json()?;
    let to = find(desk, body["destinationId"].as_str().unwrap_or_default())?;
    let mailbox = desk.mailbox();
    if folder.distinguished.is_some() || mailbox.beneath(to.key, folder.key) {
        return Err(Answer::error(
            400,
            "ErrorMoveCopyFailed",
            "The move or copy operation failed.",
        ));
    }
    if mailbox
        .child(to.key, &folder.name)
        .is_some_and(|f| f.key != folder.key)
    {
        return Err(exists());
    }
    let key = folder.key;
    if let Some(stored) = mailbox.folders.get_mut(&key) {
        stored.parent = Some(to.key);
    }
    for changed in [Some(key), Some(to.key), folder.parent].into_iter().flatten() {
        mailbox.folder_changed(changed);
    }
    Ok(Answer::json(201, show(mailbox, &mailbox.folders[&key], None)))
}

/// Deleted folders go to Deleted Items; from there they are gone.
fn delete(desk: &mut Desk<'_>, folder: &Folder, forever: bool) -> Result<Answer, Answer> {
    let mailbox = desk.mailbox();
    if folder.distinguished.is_some() {
        return Err(Answer::error(
            403,
            "ErrorDeleteDistinguishedFolder",
            "Distinguished folders cannot be deleted.",
        ));
    }
    let bin = mailbox.well_known("deleteditems").map_or(0, |f| f.key);
    if forever || mailbox.beneath(folder.key, bin) {
        mailbox.remove_folder(folder.key);
        return Ok(Answer::empty(204));
    }
    let mut name = folder.name.clone();
    while mailbox.child(bin, &name).is_some() {
        name.push('1');
    }
    if let Some(stored) = mailbox.folders.get_mut(&folder.key) {
        (stored.parent, stored.name) = (Some(bin), name);
    }
    for changed in [Some(folder.key), Some(bin), folder.parent].into_iter().flatten() {
        mailbox.folder_changed(changed);
    }
    Ok(Answer::empty(204))
}

/// Everything below `mailFolders` but the messages.
pub(crate) fn answer(desk: &mut Desk<'_>, rest: &[&str], skip: usize) -> Result<Answer, Answer> {
    let method = desk.asked.method.as_str();
    match (method, rest) {
        ("GET", []) => {
            let root = desk.mailbox().root();
            list(desk, root, skip)
        }
        ("POST", []) => {
            let root = desk.mailbox().root();
            make(desk, root)
        }
        ("GET", [id]) => {
            pages::only(desk, &["$select", "includeHiddenFolders"])?;
            let query = desk.asked.query();
            let select = query.get("$select").map(String::as_str);
            let select = odata::select(select, odata::FOLDER, "microsoft.graph.mailFolder")?;
            let folder = find(desk, id).map_err(|e| if e.status == 404 { not_found() } else { e })?;
            let mailbox = desk.mailbox();
            Ok(Answer::json(200, show(mailbox, &folder, select.as_deref())))
        }
        ("GET", [id, "childFolders"]) => {
            let folder = find(desk, id)?;
            list(desk, folder.key, skip)
        }
        ("POST", [id, "childFolders"]) => {
            let folder = find(desk, id)?;
            make(desk, folder.key)
        }
        ("PATCH", [id]) => {
            let folder = find(desk, id)?;
            change(desk, &folder)
        }
        ("POST", [id, "move"]) => {
            let folder = find(desk, id)?;
            relocate(desk, &folder)
        }
        ("DELETE", [id]) => {
            let folder = find(desk, id)?;
            delete(desk, &folder, false)
        }
        ("POST", [id, "permanentDelete"]) => {
            let folder = find(desk, id)?;
            delete(desk, &folder, true)
        }
        (_, [] | [_]) => Err(Answer::error(
            405,
            "BadRequest",
            "The HTTP method is not allowed here.",
        )),
        (_, [.., last]) => Err(no_route(last)),
    }
}
