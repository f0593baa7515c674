//! An answer of one form told in the other: as a stream of events, or whole. Upstreams do not always
//! answer in the form that they were asked for, nor every leg of an answer in the same.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Dialect, chat, messages, responses};
use crate::wire::frame::Event;
use crate::wire::frame::form::without_mark;
use crate::wire::frame::sse::{Next, Splitter, framed};

/// What a text that was to be one JSON object is instead.
#[derive(Debug, PartialEq, Eq)]
pub enum Odd {
    /// One, and something behind or around it.
    One(Bytes),
    /// Several, one after the other or in a list: events, as a stream would have told them.
    Events(Bytes),
}

impl Odd {
    /// `None` where it is one object, or none.
    pub fn of(text: &Bytes) -> Option<Self> {
        let text = without_mark(text);
        let mut objects: Vec<Bytes> = Vec::new();
        let mut values = serde_json::Deserializer::from_slice(&text).into_iter::<&RawValue>();
        let mut is_list = false;
        while let Some(Ok(value)) = values.next() {
            match value.get().as_bytes().first() {
                Some(b'{') => objects.push(text.slice_ref(value.get().as_bytes())),
                Some(b'[') => {
                    is_list = true;
                    let listed = serde_json::from_str(value.get());
                    let listed: Vec<&RawValue> = listed.unwrap_or_default();
                    let listed = listed.iter().map(|it| text.slice_ref(it.get().as_bytes()));
                    objects.extend(listed.filter(|it| it.starts_with(b"{")));
                }
                _ => {}
            }
        }
        let is_all = |object: &Bytes| !is_list && object.len() == text.trim_ascii().len();
        match &objects[..] {
            [] => None,
            [only] if is_all(only) => None,
            [only] => Some(Self::One(only.clone())),
            all => {
                let frames = all.iter().map(|object| framed(&Event::of(object.clone())));
                let frames: Vec<_> = frames.collect();
                Some(Self::Events(frames.concat().into()))
            }
        }
    }
}

impl Dialect {
    /// A whole answer as the stream of events that would have told it; `None` where it is none.
    pub fn streamed(self, whole: &Bytes) -> Option<Bytes> {
        let whole = match Odd::of(whole) {
            Some(Odd::Events(events)) => return Some(events),
            Some(Odd::One(one)) => one,
            None => without_mark(whole),
        };
        let events = self.events(&whole)?;
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
