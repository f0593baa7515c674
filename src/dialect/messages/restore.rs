//! Putting the gateway's part of a turn back among the client's.

use bytes::Bytes;

use super::block::blocks;
use super::round;
use crate::dialect::conversation::{Content, Role};
use crate::dialect::injection::Restored;
use crate::dialect::request::Request;
use crate::wire::json::Container;

/// The ids of the calls that the message of this index asks for.
pub fn call_ids(request: &Request, at: usize) -> Vec<String> {
    let Some(array) = array(request, at) else {
        return Vec::new();
    };
    let blocks = blocks(&request.body()[array.span.range()]).into_iter();
    let calls = blocks.filter(|block| block.kind == "tool_use");
    calls.map(|call| call.id).collect()
}

/// What goes where so that a turn is whole again: the gateway's calls among the client's, what they
/// gave before what the client's gave, and whole messages before the turn.
pub fn places(request: &Request, restored: &Restored) -> Vec<(usize, Bytes)> {
    let Some(message) = request.messages().get(restored.at) else {
        return Vec::new();
    };
    let answers = request.messages().get(restored.at + 1);
    let answers = answers.filter(|it| matches!(it.role, Role::Tool | Role::User));
    let (Some(turn), Some(_)) = (array(request, restored.at), answers) else {
        return Vec::new();
    };
    let Some(results) = array(request, restored.at + 1).filter(|results| results.len > 0) else {
        return Vec::new();
    };
    let mut places: Vec<_> = restored
        .before
        .iter()
        .map(|item| (message.span.start, [item, &b","[..]].concat().into()))
        .collect();
    let calls = blocks(&request.body()[turn.span.range()]).into_iter();
    let calls: Vec<_> = calls.filter(|block| block.kind == "tool_use").collect();
    for (block, &place) in restored.round.said.iter().zip(&restored.round.places) {
        places.push(match calls.get(place) {
            Some(next) => {
                let at = turn.span.start + next.span.start;
                (at, [block, &b","[..]].concat().into())
            }
            None => (turn.tail, [b",", &block[..]].concat().into()),
        });
    }
    // What tools gave comes first in its message.
    for result in round::results(&restored.round, &restored.results) {
        let at = results.span.start + 1;
        places.push((at, [&result[..], b","].concat().into()));
    }
    places
}

fn array(request: &Request, at: usize) -> Option<Container> {
    match request.messages().get(at)?.content {
        Content::Parts { array, .. } => Some(array),
        _ => None,
    }
}
