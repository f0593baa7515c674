//! Servers that speak the Model Context Protocol, <https://modelcontextprotocol.io>.
//!
//! One task keeps one connection to each server (`supervise`); what the server lists becomes
//! tools (`listing`); requests find the tools and the connection in [`Shared`], without waiting
//! for either.

mod connect;
mod listing;
mod supervise;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotificationParam,
    ClientRequest, ContentBlock, RequestId, ResourceContents, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, ServiceError};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call::{Failure, Outcome};
use super::manifest::Section;
use super::tool::Tool;
use connect::Endpoint;
use listing::Listing;

/// How many times its timeout a call may take in all if the server reports progress.
const PROGRESS_FACTOR: u32 = 4;

/// A server of one plugin. Dropping it ends its connection.
pub(super) struct Server {
    shared: Arc<Shared>,
    started: AtomicBool,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.shared.plugin)
    }
}

/// What the task that keeps the connection and the requests that use it both know.
struct Shared {
    plugin: Arc<str>,
    endpoint: Endpoint,
    listing: Listing,
    link: RwLock<Link>,
    /// Grows with each change of the tools.
    version: watch::Sender<u64>,
    /// A call saw signs that the connection is dead.
    suspect: Notify,
    /// Calls that wait for an answer.
    in_flight: AtomicUsize,
}

/// The connection as it is now.
struct Link {
    peer: Option<Peer<RoleClient>>,
    /// Empty while there is no connection.
    tools: Vec<Arc<Tool>>,
    status: Status,
}

/// What an operator is shown of a server.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub connected: bool,
    /// When `connected` last changed.
    pub since: SystemTime,
    pub error: Option<String>,
    /// Tools that are listed and not offered, each with the reason.
    pub withheld: Vec<String>,
}

impl Server {
    /// Reads the keys of `kind = "mcp"`.
    pub fn read(
        root: &mut Section<'_>,
        plugin: Arc<str>,
        calls: u32,
        enabled: bool,
    ) -> Option<Self> {
        let endpoint = Endpoint::read(root, enabled);
        let listing = Listing::read(root, plugin.clone(), calls);
        let stop = CancellationToken::new();
        Some(Self {
            shared: Arc::new(Shared {
                plugin,
                endpoint: endpoint?,
                listing,
                link: RwLock::new(Link {
                    peer: None,
                    tools: Vec::new(),
                    status: Status {
                        connected: false,
                        since: SystemTime::now(),
                        error: None,
                        withheld: Vec::new(),
                    },
                }),
                version: watch::Sender::new(0),
                suspect: Notify::new(),
                in_flight: AtomicUsize::new(0),
            }),
            started: AtomicBool::new(false),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Begins to connect; only the first time does anything.
    pub fn start(&self, runtime: &Handle) {
        if !self.started.swap(true, Ordering::AcqRel) {
            runtime.spawn(supervise::run(self.shared.clone(), self.stop.clone()));
        }
    }

    /// Grows with each change of [`Server::tools`].
    pub fn version(&self) -> u64 {
        *self.shared.version.borrow()
    }

    /// The tools that it offers now, under its own names.
    pub fn tools(&self) -> Vec<Arc<Tool>> {
        self.shared.link.read().tools.clone()
    }

    /// Tells of each change.
    #[cfg(test)]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    pub fn status(&self) -> Status {
        self.shared.link.read().status.clone()
    }

    /// Whether it may come to list a tool of that name.
    pub fn may_list(&self, name: &str) -> bool {
        self.shared.listing.allows(name)
    }
}

impl Shared {
    fn up(&self, peer: Peer<RoleClient>, tools: Vec<Arc<Tool>>, withheld: Vec<String>) {
        let mut link = self.link.write();
        if !link.status.connected {
            link.status.since = SystemTime::now();
        }
        link.peer = Some(peer);
        link.tools = tools;
        link.status.connected = true;
        link.status.error = None;
        link.status.withheld = withheld;
        drop(link);
        self.version.send_modify(|version| *version += 1);
    }

    fn down(&self, why: String) {
        let mut link = self.link.write();
        if link.status.connected {
            link.status.since = SystemTime::now();
        }
        link.peer = None;
        link.tools.clear();
        link.status.connected = false;
        link.status.error = Some(why);
        drop(link);
        self.version.send_modify(|version| *version += 1);
    }

    /// What a call's answer says.
    fn read(&self, answer: Result<ServerResult, ServiceError>) -> Result<String, Failure> {
        let redact = |text| self.endpoint.secrets().redact(text);
        match answer {
            Ok(ServerResult::CallToolResult(result)) => {
                let failed = result.is_error == Some(true);
                let text = redact(text(result));
                if failed {
                    let failure = Failure::new(Outcome::Failed, "the tool reported an error");
                    return Err(failure.answer(text));
                }
                Ok(text)
            }
            Ok(_) => {
                let message = "the tool's server asks for input, which it cannot be given";
                Err(Failure::new(Outcome::UpstreamError, message))
            }
            Err(ServiceError::Timeout { timeout }) => {
                self.suspect.notify_one();
                Err(Failure::timeout(timeout))
            }
            Err(ServiceError::McpError(error)) => {
                let message = format!("the tool's server answered error {}", error.code.0);
                let failure = Failure::new(Outcome::UpstreamError, message);
                Err(failure.answer(redact(error.message.into_owned())))
            }
            Err(error) => {
                self.suspect.notify_one();
                let message = format!("the tool's server cannot be reached: {error}");
                Err(Failure::new(Outcome::UpstreamError, redact(message)))
            }
        }
    }
}

/// The text of a result; what is not text is named.
fn text(result: CallToolResult) -> String {
    let blocks = result.content.into_iter().map(|block| match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => format!("[image, {}, not shown]", image.mime_type),
        ContentBlock::Audio(audio) => format!("[audio, {}, not shown]", audio.mime_type),
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { uri, .. } => format!("[file, {uri}]"),
            _ => "[something that is not text]".to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("[link, {}]", link.uri),
        _ => "[something that is not text]".to_owned(),
    });
    let text = blocks.collect::<Vec<_>>().join("\n");
    match result.structured_content {
        Some(structured) if text.is_empty() => structured.to_string(),
        _ => text,
    }
}

/// One tool of a server.
#[derive(Clone)]
pub(super) struct Remote {
    /// Weak, since the server's tools are kept in it.
    shared: Weak<Shared>,
    /// The server's own name of it.
    name: String,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.name)
    }
}

