//! The tree against the schema of the options, all problems at once.
//!
//! Only what the schemas of our options use is understood: `type`, `enum`, `const`, `required`,
//! `properties`, `additionalProperties`, `maxProperties` (of one), `items`, `minimum`, `maximum`, `minLength`, `minItems`,
//! `anyOf`, `oneOf`, alternatives told apart by a tag, and other names of an option (`x-aliases`). What is not understood is left to serde,
//! which reads the same tree afterwards.

use std::sync::LazyLock;

use portreeve_model::options::{DurationText, SizeText};
use serde_json::Value as Json;

use super::{
    problem::{Problem, did_you_mean},
    tree::{Node, Value},
};

/// Adds every way in which `node` differs from `schema`. `what` names the node in messages.
pub(super) fn validate(schema: &Json, node: &Node, what: &str, problems: &mut Vec<Problem>) {
    if let Some(all) = schema.get("allOf").and_then(Json::as_array) {
        for part in all {
            validate(part, node, what, problems);
        }
    }
    if let Some(choices) = alternatives(schema) {
        return choose(&choices, node, what, problems);
    }
    let words = words_of(schema);
    if !words.is_empty() {
        return check_word(&words, node, what, problems);
    }
    if !fits(schema, node) {
        problems.push(wrong_kind(schema, node, what));
        return;
    }
    match &node.value {
        Value::Text(text) => check_text(schema, text, node, what, problems),
        Value::Integer(number) => {
            check_number(schema, *number as f64, &number.to_string(), node, what, problems);
        }
        Value::Float(number) => check_number(schema, *number, &number.to_string(), node, what, problems),
        Value::List(items) => {
            if items.is_empty()
                && schema
                    .get("minItems")
                    .and_then(Json::as_u64)
                    .is_some_and(|n| n > 0)
            {
                problems.push(Problem::new(
                    node.span.clone(),
                    format!("{what} may not be empty"),
                ));
            }
            if let Some(schema) = schema.get("items") {
                for item in items {
                    validate(schema, item, &format!("an item of {what}"), problems);
                }
            }
        }
        Value::Table(_) => check_table(schema, node, what, problems),
        Value::Bool(_) | Value::Date(_) => {}
    }
}

fn check_table(schema: &Json, node: &Node, what: &str, problems: &mut Vec<Problem>) {
    let properties = schema.get("properties").and_then(Json::as_object);
    let known: Vec<&str> = properties
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    for entry in node.entries() {
        let named = properties.and_then(|all| all.get(&entry.key));
        let named = named.or_else(|| properties?.values().find(|option| is_called(option, &entry.key)));
        if let Some(schema) = named {
            validate(schema, &entry.node, &format!("'{}'", entry.key), problems);
            continue;
        }
        match schema.get("additionalProperties") {
            Some(Json::Bool(false)) => {
                let mut problem = Problem::new(
                    entry.key_span.clone(),
                    format!("unknown key '{}' in {what}", entry.key),
                );
                problem.hint = did_you_mean(&entry.key, known.iter().copied())
                    .or_else(|| Some(format!("the keys here are {}", known.join(", "))));
                problems.push(problem);
            }
            Some(schema @ Json::Object(_)) => {
                validate(schema, &entry.node, &format!("'{}'", entry.key), problems);
            }
            _ => {}
        }
    }
    let most = schema.get("maxProperties").and_then(Json::as_u64);
    if most == Some(1) && node.entries().len() != 1 {
        let message = format!("{what} takes exactly one of {}", known.join(", "));
        problems.push(Problem::new(node.span.clone(), message));
    }
    let required = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten();
    for key in required.filter_map(Json::as_str).filter(|key| {
        let option = properties.and_then(|all| all.get(*key));
        let mut entries = node.entries().iter();
        !entries.any(|entry| entry.key == *key || option.is_some_and(|o| is_called(o, &entry.key)))
    }) {
        let mut problem = Problem::new(head(node), format!("{what} needs '{key}'"));
        let about = properties.and_then(|all| all.get(key)).and_then(summary);
        problem.hint = about.map(|about| format!("{key}: {about}"));
        problems.push(problem);
    }
}

/// Whether an option has this other name, as its schema says.
fn is_called(option: &Json, key: &str) -> bool {
    let names = option.get("x-aliases").and_then(Json::as_array);
    names.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(key)))
}

