//! Decides what goes where in a request.

use bytes::Bytes;

use super::request::Places;
use super::restore;
use super::usage::Asking;
use crate::dialect::conversation::{Content, Message, Role};
use crate::dialect::injection::{
    Composed, Fragment, Injection, Persona, PersonaMode, Placement, Restored, Source, ToolOffer,
};
use crate::dialect::request::Request;
use crate::wire::Escaped;
use crate::wire::splice::{self, Splice};

type Rope = splice::Rope<Source>;

/// The body to send for `request` with `injection`, YYChat's own fields taken out.
///
/// With nothing to put in or take out, the one piece is the client's `Bytes`.
pub fn compose(request: &Request, places: &Places, injection: &Injection) -> Composed {
    place(request, places, injection).finish()
}

/// The edits of `request` that `injection` asks for.
fn place<'a>(
    request: &'a Request,
    places: &'a Places,
    injection: &Injection,
) -> Splice<'a, Source> {
    let mut placing = Placing {
        request,
        places,
        splice: Splice::new(request.body()),
        lead: request.leading_system(),
        replaced: false,
        list_is_empty: request.messages().is_empty(),
    };
    placing.messages(injection);
    placing.tools(&injection.tools);
    if matches!(injection.tools, ToolOffer::Close(_)) {
        placing.close();
    }
    if injection.usage {
        placing.usage();
    }
    request.cut_extensions(&mut placing.splice);
    if let Some(suffix) = injection.model_suffix {
        placing.splice.cut(suffix.range());
    }
    placing.splice
}

struct Placing<'a> {
    request: &'a Request,
    places: &'a Places,
    splice: Splice<'a, Source>,
    /// How many system and developer messages the client's list begins with.
    lead: usize,
    /// Whether those are cut out.
    replaced: bool,
    /// Whether no message stands in the list so far, neither kept nor new.
    list_is_empty: bool,
}

