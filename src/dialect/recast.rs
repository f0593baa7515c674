//! An answer of one form told in the other: as a stream of events, or whole. Upstreams do not always
//! answer in the form that they were asked for, nor every leg of an answer in the same.

use bytes::Bytes;

use super::{Dialect, chat, messages, responses};
use crate::wire::frame::Event;
use crate::wire::frame::form::without_mark;
use crate::wire::frame::sse::{Next, Splitter, framed};

impl Dialect {
    /// A whole answer as the stream of events that would have told it; `None` where it is none.
    pub fn streamed(self, whole: &Bytes) -> Option<Bytes> {
        let events = self.events(&without_mark(whole))?;
        let frames: Vec<_> = events.iter().map(framed).collect();
        Some(frames.concat().into())
    }

    /// The events that would have told a whole answer.
    pub fn events(self, whole: &[u8]) -> Option<Vec<Event>> {
        match self {
            Self::Chat => chat::streamed(whole),
            Self::Responses => responses::streamed(whole),
            Self::Messages => messages::streamed(whole),
        }
    }

    /// What a stream of events has told, as a whole answer; `None` where it broke off.
    pub fn gathered(self, stream: &Bytes) -> Option<Bytes> {
        let mut splitter = Splitter::with_limit(stream.len());
        let (mut rest, mut events) = (stream.clone(), Vec::new());
        while let Next::Frame(frame) = splitter.next(&mut rest) {
            events.push(frame.data());
        }
        events.extend(splitter.rest().map(|frame| frame.data()));
        events.retain(|data| !data.is_empty());
        match self {
            Self::Chat => chat::gathered(&events),
            Self::Responses => responses::gathered(&events),
            Self::Messages => messages::gathered(&events),
        }
    }
}
