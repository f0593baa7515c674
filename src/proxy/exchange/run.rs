//! The exchange of a conversation, as one straight async function:
//!
//! ```text
//! read → prepare → leg (compose, connect, send, wait) → relay or tool_loop → finish
//! ```
//!
//! A body of any size is rewritten under an exact length, and an answer may be continued by another
//! leg.

use std::sync::Arc;

use super::fail::Failure;
use super::headers::Framing;
use super::leg::{Exchange, Outgoing, Part, leg, shown};
use super::{quota, relay, tool_loop};
use crate::config::model::Upstream;
use crate::dialect::Dialect;
use crate::proxy::context::Context;
use crate::proxy::edge::body;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice::{Sought, choose, expect_allowed};
use crate::proxy::upstream::connection::Connection;
use crate::proxy::{Gateway, Session};
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::Phase;
use crate::turn::{self, Continuation, PrepareContext, Prepared, Wish};

/// Serves a request to a model, in whatever API.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    (caller, (dialect, wish)): (&Caller, (Dialect, Wish)),
) -> Result<(), Failure> {
    let snapshot = context.snapshot.clone();
    context.ledger.enter(Phase::ReadBody);
    let body = body::read_json(session, &snapshot.config).await?;
    let asked = PrepareContext {
        snapshot: &snapshot,
        memory: gateway.shared.memory.as_deref(),
        caller,
        hidden_rounds: &gateway.shared.hidden_rounds,
        dialect,
        wish,
        headers: &session.req_header().headers,
    };
    let turn = turn::prepare(asked, body, &mut context.ledger).await?;
    context.dialect = (wish == Wish::Answer).then_some(dialect);
    context.model = turn.model().map(shown);
    context.personality = turn.personality_id().map(str::to_owned);
    context.purpose = Some(turn.purpose().header());
    if let Some(rule) = turn.purpose().rule() {
        gateway.metrics().auxiliary(rule);
    }
    let remembered = turn.remembered();
    context.memory = Some(remembered.header());
    context.keeps_answer = remembered.keeps_answer(&snapshot.config.memory);
    if let Some(outcome) = remembered.outcome {
        let cached = remembered.was_answered().then_some(remembered.cached);
        gateway.metrics().memory_recall(outcome.name(), cached);
        context.cache_hit = cached;
    }
    if wish == Wish::Answer {
        let expected = turn.expected();
        quota::reserve(gateway, context, caller, expected).await?;
    }
    let chat = Chat {
        gateway,
        snapshot: &snapshot,
        turn: &turn,
        caller,
    };
    let connection = ask(chat, session, context, None).await?;
    let answered = connection.is_success();
    if answered && let Some(memory) = &gateway.shared.memory {
        // Before the client can have read the answer and go on.
        turn.remembered()
            .keep_block(memory, &snapshot.config.memory);
    }
    let relayed =
        if wish == Wish::Answer && answered && !turn.offer().is_empty() && connection.is_readable()
        {
            // Boxed, since it needs far more room than the other, which most requests take.
            Box::pin(tool_loop::run(chat, session, context, connection)).await
        } else {
            relay::run(chat.exchange(), session, context, connection, Vec::new()).await
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

impl<'a> Chat<'a> {
    /// What it has in common with every other route.
    pub fn exchange(self) -> Exchange<'a> {
        Exchange {
            gateway: self.gateway,
            snapshot: self.snapshot,
            caller: self.caller,
        }
    }
}

/// One leg of a chat. `after` are the rounds of tool calls that came before.
pub async fn ask(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    after: Option<&Continuation>,
) -> Result<Box<Connection>, Failure> {
    let Chat { turn, caller, .. } = chat;
    let upstreams = &chat.snapshot.config.upstreams;
    let sought = Sought {
        model: turn.model(),
        dialect: Some(turn.dialect()),
        origin: None,
    };
    let places = choose(&chat.snapshot.config, caller, sought)?;
    if turn.model().is_none() {
        for place in &places {
            let default = upstreams[*place].default_model.as_deref();
            default.map_or(Ok(()), |model| expect_allowed(caller, model))?;
        }
    }
    let compose = |upstream: &Upstream| {
        let composed = turn.compose(upstream.strict_roles, after);
        let part = Part {
            pieces: composed.pieces,
            framing: Framing::Length(composed.length),
        };
        match (turn.model(), &upstream.default_model) {
            (None, Some(model)) => named(part, model),
            _ => part,
        }
    };
    let mut outgoing = Outgoing {
        compose: &compose,
        rest: None,
        reads_answer: true,
        with_callers_key: true,
    };
    let tries = chat.gateway.health.tries(chat.snapshot, places);
    let connection = leg(chat.exchange(), session, context, tries, &mut outgoing).await?;
    if context.model.is_none() {
        let used = upstreams
            .iter()
            .find(|known| Some(&known.name) == context.upstream.as_ref());
        context.model = used.and_then(|upstream| upstream.default_model.clone());
    }
    Ok(connection)
}

/// A body that names no model, with this one.
fn named(part: Part, model: &str) -> Part {
    let mut look = Look::at("application/json");
    // It was read before, and names none.
    let looked = part.pieces.iter().all(|piece| look.feed(piece).is_ok());
    match look.put_in(model).filter(|_| looked) {
        Some(edit) => {
            let pieces = edit.make(&part.pieces);
            let length = pieces.iter().map(bytes::Bytes::len).sum();
            let framing = Framing::Length(length);
            Part { pieces, framing }
        }
        None => part,
    }
}
