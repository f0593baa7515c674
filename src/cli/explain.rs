//! `yychat explain request.json`: what a chat request would become, insertions in colour.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::error::{Fault, Faults};
use crate::memory::{Memory, embedding};
use crate::snapshot::{Caller, Store};
use crate::telemetry::Ledger;
use crate::turn::{self, HiddenRounds, PrepareContext, Wish};

/// What to explain.
#[derive(Args)]
pub struct Command {
    /// A chat request as JSON; `-`: from standard input
    file: PathBuf,
    /// A header field of it, such as `X-YYChat-Personality: friendly`; may be given often
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Whose key it would come with
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The API that it is made to: chat, responses or messages
    #[arg(long, default_value = "chat", value_parser = dialect)]
    dialect: Dialect,
    /// Prints what `POST /v1/preview` answers
    #[arg(long)]
    json: bool,
}

fn dialect(name: &str) -> Result<Dialect, String> {
    let mut all = Dialect::ALL.into_iter();
    let found = all.find(|known| known.name() == name);
    found.ok_or_else(|| format!("name one of {}", Dialect::ALL.map(Dialect::name).join(", ")))
}

/// Explains a request with the files and the store as they are. A store that a running gateway
/// has open is left out, and that is said.
///
/// # Errors
///
/// A file that cannot be read, or the error that the request would meet.
pub fn run(store: &Store, command: &Command) -> Result<(), Faults> {
    let snapshot = store.load();
    let body = read(&command.file)
        .map_err(|error| fault(&command.file, format!("cannot be read: {error}")))?;
    let mut headers = HeaderMap::new();
    for field in &command.header {
        let (name, value) = read_header(field)?;
        headers.append(name, value);
    }
    let memory = match snapshot.config.memory.enabled {
        false => None,
        true => embedding::open(&snapshot.config.memory)
            .and_then(|embedder| Memory::open_existing(&snapshot.config.memory, embedder))
            .inspect_err(|fault| match Memory::is_begun(&snapshot.config.memory) {
                true => eprintln!(
                    "memory is left out: {fault}\n\
                     note: where a gateway has it open, its POST /v1/preview shows what it recalls"
                ),
                false => eprintln!("note: no memory is kept here yet, so nothing is recalled"),
            })
            .ok(),
    };
    let asked = PrepareContext {
        snapshot: &snapshot,
        memory: memory.as_ref(),
        caller: &Caller {
            tenant: command.tenant.as_str().into(),
            ..Caller::anonymous()
        },
        hidden_rounds: &HiddenRounds::default(),
        dialect: command.dialect,
        wish: Wish::Answer,
        headers: &headers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fault(&command.file, format!("no runtime: {error}")))?;
    let mut ledger = Ledger::new(Instant::now());
    let explained = runtime
        .block_on(turn::prepare(asked, body.into(), &mut ledger))
        .and_then(|turn| turn.explain(&snapshot))
        .map_err(|error| fault(&command.file, error.to_string()))?;
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = std::io::stdout().is_terminal() && !unwanted;
    let shown = match command.json {
        true => format!("{explained:#}\n"),
        false => show(&explained, colour),
    };
    Ok(super::print(&shown)?)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    Ok(body)
}

fn fault(path: &Path, what: String) -> Fault {
    Fault::new(path, what, "")
}

fn read_header(field: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let parts = field.split_once(':').and_then(|(name, value)| {
        let name = name.trim().parse().ok()?;
        Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
    });
    parts.ok_or_else(|| {
        let mend = "write it as in `X-YYChat-Personality: friendly`";
        Fault::new("--header", format!("{field:?} is no header field"), mend)
    })
}

/// The body with its insertions marked, then a line for each and for each record.
fn show(explained: &Value, colour: bool) -> String {
    let (on, off) = if colour {
        ("\x1b[32m", "\x1b[0m")
    } else {
        ("⟦", "⟧")
    };
    let body = explained["body"].as_str().unwrap_or_default();
    let insertions = explained["insertions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    let mut at = 0;
    let place = |value: &Value| usize::try_from(value.as_u64()?).ok();
    for insertion in insertions {
        let (start, end) = (place(&insertion["start"]), place(&insertion["end"]));
        let Some((before, inside)) = start
            .zip(end)
            .and_then(|(start, end)| Some((body.get(at..start)?, (body.get(start..end)?, end))))
        else {
            continue;
        };
        text += &format!("{before}{on}{}{off}", inside.0);
        at = inside.1;
    }
    text += body.get(at..).unwrap_or_default();
    text += &format!(
        "\n\n{} bytes to {}, sha256 {}\n",
        explained["length"], explained["upstream"], explained["sha256"]
    );
    for insertion in insertions {
        let (source, why) = (&insertion["source"], &insertion["why"]);
        text += &format!("+ {source} at {}: {why}\n", insertion["start"]);
    }
    for cut in explained["cuts"].as_array().into_iter().flatten() {
        text += &format!("- cut at {}: {}\n", cut["start"], cut["text"]);
    }
    let memory = &explained["memory"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    text += &format!("memory: {}\n", memory["outcome"]);
    if let Some(reason) = memory["reason"].as_str() {
        text += &format!(
            "  because: {reason} {}\n",
            word(&explained["identity"]["unfit"])
        );
    }
    for record in memory["records"].as_array().into_iter().flatten() {
        let mark = if record["injected"] == true { "+" } else { " " };
        text += &format!(
            "{mark} {:.3} {}\n",
            record["score"].as_f64().unwrap_or(0.0),
            record["text"]
        );
    }
    text
}
