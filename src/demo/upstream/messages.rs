//! Messages.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{MODEL, Speaking, describe, said, stream, tokens};

pub async fn answer(State(words): State<Speaking>, Json(request): Json<Value>) -> Response {
    let system = json!([{ "role": "system", "content": request["system"] }]);
    let mut messages = match &request["system"] {
        Value::Null => Vec::new(),
        _ => said(&system),
    };
    messages.extend(said(&request["messages"]));
    let text = describe(words, &messages);
    let usage = json!({
        "input_tokens": tokens(&request["messages"].to_string()), "output_tokens": tokens(&text),
    });
    let mut whole = json!({
        "id": "msg_demo", "type": "message", "role": "assistant", "model": MODEL,
        "content": [{ "type": "text", "text": text }],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": usage,
    });
    if request["stream"] != json!(true) {
        return Json(whole).into_response();
    }
    whole["content"] = json!([]);
    whole["stop_reason"] = Value::Null;
    let block = json!({ "type": "text", "text": "" });
    let delta = json!({ "type": "text_delta", "text": text });
    let end = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let events = [
        ("message_start", json!({ "message": whole })),
        (
            "content_block_start",
            json!({ "index": 0, "content_block": block }),
        ),
        ("content_block_delta", json!({ "index": 0, "delta": delta })),
        ("content_block_stop", json!({ "index": 0 })),
        ("message_delta", json!({ "delta": end, "usage": usage })),
        ("message_stop", json!({})),
    ];
    let events = events.into_iter().map(|(name, mut data)| {
        data["type"] = json!(name);
        (Some(name), data.to_string())
    });
    stream(events.collect()).into_response()
}
