//! `plugins/<name>/plugin.toml`, from text to a [`Plugin`] that is ready to run.

mod section;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use section::Section;
pub(super) use source::Source;

use toml::de::DeTable;

use super::builtin::Builtin;
use super::call::Rate;
use super::http::{Egress, Request};
use super::mcp::Server;
use super::schema::Schema;
use super::tool::{Kind, MAX_NAME_BYTES, Parts, Run, Tool};
use crate::error::{Fault, Faults};
use crate::reading::Reading;

/// Calls of all users that a tool takes a minute, where its plugin does not say.
const CALLS_PER_MINUTE: u32 = 600;
/// One that asks nobody takes as many as come.
const BUILTIN_CALLS_PER_MINUTE: u32 = MOST_CALLS_PER_MINUTE;
const MOST_CALLS_PER_MINUTE: u32 = 1_000_000;

/// One plugin, compiled.
#[derive(Debug)]
pub(super) struct Plugin {
    pub name: Arc<str>,
    pub kind: Kind,
    pub enabled: bool,
    /// The variable that it waits for, if it is not enabled for want of one.
    pub waits_for: Option<String>,
    pub provides: Provides,
    /// Its manifest, for faults of several plugins.
    pub source: PathBuf,
    /// Equal for two loads that read the same.
    pub fingerprint: [u8; 32],
}

/// Where a plugin's tools come from.
#[derive(Debug)]
pub(super) enum Provides {
    /// The manifest, each with its line.
    Tools(Vec<(Arc<Tool>, usize)>),
    /// A server, which lists its own.
    Server(Server),
}

impl Plugin {
    /// The tools of its manifest, each with its line.
    pub fn tools(&self) -> &[(Arc<Tool>, usize)] {
        match &self.provides {
            Provides::Tools(tools) => tools,
            Provides::Server(_) => &[],
        }
    }

    /// Its MCP server.
    pub fn server(&self) -> Option<&Server> {
        match &self.provides {
            Provides::Tools(_) => None,
            Provides::Server(server) => Some(server),
        }
    }

    /// Reads and compiles one folder.
    pub fn load(
        folder: &Path,
        variables: &BTreeMap<String, String>,
        reading: &Reading,
    ) -> Result<Self, Faults> {
        let source = Source::open(folder.join("plugin.toml"), variables, reading)?;
        let plugin = {
            let table = source.parse();
            // What follows from a syntax error need not be said.
            (!source.has_faults()).then(|| read(&source, &table, folder))
        };
        match plugin.flatten() {
            Some(plugin) if !source.has_faults() => Ok(plugin),
            _ => Err(source.into_faults()),
        }
    }
}

fn read(source: &Source<'_>, table: &DeTable<'_>, folder: &Path) -> Option<Plugin> {
    let mut root = Section::root(source, table);
    let name = read_name(&mut root, folder);
    root.text("description");
    let (enabled, waits_for) = root.enabled();
    source.needs_secrets.set(enabled);
    let kind = root.choice(
        "kind",
        [
            ("builtin", Kind::Builtin),
            ("http", Kind::Http),
            ("mcp", Kind::Mcp),
        ],
    )?;
    let usual = match kind {
        Kind::Builtin => BUILTIN_CALLS_PER_MINUTE,
        Kind::Http | Kind::Mcp => CALLS_PER_MINUTE,
    };
    let calls = root.number("calls_per_minute", usual, 1..=MOST_CALLS_PER_MINUTE);
    let provides = match kind {
        Kind::Builtin => read_builtin(&mut root, &name, calls),
        Kind::Http => read_http(&mut root, &name, calls, enabled),
        Kind::Mcp => Server::read(&mut root, name.clone(), calls, enabled).map(Provides::Server),
    };
    root.finish();
    Some(Plugin {
        name,
        kind,
        enabled,
        waits_for,
        provides: provides?,
        source: source.path.clone(),
        fingerprint: source.fingerprint(),
    })
}

