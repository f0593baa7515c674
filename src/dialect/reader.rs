//! Reading a copy of an answer while the original bytes go to the client.

use bytes::Bytes;

use super::answer::{Answer, Wanted};
use super::{Dialect, chat, messages, responses};
use crate::wire::frame::sse::{Next, Splitter};

/// Gathers what an answer says. It never errs: what it cannot read it leaves, and says so.
#[derive(Debug)]
pub enum Reader {
    Chat(chat::Reader),
    Responses(responses::Reader),
    Messages(messages::Reader),
}

impl Reader {
    pub fn new(dialect: Dialect, wanted: Wanted) -> Self {
        match dialect {
            Dialect::Chat => Self::Chat(chat::Reader::new(wanted)),
            Dialect::Responses => Self::Responses(responses::Reader::new(wanted)),
            Dialect::Messages => Self::Messages(messages::Reader::new(wanted)),
        }
    }

    /// Reads the data of an event.
    pub fn event(&mut self, data: &[u8]) {
        match self {
            Self::Chat(reader) => reader.event(data),
            Self::Responses(reader) => reader.event(data),
            Self::Messages(reader) => reader.event(data),
        }
    }

    /// Reads a whole body.
    pub fn whole(&mut self, body: &[u8]) {
        match self {
            Self::Chat(reader) => reader.whole(body),
            Self::Responses(reader) => reader.whole(body),
            Self::Messages(reader) => reader.whole(body),
        }
    }

    /// Stops reading: something came that is too large.
    pub fn give_up(&mut self) {
        match self {
            Self::Chat(reader) => reader.give_up(),
            Self::Responses(reader) => reader.give_up(),
            Self::Messages(reader) => reader.give_up(),
        }
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        match self {
            Self::Chat(reader) => reader.answer(),
            Self::Responses(reader) => reader.answer(),
            Self::Messages(reader) => reader.answer(),
        }
    }

    /// What was said.
    pub fn finish(self) -> Answer {
        match self {
            Self::Chat(reader) => reader.finish(),
            Self::Responses(reader) => reader.finish(),
            Self::Messages(reader) => reader.finish(),
        }
    }
}

/// A reader of server-sent events, cut into chunks anywhere.
#[derive(Debug)]
pub struct SseReader {
    reader: Reader,
    splitter: Splitter,
}

impl SseReader {
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            splitter: Splitter::default(),
        }
    }

    /// Reads the next bytes of the stream.
    pub fn feed(&mut self, chunk: &Bytes) {
        if self.is_blind() {
            return;
        }
        let mut rest = chunk.clone();
        loop {
            match self.splitter.next(&mut rest) {
                Next::Frame(frame) => self.reader.event(&frame.data()),
                Next::More => break,
                Next::TooLarge(_) => return self.reader.give_up(),
            }
        }
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        self.reader.answer()
    }

    /// Whether something was met that could not be read, so that nothing is read any more.
    pub fn is_blind(&self) -> bool {
        self.answer().unreadable
    }

    /// The answer at the end of the stream. An event that lacks its last line ends counts, as
    /// clients read it too.
    pub fn finish(mut self) -> Answer {
        if !self.is_blind()
            && let Some(frame) = self.splitter.rest()
        {
            self.reader.event(&frame.data());
        }
        self.reader.finish()
    }
}
