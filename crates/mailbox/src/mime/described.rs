//! A part as a mail server describes it: its header alone, without its bytes. The same rules as for a
//! message that is at hand, so that one message looks the same in every store.

use super::{
    decode::Encoding,
    headers::{PartHeaders, subject},
    inspect::{content_type, file_name, item_name, kind},
    split::Within,
};
use crate::AttachmentKind;

/// What a header says of its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// What the part is; none for the text itself.
    pub(crate) kind: Option<AttachmentKind>,
    /// Its name, never empty.
    pub(crate) name: String,
    /// Its media type.
    pub(crate) content_type: String,
    /// How its body is encoded.
    pub(crate) encoding: Encoding,
    /// The charset of a text.
    pub(crate) charset: Option<String>,
}

/// Reads the header of a part that stands `within` its parent; `inner` is the subject of the message that
/// it holds, as that is written in its header.
pub(crate) fn describe(header: &[u8], within: Within, inner: Option<&[u8]>) -> Described {
    let headers = PartHeaders::read(header);
    let kind = kind(&headers, within);
    let name = if kind == Some(AttachmentKind::Item) {
        let inner = inner.and_then(|inner| subject(&[b"Subject: ", inner, b"\r\n\r\n"].concat()));
        item_name(inner, &headers)
    } else {
        file_name(&headers)
    };
    Described {
        kind,
        name,
        content_type: content_type(&headers),
        encoding: headers.encoding(),
        charset: headers.charset,
    }
}