/// `name`, or the folder's.
fn read_name(root: &mut Section<'_>, folder: &Path) -> Arc<str> {
    let folder = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = root.text("name").map_or(folder.as_ref(), |name| name.value);
    if let Some(why) = wrong_name(name) {
        root.fault("name", format!("is {name:?}, which {why}"), NAME_MEND);
    }
    name.into()
}

const NAME_MEND: &str = "give 1 to 64 letters, digits, `_` and `-`";

/// What the API's `^[a-zA-Z0-9_-]{1,64}$` would refuse.
fn wrong_name(name: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        Some("is empty or too long")
    } else if !name.chars().all(fits) {
        Some("holds other characters than a function's name may")
    } else {
        None
    }
}

fn read_builtin(root: &mut Section<'_>, plugin: &Arc<str>, calls: u32) -> Option<Provides> {
    let mut config = root.table("config");
    let source = root.source;
    let tools = read_tools(root, plugin, calls, |tool, _| {
        let name = tool.text("name")?;
        let builtin = Builtin::read(source, name.value, name.at, config.as_mut())?;
        Some(Run::Builtin(builtin))
    });
    if let Some(config) = config {
        config.finish();
    }
    Some(Provides::Tools(tools))
}

fn read_http(
    root: &mut Section<'_>,
    plugin: &Arc<str>,
    calls: u32,
    enabled: bool,
) -> Option<Provides> {
    let egress = Egress::read(root, enabled);
    let tools = read_tools(root, plugin, calls, |tool, schema| {
        let request = Request::read(tool, egress.clone(), schema)?;
        Some(Run::Http(Arc::new(request)))
    });
    Some(Provides::Tools(tools))
}

/// `[[tools]]`; `run` reads what the kind adds to each.
fn read_tools(
    root: &mut Section<'_>,
    plugin: &Arc<str>,
    calls: u32,
    mut run: impl FnMut(&mut Section<'_>, Option<&Schema>) -> Option<Run>,
) -> Vec<(Arc<Tool>, usize)> {
    let sections = root.required_tables("tools");
    let mut tools = Vec::new();
    for mut section in sections {
        let name = section.required("name", "\"calculator\"");
        if let Some(why) = wrong_name(name.value).filter(|_| !name.value.is_empty()) {
            section.fault(
                "name",
                format!("is {:?}, which {why}", name.value),
                NAME_MEND,
            );
        }
        let example = "\"Adds two numbers\": the model chooses by it";
        let description = section.required("description", example).value;
        let schema = read_schema(&mut section);
        let run = run(&mut section, schema.as_ref());
        if let (Some(schema), Some(run)) = (schema, run) {
            let tool = Tool::new(Parts {
                name: name.value.to_owned(),
                description: description.to_owned(),
                plugin: plugin.clone(),
                schema: Arc::new(schema),
                rate: Rate::per_minute(calls),
                run,
            });
            tools.push((Arc::new(tool), section.source.line(name.at)));
        }
        section.finish();
    }
    tools
}

/// `parameters`: the name of a JSON Schema file, or the schema itself; absent, there are none.
fn read_schema(section: &mut Section<'_>) -> Option<Schema> {
    let Some(found) = section.json("parameters") else {
        return Schema::compile(r#"{"type":"object","properties":{}}"#).ok();
    };
    let compiled = match found.value.as_str() {
        Some(file) => section
            .source
            .beside(file)
            .and_then(|text| Schema::compile(&text))
            .map_err(|why| format!("names {file:?}, which {why}")),
        None => Schema::compile(&found.value.to_string()),
    };
    match compiled {
        Ok(schema) => Some(schema),
        Err(why) => {
            let mend = "give a JSON Schema of an object: a file beside plugin.toml, or inline";
            section.fault("parameters", why, mend);
            None
        }
    }
}

/// A fault of one plugin against another.
pub(super) fn clash(plugin: &Plugin, line: usize, what: String, mend: &str) -> Fault {
    Fault::new(&plugin.source, what, mend).at_line(line)
}
