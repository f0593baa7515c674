//! What of an answer the client sees: all of it but the calls of the gateway's own tools.

use bytes::Bytes;
use serde_json::Value;

use super::calls::{Calls, Fate};
use super::editing::{Editing, is_empty};
use super::ending::Ending;
use super::read::Reader;
use super::round;
use super::shape::{Choice, Shape, present};
use crate::dialect::answer::{Answer, Wanted};
use crate::dialect::calls::{Edit, Leg, Owners, Seed, Unread, runs};
use crate::dialect::mark::is_marked;
use crate::dialect::usage;
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::json::Span;
use crate::wire::object::{Member, cuts};

/// Stands between an upstream and the client, over all legs of an answer.
#[derive(Debug)]
pub struct Editor {
    pub(super) owners: Owners,
    /// Reads what the client sees.
    reader: Reader,
    pub(super) calls: Calls,
    pub(super) ending: Ending,
    /// What the client knows by now; `None` in the first leg.
    view: Option<View>,
    /// What the legs before cost.
    spent: Option<Value>,
    pub(super) leg_usage: Option<Value>,
    /// An event of which a call is held that may be the client's.
    template: Option<Bytes>,
    /// What ids begin with where the upstream gives none.
    seed: Seed,
    is_blind: bool,
    /// What may be a call of the gateway's could not be read.
    unread: Unread,
}

/// What the client has been told of the answer as a whole, in earlier legs.
#[derive(Debug, Clone, Default)]
struct View {
    /// `id` of the completion; every later event has the same.
    id: Option<String>,
    /// Whether it knows who speaks.
    role: bool,
}

impl Editor {
    pub fn new(owners: Owners, wanted: Wanted, seed: String) -> Self {
        Self {
            owners,
            reader: Reader::of_turns(wanted),
            calls: Calls::default(),
            ending: Ending::default(),
            view: None,
            spent: None,
            leg_usage: None,
            template: None,
            seed: Seed::new(seed),
            is_blind: false,
            unread: Unread::default(),
        }
    }

    /// Whether these events go on as they came, whatever is in them.
    pub fn passes(&self, raw: &[u8]) -> bool {
        self.view.is_none() && !self.calls.any_held() && !is_marked(raw)
    }

    /// Reads an event that goes on as it came.
    pub fn read(&mut self, data: &Bytes) {
        self.reader.event(data);
    }

    /// Judges an event.
    pub fn event(&mut self, data: &Bytes) -> Edit {
        let json = data.slice_ref(data.trim_ascii());
        let edit = match &json[..] {
            b"[DONE]" | b"\"[DONE]\"" if self.calls.any_held() => {
                self.ending.done = Some(json);
                return Edit::Drop;
            }
            b"" | b"[DONE]" | b"\"[DONE]\"" => Edit::Pass,
            _ => match Shape::read(&json) {
                // An error is the upstream's to tell, and takes back what was called.
                Some(shape) if shape.is_error(&json) => {
                    self.ending.has_failed = true;
                    match is_marked(&json) {
                        true => self.judge(&json, &shape),
                        false => Edit::Pass,
                    }
                }
                Some(shape) => self.unpacked(&json, shape, Self::judge),
                None => self.unread(&json),
            },
        };
        match &edit {
            Edit::Pass => self.reader.event(data),
            Edit::Replace(shown) => self.reader.event(shown),
            Edit::Drop => {}
        }
        edit
    }

    /// Judges an answer that is not streamed.
    pub fn whole(&mut self, body: &Bytes) -> Edit {
        self.unread = Unread::default();
        if self.spent.is_none() && !is_marked(body) {
            self.reader.whole(body);
            return Edit::Pass;
        }
        let edit = match Shape::read(body) {
            Some(shape) => self.unpacked(body, shape, Self::judge_whole),
            None => self.unread(body),
        };
        let shown = match &edit {
            Edit::Replace(shown) => shown,
            _ => body,
        };
        match self.calls.any_held() {
            true => self.reader.whole_turn(shown),
            false => self.reader.whole(shown),
        }
        edit
    }

