//! Reading a copy of an answer.

use memchr::memmem;
use serde_json::Value;

use crate::dialect::answer::{Answer, Usage, Wanted, believed};

/// Gathers an [`Answer`] from the events of a stream, or from a whole body. It never errs: what it
/// cannot read it leaves, and says so.
#[derive(Debug)]
pub struct Reader {
    answer: Answer,
    wanted: Wanted,
}

impl Reader {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            answer: Answer::default(),
            wanted,
        }
    }

    /// Reads the data of an event.
    pub fn event(&mut self, data: &[u8]) {
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" || self.answer.unreadable {
            return;
        }
        let is_delta = memmem::find(data, b"\"content_block_delta\"").is_some();
        if is_delta && self.wanted.text_limit() == 0 {
            self.answer.content_events += 1;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            self.answer.unreadable = true;
            return;
        };
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.envelope(&event["message"]),
            "content_block_start" => self.block(&event["content_block"]),
            "content_block_delta" => {
                self.answer.content_events += 1;
                if event["delta"]["type"] == "text_delta"
                    && let Some(text) = event["delta"]["text"].as_str()
                {
                    self.answer.say(text, self.wanted.text_limit());
                }
            }
            "message_delta" => {
                self.reason(&event["delta"]["stop_reason"]);
                self.usage(&event["usage"]);
            }
            "error" => self.answer.has_error = true,
            _ => {}
        }
    }

    /// Reads a whole body, in place of what was read before.
    pub fn whole(&mut self, body: &[u8]) {
        self.answer = Answer::default();
        let Ok(message) = serde_json::from_slice::<Value>(body) else {
            self.answer.unreadable = true;
            return;
        };
        self.answer.has_error = message["type"] == "error" || !message["error"].is_null();
        self.envelope(&message);
        for block in message["content"].as_array().into_iter().flatten() {
            self.answer.content_events += 1;
            self.block(block);
        }
        self.reason(&message["stop_reason"]);
    }

    /// Stops reading.
    pub fn give_up(&mut self) {
        self.answer.unreadable = true;
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    pub fn finish(self) -> Answer {
        self.answer
    }

    fn envelope(&mut self, message: &Value) {
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        let answer = &mut self.answer;
        answer.id = answer.id.take().or_else(|| text("id"));
        answer.model = answer.model.take().or_else(|| text("model"));
        answer.role = answer.role.take().or_else(|| text("role"));
        self.usage(&message["usage"]);
    }

    fn block(&mut self, block: &Value) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                let limit = self.wanted.text_limit();
                let text = block["text"].as_str().unwrap_or_default();
                self.answer.say(text, limit);
            }
            "tool_use" => self.answer.has_tool_calls = true,
            _ => {}
        }
    }

    fn reason(&mut self, reason: &Value) {
        if let Some(reason) = reason.as_str() {
            self.answer.ended_by_itself = matches!(reason, "end_turn" | "stop_sequence");
            self.answer.finish_reason = Some(reason.to_owned());
        }
    }

    /// Later numbers take the place of earlier ones. Anthropic counts what was cached, and what was
    /// put into the cache, beside the rest of the prompt.
    fn usage(&mut self, told: &Value) {
        if !told.is_object() {
            return;
        }
        let number = |name: &str| told[name].as_u64().and_then(believed);
        let mut usage = self.answer.usage.unwrap_or_default();
        if let Some(input) = number("input_tokens") {
            let read = number("cache_read_input_tokens").unwrap_or(0);
            let written = number("cache_creation_input_tokens").unwrap_or(0);
            usage.prompt_tokens = Some(input + read + written);
            usage.cached_tokens = number("cache_read_input_tokens").or(usage.cached_tokens);
        }
        usage.completion_tokens = number("output_tokens").or(usage.completion_tokens);
        let sum = usage.prompt_tokens.zip(usage.completion_tokens);
        usage.total_tokens = sum.map(|(prompt, completion)| prompt + completion);
        self.answer.usage = (usage != Usage::default()).then_some(usage);
    }
}
