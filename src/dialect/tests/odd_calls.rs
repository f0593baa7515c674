//! Calls as servers really send them: ids and indices that are missing, late, empty, the same for all
//! or another each time; and what is no call of the gateway's, which passes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{found, round};
use crate::dialect::{Dialect, Edit, Editor, Leg, Owners, Round, SseEditor, Wanted};

fn editor() -> Editor {
    let owners = Owners {
        gateway: vec!["calc".into(), "clock".into(), "clock_zone".into()],
        client: vec!["look".into(), "ca".into(), "calculus".into()],
    };
    Editor::new(Dialect::Chat, owners, Wanted::Text(1 << 10), "x".into())
}

fn chunk(delta: &Value) -> Value {
    json!({ "id": "a", "model": "m", "choices": [{ "index": 0, "delta": delta }] })
}

fn entry(entry: Value) -> Value {
    chunk(&json!({ "tool_calls": [entry] }))
}

fn end(reason: &str) -> Value {
    json!({ "id": "a", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

/// What the client sees of a leg, its ending included where the answer ends with it.
fn leg(events: &[Value]) -> (Vec<Value>, Leg) {
    let mut editor = SseEditor::new(editor());
    let mut shown = Vec::new();
    for event in events {
        let event = match event {
            Value::String(text) => format!("data: {text}\n\n"),
            event => format!("data: {event}\n\n"),
        };
        shown.extend(editor.feed(&event.into()));
    }
    let (rest, leg) = editor.end_leg();
    shown.extend(rest);
    if !matches!(&leg, Leg::Calls(round) if round.client_calls.is_empty()) {
        shown.extend(editor.finish());
    }
    let shown = shown.concat();
    let text = str::from_utf8(&shown).expect("UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()));
    (data.collect(), leg)
}

fn said(round: &Round) -> Value {
    serde_json::from_slice(&round.said[0]).expect("JSON")
}

#[test]
fn what_a_fragment_says_decides_to_which_call_it_belongs() {
    let one = r#"{"a":1}"#;
    let two = r#"{"a":2}"#;
    let both = ["calc({\"a\":1})", "calc({\"a\":2})"];
    let f = |name: &str, arguments: &str| json!({ "name": name, "arguments": arguments });
    let rest = |arguments: &str| json!({ "arguments": arguments });
    let cases: [(&str, Vec<Value>, &[&str]); 22] = [
        (
            "the id of the completion comes late, and so does the call's",
            vec![
                json!({ "index": 0, "id": "", "function": f("calc", "") }),
                json!({ "index": 0, "id": "c1", "function": rest(one) }),
            ],
            &both[..1],
        ),
        (
            "the id alone, then the name, then the rest",
            vec![
                json!({ "index": 0, "id": "c1", "type": "function" }),
                json!({ "index": 0, "function": { "name": "calc" } }),
                json!({ "index": 0, "function": rest("{\"a\"") }),
                json!({ "index": 0, "function": rest(":1}") }),
            ],
            &both[..1],
        ),
        (
            "all with index 0, other ids",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "") }),
                json!({ "index": 0, "id": "", "function": rest(one) }),
                json!({ "index": 0, "id": "c2", "function": f("calc", "") }),
                json!({ "index": 0, "id": "", "function": rest(two) }),
            ],
            &both,
        ),
        (
            "all with index 0, no ids, each call whole",
            vec![
                json!({ "index": 0, "function": f("calc", one) }),
                json!({ "index": 0, "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "the same, in fragments",
            vec![
                json!({ "index": 0, "function": f("calc", "{\"a\"") }),
                json!({ "index": 0, "function": rest(":1}") }),
                json!({ "index": 0, "function": f("calc", "{\"a\":") }),
                json!({ "index": 0, "function": rest("2}") }),
            ],
            &both,
        ),
        (
            "one id for all, one index for all",
            vec![
                json!({ "index": 0, "id": "call_0", "function": f("calc", one) }),
                json!({ "index": 0, "id": "call_0", "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "one id for all, other indices",
            vec![
                json!({ "index": 0, "id": "call_0", "function": f("calc", "") }),
                json!({ "index": 1, "id": "call_0", "function": f("calc", "") }),
                json!({ "index": 0, "function": rest(one) }),
                json!({ "index": 1, "function": rest(two) }),
            ],
            &both,
        ),
        (
            "two calls without arguments, one index, no ids",
            vec![
                json!({ "index": 0, "function": f("calc", "") }),
                json!({ "index": 0, "function": f("clock_zone", "") }),
            ],
            &["calc()", "clock_zone()"],
        ),
        (
            "no index and no ids at all",
            vec![
                json!({ "function": f("calc", "{\"a\"") }),
                json!({ "function": rest(":1}") }),
                json!({ "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "a null for an index",
            vec![
                json!({ "index": null, "id": "c1", "function": f("calc", "{\"a\"") }),
                json!({ "index": null, "id": null, "function": { "name": null, "arguments": ":1}" } }),
                json!({ "index": null, "id": "c2", "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "an index that begins at 1",
            vec![
                json!({ "index": 1, "id": "c1", "function": f("calc", one) }),
                json!({ "index": 2, "id": "c2", "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "an index that is a text",
            vec![
                json!({ "index": "0", "id": "c1", "function": f("calc", "{\"a\"") }),
                json!({ "index": "0", "function": rest(":1}") }),
            ],
            &both[..1],
        ),
        (
            "id and name in each fragment",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "{\"a\"") }),
                json!({ "index": 0, "id": "c1", "function": f("calc", ":1") }),
                json!({ "index": 0, "id": "c1", "function": f("calc", "}") }),
            ],
            &both[..1],
        ),
        (
            "another id in each fragment",
            vec![
                json!({ "index": 0, "id": "r1", "function": f("calc", "{\"a\"") }),
                json!({ "index": 0, "id": "r2", "function": rest(":1") }),
                json!({ "index": 0, "id": "r3", "function": rest("}") }),
            ],
            &both[..1],
        ),
        (
            "fragments that are counted themselves",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "{\"a\"") }),
                json!({ "index": 1, "function": rest(":1") }),
                json!({ "index": 2, "function": rest("}") }),
            ],
            &both[..1],
        ),
        (
            "all so far in each fragment",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "{\"a\"") }),
                json!({ "index": 0, "id": "c1", "function": f("calc", "{\"a\":1") }),
                json!({ "index": 0, "id": "c1", "function": f("calc", one) }),
            ],
            &both[..1],
        ),
        (
            "a summary at the end, its arguments a string within a string",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "{\"a\":") }),
                json!({ "index": 0, "id": "c1", "function": rest("1}") }),
                json!({ "index": 0, "id": "c1", "function": f("calc", &json!("{\"a\": 1}").to_string()) }),
            ],
            &both[..1],
        ),
        (
            "an empty object before the arguments",
            vec![
                json!({ "index": 0, "id": "c1", "function": f("calc", "{}") }),
                json!({ "index": 0, "function": rest(one) }),
            ],
            &both[..1],
        ),
        (
            "arguments that are an object",
            vec![
                json!({ "index": 0, "id": "c1", "function": { "name": "calc", "arguments": { "a": 1 } } }),
            ],
            &both[..1],
        ),
        (
            "an id that is a number",
            vec![
                json!({ "index": 0, "id": 7, "function": f("calc", "{\"a\"") }),
                json!({ "index": 0, "id": 7, "function": rest(":1}") }),
            ],
            &both[..1],
        ),
        (
            "a type that is null or empty",
            vec![
                json!({ "index": 0, "type": null, "function": f("calc", one) }),
                json!({ "index": 1, "type": "", "function": f("calc", two) }),
            ],
            &both,
        ),
        (
            "a name that is the beginning of another, in pieces",
            vec![
                json!({ "index": 0, "id": "c1", "function": { "name": "clock" } }),
                json!({ "index": 0, "function": { "name": "_zone" } }),
                json!({ "index": 0, "function": rest("{}") }),
                json!({ "index": 1, "id": "c2", "function": { "name": "clock" } }),
            ],
            &["clock_zone({})", "clock()"],
        ),
    ];
    for (name, fragments, wanted) in cases {
        let mut events: Vec<_> = fragments.iter().cloned().map(entry).collect();
        events.push(end("tool_calls"));
        let (shown, leg) = leg(&events);
        let round = round(leg);
        assert_eq!(found(&round), wanted, "{name}");
        assert!(
            round.client_calls.is_empty() && shown.is_empty(),
            "{name}: {shown:?}"
        );
        let calls = said(&round)["tool_calls"]
            .as_array()
            .expect("calls")
            .clone();
        let ids: std::collections::BTreeSet<_> = calls
            .iter()
            .map(|call| call["id"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), wanted.len(), "{name}: each has an id of its own");
        assert!(!ids.contains(""), "{name}");
        for (call, entry) in round.calls.iter().zip(&calls) {
            assert_eq!(entry["id"], *call.id, "{name}");
            let arguments = entry["function"]["arguments"].as_str().expect("a text");
            let arguments: Value = serde_json::from_str(arguments).expect("what goes back parses");
            assert!(arguments.is_object(), "{name}");
        }
    }
}

