//! Tools that the gateway owns: plugins under `plugins/`, compiled once a generation, offered to
//! the model as ready bytes and run here when it calls them.
//!
//! ```text
//! folder ──load──▶ manifest ─┬─ builtin ─┐
//!                            ├─ http ────┼─▶ Tool ──offer──▶ definition ──(model)──▶ call
//!                            └─ mcp ─────┘   (an MCP server lists its own, at any time)
//! ```
//!
//! Where a tool may connect to is said in [`egress`], how a model's arguments get into a request
//! in [`template`].

mod builtin;
mod call;
mod egress;
mod http;
mod load;
mod manifest;
mod mcp;
mod schema;
mod secrets;
mod template;
#[cfg(test)]
mod tests;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::runtime::Handle;

pub use call::{CallContext, CallResult, Outcome};
pub use egress::is_public;
pub use tool::{Kind, Tool, ToolInfo};

use crate::dialect::Dialect;
use crate::error::Faults;
use crate::reading::Reading;
use crate::shipped;
use call::Failure;
use manifest::Plugin;
use tool::MAX_NAME_BYTES;

/// How alike two names are, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.7;

/// Every tool of one generation.
#[derive(Debug, Default)]
pub struct Toolbox {
    plugins: Vec<Arc<Plugin>>,
    table: RwLock<Arc<Table>>,
}

/// The tools that there are, by the names that the model calls them by.
#[derive(Debug, Default)]
struct Table {
    /// The sum of the servers' versions for which this holds. Each only grows, and so does it.
    version: u64,
    tools: BTreeMap<String, Arc<Tool>>,
}

/// A tool in a request.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What to call when the model asks for it, whatever becomes of the toolbox meanwhile.
    pub tool: Arc<Tool>,
    /// What the model is told of it, in the dialect of the request.
    pub definition: Bytes,
}

/// What an operator is shown of a plugin.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    pub plugin: String,
    pub kind: Kind,
    pub state: State,
    /// When the state began, for an MCP server.
    pub since: Option<SystemTime>,
    /// Why it is not ready, and how to mend it.
    pub detail: Option<String>,
    /// Tools that it offers now.
    pub tools: usize,
    /// Tools that an MCP server lists and that are not offered, each with the reason.
    pub withheld: Vec<String>,
}

/// Whether a plugin's tools can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ready,
    /// Its manifest says so, or the variable that it waits for is not set.
    Disabled,
    /// Its server has not been reached yet.
    Connecting,
    /// Its server was lost or cannot be reached; it is tried again and again.
    Down,
}

impl Toolbox {
    /// Reads and compiles every folder of `dir`, with secrets from `variables`. Plugins that read
    /// as they did in `previous` are taken over, and MCP connections with them.
    ///
    /// Connects to nothing: see [`Toolbox::start`]. Where `dir` may be absent, use
    /// [`Toolbox::default`] instead.
    ///
    /// # Errors
    ///
    /// All faults of all plugins at once.
    pub fn load(
        dir: &Path,
        variables: &BTreeMap<String, String>,
        previous: Option<&Self>,
        reading: &Reading,
    ) -> Result<Self, Faults> {
        let previous = previous.map_or(&[][..], |previous| &previous.plugins);
        let plugins = load::folder(dir, variables, previous, reading)?;
        let table = RwLock::new(Arc::new(Table::new(&plugins)));
        Ok(Self { plugins, table })
    }

    /// Whether the plugins are those of the program itself, or none at all.
    pub fn is_shipped(&self) -> bool {
        let mut plugins = self.plugins.iter();
        plugins.all(|plugin| shipped::holds(&plugin.source))
    }

    /// Begins to connect to the MCP servers, on `runtime`. Those that were taken over from the
    /// previous generation stay connected.
    pub fn start(&self, runtime: &Handle) {
        for server in servers(&self.plugins) {
            server.start(runtime);
        }
    }

