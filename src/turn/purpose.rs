//! What a request is for: what it says itself, else what the rules say of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::PrepareContext;
use super::options::header;
use crate::dialect::{Message, Request, Role, Withheld};
use crate::error::ApiError;
use crate::purpose::{BY_REQUEST, Rules, Seen, Subject};
use crate::wire::json::Literal;

#[cfg(test)]
mod tests;

static PURPOSE: HeaderName = HeaderName::from_static("x-yychat-purpose");

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A person's, or an app's own.
    Chat,
    /// An errand of a front end, by the rule of that name.
    Auxiliary(Arc<str>),
}

impl Purpose {
    /// # Errors
    ///
    /// 400 for an `X-YYChat-Purpose` that is neither.
    pub fn of(context: &PrepareContext<'_>, request: &Request) -> Result<Self, ApiError> {
        match header(context.headers, &PURPOSE)?.as_deref() {
            None => {}
            Some("chat") => return Ok(Self::Chat),
            Some("auxiliary") => return Ok(Self::Auxiliary(BY_REQUEST.into())),
            Some(word) => {
                return Err(ApiError::bad_request(format!(
                    "X-YYChat-Purpose is `{word}`. Send `chat` or `auxiliary`."
                ))
                .param("X-YYChat-Purpose"));
            }
        }
        let rule = judge(&context.snapshot.purposes, context.headers, request);
        Ok(rule.map_or(Self::Chat, Self::Auxiliary))
    }

    /// The rule by which it is auxiliary.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Chat => None,
            Self::Auxiliary(rule) => Some(rule),
        }
    }

    /// The value of `x-yychat-purpose`: `chat`, or `auxiliary;rule=open-webui-title`.
    pub fn header(&self) -> Cow<'static, str> {
        match self {
            Self::Chat => "chat".into(),
            Self::Auxiliary(rule) => format!("auxiliary;rule={rule}").into(),
        }
    }
}

/// The name of the rule by which a request is auxiliary.
fn judge(rules: &Rules, headers: &HeaderMap, request: &Request) -> Option<Arc<str>> {
    let told = OnceCell::new();
    let metadata = |name: &str| {
        let told = told.get_or_init(|| metadata(headers, request));
        let mut told = told.iter();
        told.find_map(|told| Some(told.get(name)?.as_str()?.to_owned()))
    };
    let options = request.options();
    let subject = Subject {
        brings_tools: options.tools > 0 || !options.tool_names.is_empty(),
        stream: options.stream,
        output_limit: output_limit(request),
        metadata: &metadata,
        answer_members: &|| answer_members(request),
        seen: Seen::default(),
        headers,
        user: user(request),
        leading: leading_system(request),
        trailing: trailing_system(request),
        has_history: has_history(request),
        has_answer_schema: has_answer_schema(request),
    };
    rules.judge(&subject).map(|rule| rule.name.clone())
}

fn literals<'a>(
    request: &'a Request,
    messages: impl Iterator<Item = &'a Message>,
) -> Vec<Literal<'a>> {
    messages
        .flat_map(|message| message.content.texts())
        .map(|text| Literal::new(request.body(), *text))
        .collect()
}

/// The messages that the user sent since the model spoke last. Some front ends put an instruction of
/// their own before what the user said.
fn user(request: &Request) -> Vec<Literal<'_>> {
    let messages = request.messages();
    let until = request.last_user().map_or(0, |last| last + 1);
    let is_user = |message: &&Message| message.role == Role::User;
    let last = messages[..until].iter().rev().take_while(is_user);
    literals(request, last)
}

/// How many tokens an answer may have.
fn output_limit(request: &Request) -> Option<u64> {
    let names = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let mut limits = names.into_iter().filter_map(|name| {
        let limit = request.member(name)?;
        serde_json::from_slice(limit).ok()
    });
    limits.next()
}

/// What a request says of itself: in `metadata`, in `client_metadata`, and in what Codex tells of its
/// turn, there or in a header.
fn metadata(headers: &HeaderMap, request: &Request) -> Vec<Map<String, Value>> {
    static TURN: HeaderName = HeaderName::from_static("x-codex-turn-metadata");
    let object = |json: &[u8]| serde_json::from_slice::<Map<String, Value>>(json).ok();
    let told = ["metadata", "client_metadata"].map(|name| object(request.member(name)?));
    let mut told: Vec<_> = told.into_iter().flatten().collect();
    let inner = told.iter().filter_map(|told| {
        let turn = told.get(TURN.as_str())?.as_str()?;
        object(turn.as_bytes())
    });
    let inner: Vec<_> = inner.collect();
    let turn = headers.get(&TURN).and_then(|turn| object(turn.as_bytes()));
    told.extend(turn);
    told.extend(inner);
    told
}

/// The system messages before the first of the others. Those between belong to what was said before.
fn leading_system(request: &Request) -> Vec<Literal<'_>> {
    let leading = request.leading_system();
    literals(request, request.messages()[..leading].iter())
}

/// The system messages behind the last of the others.
fn trailing_system(request: &Request) -> Vec<Literal<'_>> {
    let rest = &request.messages()[request.leading_system()..];
    let is_system = |message: &&Message| message.role.is_system();
    literals(request, rest.iter().rev().take_while(is_system))
}

fn has_history(request: &Request) -> bool {
    // What stands behind the last words of the user is the beginning of the answer.
    let until = request.last_user().unwrap_or(request.messages().len());
    let mut messages = request.messages()[..until].iter();
    let is_there = |name| !matches!(request.member(name), None | Some(b"null"));
    messages.any(|message| message.role == Role::Assistant)
        || is_there("previous_response_id")
        || is_there("conversation")
}

/// What a request says of the answer's form. Chat has it in `response_format`, Responses in `text`,
/// Messages in `output_config` or `output_format`.
fn formats(request: &Request) -> Vec<Value> {
    let value = |name| serde_json::from_slice::<Value>(request.member(name)?).ok();
    let direct = ["response_format", "output_format"].into_iter();
    let inner = ["text", "output_config"].into_iter();
    let inner = inner.filter_map(|name| Some(value(name)?.get_mut("format")?.take()));
    direct.filter_map(value).chain(inner).collect()
}

fn has_answer_schema(request: &Request) -> bool {
    let formats = formats(request);
    let mut kinds = formats.iter().filter_map(|it| it.get("type")?.as_str());
    kinds.any(|kind| !matches!(kind, "" | "text"))
}

/// The members of the answer's schema, or the arguments of the one tool that the client brings and that
/// has to be called.
fn answer_members(request: &Request) -> Vec<String> {
    let formats = formats(request);
    let mut schemas = formats.iter().filter_map(|it| {
        let nested = || it.get("json_schema")?.get("schema");
        it.get("schema").or_else(nested)
    });
    let options = request.options();
    let is_forced = options.withheld == Some(Withheld::ForcedChoice);
    let tools = match (options.tools, is_forced) {
        (1, true) => request.member("tools"),
        _ => None,
    };
    let tools = tools.and_then(|tools| serde_json::from_slice::<Value>(tools).ok());
    let of_tool = || {
        let tool = tools.as_ref()?.get(0)?;
        let tool = tool.get("function").unwrap_or(tool);
        tool.get("parameters").or_else(|| tool.get("input_schema"))
    };
    let schema = schemas.next().or_else(of_tool);
    let members = schema.and_then(|it| it.get("properties")?.as_object());
    members.map_or_else(Vec::new, |members| members.keys().cloned().collect())
}
