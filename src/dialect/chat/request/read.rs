//! Reads a body once, from front to back, and notes the places that matter.

use std::borrow::Cow;
use std::fmt::{Arguments, Display};

use bytes::Bytes;

use super::{Content, Field, Fields, Member, MemoryUse, Message, Request, Role, Tools};
use crate::error::ApiError;
use crate::wire::json::{Container, Kind, Scanner, Span, Text};

/// The error is boxed to keep small what the several calls for each message give back.
type Result<T> = std::result::Result<T, Box<ApiError>>;

pub(super) fn read(body: Bytes, max_depth: usize) -> Result<Request> {
    let mut reader = Reader {
        json: &body,
        scanner: Scanner::new(&body, max_depth)?,
        members: Vec::new(),
        fields: Fields::default(),
        messages: None,
    };
    reader.body()?;
    let (members, fields, messages) = (reader.members, reader.fields, reader.messages);
    let Some((list, messages)) = messages else {
        let message = "the body has no `messages`; send an array of messages";
        return Err(bad_request(message, "messages"));
    };
    Ok(Request {
        body,
        members,
        list,
        messages,
        fields,
    })
}

struct Reader<'a> {
    json: &'a [u8],
    scanner: Scanner<'a>,
    members: Vec<Member>,
    fields: Fields,
    messages: Option<(Container, Vec<Message>)>,
}

