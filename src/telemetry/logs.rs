//! The log: one event is one line, as text or JSON, on standard error.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// A program has one log, and so one level.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Puts a `tracing` filter such as `info,yychat::proxy=debug` in force, if the log was started.
pub fn set_level(filter: &str) -> Result<(), String> {
    let Some(level) = LEVEL.get() else {
        return Ok(());
    };
    let filter = parse(filter)?;
    level.reload(filter).map_err(|error| error.to_string())
}

/// Starts the log. Fails when the filter does not parse or a log is running already.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
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
    // Only the first log can have been started.
    let _ = LEVEL.set(handle);
    Ok(())
}

/// pingora speaks of each connection at `info`, as a library would to its own developers: it is
/// kept to warnings unless the filter names it, and of its connectors to nothing: a kept connection
/// that another request has just taken is an error to them, and what really fails is logged here.
/// So is notify, which speaks of each change in a
/// watched folder: a log that is written into one would feed itself without end.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    const LOUD: [(&str, &str); 2] = [
        (
            "pingora",
            "pingora_core=warn,pingora_core::connectors=off,pingora_proxy=warn,pingora_pool=warn,pingora_runtime=warn",
        ),
        ("notify", "notify=warn"),
    ];
    let mut quiet = filter.to_owned();
    for (name, kept) in LOUD {
        if !filter.contains(name) {
            quiet = format!("{quiet},{kept}");
        }
    }
    EnvFilter::try_new(quiet).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_feed_itself_or_speak_of_each_connection_is_quiet_unless_named() {
        let loud = |filter: &str| parse(filter).expect("a filter").to_string();
        assert!(loud("trace").contains("notify=warn"));
        assert!(loud("trace").contains("pingora_core=warn"));
        let named = loud("info,notify=trace,pingora_core=debug");
        assert!(named.contains("notify=trace") && !named.contains("warn"));
    }
}
