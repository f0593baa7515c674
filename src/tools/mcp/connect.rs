//! How a server is reached: a child process or a URL.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rmcp::RoleClient;
use rmcp::handler::client::ClientHandler;
use rmcp::model::{ClientConfig, Implementation, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RunningService, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Map;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::tools::http::{Egress, header_value, read_headers, read_url};
use crate::tools::manifest::Section;
use crate::tools::secrets::Secrets;
use crate::tools::template::{Place, Template, Templates};

/// Bytes of one message of a server at most.
const MAX_MESSAGE: usize = 4 << 20;

/// How long a child process may take to leave once its input has ended.
const LEAVE: Duration = Duration::from_secs(3);

/// Where a server is.
pub(super) enum Endpoint {
    Stdio(Box<Process>),
    Http(Box<Site>),
}

/// A child process: exact arguments and nothing in its environment but what is listed.
pub(super) struct Process {
    command: String,
    args: Vec<String>,
    templates: Templates,
    env: Vec<(String, Template)>,
    /// Variables of yychat's own, as they were at load.
    passed: Vec<(String, String)>,
    secrets: Secrets,
}

/// A URL.
pub(super) struct Site {
    egress: Egress,
    templates: Templates,
    url: Template,
    headers: Vec<(HeaderName, Template)>,
}

/// A running connection.
pub(super) struct Connection {
    pub service: RunningService<RoleClient, Listener>,
    /// The process, which ends with the connection.
    pub child: Option<Child>,
}

/// What a server tells without being asked.
pub(super) struct Listener {
    plugin: Arc<str>,
    /// Its tools changed.
    pub changed: Arc<Notify>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("yychat", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let plugin = &self.plugin;
        tracing::debug!(%plugin, progress = progress.progress, total = progress.total, "tool progress");
    }
}

impl Endpoint {
    /// Reads `transport` and what belongs to it.
    pub fn read(root: &mut Section<'_>, enabled: bool) -> Option<Self> {
        #[derive(Clone)]
        enum Transport {
            Stdio,
            Http,
        }
        let transport = root.choice(
            "transport",
            [
                ("stdio", Transport::Stdio),
                ("streamable_http", Transport::Http),
            ],
        )?;
        match transport {
            Transport::Stdio => Some(Self::Stdio(Box::new(Process::read(root)))),
            Transport::Http => Some(Self::Http(Box::new(Site::read(root, enabled)?))),
        }
    }

    pub fn secrets(&self) -> &Secrets {
        match self {
            Self::Stdio(process) => &process.secrets,
            Self::Http(site) => &site.egress.secrets,
        }
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub async fn connect(&self, plugin: &Arc<str>) -> Result<Connection, String> {
        let listener = Listener {
            plugin: plugin.clone(),
            changed: Arc::default(),
        };
        match self {
            Self::Stdio(process) => process.connect(listener).await,
            Self::Http(site) => site.connect(listener).await,
        }
    }
}

impl Process {
    fn read(root: &mut Section<'_>) -> Self {
        let command = root
            .required("command", "\"/usr/bin/uvx\"")
            .value
            .to_owned();
        let args = root.texts("args").unwrap_or_default();
        let secrets = root.secrets("secrets");
        let mut templates = Templates::new(secrets.clone());
        let mut env = Vec::new();
        for (name, text) in root.pairs("env") {
            match templates.add(Place::Text, text.value, Some(&[])) {
                Ok(template) => env.push((name.to_owned(), template)),
                Err(why) => {
                    let mend = "name secrets as in {{ secrets.key }}";
                    root.fault("env", format!("at {name} {why}"), mend);
                }
            }
        }
        let names = root.texts("pass_env").unwrap_or_default();
        let passed = names.into_iter().filter_map(|name| {
            let text = root.source.variable(&name)?.to_owned();
            Some((name, text))
        });
        Self {
            command,
            args,
            templates,
            env,
            passed: passed.collect(),
            secrets,
        }
    }

    async fn connect(&self, listener: Listener) -> Result<Connection, String> {
        let context = self.templates.context(&Map::new());
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.passed.iter().map(|(name, text)| (name, text)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C is for yychat, which then lets its calls finish.
            .process_group(0)
            .kill_on_drop(true);
        for (name, template) in &self.env {
            command.env(name, self.templates.render(template, &context)?);
        }
        let spawned = command.spawn();
        let mut child =
            spawned.map_err(|error| format!("{} cannot be run: {error}", self.command))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the process has no pipes".to_owned());
        };
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(log_errors(listener.plugin.clone(), errors));
        }
        let transport = AsyncRwTransport::new(output, input).with_max_line_length(MAX_MESSAGE);
        let service = serve_client(listener, transport);
        Ok(Connection {
            service: service.await.map_err(|error| error.to_string())?,
            child: Some(child),
        })
    }
}

/// What a process writes to its standard error goes to the log, some at a time.
async fn log_errors(plugin: Arc<str>, mut errors: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..read]);
        tracing::debug!(%plugin, text = text.trim_end(), "mcp server's standard error");
    }
}

impl Site {
    fn read(root: &mut Section<'_>, enabled: bool) -> Option<Self> {
        let egress = Egress::read(root, enabled);
        let mut templates = Templates::new(egress.secrets.clone());
        let url = read_url(root, &egress, &mut templates, Some(&[]));
        let headers = read_headers(root, &mut templates, Some(&[]));
        Some(Self {
            egress,
            templates,
            url: url?.1,
            headers,
        })
    }

    async fn connect(&self, listener: Listener) -> Result<Connection, String> {
        let client = self
            .egress
            .client
            .clone()
            .ok_or("the plugin is not enabled")?;
        let context = self.templates.context(&Map::new());
        let mut headers = HashMap::new();
        for (name, template) in &self.headers {
            let text = self.templates.render(template, &context)?;
            headers.insert(name.clone(), header_value(name, &text)?);
        }
        let url = self.templates.render(&self.url, &context)?;
        let config = StreamableHttpClientTransportConfig::with_uri(url)
            .custom_headers(headers)
            .max_sse_event_size(MAX_MESSAGE)
            .max_json_response_size(MAX_MESSAGE);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let service = serve_client(listener, transport).await;
        Ok(Connection {
            service: service.map_err(|error| chain(&error))?,
            child: None,
        })
    }
}

/// An error and its causes, each as it says itself.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Lets a process leave; its input has ended. One that stays is killed.
pub(super) async fn reap(child: Option<Child>) {
    let Some(mut child) = child else {
        return;
    };
    if tokio::time::timeout(LEAVE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        tracing::warn!(%error, "mcp server cannot be killed");
    }
}