    /// Ends a leg that came to its clean end, and tells how the answer goes on.
    pub fn end_leg(&mut self) -> Leg {
        if self.unread.may_be_ours {
            return Leg::Unreadable;
        }
        if !self.calls.any_held() {
            return Leg::Complete;
        }
        if self.is_blind {
            return Leg::Unreadable;
        }
        let (entries, legacy) = self.calls.settle(&self.owners);
        if let Some(template) = self.template.take() {
            self.ending.released = round::released(&template, &entries, legacy.as_ref());
        }
        let Some(reason) = self.ending.reason() else {
            return Leg::Truncated;
        };
        if !self.calls.any_held() || !runs(reason, || self.calls.are_whole()) {
            return match reason.is_empty() && self.calls.any_held() {
                true => Leg::Truncated,
                false => Leg::Complete,
            };
        }
        let turn = self.reader.take_turn();
        let round = round::round(&turn, &self.calls, &self.owners, &mut self.seed);
        if round.client_calls.is_empty() {
            self.next_leg();
        }
        Leg::Calls(round)
    }

    /// The ending that was held back, where the answer ends here.
    pub fn finish(&mut self) -> Vec<Event> {
        let events: Vec<_> = std::mem::take(&mut self.ending).events().collect();
        for event in &events {
            self.reader.event(&event.data);
        }
        events
    }

    /// An error as the event that ends the stream.
    pub fn error_event(&self, error: &ApiError) -> Event {
        Event::of(error.body())
    }

    /// Notes that an event went by that is too large to be read.
    pub fn give_up(&mut self) {
        self.is_blind |= self.calls.any_held();
        self.unread.is_any = true;
        self.reader.give_up();
    }

    /// Whether all could be read so far.
    pub fn has_read(&self) -> bool {
        !self.unread.is_any && !self.reader.answer().unreadable
    }

    /// What the client has been told so far.
    pub fn answer(&self) -> &Answer {
        self.reader.answer()
    }

    pub fn into_answer(self) -> Answer {
        self.reader.finish()
    }

    /// Judges an event, or a whole answer, in which calls may stand as JSON within a text.
    fn unpacked(
        &mut self,
        json: &Bytes,
        shape: Shape,
        judge: fn(&mut Self, &Bytes, &Shape) -> Edit,
    ) -> Edit {
        if shape.members.get(json, "choices").is_none() {
            return match is_marked(json) {
                true => self.unread(json),
                false => judge(self, json, &shape),
            };
        }
        match shape.unpacked(json).as_ref() {
            None => judge(self, json, &shape),
            Some(plain) => match Shape::read(plain) {
                Some(shape) => judge(self, plain, &shape),
                None => self.unread(json),
            },
        }
    }

    /// Judges what cannot be read.
    fn unread(&mut self, raw: &[u8]) -> Edit {
        self.unread.judge(raw, &self.owners)
    }

    fn next_leg(&mut self) {
        self.calls = Calls::default();
        self.ending = Ending::default();
        let seen = self.reader.answer();
        self.view = Some(View {
            id: seen.id.clone(),
            role: seen.role.is_some(),
        });
        if let Some(cost) = self.leg_usage.take() {
            usage::add(self.spent.get_or_insert(Value::Null), &cost);
        }
    }

    fn judge(&mut self, json: &Bytes, shape: &Shape) -> Edit {
        let mut editing = Editing::new(json);
        self.calls.begin_event();
        let mut tells_role = false;
        // One answer was asked for, whatever its parts are numbered: some give the text and each call a
        // choice of its own.
        for choice in &shape.choices {
            tells_role |= self.choice(&mut editing, choice);
        }
        let pending = self.calls.any_held();
        self.envelope(&mut editing, shape, pending);
        if pending {
            self.template.get_or_insert_with(|| json.clone());
            self.hold_ending(&mut editing, shape);
        } else {
            editing.says |= shape
                .choices
                .iter()
                .any(|it| it.finish_reason(json).is_some());
        }
        if editing.changed && !editing.says {
            return Edit::Drop;
        }
        if let Some(view) = &mut self.view {
            view.role |= tells_role;
        }
        editing.finish()
    }

