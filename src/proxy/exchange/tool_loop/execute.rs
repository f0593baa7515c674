//! Running the calls of one round.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::Answering;
use crate::dialect::Call;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::relay::pass_on;
use crate::proxy::exchange::watch::with_client;
use crate::telemetry::Phase;
use crate::tools::{CallContext, CallResult, unknown_tool};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

/// Calls of one round that run at the same time; the others wait for their turn.
const AT_ONCE: usize = 16;
/// Bytes of one result at most.
const RESULT_CAP: usize = 256 * 1024;
/// A comment, which clients of server-sent events pass over.
const PING: Bytes = Bytes::from_static(b": ping\n\n");

impl Answering<'_> {
    /// Runs the calls of a round, all at once, while the client is watched. Gives their results
    /// in the order of the calls.
    pub(super) async fn execute(
        &self,
        session: &mut Session,
        context: &mut Context,
        calls: &[Call],
    ) -> Result<Vec<String>, Failure> {
        context.ledger.enter(Phase::ToolExecution);
        context.tool_calls += calls.len();
        let id = context.request_id.to_string();
        let calls = calls.iter().map(|call| self.call(call, &id).boxed());
        let calls: Vec<_> = calls.collect();
        let running = futures_util::stream::iter(calls).buffered(AT_ONCE);
        let mut running = pin!(running.collect::<Vec<_>>());
        loop {
            let ping = async {
                match self.tools.ping_interval.filter(|_| self.is_stream) {
                    Some(interval) => tokio::time::sleep(interval).await,
                    None => std::future::pending().await,
                }
            };
            let next = async {
                tokio::select! {
                    biased;
                    results = &mut running => Some(results),
                    () = ping => None,
                }
            };
            match with_client(session, pin!(next)).await? {
                Some(results) => return Ok(results),
                None => pass_on(session, PING, false).await?,
            }
        }
    }

    /// Runs one call. A tool that was not offered is not run, whoever has it: the persona may
    /// forbid it.
    async fn call(&self, call: &Call, request_id: &str) -> String {
        let offered = self.chat.turn.offer().tools();
        let left = self.rounds.left(Instant::now());
        let limits = CallContext {
            timeout: self.tools.timeout.min(left),
            result_cap: RESULT_CAP,
            request_id,
        };
        let tool = offered
            .iter()
            .find(|offered| offered.tool.name() == call.name);
        let (label, result) = match tool {
            Some(offered) => {
                let calling = offered.tool.call(&call.arguments, limits);
                (call.name.as_str(), self.in_time(calling, left).await)
            }
            None => {
                let names = offered.iter().map(|offered| offered.tool.name());
                ("other", unknown_tool(&call.name, names))
            }
        };
        let metrics = self.chat.gateway.metrics();
        metrics.tools.called(label, result.outcome.label());
        result.content
    }

    /// A call that reports progress may outlast its own time limit, but not the answer's.
    async fn in_time(
        &self,
        calling: impl Future<Output = CallResult>,
        left: Duration,
    ) -> CallResult {
        match tokio::time::timeout(left, calling).await {
            Ok(result) => result,
            Err(_) => CallResult::timeout(self.tools.total_timeout),
        }
    }
}
