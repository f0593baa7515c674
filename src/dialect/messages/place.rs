//! Decides what goes where in a request.
//!
//! The persona is the last block of `system`: what a client's first blocks say is read upstream, and
//! blocks before a cache mark are a prefix that users share. Memory is a block of the last user
//! message, before its first text and behind what tools gave: so it is sent again, byte for byte, as
//! long as it stays, and no earlier byte changes for it.

use bytes::Bytes;

use super::block::blocks;
use super::request::Places;
use super::restore;
use crate::dialect::conversation::{Content, Role};
use crate::dialect::injection::{
    Composed, Fragment, Injection, Persona, PersonaMode, Restored, Source, ToolOffer,
};
use crate::dialect::request::Request;
use crate::wire::Escaped;
use crate::wire::json::{Container, Span};
use crate::wire::splice::{self, Splice};

type Rope = splice::Rope<Source>;

/// What stands around a text that is a block of its own.
const BLOCK: (&[u8], &[u8]) = (br#"{"type":"text","text":""#, br#""}"#);

/// The body to send for `request` with `injection`, YYChat's own fields taken out.
///
/// With nothing to put in or take out, the one piece is the client's `Bytes`.
pub fn compose(request: &Request, places: &Places, injection: &Injection) -> Composed {
    let mut placing = Placing {
        request,
        places,
        splice: Splice::new(request.body()),
    };
    if let Some(persona) = &injection.persona {
        placing.persona(persona);
    }
    placing.memory(injection);
    placing.tools(&injection.tools);
    for restored in &injection.restored {
        placing.restore(restored);
    }
    if !matches!(injection.tools, ToolOffer::Keep) {
        placing.forget(&injection.restored);
    }
    let mut is_first = places.list.len == 0;
    for item in &injection.follow_up {
        let item = Rope::of(Source::ToolTurn, item.clone());
        let comma = !std::mem::take(&mut is_first);
        let item = if comma { item.after(b",") } else { item };
        placing.splice.insert(places.list.tail, item);
    }
    request.cut_extensions(&mut placing.splice);
    if let Some(suffix) = injection.model_suffix {
        placing.splice.cut(suffix.range());
    }
    placing.splice.finish()
}

struct Placing<'a> {
    request: &'a Request,
    places: &'a Places,
    splice: Splice<'a, Source>,
}

