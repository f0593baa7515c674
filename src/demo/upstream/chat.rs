//! Chat Completions, with a call of the calculator in mid-stream.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{MODEL, Speaking, describe, said, stream, tokens};
use crate::demo::words::{SUM, Words};

pub async fn answer(State(words): State<Speaking>, Json(request): Json<Value>) -> Response {
    if let Some(call) = call(words, &request) {
        return chunks(call).into_response();
    }
    let answer = describe(words, &said(&request["messages"]));
    if request["stream"] == json!(true) {
        return chunks(spoken(&answer)).into_response();
    }
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": answer },
        "finish_reason": "stop",
    });
    let mut whole = envelope("chat.completion", choice);
    let (prompt, completion) = (tokens(&request["messages"].to_string()), tokens(&answer));
    whole["usage"] = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    });
    Json(whole).into_response()
}

/// What a model streams that would rather calculate than guess: a few words, then a call of the
/// calculator in pieces. Only for the streamed sum that it has not been given the result of.
fn call(words: &Words, request: &Value) -> Option<Vec<Value>> {
    let last = request["messages"].as_array()?.last()?;
    if request["stream"] != json!(true) || last["content"] != words.sum || last["role"] != "user" {
        return None;
    }
    let mut tools = request["tools"].as_array()?.iter();
    tools.find(|tool| tool["function"]["name"] == "calculator")?;
    let arguments = json!({ "operation": "multiply", "a": SUM.0, "b": SUM.1 }).to_string();
    let (start, rest) = arguments.split_at(arguments.len() / 2);
    let begun = json!({ "name": "calculator", "arguments": start });
    let begun = json!({ "index": 0, "id": "call_demo", "type": "function", "function": begun });
    let rest = json!({ "index": 0, "function": { "arguments": rest } });
    Some(vec![
        delta(
            json!({ "role": "assistant", "content": words.calculating }),
            Value::Null,
        ),
        delta(json!({ "tool_calls": [begun] }), Value::Null),
        delta(json!({ "tool_calls": [rest] }), Value::Null),
        delta(json!({}), json!("tool_calls")),
    ])
}

fn spoken(answer: &str) -> Vec<Value> {
    let begun = delta(json!({ "role": "assistant", "content": "" }), Value::Null);
    let words = answer.split_inclusive(' ');
    let words = words.map(|word| delta(json!({ "content": word }), Value::Null));
    let end = delta(json!({}), json!("stop"));
    std::iter::once(begun).chain(words).chain([end]).collect()
}

fn delta(delta: Value, finish: Value) -> Value {
    json!({ "index": 0, "delta": delta, "finish_reason": finish })
}

fn chunks(choices: Vec<Value>) -> impl IntoResponse {
    let chunks = choices
        .into_iter()
        .map(|choice| (None, envelope("chat.completion.chunk", choice).to_string()));
    stream(chunks.chain([(None, "[DONE]".to_owned())]).collect())
}

fn envelope(object: &str, choice: Value) -> Value {
    json!({
        "id": "chatcmpl-demo",
        "object": object,
        "created": 0,
        "model": MODEL,
        "choices": [choice],
    })
}
