//! The end of a request: what is known of it goes to the metrics, the log and the ring, and into a
//! trace where it is sampled.

use super::quota;
use crate::proxy::Gateway;
use crate::proxy::context::Context;
use crate::telemetry::ring::Entry;
use crate::telemetry::traces::Answered;

/// Ends the ledger and hands it on.
pub fn finish(gateway: &Gateway, context: &mut Context) {
    context.ledger.end();
    let answer = context.answer.take().unwrap_or_default();
    let usd = quota::settle(gateway, context, &answer);
    if cfg!(feature = "blind") {
        return;
    }
    let usage = answer.usage.unwrap_or_default();
    let entry = Entry {
        id: context.request_id,
        route: context.route.name(),
        path: context.endpoint.path,
        status: context.status,
        stream: context.streamed,
        is_model_named: is_model_named(context),
        model: context.model.take(),
        upstream: context.upstream.take(),
        personality: context.personality.take(),
        user: context.user.take(),
        purpose: context.purpose.take(),
        memory: context.memory.take(),
        cache_hit: context.cache_hit,
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        usd,
        tool_calls: context.tool_calls,
        failure: context.failure.take(),
        generation: context.snapshot.generation,
        tenant: context.caller.take().map(|caller| caller.tenant),
        ..Entry::timed(&context.ledger)
    };
    if let (Some(tracer), Some(trace)) = (&gateway.shared.tracer, context.trace.take()) {
        let answered = Answered {
            model: answer.model,
            finish_reason: answer.finish_reason,
        };
        tracer.end(trace, &entry, answered, &mut context.ledger);
    }
    gateway.metrics().finish(entry);
}

/// Whether the configuration names the model in full, so that it may be a label.
fn is_model_named(context: &Context) -> bool {
    let model = context.model.as_ref();
    model.is_some_and(|model| context.snapshot.is_model_named(model))
}
