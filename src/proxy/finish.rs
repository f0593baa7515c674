//! The end of a request: metrics, one log line, and a trace where it is sampled.

use super::context::{Context, Route};
use super::{Gateway, Surface};
use crate::telemetry::Phase;
use crate::telemetry::gen_ai::Generation;
use crate::telemetry::metrics::OTHER;
use crate::telemetry::ring::Entry;
use crate::telemetry::traces::Answered;

/// Files the ledger and writes the request's line.
pub fn finish(gateway: &Gateway, context: &mut Context) {
    context.ledger.enter(Phase::Other);
    if matches!(gateway.surface, Surface::Admin(_)) || cfg!(feature = "blind") {
        return;
    }
    gateway.metrics().observe(
        context.route.name(),
        context.status,
        context.streamed,
        &context.ledger,
    );
    let usage = context
        .answer
        .as_ref()
        .and_then(|answer| answer.usage.as_ref());
    if let (Route::Chat, 200..=299, Some(upstream)) =
        (context.route, context.status, &context.upstream)
    {
        let generation = Generation {
            provider: upstream,
            model: known_model(context),
            stream: context.streamed,
            input_tokens: usage.and_then(|usage| usage.prompt_tokens),
            output_tokens: usage.and_then(|usage| usage.completion_tokens),
        };
        gateway.metrics().generation(generation, &context.ledger);
    }
    tracing::info!(
        request_id = %context.request_id,
        generation = context.snapshot.generation,
        route = context.route.name(),
        status = context.status,
        stream = context.streamed,
        tenant = context.caller.as_ref().map(|caller| caller.tenant.as_ref()),
        upstream = context.upstream,
        personality = context.personality,
        memory = context.memory,
        tool_calls = (context.tool_calls > 0).then_some(context.tool_calls),
        prompt_tokens = usage.and_then(|usage| usage.prompt_tokens),
        completion_tokens = usage.and_then(|usage| usage.completion_tokens),
        total_ms = milliseconds(context.ledger.total()),
        overhead_ms = milliseconds(context.ledger.overhead()),
        first_chunk_ms = context.ledger.first_chunk().map(milliseconds),
        phases = context.ledger.server_timing(),
        failure = context.failure,
        "{}",
        if context.route == Route::None { "request refused" } else { "request" },
    );
    let entry = gateway.metrics().ring.push(Entry {
        id: context.request_id,
        route: context.route.name(),
        status: context.status,
        stream: context.streamed,
        model: context.model.take(),
        upstream: context.upstream.take(),
        personality: context.personality.take(),
        memory: context.memory.take(),
        cache_hit: context.cache_hit,
        prompt_tokens: usage.and_then(|usage| usage.prompt_tokens),
        completion_tokens: usage.and_then(|usage| usage.completion_tokens),
        tool_calls: context.tool_calls,
        failure: context.failure.take(),
        generation: context.snapshot.generation,
        tenant: context.caller.take().map(|caller| caller.tenant),
        ..Entry::timed(&context.ledger)
    });
    if let (Some(tracer), Some(trace)) = (&gateway.shared.tracer, context.trace.take()) {
        let answer = context.answer.take().unwrap_or_default();
        let answered = Answered {
            model: answer.model,
            finish_reason: answer.finish_reason,
        };
        tracer.end(trace, entry, answered, &mut context.ledger);
    }
}

/// The model as a label: one that the configuration names in full, or `other`.
fn known_model(context: &Context) -> &str {
    let model = context.model.as_deref().unwrap_or_default();
    let upstreams = context.snapshot.config.upstreams.iter();
    let mut named = upstreams.flat_map(|upstream| &upstream.model_patterns);
    named
        .find(|name| *name == model)
        .map_or(OTHER, String::as_str)
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
