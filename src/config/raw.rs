//! Configuration as an operator writes it: text, numbers and switches, each with its default.
//!
//! The only types of configuration that serde reads. To add a key, give it a line here, one in
//! [`super::validate`], one in [`super::model`] and one in `conf/yychat.toml`; what a key means
//! is said there. Durations (`"5m"`), sizes (`"32MiB"`), addresses and named choices stay text
//! until validation, so that their faults can name the key and show an example.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of keys, each with its type and its default in one line.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($key:ident: $kind:ty = $default:expr,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Deserialize, Serialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $key: $kind,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }
    };
}

table! {
    /// The whole file.
    Raw {
        server: Server = Server::default(),
        limits: Limits = Limits::default(),
        timeouts: Timeouts = Timeouts::default(),
        breaker: Breaker = Breaker::default(),
        upstreams: Vec<Upstream> = Vec::new(),
        auth: Auth = Auth::default(),
        cors: Cors = Cors::default(),
        shared: Shared = Shared::default(),
        personality: Personality = Personality::default(),
        memory: Memory = Memory::default(),
        tools: Tools = Tools::default(),
        log: Log = Log::default(),
        traces: Traces = Traces::default(),
    }
}

table! {
    Server {
        listen: String = "127.0.0.1:8000".into(),
        admin_listen: String = "127.0.0.1:9090".into(),
        workers: u64 = 0,
        body_limit: Size = "32MiB".into(),
        insecure_no_auth: bool = false,
        tls: Option<Tls> = None,
        admin_key: Option<Secret> = None,
        admin_hosts: Vec<String> = Vec::new(),
    }
}

table! {
    Tls {
        cert: String = String::new(),
        key: String = String::new(),
    }
}

table! {
    Limits {
        header_bytes: Size = "32KiB".into(),
        header_fields: u64 = 100,
        json_depth: u64 = 64,
        connections: u64 = 10_000,
        h2_streams: u64 = 100,
        live_requests: u64 = 10_000,
        body_bytes: Size = "1GiB".into(),
    }
}

table! {
    Timeouts {
        handshake: String = "10s".into(),
        header: String = "10s".into(),
        body_idle: String = "30s".into(),
        connect: String = "5s".into(),
        first_byte: String = "600s".into(),
        stream_idle: String = "300s".into(),
        write: String = "30s".into(),
        upstream_idle: String = "60s".into(),
        keepalive: String = "60s".into(),
        drain: String = "300s".into(),
    }
}

table! {
    Breaker {
        failures: u64 = 5,
        open_for: String = "1s".into(),
        open_at_most: String = "10s".into(),
    }
}

table! {
    Upstream {
        name: String = String::new(),
        base_url: String = String::new(),
        api_key: Option<Secret> = None,
        models: Vec<String> = vec!["*".into()],
        dialects: Vec<String> = ["chat", "responses", "messages"].map(Into::into).into(),
        auth: Option<String> = None,
        tools: bool = true,
        default_model: String = String::new(),
        strict_roles: bool = false,
        http: String = "auto".into(),
        ca: Option<String> = None,
    }
}

table! {
    Auth {
        keys: Vec<Key> = Vec::new(),
        openwebui_jwt_secret: Option<Secret> = None,
    }
}

table! {
    Key {
        name: String = String::new(),
        key: Option<Secret> = None,
        tenant: String = String::new(),
        rate: Option<String> = None,
        burst: u64 = 20,
        user: String = String::new(),
        personality: Option<String> = None,
        tools: Option<bool> = None,
        memory: String = "full".into(),
        models: Vec<String> = vec!["*".into()],
        expires: Option<String> = None,
        budgets: Vec<Budget> = Vec::new(),
    }
}

table! {
    Budget {
        tokens: Option<u64> = None,
        usd: Option<f64> = None,
        per: String = String::new(),
    }
}

table! {
    Cors {
        origins: Vec<String> = Vec::new(),
    }
}

table! {
    Shared {
        store: String = "process".into(),
        url: Secret = Secret::env("VALKEY_URL"),
        deadline: String = "20ms".into(),
        on_failure: String = "local".into(),
    }
}

table! {
    Personality {
        dir: String = "conf/personalities".into(),
        default: String = String::new(),
        mode: String = "prepend".into(),
        as_models: bool = false,
    }
}

