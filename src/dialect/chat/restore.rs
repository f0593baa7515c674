//! Putting the gateway's part of a turn back among the client's.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::round;
use super::said::Said;
use crate::dialect::conversation::Role;
use crate::dialect::injection::Restored;
use crate::dialect::request::Request;
use crate::wire::json::{JsonError, Scanner, Span};
use crate::wire::object::{MAX_DEPTH, Members, elements};

/// The ids of the calls that the message of this index asks for.
pub fn call_ids(request: &Request, at: usize) -> Vec<String> {
    let Some(message) = request.messages().get(at) else {
        return Vec::new();
    };
    let Ok(message) = serde_json::from_slice::<Value>(&request.body()[message.span.range()]) else {
        return Vec::new();
    };
    let id = |call: &Value| call["id"].as_str().unwrap_or_default().to_owned();
    let calls = message["tool_calls"].as_array();
    calls.map_or_else(Vec::new, |calls| calls.iter().map(id).collect())
}

/// What goes where so that a turn is whole again.
pub struct Places {
    /// Entries among those of `tool_calls`, each at its offset.
    pub entries: Vec<(usize, Bytes)>,
    /// The index of the message that the results go before.
    pub results_at: usize,
    pub results: Vec<Bytes>,
    /// Whole messages before the turn.
    pub before: Vec<Bytes>,
}

/// Where the parts of `restored` go in the request.
pub fn places(request: &Request, restored: &Restored) -> Option<Places> {
    let message = request.messages().get(restored.at)?;
    let behind = request.messages()[restored.at + 1..].iter();
    let answered = behind
        .take_while(|message| message.role == Role::Tool)
        .count();
    let results: Vec<_> = round::results(&restored.round, &restored.results).collect();
    let mut places = Places {
        entries: Vec::new(),
        results_at: restored.at + 1 + answered,
        results,
        before: restored.before.clone(),
    };
    let list = calls(request.body(), message.span).ok().unwrap_or_default();
    if list.is_empty() {
        // The older `function_call` has room for one: what was called beside it is a turn before.
        let said = restored.round.said.iter();
        let entries = said.filter_map(|entry| serde_json::from_slice(entry).ok());
        let entries: Vec<Box<RawValue>> = entries.collect();
        places
            .before
            .push(round::message(&Said::default(), &entries));
        places.before.append(&mut places.results);
        return Some(places);
    }
    let entries = restored.round.said.iter().zip(&restored.round.places);
    for (entry, &place) in entries {
        let (at, entry) = match list.get(place) {
            Some(next) => (next.start, [entry, &b","[..]].concat()),
            None => (list[list.len() - 1].end, [b",", &entry[..]].concat()),
        };
        places.entries.push((at, entry.into()));
    }
    Some(places)
}

/// Where the entries of `tool_calls` stand in the body.
fn calls(body: &[u8], message: Span) -> Result<Vec<Span>, JsonError> {
    let json = &body[message.range()];
    let mut scanner = Scanner::new(json, MAX_DEPTH)?;
    let mut found = Vec::new();
    Members::read(json, &mut scanner, |scanner, key| {
        match key {
            b"tool_calls" => found = elements(scanner, Scanner::skip)?,
            _ => drop(scanner.skip()?),
        }
        Ok(())
    })?;
    let from = message.start;
    let in_body = |span: Span| Span {
        start: from + span.start,
        end: from + span.end,
    };
    Ok(found.into_iter().map(in_body).collect())
}
