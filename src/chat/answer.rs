//! What an upstream said, in whole or so far.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The facts of one chat completion, read from a whole JSON answer or gathered from a stream.
///
/// Where there are several choices it tells of the one with index 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// `id` of the completion.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Who speaks, `assistant` as a rule.
    pub role: Option<String>,
    /// What was said, up to a limit.
    pub text: String,
    /// Whether there was more text than the limit.
    pub truncated: bool,
    /// Why the model would not say it, within the same limit.
    pub refusal: String,
    /// `stop`, `length`, `tool_calls`, `content_filter`, or one of the upstream's own.
    pub finish_reason: Option<String>,
    /// What it cost, where the upstream says.
    pub usage: Option<Usage>,
    /// Whether it asks for tool calls, in any choice.
    pub has_tool_calls: bool,
    /// Whether it is, or holds, an error.
    pub has_error: bool,
    /// How many events brought something said: text, reasoning, a refusal, a tool call.
    pub content_events: u64,
    /// Whether some of it could not be read, so that the rest of this is what came before.
    pub unreadable: bool,
}

/// Tokens counted by the upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub total_tokens: Option<u64>,
    /// Those of the prompt that the upstream had cached.
    pub cached_tokens: Option<u64>,
}

impl Answer {
    /// Reads a whole JSON answer, keeping `text_limit` bytes of text. One that cannot be read
    /// comes back as [`Answer::unreadable`].
    pub fn from_json(json: &[u8], text_limit: usize) -> Self {
        let mut answer = Self::default();
        answer.read(json, text_limit);
        answer
    }

    /// Whether it may be stored as what the assistant said: it ended by itself, and all of it was
    /// read. An answer that ran into its token limit (`length`) breaks off in mid-sentence, and is
    /// as partial as one whose connection broke.
    ///
    /// For a stream, that its connection ended cleanly is for the caller to add.
    pub fn is_complete(&self) -> bool {
        self.finish_reason.as_deref() == Some("stop") && !self.has_error && !self.unreadable
    }

    /// Adds what `json` tells: a whole answer, or the data of one stream event.
    pub(super) fn read(&mut self, json: &[u8], text_limit: usize) {
        match serde_json::from_slice::<Completion>(json) {
            Ok(completion) => self.add(completion, text_limit),
            Err(_) => self.unreadable = true,
        }
    }

    fn add(&mut self, completion: Completion<'_>, text_limit: usize) {
        set(&mut self.id, completion.id);
        set(&mut self.model, completion.model);
        self.has_error |= completion.error.is_some();
        self.has_error |= completion.object.is_some_and(|object| object.0 == "error");
        if let Some(usage) = completion.usage.and_then(read_usage) {
            self.usage = Some(usage);
        }
        let mut said = false;
        for choice in completion.choices.into_iter().flatten() {
            let message = choice.delta.or(choice.message).unwrap_or_default();
            let calls = message.tool_calls.is_some_and(|calls| !calls.is_empty());
            let calls = calls || message.function_call.is_some();
            let thought = [message.reasoning_content, message.reasoning];
            said |= calls || thought.into_iter().flatten().any(is_text);
            said |= message.content.as_ref().is_some_and(Content::is_something);
            self.has_tool_calls |= calls;
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            set(&mut self.role, message.role);
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.0.is_empty()) {
                self.finish_reason = Some(reason.0.into_owned());
            }
            if let Some(content) = message.content {
                self.add_content(content, text_limit);
            }
            if let Some(refusal) = message.refusal.filter(|refusal| !refusal.0.is_empty()) {
                self.truncated |= push(&mut self.refusal, &refusal.0, text_limit);
                said = true;
            }
        }
        self.content_events += u64::from(said);
    }

    /// Adds `content`: a string, or parts of which some have text.
    fn add_content(&mut self, content: Content<'_>, text_limit: usize) {
        match content {
            Content::Text(text) => self.truncated |= push(&mut self.text, &text, text_limit),
            Content::Parts(parts) => {
                for text in parts.into_iter().filter_map(|part| part.text) {
                    self.truncated |= push(&mut self.text, &text.0, text_limit);
                }
            }
        }
    }
}

fn is_text(content: &RawValue) -> bool {
    !matches!(content.get(), r#""""# | "[]")
}

/// Appends what fits of `more`; true when some did not.
fn push(text: &mut String, more: &str, limit: usize) -> bool {
    let room = limit.saturating_sub(text.len());
    let fits = more.floor_char_boundary(room);
    text.push_str(&more[..fits]);
    fits < more.len()
}

/// The first value stands: later events only repeat it.
fn set(field: &mut Option<String>, value: Option<Str<'_>>) {
    if field.is_none() {
        *field = value.map(|text| text.0.into_owned());
    }
}

/// Usage of a shape that is not known is none.
fn read_usage(raw: &RawValue) -> Option<Usage> {
    let usage: RawUsage = serde_json::from_str(raw.get()).ok()?;
    let details = usage.prompt_tokens_details;
    let cached = details.and_then(|details| details.cached_tokens);
    Some(Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.total_tokens,
        cached_tokens: cached.or(usage.prompt_cache_hit_tokens),
    })
}

/// `chat.completion` and `chat.completion.chunk`, which differ in `message` and `delta` alone.
/// Absent and null are the same everywhere, as upstreams differ in which they write.
#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow)]
    id: Option<Str<'a>>,
    #[serde(borrow)]
    object: Option<Str<'a>>,
    #[serde(borrow)]
    model: Option<Str<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Spoken<'a>>,
    #[serde(borrow)]
    message: Option<Spoken<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Str<'a>>,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    role: Option<Str<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    refusal: Option<Str<'a>>,
    /// What DeepSeek and vLLM call the thinking before the answer.
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    /// What OpenRouter and Ollama call it.
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    /// vLLM writes an empty list where there are none.
    tool_calls: Option<Vec<IgnoredAny>>,
    function_call: Option<IgnoredAny>,
}

/// A message's `content`, read in one pass: most of an answer's bytes are in it.
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

impl Content<'_> {
    fn is_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Parts(parts) => !parts.is_empty(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Either<'a> {
            type Value = Content<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Content<'a>, E> {
                Ok(Content::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Content<'a>, E> {
                Ok(Content::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content<'a>, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = list.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct RawUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptTokens>,
    /// DeepSeek's name for the cached ones.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

/// A string that borrows where it can. (A `Cow` right inside an `Option` never does.)
#[derive(Deserialize)]
struct Str<'a>(#[serde(borrow)] Cow<'a, str>);