table! {
    Memory {
        enabled: bool = true,
        store: String = "embedded".into(),
        path: String = "data/memory".into(),
        url: Secret = Secret::env("DATABASE_URL"),
        recall_limit: u64 = 24,
        recall_deadline: String = "50ms".into(),
        cache_ttl: String = "300s".into(),
        cache_capacity: u64 = 10_000,
        save: String = "both".into(),
        placement: String = "tail".into(),
        max_bytes: Size = "8KiB".into(),
        max_tokens: u64 = 900,
        earlier_bytes: Size = "32KiB".into(),
        time_zone: String = "UTC".into(),
        embedding: Option<Embedding> = None,
        extraction: Extraction = Extraction::default(),
    }
}

table! {
    Embedding {
        base_url: Option<String> = None,
        api_key: Option<Secret> = None,
        model: Option<String> = None,
        query_model: Option<String> = None,
        dimensions: Option<u64> = None,
        timeout: Option<String> = None,
        model_dir: Option<String> = None,
        query_prefix: String = String::new(),
        passage_prefix: String = String::new(),
    }
}

table! {
    Extraction {
        enabled: bool = false,
        upstream: String = String::new(),
        model: String = String::new(),
        per_minute: u64 = 20,
        timeout: String = "60s".into(),
        max_facts: u64 = 5,
    }
}

table! {
    Tools {
        dir: String = "plugins".into(),
        enabled: bool = true,
        max_rounds: u64 = 8,
        timeout: String = "30s".into(),
        total_timeout: String = "2m".into(),
        ping_interval: String = "0s".into(),
    }
}

table! {
    Log {
        level: String = "info".into(),
        format: String = "text".into(),
    }
}

table! {
    Traces {
        endpoint: Option<String> = None,
        headers: Option<Secret> = None,
        sample_ratio: f64 = 1.0,
        service_name: String = "yychat".into(),
    }
}

/// Where a secret stands: exactly one of the two is set in a valid file.
///
/// A table and not an enum, since serde names an enum's unknown variant in its error, and that
/// would be the secret itself where someone wrote it out.
#[derive(Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "`{ env = \"NAME\" }` or `{ file = \"path\" }`"
)]
pub(super) struct Secret {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
}

impl Secret {
    pub(super) fn env(name: &str) -> Self {
        Self {
            env: Some(name.to_owned()),
            file: None,
        }
    }
}

/// `8192` or `"8KiB"`.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a size such as `8192` or `\"32MiB\"`")]
pub(super) enum Size {
    Bytes(u64),
    Text(String),
}

impl From<&str> for Size {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Raw {
    /// The defaults with every list and optional key filled in: all the keys there are, and how
    /// each is written.
    pub(super) fn example() -> Self {
        Self {
            server: Server {
                tls: Some(Tls {
                    cert: "cert.pem".into(),
                    key: "key.pem".into(),
                }),
                admin_key: Some(Secret::env("YYCHAT_ADMIN_KEY")),
                ..Server::default()
            },
            upstreams: vec![Upstream {
                name: "openai".into(),
                base_url: "https://api.openai.com/v1".into(),
                api_key: Some(Secret::env("OPENAI_API_KEY")),
                auth: Some("bearer".into()),
                ca: Some("ca.pem".into()),
                ..Upstream::default()
            }],
            auth: Auth {
                keys: vec![Key {
                    name: "my-app".into(),
                    key: Some(Secret::env("YYCHAT_API_KEY")),
                    tenant: "my-app".into(),
                    rate: Some("10/s".into()),
                    personality: Some("friendly".into()),
                    tools: Some(true),
                    expires: Some("2027-01-31T00:00:00Z".into()),
                    budgets: vec![
                        Budget {
                            tokens: Some(2_000_000),
                            usd: None,
                            per: "day".into(),
                        },
                        Budget {
                            tokens: None,
                            usd: Some(50.0),
                            per: "month".into(),
                        },
                    ],
                    ..Key::default()
                }],
                openwebui_jwt_secret: Some(Secret::env("OPENWEBUI_JWT_SECRET")),
            },
            traces: Traces {
                endpoint: Some("http://127.0.0.1:4318".into()),
                headers: Some(Secret::env("OTEL_EXPORTER_OTLP_HEADERS")),
                ..Traces::default()
            },
            memory: Memory {
                embedding: Some(Embedding {
                    base_url: Some("https://api.openai.com/v1".into()),
                    api_key: Some(Secret::env("OPENAI_API_KEY")),
                    model: Some("text-embedding-3-small".into()),
                    query_model: Some("text-embedding-3-small".into()),
                    dimensions: Some(512),
                    timeout: Some("10s".into()),
                    model_dir: Some("models/all-MiniLM-L6-v2".into()),
                    ..Embedding::default()
                }),
                ..Memory::default()
            },
            ..Self::default()
        }
    }
}
