//! `yychat usage`: what keys used, by model and day, from the running gateway or from its store.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::error::{Fault, Faults};
use crate::memory::Memory;
use crate::outbound;
use crate::quota::Ledger;
use crate::quota::report::{By, Line, days, report};
use crate::snapshot::Store;

/// How long a gateway that runs here may take to tell.
const ANSWER: Duration = Duration::from_secs(10);

/// Shows what keys used
#[derive(Args)]
pub struct Command {
    /// The first day, such as 2026-11-01 [default: 30 days before the last]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day [default: today, in UTC]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// What to sum by: key, model, day, or some of these with commas between
    #[arg(long, default_value = "key,model,day")]
    by: String,
    /// Of one tenant alone
    #[arg(long)]
    tenant: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Asks the gateway that runs with this configuration, or, where none does, opens its store.
///
/// # Errors
///
/// What is wrong with the arguments, or what the store has against it.
pub fn run(configuration: &Store, command: &Command) -> Result<(), Faults> {
    let wrong = |what: String| Fault::new("yychat usage", what, "see `yychat usage --help`");
    let by: By = command.by.parse().map_err(wrong)?;
    let days = days(command.from.as_deref(), command.to.as_deref()).map_err(wrong)?;
    let snapshot = configuration.load();
    let config = &snapshot.config;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new("yychat usage", error.to_string(), ""))?;
    let asked = runtime.block_on(ask(config.server.admin_listen, command));
    let mut lines = match asked {
        Some(lines) => lines,
        None if !config.memory.enabled => {
            let what = "no gateway runs here, and usage is stored where memory is, which is off";
            return Err(Fault::new("memory.enabled", what, "ask while the gateway runs").into());
        }
        None => {
            let ledger = Ledger::new(Some(Arc::new(Memory::open(&config.memory, None)?)));
            let rows = runtime.block_on(ledger.read(command.tenant.as_deref(), days));
            report(
                &rows.map_err(|error| Fault::new("memory", error.to_string(), ""))?,
                by,
                true,
            )
        }
    };
    if let Some(tenant) = &command.tenant {
        lines.retain(|line| line.tenant.as_ref() == Some(tenant));
    }
    match write(&lines, command.format) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.map_err(|error| Fault::new("output", error.to_string(), ""))?),
    }
}

/// What a running gateway says; `None` where none answers.
async fn ask(admin: SocketAddr, command: &Command) -> Option<Vec<Line>> {
    let mut url = url::Url::parse(&format!("http://{admin}/v1/usage")).ok()?;
    for (name, value) in [("from", &command.from), ("to", &command.to)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url.query_pairs_mut().append_pair("by", &command.by);
    let client = outbound::trusting(&url, None).ok()?.build().ok()?;
    let asking = client.get(url).timeout(ANSWER).send();
    let answer: Value = asking
        .await
        .ok()?
        .error_for_status()
        .ok()?
        .json()
        .await
        .ok()?;
    serde_json::from_value(answer.get("data")?.clone()).ok()
}

fn write(lines: &[Line], format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, lines)?;
            writeln!(out)
        }
        Format::Csv => rows(lines).try_for_each(|row| {
            let cells = row.map(|cell| quoted(&cell));
            writeln!(out, "{}", cells.join(","))
        }),
        Format::Table => {
            let rows: Vec<_> = rows(lines).collect();
            let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
            let widths: [usize; COLUMNS] = std::array::from_fn(|at| width(at).unwrap_or(0));
            rows.iter().try_for_each(|row| {
                let mut line = String::new();
                for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                    line += &match at < NAMES {
                        true => format!("{cell:<width$}  "),
                        false => format!("{cell:>width$}  "),
                    };
                }
                writeln!(out, "{}", line.trim_end())
            })
        }
    }
}

/// Columns of names, which stand on the left …
const NAMES: usize = 4;
/// … and all of them.
const COLUMNS: usize = 9;

/// The head, and a row for each line.
fn rows(lines: &[Line]) -> impl Iterator<Item = [String; COLUMNS]> {
    let head = [
        "day",
        "tenant",
        "key",
        "model",
        "requests",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "usd",
    ];
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let body = lines.iter().map(move |line| {
        [
            text(&line.day),
            text(&line.tenant),
            text(&line.key),
            text(&line.model),
            line.requests.to_string(),
            line.input_tokens.to_string(),
            line.cached_tokens.to_string(),
            line.output_tokens.to_string(),
            format!("{:.6}", line.usd),
        ]
    });
    std::iter::once(head.map(Into::into)).chain(body)
}

/// As RFC 4180 has it.
fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}
