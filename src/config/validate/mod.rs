//! From [`Raw`] to [`model::Config`]: every value parsed and in range, and every key against the
//! others. All faults are found in one go.

mod auth;
mod budgets;
mod cors;
mod embedding;
mod extraction;
mod rate;
mod shared;
mod traces;
mod upstreams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;

use super::check::Check;
use super::extract;
use super::model::{
    Breaker, Config, Limits, Log, LogFormat, Memory, PersonaMode, Personality, Placement, Save,
    Server, Store, Timeouts, Tls, Tools, Upstream,
};
use super::raw::{self, Raw};
use upstreams::upstreams;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Validates everything; what it gives counts only if `check` holds no fault afterwards.
pub(super) fn validate(raw: &Raw, check: &mut Check<'_>) -> Config {
    let upstreams = upstreams(&raw.upstreams, check);
    let server = server(&raw.server, check);
    let config = Config {
        limits: limits(&raw.limits, &server, check),
        timeouts: timeouts(&raw.timeouts, check),
        breaker: breaker(&raw.breaker, check),
        auth: auth::auth(&raw.auth, server.admin_key.as_ref(), check),
        cors: cors::cors(&raw.cors, check),
        shared: shared::shared(&raw.shared, check),
        personality: personality(&raw.personality, check),
        memory: memory(&raw.memory, &upstreams, check),
        tools: tools(&raw.tools, check),
        log: log(&raw.log, check),
        traces: traces::traces(&raw.traces, check),
        server,
        upstreams,
    };
    listeners(&config, check);
    config
}

fn server(raw: &raw::Server, check: &mut Check<'_>) -> Server {
    let workers = check.number("server.workers", raw.workers, 0..=1024);
    Server {
        listen: check.address("server.listen", &raw.listen),
        admin_listen: check.address("server.admin_listen", &raw.admin_listen),
        workers: match workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        body_limit: check.size("server.body_limit", &raw.body_limit, KIB..=GIB),
        insecure_no_auth: raw.insecure_no_auth,
        tls: raw.tls.as_ref().map(|tls| Tls {
            cert: check.file("server.tls.cert", &tls.cert),
            key: check.file("server.tls.key", &tls.key),
        }),
        admin_key: raw
            .admin_key
            .as_ref()
            .map(|secret| auth::key("server.admin_key", secret, check)),
        admin_hosts: raw
            .admin_hosts
            .iter()
            .enumerate()
            .map(|(index, name)| host(&format!("server.admin_hosts.{index}"), name, check))
            .collect(),
    }
}

/// A host's name as browsers write it in `Host`, but for its port.
fn host(key: &str, text: &str, check: &mut Check<'_>) -> String {
    let name = text.trim_end_matches('.').to_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || !name.bytes().all(fits) {
        check.fault(
            key,
            format!("is {text:?}, not the name of a host"),
            "write it without scheme, port and path, such as \"yychat.example.com\"",
        );
    }
    name
}

/// What the two listeners ask of each other and of `[auth]`.
fn listeners(config: &Config, check: &mut Check<'_>) {
    let Server {
        listen,
        admin_listen,
        insecure_no_auth,
        ..
    } = config.server;
    if collide(listen, admin_listen) {
        check.fault(
            "server.admin_listen",
            format!("is {admin_listen}, which `server.listen` takes already"),
            "give it a port of its own",
        );
    }
    if !config.server.is_exposed() || !config.auth.keys.is_empty() {
        return;
    }
    if insecure_no_auth {
        check.warn(
            "server.insecure_no_auth",
            &format!("lets everyone who reaches {listen} in"),
            "add [[auth.keys]]",
        );
    } else if !check.places.has_fault_in("auth") {
        check.fault(
            "server.listen",
            format!("is {listen}, open to the network, and there are no keys"),
            "add [[auth.keys]] or set YYCHAT_API_KEY, or listen on 127.0.0.1; \
             server.insecure_no_auth = true lets everyone in",
        );
    }
}

