//! The demo's upstream: an OpenAI-compatible server in this process that answers by describing
//! what it received.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde_json::{Value, json};

const MODEL: &str = "demo";

/// Starts the upstream on a free loopback port, on a thread of its own that ends with the
/// program.
pub fn start() -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let router = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models));
    std::thread::Builder::new()
        .name("demo-upstream".into())
        .spawn(move || {
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            };
            if let Err(error) = runtime.block_on(serving) {
                tracing::error!(%error, "the demo's upstream ended");
            }
        })?;
    Ok(address)
}

async fn models() -> Json<Value> {
    Json(json!({
        "object": "list",
        "data": [{ "id": MODEL, "object": "model", "created": 0, "owned_by": "yychat" }],
    }))
}

async fn chat(Json(request): Json<Value>) -> Response {
    if let Some(call) = call(&request) {
        return stream(call).into_response();
    }
    let answer = describe(&request);
    if request["stream"] == json!(true) {
        stream(spoken(&answer)).into_response()
    } else {
        let choice = json!({
            "index": 0,
            "message": { "role": "assistant", "content": answer },
            "finish_reason": "stop",
        });
        Json(envelope(
            "chat.completion",
            choice,
            Some(usage(&request, &answer)),
        ))
        .into_response()
    }
}

/// What a model would have seen, in a sentence a message.
fn describe(request: &Value) -> String {
    let messages = request["messages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut lines = vec![format!(
        "I am the demo upstream. I received {} messages:",
        messages.len()
    )];
    for (number, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or("?");
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let said = match &message["tool_calls"] {
            Value::Null => excerpt(&text),
            calls => format!("calls {}", calls[0]["function"]),
        };
        lines.push(format!("{}. {role}: {said}", number + 1));
    }
    lines.join("\n")
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    const MOST: usize = 140;
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters = flat.chars().count();
    if characters <= MOST {
        return flat;
    }
    let start: String = flat.chars().take(MOST).collect();
    format!("{start}… ({characters} characters)")
}

/// What a model streams that would rather calculate than guess: a few words, then a call of the
/// calculator in pieces. Only for a streamed sum that it has not been given the result of.
fn call(request: &Value) -> Option<Vec<Value>> {
    let last = request["messages"].as_array()?.last()?;
    let sum = last["content"].as_str()?.strip_prefix("What is ")?;
    let (a, b) = sum.strip_suffix('?')?.split_once(" times ")?;
    let (a, b) = (a.parse::<u64>().ok()?, b.parse::<u64>().ok()?);
    if request["stream"] != json!(true) || last["role"] != "user" {
        return None;
    }
    let tools = request["tools"].as_array()?;
    tools
        .iter()
        .find(|tool| tool["function"]["name"] == "calculator")?;
    let arguments = json!({ "operation": "multiply", "a": a, "b": b }).to_string();
    let (start, rest) = arguments.split_at(arguments.len() / 2);
    let fragment = |function: Value| json!({ "tool_calls": [{ "index": 0, "id": "call_demo", "type": "function", "function": function }] });
    let mut events = vec![json!({ "role": "assistant", "content": "Let me calculate that. " })];
    events.push(fragment(
        json!({ "name": "calculator", "arguments": start }),
    ));
    events.push(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": rest } }] }));
    let mut events: Vec<_> = events
        .into_iter()
        .map(|event| delta(event, Value::Null))
        .collect();
    events.push(delta(json!({}), json!("tool_calls")));
    Some(events)
}

fn spoken(answer: &str) -> Vec<Value> {
    let mut events = vec![delta(
        json!({ "role": "assistant", "content": "" }),
        Value::Null,
    )];
    events.extend(
        answer
            .split_inclusive(' ')
            .map(|word| delta(json!({ "content": word }), Value::Null)),
    );
    events.push(delta(json!({}), json!("stop")));
    events
}

fn delta(delta: Value, finish: Value) -> Value {
    json!({ "index": 0, "delta": delta, "finish_reason": finish })
}

fn stream(choices: Vec<Value>) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let chunks = choices.into_iter().map(|choice| {
        Event::default().data(envelope("chat.completion.chunk", choice, None).to_string())
    });
    let end = std::iter::once(Event::default().data("[DONE]"));
    Sse::new(futures_util::stream::iter(chunks.chain(end).map(Ok)))
}

fn envelope(object: &str, choice: Value, usage: Option<Value>) -> Value {
    let mut envelope = json!({
        "id": "chatcmpl-demo",
        "object": object,
        "created": 0,
        "model": MODEL,
        "choices": [choice],
    });
    if let Some(usage) = usage {
        envelope["usage"] = usage;
    }
    envelope
}

/// Words stand in for tokens: the demo has no tokeniser, and says so by its model's name.
fn usage(request: &Value, answer: &str) -> Value {
    let prompt = request["messages"].to_string().split_whitespace().count();
    let completion = answer.split_whitespace().count();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    })
}
