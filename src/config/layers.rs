//! The layers of configuration, each stronger than the one before: file, YYChat's old variables,
//! `YYCHAT__…` variables, command line.
//!
//! Defaults are not a layer: serde fills them in, see [`super::raw`]. figment keeps for each value
//! the layer that it came from, so that a fault can say where to mend it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider, Source};
use toml::de::DeValue;

use super::file;
use super::raw::Raw;
use super::validate::is_log_filter;
use crate::error::Fault;

/// What `metadata.name` says of a layer.
pub(super) const FILE: &str = "file";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const COMMAND_LINE: &str = "command line";

/// Variables that name a key: `YYCHAT__SERVER__LISTEN` is `server.listen`.
const PREFIX: &str = "YYCHAT__";

/// List elements that a variable can name at most, so that a mistyped number stays harmless.
const MAX_INDEX: usize = 255;

/// An old variable, its key, and its value as that key writes it; `None` leaves the key alone.
type Alias = (&'static str, &'static str, fn(&str) -> Option<String>);

/// Whether a value can be meant for the gateway.
type Fits = fn(&str) -> bool;

/// Variables of names so general that others set them too, Kubernetes among them: for a Service
/// called `server` it sets `SERVER_PORT=tcp://10.0.0.1:80`. They count where they make sense.
const GENERAL: [(&str, Fits, &str); 3] = [
    ("SERVER_HOST", is_host, "an IP address"),
    ("SERVER_PORT", is_port, "a port"),
    ("LOG_LEVEL", is_log_level, "a level"),
];

/// YYChat's variables and OpenTelemetry's with one key each, the later ones stronger. `SERVER_HOST`, `SERVER_PORT`,
/// `OPENAI_*`, `YYCHAT_API_KEY` and `YYCHAT_ADMIN_KEY` are not among them: they set parts of keys.
const ALIASES: [Alias; 12] = [
    ("DEFAULT_PERSONALITY", "personality.default", verbatim),
    (
        "MEMORY_RETRIEVAL_TIMEOUT",
        "memory.recall_deadline",
        seconds,
    ),
    ("MEMORY_RETRIEVAL_LIMIT", "memory.recall_limit", verbatim),
    (
        "ENABLE_MEMORY_RETRIEVAL",
        "memory.recall_limit",
        zero_where_off,
    ),
    ("MEMORY_CACHE_TTL", "memory.cache_ttl", seconds),
    ("MEMORY_CACHE_SIZE", "memory.cache_capacity", verbatim),
    (
        "MEMORY_ENABLE_CACHE",
        "memory.cache_capacity",
        zero_where_off,
    ),
    ("MEMORY_SAVE_MODE", "memory.save", save_mode),
    ("USE_TOOLS_DEFAULT", "tools.enabled", verbatim),
    ("LOG_LEVEL", "log.level", log_level),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint", verbatim),
    ("OTEL_SERVICE_NAME", "traces.service_name", verbatim),
];

/// One layer: its values, and where they came from.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The variables among the old ones that are somebody else's, as remarks.
pub(super) fn strangers(environment: &BTreeMap<String, String>) -> Vec<Fault> {
    let strangers = GENERAL.into_iter().filter_map(|(name, is_ours, wanted)| {
        let text = non_empty(environment, name).filter(|text| !is_ours(text))?;
        Some(Fault::new(
            ENVIRONMENT,
            format!("{name} is {text:?}, which is not {wanted}, and is ignored"),
            "take it out where it is meant for this program; Kubernetes sets such names for \
             Services unless `enableServiceLinks` is false",
        ))
    });
    strangers.collect()
}

/// Without the variables that are somebody else's.
fn ours(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut environment = environment.clone();
    for (name, is_ours, _) in GENERAL {
        if !non_empty(&environment, name).is_some_and(is_ours) {
            environment.remove(name);
        }
    }
    environment
}

