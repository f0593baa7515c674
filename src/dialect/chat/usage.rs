//! Usage of streams that the gateway asks for and the client did not: in the request it is put in, of
//! the answer it is taken out again.
//!
//! Upstreams that are asked tell `"usage": null` in each event, and the sum in one of its own without
//! choices: <https://platform.openai.com/docs/api-reference/chat-streaming>.

use std::ops::Range;

use bytes::Bytes;

use super::shape::Shape;
use crate::dialect::calls::Edit;
use crate::dialect::chat::editing::Editing;
use crate::dialect::request::{Places, Request};
use crate::wire::object::Members;

/// How a request comes to ask for usage.
pub struct Asking {
    /// What is taken out of the body first.
    pub cut: Option<Range<usize>>,
    pub at: usize,
    pub text: &'static [u8],
}

impl Asking {
    /// `None` where the request asks for it itself, is not streamed, or says something that is the
    /// upstream's to judge.
    pub fn of(request: &Request) -> Option<Self> {
        let Places::Chat(places) = &request.places else {
            return None;
        };
        if !request.stream() {
            return None;
        }
        let mut options = request.members().iter();
        let mut options = options.by_ref().filter(|it| it.name == "stream_options");
        let (Some(member), None) = (options.next(), options.next()) else {
            let is_absent = request.member("stream_options").is_none();
            return is_absent.then_some(Self {
                cut: None,
                at: places.list.span.end,
                text: br#","stream_options":{"include_usage":true}"#,
            });
        };
        let (json, start) = (&request.body()[member.value.range()], member.value.start);
        if json == b"null" {
            return Some(Self {
                cut: Some(member.value.range()),
                at: start,
                text: br#"{"include_usage":true}"#,
            });
        }
        if !json.starts_with(b"{") {
            return None;
        }
        let members = Members::parse(json)?;
        let Some(asked) = members.get(json, "include_usage") else {
            let is_empty = members.iter().next().is_none();
            return Some(Self {
                cut: None,
                at: start + members.tail,
                text: match is_empty {
                    true => br#""include_usage":true"#,
                    false => br#","include_usage":true"#,
                },
            });
        };
        let value = start + asked.value.start..start + asked.value.end;
        let says_no = matches!(&json[asked.value.range()], b"false" | b"null");
        says_no.then_some(Self {
            at: value.start,
            cut: Some(value),
            text: b"true",
        })
    }
}

/// An event without what it has of a usage that the client did not ask for. Where it tells the sum
/// beside something else, the upstream tells it unasked.
pub fn without(data: &Bytes) -> Edit {
    let json = data.slice_ref(data.trim_ascii());
    let Some(shape) = Shape::read(&json) else {
        return Edit::Pass;
    };
    let Some(usage) = shape.members.get(&json, "usage") else {
        return Edit::Pass;
    };
    if &json[usage.value.range()] == b"null" {
        let mut editing = Editing::new(&json);
        let key = usage.key.span;
        editing.cut(shape.members.cuts(|member| member.key.span == key));
        return editing.finish();
    }
    let has_choices = shape.get(&json, "choices").is_some();
    match has_choices && shape.choices.is_empty() {
        true => Edit::Drop,
        false => Edit::Pass,
    }
}
