//! Errors of the gateway's own.

use bytes::Bytes;

use crate::error::ApiError;

/// An error's body, in OpenAI's shape.
pub fn error(error: &ApiError, _request_id: &str) -> Bytes {
    error.body()
}
