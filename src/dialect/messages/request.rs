//! Reads the body of a request, and notes the places that matter.

use bytes::Bytes;

use crate::dialect::body::{BodyReader, Field};
use crate::dialect::conversation::Conversation;
use crate::dialect::request::{self, Request};
use crate::error::ApiError;

/// What is known beside what every dialect has.
const FIELDS: [Field; 0] = [];

/// Where in the body something can go.
#[derive(Debug, Clone, Default)]
pub struct Places {}

/// Checks `body` and finds what matters in it. JSON may nest `max_depth` deep.
///
/// # Errors
///
/// 400 as [`BodyReader::read`] has it.
pub fn read(body: Bytes, max_depth: usize) -> Result<Request, ApiError> {
    let mut reader = BodyReader::new(&body, max_depth).map_err(|error| *error)?;
    let read = reader.read(&FIELDS, |reader, _| {
        reader.scanner.skip()?;
        Ok(())
    });
    read.map_err(|error| *error)?;
    let known = reader.finish();
    let places = request::Places::Messages(Places::default());
    Ok(Request::new(body, known, Conversation::default(), places))
}

/// The ids of the calls that the message of this index asks for.
pub fn call_ids(_request: &Request, _at: usize) -> Vec<String> {
    Vec::new()
}