/// Whether binding one address leaves no room for the other. Port 0 is a free port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    same_host && a.port() == b.port() && a.port() != 0
}

fn limits(raw: &raw::Limits, server: &Server, check: &mut Check<'_>) -> Limits {
    let body_bytes = check.size("limits.body_bytes", &raw.body_bytes, MIB..=TIB);
    if body_bytes < server.body_limit {
        check.fault(
            "limits.body_bytes",
            "is less than `server.body_limit`, so that a body which that allows never fits",
            "raise it, or lower `server.body_limit`",
        );
    }
    Limits {
        header_bytes: check.size("limits.header_bytes", &raw.header_bytes, KIB..=MIB),
        header_fields: check.number("limits.header_fields", raw.header_fields, 1..=256),
        json_depth: check.number("limits.json_depth", raw.json_depth, 1..=128),
        connections: check.number("limits.connections", raw.connections, 1..=1_000_000),
        h2_streams: check.number("limits.h2_streams", raw.h2_streams, 1..=10_000),
        live_requests: check.number("limits.live_requests", raw.live_requests, 1..=1_000_000),
        body_bytes: body_bytes as u64,
    }
}

fn timeouts(raw: &raw::Timeouts, check: &mut Check<'_>) -> Timeouts {
    let mut timeout = |key, text| check.duration(key, text, MILLISECOND..=DAY);
    Timeouts {
        handshake: timeout("timeouts.handshake", &raw.handshake),
        header: timeout("timeouts.header", &raw.header),
        body_idle: timeout("timeouts.body_idle", &raw.body_idle),
        connect: timeout("timeouts.connect", &raw.connect),
        first_byte: timeout("timeouts.first_byte", &raw.first_byte),
        stream_idle: timeout("timeouts.stream_idle", &raw.stream_idle),
        write: timeout("timeouts.write", &raw.write),
        upstream_idle: timeout("timeouts.upstream_idle", &raw.upstream_idle),
        keepalive: timeout("timeouts.keepalive", &raw.keepalive),
        drain: timeout("timeouts.drain", &raw.drain),
    }
}

fn breaker(raw: &raw::Breaker, check: &mut Check<'_>) -> Breaker {
    let open_for = check.duration("breaker.open_for", &raw.open_for, MILLISECOND..=MINUTE);
    let bounds = MILLISECOND..=60 * MINUTE;
    let open_at_most = check.duration("breaker.open_at_most", &raw.open_at_most, bounds);
    Breaker {
        failures: check.number("breaker.failures", raw.failures, 0..=1000),
        open_for,
        open_at_most: open_at_most.max(open_for),
    }
}

/// A fault for a name that an earlier element of the list has.
fn unique(key: &str, name: &str, seen: &mut BTreeMap<String, String>, check: &mut Check<'_>) {
    if let Some(earlier) = seen.get(name) {
        check.fault(
            key,
            format!("is {name:?}, as `{earlier}` is"),
            "give each a name of its own",
        );
    } else {
        seen.insert(name.to_owned(), key.to_owned());
    }
}

fn personality(raw: &raw::Personality, check: &mut Check<'_>) -> Personality {
    Personality {
        dir: check.path("personality.dir", &raw.dir),
        default: (!raw.default.is_empty()).then(|| raw.default.clone()),
        mode: check.choice(
            "personality.mode",
            &raw.mode,
            [
                ("prepend", PersonaMode::Prepend),
                ("append", PersonaMode::Append),
                ("replace", PersonaMode::Replace),
            ],
        ),
        as_models: raw.as_models,
    }
}

