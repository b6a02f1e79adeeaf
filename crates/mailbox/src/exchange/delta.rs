//! One round of a delta query: from where the last one ended to where the next one begins.
//!
//! Invariant: a round has an end only where a delta link is; pages that end without one are an error, so
//! that an answer that was cut is never taken for all.

use portreeve_microsoft::{GraphError, GraphFault, GraphMailbox, Pages};
use portreeve_model::Secret;
use serde::{Deserialize, de::DeserializeOwned};

/// A round.
pub(super) enum Round<T> {
    /// The first page is here already.
    Begun(First<T>),
    /// Under way.
    Pages(Box<Pages<T>>),
}

/// The first page, as it comes out of a batch.
#[derive(Deserialize)]
pub(super) struct First<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta: Option<String>,
}

impl<T> First<T> {
    pub(super) fn into_items(self) -> Vec<T> {
        self.value
    }
}

/// One page of it.
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    /// Where the next round begins; on the last page only.
    pub(super) link: Option<Secret>,
}

impl<T: DeserializeOwned> Round<T> {
    /// One that begins at a link.
    pub(super) fn at(graph: &GraphMailbox, link: &Secret, max_page: u32) -> Self {
        Self::Pages(Box::new(graph.pages_from_link(link.expose(), Some(max_page))))
    }

    /// The next page. After the one with the link there is none.
    pub(super) async fn next(&mut self, graph: &GraphMailbox, max_page: u32) -> Result<Part<T>, GraphError> {
        match self {
            Self::Begun(first) => {
                let part = Part {
                    items: std::mem::take(&mut first.value),
                    link: first.delta.take().map(Secret::new),
                };
                let next = first.next.take().map(Secret::new);
                match (&part.link, next) {
                    (Some(_), _) => {}
                    (None, Some(next)) => *self = Self::at(graph, &next, max_page),
                    (None, None) => return Err(endless()),
                }
                Ok(part)
            }
            Self::Pages(pages) => match pages.next().await? {
                Some(page) => Ok(Part {
                    items: page.value,
                    link: page.delta_link,
                }),
                None => Err(endless()),
            },
        }
    }
}

fn endless() -> GraphError {
    GraphError::here(
        GraphFault::Broken,
        "a delta ended without a link to the next one".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_list_is_no_page() {
        assert!(serde_json::from_str::<First<String>>("{}").is_err());
        assert!(serde_json::from_str::<First<String>>(r#"{"@odata.deltaLink":"x"}"#).is_err());
        let page: First<String> = serde_json::from_str(r#"{"value":["a"],"@odata.deltaLink":"x"}"#).unwrap();
        assert_eq!(
            (page.value.len(), page.next, page.delta.as_deref()),
            (1, None, Some("x"))
        );
    }
}
