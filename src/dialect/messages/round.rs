//! What the next leg is told of a leg that asked for calls.

use bytes::Bytes;

use crate::dialect::calls::Round;

/// The items that tell the model what became of its calls: what it said, then a result for each.
pub fn follow_up(round: &Round, _results: &[String]) -> Vec<Bytes> {
    round.said.clone()
}
