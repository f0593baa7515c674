//! What a request is for: what it says itself, else what the rules say of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::PrepareContext;
use super::options::header;
use crate::dialect::{Message, Request, Role};
use crate::error::ApiError;
use crate::purpose::{BY_REQUEST, Seen, Subject};
use crate::wire::json::Literal;

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
        let told = OnceCell::new();
        let metadata = |name: &str| {
            let told = told.get_or_init(|| metadata(context.headers, request));
            let mut told = told.iter();
            told.find_map(|told| Some(told.get(name)?.as_str()?.to_owned()))
        };
        let options = request.options();
        let subject = Subject {
            brings_tools: options.tools > 0 || !options.tool_names.is_empty(),
            stream: options.stream,
            output_limit: output_limit(request),
            metadata: &metadata,
            seen: Seen::default(),
            headers: context.headers,
            user: user(request),
            system: system(request),
            has_history: has_history(request),
            has_answer_schema: has_answer_schema(request),
        };
        let rule = context.snapshot.purposes.judge(&subject);
        Ok(rule.map_or(Self::Chat, |rule| Self::Auxiliary(rule.name.clone())))
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

/// The system messages at both ends: those in between belong to what was said before.
fn system(request: &Request) -> Vec<Literal<'_>> {
    let messages = request.messages();
    let is_system = |message: &&Message| message.role.is_system();
    let leading = messages.iter().take_while(is_system);
    let rest = &messages[request.leading_system()..];
    let trailing = rest.iter().rev().take_while(is_system);
    literals(request, leading.chain(trailing))
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

/// Chat has it in `response_format`, Responses in `text`, Messages in `output_config` or
/// `output_format`.
fn has_answer_schema(request: &Request) -> bool {
    #[derive(Deserialize)]
    struct Format<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Holder<'a> {
        #[serde(borrow)]
        format: Option<Format<'a>>,
    }
    let direct = ["response_format", "output_format"].into_iter();
    let direct = direct.filter_map(|name| serde_json::from_slice(request.member(name)?).ok()?);
    let inner = ["text", "output_config"].into_iter();
    let inner = inner.filter_map(|name| {
        let holder: Holder<'_> = serde_json::from_slice(request.member(name)?).ok()?;
        holder.format
    });
    let mut formats = direct.chain(inner);
    formats.any(|format: Format<'_>| !matches!(&*format.kind, "" | "text"))
}
