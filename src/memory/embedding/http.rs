//! Any `/v1/embeddings` upstream.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{EmbedError, Embedder, Kind};

/// Bytes of an answer at most: 32 vectors of 4,096 numbers in full length.
const MAX_ANSWER: usize = 16 << 20;

/// What is asked of the upstream, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// With a path prefix and without a trailing slash: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// Absent: no `Authorization` is sent.
    pub api_key: Option<SecretString>,
    /// The model that embeds records.
    pub model: String,
    /// The model that embeds queries; the same unless the upstream has a twin for them.
    pub query_model: String,
    /// Sent as `dimensions` where it is given.
    pub dimensions: Option<u32>,
    /// Put before a query; E5 models want `"query: "`.
    pub query_prefix: String,
    /// Put before a record; E5 models want `"passage: "`.
    pub passage_prefix: String,
    /// For one request.
    pub timeout: Duration,
}

/// An embedder that asks an upstream over HTTP.
pub struct HttpEmbedder {
    client: reqwest::Client,
    url: Url,
    settings: Settings,
}

impl HttpEmbedder {
    /// `client` does the connecting: its pool, certificates and redirects are the caller's.
    pub fn new(client: reqwest::Client, settings: Settings) -> Self {
        let mut url = settings.base_url.clone();
        url.set_path(&format!("{}/embeddings", url.path().trim_end_matches('/')));
        Self {
            client,
            url,
            settings,
        }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<String>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedded>,
}

#[derive(Deserialize)]
struct Embedded {
    index: usize,
    embedding: Vec<f32>,
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn space(&self) -> String {
        let Settings {
            model,
            dimensions,
            passage_prefix,
            ..
        } = &self.settings;
        format!("{model}\n{dimensions:?}\n{passage_prefix}")
    }

    async fn embed(&self, kind: Kind, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let settings = &self.settings;
        let (model, prefix) = match kind {
            Kind::Query => (&settings.query_model, &settings.query_prefix),
            Kind::Passage => (&settings.model, &settings.passage_prefix),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(settings.timeout)
            .json(&Request {
                model,
                input: texts.iter().map(|text| format!("{prefix}{text}")).collect(),
                encoding_format: "float",
                dimensions: settings.dimensions,
            });
        if let Some(key) = &settings.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        let failed = |error: reqwest::Error| EmbedError(error.without_url().to_string());
        let mut response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(EmbedError(format!(
                "the upstream answered {}",
                response.status()
            )));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(EmbedError(format!(
                    "the answer has more than {MAX_ANSWER} bytes"
                )));
            }
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|e| EmbedError(format!("the answer is not a list of embeddings: {e}")))?;
        let mut data = answer.data;
        data.sort_by_key(|embedded| embedded.index);
        Ok(data
            .into_iter()
            .map(|embedded| embedded.embedding)
            .collect())
    }
}
