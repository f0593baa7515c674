//! Keeps one connection to one server: connects, lists, pings, and connects again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, PaginatedRequestParams, PingRequest, Tool};
use rmcp::service::{Peer, ServiceError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connect::{Connection, reap};

/// Connecting and listing, each.
const SETUP: Duration = Duration::from_secs(30);
/// Between two looks at whether the server is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
const PING: Duration = Duration::from_secs(10);
/// How long a connection may take to close.
const GOODBYE: Duration = Duration::from_secs(5);
/// The wait after the first failure; it doubles with each that follows.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Tools that a server may list.
const MAX_TOOLS: usize = 1000;

/// Runs until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let plugin = shared.plugin.clone();
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        let why = session(&shared, &stop).await;
        if stop.is_cancelled() {
            return;
        }
        let error = shared.endpoint.secrets().redact(why);
        tracing::warn!(%plugin, error, "mcp server lost");
        shared.down(error);
        if began.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

/// One connection from its beginning to its end; gives the reason of the end.
async fn session(shared: &Arc<Shared>, stop: &CancellationToken) -> String {
    let connecting = shared.endpoint.connect(&shared.plugin);
    let connecting = tokio::select! {
        connection = timeout(SETUP, connecting) => connection,
        () = stop.cancelled() => return "stopped".to_owned(),
    };
    let connection = match connecting {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return format!("cannot be connected: {why}"),
        Err(_) => return format!("did not shake hands within {SETUP:?}"),
    };
    let Connection { service, child } = connection;
    let peer = service.peer().clone();
    let changed = service.service().changed.clone();
    let closer = service.cancellation_token();
    let mut closed = Box::pin(service.waiting());
    let why = tokio::select! {
        why = watch(shared, &peer, &changed) => Some(why),
        () = stop.cancelled() => Some("stopped".to_owned()),
        _ = &mut closed => None,
    };
    let still_open = why.is_some().then_some(closed);
    // Nobody waits for a server that is slow to leave.
    tokio::spawn(async move {
        closer.cancel();
        if let Some(closed) = still_open {
            let _ = timeout(GOODBYE, closed).await;
        }
        reap(child).await;
    });
    why.unwrap_or_else(|| "closed the connection".to_owned())
}

/// Lists the tools when they change, and pings in between.
async fn watch(shared: &Arc<Shared>, peer: &Peer<RoleClient>, changed: &Notify) -> String {
    if let Err(why) = list(shared, peer).await {
        return why;
    }
    tracing::info!(plugin = %shared.plugin, "mcp server connected");
    loop {
        tokio::select! {
            () = changed.notified() => {
                if let Err(why) = list(shared, peer).await {
                    return why;
                }
            }
            () = shared.suspect.notified() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        // A server that does one thing at a time answers no ping while it works.
        if shared.in_flight.load(Ordering::Relaxed) > 0 {
            continue;
        }
        let ping = peer.send_request(ClientRequest::PingRequest(PingRequest::default()));
        match timeout(PING, ping).await {
            // A server that refuses to be pinged is alive.
            Ok(Ok(_) | Err(ServiceError::McpError(_))) => {}
            Ok(Err(error)) => return format!("cannot be reached: {error}"),
            Err(_) => return format!("did not answer a ping within {PING:?}"),
        }
    }
}

/// Asks for the tools, all pages of them, and puts them in force.
async fn list(shared: &Arc<Shared>, peer: &Peer<RoleClient>) -> Result<(), String> {
    let listed = match timeout(SETUP, pages(peer)).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return Err(format!("did not list its tools: {error}")),
        Err(_) => return Err(format!("did not list its tools within {SETUP:?}")),
    };
    let (tools, withheld) = shared.listing.judge(shared, listed);
    for tool in &withheld {
        tracing::warn!(plugin = %shared.plugin, tool, "tool of an mcp server is withheld");
    }
    shared.up(peer.clone(), tools, withheld);
    Ok(())
}

async fn pages(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, ServiceError> {
    let mut tools = Vec::new();
    let mut params = None;
    loop {
        let page = peer.list_tools(params).await?;
        tools.extend(page.tools);
        match page.next_cursor {
            Some(cursor) if tools.len() < MAX_TOOLS => {
                params = Some(PaginatedRequestParams::default().with_cursor(Some(cursor)));
            }
            _ => break,
        }
    }
    tools.truncate(MAX_TOOLS);
    Ok(tools)
}
