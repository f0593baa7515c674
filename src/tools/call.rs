//! One call of a tool: what it may take, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

/// The bounds of a call.
#[derive(Debug, Clone, Copy)]
pub struct CallContext<'a> {
    /// How long the tool may take. An MCP server that reports progress may take four times that.
    pub timeout: Duration,
    /// Bytes of the result at most; a larger one is not cut but refused, since half a JSON
    /// document misleads.
    pub result_cap: usize,
    /// For the log.
    pub request_id: &'a str,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult {
    /// What the model is told: the tool's answer, or `{"error": "…"}` with what was wrong and how
    /// to mend it.
    pub content: String,
    pub outcome: Outcome,
    /// Wall time.
    pub duration: Duration,
}

impl CallResult {
    /// What a call gives that was given up `after` so long.
    pub fn timeout(after: Duration) -> Self {
        Failure::timeout(after).into_result(after)
    }
}

/// How a call ended, as the label `outcome` of `yychat_tool_calls_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// Not JSON, not what the schema asks for, or not what the tool can compute.
    InvalidArguments,
    /// There is no such tool.
    UnknownTool,
    /// The tool's own `calls_per_minute` is used up.
    RateLimited,
    Timeout,
    /// More than `result_cap`.
    TooLarge,
    /// The tool's server has an address that tools may not reach.
    RefusedEgress,
    /// The tool's server is down, or answered an error or garbage.
    UpstreamError,
    /// The tool itself says that it failed.
    Failed,
}

impl Outcome {
    /// Every outcome, for making metrics beforehand.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::InvalidArguments,
        Self::UnknownTool,
        Self::RateLimited,
        Self::Timeout,
        Self::TooLarge,
        Self::RefusedEgress,
        Self::UpstreamError,
        Self::Failed,
    ];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InvalidArguments => "invalid_arguments",
            Self::UnknownTool => "unknown_tool",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::RefusedEgress => "refused_egress",
            Self::UpstreamError => "upstream_error",
            Self::Failed => "failed",
        }
    }
}

/// A call that gave no result.
#[derive(Debug)]
pub(super) struct Failure {
    pub outcome: Outcome,
    /// What was wrong, and what to do instead. It goes into the log as well.
    pub message: String,
    /// The tool's own words, for the model alone: they may repeat what the user said.
    pub answer: Option<String>,
}

impl Failure {
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
            answer: None,
        }
    }

    pub fn answer(mut self, answer: String) -> Self {
        self.answer = Some(answer);
        self
    }

    pub fn timeout(after: Duration) -> Self {
        let message = format!("the tool gave no answer within {after:?}; go on without it");
        Self::new(Outcome::Timeout, message)
    }

    pub fn too_large(cap: usize) -> Self {
        let message = format!("the answer is larger than {cap} bytes; ask for less of it");
        Self::new(Outcome::TooLarge, message)
    }

    /// What the caller gets.
    pub fn into_result(self, duration: Duration) -> CallResult {
        let content = match self.answer {
            Some(answer) => json!({ "error": self.message, "answer": answer }),
            None => json!({ "error": self.message }),
        };
        CallResult {
            content: content.to_string(),
            outcome: self.outcome,
            duration,
        }
    }
}

/// How many calls a minute a tool takes (the generic cell rate algorithm: one moment is kept,
/// the one at which all calls so far would have been served at an even pace).
#[derive(Debug, Clone)]
pub(super) struct Rate {
    spacing: Duration,
    served: Arc<Mutex<Option<Instant>>>,
}

impl Rate {
    const PERIOD: Duration = Duration::from_secs(60);

    /// `calls` of a minute may come at once.
    pub fn per_minute(calls: u32) -> Self {
        Self {
            spacing: Self::PERIOD / calls.max(1),
            served: Arc::default(),
        }
    }

    /// Takes one call's worth.
    ///
    /// # Errors
    ///
    /// How long to wait until there is room.
    pub fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut served = self.served.lock();
        let next = served.unwrap_or(now).max(now) + self.spacing;
        match next.checked_duration_since(now + Self::PERIOD) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *served = Some(next);
                Ok(())
            }
        }
    }
}
