//! Reading a copy of an answer that is being passed on.

use bytes::Bytes;

use crate::dialect::{Answer, Dialect, Reader, SseReader, Wanted};

/// A whole answer larger than this is passed on unread.
pub const WHOLE_LIMIT: usize = 4 * 1024 * 1024;

/// Gathers what an answer says, whatever its form. It never fails: what it cannot read it leaves.
pub enum Tee {
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
    /// For a successful answer.
    pub fn new(streamed: bool, dialect: Dialect, wanted: Wanted) -> Self {
        let reader = Reader::new(dialect, wanted);
        if streamed {
            Self::Stream(Box::new(SseReader::new(reader)))
        } else {
            Self::Whole {
                chunks: Vec::new(),
                length: 0,
                reader: Box::new(reader),
            }
        }
    }

    /// Sees a chunk that has been passed on.
    pub fn feed(&mut self, chunk: &Bytes) {
        match self {
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
    pub fn finish(self) -> Option<Answer> {
        match self {
            Self::Stream(reader) => Some(reader.finish()),
            Self::Whole {
                chunks, mut reader, ..
            } => {
                match &chunks[..] {
                    [whole] => reader.whole(whole),
                    chunks => reader.whole(&chunks.concat()),
                }
                Some(reader.finish())
            }
            Self::Blind => None,
        }
    }
}
