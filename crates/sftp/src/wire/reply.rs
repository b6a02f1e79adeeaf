//! Replies (draft-ietf-secsh-filexfer-02 §7): each function appends one whole packet.

use super::{MAX_DATA, MAX_PACKET, VERSION, WireAttrs, longname};

/// Status codes of version 3 (§7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the draft names them so")]
pub enum Status {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    OpUnsupported = 8,
}

/// What precedes the data in a DATA packet.
pub const DATA_HEADER: usize = 13;

const REPLY_STATUS: u8 = 101;
const REPLY_HANDLE: u8 = 102;
const REPLY_DATA: u8 = 103;
const REPLY_NAME: u8 = 104;
const REPLY_ATTRS: u8 = 105;
const REPLY_EXTENDED: u8 = 201;

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..MAX_PACKET as usize).unwrap_or(text);
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Puts the number of bytes after `at + 4` into the four bytes at `at`.
fn patch(out: &mut [u8], at: usize, less: usize) {
    let length = out.len().saturating_sub(at + 4 + less) as u32;
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn packet(out: &mut Vec<u8>, kind: u8, id: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    out.extend_from_slice(&id.to_be_bytes());
    body(out);
    patch(out, start, 0);
}

/// VERSION with its extensions, each a name and a version.
pub fn version(out: &mut Vec<u8>, extensions: &[(&str, &str)]) {
    packet(out, 2, VERSION, |out| {
        for (name, version) in extensions {
            string(out, name.as_bytes());
            string(out, version.as_bytes());
        }
    });
}

/// STATUS.
pub fn status(out: &mut Vec<u8>, id: u32, code: Status, message: &str) {
    packet(out, REPLY_STATUS, id, |out| {
        out.extend_from_slice(&(code as u32).to_be_bytes());
        string(out, message.as_bytes());
        string(out, b"en");
    });
}

/// HANDLE.
pub fn handle(out: &mut Vec<u8>, id: u32, handle: u64) {
    packet(out, REPLY_HANDLE, id, |out| string(out, &handle.to_be_bytes()));
}

/// The head of DATA: append the data and call [`end_data`] with what this answers.
pub fn begin_data(out: &mut Vec<u8>, id: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, REPLY_DATA]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    start
}

/// Completes what [`begin_data`] began at `start`; answers how many bytes of data there are.
pub fn end_data(out: &mut [u8], start: usize) -> usize {
    patch(out, start, 0);
    patch(out, start + 9, 0);
    out.len().saturating_sub(start + DATA_HEADER)
}

/// ATTRS.
pub fn attrs(out: &mut Vec<u8>, id: u32, attrs: &WireAttrs) {
    packet(out, REPLY_ATTRS, id, |out| attrs.encode(out));
}

/// EXTENDED_REPLY whose content `body` appends.
pub fn extended(out: &mut Vec<u8>, id: u32, body: impl FnOnce(&mut Vec<u8>)) {
    packet(out, REPLY_EXTENDED, id, body);
}

/// The answer to `limits@openssh.com`.
pub fn limits(out: &mut Vec<u8>, id: u32, handles: u64) {
    extended(out, id, |out| {
        for value in [
            u64::from(MAX_PACKET),
            u64::from(MAX_DATA),
            u64::from(MAX_DATA),
            handles,
        ] {
            out.extend_from_slice(&value.to_be_bytes());
        }
    });
}

/// The answer to `statvfs@openssh.com`: the eleven fields in their order.
pub fn space(out: &mut Vec<u8>, id: u32, fields: [u64; 11]) {
    extended(out, id, |out| {
        for value in fields {
            out.extend_from_slice(&value.to_be_bytes());
        }
    });
}

/// A NAME packet that grows name by name.
pub struct Names {
    start: usize,
    count: u32,
}

impl Names {
    /// Begins the packet.
    pub fn begin(out: &mut Vec<u8>, id: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0, 0, 0, 0, REPLY_NAME]);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { start, count: 0 }
    }

    /// Adds a name, its line in the form of `ls -l`, and its attributes. `now` decides, as in `ls`,
    /// whether the line tells the hour or the year.
    pub fn add(&mut self, out: &mut Vec<u8>, name: &[u8], attrs: &WireAttrs, links: u64, now: i64) {
        string(out, name);
        let line = out.len();
        out.extend_from_slice(&[0; 4]);
        longname::append(out, name, attrs, links, now);
        patch(out, line, 0);
        attrs.encode(out);
        self.count += 1;
    }

    /// Adds a bare name, as REALPATH and READLINK answer (§6.11).
    pub fn add_bare(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        string(out, name);
        string(out, name);
        WireAttrs::default().encode(out);
        self.count += 1;
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Completes the packet.
    pub fn end(self, out: &mut [u8]) {
        patch(out, self.start, 0);
        if let Some(field) = out.get_mut(self.start + 9..self.start + 13) {
            field.copy_from_slice(&self.count.to_be_bytes());
        }
    }
}
