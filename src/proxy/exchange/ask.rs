//! Asking a model: the legs of an answer, and the one try that a refusal of the gateway's tools is
//! worth.

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use super::fail::Failure;
use super::headers::Framing;
use super::leg::{Outgoing, Part, leg};
use super::refused::{is_about_usage, is_of_tools, is_refusal, may_be_ours};
use super::relay::next_chunk;
use super::run::Chat;
use crate::config::model::Upstream;
use crate::dialect::Withheld;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice::{Sought, choose, with_allowed_default};
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::refusals::Model;
use crate::turn::{Continuation, Takes};

/// Bytes of a refusal that are read to see what it is about.
const REFUSAL: usize = 64 * 1024;

/// Which leg it is.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    First,
    /// The first, without asking what a stream costs, which the upstream has just refused to tell.
    Untold,
    /// The first, without tools of the gateway's, which the upstream has just refused.
    Without,
    /// One that goes on after rounds of tool calls.
    After(&'a Continuation),
}

/// The answer to the first leg.
pub struct First {
    pub connection: Box<Connection>,
    /// What of it was read already.
    pub read: Vec<Bytes>,
    /// Why the upstream was offered none of the gateway's tools, where that is the upstream's doing.
    pub withheld: Option<Withheld>,
}

/// The first leg of an answer. A refusal that only the gateway's tools can have caused is met by one
/// try without them.
pub async fn first(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<First, Failure> {
    let (mut first, was_read) = told(chat, session, context).await?;
    let withheld = first.withheld;
    let status = first.connection.session.response_header();
    let status = status.map_or(StatusCode::OK, |header| header.status);
    let offered = !chat.turn.offer().is_empty() && withheld.is_none();
    if !offered || !is_refusal(status) {
        if offered && first.connection.is_success() {
            let upstream = context.upstream.as_deref().unwrap_or_default();
            chat.gateway.refusals.forget(|| model(chat, upstream));
        }
        return Ok(first);
    }
    let is_whole = match was_read {
        None => read(chat, session, context, &mut first).await?,
        Some(is_whole) => is_whole,
    };
    let said = first.read.concat();
    let has_own = chat.turn.brings_tools();
    if !is_whole || !first.connection.is_readable() || !may_be_ours(status, &said, has_own) {
        return Ok(first);
    }
    let timeouts = &chat.snapshot.config.timeouts;
    chat.gateway
        .dialer
        .release(first.connection, timeouts)
        .await;
    let (connection, _) = ask(chat, session, context, Which::Without).await?;
    let ours = chat
        .turn
        .offer()
        .tools()
        .iter()
        .map(|ours| ours.tool.name());
    if connection.is_success() && is_of_tools(&said, ours) {
        let upstream = context.upstream.clone().unwrap_or_default();
        let wait = chat.gateway.refusals.remember(model(chat, &upstream));
        tracing::warn!(
            request_id = %context.request_id, upstream, model = chat.turn.model(), status = status.as_u16(),
            ?wait, "the model takes none of the gateway's tools; it is offered none for a while. Set upstreams.tools = false"
        );
    }
    Ok(First {
        connection,
        read: Vec::new(),
        withheld: Some(Withheld::Refused),
    })
}

/// The first leg, with what it costs where a budget needs that. A refusal to tell it is met by one try
/// without asking. Where a refusal was read, whether that was all of it.
async fn told(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<(First, Option<bool>), Failure> {
    let (connection, withheld) = ask(chat, session, context, Which::First).await?;
    let mut first = First {
        read: Vec::new(),
        withheld,
        connection,
    };
    let status = first.connection.session.response_header();
    let status = status.map_or(StatusCode::OK, |header| header.status);
    if is_refusal(status) && (context.hides_usage || !chat.turn.offer().is_empty()) {
        first.connection.undo_coding();
    }
    if !context.hides_usage || !is_refusal(status) || !first.connection.is_readable() {
        return Ok((first, None));
    }
    let is_whole = read(chat, session, context, &mut first).await?;
    if !is_whole || !is_about_usage(&first.read.concat()) {
        return Ok((first, Some(is_whole)));
    }
    let timeouts = &chat.snapshot.config.timeouts;
    chat.gateway
        .dialer
        .release(first.connection, timeouts)
        .await;
    let (connection, withheld) = ask(chat, session, context, Which::Untold).await?;
    if connection.is_success() {
        let upstream = context.upstream.clone().unwrap_or_default();
        let wait = chat.gateway.untold.remember(model(chat, &upstream));
        tracing::warn!(
            request_id = %context.request_id, upstream, model = chat.turn.model(), status = status.as_u16(),
            ?wait, "the model does not tell what a stream costs; budgets count its events for a while"
        );
    }
    let first = First {
        connection,
        read: Vec::new(),
        withheld,
    };
    Ok((first, None))
}

/// One leg, and why the upstream was offered none of the gateway's tools.
pub async fn ask(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    which: Which<'_>,
) -> Result<(Box<Connection>, Option<Withheld>), Failure> {
    let Chat { turn, caller, .. } = chat;
    let upstreams = &chat.snapshot.config.upstreams;
    let sought = Sought {
        model: turn.model(),
        dialect: Some(turn.dialect()),
        origin: chat.origin,
    };
    let mut places = choose(&chat.snapshot.config, caller, sought)?;
    if turn.model().is_none() {
        places = with_allowed_default(&chat.snapshot.config, caller, places)?;
    }
    // By the leg before, if there was one.
    let was_told = context.hides_usage;
    // Of the upstream that is tried last, which is the one that answers.
    let withheld = Mutex::new((None, false));
    let compose = |upstream: &Upstream| {
        let reason = withholds(chat, upstream, which);
        let untold = &chat.gateway.untold;
        let usage = match which {
            Which::Untold => false,
            Which::Without => was_told,
            _ => turn.wants_usage() && !untold.has(&model(chat, &upstream.name)),
        };
        let takes = Takes {
            strict_roles: upstream.strict_roles,
            tools: reason.is_none(),
            usage,
        };
        *withheld.lock() = (reason, usage);
        let after = match which {
            Which::First | Which::Untold | Which::Without => None,
            Which::After(after) => Some(after),
        };
        let composed = turn.compose(takes, after);
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
    let (withheld, hides_usage) = withheld.into_inner();
    context.hides_usage = hides_usage;
    Ok((connection, withheld))
}

/// Why an upstream is offered none of the gateway's tools, though the request would be.
fn withholds(chat: Chat<'_>, upstream: &Upstream, which: Which<'_>) -> Option<Withheld> {
    let refuses = || {
        let refusals = &chat.gateway.refusals;
        !chat.turn.offer().is_empty() && refusals.has(&model(chat, &upstream.name))
    };
    match which {
        // What was called needs its tools to be there.
        Which::After(_) => None,
        Which::Without => Some(Withheld::Refused),
        _ if !upstream.tools => Some(Withheld::Upstream),
        _ => refuses().then_some(Withheld::Refused),
    }
}

/// The model that was asked for, of this upstream.
fn model(chat: Chat<'_>, upstream: &str) -> Model {
    Model {
        tenant: chat.caller.tenant.clone(),
        upstream: upstream.to_owned(),
        name: chat.turn.model().map(str::to_owned),
        generation: chat.snapshot.generation,
    }
}

/// Reads what a refusal says; whether that is all of it.
async fn read(
    chat: Chat<'_>,
    session: &mut Session,
    context: &Context,
    first: &mut First,
) -> Result<bool, Failure> {
    let idle = chat.snapshot.config.timeouts.stream_idle;
    first.connection.session.set_read_timeout(Some(idle));
    let mut length = 0;
    while length <= REFUSAL {
        let chunk = next_chunk(chat.gateway, session, context, &mut first.connection);
        let Some(chunk) = chunk.await? else {
            return Ok(true);
        };
        length += chunk.len();
        first.read.push(chunk);
    }
    Ok(false)
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
