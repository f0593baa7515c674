//! Reads the body of a request, and notes the places that matter.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::body::{BodyReader, Field, Result, bad_request, once};
use crate::dialect::conversation::{Begins, Content, Conversation, Message, Role};
use crate::dialect::request::{self, Request, Withheld};
use crate::dialect::tools::{self, Tools};
use crate::error::ApiError;
use crate::wire::json::{Container, Kind, Span, Text};

/// What is known beside what every dialect has.
const FIELDS: [Field; 6] = [
    Field::Read("messages"),
    Field::Read("system"),
    Field::Read("tools"),
    Field::Read("tool_choice"),
    Field::Noted("output_config"),
    Field::Noted("output_format"),
];

/// Where in the body something can go.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The `messages` array.
    pub list: Container,
    /// Whether there is a `system` that is not null, which then is the first message of the
    /// conversation.
    pub has_system: bool,
    /// The span of a `system` that is null.
    pub null_system: Option<Span>,
    pub tools: Tools,
}

/// Checks `body` and finds what matters in it. JSON may nest `max_depth` deep.
///
/// `system` is told as the first message of the conversation. Messages of the role `system` in the
/// list are a client's own reminders and no part of what is said; a user's message that only brings
/// what tools gave is the tools'.
///
/// # Errors
///
/// 400 as [`BodyReader::read`] has it, and where there is no `messages` array of objects.
pub fn read(body: Bytes, max_depth: usize) -> std::result::Result<Request, ApiError> {
    parse(body, max_depth).map_err(|error| *error)
}

fn parse(body: Bytes, max_depth: usize) -> Result<Request> {
    let mut reader = BodyReader::new(&body, max_depth)?;
    let mut places = Places::default();
    let (mut messages, mut has_list) = (Vec::new(), false);
    let (mut system, mut choice) = (None, None);
    reader.read(&FIELDS, |reader, name| {
        match name {
            "messages" => {
                places.list = list(reader, &mut messages)?;
                has_list = true;
            }
            "system" => match self::system(reader)? {
                Message {
                    content: Content::Null(span),
                    ..
                } => places.null_system = Some(span),
                message => system = Some(message),
            },
            "tools" => places.tools = Tools::read(reader)?,
            "tool_choice" => choice = Some(reader.scanner.skip()?),
            _ => drop(reader.scanner.skip()?),
        }
        Ok(())
    })?;
    if !has_list {
        let message = "the body has no `messages`; send an array of messages";
        return Err(bad_request(message, "messages"));
    }
    if let Some(system) = system {
        places.has_system = true;
        messages.insert(0, system);
    }
    let (members, mut options) = reader.finish();
    if let Some(list) = places.tools.list() {
        options.tools = list.len;
        options.tool_names = tool_names(&body[list.span.range()]);
    }
    let choice = choice.map(|choice: Span| &body[choice.range()]);
    options.withheld = withheld(&body, choice, &members);
    let conversation = Conversation {
        messages,
        begins: Begins::Here,
    };
    let places = request::Places::Messages(places);
    Ok(Request::new(body, (members, options), conversation, places))
}

fn system(reader: &mut BodyReader<'_>) -> Result<Message> {
    reader.scanner.peek()?;
    let start = reader.scanner.offset();
    let content = reader.content(format_args!("system"))?;
    let end = reader.scanner.offset();
    Ok(Message {
        span: Span { start, end },
        role: Role::System,
        content,
        has_tool_calls: false,
    })
}

fn list(reader: &mut BodyReader<'_>, messages: &mut Vec<Message>) -> Result<Container> {
    match reader.scanner.peek()? {
        Kind::Array => {}
        kind => return Err(reader.wrong_type(format_args!("messages"), "an array", kind)),
    }
    let mut list = reader.scanner.open()?;
    while reader.scanner.next_element(&mut list)? {
        let message = message(reader, list.len - 1)?;
        if message.role != Role::System {
            messages.push(message);
        }
    }
    Ok(list)
}

