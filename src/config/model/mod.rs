//! Configuration after validation: every value present, parsed and in range.
//!
//! The text of each key's meaning is in `conf/yychat.toml`; what stands here is the shape that
//! the rest of the program reads. Serialised, it has the keys of that file; a secret becomes a
//! fingerprint, which tells whether it changed and nothing else.

mod access;
mod memory;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use globset::GlobSet;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use url::Url;

pub use access::{Allowance, Auth, Budget, Cors, Key, MemoryMode, Origins, Period, Rate};
pub use memory::{
    Embedding, EmbeddingFolder, EmbeddingUpstream, Extraction, MODEL_FILES, Memory, Placement,
    Save, Store,
};

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
    pub cors: Cors,
    pub shared: Shared,
    pub personality: Personality,
    pub memory: Memory,
    pub tools: Tools,
    pub log: Log,
    pub traces: Traces,
}

/// `[server]`: what is bound, which needs a restart to change, and who may change something.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// Threads that serve requests; already resolved, so at least 1.
    pub workers: usize,
    /// Bytes of a request body at most.
    pub body_limit: usize,
    pub insecure_no_auth: bool,
    pub tls: Option<Tls>,
    /// Opens what changes something through the admin listener, and all but metrics and health of one
    /// that others reach.
    #[serde(serialize_with = "optional_fingerprint")]
    pub admin_key: Option<SecretString>,
    /// Host names, in lower case and without ports, that the page answers to.
    pub admin_hosts: BTreeSet<String>,
}

impl Server {
    /// Whether others than this machine's own processes reach the API.
    pub fn is_exposed(&self) -> bool {
        is_reached_by_others(self.listen)
    }
}

/// Whether others than this machine's own processes reach what is bound there.
pub fn is_reached_by_others(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
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
    /// Bytes of request bodies that are held at once at most, over all of them.
    pub body_bytes: u64,
}

/// `[timeouts]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// A client's TLS handshake, from its connection on.
    pub handshake: Duration,
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
    /// The APIs that it speaks; never empty.
    pub dialects: BTreeSet<Dialect>,
    /// How `api_key` goes out; absent: as the request's dialect has it.
    pub auth: Option<KeyHeader>,
    /// Its models can call tools.
    pub tools: bool,
    /// For requests that name no model; absent: they go on without one.
    pub default_model: Option<String>,
    /// The chat template takes one system message, at the head.
    pub strict_roles: bool,
    /// HTTP versions offered: `auto` lets TLS choose, `h2` on plain http means prior knowledge.
    pub http: HttpVersion,
    /// A PEM file of more certificate authorities to trust, for https with a private one.
    pub ca: Option<PathBuf>,
}

/// One of `upstreams.dialects`: an API that clients and upstreams speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
}

/// `upstreams.auth`: the header that carries a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `x-api-key: KEY`, Anthropic's
    XApiKey,
    /// `api-key: KEY`, Azure's
    ApiKey,
}

/// `upstreams.http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    Auto,
    H1,
    H2,
}

/// `[personality]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Personality {
    pub dir: PathBuf,
    /// Absent: none.
    pub default: Option<String>,
    pub mode: PersonaMode,
    /// The list of models has `MODEL@PERSONALITY` too.
    pub as_models: bool,
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
    pub fn fields(headers: &SecretString) -> Option<HashMap<String, SecretString>> {
        let fields = headers.expose_secret().split(',').map(|field| {
            let (name, value) = field.split_once('=')?;
            let value = percent_decode_str(value).decode_utf8().ok()?;
            HeaderName::try_from(name).ok()?;
            HeaderValue::try_from(&*value).ok()?;
            Some((name.to_owned(), value.into_owned().into()))
        });
        fields.collect()
    }
}

/// `[shared]`: what several gateways count together.
#[derive(Debug, Clone, Serialize)]
pub struct Shared {
    #[serde(flatten)]
    pub store: SharedStore,
    /// What one request waits for the store at most.
    pub deadline: Duration,
    pub on_failure: OnFailure,
}

/// `shared.store`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "store", rename_all = "lowercase")]
pub enum SharedStore {
    /// This process alone.
    Process,
    Valkey {
        /// `redis://`, `rediss://`, `valkey://` or `valkeys://`.
        #[serde(serialize_with = "fingerprint")]
        url: SecretString,
    },
}

/// `shared.on_failure`: what holds while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Each gateway counts by itself.
    Local,
    /// Nothing is counted and everything let in.
    Open,
    /// What would have to be counted is refused.
    Closed,
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
