//! Calls in places and shapes where no API has them, and answers of an API that was not asked for.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{found, round};
use crate::dialect::{Dialect, Edit, Editor, Leg, Owners, SseEditor, Wanted};

fn editor(dialect: Dialect) -> Editor {
    let owners = Owners {
        gateway: vec!["calc".into()],
        client: vec!["look".into()],
    };
    Editor::new(dialect, owners, Wanted::ALL, "x".into())
}

/// What the client sees of these events, and how the leg ends.
fn streamed(dialect: Dialect, events: &[impl ToString]) -> (String, Leg) {
    let mut editor = SseEditor::new(editor(dialect));
    let mut shown = Vec::new();
    for event in events {
        shown.extend(editor.feed(&format!("data: {}\n\n", event.to_string()).into()));
    }
    let (rest, leg) = editor.end_leg();
    shown.extend(rest);
    if !matches!(&leg, Leg::Calls(round) if round.client_calls.is_empty()) {
        shown.extend(editor.finish());
    }
    (String::from_utf8(shown.concat()).expect("UTF-8"), leg)
}

fn whole(dialect: Dialect, body: impl ToString) -> (String, Leg) {
    let mut editor = editor(dialect);
    let body = Bytes::from(body.to_string());
    let shown = match editor.whole(&body) {
        Edit::Replace(shown) => shown,
        Edit::Pass => body,
        Edit::Drop => Bytes::new(),
    };
    let shown = String::from_utf8(shown.to_vec()).expect("UTF-8");
    (shown, editor.end_leg())
}

fn chunk(said: &Value) -> Value {
    let mut choice = json!({ "index": 0 });
    let members = choice.as_object_mut().expect("an object");
    members.extend(said.as_object().expect("an object").clone());
    json!({ "id": "a", "model": "m", "choices": [choice] })
}

fn end(reason: &str) -> Value {
    chunk(&json!({ "delta": {}, "finish_reason": reason }))
}

fn entry(name: &str) -> Value {
    json!({ "id": "c", "type": "function", "function": { "name": name, "arguments": "{\"a\":1}" } })
}

#[test]
fn calls_in_odd_places_of_a_chat_are_run_and_the_clients_pass() {
    let shapes: [fn(&str) -> Value; 9] = [
        |name| json!({ "SAID": { "tool_calls": json!([entry(name)]).to_string() } }),
        |name| json!({ "SAID": { "tool_calls": entry(name).to_string() } }),
        |name| json!({ "SAID": { "tool_calls": [entry(name).to_string()] } }),
        |name| json!({ "SAID": { "tool_calls": entry(name) } }),
        |name| json!({ "delta": { "tool_calls": [entry(name)] }, "message": { "content": "hi" } }),
        |name| json!({ "message": { "content": "hi" }, "delta": { "tool_calls": [entry(name)] } }),
        |name| json!({ "delta": { "content": "hi" }, "message": { "tool_calls": [entry(name)] } }),
        |name| json!({ "delta": { "tool_calls": [entry(name)] }, "message": { "tool_calls": [entry(name)] } }),
        |name| json!({ "delta": { "tool_calls": [entry(name)] }, "message": null }),
    ];
    for shape in shapes {
        let said = |name: &str, said: &str| {
            let text = shape(name).to_string().replace("SAID", said);
            chunk(&serde_json::from_str(&text).expect("JSON"))
        };
        let (shown, leg) = streamed(Dialect::Chat, &[said("calc", "delta"), end("tool_calls")]);
        assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{}", shape("calc"));
        assert!(!shown.contains("calc"), "{shown}");
        let (shown, leg) = whole(Dialect::Chat, said("calc", "message"));
        assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{}", shape("calc"));
        assert!(!shown.contains("calc"), "{shown}");
        let own = [said("look", "delta"), end("tool_calls")];
        let (shown, leg) = streamed(Dialect::Chat, &own);
        let as_sent = own.map(|event| format!("data: {event}\n\n")).concat();
        assert_eq!((shown, leg), (as_sent, Leg::Complete));
        let own = said("look", "message").to_string();
        assert_eq!(whole(Dialect::Chat, &own), (own, Leg::Complete));
    }
    let only = json!({ "id": "a", "choices": { "message": { "tool_calls": [entry("calc")] } } });
    let (shown, leg) = whole(Dialect::Chat, &only);
    assert_eq!(found(&round(leg)), ["calc({\"a\":1})"]);
    assert!(!shown.contains("calc"), "{shown}");
}

