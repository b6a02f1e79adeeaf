//! Lists, page by page: the next link is followed as it stands, to the end; a delta link comes with the last page.

use std::marker::PhantomData;

use http::Method;
use portreeve_model::Secret;
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    GraphError, GraphMailbox,
    send::{Ask, Repeat, broken},
};

/// Most pages of one list: a service that links in circles must come to an end. A million items at the smallest
/// page that Graph gives.
const MOST_PAGES: u32 = 100_000;

/// One page.
#[derive(Debug)]
pub struct PageOf<T> {
    /// Its items; a page may be empty and yet have a successor.
    pub value: Vec<T>,
    /// Where to ask later for what has changed since; on the last page of a delta query.
    pub delta_link: Option<Secret>,
    /// How many there are altogether, where `$count=true` asked for it.
    pub count: Option<u64>,
}

#[derive(Deserialize)]
struct Raw<T> {
    // Without a list it is no page: an answer that was cut must not look like the end of a list.
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta: Option<String>,
    #[serde(rename = "@odata.count")]
    count: Option<u64>,
}

/// A list that is read page by page.
pub struct Pages<T> {
    mailbox: GraphMailbox,
    next: Option<Result<Url, GraphError>>,
    prefer: Option<String>,
    read: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl<T> Pages<T> {
    pub(super) fn new(mailbox: GraphMailbox, first: Result<Url, GraphError>, max_page: Option<u32>) -> Self {
        Self {
            mailbox,
            next: Some(first),
            prefer: max_page.map(|most| format!("odata.maxpagesize={most}")),
            read: 0,
            of: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Pages<T> {
    /// The next page, or none after the last. After an error the same page can be asked for again.
    ///
    /// # Errors
    /// As [`GraphError`] tells; [`super::GraphFault::Gone`] where a delta link does not hold any more.
    pub async fn next(&mut self) -> Result<Option<PageOf<T>>, GraphError> {
        let url = match &self.next {
            None => return Ok(None),
            Some(Ok(url)) => url.clone(),
            Some(Err(error)) => return Err(error.clone()),
        };
        if self.read >= MOST_PAGES {
            return Err(broken("a list has no end"));
        }
        let prefer = self.mailbox.prefer.iter().chain(&self.prefer).cloned();
        let ask = Ask::new(Method::GET, url.clone(), Repeat::Always).prefer(prefer);
        let page: Raw<T> = self.mailbox.json(&ask).await?;
        self.read += 1;
        self.next = match page.next {
            None => None,
            Some(link) => {
                let next = self.mailbox.link(&link)?;
                if next == url {
                    return Err(broken("a page of a list links to itself"));
                }
                Some(Ok(next))
            }
        };
        Ok(Some(PageOf {
            value: page.value,
            delta_link: page.delta.map(Secret::new),
            count: page.count,
        }))
    }

    /// All items, `most` of them; more are an error.
    ///
    /// # Errors
    /// As for [`Pages::next`], and [`super::GraphFault::TooLarge`] where there are more.
    pub async fn all(mut self, most: usize) -> Result<Vec<T>, GraphError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            if all.len() + page.value.len() > most {
                return Err(GraphError::here(
                    super::GraphFault::TooLarge,
                    format!("a list has more than {most} items"),
                ));
            }
            all.extend(page.value);
        }
        Ok(all)
    }
}
