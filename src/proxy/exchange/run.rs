//! The exchange of a conversation, as one straight async function:
//!
//! ```text
//! read → prepare → leg (compose, connect, send, wait) → relay or tool_loop → finish
//! ```
//!
//! A body of any size is rewritten under an exact length, and an answer may be continued by another
//! leg.

use std::sync::Arc;

use memchr::memmem;

use super::ask::{First, first};
use super::fail::Failure;
use super::leg::{Exchange, shown};
use super::{quota, relay, tool_loop};
use crate::dialect::Dialect;
use crate::proxy::context::Context;
use crate::proxy::edge::body;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice::{self, Sought};
use crate::proxy::{Gateway, Session};
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::Phase;
use crate::turn::{self, PrepareContext, Prepared, Wish};

/// Serves a request to a model, in whatever API.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    (caller, (dialect, wish)): (&Caller, (Dialect, Wish)),
) -> Result<(), Failure> {
    let snapshot = context.snapshot.clone();
    context.ledger.enter(Phase::ReadBody);
    let hold = gateway.bodies.hold(caller, &snapshot.config);
    // Held for as long as the turn is, which may need it once more.
    let (body, _hold) = body::read_json(session, &snapshot.config, hold).await?;
    let asked = PrepareContext {
        snapshot: &snapshot,
        memory: gateway.shared.memory.as_deref(),
        caller,
        hidden_rounds: &gateway.shared.hidden_rounds,
        dialect,
        wish,
        headers: &session.req_header().headers,
    };
    let is_kept = is_kept(&snapshot, dialect, &body);
    let origin = match is_kept {
        true => origin(gateway, caller, &body).await,
        false => None,
    };
    let turn = turn::prepare(asked, body, &mut context.ledger).await?;
    context.dialect = (wish == Wish::Answer).then_some(dialect);
    context.model = turn.model().map(shown);
    context.personality = turn.personality_id().map(str::to_owned);
    context.user = turn.whose().user.clone();
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
    match wish {
        Wish::Answer => {
            let mut expected = turn.expected();
            if turn.model().is_none() {
                let sought = Sought {
                    model: None,
                    dialect: Some(dialect),
                    origin: origin.as_deref(),
                };
                let default = choice::default_model(&snapshot.config, caller, sought);
                expected.model = default.unwrap_or_default();
            }
            quota::reserve(gateway, context, caller, expected).await?;
        }
        Wish::Count => quota::spend_rate(gateway, context, caller).await?,
    }
    let chat = Chat {
        gateway,
        snapshot: &snapshot,
        turn: &turn,
        caller,
        origin: origin.as_deref(),
    };
    let First {
        connection,
        read,
        withheld,
    } = first(chat, session, context).await?;
    context.tools = Some(turn.offer().header(withheld));
    let withheld = turn.offer().withheld(withheld);
    if let Some(reason) = withheld {
        gateway.metrics().tools.withheld(reason.name());
    }
    let offered = !turn.offer().is_empty() && withheld.is_none();
    if let (true, Some(upstream)) = (is_kept, &context.upstream) {
        context.learning = Some(gateway.origins.learn(&caller.tenant, upstream));
    }
    let answered = connection.is_success();
    if answered && let Some(memory) = &gateway.shared.memory {
        // Before the client can have read the answer and go on.
        turn.remembered()
            .keep_block(memory, &snapshot.config.memory)
            .await;
    }
    let relayed = if wish == Wish::Answer && answered && offered {
        // Boxed, since it needs far more room than the other, which most requests take.
        Box::pin(tool_loop::run(chat, session, context, connection)).await
    } else {
        relay::run(chat.exchange(), session, context, connection, read).await
    };
    if answered {
        remember(gateway, context, &turn).await;
    }
    relayed
}

/// Whether the upstream keeps the answer, and there is a question of which one.
fn is_kept(snapshot: &Snapshot, dialect: Dialect, body: &[u8]) -> bool {
    snapshot.config.upstreams.len() > 1
        && match dialect {
            Dialect::Responses => true,
            Dialect::Chat => memmem::find(body, b"\"store\"").is_some(),
            Dialect::Messages => false,
        }
}

/// The upstream that has what the request goes on from.
async fn origin(gateway: &Gateway, caller: &Caller, body: &[u8]) -> Option<Arc<str>> {
    let mut look = Look::at("application/json");
    // What is wrong with it is said by whoever reads it.
    let _ = look.feed(body);
    let ids = look.texts().iter().map(|text| text.as_str().into());
    gateway.origins.of(&caller.tenant, ids.collect()).await
}

/// Hands what is to be kept to memory, off the request's path: the client has its answer, and waits only
/// where memory has no room for more. An answer that broke off has left
/// none in the context, so that only what the user said is kept.
async fn remember(gateway: &Gateway, context: &Context, turn: &Prepared) {
    let Some(memory) = &gateway.shared.memory else {
        return;
    };
    if let Some(answer) = &context.answer {
        turn.chain(&gateway.shared.hidden_rounds, answer).await;
    }
    let id = context.request_id.to_string();
    if let Some(exchange) = turn.exchange(&context.snapshot, id, context.answer.as_ref()) {
        memory.save_in_time(exchange).await;
    }
}

/// What every leg of an answer has in common.
#[derive(Clone, Copy)]
pub struct Chat<'a> {
    pub gateway: &'a Gateway,
    pub snapshot: &'a Arc<Snapshot>,
    pub turn: &'a Prepared,
    pub caller: &'a Caller,
    /// The upstream that has what the request goes on from.
    pub origin: Option<&'a str>,
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