    /// Takes the gateway's calls out of a choice, and a role that the client has been told. Tells
    /// whether it is told one now.
    fn choice(&mut self, editing: &mut Editing<'_>, choice: &Choice) -> bool {
        let json = editing.json;
        let mut gone = vec![];
        let calls = choice.said.get(json, "tool_calls");
        if let Some(calls) = calls.filter(|_| self.entries(editing, choice)) {
            gone.push(calls.key.span);
        }
        if let Some(call) = present(&choice.said, json, "function_call") {
            match self.calls.legacy(&call.value.of(json), &self.owners) {
                Fate::Passes => {}
                Fate::Held => gone.push(call.key.span),
                Fate::PassesAs(calls) => editing.replace(call.value, calls.concat()),
            }
        }
        let role = choice.said.get(json, "role");
        let is_told = self.view.as_ref().is_some_and(|view| view.role);
        gone.extend(role.filter(|_| is_told).map(|role| role.key.span));
        let is_gone = |member: &Member| gone.contains(&member.key.span);
        editing.cut(choice.said.cuts(is_gone));
        self.cut_again(editing, choice);
        let mut left = choice.said.iter().filter(|member| !is_gone(member));
        editing.says |= left.any(|member| !is_empty(json, member));
        role.is_some() && !is_told
    }

    /// Judges the entries of `tool_calls`; whether none of them is left.
    fn entries(&mut self, editing: &mut Editing<'_>, choice: &Choice) -> bool {
        let json = editing.json;
        let entries = choice.entries.iter();
        let fates = entries.map(|entry| self.calls.entry(&entry.of(json), &self.owners));
        let fates: Vec<_> = fates.collect();
        let none_left = !fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Held);
        if !none_left {
            editing.cut(cuts(&choice.entries, |at| fates[at] == Fate::Held));
            for (entry, fate) in choice.entries.iter().zip(fates) {
                if let Fate::PassesAs(entries) = fate {
                    editing.replace(*entry, entries.join(&b','));
                }
            }
        }
        none_left
    }

    /// Gives a later leg's event the id of the first, and the last one the sum of the costs.
    fn envelope(&mut self, editing: &mut Editing<'_>, shape: &Shape, pending: bool) {
        let json = editing.json;
        if let Some(view) = &mut self.view
            && let Some(id) = shape.get(json, "id")
        {
            let text: Option<String> = serde_json::from_slice(&json[id.value.range()]).ok();
            match (&view.id, text.filter(|text| !text.is_empty())) {
                (Some(told), Some(id_here)) if *told != id_here => {
                    editing.replace(id.value, Value::from(told.as_str()).to_string());
                }
                (None, Some(here)) => view.id = Some(here),
                _ => {}
            }
        }
        let Some(cost) = shape.get(json, "usage") else {
            return;
        };
        if pending {
            let value = serde_json::from_slice(&json[cost.value.range()]).ok();
            self.leg_usage = value.filter(Value::is_object).or(self.leg_usage.take());
            return;
        }
        editing.says |= !is_empty(json, cost);
        if let Some(sum) = self.sum(json, cost.value) {
            editing.replace(cost.value, sum);
        }
    }

    /// Holds back what would end the answer, since a call is to be run first.
    fn hold_ending(&mut self, editing: &mut Editing<'_>, shape: &Shape) {
        let json = editing.json;
        let cost = shape.get(json, "usage");
        let id = self.view.as_ref().and_then(|view| view.id.as_deref());
        let sum = cost.and_then(|cost| self.sum(json, cost.value));
        self.ending.hold(json, shape, id, sum);
        for choice in &shape.choices {
            if let Some((reason, _)) = choice.finish_reason(json) {
                editing.replace(reason.value, "null");
            }
        }
        if let Some(cost) = cost {
            let key = cost.key.span;
            editing.cut(shape.members.cuts(|member| member.key.span == key));
        }
    }

    /// Takes what is held out of the other place where a choice says its calls.
    pub(super) fn cut_again(&self, editing: &mut Editing<'_>, choice: &Choice) {
        let json = editing.json;
        let names = ["tool_calls", "function_call"];
        let calls = names.map(|name| choice.other.get(json, name).map(|it| it.key.span));
        let is_cut = |it: &Member| self.calls.any_held() && calls.contains(&Some(it.key.span));
        editing.cut(choice.other.cuts(is_cut));
        let mut left = choice.other.iter().filter(|member| !is_cut(member));
        editing.says |= left.any(|member| !is_empty(json, member));
    }

    /// What all legs cost together, with the usage that stands there.
    pub(super) fn sum(&self, json: &Bytes, cost: Span) -> Option<String> {
        let spent = self.spent.as_ref()?;
        let mut sum: Value = serde_json::from_slice(&json[cost.range()]).ok()?;
        sum.is_object().then(|| {
            usage::add(&mut sum, spent);
            sum.to_string()
        })
    }
}