/// The first line of a table: a missing key has no place of its own.
fn head(node: &Node) -> std::ops::Range<usize> {
    node.entries().first().map_or_else(
        || node.span.clone(),
        |first| {
            node.span.start
                ..first
                    .key_span
                    .start
                    .max(node.span.start + 1)
                    .min(node.span.end.max(1))
        },
    )
}

fn check_text(schema: &Json, text: &str, node: &Node, what: &str, problems: &mut Vec<Problem>) {
    let pattern = schema.get("pattern").and_then(Json::as_str);
    let wrong = if pattern.is_some() && pattern == PATTERNS.0.as_deref() {
        text.parse::<DurationText>().err().map(|error| error.to_string())
    } else if pattern.is_some() && pattern == PATTERNS.1.as_deref() {
        text.parse::<SizeText>().err().map(|error| error.to_string())
    } else {
        None
    };
    if let Some(wrong) = wrong {
        problems.push(Problem::new(node.span.clone(), format!("{what}: {wrong}")));
    }
    if text.is_empty()
        && schema
            .get("minLength")
            .and_then(Json::as_u64)
            .is_some_and(|n| n > 0)
    {
        problems.push(Problem::new(
            node.span.clone(),
            format!("{what} may not be empty"),
        ));
    }
}

/// The patterns by which durations and sizes are known in a schema.
static PATTERNS: LazyLock<(Option<String>, Option<String>)> = LazyLock::new(|| {
    let pattern = |schema: schemars::Schema| schema.get("pattern").and_then(Json::as_str).map(str::to_owned);
    (
        pattern(schemars::schema_for!(DurationText)),
        pattern(schemars::schema_for!(SizeText)),
    )
});

fn check_number(
    schema: &Json,
    number: f64,
    shown: &str,
    node: &Node,
    what: &str,
    problems: &mut Vec<Problem>,
) {
    let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        let message = format!("{what} is {shown}; the least is {least}");
        problems.push(Problem::new(node.span.clone(), message));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        let message = format!("{what} is {shown}; the most is {most}");
        problems.push(Problem::new(node.span.clone(), message));
    }
}

fn check_word(words: &[&str], node: &Node, what: &str, problems: &mut Vec<Problem>) {
    let Some(word) = node.as_text() else {
        let message = format!("{what} must be one of {}, not {}", words.join(", "), node.kind());
        problems.push(Problem::new(node.span.clone(), message));
        return;
    };
    if !words.contains(&word) {
        let message = format!("{what} is '{word}'; it must be one of {}", words.join(", "));
        let mut problem = Problem::new(node.span.clone(), message);
        problem.hint = did_you_mean(word, words.iter().copied());
        problems.push(problem);
    }
}

/// `enum`, `const`, and the alternatives of documented words.
fn words_of(schema: &Json) -> Vec<&str> {
    if let Some(word) = schema.get("const").and_then(Json::as_str) {
        return vec![word];
    }
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    listed.filter_map(Json::as_str).collect()
}

/// The branches of `anyOf` and `oneOf` without `null`, which TOML cannot write.
fn alternatives(schema: &Json) -> Option<Vec<&Json>> {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let is_null = |branch: &&Json| branch.get("type").and_then(Json::as_str) == Some("null");
    Some(branches.iter().filter(|branch| !is_null(branch)).collect())
}

fn choose(branches: &[&Json], node: &Node, what: &str, problems: &mut Vec<Problem>) {
    if let [only] = branches {
        return validate(only, node, what, problems);
    }
    let words: Vec<&str> = branches.iter().flat_map(|branch| words_of(branch)).collect();
    if !words.is_empty() && branches.iter().all(|branch| !words_of(branch).is_empty()) {
        return check_word(&words, node, what, problems);
    }
    if let Some(tag) = tag_of(branches) {
        return choose_by_tag(tag, branches, node, what, problems);
    }
    let mut best: Option<Vec<Problem>> = None;
    for branch in branches.iter().filter(|branch| fits(branch, node)) {
        let mut found = Vec::new();
        validate(branch, node, what, &mut found);
        if found.is_empty() {
            return;
        }
        if best.as_ref().is_none_or(|best| found.len() < best.len()) {
            best = Some(found);
        }
    }
    match best {
        Some(mut found) => problems.append(&mut found),
        None => {
            let kinds: Vec<String> = branches.iter().map(|branch| kind_of(branch)).collect();
            let message = format!("{what} must be {}, not {}", kinds.join(" or "), node.kind());
            problems.push(Problem::new(node.span.clone(), message));
        }
    }
}

