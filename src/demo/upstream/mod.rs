//! The demo's upstream: a model server in this process, with the three APIs, that answers by
//! describing what it received.

mod chat;
mod messages;
mod responses;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde_json::{Value, json};

use super::words::{Words, filled};

const MODEL: &str = "demo";

type Speaking = &'static Words;

/// Starts the upstream on a free loopback port, on a thread of its own that ends with the
/// program.
pub fn start(words: Speaking) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let router = Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/responses", post(responses::answer))
        .route("/v1/messages", post(messages::answer))
        .route("/v1/models", get(models))
        .with_state(words);
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

/// What a model would have seen, in a line for each (role, text).
fn describe(words: &Words, messages: &[(String, String)]) -> String {
    let lines = messages.iter().enumerate();
    let lines = lines
        .map(|(number, (role, text))| format!("{}. {role}: {}", number + 1, excerpt(words, text)));
    let mut all = vec![filled(words.received, messages.len())];
    all.extend(lines);
    all.join("\n")
}

/// Roles and texts of a list of messages, whose content is a text or a list of parts.
fn said(list: &Value) -> Vec<(String, String)> {
    let messages = list.as_array().map_or(&[][..], Vec::as_slice);
    let each = messages.iter().flat_map(|message| {
        let role = message["role"].as_str().unwrap_or("?");
        let texts = match (&message["content"], &message["tool_calls"]) {
            (_, Value::Array(calls)) => vec![format!("calls {}", calls[0]["function"])],
            (Value::Array(parts), _) => parts.iter().map(text).collect(),
            (content, _) => vec![text(content)],
        };
        texts.into_iter().map(move |text| (role.to_owned(), text))
    });
    each.collect()
}

/// The text of a content, or of a part of one.
fn text(content: &Value) -> String {
    let text = content.as_str().or_else(|| content["text"].as_str());
    text.map_or_else(|| content.to_string(), str::to_owned)
}

/// The beginning of a text, on one line; of what is remembered, the records.
fn excerpt(words: &Words, text: &str) -> String {
    const MOST: usize = 140;
    if text.starts_with("<memory>") {
        let records = text.lines().filter(|line| line.starts_with("- "));
        let records: Vec<_> = records.collect();
        return format!("<memory> … {} </memory>", records.join(" "));
    }
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters = flat.chars().count();
    if characters <= MOST {
        return flat;
    }
    let start: String = flat.chars().take(MOST).collect();
    format!("{start}… ({characters} {})", words.characters)
}

/// Events with their names and data, as they are sent.
fn stream(events: Vec<(Option<&'static str>, String)>) -> Sse<impl Stream<Item = Sent> + use<>> {
    let events = events.into_iter().map(|(name, data)| {
        let event = Event::default().data(data);
        Ok(match name {
            Some(name) => event.event(name),
            None => event,
        })
    });
    Sse::new(futures_util::stream::iter(events))
}

type Sent = Result<Event, Infallible>;

/// How many words stand in for tokens: the demo has no tokeniser, and says so by its model's name.
fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}
