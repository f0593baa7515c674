//! Decides what goes where in a request.
//!
//! Personas go into `instructions`, which no upstream keeps for the next request. Memory is an item of
//! its own just before the last words of the user.

use bytes::Bytes;

use super::item::{Body, Item, Side};
use super::request::{Input, Instructions, Places};
use super::{restore, round};
use crate::dialect::injection::{
    Composed, Fragment, Injection, Persona, PersonaMode, Placement, Restored, Source,
};
use crate::dialect::request::Request;
use crate::wire::Escaped;
use crate::wire::json::{Container, Text};
use crate::wire::object::Members;
use crate::wire::splice::{self, Splice};

pub(super) type Rope = splice::Rope<Source>;

/// What stands around a text that is an item of instructions, …
const ITEM: (&[u8], &[u8]) = (br#"{"role":"developer","content":""#, br#""}"#);
/// … and one that is a part of a message.
const PART: (&[u8], &[u8]) = (br#"{"type":"input_text","text":""#, br#""}"#);
/// The body to send for `request` with `injection`, YYChat's own fields taken out.
///
/// With nothing to put in or take out, the one piece is the client's `Bytes`.
pub fn compose(request: &Request, places: &Places, injection: &Injection) -> Composed {
    let mut placing = Placing {
        request,
        places,
        splice: Splice::new(request.body()),
        added: Vec::new(),
    };
    placing.instructions(injection);
    let goes_on = places.has_conversation && !injection.follow_up.is_empty();
    if goes_on {
        placing.go_on(&injection.follow_up);
    } else {
        placing.input(injection);
    }
    placing.tools(&injection.tools);
    if let Some(id) = &injection.goes_on_from {
        placing.rename(id);
    }
    request.cut_extensions(&mut placing.splice);
    if let Some(suffix) = injection.model_suffix {
        placing.splice.cut(suffix.range());
    }
    placing.add_members();
    placing.splice.finish()
}

pub(super) struct Placing<'a> {
    pub(super) request: &'a Request,
    pub(super) places: &'a Places,
    pub(super) splice: Splice<'a, Source>,
    /// Members that the client does not have.
    pub(super) added: Vec<Rope>,
}

impl Placing<'_> {
    fn instructions(&mut self, injection: &Injection) {
        let persona = injection.persona.as_ref();
        let (persona, replaces) = persona.map_or_else(Default::default, |it| self.persona(it));
        let append = injection
            .persona
            .as_ref()
            .is_some_and(|persona| persona.mode == PersonaMode::Append);
        let head = injection.memory.as_ref();
        let head = head.filter(|memory| memory.placement == Placement::Head);
        let head = text(Source::Memory, head.map(|memory| &memory.text));
        let head = match injection.strict_roles || !self.has_input() {
            true => head.paragraph(text(Source::PostHistory, injection.post_history.as_ref())),
            false => head,
        };
        match self.places.instructions {
            Instructions::Text(known) if !replaces && !known.is_empty() => {
                let (before, after) = match append {
                    true => (Rope::default(), persona.paragraph(head)),
                    false => (persona, head),
                };
                self.splice
                    .insert(known.span.start, before.before_blank_line());
                self.splice.insert(known.span.end, after.after_blank_line());
            }
            Instructions::Text(known) => {
                let all = persona.paragraph(head);
                if !all.is_empty() && !known.is_empty() {
                    self.splice.cut(known.span.range());
                }
                self.splice.insert(known.span.start, all);
            }
            Instructions::Null(null) => {
                let all = persona.paragraph(head).within(b"\"", b"\"");
                if !all.is_empty() {
                    self.splice.cut(null.range());
                    self.splice.insert(null.start, all);
                }
            }
            Instructions::List(list) => self.instruct(list, injection, head),
            Instructions::Other => {}
            Instructions::Absent => {
                let all = persona.paragraph(head);
                self.added.push(all.within(br#""instructions":""#, b"\""));
            }
        }
    }

    /// The same where they are items: a persona is one before them, memory one behind. What a persona says
    /// around the client's own stands around them.
    fn instruct(&mut self, list: Container, injection: &Injection, memory: Rope) {
        let (mut before, mut behind, mut stays) = (Rope::default(), Rope::default(), true);
        if let Some(persona) = &injection.persona {
            let fragments = persona.fragments.iter();
            let mut parts = fragments.map(|fragment| match fragment {
                Fragment::Text(text) => Some((Source::Persona, text.bytes())),
                Fragment::Book(text) => Some((Source::Book, text.bytes())),
                Fragment::Original => None,
            });
            let mut told = |rope: &mut Rope| {
                let told = parts.by_ref().map_while(|part| part);
                told.for_each(|(source, bytes)| rope.push(source, bytes));
            };
            told(&mut before);
            told(&mut behind);
            let has_original = persona
                .fragments
                .iter()
                .any(|it| matches!(it, Fragment::Original));
            stays = has_original || persona.mode != PersonaMode::Replace || before.is_empty();
            if persona.mode == PersonaMode::Append && !has_original {
                behind = std::mem::take(&mut before);
            }
        }
        let behind = behind.paragraph(memory).within(ITEM.0, ITEM.1);
        let before = before.within(ITEM.0, ITEM.1);
        let inside = list.span.start + 1..list.tail;
        let is_alone = list.len == 0 || !stays;
        if !stays {
            self.splice.cut(inside.clone());
        }
        match is_alone {
            true if before.is_empty() => self.splice.insert(inside.start, behind),
            true => self
                .splice
                .insert(inside.start, before.append(behind.after(b","))),
            false => {
                self.splice.insert(inside.start, before.before(b","));
                self.splice.insert(inside.end, behind.after(b","));
            }
        }
    }

    /// The persona's text, and whether it takes the place of the client's instructions.
    fn persona(&self, persona: &Persona) -> (Rope, bool) {
        let mut rope = Rope::default();
        let mut replaces = persona.mode == PersonaMode::Replace;
        for fragment in &persona.fragments {
            match fragment {
                Fragment::Text(text) => rope.push(Source::Persona, text.bytes()),
                Fragment::Book(text) => rope.push(Source::Book, text.bytes()),
                Fragment::Original => {
                    replaces = true;
                    if let Instructions::Text(own) = self.places.instructions {
                        rope.push(Source::Original, own.span.of(self.request.body()));
                    }
                }
            }
        }
        let replaces = replaces && !rope.is_empty();
        (rope, replaces)
    }

    fn input(&mut self, injection: &Injection) {
        let tail = injection.memory.as_ref();
        let tail = tail.filter(|memory| memory.placement == Placement::Tail);
        let tail = text(Source::Memory, tail.map(|memory| &memory.text));
        // Where roles are strict there are no instructions behind what was said, nor where nothing is said here.
        let post_history = injection.post_history.as_ref();
        let post_history = post_history.filter(|_| !injection.strict_roles);
        let post_history = text(Source::PostHistory, post_history);
        let post_history = post_history.within(ITEM.0, ITEM.1);
        match self.places.input {
            Input::Text(text) => self.wrap(text, (tail, post_history), injection),
            Input::List(list) => self.list(list, (tail, post_history), injection),
            Input::Absent | Input::Null(_) => {}
        }
    }

    fn has_input(&self) -> bool {
        matches!(self.places.input, Input::Text(_) | Input::List(_))
    }

    /// Makes a list of an input that is one text, where it needs more items.
    fn wrap(&mut self, said: Text, (memory, post_history): (Rope, Rope), injection: &Injection) {
        let mut behind = post_history;
        for item in &injection.follow_up {
            let item = Rope::of(Source::ToolTurn, item.clone());
            behind = match behind.is_empty() {
                true => item,
                false => behind.append(item.after(b",")),
            };
        }
        if memory.is_empty() && behind.is_empty() {
            return;
        }
        let source = if memory.is_empty() {
            Source::ToolTurn
        } else {
            Source::Memory
        };
        let part = |bytes: &'static [u8]| Rope::of(source, Bytes::from_static(bytes));
        let (opening, closing) = match injection.strict_roles && !memory.is_empty() {
            true => (
                part(br#"[{"role":"user","content":["#)
                    .append(memory.within(PART.0, PART.1).before(b","))
                    .append(part(br#"{"type":"input_text","text":"#)),
                part(b"}]}"),
            ),
            false => (
                part(b"[")
                    .append(memory.within(ITEM.0, ITEM.1).before(b","))
                    .append(part(br#"{"role":"user","content":"#)),
                part(b"}"),
            ),
        };
        self.splice.insert(said.span.start - 1, opening);
        let closing = closing.append(behind.after(b",")).append(part(b"]"));
        self.splice.insert(said.span.end + 1, closing);
    }

    fn list(
        &mut self,
        list: Container,
        (memory, post_history): (Rope, Rope),
        injection: &Injection,
    ) {
        let items = &self.places.items;
        let is_summary = items.last().is_some_and(|item| item.is_trigger);
        if !is_summary {
            for (at, block) in &injection.earlier {
                if let Some(item) = self.item_of(*at) {
                    let block = text(Source::Memory, Some(block));
                    self.before(item, block, injection.strict_roles);
                }
            }
            let last = items.iter().rposition(|item| item.side == Side::User);
            match last {
                Some(last) => self.before(last, memory, injection.strict_roles),
                None => self.behind(list, memory.within(ITEM.0, ITEM.1)),
            }
        }
        for restored in &injection.restored {
            if restored.at == Restored::UPSTREAM {
                self.answer(list, restored);
            }
            for (at, bytes) in restore::places(self.request, items, restored) {
                self.splice.insert(at, Rope::of(Source::ToolTurn, bytes));
            }
        }
        // One that the answer is to begin with stays the last.
        match items.last().filter(|last| last.is_said()) {
            Some(last) => self
                .splice
                .insert(last.span.start, post_history.before(b",")),
            None if is_summary => {}
            None => self.behind(list, post_history),
        }
        for item in &injection.follow_up {
            self.behind(list, Rope::of(Source::ToolTurn, item.clone()));
        }
    }

    /// Answers the gateway's calls of a turn that the upstream tells.
    fn answer(&mut self, list: Container, restored: &Restored) {
        for result in round::results(&restored.round, &restored.results) {
            let result = Rope::of(Source::ToolTurn, result);
            let result = match list.len {
                0 => result,
                _ => result.before(b","),
            };
            self.splice.insert(list.span.start + 1, result);
        }
    }

    /// The item that the message of this index begins with.
    fn item_of(&self, message: usize) -> Option<usize> {
        let start = self.request.messages().get(message)?.span.start;
        self.places
            .items
            .iter()
            .position(|item| item.span.start == start)
    }

    /// Puts memory before a message of the user's; where roles are strict, into it.
    fn before(&mut self, at: usize, memory: Rope, strict_roles: bool) {
        let item: &Item = &self.places.items[at];
        match item.body {
            Body::Text(said) if strict_roles && !memory.is_empty() => {
                let part =
                    |bytes: &'static [u8]| Rope::of(Source::Memory, Bytes::from_static(bytes));
                let opening = part(b"[")
                    .append(memory.within(PART.0, PART.1).before(b","))
                    .append(part(br#"{"type":"input_text","text":"#));
                self.splice.insert(said.span.start - 1, opening);
                self.splice.insert(said.span.end + 1, part(b"}]"));
            }
            Body::Parts(array) if strict_roles && array.len > 0 => {
                let part = memory.within(PART.0, PART.1).before(b",");
                self.splice.insert(array.span.start + 1, part);
            }
            _ => {
                let memory = memory.within(ITEM.0, ITEM.1).before(b",");
                self.splice.insert(item.span.start, memory);
            }
        }
    }

    fn behind(&mut self, list: Container, item: Rope) {
        let item = match list.len {
            0 => item,
            _ => item.after(b","),
        };
        self.splice.insert(list.tail, item);
    }

    /// Names the response that is gone on from as the upstream knows it.
    fn rename(&mut self, id: &str) {
        if let Some(member) = self.request.known("previous_response_id") {
            let id = serde_json::Value::from(id).to_string();
            self.splice.cut(member.value.range());
            let id = Rope::of(Source::ToolTurn, id.into());
            self.splice.insert(member.value.start, id);
        }
    }

    /// Sends what the last calls gave alone: the upstream keeps what was said before.
    fn go_on(&mut self, follow_up: &[Bytes]) {
        let is_output = |item: &&Bytes| {
            let known = super::item::known(item);
            known.is_some_and(|known| known.kind.ends_with("_output"))
        };
        let outputs: Vec<_> = follow_up.iter().rev().take_while(is_output).collect();
        let outputs: Vec<_> = outputs.into_iter().rev().map(|item| &item[..]).collect();
        let list = [b"[", &outputs.join(&b',')[..], b"]"].concat();
        let list = Rope::of(Source::ToolTurn, list.into());
        match self.request.known("input") {
            Some(input) => {
                self.splice.cut(input.value.range());
                self.splice.insert(input.value.start, list);
            }
            None => self.added.push(list.after(br#""input":"#)),
        }
    }

    /// Adds members at the front of the object, where no cut reaches.
    fn add_members(&mut self) {
        let added = std::mem::take(&mut self.added);
        if added.iter().all(Rope::is_empty) {
            return;
        }
        let body = self.request.body();
        // A request is one object, so there is a brace.
        let at = memchr::memchr(b'{', body).map_or(0, |brace| brace + 1);
        let all = Members::parse(body).map_or(0, |members| members.iter().count());
        let ours = self
            .request
            .members()
            .iter()
            .filter(|member| member.is_extension);
        let stays = all > ours.count();
        let mut added = added
            .into_iter()
            .filter(|member| !member.is_empty())
            .peekable();
        while let Some(member) = added.next() {
            let comma = stays || added.peek().is_some();
            let member = if comma { member.before(b",") } else { member };
            self.splice.insert(at, member);
        }
    }
}

fn text(source: Source, text: Option<&Escaped>) -> Rope {
    text.map_or_else(Rope::default, |text| Rope::of(source, text.bytes()))
}
