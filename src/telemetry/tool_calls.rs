//! The gateway's tools: what became of their calls, and why none were offered.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use prometheus::{IntCounterVec, Registry};

use super::metrics::OTHER;
use super::registry::counters;

/// Tools that have a series of their own; an MCP server may name any number of them.
const MOST_TOOLS: usize = 100;

pub struct ToolCalls {
    calls: IntCounterVec,
    withheld: IntCounterVec,
    /// The tools that have a series.
    known: Mutex<BTreeSet<String>>,
}

impl ToolCalls {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            calls: counters(
                registry,
                "yychat_tool_calls_total",
                "Calls of the gateway's tools, by tool and how they ended",
                &["tool", "outcome"],
            ),
            withheld: counters(
                registry,
                "yychat_tools_withheld_total",
                "Requests that were offered none of the gateway's tools, by the reason",
                &["reason"],
            ),
            known: Mutex::default(),
        }
    }

    /// Counts a request that was offered none.
    pub fn withheld(&self, reason: &'static str) {
        self.withheld.with_label_values(&[reason]).inc();
    }

    /// Counts a call. Tools past the first hundred are counted as `other`.
    pub fn called(&self, tool: &str, outcome: &'static str) {
        let mut known = self.known.lock();
        let has_series = known.contains(tool) || {
            let room = known.len() < MOST_TOOLS;
            room && known.insert(tool.to_owned())
        };
        let tool = if has_series { tool } else { OTHER };
        self.calls.with_label_values(&[tool, outcome]).inc();
    }
}
