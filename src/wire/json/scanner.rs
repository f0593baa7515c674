//! The reader itself.

use super::stops::Stops;
use super::{Container, JsonError, Kind, Span, Text};

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

type Result<T> = std::result::Result<T, JsonError>;

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    stops: Stops,
    depth: usize,
    max_depth: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner over `json`, which must be UTF-8. Containers may nest `max_depth` deep.
    pub fn new(json: &'a [u8], max_depth: usize) -> Result<Self> {
        if simdutf8::basic::from_utf8(json).is_err() {
            // Slower, but it knows where.
            let valid = std::str::from_utf8(json).map_or_else(|e| e.valid_up_to(), str::len);
            return Err(JsonError {
                offset: valid,
                problem: "invalid UTF-8",
            });
        }
        Ok(Self {
            json,
            // RFC 8259, section 8.1: a reader may pass over a byte order mark, and servers do.
            at: if json.starts_with(MARK) {
                MARK.len()
            } else {
                0
            },
            stops: Stops::new(json),
            depth: 0,
            max_depth,
        })
    }

    /// The kind of the next value; the scanner stands at its first byte afterwards.
    pub fn peek(&mut self) -> Result<Kind> {
        match self.after_space() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') => Ok(Kind::Bool(true)),
            Some(b'f') => Ok(Kind::Bool(false)),
            Some(b'n') => Ok(Kind::Null),
            _ => self.fail("expected a value"),
        }
    }

    /// Passes the next value, validating all of it. Nesting takes no stack.
    pub fn skip(&mut self) -> Result<Span> {
        self.peek()?;
        let start = self.at;
        let mut awaited: Vec<u8> = Vec::new();
        loop {
            let mut opened = false;
            match self.peek()? {
                kind @ (Kind::Object | Kind::Array) => {
                    self.open()?;
                    awaited.push(if kind == Kind::Object { b'}' } else { b']' });
                    opened = true;
                }
                Kind::String => {
                    self.text()?;
                }
                Kind::Number => self.number()?,
                Kind::Bool(true) => self.word(b"true")?,
                Kind::Bool(false) => self.word(b"false")?,
                Kind::Null => self.word(b"null")?,
            }
            loop {
                let Some(&close) = awaited.last() else {
                    let end = self.at;
                    return Ok(Span { start, end });
                };
                if self.more(opened, close)? {
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                }
                awaited.pop();
                opened = false;
            }
        }
    }

    /// Enters the object or array that [`Scanner::peek`] has just found. It is complete once
    /// [`Scanner::next_key`] or [`Scanner::next_element`] has found no more in it.
    pub fn open(&mut self) -> Result<Container> {
        if self.depth == self.max_depth {
            return self.fail("nested more deeply than is allowed");
        }
        let start = self.at;
        self.at += 1;
        self.depth += 1;
        Ok(Container {
            span: Span {
                start,
                end: self.at,
            },
            len: 0,
            tail: self.at,
        })
    }

    /// Enters an object of which only the rest is there, from one of its keys on.
    pub fn inside(&mut self) -> Container {
        self.depth += 1;
        let (start, end) = (self.at, self.at);
        Container {
            span: Span { start, end },
            len: 0,
            tail: end,
        }
    }

    /// Passes the whole array that [`Scanner::peek`] has just found.
    pub fn array(&mut self) -> Result<Container> {
        let mut array = self.open()?;
        while self.next_element(&mut array)? {
            self.skip()?;
        }
        Ok(array)
    }

    /// The next key of `object`, with its value up next; `None` after the last.
    pub fn next_key(&mut self, object: &mut Container) -> Result<Option<Text>> {
        if self.next(object, b'}')? {
            self.key().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether `array` has one more element, which is then up next.
    pub fn next_element(&mut self, array: &mut Container) -> Result<bool> {
        self.next(array, b']')
    }

    /// Passes the string literal that [`Scanner::peek`] has just found.
    pub fn text(&mut self) -> Result<Text> {
        self.at += 1;
        let start = self.at;
        let mut is_plain = true;
        loop {
            let stop = self.stops.next(self.json, self.at);
            is_plain &= !stop.passed_escapes && !stop.is_escaped;
            self.at = stop.at;
            match self.json.get(self.at) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    let span = Span { start, end };
                    return Ok(Text { span, is_plain });
                }
                Some(_) if stop.is_escaped => {
                    self.at -= 1;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character that is not escaped"),
                None => return self.fail("a string without its closing quote"),
            }
        }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Sees to it that nothing but white space is left.
    pub fn finish(&mut self) -> Result<()> {
        match self.after_space() {
            None => Ok(()),
            Some(_) => self.fail("more after the end of the JSON value"),
        }
    }

    fn next(&mut self, container: &mut Container, close: u8) -> Result<bool> {
        container.tail = self.at;
        let more = self.more(container.len == 0, close)?;
        container.len += usize::from(more);
        container.span.end = self.at;
        Ok(more)
    }

    /// Passes a comma, or the bracket that closes a container; true when an item must follow.
    fn more(&mut self, first: bool, close: u8) -> Result<bool> {
        match self.after_space() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ if close == b'}' => self.fail("expected `,` or `}`"),
            _ => self.fail("expected `,` or `]`"),
        }
    }

    fn key(&mut self) -> Result<Text> {
        if self.after_space() != Some(b'"') {
            return self.fail("expected a key in quotes");
        }
        let key = self.text()?;
        if self.after_space() != Some(b':') {
            return self.fail("expected `:`");
        }
        self.at += 1;
        Ok(key)
    }

    /// Passes an escape of more than two bytes.
    fn escape(&mut self) -> Result<()> {
        match self.json.get(self.at + 1) {
            Some(b'u') => match self.code_unit()? {
                0xDC00..=0xDFFF => return self.fail("half a surrogate pair"),
                0xD800..=0xDBFF => {
                    let high = self.at;
                    self.at += 6;
                    let low = self.json[self.at..].starts_with(b"\\u") && {
                        matches!(self.code_unit()?, 0xDC00..=0xDFFF)
                    };
                    if !low {
                        self.at = high;
                        return self.fail("half a surrogate pair");
                    }
                    self.at += 6;
                }
                _ => self.at += 6,
            },
            _ => return self.fail("an unknown escape"),
        }
        Ok(())
    }

    /// The value of the `\uXXXX` that the scanner stands at.
    fn code_unit(&self) -> Result<u32> {
        let digits = self.json.get(self.at + 2..self.at + 6).unwrap_or_default();
        let value = digits.iter().try_fold(0, |value, &byte| {
            let digit = char::from(byte).to_digit(16)?;
            Some(value * 16 + digit)
        });
        match value {
            Some(value) if digits.len() == 4 => Ok(value),
            _ => self.fail("expected four hexadecimal digits after `\\u`"),
        }
    }

    fn number(&mut self) -> Result<()> {
        self.pass(b'-');
        if !self.pass(b'0') {
            self.digits()?;
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _ = self.pass(b'+') || self.pass(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let rest = &self.json[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.fail("expected a digit");
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        if !self.json[self.at..].starts_with(word) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn pass(&mut self, byte: u8) -> bool {
        let found = self.json.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn after_space(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn fail<T>(&self, problem: &'static str) -> Result<T> {
        let offset = self.at;
        Err(JsonError { offset, problem })
    }
}
