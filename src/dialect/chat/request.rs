//! Reads the body of a request, and notes the places that matter.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::body::{BodyReader, Field, Result, bad_request, once};
use crate::dialect::conversation::{Begins, Content, Conversation, Message, Role};
use crate::dialect::request::{self, Request, Withheld};
use crate::dialect::tools::{self, Tools};
use crate::error::ApiError;
use crate::wire::json::{Container, Kind, Span};

/// What is known beside what every dialect has.
const FIELDS: [Field; 17] = [
    Field::Read("messages"),
    Field::Read("tools"),
    Field::Read("tool_choice"),
    Field::Read("parallel_tool_calls"),
    Field::Read("functions"),
    Field::Read("n"),
    Field::Noted("stream_options"),
    Field::Noted("response_format"),
    Field::Noted("structured_outputs"),
    Field::Noted("guided_json"),
    Field::Noted("guided_regex"),
    Field::Noted("guided_choice"),
    Field::Noted("guided_grammar"),
    Field::Noted("json_schema"),
    Field::Noted("grammar"),
    Field::Noted("regex"),
    Field::Noted("ebnf"),
];

/// What holds an answer to a schema or a grammar beside `response_format`, as vLLM, SGLang and
/// llama.cpp have it.
const CONSTRAINTS: [&str; 9] = [
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "json_schema",
    "grammar",
    "regex",
    "ebnf",
];

/// Where in the body something can go.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The `messages` array.
    pub list: Container,
    pub tools: Tools,
    functions: Option<Container>,
    tool_choice: Option<Span>,
    /// `n`.
    choices: Option<Span>,
}

/// Checks `body` and finds what matters in it. JSON may nest `max_depth` deep.
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
    reader.read(&FIELDS, |reader, name| {
        match name {
            "messages" => {
                places.list = list(reader, &mut messages)?;
                has_list = true;
            }
            "tools" => places.tools = Tools::read(reader)?,
            "tool_choice" => {
                let is_null = reader.scanner.peek()? == Kind::Null;
                let span = reader.scanner.skip()?;
                places.tool_choice = (!is_null).then_some(span);
            }
            "functions" => places.functions = reader.array(format_args!("functions"))?,
            "n" => places.choices = Some(reader.scanner.skip()?),
            _ => drop(reader.scanner.skip()?),
        }
        Ok(())
    })?;
    if !has_list {
        let message = "the body has no `messages`; send an array of messages";
        return Err(bad_request(message, "messages"));
    }
    let (members, mut options) = reader.finish();
    options.tool_names = tool_names(&body, &places);
    if let Some(list) = places.tools.list() {
        options.tools = list.len;
    }
    options.withheld = withheld(&body, &places, &members);
    let conversation = Conversation {
        messages,
        begins: Begins::Here,
    };
    let places = request::Places::Chat(places);
    Ok(Request::new(body, (members, options), conversation, places))
}

fn list(reader: &mut BodyReader<'_>, messages: &mut Vec<Message>) -> Result<Container> {
    match reader.scanner.peek()? {
        Kind::Array => {}
        kind => return Err(reader.wrong_type(format_args!("messages"), "an array", kind)),
    }
    let mut list = reader.scanner.open()?;
    while reader.scanner.next_element(&mut list)? {
        messages.push(message(reader, messages.len())?);
    }
    Ok(list)
}

fn message(reader: &mut BodyReader<'_>, i: usize) -> Result<Message> {
    match reader.scanner.peek()? {
        Kind::Object => {}
        kind => return Err(reader.wrong_type(format_args!("messages[{i}]"), "an object", kind)),
    }
    let (mut role, mut content) = (None, Content::Absent);
    let (mut role_seen, mut content_seen, mut has_tool_calls) = (false, false, false);
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
                content = reader.content(path)?;
            }
            b"tool_calls" if reader.scanner.peek()? == Kind::Array => {
                has_tool_calls |= reader.scanner.array()?.len > 0;
            }
            b"function_call" => {
                has_tool_calls |= reader.scanner.peek()? != Kind::Null;
                reader.scanner.skip()?;
            }
            _ => drop(reader.scanner.skip()?),
        }
    }
    let Some(role) = role else {
        let message = format!("`messages[{i}]` has no `role`; name one, such as \"user\"");
        return Err(bad_request(message, format!("messages[{i}].role")));
    };
    Ok(Message {
        span: object.span,
        role: Role::parse(&role.bytes(reader.json)),
        content,
        has_tool_calls,
    })
}

/// Why tools of the gateway's have no place in the request, as far as it says so itself.
fn withheld(body: &[u8], places: &Places, members: &[request::Member]) -> Option<Withheld> {
    let value = |span: Span| &body[span.range()];
    let several = places.choices.map(value);
    let is_constraint = |member: &request::Member| {
        let json = value(member.value);
        match member.name {
            "response_format" => is_schema(json),
            name => CONSTRAINTS.contains(&name) && json != b"null",
        }
    };
    if places.functions.is_some() {
        return Some(Withheld::Functions);
    }
    if let Some(reason) = places.tool_choice.and_then(|at| tools::choice(value(at))) {
        return Some(reason);
    }
    if !matches!(several, None | Some(b"1" | b"null")) {
        return Some(Withheld::Several);
    }
    let is_held = members.iter().any(is_constraint);
    is_held.then_some(Withheld::AnswerSchema)
}

/// Whether a `response_format` asks for more than text.
fn is_schema(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Format {
        r#type: String,
    }
    match serde_json::from_slice::<Format>(json) {
        Ok(format) => format.r#type != "text",
        Err(_) => json != b"null",
    }
}

/// The names in `tools` and the older `functions`; an entry that has none is passed over, as it is
/// the upstream's to refuse.
fn tool_names(body: &[u8], places: &Places) -> Vec<String> {
    #[derive(Deserialize)]
    struct Tool {
        name: Option<String>,
        function: Option<Named>,
        custom: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut names = Vec::new();
    for list in [places.tools.list(), places.functions]
        .into_iter()
        .flatten()
    {
        let entries = serde_json::from_slice(&body[list.span.range()]);
        let entries: Vec<&RawValue> = entries.unwrap_or_default();
        let tools = entries
            .iter()
            .filter_map(|entry| serde_json::from_str::<Tool>(entry.get()).ok());
        names.extend(tools.filter_map(|tool| {
            let inner = tool.function.or(tool.custom).map(|named| named.name);
            inner.or(tool.name)
        }));
    }
    names
}
