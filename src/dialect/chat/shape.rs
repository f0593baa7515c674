//! The places of a completion that an edit may touch.

use crate::wire::json::{JsonError, Kind, Scanner, Span};
use crate::wire::object::{MAX_DEPTH, Member, Members, elements};

/// One event, or a whole answer.
pub struct Shape {
    pub members: Members,
    pub choices: Vec<Choice>,
}

pub struct Choice {
    pub span: Span,
    pub members: Members,
    /// `delta`, or `message`.
    pub said: Members,
    /// The entries of `tool_calls`.
    pub entries: Vec<Span>,
}

impl Shape {
    /// `None` where `json` is no object.
    pub fn read(json: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(json, MAX_DEPTH).ok()?;
        let mut choices = Vec::new();
        let members = Members::read(json, &mut scanner, |scanner, key| {
            match key {
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
        let (mut said, mut entries) = (Members::default(), Vec::new());
        let members = Members::read(json, scanner, |scanner, key| {
            match key {
                b"delta" | b"message" => {
                    let found = Members::read(json, scanner, |scanner, key| {
                        match key {
                            // Some write the only one without a list around it.
                            b"tool_calls" if scanner.peek()? == Kind::Object => {
                                entries = vec![scanner.skip()?];
                            }
                            b"tool_calls" => entries = elements(scanner, Scanner::skip)?,
                            _ => drop(scanner.skip()?),
                        }
                        Ok(())
                    })?;
                    if found.iter().next().is_some() {
                        said = found;
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
            said,
            entries,
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

/// The member of that name, unless it is null.
pub fn present<'a>(members: &'a Members, json: &[u8], name: &str) -> Option<&'a Member> {
    let member = members.get(json, name)?;
    (&json[member.value.range()] != b"null").then_some(member)
}
