//! Several requests in one. Source: Microsoft, "Combine multiple HTTP requests using JSON batching".
//!
//! A batch takes as many places of the budget as it has items, the whole at most: Graph runs them side by side.

use std::collections::HashMap;

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    GraphError, GraphFault, GraphMailbox,
    send::{Ask, IMMUTABLE, Repeat, Tries, broken},
};
use crate::patience;

/// Most items of one batch, by Graph's rule.
const MOST: usize = 20;

/// One request of a batch.
#[derive(Debug, Clone)]
pub struct BatchItem {
    /// Its method.
    pub method: Method,
    /// Its path, relative to the mailbox.
    pub path: String,
    /// Its body of JSON.
    pub body: Option<Value>,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The path is relative to Graph's root: a link that Graph gave.
    rooted: bool,
}

impl BatchItem {
    /// Reads a resource.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::of(Method::GET, path, None)
    }

    /// Deletes a resource.
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Self {
        Self::of(Method::DELETE, path, None)
    }

    /// Any request.
    #[must_use]
    pub fn of(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self {
            method,
            path: path.into(),
            body,
            headers: Vec::new(),
            rooted: false,
        }
    }

    /// Reads where a link leads that Graph gave, e.g. a delta link that was kept. It stands in `Debug`: do not log it.
    ///
    /// # Errors
    /// The link leads elsewhere.
    pub fn link(mailbox: &GraphMailbox, link: &str) -> Result<Self, GraphError> {
        let url = mailbox.link(link)?;
        let base = mailbox.graph.base.path().trim_end_matches('/');
        let path = url.path().strip_prefix(base).filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| broken("a link that Graph gave leads out of its root"))?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            rooted: true,
            ..Self::get(format!("{path}{query}"))
        })
    }

    fn repeat(&self) -> Repeat {
        if self.method == Method::POST {
            Repeat::WhereRefused
        } else {
            Repeat::Always
        }
    }
}

/// What became of one request of a batch.
#[derive(Debug, Clone)]
pub struct BatchAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body; null where there was none.
    pub body: Value,
    /// Its refusal, where the status is no success.
    pub error: Option<GraphError>,
}

impl BatchAnswer {
    /// The body as what it stands for.
    ///
    /// # Errors
    /// The item was refused, or its body is another thing.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, GraphError> {
        match self.error {
            Some(error) => Err(error),
            None => serde_json::from_value(self.body)
                .map_err(|_| broken("an answer of a batch is not the JSON that was expected")),
        }
    }
}

#[derive(Serialize)]
struct Requests<'a> {
    requests: Vec<Request<'a>>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: String,
    method: &'a str,
    url: String,
    headers: HashMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a Value>,
}

#[derive(Deserialize)]
struct Responses {
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    id: String,
    status: u16,
    #[serde(default)]
    headers: HashMap<String, Value>,
    #[serde(default)]
    body: Value,
}

impl Response {
    fn header(&self, name: &str) -> Option<&Value> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// As with requests of their own, a success may hold an error, or JSON that was cut, which stands here as text.
    fn broken(&self) -> Option<GraphError> {
        let kind = self
            .header("content-type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if self.body.is_string() && kind.contains("json") {
            return Some(broken("an answer of a batch is not whole"));
        }
        GraphError::embedded(&serde_json::to_vec(&self.body).unwrap_or_default())
    }
}

pub(super) async fn run(
    mailbox: &GraphMailbox,
    items: Vec<BatchItem>,
) -> Result<Vec<BatchAnswer>, GraphError> {
    let mut answers = Vec::with_capacity(items.len());
    for items in items.chunks(MOST) {
        answers.extend(chunk(mailbox, items).await?);
    }
    Ok(answers)
}

