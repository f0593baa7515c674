//! The places of a completion that an edit may touch.

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::wire::json::{JsonError, Kind, Scanner, Span};
use crate::wire::object::{MAX_DEPTH, Member, Members, elements};
use crate::wire::splice::{Rope, Splice};

/// One event, or a whole answer.
pub struct Shape {
    pub members: Members,
    pub choices: Vec<Choice>,
}

pub struct Choice {
    pub span: Span,
    pub members: Members,
    /// `delta`, or `message`; where both are there, the one with calls, else the first that says anything.
    pub said: Members,
    /// The other one, which some servers say as well.
    pub other: Members,
    /// The entries of `tool_calls`.
    pub entries: Vec<Span>,
    /// Strings that stand in place of these, or of all of them.
    strings: Vec<Span>,
}

/// `delta`, or `message`.
#[derive(Default)]
struct Said {
    members: Members,
    entries: Vec<Span>,
    strings: Vec<Span>,
}

impl Shape {
    /// `None` where `json` is no object.
    pub fn read(json: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(json, MAX_DEPTH).ok()?;
        let mut choices = Vec::new();
        let members = Members::read(json, &mut scanner, |scanner, key| {
            match key {
                // Some write the only one without a list around it.
                b"choices" if scanner.peek()? == Kind::Object => {
                    choices = vec![Choice::read(json, scanner)?];
                }
                b"choices" => choices = elements(scanner, |scanner| Choice::read(json, scanner))?,
                _ => drop(scanner.skip()?),
            }
            Ok(())
        });
        let members = members.ok()?;
        scanner.finish().ok()?;
        members.iter().next()?;
        Some(Self { members, choices })
    }

    /// The same with the calls that stand there as JSON within a text; `None` where there are none.
    pub fn unpacked(&self, json: &Bytes) -> Option<Bytes> {
        let mut splice = Splice::<()>::new(json);
        let mut is_any = false;
        for span in self.choices.iter().flat_map(|choice| &choice.strings) {
            let text: Option<String> = serde_json::from_slice(&json[span.range()]).ok();
            let is_call = |text: &String| {
                let text = text.trim_start();
                text.starts_with(['[', '{']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
            };
            if let Some(text) = text.filter(is_call) {
                is_any = true;
                splice.cut(span.range());
                splice.insert(span.start, Rope::of((), text.into()));
            }
        }
        is_any.then(|| splice.finish().to_bytes())
    }

    /// Whether it tells of an error: in a member of that name, or as one itself.
    pub fn is_error(&self, json: &[u8]) -> bool {
        let is = |name: &str| {
            let member = self.get(json, name);
            member.is_some_and(|member| &json[member.value.range()] == b"\"error\"")
        };
        self.get(json, "error").is_some() || is("object") || is("type")
    }

    /// The member of that name, unless it is null.
    pub fn get(&self, json: &[u8], name: &str) -> Option<&Member> {
        present(&self.members, json, name)
    }
}

impl Choice {
    fn read<'a>(json: &'a [u8], scanner: &mut Scanner<'a>) -> Result<Self, JsonError> {
        scanner.peek()?;
        let start = scanner.offset();
        let (mut said, mut other) = (Said::default(), Said::default());
        let members = Members::read(json, scanner, |scanner, key| {
            match key {
                b"delta" | b"message" => {
                    let found = Said::read(json, scanner)?;
                    match found.is_more_than(&said) {
                        true => other = std::mem::replace(&mut said, found),
                        false => other = found,
                    }
                }
                _ => drop(scanner.skip()?),
            }
            Ok(())
        })?;
        let end = scanner.offset();
        Ok(Self {
            span: Span { start, end },
            members,
            said: said.members,
            other: other.members,
            entries: said.entries,
            strings: said.strings,
        })
    }

    /// Whether an error is told of it.
    pub fn has_failed(&self, json: &[u8]) -> bool {
        present(&self.members, json, "error").is_some()
    }

    /// The JSON of `finish_reason`, where there is one.
    pub fn finish_reason<'a>(&self, json: &'a [u8]) -> Option<(&Member, &'a [u8])> {
        let reason = self.members.get(json, "finish_reason")?;
        let text = &json[reason.value.range()];
        (!matches!(text, b"null" | b"\"\"")).then_some((reason, text))
    }
}

impl Said {
    fn read<'a>(json: &'a [u8], scanner: &mut Scanner<'a>) -> Result<Self, JsonError> {
        let (mut entries, mut strings) = (Vec::new(), Vec::new());
        let members = Members::read(json, scanner, |scanner, key| {
            let kind = scanner.peek()?;
            match key {
                // Some write the only one without a list around it.
                b"tool_calls" if kind == Kind::Object => entries = vec![scanner.skip()?],
                b"tool_calls" if kind == Kind::String => strings.push(scanner.skip()?),
                b"tool_calls" => {
                    entries = elements(scanner, |scanner| {
                        let is_string = scanner.peek()? == Kind::String;
                        let span = scanner.skip()?;
                        strings.extend(is_string.then_some(span));
                        Ok(span)
                    })?;
                }
                _ => drop(scanner.skip()?),
            }
            Ok(())
        })?;
        Ok(Self {
            members,
            entries,
            strings,
        })
    }

    /// Whether it says more than the one before it.
    fn is_more_than(&self, before: &Self) -> bool {
        let calls = |said: &Self| !said.entries.is_empty() || !said.strings.is_empty();
        let says = |said: &Self| said.members.iter().next().is_some();
        match (calls(before), calls(self)) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => !says(before) && says(self),
        }
    }
}

/// An event, or a whole answer, with its calls in no text.
pub fn plain(json: &Bytes) -> Bytes {
    let unpacked = Shape::read(json).and_then(|shape| shape.unpacked(json));
    unpacked.unwrap_or_else(|| json.clone())
}

/// The member of that name, unless it is null.
pub fn present<'a>(members: &'a Members, json: &[u8], name: &str) -> Option<&'a Member> {
    let member = members.get(json, name)?;
    (&json[member.value.range()] != b"null").then_some(member)
}
