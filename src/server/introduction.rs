//! What a start says of itself: six lines on a terminal, one event with fields elsewhere.

use std::io::IsTerminal;

use crate::config::model::{Config, LogFormat, Store as MemoryStore};
use crate::snapshot::Snapshot;
use crate::tools::State;

use super::Bound;

/// Tells what is bound and loaded, unless the log is off.
pub(super) fn introduce(snapshot: &Snapshot, bound: &Bound) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let config = &snapshot.config;
    let version = env!("CARGO_PKG_VERSION");
    let scheme = if config.server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let api = format!("{scheme}://{}/v1", bound.api());
    let page = format!("http://{}/", bound.admin());
    let upstreams = upstreams(config);
    let keys = keys(config);
    let memory = memory(config);
    let personalities = personalities(snapshot);
    let tools = tools(snapshot);
    if config.log.format == LogFormat::Text && std::io::stderr().is_terminal() {
        eprintln!(
            "yychat {version}   {api}   page {page}\n\
             upstreams      {upstreams}\n\
             keys           {keys}\n\
             memory         {memory}\n\
             personalities  {personalities}\n\
             tools          {tools}"
        );
        return;
    }
    let (api_at, admin) = (bound.api(), bound.admin());
    tracing::info!(
        api = %api_at, %admin, version, page, upstreams, keys, memory, personalities, tools,
        "listening"
    );
}

fn upstreams(config: &Config) -> String {
    let upstreams = config.upstreams.iter().map(|upstream| {
        let key = if upstream.api_key.is_some() {
            ""
        } else {
            ", the caller's key"
        };
        let models = upstream.model_patterns.join(" ");
        format!(
            "{} at {} for {models}{key}",
            upstream.name, upstream.base_url
        )
    });
    upstreams.collect::<Vec<_>>().join("; ")
}

fn keys(config: &Config) -> String {
    if config.auth.keys.is_empty() {
        return "none: whoever reaches it may use it".to_owned();
    }
    let keys = config.auth.keys.iter();
    let keys = keys.map(|key| format!("{} (tenant {})", key.name, key.tenant));
    keys.collect::<Vec<_>>().join(", ")
}

fn memory(config: &Config) -> String {
    let memory = &config.memory;
    if !memory.enabled {
        return "off".to_owned();
    }
    let place = match &memory.store {
        MemoryStore::Embedded { path } => path.display().to_string(),
        MemoryStore::Postgres { .. } => "PostgreSQL".to_owned(),
    };
    format!("{place}, for requests that name a user or a conversation")
}

fn personalities(snapshot: &Snapshot) -> String {
    let names = snapshot.personalities.iter().map(|persona| &*persona.id);
    let names = names.collect::<Vec<_>>().join(", ");
    let default = snapshot.config.personality.default.as_deref();
    let broken = match snapshot.personalities.broken().len() {
        0 => String::new(),
        count => format!("; {count} broken, see /readyz?verbose"),
    };
    format!("{names} (default: {}){broken}", default.unwrap_or("none"))
}

fn tools(snapshot: &Snapshot) -> String {
    if !snapshot.config.tools.enabled {
        return "only where a request asks for them".to_owned();
    }
    let plugins = snapshot.tools.health();
    let plugins = plugins
        .iter()
        .filter(|plugin| plugin.state != State::Disabled);
    let names = plugins.map(|plugin| &*plugin.plugin).collect::<Vec<_>>();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
