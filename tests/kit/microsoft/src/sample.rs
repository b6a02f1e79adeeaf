//! Mailboxes out of a small JSON file, and one that is built in, for trying by hand and for the bench.
//!
//! ```json
//! {"app": {"id": "…", "secret": "…"}, "mailboxes": {"reports@example.test": {"Inbox/Daily": [
//!   {"subject": "Report", "from": "a@example.test", "received": "2024-05-01T08:00:00Z", "body": "Hello",
//!    "categories": ["Blue"], "attachments": [{"name": "a.csv", "text": "1,2"}, {"name": "big.bin", "size": 1000, "seed": 7},
//!    {"name": "logo.png", "text": "x", "inline": true}, {"name": "mail", "eml": "Subject: x\r\n\r\nHi"}, {"name": "link", "url": "https://…"}],
//!    "repeat": 10}]}}}
//! ```
//! Invariant: a file that is not understood is an error that says where, never half a mailbox.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::{Attachment, Message, Standin};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    app: Option<Application>,
    mailboxes: BTreeMap<String, BTreeMap<String, Vec<Mail>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    id: String,
    secret: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mail {
    subject: Option<String>,
    from: Option<String>,
    #[serde(default)]
    from_name: String,
    received: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    attachments: Vec<Hung>,
    /// So many of them; each has its number behind the subject, and seeds grow.
    #[serde(default)]
    repeat: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hung {
    name: String,
    text: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    seed: u64,
    eml: Option<String>,
    url: Option<String>,
    #[serde(default)]
    inline: bool,
}

impl Hung {
    fn attachment(&self, number: u64) -> Result<Attachment, String> {
        let mut attachment = match (&self.text, self.size, &self.eml, &self.url) {
            (Some(text), None, None, None) => Attachment::file(&self.name, text.as_str()),
            (None, Some(size), None, None) => Attachment::generated(&self.name, size, self.seed + number),
            (None, None, Some(eml), None) => Attachment::item(&self.name, eml.as_str()),
            (None, None, None, Some(url)) => Attachment::reference(&self.name, url),
            _ => return Err(format!("{}: one of text, size, eml and url", self.name)),
        };
        attachment.inline = self.inline;
        Ok(attachment)
    }
}

/// The mailbox that is built in: the example of the specification and a few odd things.
pub const SAMPLE: &str = r#"{"mailboxes": {"reports@example.test": {
  "Inbox": [
    {"subject": "Report for May 2024", "from": "a@example.test", "received": "2024-05-31T18:00:00Z", "attachments": [
      {"name": "report-may.pdf", "size": 120000, "seed": 1}, {"name": "income-2024-05-01.csv", "text": "date,amount\n2024-05-01,12\n"}]},
    {"subject": "Order ACME Ltd", "from": "orders@acme.example", "received": "2024-05-02T09:00:00Z", "attachments": [
      {"name": "order.xml", "text": "<order/>"}, {"name": "logo.png", "text": "png", "inline": true}]},
    {"subject": "No attachment", "body": "Nothing to see."}],
  "Inbox/Large": [{"subject": "Large", "attachments": [{"name": "large.bin", "size": 157286400, "seed": 5}]}],
  "Inbox/Odd: names": [{"subject": "a/b: \"c\"?", "attachments": [{"name": "..", "text": "1"}, {"name": "a/b.txt", "text": "2"},
    {"name": "a/b.txt", "text": "3"}, {"name": "forwarded", "eml": "Subject: inner\r\n\r\nHi\r\n"}, {"name": "cloud", "url": "https://cloud.example.test/x"}]}]
}}}"#;

impl Standin {
    /// Fills mailboxes from JSON; see the top of this file for its form.
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn load(&self, text: &str) -> Result<(), String> {
        let sample: Sample = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if let Some(app) = &sample.app {
            self.register(&app.id, &app.secret);
        }
        for (address, folders) in &sample.mailboxes {
            let mailbox = self.mailbox(address);
            for (folder, mails) in folders {
                mailbox.folder(folder);
                for mail in mails {
                    for number in 0..mail.repeat.max(1) {
                        mailbox.deliver(folder, mail.message(number)?);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Mail {
    fn message(&self, number: u64) -> Result<Message, String> {
        let mut message = Message::new("");
        message.subject = match (&self.subject, self.repeat) {
            (Some(subject), 1..) => Some(format!("{subject} {number:05}")),
            (subject, _) => subject.clone(),
        };
        message.from = self.from.clone().or(message.from);
        message.from_name.clone_from(&self.from_name);
        if let Some(time) = &self.received {
            message.received = Some(time.parse().map_err(|e| format!("{time}: {e}"))?);
        }
        message.body.clone_from(&self.body);
        message.categories.clone_from(&self.categories);
        for hung in &self.attachments {
            message.attachments.push(hung.attachment(number)?);
        }
        Ok(message)
    }
}