impl Remote {
    /// Calls the tool. The timeout begins anew with each progress that the server reports.
    pub async fn call(
        &self,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<String, Failure> {
        let shared = self.shared.upgrade();
        let peer = shared
            .as_ref()
            .and_then(|shared| shared.link.read().peer.clone());
        let (Some(shared), Some(peer)) = (shared, peer) else {
            let message = "the tool's server is not connected; go on without it";
            return Err(Failure::new(Outcome::UpstreamError, message));
        };
        let counted = InFlight::new(&shared.in_flight);
        let longest = timeout * PROGRESS_FACTOR;
        let answer = self.ask(peer, arguments, timeout);
        // The inner timeouts count from the request's sending, and that may hang, too.
        let answer = match tokio::time::timeout(longest + timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ServiceError::Timeout { timeout: longest }),
        };
        drop(counted);
        shared.read(answer)
    }

    async fn ask(
        &self,
        peer: Peer<RoleClient>,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<ServerResult, ServiceError> {
        let params = CallToolRequestParams::new(self.name.clone()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::with_timeout(timeout)
            .reset_timeout_on_progress()
            .with_max_total_timeout(timeout * PROGRESS_FACTOR);
        let handle = peer.send_cancellable_request(request, options).await?;
        let mut abandoned = CancelOnDrop(Some((peer, handle.id.clone())));
        let answer = handle.await_response().await;
        abandoned.0 = None;
        answer
    }
}

/// Counts a call while it lasts.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(calls: &'a AtomicUsize) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the server that nobody waits for an answer any more.
struct CancelOnDrop(Option<(Peer<RoleClient>, RequestId)>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((peer, id)) = self.0.take() else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let reason = Some("the caller left".to_owned());
                let params = CancelledNotificationParam::new(Some(id), reason);
                if let Err(error) = peer.notify_cancelled(params).await {
                    tracing::debug!(%error, "cancellation not delivered");
                }
            });
        }
    }
}
