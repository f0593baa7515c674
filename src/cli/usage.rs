//! `yychat usage`: what keys used, by model and day, from the running gateway or from its store.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::config::model::Server;
use crate::error::{Fault, Faults};
use crate::memory::Memory;
use crate::outbound;
use crate::quota::Ledger;
use crate::quota::report::{By, Line, days, report};
use crate::snapshot::{ADMIN_KEY, Store};

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
    let mut lines = match runtime.block_on(ask(&config.server, command))? {
        Some(lines) => lines,
        None if !config.memory.enabled => {
            let what = "no gateway runs here, and usage is stored where memory is, which is off";
            return Err(Fault::new("memory.enabled", what, "ask while the gateway runs").into());
        }
        None => {
            let memory = Memory::open_existing(&config.memory, None)?;
            let ledger = Ledger::new(Some(Arc::new(memory)));
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
    let mut shown = Vec::new();
    write(&lines, command.format, &mut shown)
        .map_err(|error| Fault::new("yychat usage", error.to_string(), ""))?;
    Ok(super::print(&String::from_utf8_lossy(&shown))?)
}

/// What a running gateway says; `None` where none answers.
///
/// # Errors
///
/// That one answers, and wants a key that this configuration does not have.
async fn ask(server: &Server, command: &Command) -> Result<Option<Vec<Line>>, Fault> {
    let Some(answer) = send(server, command).await else {
        return Ok(None);
    };
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status()) {
        let admin = server.admin_listen;
        let what = format!("the gateway at {admin} shows usage to its admin key alone");
        let mend = "give this command the gateway's own configuration, and the variable of the key";
        return Err(Fault::new(ADMIN_KEY, what, mend));
    }
    let lines = answer.error_for_status().ok();
    let lines = match lines {
        Some(answer) => answer.json::<Answer>().await.ok(),
        None => None,
    };
    Ok(lines.map(|answer| answer.data))
}

/// What the endpoint answers, as far as it is shown here.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Line>,
}

async fn send(server: &Server, command: &Command) -> Option<reqwest::Response> {
    let mut url = url::Url::parse(&format!("http://{}/v1/usage", server.admin_listen)).ok()?;
    for (name, value) in [("from", &command.from), ("to", &command.to)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url.query_pairs_mut().append_pair("by", &command.by);
    let client = outbound::trusting(&url, None).ok()?.build().ok()?;
    let asking = client.get(url).timeout(ANSWER);
    let asking = match &server.admin_key {
        Some(key) => asking.bearer_auth(key.expose_secret()),
        None => asking,
    };
    asking.send().await.ok()
}

fn write(lines: &[Line], format: Format, mut out: &mut Vec<u8>) -> io::Result<()> {
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
