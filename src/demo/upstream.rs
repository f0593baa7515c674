//! The demo's upstream: an OpenAI-compatible server in this process that answers by describing
//! what it received.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
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
    let answer = describe(&request);
    if request["stream"] == json!(true) {
        stream(&answer).into_response()
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
        lines.push(format!("{}. {role}: {}", number + 1, excerpt(&text)));
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

fn stream(
    answer: &str,
) -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>> + use<>> {
    let delta = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        Event::default().data(envelope("chat.completion.chunk", choice, None).to_string())
    };
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
    events.push(Event::default().data("[DONE]"));
    Sse::new(futures_util::stream::iter(events.into_iter().map(Ok)))
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