fn memory(raw: &raw::Memory, upstreams: &[Upstream], check: &mut Check<'_>) -> Memory {
    Memory {
        enabled: raw.enabled,
        store: store(raw, check),
        recall_limit: check.number("memory.recall_limit", raw.recall_limit, 0..=100),
        recall_deadline: check.duration(
            "memory.recall_deadline",
            &raw.recall_deadline,
            MILLISECOND..=MINUTE,
        ),
        cache_ttl: check.duration("memory.cache_ttl", &raw.cache_ttl, MILLISECOND..=30 * DAY),
        cache_capacity: check.number("memory.cache_capacity", raw.cache_capacity, 0..=100_000_000),
        save: check.choice(
            "memory.save",
            &raw.save,
            [
                ("both", Save::Both),
                ("user", Save::User),
                ("assistant", Save::Assistant),
                ("off", Save::Off),
            ],
        ),
        placement: check.choice(
            "memory.placement",
            &raw.placement,
            [("tail", Placement::Tail), ("head", Placement::Head)],
        ),
        max_bytes: check.size("memory.max_bytes", &raw.max_bytes, 1..=MIB),
        max_tokens: check.number("memory.max_tokens", raw.max_tokens, 1..=1_000_000),
        earlier_bytes: check.size("memory.earlier_bytes", &raw.earlier_bytes, 0..=MIB),
        embedding: raw
            .embedding
            .as_ref()
            .and_then(|raw| embedding::embedding(raw, check)),
        extraction: extraction::extraction(&raw.extraction, upstreams, check),
        time_zone: time_zone("memory.time_zone", &raw.time_zone, check),
    }
}

fn time_zone(key: &str, name: &str, check: &mut Check<'_>) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        let known = jiff::tz::db().available().map(|known| known.to_string());
        let known: Vec<_> = known.collect();
        let mend = match extract::nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "write it as in \"UTC\" or \"Asia/Shanghai\"".to_owned(),
        };
        check.fault(key, format!("is {name:?}, not a time zone of IANA's"), mend);
        TimeZone::UTC
    })
}

/// The secret of a store that is not chosen is left unread: it need not exist.
fn store(raw: &raw::Memory, check: &mut Check<'_>) -> Store {
    let is_postgres = check.choice(
        "memory.store",
        &raw.store,
        [("embedded", false), ("postgres", true)],
    );
    if !is_postgres {
        return Store::Embedded {
            path: check.path("memory.path", &raw.path),
        };
    }
    let url = check.secret("memory.url", &raw.url);
    let scheme = url.expose_secret().split(':').next();
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        check.fault(
            "memory.url",
            "does not lead to PostgreSQL",
            "write it as in \"postgres://user:password@host/database\"",
        );
    }
    Store::Postgres { url }
}

fn tools(raw: &raw::Tools, check: &mut Check<'_>) -> Tools {
    Tools {
        dir: check.path("tools.dir", &raw.dir),
        enabled: raw.enabled,
        max_rounds: check.number("tools.max_rounds", raw.max_rounds, 1..=64),
        timeout: check.duration("tools.timeout", &raw.timeout, MILLISECOND..=60 * MINUTE),
        total_timeout: check.duration(
            "tools.total_timeout",
            &raw.total_timeout,
            MILLISECOND..=60 * MINUTE,
        ),
        ping_interval: match check.duration(
            "tools.ping_interval",
            &raw.ping_interval,
            Duration::ZERO..=MINUTE,
        ) {
            Duration::ZERO => None,
            interval => Some(interval),
        },
    }
}

/// Whether text is a level or filter of what is logged.
pub(super) fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A filter takes a bare word that is no level for the name of a module.
    let is_level = |word: &str| {
        word.contains(['=', '[', ':']) || LEVELS.contains(&word.trim().to_lowercase().as_str())
    };
    EnvFilter::builder().parse(text).is_ok() && text.split(',').all(is_level)
}

fn log(raw: &raw::Log, check: &mut Check<'_>) -> Log {
    if !is_log_filter(&raw.level) {
        check.fault(
            "log.level",
            format!("is {:?}, not a level or filter", raw.level),
            "write it as in \"info\" or \"info,yychat::proxy=debug\"",
        );
    }
    Log {
        level: raw.level.clone(),
        format: check.choice(
            "log.format",
            &raw.format,
            [("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
    }
}
