//! What changed between two configurations, and what of it only a restart brings into effect.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Config, Server, Traces};

/// Keys that are read once, when the program starts. One that ends in a dot stands for its section.
const NEED_RESTART: [&str; 22] = [
    "server.listen",
    "server.admin_listen",
    "server.workers",
    "server.insecure_no_auth",
    "server.tls",
    "server.tls.",
    "limits.connections",
    "limits.h2_streams",
    "memory.store",
    "memory.path",
    "memory.url",
    "memory.cache_capacity",
    "memory.cache_ttl",
    "memory.enabled",
    "memory.embedding",
    "memory.embedding.",
    "shared.store",
    "shared.url",
    "log.format",
    "traces.endpoint",
    "traces.headers",
    "traces.service_name",
];

/// The dotted keys whose values differ, in alphabetical order; list elements by number, as in
/// `upstreams.0.base_url`.
pub fn changed(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (flatten(old), flatten(new));
    let mut keys: Vec<_> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .cloned()
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Those of [`changed`] that a reload cannot bring into effect.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let is_fixed = |key: &String| {
        NEED_RESTART
            .iter()
            .any(|fixed| key == fixed || (fixed.ends_with('.') && key.starts_with(fixed)))
    };
    changed(old, new).into_iter().filter(is_fixed).collect()
}

/// `new` as it can be in force in a process that was started with `started`: what needs a restart
/// stays as it is. Whoever looks sees what holds, not what waits.
pub fn in_force(started: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    let Config {
        server,
        limits,
        memory,
        shared,
        log,
        traces,
        ..
    } = started.clone();
    config.server = Server {
        body_limit: new.server.body_limit,
        admin_key: new.server.admin_key.clone(),
        admin_hosts: new.server.admin_hosts.clone(),
        ..server
    };
    config.limits.connections = limits.connections;
    config.limits.h2_streams = limits.h2_streams;
    config.memory.store = memory.store;
    config.memory.cache_capacity = memory.cache_capacity;
    config.memory.cache_ttl = memory.cache_ttl;
    config.memory.embedding = memory.embedding;
    // It can be turned off at once, but not on.
    config.memory.enabled &= memory.enabled;
    config.shared.store = shared.store;
    config.log.format = log.format;
    config.traces = Traces {
        sample_ratio: new.traces.sample_ratio,
        ..traces
    };
    config
}

/// Each dotted key with its value.
fn flatten(config: &Config) -> BTreeMap<String, Value> {
    fn walk(path: String, value: Value, leaves: &mut BTreeMap<String, Value>) {
        let join = |name: &str| match path.as_str() {
            "" => name.to_owned(),
            outer => format!("{outer}.{name}"),
        };
        match value {
            // serde writes a duration as a table of these two.
            Value::Object(table) if !table.contains_key("nanos") => {
                for (name, inner) in table {
                    walk(join(&name), inner, leaves);
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.into_iter().enumerate() {
                    walk(join(&index.to_string()), inner, leaves);
                }
            }
            Value::Null => {}
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    let value = serde_json::to_value(config).expect("configuration has text keys alone");
    walk(String::new(), value, &mut leaves);
    leaves
}
