//! The chat that the demo plays, as any app would: over HTTP, knowing only a `base_url`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use super::{PERSONA, Screen};

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
        screen.line(&format!(
            "An app talks to http://{api}/v1 instead of its model's API."
        ));
        without_persona(screen, &app).await?;
        with_persona(screen, &app).await?;
        streamed(screen, &app).await?;
        remembered(screen, &app).await?;
        calculated(screen, &app).await
    })
}

async fn without_persona(screen: &mut Screen, app: &App) -> Played<()> {
    screen.heading("1. Nothing to inject: the request arrives as the app sent it");
    let body = json!({ "use_tools": false, "messages": user("Hello!") });
    let answer = app.ask(screen, body).await?;
    screen.line(&text_of(&answer));
    Ok(())
}

async fn with_persona(screen: &mut Screen, app: &App) -> Played<()> {
    screen.heading("2. A personality by name: its prompt is spliced in before the app's message");
    let body = json!({ "personality_id": PERSONA, "messages": user("Hello!") });
    let answer = app.ask(screen, body).await?;
    screen.line(&text_of(&answer));
    Ok(())
}

async fn streamed(screen: &mut Screen, app: &App) -> Played<()> {
    screen.heading("3. The same, streamed: each event is passed on as it comes, byte for byte");
    let body = json!({ "stream": true, "personality_id": PERSONA, "messages": user("你好！") });
    app.watch(screen, &body).await
}

async fn calculated(screen: &mut Screen, app: &App) -> Played<()> {
    screen.heading("5. Tools: the model calls one in mid-stream, and the app sees one answer");
    let body = json!({
        "stream": true, "personality_id": PERSONA, "messages": user("What is 1234567 times 891011?"),
    });
    app.watch(screen, &body).await
}

async fn remembered(screen: &mut Screen, app: &App) -> Played<()> {
    screen.heading("4. Memory: a fact told in one conversation …");
    let fact = json!({
        "user": "ada", "conversation_id": "monday",
        "messages": user("My cat is called Pixel, and we live in Lisbon."),
    });
    app.ask(screen, fact).await?;
    app.saved("ada").await?;
    screen.heading("   … is there in another one, as quoted data just before the question");
    let question = json!({
        "user": "ada", "conversation_id": "tuesday",
        "messages": user("What is my cat called?"),
    });
    let answer = app.ask(screen, question).await?;
    screen.line(&text_of(&answer));
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
    async fn ask(&self, screen: &mut Screen, body: Value) -> Played<Value> {
        Ok(self.post(screen, &body).await?.json().await?)
    }

    /// Shows a streamed answer as it comes.
    async fn watch(&self, screen: &mut Screen, body: &Value) -> Played<()> {
        let response = self.post(screen, body).await?;
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

    async fn post(&self, screen: &mut Screen, body: &Value) -> Played<Response> {
        let mut body = body.clone();
        body["model"] = json!("demo");
        screen.request(&format!("> {body}"));
        let response = self
            .client
            .post(format!("{}/chat/completions", self.base_url))
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

fn text_of(answer: &Value) -> String {
    answer["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