impl Placing<'_> {
    fn messages(&mut self, injection: &Injection) {
        let persona = injection.persona.as_ref();
        let mode = persona.map_or(PersonaMode::Prepend, |persona| persona.mode);
        let persona = persona.map_or_else(Rope::default, |persona| self.persona(persona));
        let post_history = text(Source::PostHistory, injection.post_history.as_ref());
        let (head, tail) = match &injection.memory {
            None => (Rope::default(), Rope::default()),
            Some(memory) => {
                let rope = text(Source::Memory, Some(&memory.text));
                match memory.placement {
                    Placement::Head => (rope, Rope::default()),
                    Placement::Tail => (Rope::default(), rope),
                }
            }
        };
        let end = self.request.messages().len();
        let earlier = injection.earlier.iter();
        let earlier = earlier.map(|(gap, block)| (*gap, text(Source::Memory, Some(block))));
        let memory = earlier.chain([(self.request.last_user().unwrap_or(end), tail)]);
        if injection.strict_roles {
            let rest = memory
                .fold(head, |rest, (gap, block)| {
                    rest.paragraph(self.join_user(gap, block))
                })
                .paragraph(post_history);
            match mode {
                PersonaMode::Append => self.join_lead(Rope::default(), persona.paragraph(rest)),
                PersonaMode::Prepend | PersonaMode::Replace => self.join_lead(persona, rest),
            }
        } else {
            if persona.is_empty() {
                self.join_lead(Rope::default(), head);
            } else {
                let after_lead = self.replaced || mode == PersonaMode::Append;
                let gap = if after_lead { self.lead } else { 0 };
                self.add_system(gap, persona.paragraph(head));
            }
            for (gap, block) in memory {
                self.add_system(gap, block);
            }
            self.add_system(self.after_history(), post_history);
        }
        for restored in &injection.restored {
            self.restore(restored);
        }
        for message in &injection.follow_up {
            self.add(end, Rope::of(Source::ToolTurn, message.clone()));
        }
    }

    /// Behind all messages, but before one that the answer is to begin with: it is gone on with where
    /// it stands last.
    fn after_history(&self) -> usize {
        let messages = self.request.messages();
        let begins = |last: &Message| last.role == Role::Assistant && !last.has_tool_calls;
        messages.len() - usize::from(messages.last().is_some_and(begins))
    }

    /// The persona's text. Cuts the client's leading messages out where it takes their place or
    /// quotes them; one without text leaves them alone.
    fn persona(&mut self, persona: &Persona) -> Rope {
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
        let messages = self.request.messages();
        if replaces && !rope.is_empty() && self.lead > 0 {
            let next = messages.get(self.lead).map(|message| message.span.start);
            let end = next.unwrap_or(self.places.list.tail);
            self.splice.cut(messages[0].span.start..end);
            self.replaced = true;
            self.list_is_empty = self.lead == messages.len();
        }
        rope
    }

    /// The text of the client's leading messages, escaped as the client has it.
    fn original(&self) -> Rope {
        let mut whole = Rope::default();
        for message in &self.request.messages()[..self.lead] {
            let mut text = Rope::default();
            for (index, part) in message.content.texts().iter().enumerate() {
                if index > 0 {
                    text.push(Source::Original, Bytes::from_static(br"\n"));
                }
                text.push(Source::Original, part.span.of(self.request.body()));
            }
            whole = whole.paragraph(text);
        }
        whole
    }

    /// Puts `before` and `after` around the text of the client's leading system message, or
    /// together into one of their own where there is none.
    fn join_lead(&mut self, before: Rope, after: Rope) {
        if self.replaced || self.lead == 0 {
            self.add_system(self.lead, before.paragraph(after));
        } else {
            self.join(&self.request.messages()[0], before, after);
        }
    }

    /// Puts `text` before a user message's own; gives it back where there is no such text.
    fn join_user(&mut self, index: usize, text: Rope) -> Rope {
        match self.request.messages().get(index) {
            Some(user) if matches!(user.content, Content::Text(_) | Content::Parts { .. }) => {
                self.join(user, text, Rope::default());
                Rope::default()
            }
            _ => text,
        }
    }

    /// Puts `before` and `after` around the content of `message`, blank lines between.
    fn join(&mut self, message: &Message, before: Rope, after: Rope) {
        const PART: (&[u8], &[u8]) = (br#"{"type":"text","text":""#, br#""}"#);
        match &message.content {
            Content::Text(text) if text.span.start < text.span.end => {
                let before = before.before_blank_line();
                self.splice.insert(text.span.start, before);
                self.splice.insert(text.span.end, after.after_blank_line());
            }
            Content::Text(text) => {
                let all = before.paragraph(after);
                self.splice.insert(text.span.start, all);
            }
            Content::Parts { array, .. } if array.len > 0 => {
                let before = before.before_blank_line().within(PART.0, PART.1);
                self.splice
                    .insert(array.span.start + 1, before.before(b","));
                let after = after.after_blank_line().within(PART.0, PART.1);
                self.splice.insert(array.tail, after.after(b","));
            }
            Content::Parts { array, .. } => {
                let all = before.paragraph(after).within(PART.0, PART.1);
                self.splice.insert(array.tail, all);
            }
            Content::Null(span) => {
                let all = before.paragraph(after).within(b"\"", b"\"");
                if !all.is_empty() {
                    self.splice.cut(span.range());
                    self.splice.insert(span.start, all);
                }
            }
            Content::Absent => {
                let all = before.paragraph(after).within(br#""content":""#, br#"","#);
                self.splice.insert(message.span.start + 1, all);
            }
        }
    }

    /// Adds a system message with `text`, if there is any, before the client's message `gap`.
    fn add_system(&mut self, gap: usize, text: Rope) {
        self.add(
            gap,
            text.within(br#"{"role":"system","content":""#, br#""}"#),
        );
    }

    /// Adds a whole message before the client's message `gap`, or at the end.
    fn add(&mut self, gap: usize, message: Rope) {
        if message.is_empty() {
            return;
        }
        let next = self.request.messages().get(gap);
        let (at, message) = match next {
            Some(next) => (next.span.start, message.before(b",")),
            None if self.list_is_empty => (self.places.list.tail, message),
            None => (self.places.list.tail, message.after(b",")),
        };
        self.splice.insert(at, message);
        self.list_is_empty = false;
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
    }

    /// Puts the gateway's part of a turn back.
    fn restore(&mut self, restored: &Restored) {
        let Some(places) = restore::places(self.request, restored) else {
            return;
        };
        for message in places.before {
            self.add(restored.at, Rope::of(Source::ToolTurn, message));
        }
        for (at, entry) in places.entries {
            self.splice.insert(at, Rope::of(Source::ToolTurn, entry));
        }
        for result in places.results {
            self.add(places.results_at, Rope::of(Source::ToolTurn, result));
        }
    }

    /// Has a stream tell what it costs.
    fn usage(&mut self) {
        if let Some(asking) = Asking::of(self.request) {
            if let Some(range) = asking.cut {
                self.splice.cut(range);
            }
            let text = Bytes::from_static(asking.text);
            self.splice.insert(asking.at, Rope::of(Source::Usage, text));
        }
    }

    /// Has the model call no tool any more.
    fn close(&mut self) {
        let (at, choice) = match self.request.known("tool_choice") {
            Some(member) => {
                self.splice.cut(member.value.range());
                (member.value.start, &br#""none""#[..])
            }
            None => (self.places.list.span.end, &br#","tool_choice":"none""#[..]),
        };
        let choice = Rope::of(Source::Tools, Bytes::from_static(choice));
        self.splice.insert(at, choice);
    }
}

fn text(source: Source, text: Option<&Escaped>) -> Rope {
    text.map_or_else(Rope::default, |text| Rope::of(source, text.bytes()))
}
