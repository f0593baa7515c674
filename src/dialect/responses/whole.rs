//! An answer that is not streamed: what of it the client sees.

use bytes::Bytes;

use super::edit::Editor;
use super::ending::put;
use super::item::list;
use super::leg::Fate;
use super::round::is_ours;
use crate::dialect::calls::Edit;
use crate::wire::json::{Kind, Span};
use crate::wire::object::{Members, cuts};
use crate::wire::splice::{Rope, Splice};

impl Editor {
    pub(super) fn judge_whole(&mut self, body: &Bytes) -> Option<Edit> {
        let members = Members::parse(body)?;
        let output = members.get(body, "output")?;
        if output.kind == Kind::Object {
            // The only item, without a list around it.
            let listed = [b"[", &body[output.value.range()], b"]"].concat();
            let mut splice = Splice::new(body);
            put(&mut splice, Some(output.value), listed);
            return self.judge_whole(&splice.finish().to_bytes());
        }
        let output = output.value;
        let in_body = |span: Span| Span {
            start: output.start + span.start,
            end: output.start + span.end,
        };
        let items: Vec<_> = list(&body[output.range()])
            .into_iter()
            .map(|item| in_body(item.span))
            .collect();
        let held: Vec<_> = items
            .iter()
            .map(|span| is_ours(&body[span.range()], &self.owners))
            .collect();
        let mut splice = Splice::<()>::new(body);
        for cut in cuts(&items, |at| held[at]) {
            splice.cut(cut);
        }
        let left = held.contains(&false);
        if !self.shown.is_empty() {
            let before: Vec<_> = self.shown.iter().map(|(_, item)| &item[..]).collect();
            let mut before = before.join(&b',');
            if left {
                before.push(b',');
            }
            splice.insert(output.start + 1, Rope::of((), before.into()));
        }
        if let Some(cost) = members.get(body, "usage") {
            self.leg.usage = serde_json::from_slice(&body[cost.value.range()]).ok()?;
            let has_cost = self.leg.usage.is_object() && self.spent.is_some();
            put(
                &mut splice,
                Some(cost.value).filter(|_| has_cost),
                self.sum(),
            );
        }
        let status = members
            .get(body, "status")
            .map(|it| &body[it.value.range()]);
        let error = members.get(body, "error");
        let has_failed = error.is_some_and(|it| &body[it.value.range()] != b"null");
        let is_over = matches!(status, None | Some(br#""completed""# | b"null"));
        self.leg.is_completed = Some(is_over && !has_failed);
        for (span, held) in items.iter().zip(&held) {
            let item = span.of(body);
            let fate = match held {
                true => Fate::Held,
                false => Fate::Shown(0),
            };
            if !held {
                self.has_shown(u64::MAX, item.clone());
            }
            let place = self.leg.begin(None, "", fate);
            self.leg.keep(place, item);
        }
        Some(Edit::Replace(splice.finish().to_bytes()))
    }
}
