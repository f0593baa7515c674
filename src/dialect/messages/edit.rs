//! What of an answer the client sees: all of it but the calls of the gateway's own tools, as one
//! message, however many legs it takes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Reader;
use super::block::blocks;
use super::leg::{Fate, Leg, is_ours, of_content, replaced, shown_as};
use crate::dialect::answer::{Answer, Wanted};
use crate::dialect::calls::{self, Edit, Owners, Seed, Unread, runs};
use crate::dialect::mark::is_marked;
use crate::dialect::usage;
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::json::{Kind, Span};
use crate::wire::object::{Members, cuts};
use crate::wire::splice::{Rope, Splice};

/// Stands between an upstream and the client, over all legs of an answer.
#[derive(Debug)]
pub struct Editor {
    owners: Owners,
    /// Reads what the client sees.
    reader: Reader,
    leg: Leg,
    /// Legs that are past.
    past: usize,
    /// Blocks that the client was shown.
    shown: u64,
    /// What the legs before cost.
    spent: Option<Value>,
    /// What ends the answer, held back while calls are to be run first.
    ending: Vec<Event>,
    /// Of an answer that is not streamed: what earlier legs said beside their calls.
    said_before: Vec<Bytes>,
    /// Makes ids where the upstream gives none.
    seed: Seed,
    is_blind: bool,
    /// What may be a call of the gateway's could not be read.
    unread: Unread,
}

/// What of an event decides its fate.
#[derive(Deserialize)]
struct Seen<'a> {
    r#type: String,
    #[serde(default, deserialize_with = "calls::number")]
    index: Option<u64>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Start {
    r#type: String,
    #[serde(default)]
    name: String,
}

impl Editor {
    pub fn new(owners: Owners, wanted: Wanted, seed: String) -> Self {
        Self {
            owners,
            reader: Reader::new(wanted),
            leg: Leg::default(),
            past: 0,
            shown: 0,
            spent: None,
            ending: Vec::new(),
            said_before: Vec::new(),
            seed: Seed::new(seed),
            is_blind: false,
            unread: Unread::default(),
        }
    }

    /// Whether these events go on as they came, whatever is in them.
    pub fn passes(&self, raw: &[u8]) -> bool {
        self.past == 0 && !self.leg.has_held() && !is_marked(raw)
    }

