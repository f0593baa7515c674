//! Errors of the gateway's own, in Anthropic's shape.
//!
//! <https://docs.anthropic.com/en/api/errors>

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::error::ApiError;

/// `{"type":"error","error":{"type","message"},"request_id"}`.
pub fn error(error: &ApiError, request_id: &str) -> Bytes {
    let kind = error.said_kind().unwrap_or_else(|| kind(error.status));
    let error = json!({ "type": kind, "message": error.message });
    let mut body = json!({ "type": "error", "error": error });
    if !request_id.is_empty() {
        body["request_id"] = request_id.into();
    }
    body.to_string().into()
}

/// `error.type`, which follows from the status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_as_anthropic_tells_it() {
        let refused = ApiError::not_found("No \"such\" model.").param("model");
        let body: serde_json::Value =
            serde_json::from_slice(&error(&refused, "req_1")).expect("JSON");
        let wanted = json!({
            "type": "error",
            "error": { "type": "not_found_error", "message": "No \"such\" model." },
            "request_id": "req_1",
        });
        assert_eq!(body, wanted);
    }
}
