//! Responses.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{MODEL, Speaking, describe, said, stream, tokens};

pub async fn answer(State(words): State<Speaking>, Json(request): Json<Value>) -> Response {
    let mut messages = Vec::new();
    if let Some(instructions) = request["instructions"].as_str() {
        messages.push(("instructions".to_owned(), instructions.to_owned()));
    }
    match &request["input"] {
        Value::String(input) => messages.push(("user".to_owned(), input.clone())),
        items => messages.extend(said(items)),
    }
    let text = describe(words, &messages);
    let part = json!({ "type": "output_text", "text": text, "annotations": [] });
    let item = json!({
        "type": "message", "id": "msg_demo", "role": "assistant", "status": "completed",
        "content": [part],
    });
    let (input, output) = (tokens(&request["input"].to_string()), tokens(&text));
    let whole = json!({
        "id": "resp_demo", "object": "response", "created_at": 0, "model": MODEL,
        "status": "completed", "error": null, "incomplete_details": null, "output": [item],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": input + output,
        },
    });
    match request["stream"] == json!(true) {
        true => stream(events(&whole, &text)).into_response(),
        false => Json(whole).into_response(),
    }
}

fn events(whole: &Value, text: &str) -> Vec<(Option<&'static str>, String)> {
    let with = |value: &Value, changed: Value| {
        let mut value = value.clone();
        for (name, changed) in changed.as_object().into_iter().flatten() {
            value[name] = changed.clone();
        }
        value
    };
    let item = &whole["output"][0];
    let part = &item["content"][0];
    let begun = with(
        whole,
        json!({ "status": "in_progress", "output": [], "usage": null }),
    );
    let item_begun = with(item, json!({ "status": "in_progress", "content": [] }));
    let at = json!({ "item_id": "msg_demo", "output_index": 0, "content_index": 0 });
    let events = [
        ("response.created", json!({ "response": begun })),
        (
            "response.output_item.added",
            json!({ "output_index": 0, "item": item_begun }),
        ),
        (
            "response.content_part.added",
            with(&at, json!({ "part": with(part, json!({ "text": "" })) })),
        ),
        (
            "response.output_text.delta",
            with(&at, json!({ "delta": text, "logprobs": [] })),
        ),
        (
            "response.output_text.done",
            with(&at, json!({ "text": text, "logprobs": [] })),
        ),
        (
            "response.content_part.done",
            with(&at, json!({ "part": part })),
        ),
        (
            "response.output_item.done",
            json!({ "output_index": 0, "item": item }),
        ),
        ("response.completed", json!({ "response": whole })),
    ];
    let numbered = events
        .into_iter()
        .enumerate()
        .map(|(number, (name, data))| {
            let data = with(&data, json!({ "type": name, "sequence_number": number }));
            (Some(name), data.to_string())
        });
    numbered.collect()
}
