//! Graph mail: one mailbox's requests, repeated where that is safe, within the budget that the mailbox has.
//!
//! Invariants: at most four requests to a mailbox are under way, a download counts until it is dropped; a creation is
//! repeated only where it was refused before anything happened; ids are immutable ones on every call; a link of Graph
//! is followed as it stands, and only to Graph.

mod batch;
mod breaker;
mod budget;
mod download;
mod error;
mod page;
mod places;
mod send;
mod upload;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant as SystemInstant},
};

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::{Serialize, de::DeserializeOwned};

pub use batch::{BatchAnswer, BatchItem};
pub(crate) use budget::Budget;
pub use download::Download;
pub use error::{GraphError, GraphFault};
pub use page::{PageOf, Pages};
pub(crate) use places::Places;
pub use upload::UploadSource;

use send::{Ask, Repeat};

use crate::{national::default_scope, net::Net, registry::App, registry::Cloud, token::TokenSource};

/// What may stand in a path bare (RFC 3986 section 3.3, narrower).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=')
    .remove(b'@');

/// One segment of a path: an id or an address, percent-encoded. Segments that would climb (`..`) become one that nothing
/// has for a name.
#[must_use]
pub fn segment(text: &str) -> String {
    if text.is_empty() || text.trim_matches('.').is_empty() {
        return "_".to_owned();
    }
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// How much is asked of Graph, and for how long. Source of the defaults: Microsoft, "Microsoft Graph service-specific
/// throttling limits", Outlook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphLimits {
    /// Requests under way for each mailbox.
    pub in_flight: u32,
    /// Requests under way for the whole app, all mailboxes together; none for no limit.
    pub app_in_flight: Option<u32>,
    /// Requests to a mailbox within [`GraphLimits::request_span`].
    pub requests: u64,
    /// The time for `requests`.
    pub request_span: Duration,
    /// Bytes uploaded to a mailbox within [`GraphLimits::upload_span`].
    pub upload_bytes: u64,
    /// The time for `upload_bytes`.
    pub upload_span: Duration,
    /// Most tries of one request.
    pub attempts: u32,
    /// Longest that one request waits for a throttled or unwell service, all its tries together.
    pub patience: Duration,
    /// Longest wait for one of the places of `in_flight`.
    pub queue: Duration,
    /// The first wait between two tries where the service names none; it doubles, up to a minute.
    pub backoff: Duration,
    /// How long a service is taken to be away once a request has spent all its tries on it, unless it answers sooner:
    /// until then each request is made once.
    pub away: Duration,
}

impl Default for GraphLimits {
    fn default() -> Self {
        Self {
            in_flight: 4,
            app_in_flight: None,
            requests: 10_000,
            request_span: Duration::from_secs(600),
            upload_bytes: 150_000_000,
            upload_span: Duration::from_secs(300),
            attempts: 6,
            patience: Duration::from_secs(60),
            queue: Duration::from_secs(120),
            backoff: Duration::from_secs(1),
            away: Duration::from_secs(30),
        }
    }
}

/// Graph for one app.
pub struct Graph {
    base: Url,
    net: Arc<Net>,
    tokens: Arc<TokenSource>,
    client: String,
    cloud: Cloud,
    limits: GraphLimits,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl Graph {
    pub(crate) fn open(
        cloud: &Cloud,
        app: &App,
        base: &str,
        limits: GraphLimits,
    ) -> Result<Arc<Self>, GraphError> {
        let base = Url::parse(base.trim_end_matches('/'))
            .ok()
            .filter(|url| url.scheme() == "https" && url.query().is_none() && url.username().is_empty())
            .ok_or_else(|| {
                GraphError::here(
                    GraphFault::Invalid,
                    format!("{base:?} is no https URL of Graph's root"),
                )
            })?;
        let scope = default_scope(&base.origin().ascii_serialization());
        Ok(Arc::new(Self {
            tokens: cloud.tokens(app, &scope).map_err(GraphError::token)?,
            base,
            net: Arc::clone(&app.net),
            client: app.client_id.clone(),
            cloud: cloud.clone(),
            limits,
        }))
    }

    /// A mailbox by its address or its user's id. Nothing is asked yet.
    #[must_use]
    pub fn mailbox(self: &Arc<Self>, address: &str) -> GraphMailbox {
        let relative = format!("/users/{}", segment(address));
        let mut root = self.base.clone();
        root.set_path(&format!("{}{relative}", self.base.path().trim_end_matches('/')));
        GraphMailbox {
            budget: self.cloud.budget(&self.client, address, &self.limits),
            graph: Arc::clone(self),
            root,
            relative,
            prefer: Arc::default(),
        }
    }

    /// Where its tokens come from.
    #[must_use]
    pub fn tokens(&self) -> &Arc<TokenSource> {
        &self.tokens
    }
}

/// One mailbox in Graph. Cheap to clone. Paths are relative to the mailbox and percent-encoded by the caller, see
/// [`segment`], e.g. `mailFolders/inbox?$select=id`.
#[derive(Clone)]
pub struct GraphMailbox {
    graph: Arc<Graph>,
    root: Url,
    relative: String,
    budget: Arc<Budget>,
    prefer: Arc<[String]>,
}

impl fmt::Debug for GraphMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphMailbox").finish_non_exhaustive()
    }
}

