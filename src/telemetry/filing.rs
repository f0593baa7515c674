//! Finished requests on their way into the metrics, the log and the ring.
//!
//! To file a request by itself costs several times what it costs among others: from one to the
//! next, the code has left the caches, and other workers have written to the same counters. So
//! requests gather for a moment, and one thread files what has gathered. Who reads the metrics or
//! the ring has the rest filed first, and so sees every request that has ended.

use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::metrics::Metrics;
use super::ring::{Entry, REFUSED};
use super::tally::Tally;

/// How long requests gather.
const GATHER: Duration = Duration::from_millis(50);
/// Requests that may wait; whoever brings one more files them.
const MOST: usize = 2048;

/// Where finished requests wait.
#[derive(Debug, Default)]
pub(super) struct Tray {
    waiting: Mutex<Waiting>,
    /// The first request has come, or the end.
    changed: Condvar,
}

/// Where they are filed. Held until all that waited is, so that whoever has it filed finds it done.
pub(super) struct Desk {
    pub tally: Tally,
    /// What is being filed.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    ends: bool,
}

impl Tray {
    /// Adds a request; whether the tray is full.
    pub fn put(&self, entry: Entry) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.entries.push(entry);
        let count = waiting.entries.len();
        drop(waiting);
        if count == 1 {
            self.changed.notify_one();
        }
        count >= MOST
    }

    /// Takes all that waits, in the order in which it came, and leaves `emptied` in its place.
    pub fn take(&self, emptied: &mut Vec<Entry>) {
        mem::swap(emptied, &mut self.waiting.lock().entries);
    }

    /// Waits until requests have gathered; false at the end.
    fn gather(&self) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.entries.is_empty() && !waiting.ends {
            self.changed.wait(&mut waiting);
        }
        if !waiting.ends {
            self.changed.wait_for(&mut waiting, GATHER);
        }
        !waiting.ends
    }

    fn end(&self) {
        self.waiting.lock().ends = true;
        self.changed.notify_one();
    }
}

/// The thread that files. When dropped, it files what is left and ends.
pub struct Filing {
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

impl Filing {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has no room for one more.
    pub fn start(metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let filing = metrics.clone();
        let thread = thread::Builder::new()
            .name("filing".to_owned())
            .spawn(move || {
                while filing.tray.gather() {
                    filing.file();
                }
            })?;
        Ok(Self {
            metrics,
            thread: Some(thread),
        })
    }
}

impl Drop for Filing {
    fn drop(&mut self) {
        self.metrics.tray.end();
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
        self.metrics.file();
    }
}

/// Writes the request's line.
pub(super) fn log(entry: &Entry) {
    tracing::info!(
        request_id = %entry.id,
        generation = entry.generation,
        route = entry.route,
        path = entry.path,
        model = entry.model,
        status = entry.status,
        stream = entry.stream,
        tenant = entry.tenant.as_deref(),
        upstream = entry.upstream,
        personality = entry.personality,
        purpose = entry.purpose.as_deref(),
        memory = entry.memory.as_deref(),
        recall_cache = entry.cache_hit.map(|hit| if hit { "hit" } else { "miss" }),
        tool_calls = (entry.tool_calls > 0).then_some(entry.tool_calls),
        prompt_tokens = entry.prompt_tokens,
        completion_tokens = entry.completion_tokens,
        total_ms = milliseconds(entry.total),
        overhead_ms = milliseconds(entry.overhead),
        first_chunk_ms = entry.first_chunk.map(milliseconds),
        phases = entry.phases.server_timing(),
        failure = entry.failure,
        message = if entry.route == REFUSED { "request refused" } else { "request" },
    );
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ring::CHAT;

    fn entry(generation: u64) -> Entry {
        Entry {
            route: CHAT,
            status: 200,
            generation,
            ..Entry::default()
        }
    }

    fn counted(metrics: &Metrics) -> bool {
        let text = String::from_utf8(metrics.render()).unwrap();
        text.contains(r#"yychat_requests_total{route="chat",status="200",stream="false"} 2"#)
    }

    #[test]
    fn whoever_looks_sees_what_has_ended_whether_or_not_a_thread_files() {
        for filing in [false, true] {
            let metrics = Arc::new(Metrics::new());
            let _filing = filing.then(|| Filing::start(metrics.clone()).unwrap());
            metrics.finish(entry(1));
            metrics.finish(entry(2));
            assert!(counted(&metrics));
            let recent = metrics.ring().recent(9, None);
            let generations: Vec<_> = recent.iter().map(|entry| entry.generation).collect();
            assert_eq!(generations, [2, 1]);
        }
    }

    #[test]
    fn a_full_tray_is_filed_by_whoever_fills_it_and_the_end_files_the_rest() {
        let metrics = Arc::new(Metrics::new());
        for _ in 0..MOST {
            metrics.finish(entry(1));
        }
        assert!(metrics.tray.waiting.lock().entries.is_empty());
        metrics.finish(entry(2));
        drop(Filing::start(metrics.clone()).unwrap());
        assert!(metrics.tray.waiting.lock().entries.is_empty());
        assert_eq!(metrics.ring().recent(1, None)[0].generation, 2);
    }
}
