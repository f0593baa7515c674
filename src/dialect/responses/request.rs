//! Reads the body of a request, and notes the places that matter.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::{self, Item, Side};
use crate::dialect::body::{BodyReader, Field, Result};
use crate::dialect::conversation::{Begins, Content, Conversation, Message, Role};
use crate::dialect::request::{self, Request, Withheld};
use crate::dialect::tools::{self, Tools};
use crate::error::ApiError;
use crate::wire::json::{Container, Kind, Span, Text};

/// What is known beside what every dialect has.
const FIELDS: [Field; 11] = [
    Field::Read("input"),
    Field::Read("instructions"),
    Field::Read("tools"),
    Field::Read("tool_choice"),
    Field::Noted("text"),
    Field::Noted("store"),
    Field::Noted("include"),
    Field::Noted("background"),
    Field::Noted("previous_response_id"),
    Field::Noted("conversation"),
    Field::Noted("prompt"),
];

/// Where in the body something can go.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub input: Input,
    /// The items of a list.
    pub items: Vec<Item>,
    pub instructions: Instructions,
    /// The items of a list of them.
    pub instructed: Vec<Item>,
    pub tools: Tools,
    /// Whether the items of a conversation are kept upstream, and what is sent again is there twice.
    pub has_conversation: bool,
    /// Whether the upstream is to forget the answer, so that thinking comes back encrypted or not at
    /// all.
    pub is_forgotten: bool,
}

/// The `input` member.
#[derive(Debug, Clone, Copy, Default)]
pub enum Input {
    #[default]
    Absent,
    Null(Span),
    Text(Text),
    List(Container),
}

/// The `instructions` member.
#[derive(Debug, Clone, Copy, Default)]
pub enum Instructions {
    #[default]
    Absent,
    Null(Span),
    Text(Text),
    /// Items, which some clients repeat from a response that was made from a prompt.
    List(Container),
    /// What only the upstream can judge.
    Other,
}

/// Checks `body` and finds what matters in it. JSON may nest `max_depth` deep.
///
/// `instructions` are told as the first message of the conversation, and what the model said and
/// called in a row as one message: a turn.
///
/// # Errors
///
/// 400 as [`BodyReader::read`] has it, and where `input` is neither text nor a list.
pub fn read(body: Bytes, max_depth: usize) -> std::result::Result<Request, ApiError> {
    parse(body, max_depth).map_err(|error| *error)
}

fn parse(body: Bytes, max_depth: usize) -> Result<Request> {
    let mut reader = BodyReader::new(&body, max_depth)?;
    let mut places = Places::default();
    let mut choice = None;
    reader.read(&FIELDS, |reader, name| {
        match name {
            "input" => places.input = input(reader, &mut places.items)?,
            "instructions" => {
                places.instructions = instructions(reader, &mut places.instructed)?;
            }
            "tools" => places.tools = Tools::read(reader)?,
            "tool_choice" => choice = Some(reader.scanner.skip()?),
            _ => drop(reader.scanner.skip()?),
        }
        Ok(())
    })?;
    let (members, mut options) = reader.finish();
    if let Some(list) = places.tools.list() {
        options.tools = list.len;
    }
    options.tool_names = tool_names(&body, &places);
    let value = |name: &str| {
        let mut known = members.iter().rev();
        let member = known.find(|member| member.name == name)?;
        let json = &body[member.value.range()];
        (json != b"null").then_some(json)
    };
    places.has_conversation = value("conversation").is_some();
    places.is_forgotten = value("store") == Some(b"false");
    let choice = choice.map(|choice: Span| &body[choice.range()]);
    options.withheld = withheld(choice, value("text"), value("background"));
    let begins = match value("previous_response_id").or(value("conversation")) {
        Some(_) => Begins::AtUpstream,
        None => Begins::Here,
    };
    let messages = messages(&places);
    let conversation = Conversation { messages, begins };
    let places = request::Places::Responses(places);
    Ok(Request::new(body, (members, options), conversation, places))
}

fn input(reader: &mut BodyReader<'_>, items: &mut Vec<Item>) -> Result<Input> {
    match reader.scanner.peek()? {
        Kind::String => Ok(Input::Text(reader.scanner.text()?)),
        Kind::Null => Ok(Input::Null(reader.scanner.skip()?)),
        Kind::Array => {
            let mut list = reader.scanner.open()?;
            while reader.scanner.next_element(&mut list)? {
                items.push(item::read(reader, list.len - 1)?);
            }
            Ok(Input::List(list))
        }
        kind => Err(reader.wrong_type(format_args!("input"), "a string or an array", kind)),
    }
}