    /// The tools for a request, without those whose names the client uses itself.
    ///
    /// `allowed` are a persona's, with hints that extend the descriptions: `None` is every tool,
    /// an empty list is none, and so is a name that there is no tool of. They come in its order.
    pub fn offer(
        &self,
        dialect: Dialect,
        allowed: Option<&[(&str, &str)]>,
        client_tools: &[String],
    ) -> Vec<Offered> {
        let table = self.table();
        let offered = |tool: &Arc<Tool>, hint: &str| Offered {
            tool: tool.clone(),
            definition: tool.definition(dialect, hint),
        };
        let is_free = |name: &str| !client_tools.iter().any(|taken| taken == name);
        let Some(allowed) = allowed else {
            let free = table.tools.values().filter(|tool| is_free(tool.name()));
            return free.map(|tool| offered(tool, "")).collect();
        };
        let mut seen = BTreeSet::new();
        let wanted = allowed
            .iter()
            .filter(|(name, _)| is_free(name) && seen.insert(*name));
        wanted
            .filter_map(|(name, hint)| Some(offered(table.tools.get(*name)?, hint)))
            .collect()
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Tool>> {
        self.table().tools.get(name).cloned()
    }

    /// Every tool, by name, as `GET /v1/tools` shows it.
    pub fn list(&self) -> Vec<ToolInfo> {
        self.table()
            .tools
            .values()
            .map(|tool| tool.info())
            .collect()
    }

    /// Runs the tool of that name; see [`Tool::call`].
    pub async fn call(&self, name: &str, arguments: &str, context: CallContext<'_>) -> CallResult {
        let table = self.table();
        match table.tools.get(name) {
            Some(tool) => tool.call(arguments, context).await,
            None => unknown_tool(name, table.tools.keys().map(String::as_str)),
        }
    }

    /// Whether a personality may name a tool: some plugin declares it, enabled or not, or an MCP
    /// server may come to list it.
    ///
    /// # Errors
    ///
    /// The tool that was meant, where one is alike.
    pub fn check_name(&self, name: &str) -> Result<(), Option<&str>> {
        let declared = || self.plugins.iter().flat_map(|plugin| plugin.tools());
        let from_server = self.plugins.iter().any(|plugin| {
            let own = name
                .strip_prefix(&*plugin.name)
                .and_then(|rest| rest.strip_prefix("__"));
            let server = plugin.server();
            server.is_some_and(|server| {
                server.may_list(name) || own.is_some_and(|own| server.may_list(own))
            })
        });
        if from_server || declared().any(|(tool, _)| tool.name() == name) {
            return Ok(());
        }
        Err(nearest(name, declared().map(|(tool, _)| tool.name())))
    }

    /// How each plugin is, by folder.
    pub fn health(&self) -> Vec<Health> {
        self.plugins.iter().map(|plugin| health(plugin)).collect()
    }

    /// The table in force, made anew when a server's tools changed.
    fn table(&self) -> Arc<Table> {
        let table = self.table.read().clone();
        if table.version == version(&self.plugins) {
            return table;
        }
        let table = Arc::new(Table::new(&self.plugins));
        *self.table.write() = table.clone();
        table
    }
}

impl Table {
    fn new(plugins: &[Arc<Plugin>]) -> Self {
        // Read before the tools: a change in between is seen the next time.
        let version = version(plugins);
        let enabled = || plugins.iter().filter(|plugin| plugin.enabled);
        let mut tools: BTreeMap<String, Arc<Tool>> = BTreeMap::new();
        for (tool, _) in enabled().flat_map(|plugin| plugin.tools()) {
            tools.insert(tool.name().to_owned(), tool.clone());
        }
        let listed: Vec<_> = enabled()
            .filter_map(|plugin| plugin.server())
            .flat_map(|server| server.tools())
            .collect();
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for tool in &listed {
            *uses.entry(tool.name()).or_default() += 1;
        }
        let declared: BTreeSet<_> = tools.keys().cloned().collect();
        for tool in &listed {
            let name = tool.name();
            if uses[name] == 1 && !declared.contains(name) {
                tools.insert(name.to_owned(), tool.clone());
                continue;
            }
            // Of plugins' names no two are alike, but a tool of another may look like this one.
            let mut name = format!("{}__{name}", tool.plugin());
            name.truncate(MAX_NAME_BYTES);
            let renamed = Arc::new(tool.renamed(name.clone()));
            tools.entry(name).or_insert(renamed);
        }
        Self { version, tools }
    }
}

fn servers(plugins: &[Arc<Plugin>]) -> impl Iterator<Item = &mcp::Server> {
    let enabled = plugins.iter().filter(|plugin| plugin.enabled);
    enabled.filter_map(|plugin| plugin.server())
}

fn version(plugins: &[Arc<Plugin>]) -> u64 {
    servers(plugins).map(mcp::Server::version).sum()
}

fn health(plugin: &Plugin) -> Health {
    let mut health = Health {
        plugin: plugin.name.to_string(),
        kind: plugin.kind,
        state: State::Ready,
        since: None,
        detail: None,
        tools: plugin.tools().len(),
        withheld: Vec::new(),
    };
    if !plugin.enabled {
        health.state = State::Disabled;
        health.tools = 0;
        let waits = plugin.waits_for.as_ref();
        health.detail = waits.map(|name| format!("set the environment variable {name}"));
    } else if let Some(server) = plugin.server() {
        let status = server.status();
        health.state = match (status.connected, &status.error) {
            (true, _) => State::Ready,
            (false, None) => State::Connecting,
            (false, Some(_)) => State::Down,
        };
        health.since = Some(status.since);
        health.detail = status.error;
        health.tools = server.tools().len();
        health.withheld = status.withheld;
    }
    health
}

/// What a call of a tool that is not among `known` gives.
pub fn unknown_tool<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> CallResult {
    let message = match nearest(name, known) {
        Some(known) => format!("there is no tool of that name; did you mean {known:?}?"),
        None => "there is no tool of that name; call one that you were offered".to_owned(),
    };
    Failure::new(Outcome::UnknownTool, message).into_result(Duration::ZERO)
}

/// The candidate that is most like `name`, if one is alike enough to be meant.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
