//! What was said on a client's socket.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::request::Input;
use super::{Create, Heard, Told, can_be_told};
use crate::wire::splice::{Rope, Splice};

/// Responses that can be gone on from. A client goes on from the last one of a lane, or from one of
/// another lane's.
const KEPT: usize = 16;

/// The last responses of a socket, as its client knows them.
#[derive(Debug, Default)]
pub struct History(VecDeque<(String, Told)>);

impl History {
    /// The body of `POST /v1/responses` that asks for the same without a socket, and what it tells.
    pub fn body(&self, create: &Create) -> (Bytes, Told) {
        let own = &create.told;
        let known = create.previous.as_ref().and_then(|id| {
            let mut known = self.0.iter().rev();
            known.find(|(known, _)| known == id).map(|(_, told)| told)
        });
        let mut told = Told {
            base: match known {
                Some(known) => known.base.clone(),
                None => create.previous.as_ref().map(|id| json(id)),
            },
            items: Vec::new(),
            is_forgotten: own.is_forgotten,
        };
        let before = known.iter().flat_map(|known| &known.items);
        let before = before.filter(|item| can_be_told(item, own.is_forgotten));
        told.items.extend(before.cloned());
        told.items.extend(own.items.iter().cloned());
        (spliced(create, &told, known.is_some()), told)
    }

    /// Notes what was answered.
    pub fn answered(&mut self, mut told: Told, heard: Heard) {
        let Some((id, said)) = heard.into_said() else {
            return;
        };
        told.items.extend(said);
        self.note(id, told);
    }

    /// Bytes of what is kept, as far as one response tells it.
    pub fn bytes(&self) -> usize {
        let told = self.0.iter().map(|(_, told)| &told.items);
        let bytes = told.map(|items| items.iter().map(Bytes::len).sum());
        bytes.max().unwrap_or(0)
    }

    /// Notes a response under its id.
    pub fn note(&mut self, id: String, told: Told) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((id, told));
    }
}

/// The frame as a body that tells `told`.
fn spliced(create: &Create, told: &Told, is_known: bool) -> Bytes {
    let (frame, members) = (&create.frame, &create.members);
    let mut splice = Splice::new(frame);
    let is_gone = |name: &[u8]| {
        create.is_of_frame(name)
            || (is_known && told.base.is_none() && name == b"previous_response_id")
    };
    for cut in members.cuts(|member| is_gone(&member.key.bytes(frame))) {
        splice.cut(cut);
    }
    if let (true, Some(base)) = (is_known, &told.base)
        && let Some(member) = members.get(frame, "previous_response_id")
    {
        splice.cut(member.value.range());
        splice.insert(member.value.start, Rope::of((), base.clone()));
    }
    let mut added = br#""stream":true"#.to_vec();
    let list = || [b"[", &told.items.join(&b',')[..], b"]"].concat();
    match (create.input, members.get(frame, "input")) {
        // As it is.
        (Input::List(_), _) if !is_known => {}
        (Input::Absent | Input::Null(_), _) if told.items.is_empty() => {}
        (_, Some(member)) => {
            splice.cut(member.value.range());
            splice.insert(member.value.start, Rope::of((), list().into()));
        }
        (_, None) => {
            added.extend_from_slice(br#","input":"#);
            added.extend_from_slice(&list());
        }
    }
    let mut names = members.iter().map(|member| member.key.bytes(frame));
    if names.any(|name| !is_gone(&name)) {
        added.push(b',');
    }
    // A request is one object, so there is a brace.
    let at = memchr::memchr(b'{', frame).map_or(0, |brace| brace + 1);
    splice.insert(at, Rope::of((), added.into()));
    splice.finish().to_bytes()
}

fn json(id: &str) -> Bytes {
    serde_json::Value::from(id).to_string().into()
}