fn instructions(reader: &mut BodyReader<'_>, items: &mut Vec<Item>) -> Result<Instructions> {
    match reader.scanner.peek()? {
        Kind::String => Ok(Instructions::Text(reader.scanner.text()?)),
        Kind::Null => Ok(Instructions::Null(reader.scanner.skip()?)),
        Kind::Array => {
            let mut list = reader.scanner.open()?;
            while reader.scanner.next_element(&mut list)? {
                items.push(item::read(reader, list.len - 1)?);
            }
            Ok(Instructions::List(list))
        }
        _ => reader
            .scanner
            .skip()
            .map(|_| Instructions::Other)
            .map_err(Into::into),
    }
}

/// The conversation that instructions and input tell.
fn messages(places: &Places) -> Vec<Message> {
    let mut messages = Vec::new();
    if let Instructions::Text(text) = places.instructions {
        messages.push(said(Role::System, text));
    }
    // Whoever they are told by, they are there to instruct.
    let instructed = places.instructed.iter().map(|item| Message {
        span: item.span,
        role: Role::System,
        content: item.content(),
        has_tool_calls: false,
    });
    messages.extend(instructed);
    if let Input::Text(text) = places.input {
        messages.push(said(Role::User, text));
    }
    // What a client adds behind the last words, such as reminders, is no part of what is said.
    let told = places
        .items
        .iter()
        .rposition(|item| item.side != Side::Instructions);
    for item in &places.items[..told.map_or(0, |last| last + 1)] {
        match messages.last_mut() {
            Some(turn) if item.side == Side::Model && turn.role == Role::Assistant => {
                turn.span.end = item.span.end;
                turn.has_tool_calls |= item.is_call;
                if let Content::Parts { texts, .. } = &mut turn.content {
                    texts.extend(&item.texts);
                }
            }
            _ => messages.push(Message {
                span: item.span,
                role: item.role(),
                content: item.content(),
                has_tool_calls: item.is_call,
            }),
        }
    }
    messages
}

fn said(role: Role, text: Text) -> Message {
    Message {
        span: Span {
            start: text.span.start - 1,
            end: text.span.end + 1,
        },
        role,
        content: Content::Text(text),
        has_tool_calls: false,
    }
}

/// Why tools of the gateway's have no place in the request, as far as it says so itself.
fn withheld(
    choice: Option<&[u8]>,
    text: Option<&[u8]>,
    background: Option<&[u8]>,
) -> Option<Withheld> {
    if let Some(reason) = choice.and_then(tools::choice) {
        return Some(reason);
    }
    if background == Some(b"true") {
        return Some(Withheld::Background);
    }
    text.is_some_and(is_schema)
        .then_some(Withheld::AnswerSchema)
}

/// Whether `text` asks for more than text.
fn is_schema(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        format: Option<Format>,
    }
    #[derive(Deserialize)]
    struct Format {
        r#type: String,
    }
    let answer = serde_json::from_slice::<Answer>(json);
    let format = answer.ok().and_then(|answer| answer.format);
    format.is_some_and(|format| format.r#type != "text")
}

/// The names of all tools that the client brings, those in namespaces and among the items too.
fn tool_names(body: &[u8], places: &Places) -> Vec<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        name: Option<String>,
        #[serde(borrow, default)]
        tools: Vec<&'a RawValue>,
    }
    fn add(names: &mut Vec<String>, tool: &str, depth: usize) {
        let Ok(tool) = serde_json::from_str::<Named<'_>>(tool) else {
            return;
        };
        names.extend(tool.name);
        if depth > 0 {
            for inner in tool.tools {
                add(names, inner.get(), depth - 1);
            }
        }
    }
    let mut names = Vec::new();
    if let Some(list) = places.tools.list() {
        let tools = serde_json::from_slice(&body[list.span.range()]);
        let tools: Vec<&RawValue> = tools.unwrap_or_default();
        for tool in tools {
            add(&mut names, tool.get(), 1);
        }
    }
    for item in places.items.iter().filter(|item| item.brings_tools) {
        if let Ok(json) = std::str::from_utf8(&body[item.span.range()]) {
            add(&mut names, json, 2);
        }
    }
    names
}
