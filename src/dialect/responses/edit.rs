//! What of an answer the client sees: all of it but the calls of the gateway's own tools, as one
//! response, however many legs it takes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Reader;
use super::ending::{is_end, put};
use super::item::known;
use super::leg::{Fate, Leg};
use super::round::round;
use crate::dialect::answer::{Answer, Wanted};
use crate::dialect::calls::{self, Edit, Owners, Seed, Unread};
use crate::dialect::mark::is_marked;
use crate::dialect::usage;
use crate::error::ApiError;
use crate::wire::frame::Event;
use crate::wire::object::{Member, Members};
use crate::wire::splice::Splice;

/// Stands between an upstream and the client, over all legs of an answer.
#[derive(Debug)]
pub struct Editor {
    pub(super) owners: Owners,
    /// Reads what the client sees.
    pub(super) reader: Reader,
    pub(super) leg: Leg,
    /// Legs that are past.
    pub(super) past: usize,
    /// Items that the client was shown: as many as there are, and those that are done, as they were, by
    /// their places.
    pub(super) begun: u64,
    pub(super) shown: Vec<(u64, Bytes)>,
    /// The number of the client's next event.
    pub(super) number: u64,
    /// What the legs before cost.
    pub(super) spent: Option<Value>,
    /// Events that were held and are the client's.
    pub(super) released: Vec<Event>,
    /// What ends the answer, held back while calls are to be run first.
    pub(super) ending: Option<Event>,
    /// The id of the last leg, where the client is told another.
    pub(super) upstream_id: Option<String>,
    /// Makes ids where the upstream gives none.
    seed: Seed,
    is_blind: bool,
    /// What may be a call of the gateway's could not be read.
    unread: Unread,
}

/// What of an event decides its fate.
#[derive(Deserialize)]
pub(super) struct Seen<'a> {
    pub(super) r#type: String,
    #[serde(default, deserialize_with = "calls::number")]
    sequence_number: Option<u64>,
    #[serde(default, deserialize_with = "calls::number")]
    pub(super) output_index: Option<u64>,
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    /// A piece of a call's arguments, …
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    /// … or all of them.
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl Seen<'_> {
    /// The id of the item that it is of.
    fn id(&self) -> String {
        let item = || known(self.item?.get().as_bytes());
        let id = self.item_id.and_then(text).or_else(|| Some(item()?.id));
        id.unwrap_or_default()
    }
}

