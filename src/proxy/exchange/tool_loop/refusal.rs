//! A leg that the upstream refuses, or answers with something else.

use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use serde_json::Value;

use super::Answering;
use super::arrival::{Arrival, Read};
use crate::error::{ApiError, Said};
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;

impl Answering<'_> {
    /// What an upstream that would not go on with a stream said, of the type and code that it gave it, and
    /// when to ask again: clients go by these.
    pub(super) async fn refusal(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut leg: Arrival,
    ) -> Result<ApiError, Failure> {
        let header = leg.connection.session.response_header();
        let status = header.map_or(StatusCode::BAD_GATEWAY, |header| header.status);
        let wait = header.and_then(retry_after);
        let is_readable = leg.connection.is_readable();
        let body = match self.read(session, context, &mut leg).await {
            Ok(Read::Whole(body)) if is_readable => body,
            Ok(_) | Err(Failure::Refused(_)) => Default::default(),
            Err(failure) => return Err(failure),
        };
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| said["error"][name].as_str().map(str::to_owned);
        let upstream = context.upstream.as_deref().unwrap_or_default();
        let why = text("message").map_or_else(String::new, |said| format!(": {said}"));
        let mut message = format!(
            "The upstream `{upstream}` answered {} when it was given the tools' results{why}",
            status.as_u16()
        );
        if let Some(seconds) = wait {
            message += &format!(" Try again in {seconds} s.");
        }
        if status.is_success() {
            return Ok(ApiError::bad_gateway(message).code("upstream_error"));
        }
        Ok(ApiError {
            retry_after: wait,
            said: Some(Box::new(Said {
                kind: text("type"),
                code: text("code"),
            })),
            ..ApiError::new(status, message).code("upstream_error")
        })
    }

    /// An upstream answered with something that tells no answer.
    pub(super) fn no_answer(&self, context: &Context) -> ApiError {
        let upstream = context.upstream.as_deref().unwrap_or_default();
        let path = self.chat.turn.dialect().path();
        let message = format!(
            "What the upstream `{upstream}` answered when it was given the tools' results is no whole \
             answer of `{path}`. Ask again."
        );
        ApiError::bad_gateway(message).code("upstream_error")
    }
}

/// The seconds of `Retry-After`.
fn retry_after(header: &ResponseHeader) -> Option<u64> {
    let value = header.headers.get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok()
}
