//! What a server says in one frame.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::ApiError;

/// What was heard of a response.
#[derive(Debug, Default)]
pub struct Heard {
    id: Option<String>,
    items: Vec<(u64, Bytes)>,
    ended: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It can be gone on from.
    Whole,
    Failed,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    output_index: Option<u64>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response {
    id: Option<String>,
}

impl Heard {
    /// Hears an event.
    pub fn event(&mut self, data: &Bytes) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return;
        };
        if let (None, Some(response)) = (&self.id, event.response) {
            let response = serde_json::from_str::<Response>(response.get());
            self.id = response.ok().and_then(|response| response.id);
        }
        match event.r#type.as_str() {
            "response.output_item.done" => {
                if let (Some(index), Some(item)) = (event.output_index, event.item) {
                    let item = data.slice_ref(item.get().as_bytes());
                    self.items.push((index, item));
                }
            }
            "response.completed" | "response.incomplete" => self.ended = Some(End::Whole),
            "response.failed" | "error" => self.ended = Some(End::Failed),
            _ => {}
        }
    }

    /// Whether nothing follows.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The id and the items of a response that can be gone on from.
    pub fn into_said(mut self) -> Option<(String, impl Iterator<Item = Bytes>)> {
        if self.ended != Some(End::Whole) {
            return None;
        }
        self.items.sort_by_key(|(index, _)| *index);
        Some((self.id?, self.items.into_iter().map(|(_, item)| item)))
    }
}

/// The event with the name of its lane.
pub fn in_lane(event: Bytes, lane: Option<&str>) -> Bytes {
    match lane {
        None => event,
        Some(lane) => with_member(&event, "stream_id", &Value::from(lane).to_string()),
    }
}

/// The event that tells of an answer which is an error. `body` is that answer's.
pub fn error_event(status: u16, body: &[u8], fields: &[(String, String)]) -> Bytes {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    let fields = fields
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()));
    let fields = Value::Object(fields.collect()).to_string();
    let said = serde_json::from_slice::<Body<'_>>(body).ok();
    let said = said.filter(|body| body.error.get().starts_with('{'));
    let error = match said {
        Some(body) => Bytes::copy_from_slice(body.error.get().as_bytes()),
        None => {
            let text = String::from_utf8_lossy(body);
            let error =
                json!({ "type": "server_error", "code": null, "param": null, "message": text });
            error.to_string().into()
        }
    };
    // Some clients look for the fields beside the error, and some within it.
    let error = with_member(&error, "headers", &fields);
    let event = json!({ "type": "error", "status": status })
        .to_string()
        .into();
    let event = with_member(&event, "error", &String::from_utf8_lossy(&error));
    with_member(&event, "headers", &fields)
}

/// An answer over HTTP that is an error.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpError {
    pub status: u16,
    /// `error.code`, where there is one.
    pub code: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
}

/// The answer that says the same as an upstream's event of an error; `None` where that has no status.
pub fn http_error(event: &[u8]) -> Option<HttpError> {
    #[derive(Deserialize)]
    struct Told<'a> {
        r#type: String,
        #[serde(alias = "status_code")]
        status: u16,
        #[serde(borrow)]
        error: &'a RawValue,
        #[serde(default)]
        headers: serde_json::Map<String, Value>,
    }
    #[derive(Deserialize)]
    struct Coded {
        code: Option<String>,
    }
    let told: Told<'_> = serde_json::from_slice(event).ok()?;
    if told.r#type != "error" || !(400..600).contains(&told.status) {
        return None;
    }
    let coded = serde_json::from_str::<Coded>(told.error.get()).ok();
    let fields = told.headers.into_iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_text = |byte: u8| (b' '..0x7f).contains(&byte);
        // What frames the answer is not for the upstream to say.
        let is_framing = [
            "content-length",
            "content-type",
            "transfer-encoding",
            "connection",
        ]
        .contains(&name.to_ascii_lowercase().as_str());
        let is_valid = !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_text);
        (is_valid && !is_framing).then_some((name, value))
    });
    Some(HttpError {
        status: told.status,
        code: coded.and_then(|it| it.code),
        fields: fields.collect(),
        body: ["{\"error\":", told.error.get(), "}"].concat().into(),
    })
}

impl HttpError {
    /// As HTTP/1 has it on the wire.
    pub fn to_wire(&self) -> Bytes {
        let mut wire = format!(
            "HTTP/1.1 {} Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.fields {
            wire.push_str(&[name, ": ", value, "\r\n"].concat());
        }
        wire.push_str("\r\n");
        [wire.as_bytes(), &self.body].concat().into()
    }
}

/// The events of a response for which nothing had to be generated.
pub fn prewarmed(id: &str, model: Option<&str>, created_at: i64) -> [Bytes; 2] {
    let event = |kind: &str, number: u32, status: &str| {
        let usage = json!({
            "input_tokens": 0, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 0, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 0,
        });
        let response = json!({
            "id": id, "object": "response", "created_at": created_at, "status": status,
            "model": model, "output": [], "error": null, "incomplete_details": null,
            "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
            "usage": if status == "completed" { usage } else { Value::Null },
        });
        let event = json!({ "type": kind, "sequence_number": number, "response": response });
        event.to_string().into()
    };
    [
        event("response.created", 0, "in_progress"),
        event("response.completed", 1, "completed"),
    ]
}

/// The event of an error of the gateway's own.
pub fn own_error(error: &ApiError) -> Bytes {
    let wait = error.retry_after;
    let wait = wait.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
    error_event(error.status.as_u16(), &error.body(), wait.as_slice())
}

/// An object with one more member.
fn with_member(object: &Bytes, name: &str, value: &str) -> Bytes {
    let end = object.iter().rposition(|byte| *byte == b'}');
    let Some(end) = end else {
        return object.clone();
    };
    let head = object[..end].trim_ascii_end();
    let comma = if head.ends_with(b"{") { "" } else { "," };
    let member = [comma, "\"", name, "\":", value].concat();
    [head, member.as_bytes(), &object[end..]].concat().into()
}
