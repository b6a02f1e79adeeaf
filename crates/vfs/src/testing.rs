//! Short words for the unit tests of this crate.

use bytes::Bytes;
use portreeve_model::{SessionId, VPath};
use tokio_util::sync::CancellationToken;

use crate::{FileSystem, FsResult, Listing, OpCx, OpenWrite, Owner, WriteMode};

pub(crate) fn cx(owner: &str) -> OpCx {
    OpCx::new(SessionId::fresh(), Owner(owner.into()), CancellationToken::new())
}

pub(crate) fn path(raw: &str) -> VPath {
    VPath::parse(raw).unwrap()
}

pub(crate) async fn put(fs: &dyn FileSystem, name: &str, content: &[u8]) -> FsResult<()> {
    let how = OpenWrite::new(WriteMode::Replace);
    let file = fs.open_write(&cx("alice"), &path(name), how).await?;
    file.write(0, vec![Bytes::copy_from_slice(content)]).await?;
    file.commit().await.map(drop)
}

pub(crate) async fn get(fs: &dyn FileSystem, name: &str) -> FsResult<Vec<u8>> {
    let file = fs.open_read(&cx("alice"), &path(name)).await?;
    file.read(0, 1 << 20, Vec::new()).await
}

pub(crate) async fn names(fs: &dyn FileSystem, dir: &str) -> FsResult<Vec<String>> {
    let mut listing = fs.list(&cx("alice"), &path(dir), None).await?;
    rest(&mut *listing, 2).await
}

pub(crate) async fn rest(listing: &mut dyn Listing, max: usize) -> FsResult<Vec<String>> {
    let mut all = Vec::new();
    loop {
        let page = listing.next(max).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|entry| entry.name.unwrap().to_string()));
    }
}
