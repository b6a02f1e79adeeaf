//! The mailbox's folders, asked as a whole and kept up by delta queries.
//!
//! Invariants: one question at a time; the tree is replaced or changed as a whole answer came; while
//! Exchange asks us to slow down, the last tree serves; folders that are gone take their index with them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use portreeve_microsoft::{BatchItem, GraphError, GraphFault, segment};
use portreeve_model::Secret;
use portreeve_vfs::{FsErrorKind, FsResult};
use serde::Deserialize;

use super::{
    Inner,
    delta::Round,
    tree::{Tree, WELL_KNOWN},
    wire::{FOLDER_FIELDS, FolderItem},
};
use crate::FolderId;

/// Folders on a page.
const PAGE: u32 = 250;
/// How long a tree that had to be asked level by level may be reused at least.
const BY_LEVEL: Duration = Duration::from_mins(1);

/// What is known of the folders.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) tree: Arc<Tree>,
    /// Where the next delta begins.
    pub(super) link: Option<Secret>,
    /// When it was last asked.
    asked: Option<Instant>,
    /// There is a tree.
    loaded: bool,
    /// Deltas of folders are refused here.
    by_level: bool,
}

#[derive(Deserialize)]
struct IdOnly {
    id: String,
}

impl Folders {
    pub(super) fn is_fresh(&self, fresh_for: Duration) -> bool {
        let fresh_for = if self.by_level {
            fresh_for.max(BY_LEVEL)
        } else {
            fresh_for
        };
        self.loaded && self.asked.is_some_and(|asked| asked.elapsed() < fresh_for)
    }

    #[cfg(test)]
    pub(super) fn expire(&mut self) {
        self.asked = None;
    }
}

impl Inner {
    /// The folders, as fresh as they must be.
    pub(super) async fn tree(&self) -> FsResult<Arc<Tree>> {
        let mut folders = self.folders.lock().await;
        self.refresh_folders(&mut folders, None).await?;
        Ok(Arc::clone(&folders.tree))
    }

    /// Brings the folders up to date; `begun` is the first page of a delta that was asked together with
    /// another.
    pub(super) async fn refresh_folders(
        &self,
        folders: &mut Folders,
        begun: Option<Result<Round<FolderItem>, GraphError>>,
    ) -> FsResult<()> {
        if begun.is_none() && folders.is_fresh(self.fresh_for) {
            return Ok(());
        }
        let asked = Instant::now();
        let done = if folders.loaded && begun.is_none() && self.is_throttled() {
            Err(FsErrorKind::Throttled.into())
        } else {
            self.ask_folders(folders, begun).await
        };
        match done {
            Ok(()) => {}
            Err(error) if folders.loaded && error.kind() == FsErrorKind::Throttled => {
                tracing::debug!(mailbox = %self.address, "Exchange asks to slow down: the last folders serve");
            }
            Err(error) => return Err(error),
        }
        folders.asked = Some(asked);
        Ok(())
    }

    async fn ask_folders(
        &self,
        folders: &mut Folders,
        begun: Option<Result<Round<FolderItem>, GraphError>>,
    ) -> FsResult<()> {
        if let Some(link) = folders.link.clone() {
            let round = match begun {
                Some(begun) => begun,
                None => Ok(Round::at(&self.graph, &link, PAGE)),
            };
            let tree = Arc::make_mut(&mut folders.tree);
            let done = match round {
                Ok(round) => self.take_folders(tree, round).await,
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(link) => {
                    folders.link = Some(link);
                    return Ok(());
                }
                Err(Refused::Asking(error))
                    if matches!(error.kind, GraphFault::Gone | GraphFault::Invalid) =>
                {
                    tracing::debug!(mailbox = %self.address, "the folders are asked anew");
                    folders.link = None;
                }
                Err(refused) => return Err(self.refused(refused)),
            }
        }
        let mut tree = Tree::new(self.well_known().await?);
        if !folders.by_level {
            let path = format!("mailFolders/delta?$select={FOLDER_FIELDS}");
            let first = self.graph.pages(&path, Some(PAGE));
            match self.take_folders(&mut tree, Round::Pages(Box::new(first))).await {
                Ok(link) => folders.link = Some(link),
                Err(Refused::Asking(error)) if is_refusal(&error) => {
                    tracing::info!(mailbox = %self.address, %error, "deltas of folders are refused: they are asked level by level");
                    folders.by_level = true;
                }
                Err(refused) => return Err(self.refused(refused)),
            }
        }
        if folders.by_level {
            self.by_level(&mut tree).await?;
        }
        folders.tree = Arc::new(tree);
        folders.loaded = true;
        Ok(())
    }

