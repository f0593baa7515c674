//! What of an answer the client sees, where tools of the gateway's are on offer.

use bytes::Bytes;

use super::answer::{Answer, Wanted};
use super::calls::{Edit, Leg, Owners};
use super::{Dialect, chat, messages, responses};
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::frame::sse::{Frame, Next, Splitter, ends_frame, framed};

/// Stands between an upstream and the client, one an answer, over all its legs: the gateway's calls
/// are held back, all else goes on.
///
/// It reads what goes on as well, so that nothing is read twice: each event is given to
/// [`Editor::read`] where it passes, else to [`Editor::event`].
#[derive(Debug)]
pub enum Editor {
    Chat(Box<chat::Editor>),
    Responses(Box<responses::Editor>),
    Messages(Box<messages::Editor>),
}

impl Editor {
    /// An editor before the first leg. `seed` makes ids for calls that have none, so it must be of
    /// this answer alone.
    pub fn new(dialect: Dialect, owners: Owners, wanted: Wanted, seed: String) -> Self {
        match dialect {
            Dialect::Chat => Self::Chat(Box::new(chat::Editor::new(owners, wanted, seed))),
            Dialect::Responses => {
                Self::Responses(Box::new(responses::Editor::new(owners, wanted, seed)))
            }
            Dialect::Messages => {
                Self::Messages(Box::new(messages::Editor::new(owners, wanted, seed)))
            }
        }
    }

    /// Whether the whole events that `raw` holds go on as they came, whatever is in them: told
    /// without reading them.
    pub fn passes(&self, raw: &[u8]) -> bool {
        match self {
            Self::Chat(editor) => editor.passes(raw),
            Self::Responses(editor) => editor.passes(raw),
            Self::Messages(editor) => editor.passes(raw),
        }
    }

    /// Reads the data of an event that goes on as it came.
    pub fn read(&mut self, data: &Bytes) {
        match self {
            Self::Chat(editor) => editor.read(data),
            Self::Responses(editor) => editor.read(data),
            Self::Messages(editor) => editor.read(data),
        }
    }

    /// Judges the data of an event.
    pub fn event(&mut self, data: &Bytes) -> Edit {
        match self {
            Self::Chat(editor) => editor.event(data),
            Self::Responses(editor) => editor.event(data),
            Self::Messages(editor) => editor.event(data),
        }
    }

    /// What was held and goes on before the event that was judged last.
    pub fn released(&mut self) -> Vec<Event> {
        match self {
            Self::Responses(editor) => editor.released(),
            Self::Chat(_) | Self::Messages(_) => Vec::new(),
        }
    }

    /// Judges a leg that is not streamed, as it would be shown if it were the last.
    pub fn whole(&mut self, body: &Bytes) -> Edit {
        match self {
            Self::Chat(editor) => editor.whole(body),
            Self::Responses(editor) => editor.whole(body),
            Self::Messages(editor) => editor.whole(body),
        }
    }

    /// Whether all could be read so far.
    pub fn has_read(&self) -> bool {
        match self {
            Self::Chat(editor) => editor.has_read(),
            Self::Responses(editor) => editor.has_read(),
            Self::Messages(editor) => editor.has_read(),
        }
    }

    /// Ends a leg that came to its clean end: how does the answer go on?
    pub fn end_leg(&mut self) -> Leg {
        match self {
            Self::Chat(editor) => editor.end_leg(),
            Self::Responses(editor) => editor.end_leg(),
            Self::Messages(editor) => editor.end_leg(),
        }
    }

    /// Ends the answer: what of its ending was held back.
    pub fn finish(&mut self) -> Vec<Event> {
        match self {
            Self::Chat(editor) => editor.finish(),
            Self::Responses(editor) => editor.finish(),
            Self::Messages(editor) => editor.finish(),
        }
    }

    /// Ends the answer with an error instead, said as the client has to be told it in mid-stream.
    pub fn error_event(&self, error: &ApiError) -> Event {
        match self {
            Self::Chat(editor) => editor.error_event(error),
            Self::Responses(editor) => editor.error_event(error),
            Self::Messages(editor) => editor.error_event(error),
        }
    }

    /// Notes that an event went by that is too large to be read: where that stood within what is held, the
    /// answer cannot go on.
    pub fn give_up(&mut self) {
        match self {
            Self::Chat(editor) => editor.give_up(),
            Self::Responses(editor) => editor.give_up(),
            Self::Messages(editor) => editor.give_up(),
        }
    }

    /// What the client was told.
    pub fn into_answer(self) -> Answer {
        match self {
            Self::Chat(editor) => editor.into_answer(),
            Self::Responses(editor) => editor.into_answer(),
            Self::Messages(editor) => editor.into_answer(),
        }
    }
}

/// An editor over server-sent events, cut into chunks anywhere.
#[derive(Debug)]
pub struct SseEditor {
    editor: Editor,
    splitter: Splitter,
}

impl SseEditor {
    pub fn new(editor: Editor) -> Self {
        Self {
            editor,
            splitter: Splitter::default(),
        }
    }

    /// Takes the next bytes of a leg and gives what of them goes to the client: an event as soon as
    /// it is complete.
    pub fn feed(&mut self, chunk: &Bytes) -> Vec<Bytes> {
        // Nearly every chunk is whole events of which none is touched.
        let is_whole = self.splitter.is_between() && ends_frame(chunk);
        let passes = is_whole && self.editor.passes(chunk);
        let (mut rest, mut out) = (chunk.clone(), Vec::new());
        loop {
            match self.splitter.next(&mut rest) {
                Next::Frame(frame) if passes => self.editor.read(&frame.data()),
                Next::Frame(frame) => self.frame(&frame, &mut out),
                Next::More => break,
                Next::TooLarge(raw) => {
                    self.editor.give_up();
                    out.push(raw);
                }
            }
        }
        match passes {
            true => vec![chunk.clone()],
            false => out,
        }
    }

    /// Ends a leg: what was held of an unfinished event, which clients read too, and how the answer
    /// goes on.
    pub fn end_leg(&mut self) -> (Vec<Bytes>, Leg) {
        let mut out = Vec::new();
        if let Some(frame) = self.splitter.rest() {
            self.frame(&frame, &mut out);
        }
        self.splitter = Splitter::default();
        (out, self.editor.end_leg())
    }

    /// Ends the answer: what of its ending was held back.
    pub fn finish(&mut self) -> Vec<Bytes> {
        self.editor.finish().iter().map(framed).collect()
    }

    /// Ends the answer with an error instead.
    pub fn error_event(&self, error: &ApiError) -> Bytes {
        framed(&self.editor.error_event(error))
    }

    /// What the client was told.
    pub fn into_answer(self) -> Answer {
        self.editor.into_answer()
    }

    /// Adds what of a frame goes on.
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Bytes>) {
        let data = frame.data();
        if data.is_empty() {
            out.push(frame.raw().clone());
            return;
        }
        if self.editor.passes(frame.raw()) {
            self.editor.read(&data);
            out.push(frame.raw().clone());
            return;
        }
        let edit = self.editor.event(&data);
        out.extend(self.editor.released().iter().map(framed));
        match edit {
            Edit::Pass => out.push(frame.raw().clone()),
            Edit::Replace(data) => out.push(frame.with_data(&data)),
            Edit::Drop => {}
        }
    }
}
