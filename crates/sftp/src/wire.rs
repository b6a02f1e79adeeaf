//! SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02 and OpenSSH's `PROTOCOL`), without I/O.
//!
//! Bytes go in as the chunks in which they came ([`Inbox`]); requests come out, the data of a WRITE
//! still being slices of those chunks. Replies are appended to a `Vec<u8>`.
//!
//! Invariants: no input panics, none is copied needlessly, none makes us reserve more memory than came
//! in; a packet that cannot be understood costs that packet, a broken frame costs the channel.

mod attrs;
mod inbox;
mod longname;
mod reply;
mod request;

#[cfg(test)]
mod tests;

pub use attrs::WireAttrs;
pub use inbox::{BrokenFrame, Inbox};
pub use reply::{
    DATA_HEADER, Names, Status, attrs, begin_data, end_data, extended, handle, limits, space, status, version,
};
pub use request::{Extension, Handle, Incoming, OpenFlags, Request};

/// The version spoken.
pub const VERSION: u32 = 3;

/// Longest packet taken, length field apart: what `limits@openssh.com` tells the client.
pub const MAX_PACKET: u32 = 256 * 1024;

/// Most bytes of one READ or WRITE: OpenSSH's own number, which leaves room for the header.
pub const MAX_DATA: u32 = 261_120;

/// Parses everything in `bytes` as a client's side of a conversation, cut into chunks of `cut` bytes,
/// and answers how many packets were understood. For fuzzing: it must return, whatever it is given.
#[must_use]
pub fn parse_everything(bytes: &[u8], cut: usize) -> usize {
    let mut inbox = Inbox::default();
    let mut understood = 0;
    for chunk in bytes.chunks(cut.max(1)) {
        inbox.push(bytes::Bytes::copy_from_slice(chunk));
        loop {
            match inbox.next_request() {
                Ok(Some(incoming)) => understood += usize::from(incoming.request.is_some()),
                Ok(None) => break,
                Err(BrokenFrame(_)) => return understood,
            }
        }
    }
    understood
}
