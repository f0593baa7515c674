//! The log: one event is one line, as text or JSON, on standard error.

mod line;
mod sink;

use std::sync::{Arc, OnceLock};

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use self::line::Lines;
pub use self::line::Style;
use self::sink::{Guard, Sink};

/// A program has one log, and so one level.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static SINK: OnceLock<Arc<Sink>> = OnceLock::new();

/// Puts a `tracing` filter such as `info,yychat::proxy=debug` in force, if the log was started.
pub fn set_level(filter: &str) -> Result<(), String> {
    let Some(level) = LEVEL.get() else {
        return Ok(());
    };
    let filter = parse(filter)?;
    level.reload(filter).map_err(|error| error.to_string())
}

/// Lines that were dropped since the log started, because standard error did not take them.
pub fn dropped() -> u64 {
    SINK.get().map_or(0, |sink| sink.dropped())
}

/// Starts the log; what has gathered is written when the guard is dropped. Fails when the filter
/// does not parse or a log is running already.
pub fn start(filter: &str, style: Style) -> Result<Guard, String> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let (sink, guard) = Sink::start(std::io::stderr()).map_err(|error| error.to_string())?;
    tracing_subscriber::registry()
        .with(filter)
        .with(Lines::new(style, sink.clone()))
        .try_init()
        .map_err(|error| error.to_string())?;
    // Only the first log can have been started.
    let _ = LEVEL.set(handle);
    let _ = SINK.set(sink);
    Ok(guard)
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
