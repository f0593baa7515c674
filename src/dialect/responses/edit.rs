//! What of an answer the client sees: all of it but the calls of the gateway's own tools, as one
//! response, however many legs it takes.

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Reader;
use super::leg::{Fate, Leg};
use super::round::{is_ours, round};
use crate::dialect::answer::{Answer, Wanted};
use crate::dialect::calls::{self, Edit, Owners};
use crate::dialect::usage;
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::json::Span;
use crate::wire::object::{Member, Members};
use crate::wire::splice::{Rope, Splice};

/// What an event that begins a call has in it.
const MARK: &[u8] = b"\"function_call\"";

/// Stands between an upstream and the client, over all legs of an answer.
#[derive(Debug)]
pub struct Editor {
    pub(super) owners: Owners,
    mark: Finder<'static>,
    /// Reads what the client sees.
    reader: Reader,
    pub(super) leg: Leg,
    /// Legs that are past.
    past: usize,
    /// Items that the client was shown: as many as there are, and those that are done, as they were.
    begun: u64,
    pub(super) shown: Vec<Bytes>,
    /// The number of the client's next event.
    number: u64,
    /// What the legs before cost.
    pub(super) spent: Option<Value>,
    /// What ends the answer, held back while calls are to be run first.
    ending: Option<Event>,
    /// The id of the last leg, where the client is told another.
    upstream_id: Option<String>,
    is_blind: bool,
}

/// What of an event decides its fate.
#[derive(Deserialize)]
struct Seen<'a> {
    r#type: String,
    sequence_number: Option<u64>,
    output_index: Option<u64>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
}

impl Editor {
    pub fn new(owners: Owners, wanted: Wanted, _seed: String) -> Self {
        Self {
            owners,
            mark: Finder::new(MARK),
            reader: Reader::new(wanted),
            leg: Leg::default(),
            past: 0,
            begun: 0,
            shown: Vec::new(),
            number: 0,
            spent: None,
            ending: None,
            upstream_id: None,
            is_blind: false,
        }
    }

    /// Whether these events go on as they came, whatever is in them.
    pub fn passes(&self, raw: &[u8]) -> bool {
        self.is_blind || (self.past == 0 && !self.leg.has_held() && self.mark.find(raw).is_none())
    }

    /// Reads an event that goes on as it came.
    pub fn read(&mut self, data: &Bytes) {
        self.reader.event(data);
        if !self.is_blind
            && let Ok(seen) = serde_json::from_slice::<Seen<'_>>(data)
        {
            self.note(data, &seen);
        }
    }

    /// Judges an event.
    pub fn event(&mut self, data: &Bytes) -> Edit {
        let edit = match serde_json::from_slice::<Seen<'_>>(data) {
            Ok(seen) => self.judge(data, &seen),
            Err(_) => self.done(data),
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
        self.leg = Leg::default();
        if self.past == 0 && self.mark.find(body).is_none() {
            self.reader.whole(body);
            return Edit::Pass;
        }
        let edit = self.judge_whole(body).unwrap_or(Edit::Pass);
        let shown = match &edit {
            Edit::Replace(shown) => shown,
            _ => body,
        };
        self.reader.whole(shown);
        edit
    }

    /// Ends a leg that came to its clean end, and tells how the answer goes on.
    pub fn end_leg(&mut self) -> calls::Leg {
        if !self.leg.has_held() {
            return calls::Leg::Complete;
        }
        if self.is_blind || !self.leg.is_whole() {
            return calls::Leg::Unreadable;
        }
        match self.leg.is_completed {
            None => return calls::Leg::Truncated,
            Some(false) => return calls::Leg::Complete,
            Some(true) => {}
        }
        let round = round(&self.leg.items(), &self.owners);
        if round.calls.is_empty() {
            // A call that was never done.
            return calls::Leg::Truncated;
        }
        if round.client_calls.is_empty() {
            let leg = std::mem::take(&mut self.leg);
            usage::add(self.spent.get_or_insert(Value::Null), &leg.usage);
            self.past += 1;
            self.ending = None;
        }
        calls::Leg::Calls(round)
    }

