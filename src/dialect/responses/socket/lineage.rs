//! What was said on a socket to an upstream, which need not hear it twice.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Heard, Told, can_be_told};
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// The last response of a socket to an upstream, and all that it stands on.
#[derive(Debug, Default)]
pub struct Lineage(Option<Last>);

#[derive(Debug)]
struct Last {
    id: String,
    told: Told,
}

impl Lineage {
    /// The frame that asks what `body` does, without what the upstream heard before; and what the body
    /// tells. `Some` of the whole where something is left out.
    pub fn frame(&self, body: &Bytes) -> (Bytes, Told, bool) {
        let told = told(body);
        match self.0.as_ref().and_then(|last| last.rest(&told)) {
            Some((id, rest)) => (framed(body, Some((id, rest))), told, true),
            None => (framed(body, None), told, false),
        }
    }

    /// Notes what was answered.
    pub fn answered(&mut self, mut told: Told, heard: Heard) {
        self.0 = heard.into_said().map(|(id, said)| {
            told.items.extend(said);
            Last { id, told }
        });
    }

    /// The upstream does not know what went before.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

impl Last {
    /// What `told` says behind all that this response stands on, if it does.
    fn rest<'a>(&self, told: &'a Told) -> Option<(&str, &'a [Bytes])> {
        if self.told.base != told.base || told.items.is_empty() {
            return None;
        }
        let mut there = told.items.iter();
        let heard = self.told.items.iter();
        for item in heard.filter(|item| can_be_told(item, told.is_forgotten)) {
            if there.next() != Some(item) {
                return None;
            }
        }
        let rest = there.as_slice();
        (!rest.is_empty()).then_some((&*self.id, rest))
    }
}

/// What a body tells.
fn told(body: &Bytes) -> Told {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        input: Option<&'a RawValue>,
        #[serde(borrow)]
        previous_response_id: Option<&'a RawValue>,
        store: Option<bool>,
    }
    let Ok(read) = serde_json::from_slice::<Body<'_>>(body) else {
        return Told::default();
    };
    let slice = |json: &RawValue| body.slice_ref(json.get().as_bytes());
    let items = read.input.map(|input| serde_json::from_str(input.get()));
    let items: Vec<&RawValue> = items.and_then(Result::ok).unwrap_or_default();
    Told {
        base: read.previous_response_id.map(slice),
        items: items.into_iter().map(slice).collect(),
        is_forgotten: read.store == Some(false),
    }
}

/// The body as a frame; with `after` it goes on from that response and says these items alone.
fn framed(body: &Bytes, after: Option<(&str, &[Bytes])>) -> Bytes {
    let members = Members::parse(body).unwrap_or_default();
    let mut splice = Splice::new(body);
    let is_gone =
        |name: &[u8]| name == b"stream" || (after.is_some() && name == b"previous_response_id");
    for cut in members.cuts(|member| is_gone(&member.key.bytes(body))) {
        splice.cut(cut);
    }
    let mut added = br#""type":"response.create""#.to_vec();
    if let Some((id, items)) = after {
        let id = serde_json::Value::from(id).to_string();
        added.extend_from_slice(br#","previous_response_id":"#);
        added.extend_from_slice(id.as_bytes());
        if let Some(input) = members.get(body, "input") {
            let list = [b"[", &items.join(&b',')[..], b"]"].concat();
            splice.cut(input.value.range());
            splice.insert(input.value.start, Rope::of((), list.into()));
        }
    }
    let mut names = members.iter().map(|member| member.key.bytes(body));
    if names.any(|name| !is_gone(&name)) {
        added.push(b',');
    }
    let at = memchr::memchr(b'{', body).map_or(0, |brace| brace + 1);
    splice.insert(at, Rope::of((), added.into()));
    splice.finish().to_bytes()
}
