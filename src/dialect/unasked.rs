//! A stream without the usage that the gateway asked for and the client did not.

use bytes::Bytes;
use memchr::memmem::Finder;

use super::calls::Edit;
use super::chat;
use crate::wire::frame::sse::{Frame, Next, Splitter, ends_frame};

/// Takes it out of a stream of events, cut into chunks anywhere. All else stays as it came.
#[derive(Debug)]
pub struct Unasked {
    splitter: Splitter,
    mark: Finder<'static>,
    is_blind: bool,
}

impl Default for Unasked {
    fn default() -> Self {
        Self {
            splitter: Splitter::default(),
            mark: Finder::new(b"\"usage\""),
            is_blind: false,
        }
    }
}

impl Unasked {
    /// What of the next bytes goes on: an event as soon as it is complete.
    pub fn feed(&mut self, chunk: &Bytes) -> Vec<Bytes> {
        let is_whole = self.splitter.is_between() && ends_frame(chunk);
        if self.is_blind || (is_whole && self.mark.find(chunk).is_none()) {
            return vec![chunk.clone()];
        }
        let (mut rest, mut out) = (chunk.clone(), Vec::new());
        loop {
            match self.splitter.next(&mut rest) {
                Next::Frame(frame) => out.extend(self.frame(&frame)),
                Next::More => return out,
                Next::TooLarge(raw) => {
                    self.is_blind = true;
                    out.extend([raw, rest]);
                    out.retain(|piece| !piece.is_empty());
                    return out;
                }
            }
        }
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Option<Bytes> {
        let rest = self.splitter.rest()?;
        self.frame(&rest)
    }

    fn frame(&self, frame: &Frame) -> Option<Bytes> {
        if self.mark.find(frame.raw()).is_none() {
            return Some(frame.raw().clone());
        }
        match chat::without_usage(&frame.data()) {
            Edit::Pass => Some(frame.raw().clone()),
            Edit::Replace(data) => Some(frame.with_data(&data)),
            Edit::Drop => None,
        }
    }
}