    /// The ending that was held back, where the answer ends here.
    pub fn finish(&mut self) -> Vec<Event> {
        let event = self.ending.take();
        if let Some(event) = &event {
            self.reader.event(&event.data);
        }
        event.into_iter().collect()
    }

    /// An error as the event that ends the stream.
    pub fn error_event(&self, error: &ApiError) -> Event {
        let id = self.reader.answer().id.clone().unwrap_or_default();
        let data = serde_json::json!({
            "type": "response.failed",
            "sequence_number": self.number,
            "response": {
                "id": id,
                "object": "response",
                "status": "failed",
                "error": { "code": "server_error", "message": error.message },
                "output": [],
            },
        });
        Event::named("response.failed", data.to_string())
    }

    /// Stops looking: something went by that could not be read.
    pub fn give_up(&mut self) {
        self.is_blind = true;
        self.reader.give_up();
    }

    /// What the client has been told so far.
    pub fn answer(&self) -> &Answer {
        self.reader.answer()
    }

    pub fn into_answer(self) -> Answer {
        Answer {
            upstream_id: self.upstream_id,
            ..self.reader.finish()
        }
    }

    /// Notes what an event of the first leg that passed means for those that follow.
    fn note(&mut self, data: &Bytes, seen: &Seen<'_>) {
        self.number = seen
            .sequence_number
            .map_or(self.number, |number| number + 1);
        let Some(index) = seen.output_index else {
            return;
        };
        match seen.r#type.as_str() {
            "response.output_item.added" => {
                self.leg.judge(index, Fate::Shown(index));
                self.begun = self.begun.max(index + 1);
            }
            "response.output_item.done" => self.item_done(data, seen, Fate::Shown(index)),
            _ => {}
        }
    }

    /// Keeps an item that is done, in case all that was said has to be told again.
    fn item_done(&mut self, data: &Bytes, seen: &Seen<'_>, fate: Fate) {
        let (Some(index), Some(item)) = (seen.output_index, seen.item) else {
            return;
        };
        let item = data.slice_ref(item.get().as_bytes());
        if matches!(fate, Fate::Shown(_)) {
            self.shown.push(item.clone());
        }
        self.leg.keep(index, item);
    }

    fn judge(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        match seen.r#type.as_str() {
            "response.created" | "response.queued" | "response.in_progress" if self.past > 0 => {
                Edit::Drop
            }
            "response.output_item.added" => {
                let ours = seen
                    .item
                    .is_some_and(|item| is_ours(item.get().as_bytes(), &self.owners));
                let fate = match ours {
                    true => Fate::Held,
                    false => {
                        self.begun += 1;
                        Fate::Shown(self.begun - 1)
                    }
                };
                if let Some(index) = seen.output_index {
                    self.leg.judge(index, fate);
                }
                self.show(data, seen, fate)
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.end(data, seen)
            }
            _ => {
                let index = seen.output_index;
                let fate = index.and_then(|index| self.leg.fate(index));
                if seen.r#type == "response.output_item.done"
                    && let Some(fate) = fate
                {
                    self.item_done(data, seen, fate);
                }
                match fate {
                    Some(fate) => self.show(data, seen, fate),
                    None => self.numbered(data, seen, None),
                }
            }
        }
    }

    /// The event as the client counts, if it is for the client.
    fn show(&mut self, data: &Bytes, seen: &Seen<'_>, fate: Fate) -> Edit {
        match fate {
            Fate::Held => Edit::Drop,
            Fate::Shown(place) => self.numbered(data, seen, Some(place)),
        }
    }

    fn numbered(&mut self, data: &Bytes, seen: &Seen<'_>, place: Option<u64>) -> Edit {
        let number = self.number;
        let is_number = seen.sequence_number.is_none_or(|known| known == number);
        if seen.sequence_number.is_some() {
            self.number += 1;
        }
        let is_place = place.is_none() || place == seen.output_index;
        if is_number && is_place {
            return Edit::Pass;
        }
        let Some(members) = Members::parse(data) else {
            return Edit::Pass;
        };
        let mut splice = Splice::new(data);
        if !is_number {
            replace(
                &mut splice,
                members.get(data, "sequence_number"),
                number.to_string(),
            );
        }
        if let (false, Some(place)) = (is_place, place) {
            replace(
                &mut splice,
                members.get(data, "output_index"),
                place.to_string(),
            );
        }
        Edit::Replace(splice.finish().to_bytes())
    }

    /// Judges what ends a leg: held back where calls are to be run first, else with all that was said
    /// and what it cost.
    fn end(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        let whole = self.ended(data);
        if !self.leg.has_held() && self.past == 0 {
            return self.numbered(data, seen, None);
        }
        let is_completed = seen.r#type == "response.completed";
        self.leg.is_completed = Some(is_completed);
        let shown = whole.unwrap_or_else(|| data.clone());
        if self.leg.has_held() && is_completed {
            self.ending = Some(Event::named(seen.r#type.clone(), shown));
            return Edit::Drop;
        }
        Edit::Replace(shown)
    }

    /// The last event with the items of all legs, the sum of the costs and its number.
    fn ended(&mut self, data: &Bytes) -> Option<Bytes> {
        let members = Members::parse(data)?;
        let response = members.get(data, "response")?.value;
        let inner = response.of(data);
        let parts = Members::parse(&inner)?;
        if let Some(cost) = parts.get(&inner, "usage") {
            self.leg.usage = serde_json::from_slice(&inner[cost.value.range()]).ok()?;
        }
        let mut splice = Splice::new(data);
        let own_id = parts.get(&inner, "id").map(|id| &inner[id.value.range()]);
        let own_id = own_id.and_then(|id| serde_json::from_slice::<String>(id).ok());
        let told_id = self.reader.answer().id.clone();
        let within = |member: Option<&Member>| {
            member.map(|member| Span {
                start: response.start + member.value.start,
                end: response.start + member.value.end,
            })
        };
        let number = members.get(data, "sequence_number").map(|it| it.value);
        put(&mut splice, number, self.number.to_string());
        let output = within(parts.get(&inner, "output"));
        put(&mut splice, output, bracketed(&self.shown));
        // One response has one id from its beginning to its end.
        if let (Some(own), Some(told)) = (own_id, told_id)
            && own != told
        {
            let id = within(parts.get(&inner, "id"));
            put(&mut splice, id, Value::from(told).to_string());
            self.upstream_id = Some(own);
        }
        let has_cost = self.leg.usage.is_object() && self.spent.is_some();
        let cost = within(parts.get(&inner, "usage")).filter(|_| has_cost);
        put(&mut splice, cost, self.sum());
        Some(splice.finish().to_bytes())
    }

    pub(super) fn sum(&self) -> String {
        let mut sum = self.leg.usage.clone();
        if let Some(spent) = &self.spent {
            usage::add(&mut sum, spent);
        }
        sum.to_string()
    }

    /// What some servers send behind the last event, as Chat Completions have it.
    fn done(&self, data: &Bytes) -> Edit {
        match data.trim_ascii() == b"[DONE]" && self.leg.has_held() {
            true => Edit::Drop,
            false => Edit::Pass,
        }
    }
}

fn replace(splice: &mut Splice<'_, ()>, member: Option<&Member>, with: String) {
    put(splice, member.map(|member| member.value), with);
}

pub(super) fn put(splice: &mut Splice<'_, ()>, at: Option<Span>, with: String) {
    if let Some(at) = at {
        splice.cut(at.range());
        splice.insert(at.start, Rope::of((), with.into()));
    }
}

fn bracketed(items: &[Bytes]) -> String {
    let items = items.iter().map(|item| String::from_utf8_lossy(item));
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
