//! An ended request as spans, under the names of OpenTelemetry's conventions.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

use super::Ended;
use crate::telemetry::phases::Phase;
use crate::telemetry::ring::CHAT;

/// The request's span and, below it, one for each time that a phase ran.
pub(super) fn spans(ended: &Ended) -> Vec<SpanData> {
    let at = SystemTime::UNIX_EPOCH + seconds(ended.entry.at);
    let began = at - seconds(ended.entry.total);
    let context = &ended.trace.context;
    let mut spans = vec![request(ended, (began, at))];
    let ids = RandomIdGenerator::default();
    for interval in &ended.intervals {
        // What no phase claims shows as the gaps between them.
        if interval.phase == Phase::Other {
            continue;
        }
        let own = SpanContext::new(
            context.trace_id(),
            ids.new_span_id(),
            context.trace_flags(),
            false,
            context.trace_state().clone(),
        );
        let times = (began + interval.began, began + interval.ended);
        spans.push(SpanData {
            parent_span_id: context.span_id(),
            ..span(own, SpanKind::Internal, interval.phase.name().into(), times)
        });
    }
    spans
}

fn request(ended: &Ended, times: (SystemTime, SystemTime)) -> SpanData {
    let (trace, entry) = (&ended.trace, &ended.entry);
    let failure = entry.failure.clone().unwrap_or_default();
    SpanData {
        parent_span_id: trace.parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: trace.parent.is_some(),
        attributes: attributes(ended),
        status: match entry.is_error() {
            true => Status::error(failure),
            false => Status::Unset,
        },
        ..span(trace.context.clone(), SpanKind::Server, name(ended), times)
    }
}

/// A span without a parent, attributes and a status.
fn span(
    span_context: SpanContext,
    span_kind: SpanKind,
    name: Cow<'static, str>,
    (start_time, end_time): (SystemTime, SystemTime),
) -> SpanData {
    SpanData {
        span_context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind,
        name,
        start_time,
        end_time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// `chat MODEL`, as the conventions of generative models have it; elsewhere the method and the
/// route, since a raw path would make a name for each id in it.
fn name(ended: &Ended) -> Cow<'static, str> {
    let entry = &ended.entry;
    match (&entry.model, &ended.trace.asked) {
        (Some(model), _) if entry.route == CHAT => format!("chat {model}").into(),
        (_, Some((method, _))) => format!("{method} {}", entry.route).into(),
        _ => entry.route.into(),
    }
}

fn attributes(ended: &Ended) -> Vec<KeyValue> {
    let entry = &ended.entry;
    let mut list = Attributes(Vec::with_capacity(24));
    if let Some((method, path)) = &ended.trace.asked {
        list.text("http.request.method", Some(method.as_str()));
        list.text("url.path", Some(path));
    }
    if entry.status > 0 {
        list.add("http.response.status_code", i64::from(entry.status));
    }
    list.add_some("error.type", error_type(entry.status, entry.is_error()));
    if entry.route == CHAT {
        list.text("gen_ai.operation.name", Some(CHAT));
        list.text("gen_ai.provider.name", entry.upstream.as_deref());
        list.text("gen_ai.request.model", entry.model.as_deref());
        list.text("gen_ai.response.model", ended.answered.model.as_deref());
        let reason = ended.answered.finish_reason.clone();
        let reasons = reason.map(|reason| Array::String(vec![StringValue::from(reason)]));
        list.add_some("gen_ai.response.finish_reasons", reasons.map(Value::Array));
        list.number("gen_ai.usage.input_tokens", entry.prompt_tokens);
        list.number("gen_ai.usage.output_tokens", entry.completion_tokens);
    }
    list.text("yychat.request_id", Some(&entry.id.to_string()));
    list.text("yychat.route", Some(entry.route));
    list.number("yychat.generation", Some(entry.generation));
    list.text("yychat.tenant", entry.tenant.as_deref());
    list.text("yychat.upstream", entry.upstream.as_deref());
    list.text("yychat.personality", entry.personality.as_deref());
    let outcome = entry
        .memory
        .as_deref()
        .and_then(|memory| memory.split(';').next());
    list.text("yychat.memory.outcome", outcome);
    list.add_some("yychat.memory.cache_hit", entry.cache_hit);
    list.add("yychat.stream", entry.stream);
    list.number("yychat.tool_calls", Some(entry.tool_calls as u64));
    list.add_some("yychat.first_chunk_seconds", entry.first_chunk);
    list.0
}

/// Of a closed set: the status where it tells, `_OTHER` where the answer broke off.
fn error_type(status: u16, is_error: bool) -> Option<String> {
    match status {
        400.. => Some(status.to_string()),
        _ => is_error.then(|| "_OTHER".to_owned()),
    }
}

struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push(KeyValue::new(name, value));
    }

    fn add_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.add_some(name, value.map(str::to_owned));
    }

    fn number(&mut self, name: &'static str, value: Option<u64>) {
        self.add_some(name, value.and_then(|value| i64::try_from(value).ok()));
    }
}

/// The ring's numbers are of times that have been, so that they are within range.
fn seconds(spent: f64) -> Duration {
    Duration::try_from_secs_f64(spent).unwrap_or_default()
}