#[test]
fn entries_of_one_event_and_of_a_whole_answer_are_a_call_each() {
    let call = json!({ "index": 0, "id": "c", "function": { "name": "calc", "arguments": "" } });
    let twice = json!([call, call]);
    let (_, leg) = leg(&[chunk(&json!({ "tool_calls": twice })), end("tool_calls")]);
    assert_eq!(found(&round(leg)), ["calc()", "calc()"]);
    for entries in [
        twice,
        json!([
            { "function": { "name": "calc", "arguments": "{}" } },
            { "function": { "name": "calc", "arguments": "{}" } },
        ]),
        json!([
            { "id": "c", "type": "function", "function": { "name": "calc", "arguments": {} } },
            { "id": "c", "type": "function", "function": { "name": "calc", "arguments": {} } },
        ]),
    ] {
        let message = json!({ "role": "assistant", "content": null, "tool_calls": entries });
        let body = json!({ "choices": [{ "message": message }] }).to_string();
        let mut editor = editor();
        editor.whole(&body.into());
        let round = round(editor.end_leg());
        assert_eq!(round.calls.len(), 2, "{entries}");
        assert_ne!(round.calls[0].id, round.calls[1].id);
    }
}

#[test]
fn what_is_not_surely_the_gateways_passes_as_it_came() {
    let call = |name: &str| {
        json!({ "index": 0, "id": "c", "type": "function",
                "function": { "name": name, "arguments": "{}" } })
    };
    for fragments in [
        vec![call("look")],
        vec![call("nobody_has_it")],
        vec![call("ca")],
        vec![call("calculus")],
        vec![
            json!({ "index": 0, "id": "c", "type": "custom", "custom": { "name": "calc", "input": "x" } }),
            json!({ "index": 0, "custom": { "input": "y" } }),
        ],
        vec![json!({ "index": 0, "id": "c", "type": "mcp", "mcp": { "server": "s" } })],
        vec![json!({ "index": 0, "id": "c", "type": "custom", "function": { "name": "calc" } })],
        vec![json!({ "index": 3, "id": "c" , "x_vendor": [1, 2] , "type": "later" })],
        vec![json!("no object"), json!(7), json!(null)],
    ] {
        let events: Vec<_> = fragments.iter().cloned().map(entry).collect();
        let events = [events, vec![end("tool_calls"), "[DONE]".into()]].concat();
        let (shown, leg) = leg(&events);
        assert_eq!((shown, leg), (events, Leg::Complete));
    }
    // Held for as long as it might be the gateway's, and then the client's after all.
    for fragments in [
        vec![json!({ "index": 0, "id": "c", "x": 1 })],
        vec![json!({ "index": 0, "id": "c", "function": { "name": "ca" } })],
        vec![
            json!({ "index": 0, "id": "c", "function": { "name": "calc" } }),
            json!({ "index": 0, "function": { "name": "ulus" }, "x": 1 }),
        ],
    ] {
        let events: Vec<_> = fragments.iter().cloned().map(entry).collect();
        let (shown, leg) = leg(&[events, vec![end("tool_calls"), "[DONE]".into()]].concat());
        assert_eq!(leg, Leg::Complete);
        let calls = shown.iter().flat_map(|event| {
            let calls = event["choices"][0]["delta"]["tool_calls"].as_array();
            calls.cloned().unwrap_or_default()
        });
        assert_eq!(calls.collect::<Vec<_>>(), fragments);
        let ends: Vec<_> = shown.iter().rev().take(2).rev().cloned().collect();
        assert_eq!(ends, [end("tool_calls"), "[DONE]".into()]);
        assert!(
            shown
                .iter()
                .all(|event| event.is_string() || event["id"] == "a")
        );
    }
}