/// Each variable that sets a key, with that key.
pub(super) fn keys_of_variables(
    environment: &BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> {
    let environment = ours(environment);
    let old = ALIASES.map(|(name, key, _)| (name, key));
    let old = old.into_iter().chain([
        ("SERVER_HOST", "server.listen"),
        ("SERVER_PORT", "server.listen"),
    ]);
    let old: Vec<_> = old
        .filter(|(name, _)| non_empty(&environment, name).is_some())
        .map(|(name, key)| (name.to_owned(), key.to_owned()))
        .collect();
    let own = environment.into_keys().filter_map(|name| {
        let key = key_of(&name)?;
        Some((name, key))
    });
    old.into_iter().chain(own)
}

/// The key that a variable names: `server.listen` for `YYCHAT__SERVER__LISTEN`.
fn key_of(variable: &str) -> Option<String> {
    let key = variable.strip_prefix(PREFIX)?;
    Some(key.to_lowercase().replace("__", "."))
}

/// Puts the layers on top of each other.
pub(super) fn merge(
    file: Option<(&Path, Dict)>,
    environment: &BTreeMap<String, String>,
    overrides: &[(String, String)],
) -> Figment {
    let environment = &ours(environment);
    let mut figment = Figment::new();
    if let Some((path, values)) = file {
        figment = figment.merge(Layer {
            metadata: Metadata::from(FILE, path),
            values,
        });
    }
    figment = merge_aliases(figment, environment);
    for (name, text) in environment {
        if let Some(key) = key_of(name) {
            figment = set(figment, (ENVIRONMENT, name), &key, structured(text));
        }
    }
    for (key, text) in overrides {
        figment = set(figment, (COMMAND_LINE, key), key, structured(text));
    }
    join_defaults(figment, environment)
}

/// The old variables; an empty one counts as unset, as container files write it.
fn merge_aliases(mut figment: Figment, environment: &BTreeMap<String, String>) -> Figment {
    for (name, key, convert) in ALIASES {
        if let Some(text) = non_empty(environment, name).and_then(convert) {
            figment = set(figment, (ENVIRONMENT, name), key, Value::from(text));
        }
    }
    for name in ["SERVER_HOST", "SERVER_PORT"] {
        let Some(text) = non_empty(environment, name) else {
            continue;
        };
        let listen = figment
            .extract_inner("server.listen")
            .unwrap_or_else(|_| Raw::default().server.listen);
        let (host, port) = listen.rsplit_once(':').unwrap_or((&listen, "8000"));
        let listen = match (name, text.parse()) {
            ("SERVER_PORT", _) => format!("{host}:{text}"),
            (_, Ok(IpAddr::V6(address))) => format!("[{address}]:{port}"),
            _ => format!("{text}:{port}"),
        };
        let value = Value::from(listen);
        figment = set(figment, (ENVIRONMENT, name), "server.listen", value);
    }
    figment
}

/// The upstream of `OPENAI_*` and the keys of `YYCHAT_API_KEY` and `YYCHAT_ADMIN_KEY`, each where
/// nothing else is given.
fn join_defaults(figment: Figment, environment: &BTreeMap<String, String>) -> Figment {
    let mut upstream = Map::from([
        ("name", Value::from("openai")),
        (
            "base_url",
            non_empty(environment, "OPENAI_BASE_URL")
                .unwrap_or("https://api.openai.com/v1")
                .into(),
        ),
    ]);
    if non_empty(environment, "OPENAI_API_KEY").is_some() {
        upstream.insert("api_key", secret("OPENAI_API_KEY"));
    }
    if let Some(model) = non_empty(environment, "OPENAI_MODEL") {
        upstream.insert("default_model", model.into());
    }
    let upstreams = Value::from(vec![Value::from(upstream)]);
    let mut figment = figment.join(layer(
        (ENVIRONMENT, "OPENAI_BASE_URL"),
        "upstreams",
        upstreams,
    ));
    if non_empty(environment, "YYCHAT_ADMIN_KEY").is_some() {
        let server = Map::from([("admin_key", secret("YYCHAT_ADMIN_KEY"))]);
        let server = layer((ENVIRONMENT, "YYCHAT_ADMIN_KEY"), "server", server.into());
        figment = figment.join(server);
    }
    if non_empty(environment, "YYCHAT_API_KEY").is_none() {
        return figment;
    }
    let key = Map::from([
        ("name", Value::from("default")),
        ("key", secret("YYCHAT_API_KEY")),
        ("tenant", Value::from("default")),
    ]);
    let keys = Map::from([("keys", Value::from(vec![Value::from(key)]))]);
    figment.join(layer((ENVIRONMENT, "YYCHAT_API_KEY"), "auth", keys.into()))
}

fn layer((kind, name): (&'static str, &str), section: &str, value: Value) -> Layer {
    Layer {
        metadata: Metadata::from(kind, Source::Custom(name.to_owned())),
        values: Dict::from([(section.to_owned(), value)]),
    }
}

fn secret(variable: &str) -> Value {
    Value::from(Map::from([("env", variable)]))
}

fn non_empty<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment
        .get(name)
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

/// Sets one dotted key; a number names an element of a list.
fn set(figment: Figment, source: (&'static str, &str), key: &str, value: Value) -> Figment {
    let mut path = key.split('.');
    // `split` gives one part at least.
    let section = path.next().unwrap_or_default();
    let base = figment.find_value(section).ok();
    let value = nest(base, &path.collect::<Vec<_>>(), value);
    figment.merge(layer(source, section, value))
}

/// `base` with `value` at `path`; what stands beside it keeps its own source.
fn nest(base: Option<Value>, path: &[&str], value: Value) -> Value {
    let Some((head, rest)) = path.split_first() else {
        return value;
    };
    match (base, head.parse::<usize>()) {
        (base @ (None | Some(Value::Array(..))), Ok(index)) if index <= MAX_INDEX => {
            let mut list = match base {
                Some(Value::Array(tag, items)) => (tag, items),
                _ => (Default::default(), Vec::new()),
            };
            while list.1.len() <= index {
                list.1.push(Value::from(Dict::new()));
            }
            let element = std::mem::replace(&mut list.1[index], Value::from(false));
            list.1[index] = nest(Some(element), rest, value);
            Value::Array(list.0, list.1)
        }
        (base, _) => {
            let (tag, mut table) = match base {
                Some(Value::Dict(tag, table)) => (tag, table),
                _ => Default::default(),
            };
            let inner = nest(table.remove(*head), rest, value);
            table.insert((*head).to_owned(), inner);
            Value::Dict(tag, table)
        }
    }
}

/// A list or table written as TOML or JSON; anything else stays text, and extraction turns it
/// into the number or switch that its key wants.
fn structured(text: &str) -> Value {
    if !text.trim_start().starts_with(['[', '{']) {
        return Value::from(text);
    }
    if let Ok(value) = DeValue::parse(text) {
        return file::value(&value, "", &mut |_, _| {});
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn verbatim(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Seconds, perhaps with a fraction, as YYChat had them.
fn seconds(text: &str) -> Option<String> {
    let duration = text
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    Some(duration.map_or_else(
        || text.to_owned(),
        |duration| humantime::format_duration(duration).to_string(),
    ))
}

fn zero_where_off(text: &str) -> Option<String> {
    (Value::from(text).to_bool_lossy() == Some(false)).then(|| "0".to_owned())
}

fn save_mode(text: &str) -> Option<String> {
    Some(text.trim_end_matches("_only").to_owned())
}

fn is_host(text: &str) -> bool {
    text == "localhost" || text.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_log_level(text: &str) -> bool {
    // An address would be taken for the path of a module.
    !text.contains("://") && log_level(text).is_some_and(|level| is_log_filter(&level))
}

/// Python's names of levels.
fn log_level(text: &str) -> Option<String> {
    Some(match text.to_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        other => other.to_owned(),
    })
}
