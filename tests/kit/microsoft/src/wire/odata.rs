//! OData's query options as far as mail knows them: `$select`, `$filter`, `$orderby`, `$expand`.
//! Invariant: what is not understood is refused, as Graph refuses it; nothing is silently left out.

use jiff::Timestamp;

use super::{Answer, extended};
use crate::mailbox::Stored;

/// Properties of a message that can be selected.
pub(crate) const MESSAGE: &[&str] = &[
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "categories",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "internetMessageId",
    "subject",
    "bodyPreview",
    "importance",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "isRead",
    "isDraft",
    "webLink",
    "inferenceClassification",
    "body",
    "sender",
    "from",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "flag",
    "internetMessageHeaders",
    "uniqueBody",
];

/// Properties of every attachment; `contentBytes` belongs to one kind of them only.
pub(crate) const ATTACHMENT: &[&str] = &[
    "id",
    "name",
    "contentType",
    "size",
    "isInline",
    "lastModifiedDateTime",
];

/// The same, of files.
pub(crate) const CAST: &[&str] = &[
    "microsoft.graph.fileAttachment/contentBytes",
    "microsoft.graph.fileAttachment/contentId",
    "microsoft.graph.fileAttachment/contentLocation",
];

/// Properties of a folder.
pub(crate) const FOLDER: &[&str] = &[
    "id",
    "displayName",
    "parentFolderId",
    "childFolderCount",
    "unreadItemCount",
    "totalItemCount",
    "sizeInBytes",
    "isHidden",
];

fn bad(message: &str) -> Answer {
    Answer::error(400, "RequestBroker--ParseUri", message)
}

/// The selected properties, each of which must be known.
pub(crate) fn select(text: Option<&str>, known: &[&str], of: &str) -> Result<Option<Vec<String>>, Answer> {
    let Some(text) = text else { return Ok(None) };
    let mut chosen = Vec::new();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        if !known.contains(&name) {
            return Err(bad(&format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type '{of}'."
            )));
        }
        chosen.push(name.to_owned());
    }
    Ok(Some(chosen))
}

/// What `$expand` asks for: attachments, or an extended property.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expand {
    pub(crate) select: Option<Vec<String>>,
    /// The id of the property.
    pub(crate) extended: Option<String>,
}

/// `attachments`, `attachments($select=…)`, or `singleValueExtendedProperties($filter=id eq '…')`.
pub(crate) fn expand(text: Option<&str>) -> Result<Option<Expand>, Answer> {
    let Some(text) = text else { return Ok(None) };
    if let Some(id) = extended::expanded(text)? {
        return Ok(Some(Expand {
            extended: Some(id),
            select: None,
        }));
    }
    let inner = match text.trim().strip_prefix("attachments") {
        Some("") => return Ok(Some(Expand::default())),
        Some(rest) => rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')),
        None => None,
    };
    let chosen = inner.and_then(|i| i.trim().strip_prefix("$select="));
    let Some(chosen) = chosen else {
        return Err(bad(&format!(
            "Parsing OData Select and Expand failed: '{text}' cannot be expanded."
        )));
    };
    let known: Vec<&str> = ATTACHMENT.iter().chain(CAST).copied().collect();
    Ok(Some(Expand {
        select: select(Some(chosen), &known, "Microsoft.OutlookServices.Attachment")?,
        extended: None,
    }))
}

/// One comparison of a filter.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) property: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String, bool),
    Time(&'static str, Timestamp),
    Starts(String),
    Contains(String),
    /// An extended property, by id and value.
    Extended(String, String),
}

impl Term {
    pub(crate) fn holds(&self, stored: &Stored) -> bool {
        let text = text_of(stored, &self.property);
        match &self.test {
            Test::Is(value, equal) => {
                let found = if self.property == "categories" {
                    stored.message.categories.iter().any(|c| c == value)
                } else {
                    text.eq_ignore_ascii_case(value)
                };
                found == *equal
            }
            Test::Starts(value) => text.to_lowercase().starts_with(&value.to_lowercase()),
            Test::Contains(value) => text.to_lowercase().contains(&value.to_lowercase()),
            Test::Extended(id, value) => extended::has(&stored.message.extended, id, value),
            Test::Time(how, value) => {
                let time = match self.property.as_str() {
                    "receivedDateTime" | "sentDateTime" => stored.received,
                    "createdDateTime" => stored.created,
                    _ => stored.modified,
                };
                match *how {
                    "ge" => time >= *value,
                    "gt" => time > *value,
                    "le" => time <= *value,
                    "lt" => time < *value,
                    _ => time == *value,
                }
            }
        }
    }