#[test]
fn a_turn_goes_back_as_it_was_said() {
    let signed = json!({ "google": { "thought_signature": "c2ln", "n": 1.50 } });
    let (_, leg) = leg(&[
        chunk(&json!({ "role": "assistant", "content": "", "reasoning_content": "so" })),
        chunk(&json!({ "reasoning_content": " be it", "refusal": null })),
        chunk(&json!({ "reasoning_details": [
            { "type": "reasoning.text", "index": 0, "text": "a", "format": "f" },
        ] })),
        chunk(&json!({ "reasoning_details": [
            { "type": "reasoning.text", "index": 0, "text": "b", "format": "f" },
            { "type": "reasoning.encrypted", "index": 1, "data": "xyz" },
        ] })),
        chunk(&json!({ "reasoning_details": [{ "index": 0, "signature": "s1" }] })),
        chunk(&json!({ "content": "Let me " })),
        chunk(&json!({ "content": "see.", "x_vendor": { "k": [1] } })),
        entry(
            json!({ "index": 0, "id": "c", "type": "function", "extra_content": signed,
            "function": { "name": "calc", "arguments": "", "x_inner": true } }),
        ),
        entry(json!({ "index": 0, "function": { "arguments": "{\"a\":1}" } })),
        end("tool_calls"),
    ]);
    let wanted = json!({
        "role": "assistant", "content": "Let me see.", "reasoning_content": "so be it",
        "reasoning_details": [
            { "type": "reasoning.text", "index": 0, "text": "ab", "format": "f", "signature": "s1" },
            { "type": "reasoning.encrypted", "index": 1, "data": "xyz" },
        ],
        "x_vendor": { "k": [1] },
        "tool_calls": [{ "id": "c", "type": "function", "extra_content": signed,
            "function": { "name": "calc", "arguments": "{\"a\":1}", "x_inner": true } }],
    });
    let round = round(leg);
    assert_eq!(said(&round), wanted);
    let text = String::from_utf8_lossy(&round.said[0]).into_owned();
    assert!(text.contains("1.50") || text.contains("1.5"), "{text}");
}

