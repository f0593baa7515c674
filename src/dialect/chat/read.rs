//! Watches a copy of an event stream while the original bytes go to the client.

use crate::dialect::answer::Answer;
use crate::wire::frame::sse::Decoder;

/// Gathers an [`Answer`] from the chunks of a chat completion stream, cut anywhere.
///
/// It never errs. At the first thing that it cannot read it stops watching, which
/// [`Observer::is_blind`] and the answer's `unreadable` tell.
#[derive(Debug)]
pub struct Observer {
    decoder: Decoder,
    answer: Answer,
    done: bool,
    text_limit: usize,
}

impl Observer {
    /// An observer that keeps `text_limit` bytes of what is said.
    pub fn new(text_limit: usize) -> Self {
        Self {
            decoder: Decoder::default(),
            answer: Answer::default(),
            done: false,
            text_limit,
        }
    }

    /// Watches the next bytes of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.is_blind() {
            return;
        }
        let (answer, done, limit) = (&mut self.answer, &mut self.done, self.text_limit);
        let fed = self
            .decoder
            .feed(chunk, |data| note(answer, done, limit, data));
        if fed.is_err() {
            self.answer.unreadable = true;
        }
        if self.is_blind() {
            self.decoder = Decoder::default();
        }
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether something has been said: the first token is here.
    pub fn has_begun(&self) -> bool {
        self.answer.content_events > 0
    }

    /// Whether `[DONE]` has come.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it has met something that it could not read and has stopped watching.
    pub fn is_blind(&self) -> bool {
        self.answer.unreadable
    }

    /// The answer at the end of the stream. An event that lacks its last line ends counts, as
    /// clients read it too.
    pub fn finish(mut self) -> Answer {
        self.feed(b"\n\n");
        self.answer
    }
}

fn note(answer: &mut Answer, done: &mut bool, text_limit: usize, data: &[u8]) {
    match data.trim_ascii() {
        b"" => {}
        // What follows in the same chunk is not watched either: where a stream is cut is chance.
        _ if answer.unreadable => {}
        b"[DONE]" => *done = true,
        json => answer.read(json, text_limit),
    }
}
