//! Content of parts that are read from a file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use async_trait::async_trait;
use portreeve_vfs::FsResult;

use super::fault;
use crate::{
    Content,
    mime::{Decoder, Encoding},
};

/// Decoded content up to this size is held in memory, in bytes.
pub(super) const SMALL: u64 = 256 * 1024;

/// A range of an open file. The file is nobody else's any more, or never changes in place.
#[derive(Clone)]
pub(crate) struct InFile {
    pub(crate) file: Arc<File>,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

#[async_trait]
impl Content for InFile {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let len = (len as u64).min(self.size.saturating_sub(at));
        let Ok(len) = usize::try_from(len) else {
            return Ok(into);
        };
        if len == 0 {
            return Ok(into);
        }
        let (file, from) = (Arc::clone(&self.file), self.start + at);
        tokio::task::spawn_blocking(move || {
            let head = into.len();
            into.resize(head + len, 0);
            match into.get_mut(head..) {
                Some(room) => file.read_exact_at(room, from)?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            Ok(into)
        })
        .await
        .map_err(|error| fault(&io::Error::other(error)))?
        .map_err(|error| fault(&error))
    }
}

/// Decodes `length` bytes of `file` from `start` on into `spool`, and answers the decoded size.
pub(super) fn decode_into(
    file: &File,
    start: u64,
    length: u64,
    encoding: Encoding,
    mut spool: &File,
) -> io::Result<u64> {
    let mut source = file;
    source.seek(SeekFrom::Start(start))?;
    let mut rest = source.take(length);
    let mut decoder = Decoder::new(encoding);
    let (mut raw, mut out) = (vec![0; 64 * 1024], Vec::new());
    let mut size = 0;
    loop {
        let n = rest.read(&mut raw)?;
        if n == 0 {
            break;
        }
        decoder.feed(raw.get(..n).unwrap_or_default(), &mut out);
        spool.write_all(&out)?;
        size += out.len() as u64;
        out.clear();
    }
    if rest.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decoder.finish(&mut out);
    spool.write_all(&out)?;
    Ok(size + out.len() as u64)
}
