//! What tests put into a mailbox and what they find there: messages and attachments, in plain words.

use jiff::Timestamp;

use crate::content::Content;

/// What an attachment is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A file.
    File {
        /// Its bytes.
        content: Content,
        /// The content id of an inline part.
        content_id: Option<String>,
    },
    /// Another message, as MIME.
    Item {
        /// The MIME text.
        mime: Content,
    },
    /// A link to a file in the cloud.
    Reference {
        /// Where it is.
        url: String,
    },
}

/// An attachment.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its name, as wild as senders make it.
    pub name: String,
    /// Its media type; items have none.
    pub content_type: Option<String>,
    /// Whether it is shown within the text.
    pub inline: bool,
    /// What it is.
    pub kind: Kind,
}

impl Attachment {
    /// A file.
    #[must_use]
    pub fn file(name: &str, content: impl Into<Content>) -> Self {
        Self {
            name: name.to_owned(),
            content_type: Some("application/octet-stream".to_owned()),
            inline: false,
            kind: Kind::File {
                content: content.into(),
                content_id: None,
            },
        }
    }

    /// A file of made-up bytes: see [`Content::Generated`].
    #[must_use]
    pub fn generated(name: &str, size: u64, seed: u64) -> Self {
        Self::file(name, Content::Generated { size, seed })
    }

    /// A picture within the text.
    #[must_use]
    pub fn inline(name: &str, content: impl Into<Content>) -> Self {
        Self {
            inline: true,
            content_type: Some("image/png".to_owned()),
            kind: Kind::File {
                content: content.into(),
                content_id: Some(format!("{name}@standin")),
            },
            ..Self::file(name, "")
        }
    }

    /// A message within the message.
    #[must_use]
    pub fn item(name: &str, mime: impl Into<Content>) -> Self {
        Self {
            content_type: None,
            kind: Kind::Item { mime: mime.into() },
            ..Self::file(name, "")
        }
    }

    /// A link.
    #[must_use]
    pub fn reference(name: &str, url: &str) -> Self {
        Self {
            content_type: None,
            kind: Kind::Reference { url: url.to_owned() },
            ..Self::file(name, "")
        }
    }

    /// The bytes that a download gives; none for a link.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File { content, .. } | Kind::Item { mime: content } => Some(content),
            Kind::Reference { .. } => None,
        }
    }
}

/// A message to deliver. `Message::new("subject")` and the methods that change it are the short way.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject; none is possible.
    pub subject: Option<String>,
    /// The sender's address; drafts have none.
    pub from: Option<String>,
    /// The sender's name.
    pub from_name: String,
    /// Its Message-ID with the angle brackets; one is made up if none is said.
    pub message_id: Option<String>,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// When it came; now if none is said.
    pub received: Option<Timestamp>,
    /// Its categories.
    pub categories: Vec<String>,
    /// `low`, `normal` or `high`.
    pub importance: String,
    /// The text.
    pub body: String,
    /// Whether the text is HTML.
    pub html: bool,
    /// Whether it was read.
    pub read: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// What hangs on it.
    pub attachments: Vec<Attachment>,
    /// Its extended properties of one value: id and value.
    pub extended: Vec<(String, String)>,
    /// The MIME text it came as; otherwise it is made when asked for.
    pub mime: Option<Content>,
}

impl Message {
    /// A message from somebody, with this subject and nothing on it.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        Self {
            subject: Some(subject.to_owned()),
            from: Some("sender@example.test".to_owned()),
            from_name: "A Sender".to_owned(),
            message_id: None,
            to: Vec::new(),
            received: None,
            categories: Vec::new(),
            importance: "normal".to_owned(),
            body: "Hello.\r\n".to_owned(),
            html: false,
            read: false,
            draft: false,
            attachments: Vec::new(),
            extended: Vec::new(),
            mime: None,
        }
    }

    /// With another attachment.
    #[must_use]
    pub fn with(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// With a file on it.
    #[must_use]
    pub fn file(self, name: &str, content: impl Into<Content>) -> Self {
        self.with(Attachment::file(name, content))
    }

    /// From this address.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.to_owned());
        self
    }

    /// Received then, as RFC 3339 says it.
    ///
    /// # Panics
    /// If the time cannot be read.
    #[must_use]
    pub fn received(mut self, time: &str) -> Self {
        self.received = Some(time.parse().expect("a time as in RFC 3339"));
        self
    }

    /// With a category.
    #[must_use]
    pub fn category(mut self, name: &str) -> Self {
        self.categories.push(name.to_owned());
        self
    }

    /// With this text.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        text.clone_into(&mut self.body);
        self
    }
}

/// A message as a test finds it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The immutable id.
    pub id: String,
    /// The id without the `Prefer` header, which changes when the message moves.
    pub regular_id: String,
    /// What was delivered, or what was made of it since.
    pub message: Message,
    /// The ids (immutable) of its attachments, in their order.
    pub attachments: Vec<String>,
}

impl Found {
    /// The names of its attachments.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.message.attachments.iter().map(|a| a.name.clone()).collect()
    }
}

/// A message that went out.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Whom it went to.
    pub to: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// The name of each attachment and the SHA-256 of its bytes.
    pub attachments: Vec<(String, String)>,
    /// Whether it was kept in Sent Items.
    pub saved: bool,
}