/// The key that tells the branches apart: a constant in each of them.
fn tag_of<'a>(branches: &[&'a Json]) -> Option<&'a str> {
    let first = branches.first()?.get("properties")?.as_object()?;
    first
        .keys()
        .map(String::as_str)
        .find(|key| branches.iter().all(|branch| tag_word(branch, key).is_some()))
}

fn tag_word<'a>(branch: &'a Json, tag: &str) -> Option<&'a str> {
    branch.get("properties")?.get(tag)?.get("const")?.as_str()
}

fn choose_by_tag(tag: &str, branches: &[&Json], node: &Node, what: &str, problems: &mut Vec<Problem>) {
    let words: Vec<&str> = branches
        .iter()
        .filter(|branch| branch.get("x-unbuilt").is_none())
        .filter_map(|branch| tag_word(branch, tag))
        .collect();
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("{what} must be a table, not {}", node.kind());
        problems.push(Problem::new(node.span.clone(), message));
        return;
    }
    let Some(given) = node.get(tag) else {
        let problem = Problem::new(head(node), format!("{what} needs '{tag}'"));
        problems.push(problem.hint(format!("{tag} is one of {}", words.join(", "))));
        return;
    };
    match branches
        .iter()
        .find(|branch| given.as_text().is_some() && tag_word(branch, tag) == given.as_text())
    {
        Some(branch) if branch.get("x-unbuilt").is_some() => {
            let word = given.as_text().unwrap_or_default();
            problems.push(Problem::new(
                given.span.clone(),
                format!("{tag} '{word}' is not built yet in this version"),
            ));
        }
        Some(branch) => validate(branch, node, what, problems),
        None => check_word(&words, given, &format!("'{tag}' of {what}"), problems),
    }
}

fn fits(schema: &Json, node: &Node) -> bool {
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => return true,
    };
    kinds.into_iter().any(|kind| {
        matches!(
            (kind, &node.value),
            ("string", Value::Text(_) | Value::Date(_))
                | ("integer" | "number", Value::Integer(_))
                | ("number", Value::Float(_))
                | ("boolean", Value::Bool(_))
                | ("array", Value::List(_))
                | ("object", Value::Table(_))
        )
    })
}

fn wrong_kind(schema: &Json, node: &Node, what: &str) -> Problem {
    let problem = Problem::new(
        node.span.clone(),
        format!("{what} must be {}, not {}", kind_of(schema), node.kind()),
    );
    let wants_text = kind_of(schema) == "text";
    match &node.value {
        Value::Integer(number) if wants_text => {
            let pattern = schema.get("pattern").and_then(Json::as_str);
            let unit = match pattern {
                Some(_) if pattern == PATTERNS.0.as_deref() => "s",
                Some(_) if pattern == PATTERNS.1.as_deref() => " MiB",
                _ => "",
            };
            problem.hint(format!("write \"{number}{unit}\""))
        }
        Value::Text(text) if text.parse::<i64>().is_ok() => {
            problem.hint(format!("write {text}, without quotes"))
        }
        Value::Text(text) if matches!(text.as_str(), "true" | "false") => {
            problem.hint(format!("write {text}, without quotes"))
        }
        _ => problem,
    }
}

fn kind_of(schema: &Json) -> String {
    let one = |kind: &str| match kind {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => "something else",
    };
    match schema.get("type") {
        Some(Json::String(kind)) => one(kind).to_owned(),
        Some(Json::Array(kinds)) => {
            let kinds = kinds
                .iter()
                .filter_map(Json::as_str)
                .filter(|kind| *kind != "null");
            kinds.map(one).collect::<Vec<_>>().join(" or ")
        }
        _ => {
            let words = words_of(schema);
            if words.is_empty() {
                "something else".to_owned()
            } else {
                words.join(", ")
            }
        }
    }
}

/// The first line of a schema's description.
fn summary(schema: &Json) -> Option<&str> {
    schema.get("description").and_then(Json::as_str)?.lines().next()
}
