//! What goes over the wire: requests taken apart, answers put together, OData's query options, MIME.
//! Invariant: nothing here knows what a mailbox holds.

pub(crate) mod extended;
pub(crate) mod mime;
pub(crate) mod odata;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::content::Content;

/// A request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query as they came.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// `https://host:port` as the client calls it.
    pub(crate) origin: String,
    /// Whether it stood in a batch.
    pub(crate) batched: bool,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> BTreeMap<String, String> {
        pairs(self.target.split_once('?').map_or("", |(_, q)| q))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Everything that the client prefers, in one line.
    pub(crate) fn prefer(&self) -> String {
        let all = self
            .headers
            .get_all("prefer")
            .iter()
            .filter_map(|v| v.to_str().ok());
        all.collect::<Vec<_>>().join(", ")
    }

    /// Whether ids must be the immutable ones.
    pub(crate) fn immutable(&self) -> bool {
        let prefer = self.prefer().to_ascii_lowercase().replace(' ', "");
        prefer.split(',').any(|p| p == "idtype=\"immutableid\"")
    }

    pub(crate) fn max_page_size(&self) -> Option<usize> {
        let prefer = self.prefer();
        let mut all = prefer.split(',').map(str::trim);
        all.find_map(|p| p.strip_prefix("odata.maxpagesize=")?.parse().ok())
    }

    /// The path in parts, decoded; `mailFolders('x')` is `mailFolders`, `x`.
    pub(crate) fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        for part in self.path().split('/').filter(|p| !p.is_empty()) {
            let part = decode(part, false);
            match part
                .split_once("('")
                .map(|(name, id)| (name.to_owned(), id.strip_suffix("')")))
            {
                Some((name, Some(id))) => parts.extend([name, id.to_owned()]),
                _ => parts.push(part),
            }
        }
        parts
    }

    pub(crate) fn json(&self) -> Result<Value, Answer> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Answer::error(400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
        })
    }
}

pub(crate) fn decode(text: &str, plus: bool) -> String {
    let text = if plus {
        text.replace('+', " ")
    } else {
        text.to_owned()
    };
    percent_encoding::percent_decode_str(&text)
        .decode_utf8_lossy()
        .into_owned()
}

/// `a=b&c=d`, decoded.
pub(crate) fn pairs(text: &str) -> BTreeMap<String, String> {
    let each = text.split('&').filter(|p| !p.is_empty());
    each.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name, true), decode(value, true))
    })
    .collect()
}

/// What an answer carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    Text(String, &'static str),
    Content(Content, String),
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) const fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    pub(crate) const fn json(status: u16, value: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Json(value),
        }
    }

    /// An error as Graph words it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(
            status,
            json!({"error": {"code": code, "message": message, "innerError": {
                "date": crate::graph::time(jiff::Timestamp::now()).trim_end_matches('Z'),
                "request-id": crate::mailbox::guid(1),
                "client-request-id": crate::mailbox::guid(2),
            }}}),
        )
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("a status")
    }
}
