//! What an upstream said, in whole or so far.

use super::chat::completion::{Choice, Completion, Content};
use crate::wire::json::Text;

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

    /// Reads of a whole JSON answer what it cost, and no more where that is found without the rest.
    pub fn of_usage(json: &[u8]) -> Self {
        match Usage::at_end(json) {
            Some(usage) => Self {
                usage: Some(usage),
                ..Self::default()
            },
            None => Self::from_json(json, 0),
        }
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
        match Completion::read(json) {
            Ok(completion) => self.add(json, &completion, text_limit),
            Err(_) => self.unreadable = true,
        }
    }

    fn add(&mut self, json: &[u8], completion: &Completion, text_limit: usize) {
        set(&mut self.id, json, completion.id);
        set(&mut self.model, json, completion.model);
        let is_error = |object: Text| &*object.bytes(json) == b"error";
        self.has_error |= completion.has_error || completion.object.is_some_and(is_error);
        if completion.usage.is_some() {
            self.usage = completion.usage;
        }
        let mut said = false;
        for choice in &completion.choices {
            said |= choice.says_something();
            self.has_tool_calls |= choice.has_tool_calls;
            if choice.index == 0 {
                said |= self.add_choice(json, choice, text_limit);
            }
        }
        self.content_events += u64::from(said);
    }

    /// Adds what the choice says; whether that was a refusal.
    fn add_choice(&mut self, json: &[u8], choice: &Choice, text_limit: usize) -> bool {
        set(&mut self.role, json, choice.role);
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason.decode(json).into_owned());
        }
        let texts = match &choice.content {
            Content::Nothing => &[],
            Content::Text(text) => std::slice::from_ref(text),
            Content::Parts { texts, .. } => texts.as_slice(),
        };
        for text in texts {
            if text_limit == 0 {
                // Spares the decoding where nobody wants the text.
                self.truncated |= !text.is_empty();
                continue;
            }
            self.truncated |= push(&mut self.text, &text.decode(json), text_limit);
        }
        let refusal = choice.refusal.filter(|refusal| !refusal.is_empty());
        if let Some(refusal) = refusal {
            self.truncated |= push(&mut self.refusal, &refusal.decode(json), text_limit);
        }
        refusal.is_some()
    }
}

/// Appends what fits of `more`; true when some did not.
fn push(text: &mut String, more: &str, limit: usize) -> bool {
    let room = limit.saturating_sub(text.len());
    let fits = more.floor_char_boundary(room);
    text.push_str(&more[..fits]);
    fits < more.len()
}

/// The first value stands: later events only repeat it.
fn set(field: &mut Option<String>, json: &[u8], value: Option<Text>) {
    if field.is_none() {
        *field = value.map(|text| text.decode(json).into_owned());
    }
}
