//! `$batch`: up to twenty requests in one.
//! Invariants: each is judged, throttled and failed by itself; answers come in another order than the questions; what
//! depends on a failed one is not tried (424).

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

use crate::wire::{Answer, Asked, Body};

const MOST: usize = 20;

fn bad(message: &str) -> Answer {
    Answer::error(400, "BadRequest", message)
}

/// One request of a batch.
pub(crate) struct One {
    pub(crate) id: String,
    pub(crate) asked: Asked,
    depends: Vec<String>,
}

/// Takes a batch apart.
pub(crate) fn read(asked: &Asked) -> Result<Vec<One>, Answer> {
    let body = asked.json()?;
    let requests = body["requests"]
        .as_array()
        .ok_or_else(|| bad("The batch has no requests."))?;
    if requests.is_empty() || requests.len() > MOST {
        return Err(bad("The number of batch requests must be between 1 and 20."));
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for request in requests {
        let id = request["id"].as_str().unwrap_or_default();
        if id.is_empty() || !seen.insert(id) {
            return Err(bad("Each request of a batch needs an id of its own."));
        }
        let method: Option<Method> = request["method"].as_str().and_then(|m| m.parse().ok());
        let url = request["url"].as_str().filter(|u| !u.contains("://"));
        let (Some(method), Some(url)) = (method, url) else {
            return Err(bad("A request of the batch has no method or no relative URL."));
        };
        let mut headers = HeaderMap::new();
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::try_from(name.to_ascii_lowercase());
            let value = HeaderValue::try_from(value.as_str().unwrap_or_default());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let body = match request.get("body") {
            None | Some(Value::Null) => Bytes::new(),
            Some(_) if !headers.contains_key("content-type") => {
                return Err(bad("A request of the batch has a body but no Content-Type."));
            }
            Some(Value::String(text)) => Bytes::from(text.clone()),
            Some(value) => Bytes::from(value.to_string()),
        };
        if let Some(value) = asked.headers.get("authorization") {
            headers.insert("authorization", value.clone());
        }
        let depends = request["dependsOn"].as_array().into_iter().flatten();
        all.push(One {
            id: id.to_owned(),
            asked: Asked {
                method,
                target: format!("/v1.0/{}", url.trim_start_matches('/')),
                headers,
                body,
                origin: asked.origin.clone(),
                batched: true,
            },
            depends: depends.filter_map(Value::as_str).map(str::to_owned).collect(),
        });
    }
    Ok(all)
}

/// Whether something that it depends on has failed.
pub(crate) fn blocked(one: &One, done: &BTreeMap<String, Answer>) -> bool {
    one.depends
        .iter()
        .any(|id| done.get(id).is_none_or(|a| a.status >= 400))
}

/// Puts the answers together: the last first.
pub(crate) fn show(done: &BTreeMap<String, Answer>) -> Answer {
    let mut all: Vec<Value> = done.iter().map(|(id, answer)| shown(id, answer)).collect();
    all.reverse();
    Answer::json(200, json!({"responses": all}))
}

fn shown(id: &str, answer: &Answer) -> Value {
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        headers.insert(title(name), json!(value));
    }
    let body = match &answer.body {
        Body::Empty => Value::Null,
        Body::Json(value) => {
            headers.insert("Content-Type".to_owned(), json!("application/json"));
            value.clone()
        }
        Body::Text(text, kind) => {
            headers.insert("Content-Type".to_owned(), json!(kind));
            json!(text)
        }
        Body::Content(content, kind) => {
            headers.insert("Content-Type".to_owned(), json!(kind));
            json!(STANDARD.encode(content.all()))
        }
    };
    let mut shown = json!({"id": id, "status": answer.status, "headers": headers});
    if body != Value::Null {
        shown["body"] = body;
    }
    shown
}

/// `retry-after` as `Retry-After`: within JSON the case of names is what it is.
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|f| f.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
