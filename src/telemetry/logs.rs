//! The log: one event is one line, as text or JSON, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Changes the log's level while the program runs.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Puts a `tracing` filter such as `info,yychat::proxy=debug` in force.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

/// Starts the log. Fails when the filter does not parse or a log is running already.
pub fn start(filter: &str, json: bool) -> Result<LogLevel, String> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(LogLevel(handle))
}

/// pingora speaks of each connection at `info`, as a library would to its own developers: it is
/// kept to warnings unless the filter names it.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    let quiet = if filter.contains("pingora") {
        filter.to_owned()
    } else {
        format!(
            "{filter},pingora_core=warn,pingora_proxy=warn,pingora_pool=warn,pingora_runtime=warn"
        )
    };
    EnvFilter::try_new(quiet).map_err(|error| error.to_string())
}