impl<'a> Reader<'a> {
    fn body(&mut self) -> Result<()> {
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
                Field::parse(name).is_some_and(|field| field.is_extension() || !field.is_noted())
            })?;
            let Some(field) = Field::parse(&name) else {
                self.scanner.skip()?;
                continue;
            };
            let is_known = |member: &Member| member.field == field;
            if !field.is_noted() && self.members.iter().any(is_known) {
                return Err(twice(format_args!("{}", field.name()), start));
            }
            self.scanner.peek()?;
            let value = self.scanner.offset();
            self.value(field)?;
            let end = self.scanner.offset();
            self.members.push(Member {
                field,
                index,
                before: object.tail,
                span: Span { start, end },
                value: Span { start: value, end },
                after: end,
            });
        }
        Ok(self.scanner.finish()?)
    }

    fn value(&mut self, field: Field) -> Result<()> {
        match field {
            Field::Messages => self.messages = Some(self.messages()?),
            Field::Model => self.fields.model = self.string(format_args!("model"))?,
            Field::Stream => self.fields.stream = self.boolean(format_args!("stream"))?,
            Field::Tools => self.fields.tools = self.tools()?,
            Field::ToolChoice => {
                let is_null = self.scanner.peek()? == Kind::Null;
                let span = self.scanner.skip()?;
                self.fields.tool_choice = (!is_null).then_some(span);
            }
            Field::Choices => self.fields.choices = Some(self.scanner.skip()?),
            Field::Functions => self.fields.functions = self.array(format_args!("functions"))?,
            Field::PersonalityId => {
                self.fields.personality_id = self.string(format_args!("personality_id"))?;
            }
            Field::UseTools => self.fields.use_tools = self.boolean(format_args!("use_tools"))?,
            Field::Memory => self.fields.memory = self.memory()?,
            Field::ParallelToolCalls
            | Field::User
            | Field::SafetyIdentifier
            | Field::Metadata
            | Field::ClientMetadata
            | Field::PromptCacheKey
            | Field::ResponseFormat
            | Field::ConversationId
            | Field::EnableVoice
            | Field::MessageId
            | Field::ClientId => {
                self.scanner.skip()?;
            }
        }
        Ok(())
    }

    fn tools(&mut self) -> Result<Tools> {
        Ok(match self.array(format_args!("tools"))? {
            Some(list) => Tools::List(list),
            None => {
                let end = self.scanner.offset();
                let start = end - "null".len();
                Tools::Null(Span { start, end })
            }
        })
    }

    fn memory(&mut self) -> Result<Option<MemoryUse>> {
        let Some(text) = self.string(format_args!("memory"))? else {
            return Ok(None);
        };
        let name = text.decode(self.json);
        match MemoryUse::parse(&name) {
            Some(memory) => Ok(Some(memory)),
            None => {
                let message = "`memory` must be \"full\", \"readonly\" or \"off\"";
                Err(bad_request(message, "memory"))
            }
        }
    }

    fn messages(&mut self) -> Result<(Container, Vec<Message>)> {
        match self.scanner.peek()? {
            Kind::Array => {}
            kind => return Err(self.wrong_type(format_args!("messages"), "an array", kind)),
        }
        let mut messages = Vec::new();
        let mut list = self.scanner.open()?;
        while self.scanner.next_element(&mut list)? {
            messages.push(self.message(messages.len())?);
        }
        Ok((list, messages))
    }

    fn message(&mut self, i: usize) -> Result<Message> {
        match self.scanner.peek()? {
            Kind::Object => {}
            kind => return Err(self.wrong_type(format_args!("messages[{i}]"), "an object", kind)),
        }
        let (mut role, mut content) = (None, Content::Absent);
        let (mut role_seen, mut content_seen, mut has_tool_calls) = (false, false, false);
        let mut object = self.scanner.open()?;
        while let Some(key) = self.scanner.next_key(&mut object)? {
            let name = self.name(key, |name| matches!(name, b"role" | b"content"))?;
            match &*name {
                b"role" => {
                    let path = format_args!("messages[{i}].role");
                    once(&mut role_seen, path, key)?;
                    role = self.string(path)?;
                }
                b"content" => {
                    once(
                        &mut content_seen,
                        format_args!("messages[{i}].content"),
                        key,
                    )?;
                    content = self.content(i)?;
                }
                b"tool_calls" if self.scanner.peek()? == Kind::Array => {
                    has_tool_calls |= self.scanner.array()?.len > 0;
                }
                b"function_call" => {
                    has_tool_calls |= self.scanner.peek()? != Kind::Null;
                    self.scanner.skip()?;
                }
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        let Some(role) = role else {
            let message = format!("`messages[{i}]` has no `role`; name one, such as \"user\"");
            return Err(bad_request(message, format!("messages[{i}].role")));
        };
        Ok(Message {
            span: object.span,
            role: Role::parse(&role.bytes(self.json)),
            content,
            has_tool_calls,
        })
    }

    fn content(&mut self, i: usize) -> Result<Content> {
        match self.scanner.peek()? {
            Kind::String => Ok(Content::Text(self.scanner.text()?)),
            Kind::Null => Ok(Content::Null(self.scanner.skip()?)),
            Kind::Array => {
                let mut texts = Vec::new();
                let mut array = self.scanner.open()?;
                while self.scanner.next_element(&mut array)? {
                    let j = array.len - 1;
                    texts.extend(self.part(format_args!("messages[{i}].content[{j}].text"))?);
                }
                Ok(Content::Parts { array, texts })
            }
            kind => {
                let path = format_args!("messages[{i}].content");
                Err(self.wrong_type(path, "a string or an array of parts", kind))
            }
        }
    }

    /// The `text` of one content part; a part of another kind is the upstream's to judge.
    fn part(&mut self, path: Arguments<'_>) -> Result<Option<Text>> {
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

    fn string(&mut self, path: Arguments<'_>) -> Result<Option<Text>> {
        match self.scanner.peek()? {
            Kind::String => Ok(Some(self.scanner.text()?)),
            Kind::Null => Ok(self.scanner.skip().map(|_| None)?),
            kind => Err(self.wrong_type(path, "a string", kind)),
        }
    }

    fn boolean(&mut self, path: Arguments<'_>) -> Result<Option<bool>> {
        let value = match self.scanner.peek()? {
            Kind::Bool(value) => Some(value),
            Kind::Null => None,
            kind => return Err(self.wrong_type(path, "true or false", kind)),
        };
        self.scanner.skip()?;
        Ok(value)
    }

    fn array(&mut self, path: Arguments<'_>) -> Result<Option<Container>> {
        match self.scanner.peek()? {
            Kind::Array => Ok(Some(self.scanner.array()?)),
            Kind::Null => Ok(self.scanner.skip().map(|_| None)?),
            kind => Err(self.wrong_type(path, "an array", kind)),
        }
    }

    /// The decoded `key`, unless it differs from a known one by case alone.
    fn name(&self, key: Text, known: impl Fn(&[u8]) -> bool) -> Result<Cow<'a, [u8]>> {
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

    fn wrong_type(&self, path: impl Display, wanted: &str, found: Kind) -> Box<ApiError> {
        let at = self.scanner.offset();
        let message = format!("`{path}` must be {wanted}, but is {found} at byte {at}");
        bad_request(message, path.to_string())
    }
}

/// Errs when the member at `path` has been `seen` before.
fn once(seen: &mut bool, path: Arguments<'_>, key: Text) -> Result<()> {
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

fn bad_request(message: impl Into<String>, param: impl Into<String>) -> Box<ApiError> {
    Box::new(ApiError::bad_request(message).param(param))
}
