//! Extended properties of one value: their ids, how they are filtered by and expanded. Source: Microsoft, "Outlook extended
//! properties overview" and "Get singleValueLegacyExtendedProperty".
//! Invariant: an id is one form, however it is written; a property is shown to who asks for it by its id, to nobody else.

use serde_json::{Value, json};

use super::Answer;

const TYPES: &[&str] = &[
    "Binary",
    "Boolean",
    "CLSID",
    "Double",
    "Float",
    "Integer",
    "Long",
    "Short",
    "String",
    "SystemTime",
];

fn refused(what: &str) -> Answer {
    Answer::error(400, "ErrorInvalidProperty", what)
}

/// `String {guid} Name text`, `String {guid} Id 0x8012` or `String 0x4001`; the GUID in lower case.
fn id(text: &str) -> Result<String, Answer> {
    let wrong = || refused(&format!("The extended property id '{text}' is invalid."));
    let mut words = text.splitn(4, ' ');
    let (kind, at) = (words.next().unwrap_or_default(), words.next().ok_or_else(wrong)?);
    let number = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or_default();
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit())
    };
    let rest = (words.next(), words.next());
    let good = match rest {
        (None, None) => number(at),
        (Some("Name"), Some(name)) => is_guid(at) && !name.is_empty(),
        (Some("Id"), Some(name)) => is_guid(at) && number(name),
        _ => false,
    };
    if !good || !TYPES.contains(&kind) {
        return Err(wrong());
    }
    let (how, name) = (rest.0.unwrap_or_default(), rest.1.unwrap_or_default());
    Ok(format!("{kind} {} {how} {name}", at.to_ascii_lowercase())
        .trim_end()
        .to_owned())
}

fn is_guid(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) else {
        return false;
    };
    let lengths: Vec<usize> = inner.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && inner.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn literal(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

/// What a body gives a message.
pub(crate) fn read(given: &Value) -> Result<Vec<(String, String)>, Answer> {
    let all = match given {
        Value::Null => return Ok(Vec::new()),
        Value::Array(all) => all,
        _ => return Err(refused("singleValueExtendedProperties is a collection.")),
    };
    let one = |value: &Value| match (value["id"].as_str(), value["value"].as_str()) {
        (Some(name), Some(text)) => Ok((id(name)?, text.to_owned())),
        _ => Err(refused("An extended property has an id and a value.")),
    };
    all.iter().map(one).collect()
}

/// A filter's `singleValueExtendedProperties/any(x: x/id eq '…' and x/value eq '…')`: id and value. None if it is another.
pub(crate) fn filtered(term: &str) -> Result<Option<(String, String)>, Answer> {
    let Some(rest) = term.trim().strip_prefix("singleValueExtendedProperties/") else {
        return Ok(None);
    };
    let wrong = || refused(&format!("Invalid filter clause: '{term}'"));
    let inner = ["any(", "Any("].iter().find_map(|any| rest.strip_prefix(any));
    let inner = inner.and_then(|i| i.strip_suffix(')')).ok_or_else(wrong)?;
    let (variable, test) = inner.split_once(':').ok_or_else(wrong)?;
    let variable = variable.trim();
    let (name, value) = test.trim().split_once(" and ").ok_or_else(wrong)?;
    let of = |part: &str, what: &str| {
        let part = part.trim().strip_prefix(&format!("{variable}/{what} eq "))?;
        literal(part)
    };
    let name = of(name, "id").ok_or_else(wrong)?;
    let value = of(value, "value").ok_or_else(wrong)?;
    Ok(Some((id(&name)?, value)))
}

/// Whether there is such a property with this value, whatever its case.
pub(crate) fn has(all: &[(String, String)], id: &str, value: &str) -> bool {
    all.iter()
        .any(|(name, text)| name == id && text.to_lowercase() == value.to_lowercase())
}

/// What `$expand=singleValueExtendedProperties($filter=id eq '…')` asks for; none if it is another expansion.
pub(crate) fn expanded(text: &str) -> Result<Option<String>, Answer> {
    let Some(rest) = text.trim().strip_prefix("singleValueExtendedProperties") else {
        return Ok(None);
    };
    let inner = rest.strip_prefix("($filter=").and_then(|i| i.strip_suffix(')'));
    let name = inner
        .and_then(|i| i.trim().strip_prefix("id eq "))
        .and_then(literal)
        .ok_or_else(|| refused("Extended properties are expanded by a filter for their id."))?;
    id(&name).map(Some)
}

/// The property of this id as JSON; nothing where there is none.
pub(crate) fn show(all: &[(String, String)], id: &str) -> Option<Value> {
    let (name, value) = all.iter().find(|(name, _)| name == id)?;
    Some(json!([{"id": name, "value": value}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {8ecc0000-6880-4ebe-992f-8888d2eeaa1d} Name a b";

    #[test]
    fn ids_are_one_form() {
        assert_eq!(
            id("String {8ECC0000-6880-4EBE-992F-8888D2EEAA1D} Name a b").unwrap(),
            ID
        );
        assert!(id("Integer {8ECC0000-6880-4EBE-992F-8888D2EEAA1D} Id 0x8012").is_ok());
        assert!(id("String 0x4001").is_ok());
        for bad in [
            "",
            "String",
            "String name",
            "Text {8ecc0000-6880-4ebe-992f-8888d2eeaa1d} Name a",
            "String 8ecc0000-6880-4ebe-992f-8888d2eeaa1d Name a",
            "String {8ecc0000-6880-4ebe-992f} Name a",
            "String {8ecc0000-6880-4ebe-992f-8888d2eeaa1d} name a",
            "String {8ecc0000-6880-4ebe-992f-8888d2eeaa1d} Id 8012",
        ] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_and_expansions() {
        let clause = |inner: &str| format!("singleValueExtendedProperties/any({inner})");
        let good = clause(&format!("ep: ep/id eq '{ID}' and ep/value eq 'x''y'"));
        let (name, value) = filtered(&good).unwrap().unwrap();
        assert_eq!((&*name, &*value), (ID, "x'y"));
        assert!(has(&[(ID.to_owned(), "X'Y".to_owned())], &name, &value));
        assert!(filtered("subject eq 'x'").unwrap().is_none());
        for bad in [
            format!("ep: ep/id eq '{ID}'"),
            format!("ep: ep/value eq 'x' and ep/id eq '{ID}'"),
            format!("ep: other/id eq '{ID}' and ep/value eq 'x'"),
            "ep: ep/id eq 'x' and ep/value eq 'x'".to_owned(),
        ] {
            assert!(filtered(&clause(&bad)).is_err(), "{bad}");
        }
        let all = format!("singleValueExtendedProperties($filter=id eq '{ID}')");
        assert_eq!(expanded(&all).unwrap().unwrap(), ID);
        assert!(expanded("singleValueExtendedProperties").is_err());
        assert!(expanded("attachments").unwrap().is_none());
    }
}
