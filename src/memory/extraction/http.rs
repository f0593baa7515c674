//! Any `/v1/chat/completions` upstream that takes a JSON schema as `response_format`.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Model, ModelError, Prompt};
use crate::config::model::Upstream;
use crate::error::Fault;
use crate::memory::bill::{Bill, Usage};
use crate::outbound;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 1 << 20;

/// Tokens of an answer at most, those of reasoning included.
const MAX_TOKENS: u32 = 4096;

/// A model that is asked over HTTP.
pub struct HttpModel {
    client: reqwest::Client,
    url: Url,
    api_key: Option<SecretString>,
    model: String,
}

impl HttpModel {
    /// # Errors
    ///
    /// A fault when there are no certificate authorities, or `upstreams.ca` cannot be read.
    pub fn open(upstream: &Upstream, model: &str) -> Result<Self, Fault> {
        let client = outbound::trusting(&upstream.base_url, upstream.ca.as_deref())
            // Asked too seldom for a kept connection not to have been closed.
            .and_then(|client| {
                client
                    .pool_max_idle_per_host(0)
                    .build()
                    .map_err(|error| error.to_string())
            })
            .map_err(|why| {
                let what = format!("no connection to `{}` can be made: {why}", upstream.name);
                Fault::new("memory.extraction.upstream", what, outbound::MEND)
            })?;
        let mut url = upstream.base_url.clone();
        url.set_path(&format!(
            "{}/chat/completions",
            url.path().trim_end_matches('/')
        ));
        Ok(Self {
            client,
            url,
            api_key: upstream.api_key.clone(),
            model: model.to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[async_trait]
impl Model for HttpModel {
    async fn answer(&self, prompt: &Prompt, bill: &Bill) -> Result<String, ModelError> {
        let mut request = self.client.post(self.url.clone()).json(&json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.user },
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": "facts", "strict": true, "schema": prompt.schema },
            },
            // The name that OpenAI's newer models insist on; servers that do not know it ignore it.
            "max_completion_tokens": MAX_TOKENS,
        }));
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        let mut response = request.send().await.map_err(down)?;
        let status = response.status();
        if !status.is_success() {
            return Err(ModelError::Down(format!("the upstream answered {status}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(down)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                let why = format!("the answer has more than {MAX_ANSWER} bytes");
                return Err(ModelError::Unusable(why));
            }
        }
        let unusable = |why: &str| ModelError::Unusable(why.to_owned());
        let completion: Completion = serde_json::from_slice(&body)
            .map_err(|error| unusable(&format!("the answer is not a chat completion: {error}")))?;
        let sent = prompt.system.len() + prompt.user.len();
        bill.add(&self.model, completion.usage, (sent, body.len()));
        let choice = completion.choices.into_iter().next();
        let choice = choice.ok_or_else(|| unusable("the answer has no choice"))?;
        match (choice.finish_reason.as_deref(), choice.message.content) {
            (Some("stop"), Some(content)) => Ok(content),
            (reason, _) => Err(unusable(&format!(
                "the answer did not end by itself: finish_reason {reason:?}"
            ))),
        }
    }
}

/// The failure of a request with its causes, which say more than it does itself.
fn down(error: reqwest::Error) -> ModelError {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |e| {
        e.source()
    });
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    ModelError::Down(causes.join(": "))
}
