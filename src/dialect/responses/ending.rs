//! What ends a leg: the event that tells the whole response, with the items of all legs in it.

use bytes::Bytes;
use serde_json::Value;

use super::edit::{Editor, Seen};
use super::item::list;
use super::leg::Fate;
use crate::dialect::calls::Edit;
use crate::dialect::usage;
use crate::wire::frame::Event;
use crate::wire::json::Span;
use crate::wire::object::{Member, Members};
use crate::wire::splice::{Rope, Splice};

/// Whether an event of this kind tells the whole response, and is the last. One of the names is what
/// servers had before there was the other.
pub(super) fn is_end(kind: &str) -> bool {
    const ENDS: [&str; 5] = ["completed", "done", "incomplete", "failed", "cancelled"];
    let end = kind.strip_prefix("response.");
    end.is_some_and(|end| ENDS.contains(&end))
}

impl Editor {
    /// Judges what ends a leg: held back where calls are to be run first, else with all that was said
    /// and what it cost.
    pub(super) fn end(&mut self, data: &Bytes, seen: &Seen<'_>) -> Edit {
        let whole = self.ended(data);
        if !self.leg.has_held() && self.past == 0 {
            return self.numbered(data, seen, None);
        }
        // What says that it is completed may hold a response that is not.
        let says_so = matches!(seen.r#type.as_str(), "response.completed" | "response.done");
        let is_completed = says_so && self.leg.is_completed != Some(false);
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
        let status = parts.get(&inner, "status");
        let status = status.map(|status| &inner[status.value.range()]);
        let is_cut = matches!(
            status,
            Some(br#""incomplete""# | br#""failed""# | br#""cancelled""#)
        );
        let error = parts.get(&inner, "error");
        let has_failed = error.is_some_and(|error| &inner[error.value.range()] != b"null");
        if is_cut || has_failed {
            self.leg.is_completed = Some(false);
        }
        let output = parts.get(&inner, "output").map(|it| it.value.of(&inner));
        self.decide_rest(output.as_ref());
        if let Some(output) = &output {
            self.settle(output);
        }
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

    /// Takes from the items of a whole response what no event of their own has told: calls that were
    /// never done, and all of them where none was begun.
    fn settle(&mut self, output: &Bytes) {
        let is_bare = self.leg.is_bare();
        for found in list(output) {
            let item = found.span.of(output);
            let is_ours = found.is_ours(&self.owners);
            if !(is_ours || is_bare) || self.leg.has(&found) {
                continue;
            }
            let place = match is_ours {
                true => self.leg.open_call(),
                false => None,
            };
            let place = place.unwrap_or_else(|| {
                let fate = match is_ours {
                    true => Fate::Held,
                    false => Fate::Shown(self.begun),
                };
                self.leg.begin(None, &found.id, fate)
            });
            if !is_ours {
                self.has_shown(self.begun, item.clone());
            }
            self.leg.keep(place, item);
        }
    }

    pub(super) fn sum(&self) -> String {
        let mut sum = self.leg.usage.clone();
        if let Some(spent) = &self.spent {
            usage::add(&mut sum, spent);
        }
        sum.to_string()
    }
}

pub(super) fn put(splice: &mut Splice<'_, ()>, at: Option<Span>, with: impl Into<Bytes>) {
    if let Some(at) = at {
        splice.cut(at.range());
        splice.insert(at.start, Rope::of((), with.into()));
    }
}

fn bracketed(items: &[(u64, Bytes)]) -> String {
    let items = items.iter();
    let items = items.map(|(_, item)| String::from_utf8_lossy(item));
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
