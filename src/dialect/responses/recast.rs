//! A response as the events that would have told it, and the other way round.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ending::is_end;
use crate::wire::frame::Event;
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// Events, numbered.
#[derive(Default)]
struct Telling {
    events: Vec<Event>,
}

impl Telling {
    fn tell(&mut self, kind: &str, members: Value) {
        let mut event = members;
        event["type"] = kind.into();
        event["sequence_number"] = self.events.len().into();
        self.events.push(Event::named(kind, event.to_string()));
    }

    /// An item from its beginning to its end.
    fn item(&mut self, index: usize, item: &Value) {
        let mut begun = item.clone();
        let parts = item["content"].as_array().filter(|_| is(item, "message"));
        let arguments = item["arguments"].as_str();
        let arguments = arguments.filter(|_| is(item, "function_call"));
        if parts.is_some() {
            begun["content"] = json!([]);
        }
        if arguments.is_some() {
            begun["arguments"] = "".into();
        }
        if parts.is_some() || arguments.is_some() {
            begun["status"] = "in_progress".into();
        }
        let id = &item["id"];
        self.tell(
            "response.output_item.added",
            json!({ "output_index": index, "item": begun }),
        );
        for (at, part) in parts.into_iter().flatten().enumerate() {
            self.part(
                &json!({ "output_index": index, "item_id": id, "content_index": at }),
                part,
            );
        }
        if let Some(arguments) = arguments {
            let of = json!({ "output_index": index, "item_id": id });
            self.tell(
                "response.function_call_arguments.delta",
                with(&of, "delta", arguments.into()),
            );
            self.tell(
                "response.function_call_arguments.done",
                with(&of, "arguments", arguments.into()),
            );
        }
        self.tell(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
    }

    /// A part of a message; `of` says of which.
    fn part(&mut self, of: &Value, part: &Value) {
        let (kind, name) = match is(part, "refusal") {
            true => ("response.refusal", "refusal"),
            false => ("response.output_text", "text"),
        };
        let text = part[name].as_str();
        let mut begun = part.clone();
        if text.is_some() {
            begun[name] = "".into();
        }
        self.tell("response.content_part.added", with(of, "part", begun));
        if let Some(text) = text {
            self.tell(&format!("{kind}.delta"), with(of, "delta", text.into()));
            self.tell(&format!("{kind}.done"), with(of, name, text.into()));
        }
        self.tell("response.content_part.done", with(of, "part", part.clone()));
    }
}

fn is(value: &Value, kind: &str) -> bool {
    value["type"] == kind
}

fn with(of: &Value, name: &str, value: Value) -> Value {
    let mut of = of.clone();
    of[name] = value;
    of
}

/// The events of a whole response.
pub fn streamed(whole: &[u8]) -> Option<Vec<Event>> {
    let mut response: Value = serde_json::from_slice(whole).ok()?;
    if response["output"].is_object() {
        // The only item, without a list around it.
        response["output"] = json!([response["output"]]);
    }
    let mut telling = Telling::default();
    let Some(output) = response["output"].as_array() else {
        let error = response.get("error").filter(|error| !error.is_null())?;
        telling.tell(
            "error",
            json!({ "code": error["code"], "message": error["message"], "param": error["param"] }),
        );
        return Some(telling.events);
    };
    let mut begun = response.clone();
    (begun["output"], begun["status"]) = (json!([]), "in_progress".into());
    begun["usage"] = Value::Null;
    for kind in ["response.created", "response.in_progress"] {
        telling.tell(kind, json!({ "response": begun }));
    }
    for (index, item) in output.iter().enumerate() {
        telling.item(index, item);
    }
    let kind = match response["status"].as_str() {
        Some("incomplete") => "response.incomplete",
        Some("failed" | "cancelled") => "response.failed",
        _ => "response.completed",
    };
    telling.tell(kind, json!({ "response": response }));
    Some(telling.events)
}

/// The response that events have told: the last of them has it whole, but for servers that leave the
/// items out of it. An error is all that there is.
pub fn gathered(events: &[Bytes]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Told<'a> {
        r#type: String,
        #[serde(borrow)]
        response: Option<&'a RawValue>,
        #[serde(borrow)]
        item: Option<&'a RawValue>,
    }
    let mut items = Vec::new();
    for data in events {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(data) else {
            continue;
        };
        match (told.r#type.as_str(), told.response, told.item) {
            ("response.output_item.done", _, Some(item)) => items.push(item.get().to_owned()),
            (kind, Some(response), _) if is_end(kind) => {
                let response = data.slice_ref(response.get().as_bytes());
                return Some(with_items(&response, &items));
            }
            ("error", ..) => return Some(data.clone()),
            _ => {}
        }
    }
    None
}

fn with_items(response: &Bytes, items: &[String]) -> Bytes {
    let members = Members::parse(response).unwrap_or_default();
    let output = members.get(response, "output").map(|member| member.value);
    let is_told = output.is_some_and(|at| &response[at.range()] != b"[]");
    if is_told || items.is_empty() {
        return response.clone();
    }
    let mut splice = Splice::<()>::new(response);
    let items = format!("[{}]", items.join(","));
    match output {
        Some(at) => {
            splice.cut(at.range());
            splice.insert(at.start, Rope::of((), items.into()));
        }
        None => {
            let member = format!(",\"output\":{items}");
            splice.insert(members.tail, Rope::of((), member.into()));
        }
    }
    splice.finish().to_bytes()
}
