//! What one command brings, within bounds.
//!
//! Invariants: bytes, values and responses of one answer are bounded together, whatever the server sends; what is
//! beyond is let go of as it comes, so that the connection can still be used where the answer ends.

use bytes::Bytes;

use super::{
    error::{ImapError, Kind},
    wire::{Data, MAX_VALUES, Malformed, Response, Status},
};

/// Most bytes of one answer that are held.
const MAX_HELD: usize = 64 << 20;
/// Most bytes of one answer that are read at all.
const MAX_READ: usize = 256 << 20;
/// What a response takes in memory beside its values, in values.
const RESPONSE: usize = 4;

/// What a command brought.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Data, asked for or not.
    pub(super) data: Vec<Data>,
    /// Statuses without a tag, then the one that ended the command.
    pub(super) said: Vec<Status>,
}

impl Answer {
    /// The arguments of a code, wherever it was said.
    pub(super) fn code(&self, name: &str) -> Option<&str> {
        self.said.iter().rev().find_map(|status| status.code(name))
    }
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    answer: Answer,
    bytes: usize,
    values: usize,
    /// It is more than is held: nothing is.
    over: bool,
}

impl Gathering {
    /// Reads one more response; none where it is let go of.
    pub(super) fn read(&mut self, line: &Bytes) -> Result<Option<Response>, ImapError> {
        self.bytes = self.bytes.saturating_add(line.len());
        if self.bytes > MAX_READ {
            return Err(too_much());
        }
        if self.bytes > MAX_HELD {
            self.let_go();
        }
        // Only how it ends counts from now on.
        let goodbye = line
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"* BYE"));
        if self.over && line.starts_with(b"* ") && !goodbye {
            return Ok(None);
        }
        match Response::parse(line) {
            Ok(response) => Ok(Some(response)),
            Err(Malformed::TOO_MANY) => {
                self.let_go();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Data that it brought.
    pub(super) fn keep(&mut self, data: Data) {
        self.weigh(data.weight);
        if !self.over {
            self.answer.data.push(data);
        }
    }

    /// A status that did not end it.
    pub(super) fn hear(&mut self, status: Status) {
        self.weigh(0);
        if !self.over {
            self.answer.said.push(status);
        }
    }

    /// The whole of it, which this status ended.
    pub(super) fn end(mut self, status: Status) -> Result<Answer, ImapError> {
        if self.over {
            return Err(too_much());
        }
        self.answer.said.push(status);
        Ok(self.answer)
    }

    fn weigh(&mut self, values: usize) {
        self.values = self.values.saturating_add(values).saturating_add(RESPONSE);
        if self.values > MAX_VALUES {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.over = true;
        self.answer = Answer::default();
    }
}

fn too_much() -> ImapError {
    ImapError::new(
        Kind::TooMuch,
        "the mail server's answer is more than is held in memory",
    )
}

impl From<Malformed> for ImapError {
    fn from(error: Malformed) -> Self {
        match error {
            Malformed::TOO_MANY | Malformed::TOO_LONG => too_much(),
            Malformed(text) => Self::lost(text),
        }
    }
}
