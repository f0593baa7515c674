//! What a request takes of its key's rate and budgets, and what it gives back.

use std::sync::Arc;

use http::StatusCode;

use super::fail::Failure;
use crate::config::prices::Tokens;
use crate::dialect::Answer;
use crate::error::ApiError;
use crate::proxy::Gateway;
use crate::proxy::context::{Context, Route};
use crate::quota::{Account, Expected, Limit, Unit};
use crate::snapshot::Caller;

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
    let quota = &gateway.shared().quota;
    let Some(key) = &caller.key else {
        return Ok(());
    };
    if caller.budgets.is_empty() && !quota.is_shared() {
        return Ok(());
    }
    let keys = &context.snapshot.config.auth.keys;
    let rate = keys.iter().find(|known| *known.name == **key);
    let rate = rate.and_then(|key| key.rate);
    let limits: Arc<[Limit]> = caller.budgets.iter().map(Limit::from).collect();
    let in_dollars = limits.iter().any(|limit| limit.unit == Unit::MicroUsd);
    let prices = &context.snapshot.prices;
    if in_dollars && prices.cost(expected.model, Tokens::default()).is_none() {
        return Err(without_price(key, expected.model).into());
    }
    let account = Account {
        tenant: caller.tenant.clone(),
        key: key.clone(),
    };
    let reservation = quota.admit(account, (rate, limits), prices, expected);
    context.reservation = Some(reservation.await?);
    Ok(())
}

/// Charges what was used, and writes it into the ledger; gives what it cost in dollars, where the
/// model has a price.
pub fn settle(gateway: &Gateway, context: &mut Context, answer: &Answer) -> Option<f64> {
    let reservation = context.reservation.take();
    let is_proxied = !matches!(context.route, Route::Local | Route::None);
    let (true, 200..=299, Some(caller)) = (is_proxied, context.status, &context.caller) else {
        // Nothing was used: what was reserved goes back.
        return None;
    };
    let tokens = match (answer.usage, &reservation) {
        (Some(usage), _) => Tokens {
            input: usage.prompt_tokens.unwrap_or_default(),
            cached: usage.cached_tokens.unwrap_or_default(),
            output: usage.completion_tokens.unwrap_or_default(),
        },
        // Where the upstream does not tell, an event of a stream is about a token.
        (None, Some(reservation)) if reservation.needs_usage() => Tokens {
            output: match context.streamed {
                true => answer.content_events,
                false => reservation.expected().output,
            },
            ..reservation.expected()
        },
        (None, _) => Tokens::default(),
    };
    let model = context.model.as_deref().unwrap_or(UNNAMED);
    let price = context.snapshot.prices.cost(model, tokens);
    let cost = price.unwrap_or(0);
    if tokens != Tokens::default() {
        let key = caller.key.clone().unwrap_or_else(|| UNNAMED.into());
        let account = Account {
            tenant: caller.tenant.clone(),
            key,
        };
        let ledger = gateway.shared().quota.ledger();
        ledger.note(&account, &model.replace('\0', ""), tokens, cost);
    }
    if let Some(reservation) = reservation {
        reservation.settle(tokens, cost);
    }
    price
        .filter(|_| tokens != Tokens::default())
        .map(|millionths| millionths as f64 / 1e6)
}

fn without_price(key: &str, model: &str) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "The key `{key}` has a budget in dollars, and the model `{model}` has no price. Ask for \
             a model that has one, or have the operator add it to prices.toml."
        ),
    )
    .param("model")
    .code("price_missing")
}