    /// Takes in all pages of a delta; answers where the next one begins.
    async fn take_folders(&self, tree: &mut Tree, mut round: Round<FolderItem>) -> Result<Secret, Refused> {
        loop {
            let page = round.next(&self.graph, PAGE).await?;
            for item in &page.items {
                tree.apply(item)?;
                if item.removed.is_some() {
                    self.forget(&FolderId::from(&*item.id)).await;
                }
            }
            if let Some(link) = page.link {
                return Ok(link);
            }
        }
    }

    /// The ids of the well-known folders that this mailbox has: one call.
    async fn well_known(&self) -> FsResult<HashMap<&'static str, Arc<str>>> {
        let ask = |name: &&str| BatchItem::get(format!("mailFolders/{name}?$select=id"));
        let answers = self.graph.batch(WELL_KNOWN.iter().map(ask).collect()).await;
        let answers = answers.map_err(|error| self.told(&error))?;
        let mut known = HashMap::new();
        for (name, answer) in WELL_KNOWN.iter().zip(answers) {
            match answer.read::<IdOnly>() {
                Ok(folder) => {
                    known.insert(*name, folder.id.into());
                }
                // Not every mailbox has all of them; without its root it has nothing.
                Err(error) if matches!(error.kind, GraphFault::NotFound) && *name != "msgfolderroot" => {}
                Err(error) if *name == "msgfolderroot" || *name == "inbox" => return Err(self.told(&error)),
                // What passes is asked again: a folder whose protection was not heard of would have none.
                Err(error) if !is_refusal(&error) && !matches!(error.kind, GraphFault::Denied) => {
                    return Err(self.told(&error));
                }
                Err(error) => {
                    tracing::debug!(mailbox = %self.address, name, %error, "a well-known folder cannot be told");
                }
            }
        }
        Ok(known)
    }

    /// All folders, one level after the other.
    async fn by_level(&self, tree: &mut Tree) -> FsResult<()> {
        let mut waiting = vec![format!("mailFolders?$select={FOLDER_FIELDS}&$top={PAGE}")];
        while let Some(path) = waiting.pop() {
            let mut pages = self.graph.pages::<FolderItem>(&path, None);
            while let Some(page) = pages.next().await.map_err(|error| self.told(&error))? {
                for item in &page.value {
                    tree.apply(item)?;
                    if item.child_folder_count != Some(0) && !item.is_search() {
                        let id = segment(&item.id);
                        waiting.push(format!(
                            "mailFolders/{id}/childFolders?$select={FOLDER_FIELDS}&$top={PAGE}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// A change that we made to the folders is seen at once.
    pub(super) async fn with_tree(&self, change: impl FnOnce(&mut Tree)) {
        let mut folders = self.folders.lock().await;
        change(Arc::make_mut(&mut folders.tree));
    }
}

/// Whether Graph says that it cannot do what was asked in this way.
pub(super) fn is_refusal(error: &GraphError) -> bool {
    matches!(error.kind, GraphFault::Unsupported | GraphFault::Invalid)
}

/// Why a round of deltas was not taken in.
pub(super) enum Refused {
    /// It could not be asked.
    Asking(GraphError),
    /// What it brought could not be held.
    Holding(portreeve_vfs::FsError),
}

impl From<GraphError> for Refused {
    fn from(error: GraphError) -> Self {
        Self::Asking(error)
    }
}

impl From<portreeve_vfs::FsError> for Refused {
    fn from(error: portreeve_vfs::FsError) -> Self {
        Self::Holding(error)
    }
}

impl Inner {
    pub(super) fn refused(&self, refused: Refused) -> portreeve_vfs::FsError {
        match refused {
            Refused::Asking(error) => self.told(&error),
            Refused::Holding(error) => error,
        }
    }
}
