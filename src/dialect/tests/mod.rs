//! Tests of the whole module, over shared generators.

mod answer;
mod compose;
mod ends;
mod golden;
mod messages;
mod odd_calls;
mod odd_items;
mod odd_shapes;
mod recast;
mod request;
mod responses;
mod socket;
mod sse;
mod streams;
mod strict;
mod tool_calls;
mod views;

use crate::dialect::{Composed, Leg, Round};

/// The round that a leg asks for.
#[track_caller]
fn round(leg: Leg) -> Round {
    match leg {
        Leg::Calls(round) => round,
        other => panic!("it asks for no calls: {other:?}"),
    }
}

/// The calls found, each as `name(arguments)`.
fn found(round: &Round) -> Vec<String> {
    let calls = round.calls.iter();
    calls
        .map(|call| format!("{}({})", call.name, call.arguments))
        .collect()
}

/// Taking the insertions out and the cuts back in gives the client's bytes.
fn undone(body: &str, composed: &Composed) -> String {
    let bytes = composed.to_bytes();
    let mut kept = Vec::new();
    let mut from = 0;
    for insertion in &composed.insertions {
        kept.extend_from_slice(&bytes[from..insertion.at.start]);
        from = insertion.at.end;
    }
    kept.extend_from_slice(&bytes[from..]);
    let mut whole = Vec::new();
    let (mut at, mut read) = (0, 0);
    for cut in &composed.cuts {
        let until = cut.start - at;
        whole.extend_from_slice(&kept[read..read + until]);
        read += until;
        whole.extend_from_slice(&body.as_bytes()[cut.clone()]);
        at = cut.end;
    }
    whole.extend_from_slice(&kept[read..]);
    String::from_utf8(whole).expect("UTF-8")
}
