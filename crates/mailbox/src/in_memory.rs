//! Content that is small enough to be held in memory.

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_vfs::FsResult;

use crate::Content;

/// Content in memory.
pub(crate) struct InMemory(pub(crate) Bytes);

#[async_trait]
impl Content for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(len).min(self.0.len());
        into.extend_from_slice(self.0.get(start..end).unwrap_or_default());
        Ok(into)
    }
}
