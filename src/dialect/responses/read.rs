//! Reading a copy of an answer.

use memchr::memmem;
use serde_json::Value;

use super::ending::is_end;
use crate::dialect::answer::{Answer, Usage, Wanted, believed};

/// Gathers an [`Answer`] from the events of a stream, or from a whole body. It never errs: what it
/// cannot read it leaves, and says so.
///
/// What was said is told whole by the event that ends a stream, so that the pieces are only counted.
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
        let Some(kind) = kind(data) else {
            self.answer.unreadable = true;
            return;
        };
        if kind.ends_with(".delta") {
            self.answer.content_events += 1;
            return;
        }
        if !is_end(&kind) && !matches!(kind.as_str(), "response.created" | "error") {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            self.answer.unreadable = true;
            return;
        };
        match kind.as_str() {
            "error" => self.answer.has_error = true,
            _ => self.response(&event["response"]),
        }
    }

    /// Reads a whole body, in place of what was read before.
    pub fn whole(&mut self, body: &[u8]) {
        self.answer = Answer::default();
        match serde_json::from_slice::<Value>(body) {
            Ok(response) => self.response(&response),
            Err(_) => self.answer.unreadable = true,
        }
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

    fn response(&mut self, response: &Value) {
        let text = |name: &str| response[name].as_str().map(str::to_owned);
        let answer = &mut self.answer;
        answer.id = text("id").or(answer.id.take());
        answer.model = text("model").or(answer.model.take());
        answer.has_error |= !response["error"].is_null();
        answer.text.clear();
        answer.refusal.clear();
        for item in response["output"].as_array().into_iter().flatten() {
            self.item(item);
        }
        self.usage(&response["usage"]);
        let answer = &mut self.answer;
        match response["status"].as_str() {
            Some("in_progress" | "queued") | None => {}
            Some(status) => {
                answer.ended_by_itself = status == "completed" && !answer.has_tool_calls;
                answer.finish_reason = Some(status.to_owned());
            }
        }
    }

    fn item(&mut self, item: &Value) {
        let kind = item["type"].as_str().unwrap_or_default();
        let awaits = item["call_id"].is_string() && kind.ends_with("_call");
        self.answer.has_tool_calls |= awaits;
        self.answer.content_events += 1;
        // What is said on the way to an answer is none.
        if kind != "message" || item["phase"] == "commentary" {
            return;
        }
        self.answer.role = item["role"].as_str().map(str::to_owned);
        let limit = self.wanted.text_limit();
        for part in item["content"].as_array().into_iter().flatten() {
            if let Some(text) = part["text"]
                .as_str()
                .filter(|_| part["type"] == "output_text")
            {
                self.answer.say(text, limit);
            }
            if let Some(refusal) = part["refusal"].as_str() {
                self.answer.refuse(refusal, limit);
            }
        }
    }

    fn usage(&mut self, usage: &Value) {
        let number = |name: &str| usage[name].as_u64().and_then(believed);
        let told = Usage {
            prompt_tokens: number("input_tokens"),
            completion_tokens: number("output_tokens"),
            total_tokens: number("total_tokens"),
            cached_tokens: usage["input_tokens_details"]["cached_tokens"]
                .as_u64()
                .and_then(believed),
        };
        if told != Usage::default() {
            self.answer.usage = Some(told);
        }
    }
}

/// The `type` of an event, found without reading the rest where it stands in front.
fn kind(data: &[u8]) -> Option<String> {
    const FRONT: &[u8] = b"{\"type\":\"";
    if let Some(rest) = data.strip_prefix(FRONT)
        && let Some(end) = memchr::memchr2(b'"', b'\\', rest)
        && rest[end] == b'"'
    {
        return std::str::from_utf8(&rest[..end]).ok().map(str::to_owned);
    }
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(default)]
        r#type: String,
    }
    memmem::find(data, b"{")?;
    let event: Event = serde_json::from_slice(data).ok()?;
    Some(event.r#type)
}
