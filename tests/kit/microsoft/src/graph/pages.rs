//! Lists come in pages. A next link is a word that nobody can guess and is good only as it was given, byte for byte.
//! Invariant: a page is cut from what the list holds when it is asked for, as offsets do: what comes or goes meanwhile makes
//! items appear twice or not at all.

use serde_json::{Value, json};

use super::{Desk, routed};
use crate::wire::Answer;

/// A page that may be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The link as it was given: path and query.
    shown: String,
    /// What was asked for in the first place.
    first: String,
    skip: usize,
    /// Whether it holds nothing but the way on.
    blank: bool,
}

fn bad(message: &str) -> Answer {
    Answer::error(400, "BadRequest", message)
}

/// The number that an option says.
fn number(desk: &Desk<'_>, option: &str) -> Result<Option<usize>, Answer> {
    let query = desk.asked.query();
    let Some(text) = query.get(option) else {
        return Ok(None);
    };
    let value = text
        .parse::<usize>()
        .map_err(|_| bad(&format!("Invalid value '{text}' for {option}.")))?;
    Ok(Some(value))
}

/// How many items a page holds.
pub(crate) fn size(desk: &Desk<'_>, default: usize) -> Result<usize, Answer> {
    let top = number(desk, "$top")?;
    if let Some(top) = top.filter(|t| *t == 0 || *t > 1000) {
        return Err(bad(&format!(
            "The limit of '1000' for Top query has been exceeded. The value from the incoming request is '{top}'."
        )));
    }
    let size = desk
        .asked
        .max_page_size()
        .filter(|s| (1..=1000).contains(s))
        .or(top)
        .unwrap_or(default);
    Ok(desk.settings.page_size.map_or(size, |most| size.min(most.max(1))))
}

/// Options beyond these are refused.
pub(crate) fn only(desk: &Desk<'_>, known: &[&str]) -> Result<(), Answer> {
    for name in desk.asked.query().keys() {
        if !known.contains(&name.as_str()) && name != "$skiptoken" {
            return Err(bad(&format!("The query parameter '{name}' is not supported.")));
        }
    }
    Ok(())
}

fn link(desk: &mut Desk<'_>, skip: usize, blank: bool) -> String {
    let first = desk.asked.target.clone();
    link_to(desk, first, skip, blank)
}

/// A link that goes on with what `first` asks for.
pub(crate) fn link_to(desk: &mut Desk<'_>, first: String, skip: usize, blank: bool) -> String {
    let path = first.split('?').next().unwrap_or_default().to_owned();
    let word = desk.world.mint();
    // An escaped dollar and a character that need not be escaped: who takes the link apart and puts it together again breaks it.
    let shown = format!("{path}?%24skiptoken=%7E{word}");
    let page = Page {
        shown: shown.clone(),
        first,
        skip,
        blank,
    };
    desk.world.pages.insert(format!("~{word}"), page);
    format!("{}{shown}", desk.asked.origin)
}

/// Puts together a page of `items`, from `skip` on.
pub(crate) fn cut<T>(
    desk: &mut Desk<'_>,
    items: &[T],
    skip: usize,
    default: usize,
    show: impl Fn(&mut Desk<'_>, &T) -> Value,
) -> Result<Answer, Answer> {
    let size = size(desk, default)?;
    let skip = skip + number(desk, "$skip")?.unwrap_or_default();
    let from = skip.min(items.len());
    let to = (skip + size).min(items.len());
    let value: Vec<Value> = items[from..to].iter().map(|item| show(desk, item)).collect();
    let mut page = json!({"@odata.context": format!("{}/v1.0/$metadata", desk.asked.origin)});
    if desk.asked.query().get("$count").is_some_and(|c| c == "true") {
        page["@odata.count"] = json!(items.len());
    }
    page["value"] = json!(value);
    if to < items.len() {
        let asked_skip = number(desk, "$skip")?.unwrap_or_default();
        let blank = desk.settings.empty_pages;
        page["@odata.nextLink"] = json!(link(desk, to - asked_skip, blank));
    }
    Ok(Answer::json(200, page))
}

/// Answers a next link.
pub(crate) fn go_on(desk: &mut Desk<'_>, word: &str, rest: &[&str]) -> Result<Answer, Answer> {
    if let Some(state) = desk.world.deltas.get(word) {
        if state.shown != desk.asked.target {
            return Err(bad("Badly formed token."));
        }
        return super::delta::go_on(desk, word);
    }
    let page = desk
        .world
        .pages
        .get(word)
        .filter(|p| p.shown == desk.asked.target)
        .cloned();
    let Some(page) = page else {
        return Err(bad("Skip token is malformed."));
    };
    let mut asked = desk.asked.clone();
    asked.target = page.first;
    let mut desk = Desk {
        world: &mut *desk.world,
        settings: desk.settings,
        asked: &asked,
        uploads: desk.uploads,
        app: desk.app,
        at: desk.at,
        immutable: desk.immutable,
    };
    if page.blank {
        let next = link(&mut desk, page.skip, false);
        return Ok(Answer::json(200, json!({"value": [], "@odata.nextLink": next})));
    }
    routed(&mut desk, rest, page.skip)
}
