//! What of an answer the client sees, where tools of the gateway's are on offer.

use bytes::{Bytes, BytesMut};

use super::answer::{Answer, Wanted};
use super::calls::{Edit, Leg, Owners};
use super::{Dialect, chat, messages, responses};
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::frame::form::without_mark;
use crate::wire::frame::sse::{EVENT_LIMIT, Frame, Next, Splitter, ends_frame, framed};

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

/// An editor over a stream, cut into chunks anywhere.
#[derive(Debug)]
pub struct SseEditor {
    editor: Editor,
    cutter: Cutter,
    /// Whether the client gets lines of JSON: its first leg was of such.
    tells_lines: bool,
}

/// Cuts a leg into events.
#[derive(Debug)]
enum Cutter {
    Events(Splitter),
    /// Lines, each an object, with what there is of the next one.
    Lines(BytesMut),
}

impl SseEditor {
    pub fn new(editor: Editor) -> Self {
        Self {
            editor,
            cutter: Cutter::Events(Splitter::default()),
            tells_lines: false,
        }
    }

    /// One whose client gets lines.
    pub fn of_lines(editor: Editor) -> Self {
        Self {
            tells_lines: true,
            ..Self::new(editor)
        }
    }

    /// Begins a leg of server-sent events, or of lines.
    pub fn begin_leg(&mut self, is_of_lines: bool) {
        self.cutter = match is_of_lines {
            true => Cutter::Lines(BytesMut::new()),
            false => Cutter::Events(Splitter::default()),
        };
    }

    /// Takes the next bytes of a leg and gives what of them goes to the client: an event as soon as
    /// it is complete.
    pub fn feed(&mut self, chunk: &Bytes) -> Vec<Bytes> {
        let splitter = match &mut self.cutter {
            Cutter::Events(splitter) => splitter,
            Cutter::Lines(held) => {
                held.extend_from_slice(chunk);
                return self.feed_lines();
            }
        };
        // Nearly every chunk is whole events of which none is touched.
        let is_whole = splitter.is_between() && ends_frame(chunk);
        let passes = is_whole && !self.tells_lines && self.editor.passes(chunk);
        let (mut rest, mut out) = (chunk.clone(), Vec::new());
        while let Cutter::Events(splitter) = &mut self.cutter {
            match splitter.next(&mut rest) {
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

    fn feed_lines(&mut self) -> Vec<Bytes> {
        let mut out = Vec::new();
        while let Cutter::Lines(held) = &mut self.cutter {
            let Some(end) = memchr::memchr(b'\n', held) else {
                if held.len() > EVENT_LIMIT {
                    out.push(held.split().freeze());
                    self.editor.give_up();
                }
                break;
            };
            let line = held.split_to(end + 1).freeze();
            self.line(line, &mut out);
        }
        out
    }

    /// Ends a leg: what was held of an unfinished event, which clients read too, and how the answer
    /// goes on.
    pub fn end_leg(&mut self) -> (Vec<Bytes>, Leg) {
        let mut out = Vec::new();
        match &mut self.cutter {
            Cutter::Events(splitter) => {
                if let Some(frame) = splitter.rest() {
                    self.frame(&frame, &mut out);
                }
            }
            Cutter::Lines(held) => {
                let line = held.split().freeze();
                self.line(line, &mut out);
            }
        }
        self.begin_leg(false);
        (out, self.editor.end_leg())
    }

    /// Ends the answer: what of its ending was held back.
    pub fn finish(&mut self) -> Vec<Bytes> {
        let events = self.editor.finish();
        let events = events.iter().filter(|event| !self.is_end_mark(&event.data));
        events.map(|event| self.told(event)).collect()
    }

    /// Ends the answer with an error instead.
    pub fn error_event(&self, error: &ApiError) -> Bytes {
        self.told(&self.editor.error_event(error))
    }

    /// What the client was told.
    pub fn into_answer(self) -> Answer {
        self.editor.into_answer()
    }

    /// Adds what of a frame goes on.
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Bytes>) {
        let data = frame.data();
        let tells_lines = self.tells_lines;
        let told = |data: &Bytes, is_same: bool| match (tells_lines, is_same) {
            (true, _) => line(data),
            (false, true) => frame.raw().clone(),
            (false, false) => frame.with_data(data),
        };
        if data.is_empty() {
            // A comment is none where there are lines.
            out.extend((!tells_lines).then(|| frame.raw().clone()));
        } else {
            self.judge(frame.raw(), &data, told, out);
        }
    }

    /// Adds what of a line goes on.
    fn line(&mut self, raw: Bytes, out: &mut Vec<Bytes>) {
        let data = raw.slice_ref(without_mark(&raw).trim_ascii());
        let tells_lines = self.tells_lines;
        let told = |data: &Bytes, is_same: bool| match (tells_lines, is_same) {
            (true, true) => raw.clone(),
            (true, false) => line(data),
            (false, _) => framed(&Event::of(data.clone())),
        };
        if data.is_empty() {
            out.extend((tells_lines && !raw.is_empty()).then(|| raw.clone()));
        } else {
            self.judge(&raw, &data, told, out);
        }
    }

    /// Adds what of an event goes on, as it is `told`: whether it is as it came.
    fn judge(
        &mut self,
        raw: &Bytes,
        data: &Bytes,
        told: impl Fn(&Bytes, bool) -> Bytes,
        out: &mut Vec<Bytes>,
    ) {
        if self.editor.passes(raw) {
            self.editor.read(data);
            out.extend((!self.is_end_mark(data)).then(|| told(data, true)));
            return;
        }
        let edit = self.editor.event(data);
        let released = self.editor.released();
        out.extend(released.iter().map(|event| self.told(event)));
        match edit {
            Edit::Pass if self.is_end_mark(data) => {}
            Edit::Pass => out.push(told(data, true)),
            Edit::Replace(data) => out.push(told(&data, false)),
            Edit::Drop => {}
        }
    }

    /// Whether it is what ends a stream of server-sent events, and no line.
    fn is_end_mark(&self, data: &[u8]) -> bool {
        self.tells_lines && data.trim_ascii() == b"[DONE]"
    }

    fn told(&self, event: &Event) -> Bytes {
        match self.tells_lines {
            true => line(&event.data),
            false => framed(event),
        }
    }
}

/// A line of data, which has no line ends in it but as white space.
fn line(data: &[u8]) -> Bytes {
    let mut line = data.to_vec();
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line.into()
}
