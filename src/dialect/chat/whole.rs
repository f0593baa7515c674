//! An answer that is not streamed: what of it the client sees.

use bytes::Bytes;

use super::calls::Fate;
use super::edit::Editor;
use super::editing::Editing;
use super::shape::{Choice, Shape, present};
use crate::dialect::calls::Edit;
use crate::wire::object::{Member, cuts};

impl Editor {
    pub(super) fn judge_whole(&mut self, body: &Bytes, shape: &Shape) -> Edit {
        let mut editing = Editing::new(body);
        for choice in &shape.choices {
            self.whole_choice(&mut editing, choice);
        }
        self.ending.has_failed |= shape.is_error(body);
        if let Some(cost) = shape.get(body, "usage") {
            self.leg_usage = serde_json::from_slice(&body[cost.value.range()]).ok();
            if let Some(sum) = self.sum(body, cost.value) {
                editing.replace(cost.value, sum);
            }
        }
        editing.finish()
    }

    /// Takes the gateway's calls out of a choice.
    fn whole_choice(&mut self, editing: &mut Editing<'_>, choice: &Choice) {
        let body = editing.json;
        let mut gone: Vec<&Member> = vec![];
        let entries = choice.entries.iter();
        let fates = entries.map(|entry| self.calls.whole_entry(&entry.of(body), &self.owners));
        let held: Vec<_> = fates.map(|fate| fate == Fate::Held).collect();
        if !held.contains(&false) {
            let calls = choice.said.get(body, "tool_calls");
            gone.extend(calls.filter(|_| !held.is_empty()));
        } else {
            editing.cut(cuts(&choice.entries, |at| held[at]));
        }
        let legacy = present(&choice.said, body, "function_call");
        let is_held = |call: &&Member| {
            let fate = self.calls.legacy(&call.value.of(body), &self.owners);
            fate == Fate::Held
        };
        gone.extend(legacy.filter(is_held));
        let keys: Vec<_> = gone.iter().map(|member| member.key.span).collect();
        editing.cut(choice.said.cuts(|member| keys.contains(&member.key.span)));
        self.cut_again(editing, choice);
        self.ending.whole(body, choice);
    }
}
