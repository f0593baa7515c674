//! Reads a body once, from front to back: what the bodies of all dialects have in common.

use std::borrow::Cow;
use std::fmt::{Arguments, Display};

use super::conversation::Content;
use super::request::{Member, MemoryUse, Options};
use crate::error::ApiError;
use crate::wire::json::{Container, Kind, Scanner, Span, Text};

/// The error is boxed to keep small what the several calls for each message give back.
pub type Result<T> = std::result::Result<T, Box<ApiError>>;

/// A top-level member that a dialect knows.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// The gateway acts upon it, so it must be there once and of the type that it has.
    Read(&'static str),
    /// It may be anything, and be there twice: it is only looked at, and what it must be is the
    /// upstream's to say.
    Noted(&'static str),
}

/// What every dialect knows.
const COMMON: [Field; 11] = [
    Field::Read("model"),
    // Models that stand in for it, as OpenRouter has them.
    Field::Noted("models"),
    Field::Read("stream"),
    Field::Noted("max_tokens"),
    Field::Noted("max_completion_tokens"),
    Field::Noted("max_output_tokens"),
    Field::Noted("user"),
    Field::Noted("safety_identifier"),
    Field::Noted("metadata"),
    Field::Noted("client_metadata"),
    Field::Noted("prompt_cache_key"),
];

/// YYChat's own, which are never forwarded.
const EXTENSIONS: [Field; 7] = [
    Field::Read("personality_id"),
    Field::Noted("conversation_id"),
    Field::Read("use_tools"),
    Field::Read("memory"),
    Field::Read("enable_voice"),
    Field::Read("message_id"),
    Field::Read("client_id"),
];

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Read(name) | Self::Noted(name) => name,
        }
    }

    /// The one of that name among those that all dialects know and a dialect's own; and whether it
    /// is YYChat's.
    fn find(own: &[Self], name: &[u8]) -> Option<(Self, bool)> {
        let is = |field: &&Self| field.name().as_bytes() == name;
        let known = own.iter().chain(&COMMON).find(is);
        let known = known.map(|field| (*field, false));
        known.or_else(|| EXTENSIONS.iter().find(is).map(|field| (*field, true)))
    }
}

/// Reads one body.
pub struct BodyReader<'a> {
    pub json: &'a [u8],
    pub scanner: Scanner<'a>,
    pub options: Options,
    members: Vec<Member>,
}

impl<'a> BodyReader<'a> {
    /// A reader of `json`, which may nest `max_depth` deep.
    pub fn new(json: &'a [u8], max_depth: usize) -> Result<Self> {
        Ok(Self {
            json,
            scanner: Scanner::new(json, max_depth)?,
            options: Options::default(),
            members: Vec::new(),
        })
    }