    /// Whether it is a lower bound of the time of receipt: the only filter of a delta query.
    pub(crate) fn since(&self) -> bool {
        self.property == "receivedDateTime" && matches!(self.test, Test::Time("ge" | "gt", _))
    }
}

fn text_of(stored: &Stored, property: &str) -> String {
    let message = &stored.message;
    match property {
        "hasAttachments" => stored.has_attachments().to_string(),
        "isRead" => message.read.to_string(),
        "isDraft" => message.draft.to_string(),
        "subject" => message.subject.clone().unwrap_or_default(),
        "importance" => message.importance.clone(),
        "from/emailAddress/address" | "sender/emailAddress/address" => {
            message.from.clone().unwrap_or_default()
        }
        "internetMessageId" => crate::graph::messages::internet_id(stored),
        _ => String::new(),
    }
}

/// A filter: comparisons joined by `and`.
pub(crate) fn filter(text: Option<&str>) -> Result<Vec<Term>, Answer> {
    let Some(text) = text else { return Ok(Vec::new()) };
    conjuncts(text).iter().map(|term| one(term)).collect()
}

/// Splits at `and` outside of quotes and of `any(…)`.
fn conjuncts(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut within = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            quoted = !quoted;
        }
        if !quoted {
            within = (within || rest.starts_with("/any(") || rest.starts_with("/Any(")) && first != ')';
        }
        if !quoted && !within && rest.get(..5).is_some_and(|and| and.eq_ignore_ascii_case(" and ")) {
            all.push(String::new());
            rest = &rest[5..];
            continue;
        }
        all.last_mut().expect("one").push(first);
        rest = &rest[first.len_utf8()..];
    }
    all
}

fn one(term: &str) -> Result<Term, Answer> {
    let refused = || bad(&format!("Invalid filter clause: '{term}'"));
    let term = term.trim().trim_start_matches('(').trim();
    if let Some((id, value)) = extended::filtered(term)? {
        return Ok(Term {
            property: "singleValueExtendedProperties".to_owned(),
            test: Test::Extended(id, value),
        });
    }
    let literal = |text: &str| {
        let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        Some(inner.replace("''", "'"))
    };
    for (name, starts) in [("startswith(", true), ("contains(", false)] {
        if let Some(inner) = term.strip_prefix(name) {
            let (property, value) = inner
                .strip_suffix(')')
                .and_then(|i| i.split_once(','))
                .ok_or_else(refused)?;
            let value = literal(value).ok_or_else(refused)?;
            if !["subject", "from/emailAddress/address"].contains(&property.trim()) {
                return Err(refused());
            }
            return Ok(Term {
                property: property.trim().to_owned(),
                test: if starts {
                    Test::Starts(value)
                } else {
                    Test::Contains(value)
                },
            });
        }
    }
    if let Some(inner) = term
        .strip_prefix("categories/any(")
        .and_then(|i| i.strip_suffix(')'))
    {
        let (_, test) = inner.split_once(':').ok_or_else(refused)?;
        let (_, value) = test.split_once(" eq ").ok_or_else(refused)?;
        return Ok(Term {
            property: "categories".to_owned(),
            test: Test::Is(literal(value).ok_or_else(refused)?, true),
        });
    }
    let term = if term.matches('(').count() < term.matches(')').count() {
        term.trim_end_matches(')')
    } else {
        term
    };
    let mut words = term.splitn(3, ' ');
    let (Some(property), Some(how), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err(refused());
    };
    let test = match property {
        "receivedDateTime" | "sentDateTime" | "createdDateTime" | "lastModifiedDateTime" => {
            let how = ["ge", "gt", "le", "lt", "eq"]
                .into_iter()
                .find(|h| *h == how)
                .ok_or_else(refused)?;
            Test::Time(how, value.trim().parse().map_err(|_| refused())?)
        }
        "hasAttachments" | "isRead" | "isDraft" if ["true", "false"].contains(&value) => {
            Test::Is(value.to_owned(), equality(how).ok_or_else(refused)?)
        }
        "subject"
        | "importance"
        | "internetMessageId"
        | "from/emailAddress/address"
        | "sender/emailAddress/address" => Test::Is(
            literal(value).ok_or_else(refused)?,
            equality(how).ok_or_else(refused)?,
        ),
        _ => return Err(refused()),
    };
    Ok(Term {
        property: property.to_owned(),
        test,
    })
}