impl GraphMailbox {
    /// The same mailbox, its calls with one more `Prefer`, e.g. `outlook.body-content-type="text"`.
    #[must_use]
    pub fn preferring(&self, preference: &str) -> Self {
        let more = std::iter::once(preference.to_owned());
        Self {
            prefer: self.prefer.iter().cloned().chain(more).collect(),
            ..self.clone()
        }
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// As [`GraphError`] tells; all that passes was tried again.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, GraphError> {
        self.json(&self.ask(Method::GET, path, Repeat::Always)?).await
    }

    /// Reads a list page by page. `max_page` is asked for with `odata.maxpagesize`; Graph may send less.
    #[must_use]
    pub fn pages<T>(&self, path: &str, max_page: Option<u32>) -> Pages<T> {
        Pages::new(self.clone(), self.url(path), max_page)
    }

    /// The same from a link that Graph gave before, e.g. a delta link that was kept.
    #[must_use]
    pub fn pages_from_link<T>(&self, link: &str, max_page: Option<u32>) -> Pages<T> {
        Pages::new(self.clone(), self.link(link), max_page)
    }

    /// Creates something, or sets something going. It is tried again only where it was refused before it happened.
    ///
    /// # Errors
    /// As [`GraphError`] tells; where [`GraphError::uncertain`], it may have happened.
    pub async fn post<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, GraphError> {
        let ask = self.ask(Method::POST, path, Repeat::WhereRefused)?;
        self.json(&ask.json(body)?).await
    }

    /// The same with a body of another type, e.g. a message as base64 of its MIME with `text/plain`.
    ///
    /// # Errors
    /// As for [`GraphMailbox::post`].
    pub async fn post_raw<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<T, GraphError> {
        let ask = self.ask(Method::POST, path, Repeat::WhereRefused)?;
        self.budget.upload(body.len() as u64).await;
        self.json(&ask.body(content_type, body)).await
    }

    /// Changes something; the same change twice is one change.
    ///
    /// # Errors
    /// As [`GraphError`] tells.
    pub async fn patch<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, GraphError> {
        let ask = self.ask(Method::PATCH, path, Repeat::Always)?;
        self.json(&ask.json(body)?).await
    }

    /// Deletes something. Not found at a second try means that the first one did it.
    ///
    /// # Errors
    /// As [`GraphError`] tells.
    pub async fn delete(&self, path: &str) -> Result<(), GraphError> {
        self.remove(&self.ask(Method::DELETE, path, Repeat::Always)?)
            .await
    }

    /// Raw content (`…/$value`). The download keeps its place in the budget until it is dropped; one that breaks off is
    /// for the caller to begin anew.
    ///
    /// # Errors
    /// As [`GraphError`] tells.
    pub async fn download(&self, path: &str) -> Result<Download, GraphError> {
        let ask = self.ask(Method::GET, path, Repeat::Always)?.accept("*/*");
        let (response, pass) = self.answer(&ask).await?;
        Ok(Download::new(response, pass, Arc::clone(&self.budget)))
    }

    /// Several requests at once, in pieces of twenty; each that was throttled or met an unwell service is tried again by
    /// the rules of its method. The answers have the order of the items.
    ///
    /// # Errors
    /// As [`GraphError`] tells, for the batch as a whole. What became of each item is in its answer.
    pub async fn batch(&self, items: Vec<BatchItem>) -> Result<Vec<BatchAnswer>, GraphError> {
        batch::run(self, items).await
    }

    /// Adds a file to a message and gives the attachment's id as Graph gave it: that of an upload session may not be the
    /// immutable one. Up to 3 MB go in one request, more in an upload session.
    ///
    /// # Errors
    /// As [`GraphError`] tells; where [`GraphError::uncertain`], the attachment may exist.
    pub async fn upload(
        &self,
        message: &str,
        name: &str,
        size: u64,
        content_type: &str,
        source: &dyn UploadSource,
    ) -> Result<String, GraphError> {
        upload::run(self, message, name, size, content_type, source).await
    }

    /// How many requests this mailbox has cost, all who use it together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.budget.calls()
    }

    /// Bytes of bodies that came in.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.budget.bytes_in()
    }

    /// Bytes of bodies that went out.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.budget.bytes_out()
    }

    /// How many requests are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.budget.in_flight()
    }

    /// Until when Graph wants to be left alone about this mailbox.
    #[must_use]
    pub fn throttled_until(&self) -> Option<SystemInstant> {
        self.budget.closed_until()
    }

    /// A path of this mailbox as a URL.
    fn url(&self, path: &str) -> Result<Url, GraphError> {
        let text = format!("{}/{path}", self.root);
        Url::parse(&text)
            .ok()
            .filter(|url| url.path().starts_with(self.root.path()) && url.origin() == self.root.origin())
            .ok_or_else(|| GraphError::here(GraphFault::Invalid, "a path leaves its mailbox".to_owned()))
    }

    /// A link that Graph gave. It goes to Graph or nowhere: the token is sent along.
    fn link(&self, link: &str) -> Result<Url, GraphError> {
        Url::parse(link)
            .ok()
            .filter(|url| url.origin() == self.root.origin() && url.username().is_empty())
            .ok_or_else(|| {
                GraphError::here(
                    GraphFault::Broken,
                    "a link that Graph gave leads to another host".to_owned(),
                )
            })
    }

    fn ask(&self, method: Method, path: &str, repeat: Repeat) -> Result<Ask, GraphError> {
        Ok(Ask::new(method, self.url(path)?, repeat).prefer(self.prefer.iter().cloned()))
    }
}

#[cfg(test)]
mod tests;
