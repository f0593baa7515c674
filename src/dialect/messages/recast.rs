//! A message as the events that would have told it, and the other way round.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::leg::Leg;
use crate::wire::frame::Event;

/// The events of a whole message.
pub fn streamed(whole: &[u8]) -> Option<Vec<Event>> {
    let mut message: Map<String, Value> = serde_json::from_slice(whole).ok()?;
    let content = match message.remove("content") {
        Some(Value::Array(content)) => content,
        Some(block @ Value::Object(_)) => vec![block],
        // As requests may have it, and some servers answer.
        Some(Value::String(text)) => vec![json!({ "type": "text", "text": text })],
        _ => {
            let error = message.get("error").filter(|error| !error.is_null())?;
            return Some(vec![told(json!({ "type": "error", "error": error }))]);
        }
    };
    let usage = message.get("usage").cloned();
    let mut ending = Map::new();
    for name in ["stop_reason", "stop_sequence"] {
        let known = message.insert(name.into(), Value::Null);
        ending.insert(name.into(), known.unwrap_or_default());
    }
    message.insert("content".into(), json!([]));
    let mut events = vec![told(json!({ "type": "message_start", "message": message }))];
    for (index, block) in content.into_iter().enumerate() {
        events.extend(of_block(index, block));
    }
    let mut end = json!({ "type": "message_delta", "delta": ending });
    if let Some(usage) = usage {
        end["usage"] = usage;
    }
    events.extend([told(end), told(json!({ "type": "message_stop" }))]);
    Some(events)
}

/// The events of one block.
fn of_block(index: usize, mut block: Value) -> Vec<Event> {
    let mut deltas = Vec::new();
    let mut text = |block: &mut Value, name: &str, kind: &str| {
        if let Some(value) = block.get_mut(name).filter(|value| value.is_string()) {
            let value = std::mem::replace(value, "".into());
            deltas.push(json!({ "type": kind, name: value }));
        }
    };
    match block["type"].as_str() {
        Some("text") => {
            text(&mut block, "text", "text_delta");
            let citations = block.get_mut("citations").map(Value::take);
            for citation in citations.iter().filter_map(Value::as_array).flatten() {
                deltas.push(json!({ "type": "citations_delta", "citation": citation }));
            }
        }
        Some("thinking") => {
            text(&mut block, "thinking", "thinking_delta");
            text(&mut block, "signature", "signature_delta");
        }
        Some(kind) if kind.ends_with("tool_use") => {
            if let Some(input) = block.get_mut("input").filter(|input| **input != json!({})) {
                let input = std::mem::replace(input, json!({}));
                let delta =
                    json!({ "type": "input_json_delta", "partial_json": input.to_string() });
                deltas.push(delta);
            }
        }
        _ => {}
    }
    let start = json!({ "type": "content_block_start", "index": index, "content_block": block });
    let deltas = deltas.into_iter();
    let deltas = deltas
        .map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    let stop = json!({ "type": "content_block_stop", "index": index });
    let events = [start].into_iter().chain(deltas).chain([stop]);
    events.map(told).collect()
}

fn told(event: Value) -> Event {
    let name = event["type"].as_str().unwrap_or_default().to_owned();
    Event::named(name, event.to_string())
}

/// The message that events have told; an error among them is all that there is.
pub fn gathered(events: &[Bytes]) -> Option<Bytes> {
    let (mut message, mut leg) = (None, Leg::default());
    let mut has_ended = false;
    for data in events {
        let Ok(mut event) = serde_json::from_slice::<Value>(data) else {
            continue;
        };
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => {
                leg.add_usage(&event["message"]["usage"]);
                message = match event["message"].take() {
                    Value::Object(message) => Some(message),
                    _ => return None,
                };
            }
            "message_delta" => {
                leg.add_usage(&event["usage"]);
                has_ended |= event["delta"]["stop_reason"].is_string();
                if let (Some(message), Value::Object(delta)) = (&mut message, event["delta"].take())
                {
                    message.extend(delta);
                }
            }
            "message_stop" => has_ended = true,
            "error" => return Some(data.clone()),
            _ => leg.keep(data),
        }
    }
    let mut message = message.filter(|_| has_ended && leg.is_whole())?;
    if leg.usage.is_object() {
        message.insert("usage".into(), leg.usage.clone());
    }
    let blocks = leg.blocks().into_iter();
    let blocks = blocks.filter_map(|block| serde_json::from_slice(&block).ok());
    message.insert("content".into(), Value::Array(blocks.collect()));
    Some(Value::Object(message).to_string().into())
}
