//! What a request takes of its key's rate and budgets, and what it gives back.

use std::sync::Arc;

use http::StatusCode;

use super::fail::Failure;
use crate::config::prices::Tokens;
use crate::dialect::Answer;
use crate::error::ApiError;
use crate::proxy::Gateway;
use crate::proxy::context::{Context, Route};
use crate::quota::{Account, Expected, Limit, Reservation, Unit};
use crate::snapshot::Caller;
use crate::telemetry::metrics::OTHER;

/// What stands for a model that a request does not name.
const UNNAMED: &str = "";

/// Takes what the request may cost of its key's budgets, and of its rate where gateways share that.
///
/// # Errors
///
/// 429 where the rate or a budget is used up, 403 for a model without a price where the key has a
/// budget in dollars.
pub async fn reserve(
    gateway: &Gateway,
    context: &mut Context,
    caller: &Caller,
    expected: Expected<'_>,
) -> Result<(), Failure> {
    let limits: Arc<[Limit]> = caller.budgets.iter().map(Limit::from).collect();
    let in_dollars = limits.iter().any(|limit| limit.unit == Unit::MicroUsd);
    let prices = &context.snapshot.prices;
    if let (true, Some(key)) = (in_dollars, &caller.key)
        && prices.cost(expected.model, Tokens::default()).is_none()
    {
        return Err(without_price(key, expected.model).into());
    }
    context.reservation = take(gateway, context, caller, (limits, expected)).await?;
    Ok(())
}

/// Takes of the rate alone, where gateways share it, for what costs no tokens.
///
/// # Errors
///
/// 429 where it is used up.
pub async fn spend_rate(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
) -> Result<(), Failure> {
    let nothing = (Arc::default(), Expected::default());
    take(gateway, context, caller, nothing).await.map(drop)
}

/// Refuses what is used without being told to the gateway, where the key has budgets.
///
/// # Errors
///
/// 403 that says so.
pub fn expect_counted(caller: &Caller) -> Result<(), ApiError> {
    let Some(key) = caller.key.as_ref().filter(|_| !caller.budgets.is_empty()) else {
        return Ok(());
    };
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "The key `{key}` has budgets, and what this costs is told to nobody here: it would go \
             uncounted. Ask for it with a key without `budgets` in [[auth.keys]]."
        ),
    )
    .code("budget_uncounted"))
}

async fn take(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
    (limits, expected): (Arc<[Limit]>, Expected<'_>),
) -> Result<Option<Reservation>, Failure> {
    let quota = &gateway.shared().quota;
    let Some(key) = &caller.key else {
        return Ok(None);
    };
    if limits.is_empty() && !quota.is_shared() {
        return Ok(None);
    }
    let keys = &context.snapshot.config.auth.keys;
    let rate = keys.iter().find(|known| *known.name == **key);
    let rate = rate.and_then(|key| key.rate);
    let account = Account {
        tenant: caller.tenant.clone(),
        key: key.clone(),
    };
    let prices = &context.snapshot.prices;
    let reservation = quota.admit(account, (rate, limits), prices, expected);
    Ok(Some(reservation.await?))
}

/// Charges what was used, and writes it into the ledger; gives what it cost in dollars, where the
/// model has a price.
///
/// An answer that broke off, or whose client left, has cost what came of it.
pub fn settle(gateway: &Gateway, context: &mut Context, answer: &Answer) -> Option<f64> {
    let broken = context.broken.take();
    let answer = broken.as_ref().unwrap_or(answer);
    let reservation = context.reservation.take();
    let is_proxied = !matches!(context.route, Route::Local | Route::None);
    // A client that left in the midst of an answer has been given some of it.
    let status = if broken.is_some() {
        200
    } else {
        context.status
    };
    let (true, 200..=299, Some(caller)) = (is_proxied, status, &context.caller) else {
        // Nothing was used: what was reserved goes back.
        return None;
    };
    let tokens = match (answer.usage, &reservation) {
        (Some(usage), _) => Tokens {
            input: usage
                .prompt_tokens
                .unwrap_or_else(|| match usage.completion_tokens {
                    // All that is told is the sum.
                    None => usage.total_tokens.unwrap_or_default(),
                    Some(_) => 0,
                }),
            cached: usage.cached_tokens.unwrap_or_default(),
            // What is told of the output before it is there is not all of it.
            output: usage
                .completion_tokens
                .unwrap_or_default()
                .max(match broken {
                    Some(_) => answer.content_events,
                    None => 0,
                }),
        },
        // Where the upstream does not tell, an event of a stream is about a token; a whole stream in
        // which none was seen is of a form that nobody reads here.
        (None, Some(reservation)) if reservation.needs_usage() => Tokens {
            output: match (context.streamed, answer.content_events) {
                (true, 0) if broken.is_some() => 0,
                (false, _) | (_, 0) => reservation.expected().output,
                (true, events) => events,
            },
            ..reservation.expected()
        },
        (None, _) => Tokens::default(),
    };
    let model = context.model.as_deref().unwrap_or(UNNAMED);
    let price = context.snapshot.prices.cost(model, tokens);
    let cost = price.unwrap_or(0);
    // Before it is noted: what is on its way to a shared store is known to be.
    if let Some(reservation) = reservation {
        reservation.settle(tokens, cost);
    }
    if tokens != Tokens::default() {
        let key = caller.key.clone().unwrap_or_else(|| UNNAMED.into());
        let account = Account {
            tenant: caller.tenant.clone(),
            key,
        };
        let label = match context.snapshot.is_model_named(model) {
            true => model,
            false => OTHER,
        };
        let counts = [tokens.input, tokens.cached, tokens.output];
        let metrics = &gateway.metrics().quota;
        metrics.used([&account.tenant, label], counts, cost);
        let ledger = gateway.shared().quota.ledger();
        ledger.note(&account, &model.replace('\0', ""), tokens, cost);
    }
    price
        .filter(|_| tokens != Tokens::default())
        .map(|millionths| millionths as f64 / 1e6)
}

fn without_price(key: &str, model: &str) -> ApiError {
    let asked = match model {
        UNNAMED => "the request names no model that can be read".to_owned(),
        model => format!("the model `{model}` has no price"),
    };
    ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "The key `{key}` has a budget in dollars, and {asked}. Ask for a model that has a \
             price, or have the operator add one to prices.toml."
        ),
    )
    .param("model")
    .code("price_missing")
}