#[test]
fn keys_that_are_written_as_escapes_are_the_same_keys() {
    let cases = [
        (
            Dialect::Chat,
            chunk(&json!({ "delta": { "tool_calls": [entry("calc")] } })),
            end("tool_calls"),
        ),
        (
            Dialect::Messages,
            json!({ "type": "content_block_start", "index": 0,
                    "content_block": { "type": "tool_use", "id": "c", "name": "calc", "input": { "a": 1 } } }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
        ),
        (
            Dialect::Responses,
            json!({ "type": "response.output_item.done", "output_index": 0,
                    "item": { "type": "function_call", "call_id": "c", "name": "calc", "arguments": "{\"a\":1}" } }),
            json!({ "type": "response.completed", "response": { "status": "completed", "output": [] } }),
        ),
    ];
    for (dialect, call, end) in cases {
        for (plain, escaped) in [
            ("l_c", "l\\u005fc"),
            ("n_c", "n\\u005Fc"),
            ("tool_", "\\u0074ool_"),
        ] {
            let call = call.to_string().replace(plain, escaped);
            let (shown, leg) = streamed(dialect, &[call, end.to_string()]);
            assert_eq!(
                found(&round(leg)),
                ["calc({\"a\":1})"],
                "{dialect:?} {escaped}"
            );
            assert!(!shown.contains("calc"), "{shown}");
        }
    }
}

fn added(item: &Value) -> Value {
    json!({ "type": "response.output_item.added", "output_index": 0, "item": item })
}

fn done(item: &Value) -> Value {
    json!({ "type": "response.output_item.done", "output_index": 0, "item": item })
}

fn call(name: &str, arguments: &str) -> Value {
    json!({ "type": "function_call", "id": "f", "call_id": "c", "name": name, "arguments": arguments })
}

fn completed(output: &[Value]) -> Value {
    json!({ "type": "response.completed", "response": { "status": "completed", "output": output } })
}

#[test]
fn an_item_whose_name_comes_late_is_held_until_it_is_there() {
    let delta = json!({ "type": "response.function_call_arguments.delta", "output_index": 0,
                        "item_id": "f", "delta": "{\"a\":1}" });
    let nameless = json!({ "type": "function_call", "id": "f", "call_id": "c", "arguments": "" });
    for begun in [call("", ""), nameless, Value::Null] {
        for name in ["calc", "look"] {
            let whole = call(name, "{\"a\":1}");
            let events = [
                added(&begun),
                delta.clone(),
                done(&whole),
                completed(std::slice::from_ref(&whole)),
            ];
            let (shown, leg) = streamed(Dialect::Responses, &events);
            match name {
                "calc" => {
                    assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{begun}");
                    assert_eq!(shown, "", "{begun}");
                }
                _ => {
                    assert_eq!(leg, Leg::Complete, "{begun}");
                    let data = shown.lines().filter_map(|line| line.strip_prefix("data: "));
                    let data = data.map(|data| serde_json::from_str(data).expect("JSON"));
                    assert_eq!(data.collect::<Vec<Value>>(), events, "{begun}");
                }
            }
            // It is never done: the whole response tells.
            let events = [
                added(&begun),
                delta.clone(),
                completed(std::slice::from_ref(&whole)),
            ];
            let (shown, leg) = streamed(Dialect::Responses, &events);
            match (name, begun.is_null()) {
                ("calc", false) => assert_eq!(found(&round(leg)), ["calc({\"a\":1})"]),
                ("calc", true) => assert!(!shown.contains("calc"), "{shown}"),
                _ => assert!(shown.contains("look"), "{shown}"),
            }
        }
    }
}

#[test]
fn a_call_under_another_apis_name_is_one_and_goes_back_under_its_own() {
    for kind in ["tool_call", "function_call"] {
        let block = json!({ "type": kind, "id": "c", "name": "calc", "input": { "a": 1 } });
        let answer = json!({ "type": "message", "content": [block], "stop_reason": "tool_use" });
        let (shown, leg) = whole(Dialect::Messages, &answer);
        let asked = round(leg);
        assert_eq!(found(&asked), ["calc({\"a\":1})"], "{kind}");
        assert!(!shown.contains("calc"), "{shown}");
        let said: Value = serde_json::from_slice(&asked.said[0]).expect("JSON");
        assert_eq!(said["content"][0]["type"], "tool_use");
        let events = [
            json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
            json!({ "type": "message_stop" }),
        ];
        let (shown, leg) = streamed(Dialect::Messages, &events);
        assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{kind}");
        assert_eq!(shown, "", "{kind}");
    }
    for kind in ["tool_call", "tool_use"] {
        let mut item = call("calc", "{\"a\":1}");
        item["type"] = kind.into();
        let answer = json!({ "status": "completed", "output": [item] });
        let (shown, leg) = whole(Dialect::Responses, &answer);
        let asked = round(leg);
        assert_eq!(found(&asked), ["calc({\"a\":1})"], "{kind}");
        assert!(!shown.contains("calc"), "{shown}");
        let said: Value = serde_json::from_slice(&asked.said[0]).expect("JSON");
        assert_eq!(said["type"], "function_call");
        let events = [added(&item), done(&item), completed(&[item.clone()])];
        let (shown, leg) = streamed(Dialect::Responses, &events);
        assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{kind}");
        assert_eq!(shown, "", "{kind}");
    }
}

#[test]
fn the_only_block_or_item_may_stand_without_a_list() {
    let block = json!({ "type": "tool_use", "id": "c", "name": "calc", "input": { "a": 1 } });
    let message = json!({ "type": "message", "content": block, "stop_reason": "tool_use" });
    let response = json!({ "status": "completed", "output": call("calc", "{\"a\":1}") });
    for (dialect, answer) in [(Dialect::Messages, message), (Dialect::Responses, response)] {
        let (shown, leg) = whole(dialect, &answer);
        assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{dialect:?}");
        assert!(!shown.contains("calc"), "{shown}");
        let events = dialect
            .streamed(&answer.to_string().into())
            .expect("events");
        let mut editor = SseEditor::new(editor(dialect));
        editor.feed(&events);
        assert_eq!(found(&round(editor.end_leg().1)), ["calc({\"a\":1})"]);
    }
}

#[test]
fn a_call_in_another_apis_words_is_shown_to_nobody() {
    let of_chat = |name: &str| chunk(&json!({ "delta": { "tool_calls": [entry(name)] } }));
    let of_responses = |name: &str| done(&call(name, "{}"));
    let of_messages = |name: &str| {
        let block = json!({ "type": "tool_use", "id": "c", "name": name, "input": {} });
        json!({ "type": "content_block_start", "index": 0, "content_block": block })
    };
    let wholes = |name: &str| {
        [
            chunk(&json!({ "message": { "tool_calls": [entry(name)] } })),
            json!({ "status": "completed", "output": [call(name, "{}")] }),
            json!({ "type": "message", "content": [{ "type": "tool_use", "name": name }] }),
        ]
    };
    let events = |name: &str| [of_chat(name), of_responses(name), of_messages(name)];
    for (at, asked) in Dialect::ALL.into_iter().enumerate() {
        for (other, (event, whole)) in events("calc").into_iter().zip(wholes("calc")).enumerate() {
            if at == other {
                continue;
            }
            let (shown, leg) = streamed(asked, &[event]);
            assert_eq!((&*shown, leg), ("", Leg::Unreadable), "{asked:?} {other}");
            let (shown, leg) = self::whole(asked, &whole);
            assert_eq!((&*shown, leg), ("", Leg::Unreadable), "{asked:?} {other}");
        }
        for (other, (event, whole)) in events("look").into_iter().zip(wholes("look")).enumerate() {
            if at == other {
                continue;
            }
            let as_sent = format!("data: {event}\n\n");
            assert_eq!(streamed(asked, &[event]), (as_sent, Leg::Complete));
            let as_sent = whole.to_string();
            assert_eq!(self::whole(asked, &whole), (as_sent, Leg::Complete));
        }
    }
}

#[test]
fn calls_of_the_clients_keep_the_numbers_that_their_upstream_gave_them() {
    let mut item = call("look", "{}");
    item["id"] = "f7".into();
    let numbered = |event: Value, number: u64| {
        let mut event = event;
        event["output_index"] = 3.into();
        event["sequence_number"] = number.into();
        event
    };
    let events = [
        json!({ "type": "response.created", "sequence_number": 7, "response": { "x": "\u{60}" } }),
        numbered(added(&item), 9),
        numbered(done(&item), 10),
        completed(&[item.clone()]),
    ];
    let events = events.map(|event| event.to_string().replace('`', "\\u0060"));
    let as_sent = events.iter().map(|event| format!("data: {event}\n\n"));
    let as_sent: String = as_sent.collect();
    assert_eq!(
        streamed(Dialect::Responses, &events),
        (as_sent, Leg::Complete)
    );
    let block = json!({ "type": "tool_use", "id": "c", "name": "look", "input": {} });
    let events = [
        json!({ "type": "content_block_start", "index": 5, "content_block": block }),
        json!({ "type": "content_block_stop", "index": 5 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
    ];
    let as_sent = events.iter().map(|event| format!("data: {event}\n\n"));
    let as_sent: String = as_sent.collect();
    assert_eq!(
        streamed(Dialect::Messages, &events),
        (as_sent, Leg::Complete)
    );
}

#[test]
fn the_mark_that_ends_a_stream_of_chat_ends_no_leg_that_goes_on() {
    let block = json!({ "type": "tool_use", "id": "c", "name": "calc", "input": { "a": 1 } });
    let messages = [
        json!({ "type": "content_block_start", "index": 0, "content_block": block }).to_string(),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }).to_string(),
    ];
    let whole = call("calc", "{\"a\":1}");
    let responses = [done(&whole).to_string(), completed(&[]).to_string()];
    let said = chunk(&json!({ "delta": { "tool_calls": [entry("calc")] } }));
    let chat = [said.to_string(), end("tool_calls").to_string()];
    let cases = [
        (Dialect::Messages, messages),
        (Dialect::Responses, responses),
        (Dialect::Chat, chat),
    ];
    for (dialect, [call, end]) in cases {
        for mark in ["[DONE]", " [DONE] "] {
            let events = [call.clone(), end.clone(), mark.to_owned()];
            let (shown, leg) = streamed(dialect, &events);
            assert_eq!(found(&round(leg)), ["calc({\"a\":1})"], "{dialect:?}");
            assert_eq!(shown, "", "{dialect:?}");
        }
    }
}
