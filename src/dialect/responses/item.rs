//! The items of an input: messages, calls, what they gave, thinking, and whatever else there is.

use serde_json::Value;

use crate::dialect::body::{BodyReader, Result, once};
use crate::dialect::calls::{Owner, Owners};
use crate::dialect::conversation::{Content, Role};
use crate::wire::json::{Container, Kind, Scanner, Span, Text};
use crate::wire::object::{MAX_DEPTH, Members, elements};

/// Who an item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    User,
    /// System and developer messages, and what clients put among them.
    Instructions,
    /// What a tool gave.
    Tool,
    /// What the model said, thought and called; what is not known is taken for that.
    Model,
}

/// One item of an input list.
#[derive(Debug, Clone)]
pub struct Item {
    pub span: Span,
    pub side: Side,
    /// Whether it is a call that somebody has to answer.
    pub is_call: bool,
    /// Whether it brings tools of the client's.
    pub brings_tools: bool,
    /// Whether it asks for a summary of all before it, and must stay the last.
    pub is_trigger: bool,
    /// Its content, where it is a message.
    pub body: Body,
    pub texts: Vec<Text>,
}

/// The `content` of a message.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    Absent,
    Text(Text),
    Parts(Container),
}

impl Item {
    pub fn role(&self) -> Role {
        match self.side {
            Side::User => Role::User,
            Side::Instructions => Role::Developer,
            Side::Tool => Role::Tool,
            Side::Model => Role::Assistant,
        }
    }

    /// Whether it is a message of the model's.
    pub fn is_said(&self) -> bool {
        self.side == Side::Model && !self.is_call && !matches!(self.body, Body::Absent)
    }

    /// As a conversation tells it.
    pub fn content(&self) -> Content {
        match self.body {
            Body::Text(text) if self.side != Side::Model => Content::Text(text),
            Body::Parts(array) => Content::Parts {
                array,
                texts: self.texts.clone(),
            },
            // A turn of the model's grows by the items that follow.
            _ => Content::Parts {
                array: Container::default(),
                texts: self.texts.clone(),
            },
        }
    }
}

/// Reads the item of this index. One of an unknown kind is the upstream's to judge.
pub fn read(reader: &mut BodyReader<'_>, i: usize) -> Result<Item> {
    let start_of = |reader: &mut BodyReader<'_>| -> Result<usize> {
        reader.scanner.peek()?;
        Ok(reader.scanner.offset())
    };
    let start = start_of(reader)?;
    if reader.scanner.peek()? != Kind::Object {
        let span = reader.scanner.skip()?;
        return Ok(unknown(span));
    }
    let (mut role, mut kind, mut body, mut texts) = (None, None, Body::Absent, Vec::new());
    let (mut role_seen, mut content_seen, mut has_call_id) = (false, false, false);
    let mut object = reader.scanner.open()?;
    while let Some(key) = reader.scanner.next_key(&mut object)? {
        match &*key.bytes(reader.json) {
            b"role" if reader.scanner.peek()? == Kind::String => {
                once(&mut role_seen, format_args!("input[{i}].role"), key)?;
                role = Some(reader.scanner.text()?);
            }
            b"type" if reader.scanner.peek()? == Kind::String => {
                kind = Some(reader.scanner.text()?);
            }
            b"content" => match reader.scanner.peek()? {
                Kind::String => {
                    once(&mut content_seen, format_args!("input[{i}].content"), key)?;
                    let text = reader.scanner.text()?;
                    texts.push(text);
                    body = Body::Text(text);
                }
                Kind::Array => {
                    once(&mut content_seen, format_args!("input[{i}].content"), key)?;
                    body = Body::Parts(parts(reader, &mut texts, i)?);
                }
                _ => drop(reader.scanner.skip()?),
            },
            name => {
                has_call_id |= name == b"call_id";
                reader.scanner.skip()?;
            }
        }
    }
    let span = Span {
        start,
        end: object.span.end,
    };
    let kind = kind.map(|kind| kind.decode(reader.json));
    let kind = kind.as_deref().unwrap_or("message");
    let role = role.map(|role| Role::parse(&role.bytes(reader.json)));
    let side = match (kind, role) {
        ("message", Some(Role::User)) => Side::User,
        ("message", Some(role)) if role.is_system() => Side::Instructions,
        ("additional_tools", _) => Side::Instructions,
        (kind, _) if kind.ends_with("_output") => Side::Tool,
        _ => Side::Model,
    };
    if side == Side::Tool || kind != "message" {
        texts.clear();
    }
    Ok(Item {
        span,
        side,
        is_call: kind.ends_with("_call") && has_call_id && side == Side::Model,
        brings_tools: matches!(kind, "additional_tools" | "tool_search_output"),
        is_trigger: kind == "compaction_trigger",
        body,
        texts,
    })
}

