//! Reading a copy of an answer that is being passed on.

use bytes::Bytes;

use crate::dialect::{Answer, Observer};

/// Bytes of an answer's text that are kept: what becomes a record of memory is smaller.
pub const TEXT_LIMIT: usize = 64 * 1024;
/// A whole answer larger than this is passed on unread.
pub const WHOLE_LIMIT: usize = 4 * 1024 * 1024;

/// What of an answer somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What it cost.
    Usage,
    /// All but its text.
    Facts,
    All,
}

/// Gathers what an answer says, whatever its form. It never fails: what it cannot read it leaves.
pub enum Reader {
    /// A stream of events, read as they come.
    Stream(Box<Observer>),
    /// A whole JSON answer, read at its end; the chunks are shared, not copied.
    Whole {
        chunks: Vec<Bytes>,
        length: usize,
        wanted: Wanted,
    },
    /// Not read: an error of the upstream's, or an answer past the limit.
    Blind,
}

impl Reader {
    /// A reader for a successful answer.
    pub fn new(streamed: bool, wanted: Wanted) -> Self {
        if streamed {
            Self::Stream(Box::new(Observer::new(wanted.text_limit())))
        } else {
            Self::Whole {
                chunks: Vec::new(),
                length: 0,
                wanted,
            }
        }
    }

    /// Sees a chunk that has been passed on.
    pub fn feed(&mut self, chunk: &Bytes) {
        match self {
            Self::Stream(observer) => observer.feed(chunk),
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
            Self::Stream(observer) => Some(observer.finish()),
            Self::Whole { chunks, wanted, .. } => Some(match &chunks[..] {
                [whole] => wanted.read(whole),
                chunks => wanted.read(&chunks.concat()),
            }),
            Self::Blind => None,
        }
    }
}

impl Wanted {
    fn text_limit(self) -> usize {
        match self {
            Self::All => TEXT_LIMIT,
            Self::Usage | Self::Facts => 0,
        }
    }

    fn read(self, json: &[u8]) -> Answer {
        match self {
            Self::Usage => Answer::of_usage(json),
            Self::Facts | Self::All => Answer::from_json(json, self.text_limit()),
        }
    }
}
