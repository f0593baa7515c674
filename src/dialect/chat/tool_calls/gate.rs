//! The gate in a stream: everything passes but the calls of the gateway's own tools.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use memchr::memmem::Finder;
use serde_json::Value;

use super::calls::Calls;
use super::event::{Judge, Told, Verdict};
use super::{Owners, Round, add_usage};
use crate::dialect::answer::Answer;
use crate::wire::frame::sse::data_of;

/// Bytes of one event that are held at most; a larger one passes unread, and all after it.
const EVENT_LIMIT: usize = 1024 * 1024;

/// What an event that begins or goes on with a call has in it.
const MARKS: [&[u8]; 2] = [b"\"tool_calls\"", b"\"function_call\""];

/// Stands between an upstream's stream and the client, over all legs of an answer.
///
/// An event passes as soon as it is complete, as the bytes that came: it is only read where it
/// could hold a call, once a call is held back, or in a leg that goes on with an answer.
#[derive(Debug)]
pub struct Gate {
    owners: Owners,
    marks: [Finder<'static>; 2],
    /// The event that the last chunk left unfinished.
    held: BytesMut,
    calls: Calls,
    told: Option<Told>,
    /// What the legs before cost.
    spent: Option<Value>,
    leg_usage: Option<Value>,
    /// What ends the answer once the calls are run, if it ends then.
    ending: Vec<Bytes>,
    /// Met something too large to read.
    is_blind: bool,
}

impl Gate {
    /// A gate before the first leg.
    pub fn new(owners: Owners) -> Self {
        Self {
            owners,
            marks: MARKS.map(Finder::new),
            held: BytesMut::new(),
            calls: Calls::default(),
            told: None,
            spent: None,
            leg_usage: None,
            ending: Vec::new(),
            is_blind: false,
        }
    }

    /// Takes the next bytes of the leg and gives what of them goes to the client.
    pub fn feed(&mut self, chunk: &Bytes) -> Vec<Bytes> {
        if self.is_blind || self.passes_unread(chunk) {
            return vec![chunk.clone()];
        }
        let mut waiting = if self.held.is_empty() {
            chunk.clone()
        } else {
            self.held.extend_from_slice(chunk);
            self.held.split().freeze()
        };
        let mut out = Vec::new();
        while let Some(end) = event_end(&waiting) {
            let event = waiting.split_to(end);
            self.event(event, &mut out);
        }
        if waiting.len() > EVENT_LIMIT {
            self.is_blind = true;
            out.push(waiting);
        } else {
            self.held.extend_from_slice(&waiting);
        }
        out
    }

    /// Ends the leg: what was held of an unfinished event, which clients read too.
    pub fn finish(&mut self) -> Vec<Bytes> {
        let mut out = Vec::new();
        let rest = self.held.split().freeze();
        if !rest.is_empty() {
            self.event(rest, &mut out);
        }
        out
    }

    /// The calls to run, if the leg that has ended asks for any.
    pub fn round(&self) -> Option<Round> {
        self.calls.round()
    }

    /// Whether the leg came to its end: its `finish_reason` or `[DONE]` was held back. Only where
    /// there is a [`Gate::round`].
    pub fn has_ended(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Whether something went by that was too large to be read.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Makes ready for a leg that goes on with the answer; `seen` is what the client saw so far.
    pub fn next_leg(&mut self, seen: &Answer) {
        self.calls = Calls::default();
        self.ending.clear();
        self.told = Some(Told {
            id: seen.id.clone(),
            role: seen.role.is_some(),
        });
        if let Some(usage) = self.leg_usage.take() {
            add_usage(self.spent.get_or_insert(Value::Null), &usage);
        }
    }

    /// What ends the answer, where the client has calls of its own to run before it can go on.
    pub fn take_ending(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ending)
    }

    /// Whether a chunk is whole events of which none needs to be read: nearly every one.
    fn passes_unread(&self, chunk: &[u8]) -> bool {
        self.held.is_empty()
            && self.told.is_none()
            && !self.calls.any_kept()
            && chunk.ends_with(b"\n\n")
            && !self.is_marked(chunk)
    }

    fn is_marked(&self, bytes: &[u8]) -> bool {
        self.marks.iter().any(|mark| mark.find(bytes).is_some())
    }

    fn event(&mut self, event: Bytes, out: &mut Vec<Bytes>) {
        let pending = self.calls.any_kept();
        if self.told.is_none() && !pending && !self.is_marked(&event) {
            return out.push(event);
        }
        let data = data(&event);
        let json = data.trim_ascii();
        if json.is_empty() {
            return out.push(event);
        }
        if json == b"[DONE]" {
            match pending {
                true => self.ending.push(event),
                false => out.push(event),
            }
            return;
        }
        let judged = Judge {
            owners: &self.owners,
            calls: &mut self.calls,
            told: self.told.as_mut(),
            spent: self.spent.as_ref(),
        }
        .judge(json);
        self.leg_usage = judged.usage.or(self.leg_usage.take());
        self.ending.extend(judged.ending.map(framed));
        match judged.verdict {
            Verdict::Passes => out.push(event),
            Verdict::PassesAs(json) => out.push(framed(json)),
            Verdict::Kept => {}
        }
    }
}

/// JSON as an event.
fn framed(json: Vec<u8>) -> Bytes {
    [b"data: ", &json[..], b"\n\n"].concat().into()
}

/// The end of the first event in `bytes`, its blank line included.
fn event_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    let mut at = 0;
    while let Some(found) = memchr2(b'\n', b'\r', &bytes[at..]) {
        let line_end = at + found;
        let is_return = bytes[line_end] == b'\r';
        // A carriage return at the end may have its line feed still to come.
        if is_return && line_end + 1 == bytes.len() {
            return None;
        }
        let paired = is_return && bytes[line_end + 1] == b'\n';
        let next = line_end + 1 + usize::from(paired);
        if line_end == start {
            return Some(next);
        }
        start = next;
        at = next;
    }
    None
}

/// The event's data, its lines joined.
fn data(event: &[u8]) -> Vec<u8> {
    let event = event.strip_prefix(b"\xef\xbb\xbf").unwrap_or(event);
    let lines = event.split(|&byte| byte == b'\n' || byte == b'\r');
    let values: Vec<_> = lines.filter_map(data_of).collect();
    values.join(&b'\n')
}
