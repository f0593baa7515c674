//! Any `/v1/embeddings` upstream.

use async_trait::async_trait;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{EmbedError, Embedder, Kind, Settings};
use crate::error::Fault;
use crate::memory::bill::{Bill, Usage};
use crate::outbound;

/// Bytes of an answer at most: 32 vectors of 4,096 numbers in full length.
const MAX_ANSWER: usize = 16 << 20;

/// An embedder that asks an upstream over HTTP.
pub struct HttpEmbedder {
    client: reqwest::Client,
    url: Url,
    settings: Settings,
}

impl HttpEmbedder {
    /// With a client of its own.
    ///
    /// # Errors
    ///
    /// A fault when the system has no certificate authorities.
    pub fn open(settings: &Settings) -> Result<Self, Fault> {
        let client = outbound::trusting(&settings.base_url, None)
            .and_then(|client| client.build().map_err(|error| error.to_string()))
            .map_err(|why| {
                let what = format!("no connection to {} can be made: {why}", settings.base_url);
                Fault::new("memory.embedding.base_url", what, outbound::MEND)
            })?;
        Ok(Self::new(client, settings.clone()))
    }

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
    usage: Option<Usage>,
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

    async fn embed(
        &self,
        kind: Kind,
        texts: &[String],
        bill: &Bill,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
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
        let mut response = request.send().await.map_err(down)?;
        match response.status() {
            status if status.is_success() => {}
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY) => {
                return Err(EmbedError::Refused(format!(
                    "the upstream answered {status}"
                )));
            }
            status => return Err(EmbedError::Down(format!("the upstream answered {status}"))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(down)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                let why = format!("the answer has more than {MAX_ANSWER} bytes");
                return Err(EmbedError::Down(why));
            }
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            EmbedError::Down(format!("the answer is not a list of embeddings: {error}"))
        })?;
        let sent = texts.iter().map(String::len).sum();
        bill.add(model, answer.usage, (sent, 0));
        let mut data = answer.data;
        data.sort_by_key(|embedded| embedded.index);
        Ok(data
            .into_iter()
            .map(|embedded| embedded.embedding)
            .collect())
    }
}

/// The failure of a request with its causes, which say more than it does itself.
fn down(error: reqwest::Error) -> EmbedError {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    EmbedError::Down(message)
}
