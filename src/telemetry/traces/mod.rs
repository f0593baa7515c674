//! OpenTelemetry traces over OTLP: a span for each sampled request, and one below it for each phase.
//!
//! Whether a request is sampled is decided when its key is proven, and its spans are made of its
//! ledger when it has ended, by a task of their own: what a request itself pays is two ids, and
//! where it is sampled a list of when its phases began. Nothing of what was said is in them.

mod export;
mod span;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, request};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceState,
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::phases::{Interval, Ledger};
use super::ring::Entry;
use export::{BATCH, Exporter};

/// W3C's field of the trace that a request belongs to.
pub const TRACEPARENT: &str = "traceparent";
/// What those who took part in a trace say of it to each other.
pub const TRACESTATE: &str = "tracestate";

/// Ended requests that wait to be exported; more are dropped and counted.
const QUEUE: usize = 2048;

/// Where traces go, and under which name.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The full URL, `http://127.0.0.1:4318/v1/traces` say.
    pub endpoint: String,
    /// Fields sent with each export.
    pub headers: HashMap<String, SecretString>,
    /// `service.name`.
    pub service_name: String,
}

/// Begins and ends the traces of one gateway.
pub struct Tracer {
    ids: RandomIdGenerator,
    propagator: TraceContextPropagator,
    queue: mpsc::Sender<Ended>,
    /// Wakes the exporter when enough for a batch wait.
    many: Arc<Notify>,
    stop: CancellationToken,
    exporting: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

/// What a request knows of its trace.
#[derive(Debug)]
pub struct Trace {
    context: SpanContext,
    /// The client's span, where it sent one.
    parent: Option<SpanId>,
    /// What was asked for, where the request is sampled.
    asked: Option<(http::Method, String)>,
}

/// What an answer says of itself.
#[derive(Debug, Default)]
pub struct Answered {
    pub model: Option<String>,
    pub finish_reason: Option<String>,
}

/// A sampled request that has ended.
struct Ended {
    trace: Trace,
    entry: Entry,
    answered: Answered,
    intervals: Vec<Interval>,
}

impl Tracer {
    /// Starts exporting on `runtime`. `client` does the connecting, and bounds how long it takes.
    ///
    /// # Errors
    ///
    /// Says what the exporter cannot make sense of.
    pub fn start(
        settings: &Settings,
        client: reqwest::Client,
        metrics: Arc<Metrics>,
        runtime: &Handle,
    ) -> Result<Self, String> {
        let (queue, ended) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let exporter = Exporter::new(settings, client, metrics.clone())?;
        let many = Arc::<Notify>::default();
        let exporting = runtime.spawn(exporter.run(ended, many.clone(), stop.clone()));
        Ok(Self {
            ids: RandomIdGenerator::default(),
            propagator: TraceContextPropagator::new(),
            queue,
            many,
            stop,
            exporting: Mutex::new(Some(exporting)),
            metrics,
        })
    }

    /// A trace for a request: the client's where it sent one, which says too whether it is
    /// sampled; else a new one, sampled at `ratio`.
    pub fn begin(&self, request: &request::Parts, ratio: f64) -> Trace {
        let parent = self.parent(&request.headers);
        let trace_id = match &parent {
            Some(parent) => parent.trace_id(),
            None => self.ids.new_trace_id(),
        };
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled(),
            None => {
                let sampler = Sampler::TraceIdRatioBased(ratio);
                let result = sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        };
        let state = match &parent {
            Some(parent) => parent.trace_state().clone(),
            None => TraceState::default(),
        };
        let flags = TraceFlags::default().with_sampled(is_sampled);
        Trace {
            context: SpanContext::new(trace_id, self.ids.new_span_id(), flags, false, state),
            parent: parent.map(|parent| parent.span_id()),
            asked: is_sampled.then(|| (request.method.clone(), request.uri.path().to_owned())),
        }
    }

    /// The client's span. Two of them say nothing.
    fn parent(&self, headers: &HeaderMap) -> Option<SpanContext> {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        sent.next().filter(|_| sent.next().is_none())?;
        let context = self.propagator.extract(&HeaderExtractor(headers));
        let parent = context.span().span_context().clone();
        parent.is_valid().then_some(parent)
    }

    /// Hands a request that has just ended to the exporter, if it is sampled. Never waits.
    pub fn end(&self, trace: Trace, entry: &Entry, answered: Answered, ledger: &mut Ledger) {
        if !trace.is_sampled() {
            return;
        }
        let ended = Ended {
            trace,
            entry: entry.clone(),
            answered,
            intervals: ledger.take_intervals(),
        };
        if self.queue.try_send(ended).is_err() {
            self.metrics.traces("dropped", 1);
        }
        if self.queue.max_capacity() - self.queue.capacity() >= BATCH {
            self.many.notify_one();
        }
    }

    /// Exports what still waits, for at most `within`; whether all of it could be tried.
    pub async fn stop(&self, within: Duration) -> bool {
        self.stop.cancel();
        let exporting = self.exporting.lock().take();
        match exporting {
            Some(exporting) => tokio::time::timeout(within, exporting).await.is_ok(),
            None => true,
        }
    }
}

impl Trace {
    /// Whether its spans are exported.
    pub fn is_sampled(&self) -> bool {
        self.context.is_sampled()
    }

    /// Whether it goes on with a trace of the client's.
    pub fn is_continued(&self) -> bool {
        self.parent.is_some()
    }

    /// The field that makes the request's span the parent of whatever the upstream traces.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let mut field = String::with_capacity(64);
        field.push_str("00-");
        push_hex(&mut field, &self.context.trace_id().to_bytes());
        field.push('-');
        push_hex(&mut field, &self.context.span_id().to_bytes());
        field.push('-');
        push_hex(&mut field, &[self.context.trace_flags().to_u8()]);
        HeaderValue::try_from(field).ok()
    }
}

/// Every request's `traceparent` is written, and printing its numbers took longer than making them.
fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
}
