//! What a mailbox shows and what becomes of deletions and uploads, checked as a whole.
//!
//! Invariant: what is wrong with options is told all at once, each with the option to blame; whether
//! there is a mailbox is not asked.

use std::{sync::Arc, time::Duration};

use portreeve_model::VPath;

use super::intake::Spooling;
use crate::{Filter, Layout, MailOptions, OnDelete, OnUpload, Sizes, StoreAbilities, Template};

/// Longest time that a message waits before it is sent.
const MAX_SEND_DELAY: Duration = Duration::from_hours(7 * 24);

/// What a mailbox shows, and what becomes of deletions and uploads.
pub struct Policy {
    /// The storage's name: what records call a mailbox that has no address.
    pub storage: String,
    /// How names are composed.
    pub template: Template,
    /// How directories of messages are named, where each message is one.
    pub messages: Option<Template>,
    /// Which folders, messages and files are shown.
    pub filter: Filter,
    /// Whether inline parts are shown.
    pub inline: bool,
    /// When sizes that the store does not tell are learnt.
    pub sizes: Sizes,
    /// What becomes of a message whose last attachment is deleted.
    pub on_delete: OnDelete,
    /// Where `OnDelete::Move` moves messages to.
    pub move_to: Option<VPath>,
    /// What becomes of uploads.
    pub on_upload: OnUpload,
    /// How long a message waits before it is sent.
    pub send_delay: Duration,
    /// Largest upload, in bytes.
    pub max_upload: u64,
    /// How many messages and attachments of a folder are shown; a folder with more is refused. Of all
    /// folders, about as many files are remembered.
    pub max_entries: usize,
    /// Where uploads in progress are put down.
    pub spool: Arc<Spooling>,
}

/// Why a mailbox cannot be opened with these options.
#[derive(Debug)]
pub struct OptionsError {
    /// The option that is to blame.
    pub option: &'static str,
    /// What is wrong, and how to fix it.
    pub text: String,
}

impl std::fmt::Display for OptionsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.option, self.text)
    }
}

impl std::error::Error for OptionsError {}

/// What is wrong with options in themselves, all of it; whether there is a mailbox is not asked.
#[must_use]
pub fn option_problems(options: &MailOptions) -> Vec<OptionsError> {
    Sound::of(options).err().unwrap_or_default()
}

/// Options that mean something.
struct Sound {
    template: Template,
    messages: Option<Template>,
    filter: Filter,
    move_to: Option<VPath>,
    max_entries: usize,
}

impl Policy {
    /// As `options` say, with uploads in progress in `spool`.
    ///
    /// # Errors
    /// The first thing that is wrong; [`option_problems`] tells all.
    pub fn new(options: &MailOptions, spool: Spooling) -> Result<Self, OptionsError> {
        let sound = Sound::of(options).map_err(|problems| {
            problems.into_iter().next().unwrap_or_else(|| OptionsError {
                option: "template",
                text: "the options cannot be used".into(),
            })
        })?;
        Ok(Self {
            storage: options.storage.clone(),
            template: sound.template,
            messages: sound.messages,
            filter: sound.filter,
            inline: options.inline,
            sizes: options.sizes,
            on_delete: options.on_delete,
            move_to: sound.move_to,
            on_upload: options.on_upload,
            send_delay: options.send_delay.0,
            max_upload: options.max_upload.0,
            max_entries: sound.max_entries,
            spool: Arc::new(spool),
        })
    }

    /// That the store can do what the options ask for.
    pub(super) fn check(&self, can: &StoreAbilities) -> Result<(), OptionsError> {
        let (able, what) = match self.on_upload {
            OnUpload::Refuse => return Ok(()),
            OnUpload::Draft => (can.drafts, "\"draft\": this kind of mailbox takes no drafts"),
            OnUpload::Send => (
                can.send && can.drafts,
                "\"send\": this kind of mailbox sends nothing",
            ),
            OnUpload::Import => (
                can.import,
                "\"import\": this kind of mailbox takes in no messages",
            ),
        };
        if able {
            return Ok(());
        }
        Err(OptionsError {
            option: "on_upload",
            text: format!("{what}; use another value"),
        })
    }

    /// What decides over names: with another scheme, names are composed anew.
    pub(crate) fn scheme(&self) -> String {
        match &self.messages {
            None => self.template.source().to_owned(),
            // Parts keep their own names within their message.
            Some(template) => format!("messages\n{}", template.source()),
        }
    }

    /// Whether names need the message's text: a store may skip decoding it otherwise.
    pub(crate) fn wants_preview(&self) -> bool {
        self.messages.as_ref().unwrap_or(&self.template).wants_preview()
    }
}

impl Sound {
    fn of(options: &MailOptions) -> Result<Self, Vec<OptionsError>> {
        let mut problems = Vec::new();
        let mut wrong = |option: &'static str, text: String| {
            let said = text.strip_prefix(option).and_then(|text| text.strip_prefix(": "));
            let text = said.map_or(text.clone(), str::to_owned);
            problems.push(OptionsError { option, text });
        };
        let template = Template::parse(&options.template).map_err(|text| wrong("template", text));
        let messages = Template::parse_for_messages(&options.message_template);
        let messages = messages.map_err(|text| wrong("message_template", text));
        let messages = messages.ok().filter(|_| options.layout == Layout::Messages);
        let filter = Filter::of(options).map_err(|problems| {
            for (option, text) in problems {
                wrong(option, text);
            }
        });
        let move_to = options.move_to.as_deref().map(VPath::parse).transpose();
        let move_to = move_to.unwrap_or_else(|error| {
            wrong("move_to", error.to_string());
            None
        });
        match (&options.move_to, options.on_delete) {
            (None, OnDelete::Move) => wrong(
                "on_delete",
                "\"move\" needs a folder, e.g. move_to = \"/Processed\"".into(),
            ),
            (Some(_), OnDelete::Remove | OnDelete::Soft) => wrong(
                "move_to",
                "it has a meaning only with on_delete = \"move\"".into(),
            ),
            _ => {}
        }
        let max_entries = usize::try_from(options.max_entries).unwrap_or(usize::MAX);
        if max_entries == 0 {
            wrong(
                "max_entries",
                "0 shows no message at all; the default is 100000".into(),
            );
        }
        if options.on_upload == OnUpload::Draft {
            if options.layout == Layout::Messages {
                wrong(
                    "layout",
                    "with \"messages\" a draft would be a directory, and the file not found under the name it \
                     was uploaded by: use layout = \"flat\", or another on_upload"
                        .into(),
                );
            }
            for (option, patterns) in [
                ("senders", &options.senders),
                ("subjects", &options.subjects),
                ("categories", &options.categories),
            ] {
                if !patterns.is_empty() {
                    wrong(
                        option,
                        "with on_upload = \"draft\" what is uploaded would not be shown, since a draft has \
                         neither author nor category and its own subject: use another on_upload"
                            .into(),
                    );
                }
            }
        }
        if options.send_delay.0 > MAX_SEND_DELAY {
            wrong("send_delay", "it is at most 7 days".into());
        }
        match (template, filter) {
            (Ok(template), Ok(filter)) if problems.is_empty() => Ok(Self {
                template,
                messages,
                filter,
                move_to,
                max_entries,
            }),
            _ => Err(problems),
        }
    }
}