#[test]
fn a_whole_turn_goes_back_as_it_was_said() {
    let message = json!({
        "role": "assistant", "content": [{ "type": "text", "text": "hm" }], "reasoning": "r",
        "reasoning_details": [{ "type": "reasoning.encrypted", "data": "x" }], "annotations": [],
        "tool_calls": [{ "id": "c", "type": "function", "extra_content": { "s": "t" },
            "function": { "name": "calc", "arguments": "null" } }],
    });
    let body = json!({ "choices": [{ "message": message, "finish_reason": "tool_calls" }] });
    let mut editor = editor();
    let edit = editor.whole(&body.to_string().into());
    assert!(matches!(edit, Edit::Replace(_)));
    let mut wanted = message;
    wanted["tool_calls"][0]["function"]["arguments"] = "{}".into();
    assert_eq!(said(&round(editor.end_leg())), wanted);
}

#[test]
fn what_goes_back_parses() {
    for (arguments, wanted) in [
        ("", "{}"),
        (" ", "{}"),
        ("null", "{}"),
        ("[]", "{}"),
        ("7", "{}"),
        ("{\"a\":", "{}"),
        ("{\"a\":1}}", "{}"),
        ("{ \"a\" : 1.50 }", "{ \"a\" : 1.50 }"),
        ("{\"a\":1}{\"a\":1}", "{\"a\":1}"),
    ] {
        let function = json!({ "name": "calc", "arguments": arguments });
        let call = json!({ "index": 0, "id": "c", "function": function });
        let (_, leg) = leg(&[entry(call), end("tool_calls")]);
        let round = round(leg);
        let told = &said(&round)["tool_calls"][0]["function"]["arguments"];
        assert_eq!(told, wanted, "{arguments}");
    }
}

