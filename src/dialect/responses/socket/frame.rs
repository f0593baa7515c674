//! What a client says in one frame.

use bytes::Bytes;

use super::super::request::{self, Input};
use super::Told;
use crate::dialect::request::{Places, Request};
use crate::error::ApiError;
use crate::wire::object::Members;

/// Members that are the frame's, and no body's.
const OF_FRAME: [&str; 3] = ["type", "stream_id", "generate"];
/// How long a lane's name may be.
const LANE: usize = 256;

/// What a frame says.
#[derive(Debug)]
pub enum Said {
    /// A response is asked for.
    Create(Box<Create>),
    /// Nothing that is to be answered.
    Nothing,
}

/// A response that is asked for.
#[derive(Debug)]
pub struct Create {
    /// Those of one lane are answered one after the other, and their events bear its name.
    pub lane: Option<String>,
    /// Not where the upstream is only to get ready for what comes.
    pub generates: bool,
    /// The model that it names.
    pub model: Option<String>,
    pub(super) frame: Bytes,
    pub(super) members: Members,
    pub(super) input: Input,
    /// The response that it goes on from.
    pub(super) previous: Option<String>,
    /// What it says itself.
    pub(super) told: Told,
}

/// Reads a frame. JSON may nest `depth` deep.
///
/// # Errors
///
/// 400 that says what is wrong and where.
pub fn read(frame: &Bytes, depth: usize) -> Result<Said, ApiError> {
    let request = request::read(frame.clone(), depth)?;
    let members = Members::parse(frame).unwrap_or_default();
    for name in OF_FRAME {
        let named = members
            .iter()
            .filter(|it| *it.key.bytes(frame) == *name.as_bytes());
        if named.count() > 1 {
            let message = format!("`{name}` is there twice. Send it once.");
            return Err(ApiError::bad_request(message).param(name));
        }
    }
    let kind = text(&members, frame, "type")?;
    match kind.as_deref() {
        Some("response.create") => {}
        // Clients tell that they have read an answer.
        Some("response.processed") => return Ok(Said::Nothing),
        Some(kind) => {
            return Err(wrong(
                "type",
                format!("Events of the type `{kind}` are not taken here. Send `response.create`."),
            ));
        }
        None => {
            return Err(wrong(
                "type",
                "The event has no `type`. Send `response.create`, with the members of a body of \
                 POST /v1/responses beside it."
                    .into(),
            ));
        }
    }
    let lane = text(&members, frame, "stream_id")?;
    if lane.as_ref().is_some_and(|lane| lane.len() > LANE) {
        let message = format!("`stream_id` is longer than {LANE} bytes. Send a shorter one.");
        return Err(wrong("stream_id", message));
    }
    let generates = match value(&members, frame, "generate") {
        None | Some(b"null" | b"true") => true,
        Some(b"false") => false,
        Some(_) => return Err(wrong("generate", "`generate` is `true` or `false`.".into())),
    };
    let previous = text(&members, frame, "previous_response_id")?;
    let (input, told) = told(&request, frame);
    Ok(Said::Create(Box::new(Create {
        lane,
        generates,
        model: request.model().map(|model| model.into_owned()),
        frame: frame.clone(),
        members,
        input,
        previous,
        told,
    })))
}

/// What the request says itself, as items.
fn told(request: &Request, frame: &Bytes) -> (Input, Told) {
    let mut told = Told::default();
    let Places::Responses(places) = &request.places else {
        return (Input::Absent, told);
    };
    told.is_forgotten = places.is_forgotten;
    match places.input {
        Input::Text(text) => {
            let literal = &frame[text.span.start - 1..=text.span.end];
            told.items.push(said(literal));
        }
        Input::List(_) => {
            let items = places.items.iter();
            told.items = items.map(|item| item.span.of(frame)).collect();
        }
        Input::Absent | Input::Null(_) => {}
    }
    (places.input, told)
}

/// A text of the user's as an item.
fn said(literal: &[u8]) -> Bytes {
    [br#"{"role":"user","content":"#, literal, b"}"]
        .concat()
        .into()
}

impl Create {
    /// Bytes of the frame.
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// Members that go into no body.
    pub(super) fn is_of_frame(&self, name: &[u8]) -> bool {
        // An answer here is always a stream.
        name == b"stream" || OF_FRAME.iter().any(|own| own.as_bytes() == name)
    }
}

/// The raw JSON of a member.
fn value<'a>(members: &Members, frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let member = members.get(frame, name)?;
    Some(&frame[member.value.range()])
}

/// The text that a member is; absent and null are the same.
fn text(members: &Members, frame: &[u8], name: &str) -> Result<Option<String>, ApiError> {
    match value(members, frame, name) {
        None => Ok(None),
        Some(json) => serde_json::from_slice(json)
            .map_err(|_| wrong(name, format!("`{name}` is no text. Send one."))),
    }
}

fn wrong(name: &str, message: String) -> ApiError {
    ApiError::bad_request(message).param(name)
}
