//! One tool that can be offered and called.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::builtin::Builtin;
use super::call::{CallContext, CallResult, Failure, Outcome, Rate};
use super::http::Request;
use super::mcp::Remote;
use super::schema::Schema;
use crate::dialect::{Dialect, ToolSpec};

/// Hints remembered for one tool; more can only be left over from edited personalities.
const MAX_HINTS: usize = 256;

/// Bytes of a function's name at most.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools>
pub(super) const MAX_NAME_BYTES: usize = 64;

/// What runs a plugin's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A function of this program.
    Builtin,
    /// An HTTP request.
    Http,
    /// A server that speaks the Model Context Protocol.
    Mcp,
}

/// A tool, ready to be offered and called.
#[derive(Debug)]
pub struct Tool {
    name: String,
    description: String,
    plugin: Arc<str>,
    schema: Arc<Schema>,
    rate: Rate,
    run: Run,
    /// In each dialect's words, made when it is first offered so …
    definitions: [OnceLock<Bytes>; Dialect::ALL.len()],
    /// … and with personas' hints.
    hinted: RwLock<BTreeMap<(Dialect, String), Bytes>>,
}

/// How a tool is run.
#[derive(Debug, Clone)]
pub(super) enum Run {
    Builtin(Builtin),
    Http(Arc<Request>),
    Mcp(Remote),
}

/// What `GET /v1/tools` shows of a tool.
#[derive(Debug, Clone, Serialize)]
pub struct ToolInfo {
    pub name: String,
    pub description: String,
    /// The JSON Schema of the parameters.
    pub parameters: Box<RawValue>,
    pub plugin: String,
    pub kind: Kind,
}

/// What a tool is made of.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub name: String,
    pub description: String,
    pub plugin: Arc<str>,
    pub schema: Arc<Schema>,
    pub rate: Rate,
    pub run: Run,
}

impl Tool {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            name: parts.name,
            description: parts.description,
            plugin: parts.plugin,
            schema: parts.schema,
            rate: parts.rate,
            run: parts.run,
            definitions: Default::default(),
            hinted: RwLock::default(),
        }
    }

    /// The same tool under another name.
    pub(super) fn renamed(&self, name: String) -> Self {
        Self::new(Parts {
            name,
            description: self.description.clone(),
            plugin: self.plugin.clone(),
            schema: self.schema.clone(),
            rate: self.rate.clone(),
            run: self.run.clone(),
        })
    }

    /// The name that the model calls.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plugin that it comes from.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What runs it.
    pub fn kind(&self) -> Kind {
        match self.run {
            Run::Builtin(_) => Kind::Builtin,
            Run::Http(_) => Kind::Http,
            Run::Mcp(_) => Kind::Mcp,
        }
    }

    pub(super) fn info(&self) -> ToolInfo {
        ToolInfo {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.schema.source.clone(),
            plugin: self.plugin.to_string(),
            kind: self.kind(),
        }
    }

    /// The tool in a dialect's words, its description extended by a persona's hint.
    pub fn definition(&self, dialect: Dialect, hint: &str) -> Bytes {
        if hint.is_empty() {
            let ready = &self.definitions[dialect as usize];
            let ready = ready.get_or_init(|| dialect.tool(&self.spec(&self.description)));
            return ready.clone();
        }
        let key = (dialect, hint.to_owned());
        if let Some(ready) = self.hinted.read().get(&key) {
            return ready.clone();
        }
        let description = format!("{}\n{hint}", self.description);
        let ready = dialect.tool(&self.spec(&description));
        let mut hinted = self.hinted.write();
        if hinted.len() >= MAX_HINTS {
            hinted.clear();
        }
        hinted.insert(key, ready.clone());
        ready
    }

    fn spec<'a>(&'a self, description: &'a str) -> ToolSpec<'a> {
        ToolSpec {
            name: &self.name,
            description,
            parameters: &self.schema.source,
        }
    }

    /// Runs the tool with the arguments as the model wrote them. Dropping the future cancels the
    /// call, at an MCP server too.
    pub async fn call(&self, arguments: &str, context: CallContext<'_>) -> CallResult {
        let started = Instant::now();
        let answer = self.attempt(arguments, context).await;
        let answer = answer.and_then(|content| match content.len() > context.result_cap {
            true => Err(Failure::too_large(context.result_cap)),
            false => Ok(content),
        });
        let duration = started.elapsed();
        self.log(answer.as_ref().err(), duration, context.request_id);
        match answer {
            Ok(content) => CallResult {
                content,
                outcome: Outcome::Ok,
                duration,
            },
            Err(failure) => failure.into_result(duration),
        }
    }

    async fn attempt(&self, arguments: &str, context: CallContext<'_>) -> Result<String, Failure> {
        let arguments = self
            .schema
            .arguments(arguments)
            .map_err(|message| Failure::new(Outcome::InvalidArguments, message))?;
        self.rate.admit(Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            let message = format!("the tool is called too often; wait {seconds} s or do without");
            Failure::new(Outcome::RateLimited, message)
        })?;
        self.run(arguments, context).await
    }

    async fn run(
        &self,
        arguments: Map<String, Value>,
        context: CallContext<'_>,
    ) -> Result<String, Failure> {
        let timeout: Duration = context.timeout;
        match &self.run {
            Run::Builtin(builtin) => builtin.call(&arguments),
            Run::Http(request) => {
                let answer = request.send(arguments, context.result_cap);
                match tokio::time::timeout(timeout, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Failure::timeout(timeout)),
                }
            }
            Run::Mcp(remote) => remote.call(arguments, timeout).await,
        }
    }

    /// Arguments and results stay out of the log: they are the user's.
    fn log(&self, failure: Option<&Failure>, duration: Duration, request_id: &str) {
        let Self { name, plugin, .. } = self;
        let seconds = duration.as_secs_f64();
        match failure {
            None => {
                tracing::info!(tool = name, %plugin, outcome = "ok", seconds, request_id, "tool call");
            }
            Some(failure) if failure.outcome == Outcome::InvalidArguments => {
                let outcome = failure.outcome.label();
                tracing::info!(tool = name, %plugin, outcome, seconds, request_id, "tool call");
            }
            Some(Failure {
                outcome, message, ..
            }) => {
                let outcome = outcome.label();
                tracing::warn!(tool = name, %plugin, outcome, seconds, request_id, error = message, "tool call");
            }
        }
    }
}
