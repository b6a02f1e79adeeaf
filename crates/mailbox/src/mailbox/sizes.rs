//! Exact sizes where listings do not tell them: learnt when they are asked for, and remembered.
//!
//! Invariant: a size that is shown is exact, or none is shown; content never changes under its key, so
//! what was learnt once holds as long as the part lives.

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use portreeve_vfs::{Entry, FsErrorKind, FsResult};

use super::{Shared, items::Item, whole::Whole};
use crate::{Folder, FolderId};

/// How many sizes are asked for at a time: what Graph allows one mailbox.
const AT_ONCE: usize = 4;
/// After how many sizes of a folder what was learnt is recorded.
const BATCH: usize = 256;
/// How many sizes of whole messages and texts are remembered; not over restarts.
const MAX_WHOLES: usize = 65_536;

impl Shared {
    /// Tells the store that a listing is about to be answered. While it asks us to slow down, what was seen
    /// last serves.
    pub(super) async fn look(&self, folder: Option<&FolderId>) -> FsResult<()> {
        match self.store.look(folder).await {
            Err(error) if error.kind() == FsErrorKind::Throttled => Ok(()),
            other => other,
        }
    }

    /// A file's entry with its exact size.
    pub(super) async fn sized(&self, folder: &Folder, item: &Item) -> FsResult<Entry> {
        if item.is_unsized() {
            let size = self.ask_size(folder, item).await?;
            self.learnt(folder, &[(item, size)]).await;
        }
        Ok(item.entry())
    }

    async fn ask_size(&self, folder: &Folder, item: &Item) -> FsResult<u64> {
        let key = &item.key;
        match Whole::of(key) {
            None => self.store.part_size(&folder.id, &key.message, &key.part).await,
            Some(_) => Ok(self.content(folder, item).await?.size()),
        }
    }

    /// Learns every size of a folder that is not known. A file that is gone meanwhile stays without.
    pub(super) async fn learn_all(&self, folder: &Folder, items: &[Item]) -> FsResult<()> {
        let unsized_: Vec<&Item> = items.iter().filter(|item| item.is_unsized()).collect();
        for some in unsized_.chunks(BATCH) {
            let mut left = some.iter();
            let mut answers = FuturesUnordered::<BoxFuture<'_, (&Item, FsResult<u64>)>>::new();
            let (mut learnt, mut failed) = (Vec::with_capacity(some.len()), None);
            loop {
                while failed.is_none()
                    && answers.len() < AT_ONCE
                    && let Some(item) = left.next()
                {
                    answers.push(Box::pin(
                        async move { (*item, self.ask_size(folder, item).await) },
                    ));
                }
                let Some((item, answer)) = answers.next().await else {
                    break;
                };
                match answer {
                    Ok(size) => learnt.push((item, size)),
                    Err(error) if error.kind() == FsErrorKind::NotFound => {}
                    Err(error) => failed = Some(error),
                }
            }
            drop(answers);
            // What was learnt before something failed need not be asked again.
            self.learnt(folder, &learnt).await;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Remembers sizes.
    pub(super) async fn learnt(&self, folder: &Folder, sizes: &[(&Item, u64)]) {
        for (item, size) in sizes {
            item.learn(*size);
            if let (Some(_), Some(version)) = (Whole::of(&item.key), item.entry().version) {
                let mut held = self.wholes_learnt.lock();
                if held.len() >= MAX_WHOLES {
                    held.clear();
                }
                held.insert(version, *size);
            }
        }
        let slot = self.views.slot(&folder.id);
        let mut state = slot.lock().await;
        let book = self.book();
        let Ok(bindings) = state.bindings(self, &folder.id).await else {
            // Learnt all the same, for as long as the process lives.
            return;
        };
        let changed = sizes
            .iter()
            .filter_map(|(item, size)| bindings.learn(&item.key, *size));
        let changed = changed.collect();
        state.record(book, &folder.id, changed).await;
    }
}
