//! A JSON reader that validates every byte it passes and gives offsets instead of values.
//!
//! It accepts what `serde_json` accepts as a `Value`, with two wanted differences: a number may be
//! of any size, since its spelling is forwarded and never computed with, and nesting is bounded by
//! the caller. Grammar: RFC 8259; an escape that stands for half a surrogate pair is refused, as
//! it means no text. The module's tests hold the agreement over generated and mutated texts.

mod scanner;
mod stops;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::error::ApiError;

pub use scanner::Scanner;

/// A range of byte offsets into one JSON text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The span as an index.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The bytes of the span, shared with `json`.
    pub fn of(self, json: &Bytes) -> Bytes {
        json.slice(self.range())
    }
}

/// A string literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// What stands between the quotes.
    pub span: Span,
    /// Whether that is the text itself, without an escape.
    is_plain: bool,
}

impl Text {
    /// Whether nothing stands between the quotes.
    pub fn is_empty(self) -> bool {
        self.span.start == self.span.end
    }

    /// The decoded text; `json` is what the literal was found in.
    pub fn decode(self, json: &[u8]) -> Cow<'_, str> {
        let raw = &json[self.span.range()];
        if self.is_plain {
            Cow::Borrowed(simdutf8::basic::from_utf8(raw).expect("the scanner validated the UTF-8"))
        } else {
            let quoted = &json[self.span.start - 1..=self.span.end];
            Cow::Owned(serde_json::from_slice(quoted).expect("the scanner validated the literal"))
        }
    }

    /// The literal from its last `@` on, however that is written.
    pub(crate) fn last_at(self, json: &[u8]) -> Option<Span> {
        const ESCAPED: &[u8] = br"\u0040";
        let end = self.span.end;
        let (mut at, mut found) = (self.span.start, None);
        while at < end {
            let rest = &json[at..end];
            if rest[0] == b'@' || rest.starts_with(ESCAPED) {
                found = Some(at);
            }
            // What is escaped begins no escape of its own.
            at += if rest[0] == b'\\' { 2 } else { 1 };
        }
        found.map(|start| Span { start, end })
    }

    /// The decoded text as bytes: cheaper for the many short ones that are only compared.
    pub fn bytes(self, json: &[u8]) -> Cow<'_, [u8]> {
        if self.is_plain {
            Cow::Borrowed(&json[self.span.range()])
        } else {
            Cow::Owned(self.decode(json).into_owned().into_bytes())
        }
    }
}

/// A string literal with the JSON that it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a> {
    json: &'a [u8],
    text: Text,
}

impl<'a> Literal<'a> {
    /// `text` must have been found in `json`.
    pub(crate) fn new(json: &'a [u8], text: Text) -> Self {
        Self { json, text }
    }

    /// The decoded text.
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        self.text.decode(self.json)
    }

    /// What stands between the quotes.
    pub(crate) fn raw(&self) -> &'a [u8] {
        &self.json[self.text.span.range()]
    }

    /// Bytes between the quotes.
    pub(crate) fn len(&self) -> usize {
        self.raw().len()
    }

    /// Whether the text may hold one of these, which are found without decoding it where they stand as
    /// themselves.
    pub(crate) fn may_hold<'w>(&self, mut words: impl Iterator<Item = &'w str>) -> bool {
        let raw = self.raw();
        let is_plain = self.text.is_plain;
        words.any(|word| {
            !is_plain && is_escaped(word) || memmem::find(raw, word.as_bytes()).is_some()
        }) || !is_plain && memmem::find(raw, ANY_LETTER).is_some()
    }

    /// Whether it may end with one of these, but for white space.
    pub(crate) fn may_end_with(&self, words: &[String]) -> bool {
        // Escapes make it longer.
        const MOST: usize = 256;
        let raw = self.raw();
        let mut tail = &raw[raw.len().saturating_sub(MOST)..];
        while let [0x80..0xC0, rest @ ..] = tail {
            tail = rest;
        }
        let Ok(mut end) = std::str::from_utf8(tail) else {
            return true;
        };
        end = end.trim_end();
        let is_plain = self.text.is_plain;
        if !is_plain {
            let blanks = [r"\n", r"\r", r"\t", r"\f"];
            while let Some(rest) = blanks.iter().find_map(|it| end.strip_suffix(it)) {
                end = rest.trim_end();
            }
        }
        let mut words = words.iter();
        words.any(|word| !is_plain && is_escaped(word) || end.ends_with(word))
            || !is_plain && memmem::find(tail, ANY_LETTER).is_some()
    }

    /// What the text begins with: about as much as `most` bytes of the literal hold.
    pub(crate) fn beginning(&self, most: usize) -> Cow<'a, str> {
        let raw = self.raw();
        if raw.len() <= most {
            return self.decode();
        }
        // Most have no escape there.
        let mut end = memchr::memchr(b'\\', &raw[..most]).unwrap_or(most);
        while end < most {
            end += match &raw[end..] {
                // A pair of surrogates is one character.
                [
                    b'\\',
                    b'u',
                    b'd' | b'D',
                    b'8' | b'9' | b'a' | b'b' | b'A' | b'B',
                    ..,
                ] => 12,
                [b'\\', b'u', ..] => 6,
                [b'\\', ..] => 2,
                _ => 1,
            };
        }
        while raw.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
            end += 1;
        }
        let start = self.text.span.start;
        let span = Span {
            start,
            end: start + end,
        };
        let is_plain = self.text.is_plain || !raw[..end].contains(&b'\\');
        match is_plain {
            true => Text { span, is_plain }.decode(self.json),
            false => {
                let quoted = [b"\"", &raw[..end], b"\""].concat();
                // It was cut between two characters of a literal that the scanner validated.
                Cow::Owned(serde_json::from_slice(&quoted).unwrap_or_default())
            }
        }
    }
}

/// How any letter may be written.
const ANY_LETTER: &[u8] = br"\u";

/// Whether a literal has to write, or may write, a character of it in two.
fn is_escaped(word: &str) -> bool {
    word.contains(['"', '\\', '/']) || word.contains(char::is_control)
}

/// An array or object, as what must be known to add to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Container {
    /// Brackets included.
    pub span: Span,
    /// Number of elements or members.
    pub len: usize,
    /// Where one more goes: after the last one, or after the opening bracket.
    pub tail: usize,
}

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// Offset of the byte at which reading stopped, counted from 0.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.offset)
    }
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::bad_request(format!(
            "the body cannot be read as JSON: {error}; send one JSON object in UTF-8"
        ))
    }
}

impl From<JsonError> for Box<ApiError> {
    fn from(error: JsonError) -> Self {
        Self::new(error.into())
    }
}

/// What kind of value comes next, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool(bool),
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool(_) => "a boolean",
            Self::Null => "null",
        })
    }
}

/// Validates a whole JSON text that may nest `max_depth` deep. Total: any bytes give an answer, so
/// it is also the entry for fuzzing.
pub fn validate(json: &[u8], max_depth: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(json, max_depth)?;
    scanner.skip()?;
    scanner.finish()
}
