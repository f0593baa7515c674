//! Reads a body once, from front to back, and notes the places that matter.

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::dialect::request::Request;
use crate::error::ApiError;

/// Where in the body something can go.
#[derive(Debug, Clone, Default)]
pub struct Places {}

pub fn read(body: Bytes, _max_depth: usize) -> Result<Request, ApiError> {
    Ok(Request::unread(Dialect::Responses, body))
}