#[test]
fn an_end_is_an_end() {
    let half = entry(
        json!({ "index": 0, "id": "c", "function": { "name": "calc", "arguments": "{\"a\":" } }),
    );
    let whole =
        entry(json!({ "index": 0, "id": "c", "function": { "name": "calc", "arguments": "{}" } }));
    let usage = json!({ "id": "a", "choices": [], "usage": { "prompt_tokens": 1 } });
    for reason in [
        "length",
        "content_filter",
        "max_tokens",
        "insufficient_system_resource",
        "ERROR",
    ] {
        for call in [&half, &whole] {
            let text = chunk(&json!({ "content": "Well" }));
            let ending = [end(reason), usage.clone(), "[DONE]".into()];
            let (shown, leg) = leg(&[&[text.clone(), call.clone()][..], &ending].concat());
            assert_eq!(leg, Leg::Complete, "{reason}");
            assert_eq!(shown, [&[text][..], &ending].concat(), "{reason}");
        }
    }
    // Reasons that are not known are believed as far as the calls bear them out.
    for reason in [
        "tool_calls",
        "stop",
        "function_call",
        "STOP",
        "completed",
        "eos_token",
    ] {
        let (_, leg) = leg(&[whole.clone(), end(reason)]);
        assert_eq!(round(leg).calls.len(), 1, "{reason}");
    }
    assert_eq!(leg(&[half.clone(), end("unheard_of")]).1, Leg::Complete);
    assert_eq!(
        round(leg(&[whole.clone(), "[DONE]".into()]).1).calls.len(),
        1
    );
    // What it costs so far, in each event, ends nothing.
    let mut metered = half.clone();
    metered["usage"] = json!({ "prompt_tokens": 1 });
    for broken in [
        vec![half.clone()],
        vec![whole],
        vec![metered, usage.clone()],
        vec![half, usage, "[DONE]".into()],
    ] {
        assert_eq!(leg(&broken).1, Leg::Truncated, "{broken:?}");
    }
}

#[test]
fn a_call_may_come_with_the_end_and_the_cost() {
    let mut event =
        entry(json!({ "index": 0, "id": "c", "function": { "name": "calc", "arguments": "{}" } }));
    event["choices"][0]["finish_reason"] = "stop".into();
    event["choices"][0]["delta"]["content"] = "so".into();
    event["usage"] = json!({ "prompt_tokens": 2 });
    let (shown, leg) = leg(&[event]);
    assert_eq!(round(leg).calls.len(), 1);
    let wanted = json!({ "id": "a", "model": "m",
        "choices": [{ "index": 0, "delta": { "content": "so" }, "finish_reason": null }] });
    assert_eq!(shown, [wanted]);
}

#[test]
fn usage_in_every_event_is_told_once_at_the_end_of_a_turn_of_both_sides() {
    let usage = |tokens: u64| json!({ "completion_tokens": tokens });
    let with = |mut event: Value, tokens: u64| {
        event["usage"] = usage(tokens);
        event
    };
    let ours = json!({ "index": 0, "id": "1", "function": { "name": "calc", "arguments": "{}" } });
    let theirs =
        json!({ "index": 1, "id": "2", "function": { "name": "look", "arguments": "{}" } });
    let (shown, leg) = leg(&[
        with(entry(ours), 1),
        with(entry(theirs), 2),
        with(end("tool_calls"), 3),
        "[DONE]".into(),
    ]);
    assert_eq!(round(leg).client_calls, ["2"]);
    let told = shown.iter().filter(|event| event["usage"].is_object());
    assert_eq!(
        told.cloned().collect::<Vec<_>>(),
        [with(end("tool_calls"), 3)]
    );
    assert_eq!(shown[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
}

#[test]
fn azures_first_event_names_nobody() {
    let mut editor = SseEditor::new(editor());
    let mut feed = |event: &Value| {
        let event = Bytes::from(format!("data: {event}\n\n"));
        String::from_utf8(editor.feed(&event).concat()).expect("UTF-8")
    };
    let first = json!({ "id": "", "model": "", "choices": [], "prompt_filter_results": [] });
    let call = json!({ "index": 0, "id": "c", "function": { "name": "calc", "arguments": "{}" } });
    feed(&first);
    let mut call = entry(call);
    call["id"] = "one".into();
    call["choices"][0]["delta"]["role"] = "assistant".into();
    assert!(feed(&call).contains("\"one\""));
    feed(&end("tool_calls"));
    assert!(matches!(editor.end_leg().1, Leg::Calls(_)));
    let mut feed = |event: &Value| {
        let event = Bytes::from(format!("data: {event}\n\n"));
        String::from_utf8(editor.feed(&event).concat()).expect("UTF-8")
    };
    assert_eq!(feed(&first), format!("data: {first}\n\n"));
    let mut text = chunk(&json!({ "role": "assistant", "content": "so" }));
    text["id"] = "two".into();
    let shown = feed(&text);
    assert!(
        shown.contains("\"id\":\"one\"") && !shown.contains("role"),
        "{shown}"
    );
}
