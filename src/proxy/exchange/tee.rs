//! Reading a copy of an answer that is being passed on.

use bytes::Bytes;

use super::form::ENOUGH;
use crate::dialect::{Answer, Dialect, Odd, Reader, SseReader, Wanted};
use crate::proxy::upstream::coding::Decoder;
use crate::wire::frame::form::{Form, Look, Looking, without_mark};

/// A whole answer larger than this is passed on unread.
pub const WHOLE_LIMIT: usize = 16 * 1024 * 1024;

/// Gathers what an answer says, whatever its form. It never fails: what it cannot read it leaves.
pub enum Tee {
    /// Its first bytes do not tell its form yet; where they never do it is `told`.
    Looking {
        looking: Looking,
        told: Form,
        chunks: Vec<Bytes>,
        length: usize,
        asked: (Dialect, Wanted),
    },
    /// A stream of events, read as they come.
    Stream(Box<SseReader>),
    /// A whole JSON answer, read at its end; the chunks are shared, not copied.
    Whole {
        chunks: Vec<Bytes>,
        length: usize,
        asked: (Dialect, Wanted),
    },
    /// Not read: an error of the upstream's, or an answer past the limit.
    Blind,
}

impl Tee {
    /// For a successful answer, of which its header has told a form.
    pub fn new(told: Form, dialect: Dialect, wanted: Wanted) -> Self {
        Self::Looking {
            looking: Looking::default(),
            told,
            chunks: Vec::new(),
            length: 0,
            asked: (dialect, wanted),
        }
    }

    /// The form that it is of, where that is known.
    pub fn form(&self) -> Option<Form> {
        match self {
            Self::Stream(_) => Some(Form::Stream),
            Self::Whole { .. } => Some(Form::Whole),
            Self::Looking { .. } | Self::Blind => None,
        }
    }

    /// Sees a chunk that has been passed on.
    pub fn feed(&mut self, chunk: &Bytes) {
        match self {
            Self::Looking {
                looking,
                told,
                chunks,
                length,
                ..
            } => {
                chunks.push(chunk.clone());
                *length += chunk.len();
                match looking.see(chunk) {
                    Look::Is(form) => self.decide(form),
                    Look::More if *length <= ENOUGH => {}
                    Look::More | Look::Neither => {
                        let told = *told;
                        self.decide(told);
                    }
                }
            }
            Self::Stream(reader) => reader.feed(chunk),
            Self::Whole { length, .. } if *length + chunk.len() > WHOLE_LIMIT => {
                *self = Self::Blind;
            }
            Self::Whole { chunks, length, .. } => {
                *length += chunk.len();
                chunks.push(chunk.clone());
            }
            Self::Blind => {}
        }
    }

    /// Sees a chunk in a coding, which is undone for as long as it is read.
    pub fn feed_coded(&mut self, decoder: &mut Decoder, chunk: Bytes) {
        if self.is_blind() {
            return;
        }
        decoder.feed(chunk);
        while !self.is_blind() {
            match decoder.piece() {
                Ok(Some(piece)) => self.feed(&piece),
                Ok(None) => return,
                Err(_) => *self = Self::Blind,
            }
        }
    }

    /// Whether nothing more is read.
    fn is_blind(&self) -> bool {
        match self {
            Self::Stream(reader) => reader.is_blind(),
            Self::Looking { .. } | Self::Whole { .. } => false,
            Self::Blind => true,
        }
    }

    /// What was said. Called when the answer has come to its clean end.
    pub fn finish(mut self) -> Option<Answer> {
        if let Self::Looking { told, .. } = self {
            self.decide(told);
        }
        match self {
            Self::Stream(reader) => Some(reader.finish()),
            Self::Whole {
                chunks,
                asked: (dialect, wanted),
                ..
            } => {
                let mut reader = Reader::new(dialect, wanted);
                let whole = match &chunks[..] {
                    [whole] => without_mark(whole),
                    chunks => without_mark(&chunks.concat().into()),
                };
                reader.whole(&whole);
                if !reader.answer().unreadable {
                    return Some(reader.finish());
                }
                match Odd::of(&whole) {
                    Some(Odd::Events(events)) => {
                        let mut reader = SseReader::new(Reader::new(dialect, wanted));
                        reader.feed(&events);
                        return Some(reader.finish());
                    }
                    Some(Odd::One(one)) => reader.whole(&one),
                    None => {}
                }
                Some(reader.finish())
            }
            Self::Looking { .. } | Self::Blind => None,
        }
    }

    /// Goes on with an answer of this form.
    fn decide(&mut self, form: Form) {
        let Self::Looking { chunks, asked, .. } = std::mem::replace(self, Self::Blind) else {
            return;
        };
        *self = match form {
            Form::Stream => Self::Stream(Box::new(SseReader::new(Reader::new(asked.0, asked.1)))),
            Form::Whole => Self::Whole {
                chunks: Vec::new(),
                length: 0,
                asked,
            },
        };
        for chunk in &chunks {
            self.feed(chunk);
        }
    }
}
