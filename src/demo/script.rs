//! The chat that the demo plays, as any app would: over HTTP, knowing only a `base_url`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use super::words::filled;
use super::{PERSONA, Screen};

const CHAT: &str = "chat/completions";

/// How far the play came, or why it broke off.
pub type Played<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Why the play broke off, with what lies beneath.
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Plays it against the API at `api`.
pub fn play(screen: &mut Screen, api: SocketAddr) -> Played<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = App {
            client: client()?,
            base_url: format!("http://{api}/v1"),
        };
        screen.line(&filled(screen.words.beginning, &app.base_url));
        without_persona(screen, &app).await?;
        with_persona(screen, &app).await?;
        streamed(screen, &app).await?;
        remembered(screen, &app).await?;
        calculated(screen, &app).await
    })
}

async fn without_persona(screen: &mut Screen, app: &App) -> Played<()> {
    let words = screen.words;
    screen.heading(words.nothing);
    let body = json!({ "use_tools": false, "messages": user(words.hello) });
    let answer = app.ask(screen, CHAT, body).await?;
    screen.line(&text_of(&answer));
    Ok(())
}

async fn with_persona(screen: &mut Screen, app: &App) -> Played<()> {
    let words = screen.words;
    screen.heading(words.persona);
    let body = json!({ "personality_id": PERSONA, "messages": user(words.hello) });
    let answer = app.ask(screen, CHAT, body).await?;
    screen.line(&text_of(&answer));
    Ok(())
}

async fn streamed(screen: &mut Screen, app: &App) -> Played<()> {
    let words = screen.words;
    screen.heading(words.streamed);
    let messages = user(words.hello);
    let body = json!({ "stream": true, "personality_id": PERSONA, "messages": messages });
    app.watch(screen, body).await
}

async fn calculated(screen: &mut Screen, app: &App) -> Played<()> {
    let words = screen.words;
    screen.heading(words.tool);
    let messages = user(words.sum);
    let body = json!({ "stream": true, "personality_id": PERSONA, "messages": messages });
    app.watch(screen, body).await
}

/// Told over one API, recalled over all three.
async fn remembered(screen: &mut Screen, app: &App) -> Played<()> {
    let words = screen.words;
    screen.heading(words.told);
    let fact = json!({
        "user": "ada", "conversation_id": "monday", "messages": user(words.fact),
    });
    app.ask(screen, CHAT, fact).await?;
    app.saved("ada").await?;
    let asked = user(words.question);
    for (path, name, mut body) in [
        (CHAT, "Chat Completions", json!({ "messages": asked })),
        ("responses", "Responses", json!({ "input": words.question })),
        (
            "messages",
            "Messages",
            json!({ "max_tokens": 200, "messages": asked }),
        ),
    ] {
        screen.heading(&filled(words.recalled, name));
        // As each API has it.
        match path {
            "messages" => body["metadata"] = json!({ "user_id": "ada" }),
            _ => body["user"] = json!("ada"),
        }
        let answer = app.ask(screen, path, body).await?;
        screen.line(&text_of(&answer));
    }
    Ok(())
}

/// A client for loopback alone: it trusts no authority, and so needs none on the machine.
fn client() -> Played<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder().no_proxy().tls_backend_preconfigured(tls);
    Ok(client.build()?)
}

struct App {
    client: Client,
    base_url: String,
}

impl App {
    async fn ask(&self, screen: &mut Screen, path: &str, body: Value) -> Played<Value> {
        Ok(self.post(screen, path, body).await?.json().await?)
    }

    /// Shows a streamed answer as it comes.
    async fn watch(&self, screen: &mut Screen, body: Value) -> Played<()> {
        let response = self.post(screen, CHAT, body).await?;
        let mut chunks = response.bytes_stream();
        let mut pending = Vec::new();
        while let Some(chunk) = chunks.next().await {
            pending.extend_from_slice(&chunk?);
            while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data: ")
                    && let Ok(event) = serde_json::from_slice::<Value>(data)
                {
                    let content = &event["choices"][0]["delta"]["content"];
                    screen.write(content.as_str().unwrap_or_default());
                }
            }
        }
        screen.line("");
        Ok(())
    }

    /// Waits until what the user said is on disk: saving is off the request's path.
    async fn saved(&self, user: &str) -> Played<()> {
        let url = format!("{}/memories?user_id={user}", self.base_url);
        for _ in 0..500 {
            let list: Value = self.client.get(&url).send().await?.json().await?;
            if list["total"].as_u64() > Some(0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the fact was not saved within five seconds".into())
    }

    async fn post(&self, screen: &mut Screen, path: &str, mut body: Value) -> Played<Response> {
        body["model"] = json!("demo");
        screen.request(&format!("> {body}"));
        let response = self
            .client
            .post(format!("{}/{path}", self.base_url))
            .json(&body)
            .send()
            .await?;
        for name in ["x-yychat-personality", "x-yychat-memory", "server-timing"] {
            if let Some(value) = response.headers().get(name) {
                screen.line(&format!("  {name}: {}", value.to_str()?));
            }
        }
        Ok(response.error_for_status()?)
    }
}

fn user(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

/// What an answer of any of the three APIs says.
fn text_of(answer: &Value) -> String {
    let places = [
        "/choices/0/message/content",
        "/output/0/content/0/text",
        "/content/0/text",
    ];
    let mut found = places.iter().filter_map(|place| answer.pointer(place));
    let text = found.find_map(Value::as_str);
    text.unwrap_or_default().to_owned()
}
