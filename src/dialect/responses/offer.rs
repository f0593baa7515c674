//! The gateway's tools in a request.

use bytes::Bytes;

use super::place::{Placing, Rope};
use crate::dialect::injection::{Source, ToolOffer};

/// Thinking in a form that can be sent again to an upstream that forgets it.
const ENCRYPTED: &[u8] = br#""reasoning.encrypted_content""#;

impl Placing<'_> {
    pub(super) fn tools(&mut self, offer: &ToolOffer) {
        let entries = offer.entries();
        if entries.is_empty() {
            return;
        }
        if let Some(list) = self.places.tools.add(&mut self.splice, entries) {
            self.added.push(list.within(br#""tools":["#, b"]"));
        }
        if self.places.is_forgotten {
            self.include_thinking();
        }
        if matches!(offer, ToolOffer::Close(_)) {
            self.close();
        }
    }

    /// Asks for thinking in a form that the next leg can repeat.
    fn include_thinking(&mut self) {
        let Some(include) = self.request.known("include") else {
            let member = [br#""include":["#, ENCRYPTED, b"]"].concat();
            return self.added.push(Rope::of(Source::Tools, member.into()));
        };
        let json = &self.request.body()[include.value.range()];
        let Ok(known) = serde_json::from_slice::<Vec<String>>(json) else {
            return;
        };
        if known
            .iter()
            .any(|name| ENCRYPTED == format!("\"{name}\"").as_bytes())
        {
            return;
        }
        let end = include.value.end - 1;
        let name = Rope::of(Source::Tools, Bytes::from_static(ENCRYPTED));
        let name = if known.is_empty() {
            name
        } else {
            name.after(b",")
        };
        self.splice.insert(end, name);
    }

    /// Has the model call no tool any more.
    fn close(&mut self) {
        let none = Rope::of(Source::Tools, Bytes::from_static(br#""none""#));
        match self.request.known("tool_choice") {
            Some(member) => {
                self.splice.cut(member.value.range());
                self.splice.insert(member.value.start, none);
            }
            None => self.added.push(none.after(br#""tool_choice":"#)),
        }
    }
}