fn equality(how: &str) -> Option<bool> {
    match how {
        "eq" => Some(true),
        "ne" => Some(false),
        _ => None,
    }
}

/// An order: the property and whether it falls.
pub(crate) type Order = (String, bool);

/// The order, which must agree with the filter: its properties stand there too, first and in the same order.
pub(crate) fn orderby(text: Option<&str>, filter: &[Term]) -> Result<Vec<Order>, Answer> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let mut order = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (name, way) = part.split_once(' ').unwrap_or((part, "asc"));
        let known = [
            "receivedDateTime",
            "lastModifiedDateTime",
            "createdDateTime",
            "sentDateTime",
            "subject",
        ];
        if !known.contains(&name) || !["asc", "desc"].contains(&way.trim()) {
            return Err(bad(&format!("Invalid order by clause: '{part}'")));
        }
        order.push((name.to_owned(), way.trim() == "desc"));
    }
    let mut filtered: Vec<&str> = Vec::new();
    for term in filter {
        if !filtered.contains(&term.property.as_str()) {
            filtered.push(&term.property);
        }
    }
    let agrees = order
        .iter()
        .enumerate()
        .all(|(n, (name, _))| filtered.get(n) == Some(&name.as_str()));
    if !filter.is_empty() && !agrees {
        return Err(Answer::error(
            400,
            "InefficientFilter",
            "The restriction or sort order is too complex for this operation.",
        ));
    }
    Ok(order)
}

/// Puts messages in order; the latest first where none is asked for.
pub(crate) fn sort(messages: &mut [&Stored], order: &[Order]) {
    messages.sort_by(|a, b| {
        if order.is_empty() {
            return b.received.cmp(&a.received).then(b.key.cmp(&a.key));
        }
        for (name, falls) in order {
            let compared = match name.as_str() {
                "receivedDateTime" | "sentDateTime" => a.received.cmp(&b.received),
                "createdDateTime" => a.created.cmp(&b.created),
                "lastModifiedDateTime" => a.modified.cmp(&b.modified),
                _ => a.message.subject.cmp(&b.message.subject),
            };
            let compared = if *falls { compared.reverse() } else { compared };
            if compared.is_ne() {
                return compared;
            }
        }
        a.key.cmp(&b.key)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_must_agree_with_its_filter() {
        let cases = [
            ("", "receivedDateTime desc", true),
            ("hasAttachments eq true", "receivedDateTime", false),
            (
                "receivedDateTime ge 1900-01-01T00:00:00Z and hasAttachments eq true",
                "receivedDateTime",
                true,
            ),
            (
                "hasAttachments eq true and receivedDateTime ge 1900-01-01T00:00:00Z",
                "receivedDateTime",
                false,
            ),
            ("subject eq 'a and b'", "subject", true),
        ];
        for (text, order, good) in cases {
            let filter = filter(Some(text).filter(|t| !t.is_empty())).unwrap();
            assert_eq!(orderby(Some(order), &filter).is_ok(), good, "{text} / {order}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "size gt 3",
            "hasAttachments eq 'x'",
            "receivedDateTime ge yesterday",
            "subject",
            "subject eq x",
        ] {
            assert!(filter(Some(text)).is_err(), "{text}");
        }
        assert!(select(Some("id,sizes"), MESSAGE, "Message").is_err());
        assert!(select(Some("id,contentBytes"), ATTACHMENT, "Attachment").is_err());
        for text in [
            "attachments($top=1)",
            "extensions",
            "attachments($select=contentBytes)",
        ] {
            assert!(expand(Some(text)).is_err(), "{text}");
        }
        assert!(
            expand(Some("attachments($select=id,name)"))
                .unwrap()
                .unwrap()
                .select
                .is_some()
        );
    }
}