/// Up to twenty items, until each has its answer.
async fn chunk(mailbox: &GraphMailbox, items: &[BatchItem]) -> Result<Vec<BatchAnswer>, GraphError> {
    let mut open: Vec<(usize, &BatchItem)> = items.iter().enumerate().collect();
    let mut answers: Vec<Option<BatchAnswer>> = items.iter().map(|_| None).collect();
    let mut tries = mailbox.tries();
    while !open.is_empty() {
        let mut came = once(mailbox, &open).await?;
        let mut left = Vec::new();
        let mut worst: Option<GraphError> = None;
        for (at, item) in open {
            let Some(answer) = came.remove(&at) else {
                return Err(broken("a batch's answer lacks an item"));
            };
            let answer = judge(item, answer, &tries);
            if let Some(error) = answer.error.as_ref().filter(|error| passes(item, error)) {
                if worst
                    .as_ref()
                    .is_none_or(|worse| worse.retry_after < error.retry_after)
                {
                    worst = Some(error.clone());
                }
                left.push((at, item));
            } else if answer.error.as_ref().is_none_or(|error| !error.is_away()) {
                mailbox.budget.breaker.reset();
            }
            if let Some(place) = answers.get_mut(at) {
                *place = Some(answer);
            }
        }
        open = left;
        if let Some(error) = worst
            && mailbox.again(Repeat::Always, &mut tries, error).await.is_err()
        {
            // Patience is at its end: the refusals are the answers.
            break;
        }
    }
    answers
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| broken("a batch's answer lacks an item"))
}

/// Whether an item may be asked again.
fn passes(item: &BatchItem, error: &GraphError) -> bool {
    match error.kind {
        GraphFault::Throttled => true,
        GraphFault::Unavailable => {
            error.status == Some(409) || error.says_unavailable() || item.repeat() == Repeat::Always
        }
        GraphFault::Broken => item.repeat() == Repeat::Always,
        GraphFault::Unauthorized => true,
        _ => false,
    }
}

fn judge(item: &BatchItem, answer: Response, tries: &Tries) -> BatchAnswer {
    let mut error = None;
    if !(200..300).contains(&answer.status) {
        let body = serde_json::to_vec(&answer.body).unwrap_or_default();
        let mut found = GraphError::read(answer.status, &body);
        found.retry_after = answer.header("retry-after").and_then(|value| match value {
            Value::String(text) => patience::parse(text, std::time::SystemTime::now()),
            other => other.as_u64().map(std::time::Duration::from_secs),
        });
        if matches!(found.kind, GraphFault::Unavailable)
            && !(answer.status == 409 || found.says_unavailable())
            && item.repeat() == Repeat::WhereRefused
        {
            found.uncertain = true;
        }
        error = Some(found);
    }
    if error.is_none() {
        error = answer.broken().map(|found| GraphError {
            uncertain: item.repeat() == Repeat::WhereRefused,
            ..found
        });
    }
    let gone = error
        .as_ref()
        .is_some_and(|e| matches!(e.kind, GraphFault::NotFound) && !e.mailbox_unknown());
    if gone && item.method == Method::DELETE && tries.made() > 0 {
        return BatchAnswer {
            status: 204,
            body: Value::Null,
            error: None,
        };
    }
    BatchAnswer {
        status: answer.status,
        body: answer.body,
        error,
    }
}

async fn once(
    mailbox: &GraphMailbox,
    open: &[(usize, &BatchItem)],
) -> Result<HashMap<usize, Response>, GraphError> {
    let requests = open
        .iter()
        .map(|(at, item)| {
            let mut headers = HashMap::from([("Prefer", prefer(mailbox))]);
            if item.body.is_some() {
                headers.insert("Content-Type", "application/json".to_owned());
            }
            for (name, value) in &item.headers {
                headers.insert(name, value.clone());
            }
            Request {
                id: at.to_string(),
                method: item.method.as_str(),
                url: if item.rooted {
                    item.path.clone()
                } else {
                    format!("{}/{}", mailbox.relative, item.path)
                },
                headers,
                body: item.body.as_ref(),
            }
        })
        .collect();
    // Where one item is a creation, the whole is one.
    let repeat = if open.iter().all(|(_, item)| item.repeat() == Repeat::Always) {
        Repeat::Always
    } else {
        Repeat::WhereRefused
    };
    let mut url = mailbox.graph.base.clone();
    url.set_path(&format!("{}/$batch", url.path().trim_end_matches('/')));
    let count = open.len();
    let ask = Ask::new(Method::POST, url, repeat)
        .weighs(
            u32::try_from(count)
                .unwrap_or(u32::MAX)
                .min(mailbox.budget.most()),
            count as u64,
        )
        .json(&Requests { requests })?;
    let answer: Responses = mailbox.carried(&ask).await?;
    let mut came = HashMap::new();
    for response in answer.responses {
        if let Ok(at) = response.id.parse() {
            came.insert(at, response);
        }
    }
    Ok(came)
}

fn prefer(mailbox: &GraphMailbox) -> String {
    let mut all = vec![IMMUTABLE.to_owned()];
    all.extend(mailbox.prefer.iter().cloned());
    all.join(", ")
}
