//! The `tools` member, which every dialect has: read in one way, and added to in one way.

use std::borrow::Cow;

use serde::Deserialize;

use super::body::{BodyReader, Result};
use super::injection::{Source, ToolOffer};
use super::request::Withheld;
use crate::wire::json::{Container, Span};
use crate::wire::splice::{Rope, Splice};

/// The `tools` member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tools {
    #[default]
    Absent,
    Null(Span),
    List(Container),
}

impl Tools {
    pub fn read(reader: &mut BodyReader<'_>) -> Result<Self> {
        Ok(match reader.array(format_args!("tools"))? {
            Some(list) => Self::List(list),
            None => {
                let end = reader.scanner.offset();
                let start = end - "null".len();
                Self::Null(Span { start, end })
            }
        })
    }

    pub const fn list(self) -> Option<Container> {
        match self {
            Self::List(list) => Some(list),
            Self::Absent | Self::Null(_) => None,
        }
    }

    /// Adds `entries` behind the client's own. Where there is no such member they are given back, for
    /// the dialect to place.
    pub fn add(
        self,
        splice: &mut Splice<'_, Source>,
        entries: Rope<Source>,
    ) -> Option<Rope<Source>> {
        match self {
            Self::List(Container { tail, len: 0, .. }) => splice.insert(tail, entries),
            Self::List(Container { tail, .. }) => splice.insert(tail, entries.after(b",")),
            Self::Null(span) => {
                splice.cut(span.range());
                splice.insert(span.start, entries.within(b"[", b"]"));
            }
            Self::Absent => return Some(entries),
        }
        None
    }
}

/// Why a `tool_choice` leaves no place for tools of the gateway's. It says what it is by itself or by its
/// `type`: clients of one API write it as another has it.
pub fn choice(json: &[u8]) -> Option<Withheld> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Choice<'a> {
        Name(#[serde(borrow)] Cow<'a, str>),
        Object {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
        },
        Null,
    }
    match serde_json::from_slice(json) {
        Ok(Choice::Null) => None,
        Ok(Choice::Name(name) | Choice::Object { r#type: name }) => match &*name {
            "auto" => None,
            "none" => Some(Withheld::Request),
            // `required`, a tool by its name, a choice among some, and what is not known yet.
            _ => Some(Withheld::ForcedChoice),
        },
        Err(_) => Some(Withheld::ForcedChoice),
    }
}

impl ToolOffer {
    /// What is added to the client's own tools, with commas between.
    pub(super) fn entries(&self) -> Rope<Source> {
        let tools: &[_] = match self {
            Self::Keep => &[],
            Self::Add(tools) | Self::Close(tools) => tools,
        };
        tools.iter().fold(Rope::default(), |list, tool| {
            let tool = Rope::of(Source::Tools, tool.clone());
            match list.is_empty() {
                true => tool,
                false => list.append(tool.after(b",")),
            }
        })
    }
}