impl Editor {
    pub fn new(owners: Owners, wanted: Wanted, seed: String) -> Self {
        Self {
            owners,
            reader: Reader::new(wanted),
            leg: Leg::default(),
            past: 0,
            begun: 0,
            shown: Vec::new(),
            number: 0,
            spent: None,
            released: Vec::new(),
            ending: None,
            upstream_id: None,
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
        match self.leg.is_completed {
            None => return calls::Leg::Truncated,
            Some(false) => return calls::Leg::Complete,
            Some(true) if self.leg.has_half() => return calls::Leg::Complete,
            Some(true) => {}
        }
        let round = round(self.leg.items(), &self.owners, &mut self.seed);
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

    /// Judges what cannot be read.
    fn unread(&mut self, raw: &[u8]) -> Edit {
        self.unread.judge(raw, &self.owners)
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
        let said = error.said.as_ref().and_then(|said| said.code.as_deref());
        let code = said.unwrap_or(match error.status.as_u16() {
            429 => "rate_limit_exceeded",
            _ => "server_error",
        });
        let data = serde_json::json!({
            "type": "response.failed",
            "sequence_number": self.number,
            "response": {
                "id": id,
                "object": "response",
                "status": "failed",
                "error": { "code": code, "message": error.message },
                "output": [],
            },
        });
        Event::named("response.failed", data.to_string())
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
        match seen.r#type.as_str() {
            "response.output_item.added" => {
                let place = seen.output_index.unwrap_or(self.begun);
                self.leg
                    .begin(seen.output_index, &seen.id(), Fate::Shown(place));
                self.begun = self.begun.max(place + 1);
            }
            "response.output_item.done" => {
                let (index, id) = (seen.output_index, seen.id());
                let place = self.leg.open_place(index, &id).unwrap_or_else(|| {
                    let shown = index.unwrap_or(self.begun);
                    self.begun = self.begun.max(shown + 1);
                    self.leg.begin(index, &id, Fate::Shown(shown))
                });
                self.item_done(data, seen, place);
            }
            _ => {}
        }
    }

    /// Keeps an item that is done, in case all that was said has to be told again.
    fn item_done(&mut self, data: &Bytes, seen: &Seen<'_>, place: usize) {
        let Some(item) = seen.item else {
            return;
        };
        let item = data.slice_ref(item.get().as_bytes());
        if let Fate::Shown(at) = self.leg.fate(place) {
            self.has_shown(at, item.clone());
        }
        self.leg.keep(place, item);
    }

    /// Notes an item that the client was shown at this place. Those of a leg may be done in another
    /// order than that in which they began.
    pub(super) fn has_shown(&mut self, at: u64, item: Bytes) {
        let behind = self.shown.partition_point(|(known, _)| *known <= at);
        self.shown.insert(behind, (at, item));
    }

    fn judge(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        match seen.r#type.as_str() {
            "response.created" | "response.queued" | "response.in_progress" if self.past > 0 => {
                Edit::Drop
            }
            "response.output_item.added" => {
                let place = self.begin(seen);
                self.show(data, seen, place)
            }
            "response.output_item.done" => {
                let known = self.leg.open_place(seen.output_index, &seen.id());
                // Some servers say that an item is done and never that it began.
                let place = known.unwrap_or_else(|| self.begin(seen));
                self.decide(seen, place);
                self.item_done(data, seen, place);
                self.show(data, seen, place)
            }
            kind if is_end(kind) => self.end(data, seen),
            "error" => {
                self.leg.is_completed = Some(false);
                self.numbered(data, seen, None)
            }
            kind if !kind.starts_with("response.") && is_marked(data) => self.unread(data),
            kind => {
                let is_of_item = seen.output_index.is_some() || seen.item_id.is_some();
                let place = self.leg.place(seen.output_index, &seen.id());
                let Some(place) = place.filter(|_| is_of_item) else {
                    return self.numbered(data, seen, None);
                };
                if kind.starts_with("response.function_call_arguments") {
                    let said = seen.arguments.or(seen.delta).and_then(text);
                    let is_all = seen.arguments.is_some();
                    self.leg.argue(place, &said.unwrap_or_default(), is_all);
                }
                self.show(data, seen, place)
            }
        }
    }

    /// Begins an item, the gateway's or the client's. Gives its place.
    fn begin(&mut self, seen: &Seen<'_>) -> usize {
        let fate = self.fate(seen);
        self.leg.begin(seen.output_index, &seen.id(), fate)
    }

    /// The event as the client counts, if it is for the client.
    fn show(&mut self, data: &Bytes, seen: &Seen<'_>, place: usize) -> Edit {
        match self.leg.fate(place) {
            Fate::Held => Edit::Drop,
            Fate::Undecided => {
                self.leg.hold(place, data.clone());
                Edit::Drop
            }
            Fate::Shown(place) => self.numbered(data, seen, Some(place)),
        }
    }

    pub(super) fn numbered(&mut self, data: &Bytes, seen: &Seen<'_>, place: Option<u64>) -> Edit {
        if let (0, false, Some(own)) = (self.past, self.leg.has_held(), seen.sequence_number) {
            self.number = self.number.max(own);
        }
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

    /// What some servers send behind the last event, as Chat Completions have it.
    fn done(&mut self, data: &Bytes) -> Edit {
        match data.trim_ascii() == b"[DONE]" {
            true if self.leg.has_held() => {
                // Some end with that alone.
                if self.leg.is_completed.is_none() && self.leg.open_call().is_none() {
                    self.leg.is_completed = Some(true);
                }
                Edit::Drop
            }
            true => Edit::Pass,
            false => self.unread(data),
        }
    }
}

/// A string's text.
fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

fn replace(splice: &mut Splice<'_, ()>, member: Option<&Member>, with: String) {
    put(splice, member.map(|member| member.value), with);
}
