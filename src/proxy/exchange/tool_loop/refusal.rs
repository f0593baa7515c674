//! A leg that the upstream refuses.

use serde_json::Value;

use super::{Answering, Read};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::upstream::connection::Connection;

impl Answering<'_> {
    /// What an upstream that would not go on with a stream said.
    pub(super) async fn refusal(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<ApiError, Failure> {
        let header = connection.session.response_header();
        let status = header.map_or(0, |header| header.status.as_u16());
        let said = match self.read(session, context, &mut connection).await {
            Ok(Read::Whole(body)) => said(&body),
            Ok(Read::TooLarge(_)) | Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(failure),
        };
        let upstream = context.upstream.as_deref().unwrap_or_default();
        let why = said.map_or_else(String::new, |said| format!(": {said}"));
        let message = format!(
            "The upstream `{upstream}` answered {status} when it was given the tools' results{why}"
        );
        Ok(ApiError::bad_gateway(message).code("upstream_error"))
    }
}

/// `error.message` of an answer in OpenAI's shape.
fn said(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["error"]["message"].as_str()?.to_owned())
}
