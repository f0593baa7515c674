//! The chat exchange, as one straight async function:
//!
//! ```text
//! read → prepare → leg (compose, connect, send, wait) → relay or tool_loop → finish
//! ```
//!
//! It runs inside `request_filter` with a connector of its own, because a body of any size has
//! to be rewritten under an exact length and an answer may have to be continued by another leg.

use std::sync::Arc;

use pingora::proxy::Session;

use super::fail::Failure;
use super::leg::leg;
use super::{relay, tool_loop};
use crate::dialect::Dialect;
use crate::proxy::Gateway;
use crate::proxy::context::Context;
use crate::proxy::edge::body;
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::Phase;
use crate::turn::{self, PrepareContext, Prepared};

/// Bytes of a model's name that are shown.
const MODEL_LENGTH: usize = 200;
/// Serves `POST /v1/chat/completions`.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    caller: &Caller,
) -> Result<(), Failure> {
    let snapshot = context.snapshot.clone();
    context.ledger.enter(Phase::ReadBody);
    let body = body::read_json(session, &snapshot.config).await?;
    let asked = PrepareContext {
        snapshot: &snapshot,
        memory: gateway.shared.memory.as_deref(),
        caller,
        hidden_rounds: &gateway.shared.hidden_rounds,
        dialect: Dialect::Chat,
        headers: &session.req_header().headers,
    };
    let turn = turn::prepare(asked, body, &mut context.ledger).await?;
    context.model = turn
        .model()
        .map(|model| model[..model.floor_char_boundary(MODEL_LENGTH)].to_owned());
    context.personality = turn.personality_id().map(str::to_owned);
    let remembered = turn.remembered();
    context.memory = Some(remembered.header());
    context.keeps_answer = remembered.keeps_answer(&snapshot.config.memory);
    if let Some(outcome) = remembered.outcome {
        let cached = remembered.was_answered().then_some(remembered.cached);
        gateway.metrics().memory_recall(outcome.name(), cached);
        context.cache_hit = cached;
    }
    let chat = Chat {
        gateway,
        snapshot: &snapshot,
        turn: &turn,
        caller,
    };
    let connection = leg(chat, session, context, None).await?;
    let answered = connection.is_success();
    if answered && let Some(memory) = &gateway.shared.memory {
        // Before the client can have read the answer and go on.
        turn.remembered()
            .keep_block(memory, &snapshot.config.memory);
    }
    let relayed = if answered && !turn.offer().is_empty() && connection.is_readable() {
        // Boxed, since it needs far more room than the other, which most requests take.
        Box::pin(tool_loop::run(chat, session, context, connection)).await
    } else {
        relay::run(chat, session, context, connection, Vec::new()).await
    };
    if answered {
        remember(gateway, context, &turn);
    }
    relayed
}

/// Hands what is to be kept to memory, off the request's path. An answer that broke off has left
/// none in the context, so that only what the user said is kept.
fn remember(gateway: &Gateway, context: &Context, turn: &Prepared) {
    let Some(memory) = &gateway.shared.memory else {
        return;
    };
    let id = context.request_id.to_string();
    if let Some(exchange) = turn.exchange(&context.snapshot, id, context.answer.as_ref()) {
        memory.save(exchange);
    }
}

/// What every leg of an answer has in common.
#[derive(Clone, Copy)]
pub struct Chat<'a> {
    pub gateway: &'a Gateway,
    pub snapshot: &'a Arc<Snapshot>,
    pub turn: &'a Prepared,
    pub caller: &'a Caller,
}