impl Placing<'_> {
    fn persona(&mut self, persona: &Persona) {
        let mut rope = Rope::default();
        let mut replaces = persona.mode == PersonaMode::Replace;
        for fragment in &persona.fragments {
            match fragment {
                Fragment::Text(text) => rope.push(Source::Persona, text.bytes()),
                Fragment::Book(text) => rope.push(Source::Book, text.bytes()),
                Fragment::Original => {
                    replaces = true;
                    rope = rope.append(self.original());
                }
            }
        }
        if rope.is_empty() {
            return;
        }
        let messages = self.request.messages();
        let system = messages.first().filter(|_| self.places.has_system);
        let Some(system) = system else {
            return self.add_system(rope);
        };
        if replaces {
            self.splice.cut(system.span.range());
            self.splice
                .insert(system.span.start, rope.within(b"\"", b"\""));
            return;
        }
        match &system.content {
            Content::Text(text) if text.is_empty() => self.splice.insert(text.span.start, rope),
            Content::Text(text) if persona.mode == PersonaMode::Append => {
                self.splice.insert(text.span.end, rope.after_blank_line());
            }
            Content::Text(text) => self
                .splice
                .insert(text.span.start, rope.before_blank_line()),
            Content::Parts { array, .. } => {
                let block = rope.within(BLOCK.0, BLOCK.1);
                let block = if array.len > 0 {
                    block.after(b",")
                } else {
                    block
                };
                self.splice.insert(array.tail, block);
            }
            Content::Null(_) | Content::Absent => {}
        }
    }

    /// Adds a `system` where the client has none.
    fn add_system(&mut self, rope: Rope) {
        match self.places.null_system {
            Some(null) => {
                self.splice.cut(null.range());
                self.splice.insert(null.start, rope.within(b"\"", b"\""));
            }
            // Behind `messages`, the one member that is always there and always stays.
            None => {
                let member = rope.within(br#","system":""#, b"\"");
                self.splice.insert(self.places.list.span.end, member);
            }
        }
    }

    /// The text of the client's `system`, escaped as the client has it.
    fn original(&self) -> Rope {
        let messages = self.request.messages();
        let system = messages.first().filter(|_| self.places.has_system);
        let texts = system.map_or(&[][..], |system| system.content.texts());
        let mut whole = Rope::default();
        for text in texts {
            let text = text.span.of(self.request.body());
            whole = whole.paragraph(Rope::of(Source::Original, text));
        }
        whole
    }

    fn memory(&mut self, injection: &Injection) {
        let last = self.request.last_user();
        let text = |source, text: Option<&Escaped>| {
            text.map_or_else(Rope::default, |text| Rope::of(source, text.bytes()))
        };
        for (at, block) in &injection.earlier {
            if Some(*at) != last {
                self.surround(*at, text(Source::Memory, Some(block)), Rope::default());
            }
        }
        let Some(last) = last else { return };
        let stays = injection.earlier.iter().find(|(at, _)| *at == last);
        let fresh = injection.memory.as_ref().map(|memory| &memory.text);
        let before = text(Source::Memory, stays.map(|(_, block)| block).or(fresh));
        let after = text(Source::PostHistory, injection.post_history.as_ref());
        self.surround(last, before, after);
    }

    /// Puts blocks around what the user says in a message: one behind what tools gave and before
    /// the first text, one at the end.
    fn surround(&mut self, at: usize, before: Rope, after: Rope) {
        if before.is_empty() && after.is_empty() {
            return;
        }
        let before = before.within(BLOCK.0, BLOCK.1);
        let after = after.within(BLOCK.0, BLOCK.1);
        match self
            .request
            .messages()
            .get(at)
            .map(|message| &message.content)
        {
            Some(Content::Text(text)) => {
                let source = if before.is_empty() {
                    Source::PostHistory
                } else {
                    Source::Memory
                };
                let part = |bytes: &'static [u8]| Rope::of(source, Bytes::from_static(bytes));
                let opening = part(b"[").append(before.before(b","));
                let opening = opening.append(part(br#"{"type":"text","text":"#));
                self.splice.insert(text.span.start - 1, opening);
                let closing = part(b"}").append(after.after(b",")).append(part(b"]"));
                self.splice.insert(text.span.end + 1, closing);
            }
            Some(Content::Parts { array, .. }) => {
                let place = self.first_text(array);
                match place {
                    Some(place) => self.splice.insert(place, before.before(b",")),
                    None if array.len > 0 => self.splice.insert(array.tail, before.after(b",")),
                    None => self.splice.insert(array.tail, before),
                }
                if array.len > 0 {
                    self.splice.insert(array.tail, after.after(b","));
                }
            }
            Some(Content::Null(_) | Content::Absent) | None => {}
        }
    }

    /// Where the first block of text begins.
    fn first_text(&self, array: &Container) -> Option<usize> {
        let blocks = blocks(&self.request.body()[array.span.range()]);
        let first = blocks.iter().find(|block| block.kind == "text")?;
        Some(array.span.start + first.span.start)
    }

    fn tools(&mut self, offer: &ToolOffer) {
        let entries = offer.entries();
        if entries.is_empty() {
            return;
        }
        if let Some(list) = self.places.tools.add(&mut self.splice, entries) {
            let member = list.within(br#","tools":["#, b"]");
            self.splice.insert(self.places.list.span.end, member);
        }
        if matches!(offer, ToolOffer::Close(_)) {
            self.close();
        }
    }

    /// Has the model call no tool any more. What the client says beside its choice goes with it: it
    /// is of calls.
    fn close(&mut self) {
        let none = |bytes: &'static [u8]| Rope::of(Source::Tools, Bytes::from_static(bytes));
        match self.request.known("tool_choice") {
            Some(member) => {
                let Span { start, .. } = member.value;
                self.splice.cut(member.value.range());
                self.splice.insert(start, none(br#"{"type":"none"}"#));
            }
            None => {
                let end = self.places.list.span.end;
                self.splice
                    .insert(end, none(br#","tool_choice":{"type":"none"}"#));
            }
        }
    }

    /// Leaves out thoughts of rounds of the gateway's that are not put back.
    fn forget(&mut self, restored: &[Restored]) {
        for (at, message) in self.request.messages().iter().enumerate() {
            let is_known = restored.iter().any(|restored| restored.at == at);
            if message.role == Role::Assistant && !is_known {
                for cut in restore::forgotten(self.request, at) {
                    self.splice.cut(cut);
                }
            }
        }
    }

    /// Puts the gateway's part of a turn back.
    fn restore(&mut self, restored: &Restored) {
        let places = restore::places(self.request, restored);
        for (at, bytes) in places.put {
            self.splice.insert(at, Rope::of(Source::ToolTurn, bytes));
        }
        for cut in places.cut {
            self.splice.cut(cut);
        }
    }
}
