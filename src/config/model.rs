//! Configuration after validation: every value present, parsed and in range.
//!
//! The text of each key's meaning is in `conf/yychat.toml`; what stands here is the shape that
//! the rest of the program reads. Serialised, it has the keys of that file; a secret becomes a
//! fingerprint, which tells whether it changed and nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use globset::GlobSet;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use url::Url;

/// A whole, valid configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    pub server: Server,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub breaker: Breaker,
    /// At least one, in the order in which they are tried.
    pub upstreams: Vec<Upstream>,
    pub auth: Auth,
    pub personality: Personality,
    pub memory: Memory,
    pub tools: Tools,
    pub log: Log,
    pub traces: Traces,
}

/// `[server]`: what is bound. A change of these needs a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// Threads that serve requests; already resolved, so at least 1.
    pub workers: usize,
    /// Bytes of a request body at most.
    pub body_limit: usize,
    pub insecure_no_auth: bool,
    pub tls: Option<Tls>,
}

/// `server.tls`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `[limits]`: what a client may ask of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of a request's header section at most.
    pub header_bytes: usize,
    /// Header fields at most.
    pub header_fields: usize,
    /// Nesting of a JSON body at most.
    pub json_depth: usize,
    /// Client connections at most.
    pub connections: usize,
    /// Streams of one HTTP/2 connection at most.
    pub h2_streams: u32,
    /// Requests that are served at once at most, over all connections.
    pub live_requests: usize,
}

/// `[timeouts]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// The whole header section, from its first byte.
    pub header: Duration,
    /// Between two reads of a request body.
    pub body_idle: Duration,
    /// Connecting to an upstream, TLS included.
    pub connect: Duration,
    /// From the request sent to the upstream's response header.
    pub first_byte: Duration,
    /// Between two reads of a response body.
    pub stream_idle: Duration,
    /// One write to a client that does not read.
    pub write: Duration,
    /// How long an idle upstream connection is kept.
    pub upstream_idle: Duration,
    /// How long an idle client connection is kept.
    pub keepalive: Duration,
    /// How long live requests may go on after SIGTERM.
    pub drain: Duration,
}

/// `[breaker]`: when an upstream that fails is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Failures in a row that open it; 0: it never opens.
    pub failures: u32,
    /// Until the first request that may look whether the upstream is back …
    pub open_for: Duration,
    /// … and, since each failed look doubles the wait, the longest of them.
    pub open_at_most: Duration,
}

/// One of `[[upstreams]]`.
#[derive(Debug, Clone, Serialize)]
pub struct Upstream {
    pub name: String,
    /// `http` or `https`, with host, and a path prefix without a trailing slash (`/v1`).
    pub base_url: Url,
    /// Absent: the caller's own `Authorization` goes through.
    #[serde(serialize_with = "optional_fingerprint")]
    pub api_key: Option<SecretString>,
    /// Which models it serves.
    #[serde(skip)]
    pub models: GlobSet,
    /// The globs as written, for showing.
    #[serde(rename = "models")]
    pub model_patterns: Vec<String>,
    /// The chat template takes one system message, at the head.
    pub strict_roles: bool,
    /// HTTP versions offered: `auto` lets TLS choose, `h2` on plain http means prior knowledge.
    pub http: HttpVersion,
    /// A PEM file of more certificate authorities to trust, for https with a private one.
    pub ca: Option<PathBuf>,
}

/// `upstreams.http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    Auto,
    H1,
    H2,
}

/// `[auth]`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Auth {
    /// Empty: loopback only, and callers' own keys go through.
    pub keys: Vec<Key>,
}

/// One of `[[auth.keys]]`.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    pub name: String,
    #[serde(serialize_with = "fingerprint")]
    pub key: SecretString,
    pub tenant: String,
    /// Absent: as many requests as the gateway serves.
    pub rate: Option<Rate>,
}

/// `auth.keys.rate` with `auth.keys.burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// One request in this time, on the average; never zero.
    pub period: Duration,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// `[personality]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Personality {
    pub dir: PathBuf,
    /// Absent: none.
    pub default: Option<String>,
    pub mode: PersonaMode,
}

/// Where a persona stands against the client's own system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonaMode {
    /// Before it.
    Prepend,
    /// After it.
    Append,
    /// In its place.
    Replace,
}

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
    /// Bytes at most, counted alike, of what stays in a conversation of what was recalled for its
    /// earlier requests.
    pub earlier_bytes: usize,
    /// Absent: recall is by words alone.
    pub embedding: Option<Embedding>,
    pub extraction: Extraction,
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

/// `[tools]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tools {
    pub dir: PathBuf,
    /// What holds when a request does not say `use_tools`.
    pub enabled: bool,
    /// Rounds of calls in one request, before the model has to answer without tools.
    pub max_rounds: u32,
    /// One call.
    pub timeout: Duration,
    /// All rounds of a request, from the first call to the last result.
    pub total_timeout: Duration,
    /// How often a waiting stream is sent a comment while tools run; absent: never.
    pub ping_interval: Option<Duration>,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `info,yychat::proxy=debug`.
    pub level: String,
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[traces]`. All but the ratio needs a restart.
#[derive(Debug, Clone, Serialize)]
pub struct Traces {
    /// The OTLP receiver, to which `/v1/traces` is added. Absent: no traces.
    pub endpoint: Option<Url>,
    /// `name=value,name=value`, percent-encoded; of valid form.
    #[serde(serialize_with = "optional_fingerprint")]
    pub headers: Option<SecretString>,
    /// Of the requests that belong to no trace yet.
    pub sample_ratio: f64,
    pub service_name: String,
}

impl Traces {
    /// The fields of [`Self::headers`], decoded; `None` where they are not of the form.
    pub fn fields(headers: &SecretString) -> Option<HashMap<String, String>> {
        let fields = headers.expose_secret().split(',').map(|field| {
            let (name, value) = field.split_once('=')?;
            let value = percent_decode_str(value).decode_utf8().ok()?;
            HeaderName::try_from(name).ok()?;
            HeaderValue::try_from(&*value).ok()?;
            Some((name.to_owned(), value.into_owned()))
        });
        fields.collect()
    }
}

/// A hash under a key that this process drew at random and never shows.
fn fingerprint<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    serializer.serialize_u64(KEY.hash_one(secret.expose_secret()))
}

fn optional_fingerprint<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => fingerprint(secret, serializer),
        None => serializer.serialize_none(),
    }
}
