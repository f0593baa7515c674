//! Whether a text may hold a call of a tool, in whichever API's words: told without parsing it.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

use super::calls::{Owner, Owners};

/// What stands in every call of one of the APIs. Nobody has to write letters as escapes, but who does may
/// have written one of these so; and an item that is not there yet may become a call. One after the other they
/// are found sooner than together: all begin as most of a JSON text's words do.
static MARKS: LazyLock<[Finder<'static>; 8]> = LazyLock::new(|| {
    let marks: [&[u8]; 8] = [
        b"\"tool_calls\"",
        b"\"function_call\"",
        b"\"tool_call\"",
        b"\"tool_use\"",
        b"\\u005",
        b"\\u006",
        b"\\u007",
        b"\"item\":null",
    ];
    marks.map(Finder::new)
});

/// Whether it may hold a call.
pub fn is_marked(raw: &[u8]) -> bool {
    MARKS.iter().any(|mark| mark.find(raw).is_some())
}

/// Whether it holds a call of the gateway's where some API has one. What a client asked of one API no server
/// should answer in another's words, but there are those that do.
pub fn has_call_of(owners: &Owners, json: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return false;
    };
    let is_ours = |call: &Value| {
        let name = call["function"]["name"].as_str().or(call["name"].as_str());
        name.is_some_and(|name| owners.of(name, true) == Owner::Gateway)
    };
    let of_chat = listed(&value["choices"]).flat_map(|choice| {
        let said = [&choice["delta"], &choice["message"]].into_iter();
        said.flat_map(|said| listed(&said["tool_calls"]).chain([&said["function_call"]]))
    });
    let of_responses = [&value["output"], &value["response"]["output"]].into_iter();
    let of_messages = [&value["content"], &value["message"]["content"]].into_iter();
    let mut calls = of_chat
        .chain(of_responses.flat_map(listed))
        .chain(of_messages.flat_map(listed))
        .chain([&value["item"], &value["content_block"]]);
    calls.any(is_ours)
}

/// The elements of a list; anything else stands for itself.
fn listed(value: &Value) -> impl Iterator<Item = &Value> {
    let (list, other) = match value {
        Value::Array(list) => (&list[..], None),
        other => (&[][..], Some(other)),
    };
    list.iter().chain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_in_whichever_apis_words() {
        let owners = Owners {
            gateway: vec!["calculator".into()],
            client: vec!["screenshot".into()],
        };
        for (text, wanted) in [
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"NAME"}}]}}]}"#,
                true,
            ),
            (
                r#"{"choices":[{"message":{"function_call":{"name":"NAME"}}}]}"#,
                true,
            ),
            (
                r#"{"choices":{"message":{"tool_calls":{"name":"NAME"}}}}"#,
                true,
            ),
            (
                r#"{"type":"x","item":{"type":"function_call","name":"NAME"}}"#,
                true,
            ),
            (
                r#"{"output":[{"type":"message"},{"type":"function_call","name":"NAME"}]}"#,
                true,
            ),
            (
                r#"{"response":{"output":[{"type":"function_call","name":"NAME"}]}}"#,
                true,
            ),
            (
                r#"{"content_block":{"type":"tool_use","name":"NAME"}}"#,
                true,
            ),
            (r#"{"content":[{"type":"tool_use","name":"NAME"}]}"#, true),
            (
                r#"{"choices":[],"debug":{"tool_calls":[],"tools":[{"name":"NAME"}]}}"#,
                false,
            ),
            (
                r#"{"response":{"tools":[{"type":"function","name":"NAME"}],"x":"tool_use"}}"#,
                false,
            ),
            (r#"["tool_calls","NAME"]"#, false),
            (r#""tool_calls""#, false),
        ] {
            for (name, is_ours) in [
                ("calculator", true),
                ("screenshot", false),
                ("other", false),
            ] {
                let text = text.replace("NAME", name);
                assert!(is_marked(text.as_bytes()) || !wanted, "{text}");
                assert_eq!(
                    has_call_of(&owners, text.as_bytes()),
                    wanted && is_ours,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn letters_that_are_written_as_escapes_are_no_disguise() {
        for text in [r#"{"tool\u005fcalls":[]}"#, r#"{"type":"\u0074ool_use"}"#] {
            assert!(is_marked(text.as_bytes()), "{text}");
        }
        for text in [r#"{"content":"\u003cb\u003e \u0026 \"tool_calls\""}"#, "{}"] {
            assert!(!is_marked(text.as_bytes()), "{text}");
        }
    }
}
