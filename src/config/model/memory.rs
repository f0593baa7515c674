//! `[memory]`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use url::Url;

use super::{fingerprint, optional_fingerprint};

/// `[memory]`.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    pub enabled: bool,
    #[serde(flatten)]
    pub store: Store,
    /// Records recalled for a request at most.
    pub recall_limit: usize,
    /// A recall that has not answered by then is dropped.
    pub recall_deadline: Duration,
    pub cache_ttl: Duration,
    /// Entries of the recall cache; 0 turns it off.
    pub cache_capacity: u64,
    pub save: Save,
    pub placement: Placement,
    /// Bytes of what is recalled for a request at most, as JSON-escaped text.
    pub max_bytes: usize,
    /// Tokens of it at most, of four bytes each.
    pub max_tokens: usize,
    /// Bytes at most, counted alike, of what stays in a conversation of what was recalled for its
    /// earlier requests.
    pub earlier_bytes: usize,
    /// Absent: recall is by words alone.
    pub embedding: Option<Embedding>,
    pub extraction: Extraction,
    /// Whose days are meant where a request names no zone.
    #[serde(serialize_with = "zone_name")]
    pub time_zone: TimeZone,
}

/// `[memory.extraction]`: whether and by whom facts are extracted from finished exchanges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Extraction {
    pub enabled: bool,
    /// The name of one of [`Config::upstreams`]; empty only where it is not enabled.
    pub upstream: String,
    /// As the upstream knows it; empty only where it is not enabled.
    pub model: String,
    /// Requests in a minute at most.
    pub per_minute: u32,
    /// One request.
    pub timeout: Duration,
    /// New facts of one exchange at most.
    pub max_facts: usize,
}

/// `[memory.embedding]`: what turns texts into vectors. A change of this needs a restart.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Embedding {
    Upstream(EmbeddingUpstream),
    Folder(EmbeddingFolder),
}

/// A server with an OpenAI-compatible `/embeddings`.
#[derive(Debug, Clone, Serialize)]
pub struct EmbeddingUpstream {
    /// With a path prefix and without a trailing slash: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// Absent: no `Authorization` is sent.
    #[serde(serialize_with = "optional_fingerprint")]
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

/// A model that runs in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmbeddingFolder {
    /// Holds [`MODEL_FILES`].
    pub model_dir: PathBuf,
    pub query_prefix: String,
    pub passage_prefix: String,
}

/// What the folder of a model holds, as Hugging Face names it: its shape, its vocabulary and its
/// weights.
pub const MODEL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// `memory.store`. A change of this needs a restart.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "store", rename_all = "lowercase")]
pub enum Store {
    Embedded {
        path: PathBuf,
    },
    Postgres {
        #[serde(serialize_with = "fingerprint")]
        url: SecretString,
    },
}

/// `memory.save`: which side of a turn becomes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Save {
    Both,
    User,
    Assistant,
    Off,
}

/// `memory.placement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Just before the last user message.
    Tail,
    /// In the leading system message.
    Head,
}

fn zone_name<S: Serializer>(zone: &TimeZone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.iana_name().unwrap_or("UTC"))
}
