//! Reading a copy of an answer that is being passed on.

use bytes::Bytes;

use super::form::ENOUGH;
use crate::dialect::{Answer, Dialect, Reader, SseReader, Wanted};
use crate::wire::frame::form::{Form, Look, Looking, without_mark};

/// A whole answer larger than this is passed on unread.
pub const WHOLE_LIMIT: usize = 4 * 1024 * 1024;

/// Gathers what an answer says, whatever its form. It never fails: what it cannot read it leaves.
pub enum Tee {
    /// Its first bytes do not tell its form yet; where they never do it is `told`.
    Looking {
        looking: Looking,
        told: Form,
        chunks: Vec<Bytes>,
        length: usize,
        reader: Box<Reader>,
    },
    /// A stream of events, read as they come.
    Stream(Box<SseReader>),
    /// A whole JSON answer, read at its end; the chunks are shared, not copied.
    Whole {
        chunks: Vec<Bytes>,
        length: usize,
        reader: Box<Reader>,
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
            reader: Box::new(Reader::new(dialect, wanted)),
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

    /// What was said. Called when the answer has come to its clean end.
    pub fn finish(mut self) -> Option<Answer> {
        if let Self::Looking { told, .. } = self {
            self.decide(told);
        }
        match self {
            Self::Stream(reader) => Some(reader.finish()),
            Self::Whole {
                chunks, mut reader, ..
            } => {
                match &chunks[..] {
                    [whole] => reader.whole(&without_mark(whole)),
                    chunks => reader.whole(&without_mark(&chunks.concat().into())),
                }
                Some(reader.finish())
            }
            Self::Looking { .. } | Self::Blind => None,
        }
    }

    /// Goes on with an answer of this form.
    fn decide(&mut self, form: Form) {
        let Self::Looking { chunks, reader, .. } = std::mem::replace(self, Self::Blind) else {
            return;
        };
        *self = match form {
            Form::Stream => Self::Stream(Box::new(SseReader::new(*reader))),
            Form::Whole => Self::Whole {
                chunks: Vec::new(),
                length: 0,
                reader,
            },
        };
        for chunk in &chunks {
            self.feed(chunk);
        }
    }
}
