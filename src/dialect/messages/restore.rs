//! Putting the gateway's part of a turn back among the client's.

use std::ops::Range;

use bytes::Bytes;

use super::block::{Block, blocks};
use super::round;
use crate::dialect::conversation::{Content, Role};
use crate::dialect::injection::Restored;
use crate::dialect::request::Request;
use crate::wire::json::{Container, Span};
use crate::wire::object::{Members, cuts};

/// The ids of the calls that the message of this index asks for.
pub fn call_ids(request: &Request, at: usize) -> Vec<String> {
    let Some(array) = array(request, at) else {
        return Vec::new();
    };
    let blocks = blocks(&request.body()[array.span.range()]).into_iter();
    let calls = blocks.filter(|block| block.kind == "tool_use");
    calls.map(|call| call.id).collect()
}

/// What goes where so that a turn is whole again.
#[derive(Debug, Default)]
pub struct Places {
    pub put: Vec<(usize, Bytes)>,
    /// What the client tells as one turn and stands in what is put before it.
    pub cut: Vec<Range<usize>>,
}

/// Where the parts of `restored` go: the rounds before it as turns of their own before the client's,
/// which keeps what is of its last leg; the gateway's calls among the client's, and what they gave before
/// what the client's gave.
pub fn places(request: &Request, restored: &Restored) -> Places {
    let mut places = Places::default();
    let Some(turn) = array(request, restored.at) else {
        return places;
    };
    let told = blocks(&request.body()[turn.span.range()]);
    if !restored.round.calls.is_empty() && !answer(request, (turn, &told), restored, &mut places) {
        return Places::default();
    }
    let Some(past) = past(&told, &restored.before) else {
        return places;
    };
    let start = request.messages()[restored.at].span.start;
    let before = restored.before.iter();
    let before = before.map(|item| (start, [item, &b","[..]].concat().into()));
    places.put.extend(before);
    let spans: Vec<_> = told.iter().map(|block| within(turn, block.span)).collect();
    places.cut = cuts(&spans, |at| at < past);
    places
}

/// Puts the gateway's calls of the last leg, and what they gave, beside the client's; false where the
/// client tells nothing of its own.
fn answer(
    request: &Request,
    (turn, told): (Container, &[Block]),
    restored: &Restored,
    places: &mut Places,
) -> bool {
    let answers = request.messages().get(restored.at + 1);
    let is_answer = answers.is_some_and(|it| matches!(it.role, Role::Tool | Role::User));
    let results = array(request, restored.at + 1).filter(|results| is_answer && results.len > 0);
    let Some(results) = results else {
        return false;
    };
    let calls: Vec<_> = told
        .iter()
        .filter(|block| block.kind == "tool_use")
        .collect();
    for (block, &place) in restored.round.said.iter().zip(&restored.round.places) {
        places.put.push(match calls.get(place) {
            Some(next) => {
                let at = within(turn, next.span).start;
                (at, [block, &b","[..]].concat().into())
            }
            None => (turn.tail, [b",", &block[..]].concat().into()),
        });
    }
    // What tools gave comes first in its message.
    for result in round::results(&restored.round, &restored.results) {
        let at = results.span.start + 1;
        places.put.push((at, [&result[..], b","].concat().into()));
    }
    true
}

/// How many of the blocks that a client tells are of the rounds before, which it was shown but for the
/// gateway's calls. `None` where they are not those, or nothing would be left. A client may leave all
/// thinking out.
fn past(told: &[Block], before: &[Bytes]) -> Option<usize> {
    let thinks = told.iter().any(Block::is_thinking);
    // Each turn of the model's is followed by what its calls gave.
    let turns = before.iter().step_by(2);
    let shown = turns.flat_map(|turn| {
        let members = Members::parse(turn).unwrap_or_default();
        let content = members.get(turn, "content");
        let content = content.map(|content| &turn[content.value.range()]);
        blocks(content.unwrap_or_default())
    });
    let is_shown = |block: &Block| block.kind != "tool_use" && (thinks || !block.is_thinking());
    let shown: Vec<_> = shown.filter(is_shown).collect();
    let is_told = shown.iter().zip(told).all(|(there, told)| there.is(told));
    (is_told && shown.len() < told.len()).then_some(shown.len())
}

/// What to cut of a turn whose earlier rounds nobody remembers: what the model thought in all of them but
/// the last. Without the calls that followed upon it upstreams do not take it back.
pub fn forgotten(request: &Request, at: usize) -> Vec<Range<usize>> {
    let Some(turn) = array(request, at) else {
        return Vec::new();
    };
    let told = blocks(&request.body()[turn.span.range()]);
    let Some(last) = told.iter().rposition(Block::is_thinking) else {
        return Vec::new();
    };
    let before = told[..last].iter().rposition(|block| !block.is_thinking());
    let last_round = before.map_or(0, |before| before + 1);
    let earlier = &told[..last_round];
    let is_ours = |block: &Block| block.is_thinking() || block.kind == "text";
    if !earlier.iter().all(is_ours) {
        // An upstream that runs tools of its own has thoughts between them.
        return Vec::new();
    }
    let spans: Vec<_> = told.iter().map(|block| within(turn, block.span)).collect();
    cuts(&spans, |at| at < last_round && told[at].is_thinking())
}

fn within(turn: Container, span: Span) -> Span {
    Span {
        start: turn.span.start + span.start,
        end: turn.span.start + span.end,
    }
}

fn array(request: &Request, at: usize) -> Option<Container> {
    match request.messages().get(at)?.content {
        Content::Parts { array, .. } => Some(array),
        _ => None,
    }
}
