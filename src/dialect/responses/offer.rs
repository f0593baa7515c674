//! The gateway's tools in a request.

use bytes::Bytes;

use super::place::{Placing, Rope};
use super::request::Tools;
use crate::dialect::injection::{Source, ToolOffer};
use crate::wire::json::Container;

/// Thinking in a form that can be sent again to an upstream that forgets it.
const ENCRYPTED: &[u8] = br#""reasoning.encrypted_content""#;

impl Placing<'_> {
    pub(super) fn tools(&mut self, offer: &ToolOffer) {
        let tools = match offer {
            ToolOffer::Keep => return,
            ToolOffer::Add(tools) | ToolOffer::Close(tools) => tools,
        };
        let list = tools.iter().fold(Rope::default(), |list, tool| {
            let tool = Rope::of(Source::Tools, tool.clone());
            match list.is_empty() {
                true => tool,
                false => list.append(tool.after(b",")),
            }
        });
        if list.is_empty() {
            return;
        }
        match self.places.tools {
            Tools::List(Container { tail, len: 0, .. }) => self.splice.insert(tail, list),
            Tools::List(Container { tail, .. }) => self.splice.insert(tail, list.after(b",")),
            Tools::Null(span) => {
                self.splice.cut(span.range());
                self.splice.insert(span.start, list.within(b"[", b"]"));
            }
            Tools::Absent => self.added.push(list.within(br#""tools":["#, b"]")),
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
        let mut members = self.request.members().iter();
        let Some(include) = members.find(|member| member.name == "include") else {
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
        let mut members = self.request.members().iter();
        match members.find(|member| member.name == "tool_choice") {
            Some(member) => {
                self.splice.cut(member.value.range());
                self.splice.insert(member.value.start, none);
            }
            None => self.added.push(none.after(br#""tool_choice":"#)),
        }
    }
}
