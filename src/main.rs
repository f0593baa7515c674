//! The `yychat` binary: a table of contents.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use clap::{CommandFactory, Parser, Subcommand};
use yychat::api;
use yychat::cli;
use yychat::config::model::LogFormat;
use yychat::config::{self, Sources};
use yychat::demo;
use yychat::error::{Fault, Faults};
use yychat::memory::embedding;
use yychat::server::{self, Bound, Inherited, Signals};
use yychat::snapshot::Store;
use yychat::telemetry::logs;

// Takes the place of the system's `malloc`.
use mimalloc as _;

/// With commit and target. Who builds tells the commit, as `scripts/dist` and `scripts/run` do: a
/// build that asked for it itself would begin anew with each one.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    option_env!("YYCHAT_VERSION").map_or_else(
        || {
            let (os, cpu) = (std::env::consts::OS, std::env::consts::ARCH);
            format!("{} ({cpu}, {os})", env!("CARGO_PKG_VERSION"))
        },
        str::to_owned,
    )
});

/// Long-term memory, a personality and tools for any OpenAI-compatible app.
#[derive(Parser)]
#[command(version = VERSION.as_str(), about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file [default: conf/yychat.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, such as server.listen=127.0.0.1:8080; stronger than file and environment
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    /// Works on the memory store
    #[command(subcommand)]
    Memory(cli::memory::Command),
    /// Runs the proxy (as does no command at all)
    Run,
    /// Loads configuration, personalities, plugins and an embedding model, and prints every fault
    Check,
    /// Prints what a chat request would become, and why; sends nothing
    Explain(cli::explain::Command),
    /// Shows what keys used, by model and day
    Usage(cli::usage::Command),
    Init(cli::init::Command),
    /// Shows it at work with no key and no model, then stays up to be tried
    Demo,
    /// Prints the JSON Schema of yychat.toml, by which editors complete and check it
    Schema,
    /// Prints the OpenAPI document of the gateway's own endpoints
    Openapi,
    /// Prints what completes commands and flags in a shell
    Completions {
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a folder
    #[command(hide = true)]
    Man {
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments {
        command,
        config,
        set,
    } = Arguments::parse();
    let done = sources(config, set).and_then(|sources| match command.unwrap_or(Command::Run) {
        Command::Run => run(sources),
        Command::Check => check(sources),
        Command::Demo => demo::run(sources),
        Command::Init(command) => cli::init::run(&command, &sources.env),
        Command::Schema => {
            // It is made of texts, numbers and lists.
            let schema = serde_json::to_string_pretty(&config::schema()).unwrap_or_default();
            Ok(cli::print(&format!("{schema}\n"))?)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "yychat", &mut script);
            Ok(cli::print(&String::from_utf8_lossy(&script))?)
        }
        Command::Openapi => Ok(cli::print(&api::openapi::document())?),
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), &folder)
            .map_err(|error| Fault::new(folder, error.to_string(), "name a folder").into()),
        Command::Explain(command) => {
            let (store, _) = Store::open(sources)?;
            cli::explain::run(&store, &command)
        }
        Command::Memory(command) => memory(sources, command),
        Command::Usage(command) => {
            let (store, _) = Store::open(sources)?;
            cli::usage::run(&store, &command)
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut sources: Sources) -> Result<(), Faults> {
    // Before there is another thread, for it changes the environment.
    let inherited = Inherited::take()?;
    sources.overrides.extend(inherited.settings());
    let (store, warnings) = Store::open(sources)?;
    let snapshot = store.load();
    let log = &snapshot.config.log;
    let style = match log.format {
        LogFormat::Text => logs::Style::Text,
        LogFormat::Json => logs::Style::Json,
    };
    let _log = logs::start(&log.level, style)
        .map_err(|why| Fault::new("log.level", why, "write a level such as `info`"))?;
    for warning in warnings {
        tracing::warn!(%warning, "configuration");
    }
    let bound = Bound::take_over(&snapshot.config.server, inherited)?;
    server::run(Arc::new(store), bound, Arc::new(Signals::new()))?;
    Ok(())
}

fn memory(sources: Sources, command: cli::memory::Command) -> Result<(), Faults> {
    let (store, _) = Store::open(sources)?;
    // What the store has to say of itself, a damaged file above all, must be heard.
    let _log = logs::start("warn", logs::Style::Text).map_err(|why| Fault::new("log", why, ""))?;
    cli::memory::run(&store, command)
}

fn check(sources: Sources) -> Result<(), Faults> {
    let shadowed = config::shadowed(&sources);
    let (store, warnings) = Store::open(sources)?;
    let snapshot = store.load();
    if snapshot.config.memory.enabled {
        // A model that cannot be loaded would keep the gateway from starting.
        embedding::open(&snapshot.config.memory)?;
    }
    let unreached = server::look_at_shared(&snapshot.config)?;
    for warning in warnings.into_iter().chain(shadowed).chain(unreached) {
        cli::print(&format!("warning: {warning}\n"))?;
    }
    let broken = snapshot.broken();
    if !broken.0.is_empty() {
        return Err(broken);
    }
    Ok(cli::print(&format!(
        "ok: {} upstreams, {} personalities, {} plugins\n",
        snapshot.config.upstreams.len(),
        snapshot.personalities.iter().len(),
        snapshot.tools.health().len()
    ))?)
}

fn sources(file: Option<PathBuf>, set: Vec<(String, String)>) -> Result<Sources, Faults> {
    Ok(Sources {
        file,
        env: config::environment()?,
        overrides: set,
    })
}

fn key_value(argument: &str) -> Result<(String, String), String> {
    argument
        .split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write KEY=VALUE, such as server.listen=127.0.0.1:8080".to_owned())
}