fn message(reader: &mut BodyReader<'_>, i: usize) -> Result<Message> {
    match reader.scanner.peek()? {
        Kind::Object => {}
        kind => return Err(reader.wrong_type(format_args!("messages[{i}]"), "an object", kind)),
    }
    let (mut role, mut content, mut blocks) = (None, Content::Absent, Blocks::default());
    let (mut role_seen, mut content_seen) = (false, false);
    let mut object = reader.scanner.open()?;
    while let Some(key) = reader.scanner.next_key(&mut object)? {
        let name = reader.name(key, |name| matches!(name, b"role" | b"content"))?;
        match &*name {
            b"role" => {
                let path = format_args!("messages[{i}].role");
                once(&mut role_seen, path, key)?;
                role = reader.string(path)?;
            }
            b"content" => {
                let path = format_args!("messages[{i}].content");
                once(&mut content_seen, path, key)?;
                content = match reader.scanner.peek()? {
                    Kind::Array => blocks.read(reader, i)?,
                    _ => reader.content(path)?,
                };
            }
            _ => drop(reader.scanner.skip()?),
        }
    }
    let Some(role) = role else {
        let message = format!("`messages[{i}]` has no `role`; name one, such as \"user\"");
        return Err(bad_request(message, format!("messages[{i}].role")));
    };
    let role = match Role::parse(&role.bytes(reader.json)) {
        Role::User if blocks.has_results && !blocks.has_text => Role::Tool,
        role => role,
    };
    Ok(Message {
        span: object.span,
        role,
        content,
        has_tool_calls: blocks.has_calls,
    })
}

/// What kinds of blocks a message has.
#[derive(Default)]
struct Blocks {
    has_text: bool,
    has_results: bool,
    has_calls: bool,
}

impl Blocks {
    fn read(&mut self, reader: &mut BodyReader<'_>, i: usize) -> Result<Content> {
        let mut texts = Vec::new();
        let mut array = reader.scanner.open()?;
        while reader.scanner.next_element(&mut array)? {
            let j = array.len - 1;
            texts.extend(self.block(reader, (i, j))?);
        }
        Ok(Content::Parts { array, texts })
    }

    /// The text of a block of text; a block of another kind is the upstream's to judge.
    fn block(
        &mut self,
        reader: &mut BodyReader<'_>,
        (i, j): (usize, usize),
    ) -> Result<Option<Text>> {
        if reader.scanner.peek()? != Kind::Object {
            reader.scanner.skip()?;
            return Ok(None);
        }
        let (mut text, mut kind, mut seen) = (None, None, false);
        let mut object = reader.scanner.open()?;
        while let Some(key) = reader.scanner.next_key(&mut object)? {
            match &*key.bytes(reader.json) {
                b"text" => {
                    let path = format_args!("messages[{i}].content[{j}].text");
                    once(&mut seen, path, key)?;
                    match reader.scanner.peek()? {
                        Kind::String => text = Some(reader.scanner.text()?),
                        _ => drop(reader.scanner.skip()?),
                    }
                }
                b"type" if reader.scanner.peek()? == Kind::String => {
                    kind = Some(reader.scanner.text()?);
                }
                _ => drop(reader.scanner.skip()?),
            }
        }
        let kind = kind.map(|kind| kind.bytes(reader.json));
        match kind.as_deref() {
            Some(b"text") => {
                self.has_text |= text.is_some();
                return Ok(text);
            }
            Some(b"tool_result") => self.has_results = true,
            Some(b"tool_use") => self.has_calls = true,
            _ => {}
        }
        Ok(None)
    }
}

/// Why tools of the gateway's have no place in the request, as far as it says so itself.
fn withheld(body: &[u8], choice: Option<&[u8]>, members: &[request::Member]) -> Option<Withheld> {
    if let Some(reason) = choice.and_then(tools::choice) {
        return Some(reason);
    }
    let is_schema = |member: &request::Member| {
        let json = &body[member.value.range()];
        match member.name {
            "output_format" => json != b"null",
            "output_config" => has_format(json),
            _ => false,
        }
    };
    members
        .iter()
        .any(is_schema)
        .then_some(Withheld::AnswerSchema)
}

/// Whether an `output_config` holds the answer to a format.
fn has_format(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Config<'a> {
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    let config = serde_json::from_slice::<Config<'_>>(json);
    config.is_ok_and(|config| config.format.is_some())
}

/// The names in `tools`; an entry that has none is passed over, as it is the upstream's to refuse.
fn tool_names(list: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Tool {
        name: Option<String>,
    }
    let entries: Vec<&RawValue> = serde_json::from_slice(list).unwrap_or_default();
    let tools = entries
        .iter()
        .filter_map(|entry| serde_json::from_str::<Tool>(entry.get()).ok());
    tools.filter_map(|tool| tool.name).collect()
}
