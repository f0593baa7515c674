//! What is hidden of a turn, as gateways leave it for each other.

use std::fmt::Write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{HiddenPlace, HiddenRound, Whose};
use crate::dialect::{Call, Round};
use crate::shared::encoded;

/// Gateways of a fleet may be of two versions for a while: what this one cannot read is not there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    before: Vec<String>,
    calls: Vec<(String, String, String)>,
    client_calls: Vec<String>,
    places: Vec<usize>,
    said: Vec<String>,
    results: Vec<String>,
}

/// As others read it; `None` for what is no text, which no upstream sends.
pub fn write(hidden: &HiddenRound) -> Option<Bytes> {
    let texts = |items: &[Bytes]| {
        let texts = items.iter().map(|item| String::from_utf8(item.to_vec()));
        texts.collect::<Result<Vec<_>, _>>().ok()
    };
    let calls = hidden.round.calls.iter().cloned();
    let note = Note {
        before: texts(&hidden.before)?,
        calls: calls
            .map(|call| (call.id, call.name, call.arguments))
            .collect(),
        client_calls: hidden.round.client_calls.clone(),
        places: hidden.round.places.clone(),
        said: texts(&hidden.round.said)?,
        results: hidden.results.clone(),
    };
    Some(serde_json::to_vec(&note).ok()?.into())
}

pub fn read(note: &[u8]) -> Option<HiddenRound> {
    let note: Note = serde_json::from_slice(note).ok()?;
    let bytes = |texts: Vec<String>| texts.into_iter().map(Bytes::from).collect();
    let calls = note.calls.into_iter();
    Some(HiddenRound {
        before: bytes(note.before),
        round: Round {
            calls: calls
                .map(|(id, name, arguments)| Call {
                    id,
                    name,
                    arguments,
                })
                .collect(),
            client_calls: note.client_calls,
            places: note.places,
            said: bytes(note.said),
        },
        results: note.results,
    })
}

/// The name of a place among its tenant's. Whose it is, is here itself, as in the place.
pub fn name(place: &HiddenPlace) -> String {
    let Whose {
        user, conversation, ..
    } = &place.whose;
    let mut name = "round".to_owned();
    for part in [user, conversation] {
        name.push(':');
        if let Some(part) = part {
            // What is there is never nothing.
            let _ = write!(name, "={}", encoded(part));
        }
    }
    let _ = write!(name, ":{:032x}", place.said);
    name
}

/// The patterns of the erasures that take what is hidden of whose it is.
pub fn erased_by(whose: &Whose) -> Vec<String> {
    let part = |part: &Option<String>| {
        let part = part.as_deref();
        part.map_or_else(String::new, |part| format!("={}", encoded(part)))
    };
    let (user, conversation) = (part(&whose.user), part(&whose.conversation));
    let mut patterns = vec!["round:*".to_owned()];
    if !user.is_empty() {
        patterns.push(format!("round:{user}:*"));
    }
    if !conversation.is_empty() {
        patterns.push(format!("round:*:{conversation}:*"));
        patterns.push(format!("round:{user}:{conversation}:*"));
    }
    patterns
}

/// The name of an answer's end, by the id that a client was told.
pub fn end(told: &str) -> String {
    format!("end:{}", encoded(told))
}

/// The name of a response's place in its conversation.
pub fn chain(response: &str) -> String {
    format!("chain:{}", encoded(response))
}