fn unknown(span: Span) -> Item {
    Item {
        span,
        side: Side::Model,
        is_call: false,
        brings_tools: false,
        is_trigger: false,
        body: Body::Absent,
        texts: Vec::new(),
    }
}

fn parts(reader: &mut BodyReader<'_>, texts: &mut Vec<Text>, i: usize) -> Result<Container> {
    let mut array = reader.scanner.open()?;
    while reader.scanner.next_element(&mut array)? {
        if reader.scanner.peek()? != Kind::Object {
            reader.scanner.skip()?;
            continue;
        }
        let (j, mut seen) = (array.len - 1, false);
        let mut part = reader.scanner.open()?;
        while let Some(key) = reader.scanner.next_key(&mut part)? {
            match &*key.bytes(reader.json) {
                b"text" if reader.scanner.peek()? == Kind::String => {
                    once(&mut seen, format_args!("input[{i}].content[{j}].text"), key)?;
                    texts.push(reader.scanner.text()?);
                }
                _ => drop(reader.scanner.skip()?),
            }
        }
    }
    Ok(array)
}

/// What of an item tells it from others.
#[derive(Debug, Clone)]
pub struct Known {
    pub span: Span,
    pub kind: String,
    /// `id`, which the upstream gave it.
    pub id: String,
    pub call_id: String,
    pub name: String,
    pub arguments: String,
    pub status: String,
    /// Whether it belongs to a group of tools, which only the client's do, but for that which templates know.
    pub has_namespace: bool,
}

impl Known {
    /// Whether it is a call that the gateway runs.
    pub fn is_ours(&self, owners: &Owners) -> bool {
        self.is_function() && owners.of(&self.name, true) == Owner::Gateway
    }

    /// Whether it is a call of a function, in whichever words a server has for one.
    fn is_function(&self) -> bool {
        const KINDS: [&str; 3] = ["function_call", "tool_call", "tool_use"];
        KINDS.contains(&&*self.kind) && !self.has_namespace
    }

    /// Whether it may yet turn out to be a call of the gateway's: its name comes later.
    pub fn is_nameless(&self) -> bool {
        self.name.is_empty() && self.is_function()
    }

    /// Whether it is a call that somebody outside the upstream has to answer.
    pub fn awaits_answer(&self) -> bool {
        let is_call = self.kind.ends_with("_call");
        let is_known = !self.call_id.is_empty() || self.kind == "function_call";
        (is_call && is_known) || self.is_function()
    }
}

/// The item that `json` is.
pub fn known(json: &[u8]) -> Option<Known> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let text = |name: &str| match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    value.is_object().then(|| Known {
        span: Span {
            start: 0,
            end: json.len(),
        },
        kind: text("type"),
        id: text("id"),
        call_id: text("call_id"),
        name: text("name"),
        arguments: text("arguments"),
        status: text("status"),
        has_namespace: !matches!(text("namespace").as_str(), "" | "functions" | "default_api"),
    })
}

/// The items of the array that `json` is, each at its place in it.
pub fn list(json: &[u8]) -> Vec<Known> {
    let Ok(mut scanner) = Scanner::new(json, MAX_DEPTH) else {
        return Vec::new();
    };
    let spans = elements(&mut scanner, |scanner| {
        scanner.peek()?;
        let start = scanner.offset();
        Members::read(json, scanner, |scanner, _| scanner.skip().map(drop))?;
        let end = scanner.offset();
        Ok(Span { start, end })
    });
    let known = spans.unwrap_or_default().into_iter().filter_map(|span| {
        let found = known(&json[span.range()])?;
        Some(Known { span, ..found })
    });
    known.collect()
}