    /// Reads an event that goes on as it came.
    pub fn read(&mut self, data: &Bytes) {
        self.reader.event(data);
        if self.is_blind {
            return;
        }
        self.leg.keep(data);
        // Of the first leg, nothing but where blocks begin and what the start says of the cost
        // matters later.
        if let Ok(seen) = serde_json::from_slice::<Seen<'_>>(data) {
            self.note(&seen);
        }
    }

    /// Judges an event.
    pub fn event(&mut self, data: &Bytes) -> Edit {
        let edit = match serde_json::from_slice::<Seen<'_>>(data) {
            Ok(seen) => self.judge(data, &seen),
            // Some end everything as Chat Completions do: of a leg that goes on it is no end.
            Err(_) if data.trim_ascii() == b"[DONE]" && self.leg.has_held() => Edit::Drop,
            Err(_) => self.unread(data),
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
        self.leg = Leg::default();
        if self.past == 0 && !is_marked(body) {
            self.reader.whole(body);
            return Edit::Pass;
        }
        let edit = self.judge_whole(body);
        let edit = edit.unwrap_or_else(|| self.unread(body));
        let shown = match &edit {
            Edit::Replace(shown) => shown,
            _ => body,
        };
        self.reader.whole(shown);
        edit
    }

    /// Ends a leg that came to its clean end, and tells how the answer goes on.
    pub fn end_leg(&mut self) -> calls::Leg {
        if self.unread.may_be_ours {
            return calls::Leg::Unreadable;
        }
        if !self.leg.has_held() {
            return calls::Leg::Complete;
        }
        if self.is_blind || !self.leg.is_whole() {
            return calls::Leg::Unreadable;
        }
        match self.leg.stop_reason.as_deref() {
            _ if self.leg.has_failed => return calls::Leg::Complete,
            None => return calls::Leg::Truncated,
            Some(reason) if !self.runs(reason) => return calls::Leg::Complete,
            Some(_) => {}
        }
        let round = match self.leg.content.take() {
            Some(content) => of_content(&content, &self.owners, &mut self.seed),
            None => self.leg.round(&self.owners, &mut self.seed),
        };
        if round.client_calls.is_empty() {
            let leg = std::mem::take(&mut self.leg);
            usage::add(self.spent.get_or_insert(Value::Null), &leg.usage);
            self.past += 1;
            self.ending.clear();
        }
        calls::Leg::Calls(round)
    }

    /// Judges what cannot be read.
    fn unread(&mut self, raw: &[u8]) -> Edit {
        self.unread.judge(raw, &self.owners)
    }

    /// The ending that was held back, where the answer ends here.
    pub fn finish(&mut self) -> Vec<Event> {
        let events = std::mem::take(&mut self.ending);
        for event in &events {
            self.reader.event(&event.data);
        }
        events
    }

    /// An error as the event that ends the stream.
    pub fn error_event(&self, error: &ApiError) -> Event {
        Event::named("error", super::error(error, ""))
    }

    /// Notes that an event went by that is too large to be read.
    pub fn give_up(&mut self) {
        self.is_blind |= self.leg.has_held();
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

    /// Notes what an event of the first leg that passed means for those that follow.
    fn note(&mut self, seen: &Seen<'_>) {
        match seen.r#type.as_str() {
            "message_start" => self.begin(seen),
            "content_block_start" => {
                let place = seen.index.unwrap_or(self.shown);
                self.leg.judge(seen.index, Fate::Shown(place));
                self.shown = self.shown.max(place + 1);
            }
            _ => {}
        }
    }

    fn begin(&mut self, seen: &Seen<'_>) {
        #[derive(Deserialize)]
        struct Message {
            usage: Option<Value>,
        }
        let message = seen.message.map(RawValue::get).unwrap_or("{}");
        if let Ok(Message { usage: Some(usage) }) = serde_json::from_str(message) {
            self.leg.add_usage(&usage);
        }
    }

    fn judge(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        self.leg.keep(data);
        match seen.r#type.as_str() {
            "message_start" => {
                self.begin(seen);
                match self.past {
                    0 => Edit::Pass,
                    _ => Edit::Drop,
                }
            }
            "content_block_start" => self.start(data, seen),
            "content_block_delta" | "content_block_stop" => self.go_on(data, seen),
            "message_delta" => self.end(data, seen),
            "error" => {
                self.leg.has_failed = true;
                Edit::Pass
            }
            "message_stop" if self.leg.has_held() => {
                // Some end without saying why.
                self.leg.stop_reason.get_or_insert_default();
                self.hold("message_stop", data.clone());
                Edit::Drop
            }
            _ if is_marked(data) => self.unread(data),
            _ => Edit::Pass,
        }
    }

    fn start(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        let Some(block) = seen.content_block else {
            return Edit::Pass;
        };
        let start: Option<Start> = serde_json::from_str(block.get()).ok();
        let fate = match &start {
            Some(Start { r#type, name }) if is_ours(r#type, name, &self.owners) => Fate::Held,
            _ => {
                // The upstream's own index for as long as nothing is held.
                let own = seen
                    .index
                    .filter(|_| self.past == 0 && !self.leg.has_held());
                let place = own.unwrap_or(self.shown);
                self.shown = self.shown.max(place + 1);
                Fate::Shown(place)
            }
        };
        self.leg.judge(seen.index, fate);
        shown_as(data, seen.index, fate)
    }

    fn go_on(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        match self.leg.fate(seen.index) {
            Some(fate) => shown_as(data, seen.index, fate),
            None => Edit::Pass,
        }
    }

    /// Judges what ends a leg: held back where calls are to be run first, else with the cost of all.
    fn end(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        #[derive(Deserialize)]
        struct Delta {
            stop_reason: Option<String>,
        }
        if let Some(usage) = &seen.usage {
            self.leg.add_usage(usage);
        }
        let delta = seen.delta.map(RawValue::get).unwrap_or("{}");
        let delta = serde_json::from_str::<Delta>(delta).ok();
        let reason = delta.and_then(|delta| delta.stop_reason);
        let shown = self.with_costs(data);
        if self.leg.has_held()
            && let Some(reason) = reason
        {
            let is_held = self.runs(&reason);
            self.leg.stop_reason = Some(reason);
            if is_held {
                self.hold("message_delta", shown.unwrap_or_else(|| data.clone()));
                return Edit::Drop;
            }
        }
        shown.map_or(Edit::Pass, Edit::Replace)
    }

    /// The event with what all legs cost; `None` where this is the first.
    fn with_costs(&self, data: &Bytes) -> Option<Bytes> {
        let spent = self.spent.as_ref()?;
        let members = Members::parse(data)?;
        let sum = self.leg.sum(Some(spent)).to_string();
        let usage = members.get(data, "usage")?;
        Some(replaced(data, usage.value, sum))
    }

    /// Whether calls are run where a leg ends so: a half call, and one that the upstream took back, are
    /// not. An answer that is whole need not say why.
    fn runs(&self, reason: &str) -> bool {
        reason.is_empty() || runs(reason, || self.leg.are_whole(&self.owners))
    }

    fn hold(&mut self, name: &str, data: Bytes) {
        self.ending.push(Event::named(name, data));
    }

    fn judge_whole(&mut self, body: &Bytes) -> Option<Edit> {
        let members = Members::parse(body)?;
        let content = members.get(body, "content")?;
        if content.kind == Kind::Object {
            // The only block, without a list around it.
            let listed = [b"[", &body[content.value.range()], b"]"].concat();
            return self.judge_whole(&replaced(body, content.value, listed));
        }
        let content = content.value;
        let all = blocks(&body[content.range()]);
        let reason = members
            .get(body, "stop_reason")
            .map(|it| &body[it.value.range()]);
        let reason: Option<String> = reason.and_then(|it| serde_json::from_slice(it).ok());
        let mut splice = Splice::<()>::new(body);
        let gone = |at: usize| is_ours(&all[at].kind, &all[at].name, &self.owners);
        let in_body = |span: Span| Span {
            start: content.start + span.start,
            end: content.start + span.end,
        };
        let spans: Vec<_> = all.iter().map(|block| in_body(block.span)).collect();
        let left: Vec<_> = (0..all.len()).filter(|&at| !gone(at)).collect();
        for cut in cuts(&spans, gone) {
            splice.cut(cut);
        }
        if !self.said_before.is_empty() {
            let mut before = self.said_before.join(&b',');
            if !left.is_empty() {
                before.push(b',');
            }
            splice.insert(content.start + 1, Rope::of((), before.into()));
        }
        if let Some(usage) = members.get(body, "usage")
            && let Ok(cost) = serde_json::from_slice::<Value>(&body[usage.value.range()])
        {
            self.leg.add_usage(&cost);
            if self.spent.is_some() {
                splice.cut(usage.value.range());
                let sum = self.leg.sum(self.spent.as_ref()).to_string();
                splice.insert(usage.value.start, Rope::of((), sum.into()));
            }
        }
        for _ in left.len()..all.len() {
            self.leg.judge(None, Fate::Held);
        }
        if self.leg.has_held() {
            self.leg.stop_reason = Some(reason.unwrap_or_default());
            self.leg.content = Some(content.of(body));
            self.said_before
                .extend(left.iter().map(|&at| spans[at].of(body)));
        }
        Some(Edit::Replace(splice.finish().to_bytes()))
    }
}
