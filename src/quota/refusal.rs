//! What a client is told that is not let in.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::budget::window_end;
use super::{Account, Limit};
use crate::error::ApiError;

pub fn over_budget(account: &Account, limit: &Limit) -> ApiError {
    let now = Timestamp::now();
    let full = window_end(limit.per, now);
    let wait = u64::try_from(full.as_second() - now.as_second()).unwrap_or(0);
    let mut error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "The key `{}` has used its budget of {limit}. It is full again at {full}; until then, \
             or until the operator raises `budgets` in [[auth.keys]], nothing more is sent.",
            account.key
        ),
    )
    .code("budget_exceeded");
    error.retry_after = Some(wait.max(1));
    error
}

pub fn over_rate(account: &Account, wait: Duration) -> ApiError {
    let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    let mut error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "The key `{}` sends more requests than its rate, over all gateways together. Try again \
             in {seconds} s, or have the operator raise `rate` in [[auth.keys]].",
            account.key
        ),
    )
    .code("rate_limit_exceeded");
    error.retry_after = Some(seconds);
    error
}

pub fn out_of_reach() -> ApiError {
    let mut error = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "The store that gateways share their counts in is out of reach, and shared.on_failure is \
         `closed`. Try again shortly.",
    )
    .code("shared_store_unavailable");
    error.retry_after = Some(1);
    error
}
