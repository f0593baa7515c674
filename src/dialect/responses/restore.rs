//! Putting the gateway's part of a turn back among the client's.

use bytes::Bytes;

use super::item::{Item, Known, known};
use super::round;
use crate::dialect::injection::Restored;
use crate::dialect::request::{Places, Request};
use crate::wire::json::Span;

/// The ids of the calls that the turn of this index asks for.
pub fn call_ids(request: &Request, at: usize) -> Vec<String> {
    let Places::Responses(places) = &request.places else {
        return Vec::new();
    };
    let turn = turn(request, &places.items, at).into_iter();
    let calls = turn.filter(Known::awaits_answer);
    calls.map(|call| call.call_id).collect()
}

/// What goes where so that a turn is whole again: the gateway's calls, with what they gave, before the
/// item of the client's that they stood before. What the client tells itself is not told again.
pub fn places(request: &Request, items: &[Item], restored: &Restored) -> Vec<(usize, Bytes)> {
    let turn = turn(request, items, restored.at);
    let Some(first) = turn.first() else {
        return Vec::new();
    };
    let mut places = Vec::new();
    let mut at = Place::Before(first.span.start);
    for item in &restored.before {
        let told = known(item).and_then(|item| {
            let is_it = |there: &&Known| !item.id.is_empty() && there.id == item.id;
            turn.iter().find(is_it)
        });
        match told {
            Some(there) => at = Place::Behind(there.span.end),
            None => places.push(at.put(item)),
        }
    }
    let results: Vec<_> = round::results(&restored.round, &restored.results).collect();
    for ((call, &place), result) in restored
        .round
        .said
        .iter()
        .zip(&restored.round.places)
        .zip(&results)
    {
        // A client may leave out what was thought before, so that it is counted from the end.
        let at = match turn.get(turn.len().saturating_sub(place)) {
            Some(next) => Place::Before(next.span.start),
            None => Place::Behind(turn[turn.len() - 1].span.end),
        };
        places.push(at.put(call));
        places.push(at.put(result));
    }
    places
}

#[derive(Clone, Copy)]
enum Place {
    Before(usize),
    Behind(usize),
}

impl Place {
    fn put(self, item: &Bytes) -> (usize, Bytes) {
        match self {
            Self::Before(at) => (at, [&item[..], b","].concat().into()),
            Self::Behind(at) => (at, [b",", &item[..]].concat().into()),
        }
    }
}

/// The items that the message of this index is made of, each at its place in the body.
fn turn(request: &Request, items: &[Item], at: usize) -> Vec<Known> {
    let Some(message) = request.messages().get(at) else {
        return Vec::new();
    };
    let within = |span: Span| message.span.start <= span.start && span.end <= message.span.end;
    let items = items.iter().filter(|item| within(item.span));
    items
        .filter_map(|item| {
            let found = known(&request.body()[item.span.range()])?;
            Some(Known {
                span: item.span,
                ..found
            })
        })
        .collect()
}