    /// Reads the whole body. `fields` are what the dialect knows beside what all do; `value` reads
    /// those of them that it acts upon.
    ///
    /// # Errors
    ///
    /// 400 when the body is not one JSON object in UTF-8; when a member that the gateway acts upon
    /// has the wrong type, is there twice (an upstream may read the other one), or is spelled in
    /// another case (an upstream may not mind, as Go's `encoding/json` does not). Every other member
    /// may be anything.
    pub fn read(
        &mut self,
        fields: &[Field],
        mut value: impl FnMut(&mut Self, &'static str) -> Result<()>,
    ) -> Result<()> {
        match self.scanner.peek()? {
            Kind::Object => {}
            kind => {
                let message = format!("the body is {kind}; send one JSON object");
                return Err(Box::new(ApiError::bad_request(message)));
            }
        }
        let mut object = self.scanner.open()?;
        while let Some(key) = self.scanner.next_key(&mut object)? {
            let index = object.len - 1;
            let start = key.span.start - 1;
            if let Some(last) = self.members.last_mut().filter(|m| m.index + 1 == index) {
                last.after = start;
            }
            let name = self.name(key, |name| {
                let found = Field::find(fields, name);
                found.is_some_and(|(field, is_ours)| is_ours || matches!(field, Field::Read(_)))
            })?;
            let Some((field, is_extension)) = Field::find(fields, &name) else {
                self.scanner.skip()?;
                continue;
            };
            let name = field.name();
            let is_known = |member: &Member| member.name == name;
            if matches!(field, Field::Read(_)) && self.members.iter().any(is_known) {
                return Err(twice(format_args!("{name}"), start));
            }
            self.scanner.peek()?;
            let value_start = self.scanner.offset();
            match field {
                Field::Noted(_) => drop(self.scanner.skip()?),
                Field::Read(name) if self.common(name)? => {}
                Field::Read(name) => value(self, name)?,
            }
            let end = self.scanner.offset();
            self.members.push(Member {
                name,
                is_extension,
                index,
                before: object.tail,
                span: Span { start, end },
                value: Span {
                    start: value_start,
                    end,
                },
                after: end,
            });
        }
        Ok(self.scanner.finish()?)
    }

    /// The members found, and the options read of them.
    pub fn finish(self) -> (Vec<Member>, Options) {
        (self.members, self.options)
    }

    /// Reads the value of a member that all dialects act upon; false where it is none.
    fn common(&mut self, name: &str) -> Result<bool> {
        match name {
            "model" => self.options.model = self.string(format_args!("model"))?,
            "stream" => self.options.stream = self.boolean(format_args!("stream"))?,
            "personality_id" => {
                self.options.personality_id = self.string(format_args!("personality_id"))?;
            }
            "use_tools" => self.options.use_tools = self.boolean(format_args!("use_tools"))?,
            "memory" => self.options.memory = self.memory()?,
            "enable_voice" | "message_id" | "client_id" => drop(self.scanner.skip()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn memory(&mut self) -> Result<Option<MemoryUse>> {
        if let Kind::Bool(on) = self.scanner.peek()? {
            self.scanner.skip()?;
            return Ok(Some(MemoryUse::switched(on)));
        }
        let Some(text) = self.string(format_args!("memory"))? else {
            return Ok(None);
        };
        let name = text.decode(self.json);
        match MemoryUse::parse(&name) {
            Some(memory) => Ok(Some(memory)),
            None => {
                let message =
                    "`memory` must be \"full\" (or true), \"readonly\" or \"off\" (or false)";
                Err(bad_request(message, "memory"))
            }
        }
    }

    /// Reads a message's content: a string, or parts of which some have a text.
    pub fn content(&mut self, path: Arguments<'_>) -> Result<Content> {
        match self.scanner.peek()? {
            Kind::String => Ok(Content::Text(self.scanner.text()?)),
            Kind::Null => Ok(Content::Null(self.scanner.skip()?)),
            Kind::Array => {
                let mut texts = Vec::new();
                let mut array = self.scanner.open()?;
                while self.scanner.next_element(&mut array)? {
                    let j = array.len - 1;
                    texts.extend(self.part(format_args!("{path}[{j}].text"))?);
                }
                Ok(Content::Parts { array, texts })
            }
            kind => Err(self.wrong_type(path, "a string or an array of parts", kind)),
        }
    }

    /// The `text` of one content part; a part of another kind is the upstream's to judge.
    pub fn part(&mut self, path: Arguments<'_>) -> Result<Option<Text>> {
        if self.scanner.peek()? != Kind::Object {
            self.scanner.skip()?;
            return Ok(None);
        }
        let (mut text, mut seen) = (None, false);
        let mut object = self.scanner.open()?;
        while let Some(key) = self.scanner.next_key(&mut object)? {
            if self.name(key, |name| name == b"text")?[..] != *b"text" {
                self.scanner.skip()?;
                continue;
            }
            once(&mut seen, path, key)?;
            if self.scanner.peek()? == Kind::String {
                text = Some(self.scanner.text()?);
            } else {
                self.scanner.skip()?;
            }
        }
        Ok(text)
    }

    pub fn string(&mut self, path: Arguments<'_>) -> Result<Option<Text>> {
        match self.scanner.peek()? {
            Kind::String => Ok(Some(self.scanner.text()?)),
            Kind::Null => Ok(self.scanner.skip().map(|_| None)?),
            kind => Err(self.wrong_type(path, "a string", kind)),
        }
    }

    pub fn boolean(&mut self, path: Arguments<'_>) -> Result<Option<bool>> {
        let value = match self.scanner.peek()? {
            Kind::Bool(value) => Some(value),
            Kind::Null => None,
            kind => return Err(self.wrong_type(path, "true or false", kind)),
        };
        self.scanner.skip()?;
        Ok(value)
    }

    pub fn array(&mut self, path: Arguments<'_>) -> Result<Option<Container>> {
        match self.scanner.peek()? {
            Kind::Array => Ok(Some(self.scanner.array()?)),
            Kind::Null => Ok(self.scanner.skip().map(|_| None)?),
            kind => Err(self.wrong_type(path, "an array", kind)),
        }
    }

    /// The decoded `key`, unless it differs from a known one by case alone.
    pub fn name(&self, key: Text, known: impl Fn(&[u8]) -> bool) -> Result<Cow<'a, [u8]>> {
        let name = key.bytes(self.json);
        let plain = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        if name.iter().all(plain) {
            return Ok(name);
        }
        let written = key.decode(self.json);
        // Upper case first: that is how the long s becomes an s, which Go's matching does too.
        let upper = written.chars().flat_map(char::to_uppercase);
        let folded: String = upper.flat_map(char::to_lowercase).collect();
        if known(folded.as_bytes()) {
            let message = format!(
                "`{written}` at byte {} would be read as `{folded}` by some upstreams and not by \
                 others; write `{folded}`",
                key.span.start
            );
            return Err(bad_request(message, written));
        }
        Ok(name)
    }

    pub fn wrong_type(&self, path: impl Display, wanted: &str, found: Kind) -> Box<ApiError> {
        let at = self.scanner.offset();
        let message = format!("`{path}` must be {wanted}, but is {found} at byte {at}");
        bad_request(message, path.to_string())
    }
}

/// Errs when the member at `path` has been `seen` before.
pub fn once(seen: &mut bool, path: Arguments<'_>, key: Text) -> Result<()> {
    if std::mem::replace(seen, true) {
        return Err(twice(path, key.span.start));
    }
    Ok(())
}

fn twice(path: Arguments<'_>, at: usize) -> Box<ApiError> {
    let message = format!(
        "`{path}` is there twice, again at byte {at}, and upstreams differ in which they read; \
         send it once"
    );
    bad_request(message, path.to_string())
}

/// 400 for the member at `param`.
pub fn bad_request(message: impl Into<String>, param: impl Into<String>) -> Box<ApiError> {
    Box::new(ApiError::bad_request(message).param(param))
}
