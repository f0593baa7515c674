//! How a leg with a call of the gateway's ends, and how the call is named: whether it is run, and that
//! the client never sees it.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::{Dialect, Edit, Editor, Leg, Owners, Round, SseEditor, Wanted};

const ARGUMENTS: &str = r#"{"operation":"add","a":1,"b":2}"#;

fn editor(dialect: Dialect, client: &[&str]) -> Editor {
    let owners = Owners {
        gateway: vec!["calculator".into(), "calculator_exact".into()],
        client: client.iter().map(|&name| name.to_owned()).collect(),
    };
    Editor::new(dialect, owners, Wanted::ALL, "seed".into())
}

/// A whole answer that calls `name` and ended so.
fn answer(dialect: Dialect, name: &str, end: &Value) -> Value {
    match dialect {
        Dialect::Chat => {
            let call = json!({ "id": "call_1", "type": "function",
                "function": { "name": name, "arguments": ARGUMENTS } });
            let message =
                json!({ "role": "assistant", "content": "Let me see.", "tool_calls": [call] });
            json!({ "id": "c", "choices": [{ "index": 0, "message": message, "finish_reason": end }] })
        }
        Dialect::Responses => {
            let call = json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1",
                "name": name, "arguments": ARGUMENTS, "status": "completed" });
            json!({ "id": "resp_1", "object": "response", "status": end, "output": [call] })
        }
        Dialect::Messages => {
            let input: Value = serde_json::from_str(ARGUMENTS).expect("JSON");
            let call = json!({ "type": "tool_use", "id": "toolu_1", "name": name, "input": input });
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "content": [call],
                "stop_reason": end, "stop_sequence": null })
        }
    }
}

/// What comes of an answer and what the client sees of it, whole and streamed.
fn judged(dialect: Dialect, client: &[&str], whole: &Value) -> [(Leg, String); 2] {
    let body = Bytes::from(whole.to_string());
    let mut editor_of_whole = editor(dialect, client);
    let shown = match editor_of_whole.whole(&body) {
        Edit::Replace(shown) => shown,
        Edit::Pass | Edit::Drop => body.clone(),
    };
    let stream = dialect.streamed(&body).expect("an answer");
    [
        (editor_of_whole.end_leg(), text(&shown)),
        streamed(dialect, client, &stream),
    ]
}

fn streamed(dialect: Dialect, client: &[&str], stream: &Bytes) -> (Leg, String) {
    let mut editor = SseEditor::new(editor(dialect, client));
    let mut shown = editor.feed(stream);
    let (rest, leg) = editor.end_leg();
    shown.extend(rest);
    if leg == Leg::Complete {
        shown.extend(editor.finish());
    }
    (leg, text(&shown.concat()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn reasons(dialect: Dialect) -> (&'static [&'static str], &'static [&'static str]) {
    match dialect {
        Dialect::Chat => (
            &[
                "tool_calls",
                "stop",
                "STOP",
                "eos",
                "tool_use",
                "function_call",
                "something_new",
            ],
            &[
                "error",
                "length",
                "content_filter",
                "refusal",
                "SAFETY",
                "MALFORMED_FUNCTION_CALL",
                "RECITATION",
                "cancelled",
                "guardrail_intervened",
                "insufficient_system_resource",
            ],
        ),
        Dialect::Responses => (&["completed"], &["incomplete", "failed", "cancelled"]),
        Dialect::Messages => (
            &["tool_use", "end_turn", "stop_sequence"],
            &[
                "max_tokens",
                "refusal",
                "pause_turn",
                "model_context_window_exceeded",
            ],
        ),
    }
}

#[test]
fn a_call_is_run_where_the_model_had_said_all_of_it_and_not_where_it_was_cut_off_or_taken_back() {
    for dialect in Dialect::ALL {
        let (runs, ends) = reasons(dialect);
        for reason in runs {
            for (leg, shown) in judged(dialect, &[], &answer(dialect, "calculator", &json!(reason)))
            {
                assert!(
                    matches!(leg, Leg::Calls(_)),
                    "{dialect:?} {reason}: {leg:?}"
                );
                assert!(!shown.contains("calculator"), "{shown}");
            }
        }
        for reason in ends {
            for (leg, shown) in judged(dialect, &[], &answer(dialect, "calculator", &json!(reason)))
            {
                assert_eq!(leg, Leg::Complete, "{dialect:?} {reason}");
                assert!(!shown.contains("calculator"), "{shown}");
                assert!(shown.contains(reason), "{shown}");
            }
        }
    }
}

#[test]
fn an_error_behind_a_call_takes_it_back() {
    for dialect in Dialect::ALL {
        let stream = calling(dialect);
        let end = [
            "\"finish_reason\":\"tool_calls\"",
            "response.completed",
            "message_delta",
        ];
        let at = end.iter().filter_map(|end| stream.find(end)).min();
        let frame = stream[..at.expect("an end")]
            .rfind("\n\n")
            .expect("a frame")
            + 2;
        let (begun, ending) = stream.split_at(frame);
        let error = match dialect {
            Dialect::Chat => json!({ "error": { "code": 502, "message": "Lost." },
                "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error" }] }),
            Dialect::Responses => {
                json!({ "type": "error", "code": "server_error", "message": "Lost." })
            }
            Dialect::Messages => json!({ "type": "error",
                "error": { "type": "overloaded_error", "message": "Lost." } }),
        };
        for ending in [ending, "data: [DONE]\n\n", ""] {
            let stream = format!("{begun}data: {error}\n\n{ending}");
            let (leg, shown) = streamed(dialect, &[], &stream.into());
            assert_eq!(leg, Leg::Complete, "{dialect:?} {ending}");
            assert!(
                shown.contains("Lost.") && !shown.contains("calculator"),
                "{shown}"
            );
        }
    }
    // Told by a choice, or beside the choices, of a whole answer.
    for at in ["/choices/0", ""] {
        let mut whole = answer(Dialect::Chat, "calculator", &json!("tool_calls"));
        let place = whole.pointer_mut(at).expect("an object");
        place["error"] = json!({ "code": 502, "message": "Lost." });
        let mut editor = editor(Dialect::Chat, &[]);
        editor.whole(&whole.to_string().into());
        assert_eq!(editor.end_leg(), Leg::Complete, "{at}");
    }
    let mut failed = answer(Dialect::Responses, "calculator", &json!("completed"));
    failed["error"] = json!({ "code": "server_error", "message": "Lost." });
    for (leg, _) in judged(Dialect::Responses, &[], &failed) {
        assert_eq!(leg, Leg::Complete);
    }
}

/// What goes back to the model, as far as it is told: the rounds of both forms are alike.
fn round(leg: &Leg) -> &Round {
    match leg {
        Leg::Calls(round) => round,
        other => panic!("it asks for no calls: {other:?}"),
    }
}

#[test]
fn a_name_with_a_templates_words_around_it_is_the_tools() {
    for dialect in Dialect::ALL {
        let (runs, _) = reasons(dialect);
        for name in [
            " calculator ",
            "functions.calculator",
            "functions.calculator:0",
            "default_api.calculator",
            "calculator<|channel|>commentary",
            "calculator<|constrain|>json",
        ] {
            let whole = answer(dialect, name, &json!(runs[0]));
            for (leg, shown) in judged(dialect, &["screenshot", "functions.other"], &whole) {
                let round = round(&leg);
                assert_eq!(round.calls[0].name, "calculator", "{dialect:?} {name}");
                let said = round.said.concat();
                let said = text(&said);
                assert!(said.contains("\"calculator\""), "{said}");
                assert!(!shown.contains("calculator"), "{shown}");
            }
        }
    }
}

#[test]
fn a_name_that_the_client_has_is_the_clients_however_it_is_written() {
    for dialect in Dialect::ALL {
        let (runs, _) = reasons(dialect);
        for (name, client) in [
            ("functions.calculator", "functions.calculator"),
            ("functions.screenshot", "screenshot"),
            ("Calculator", "screenshot"),
            ("functions.unknown", "screenshot"),
            ("my.calculator", "screenshot"),
        ] {
            let whole = answer(dialect, name, &json!(runs[0]));
            for (leg, shown) in judged(dialect, &[client], &whole) {
                assert_eq!(leg, Leg::Complete, "{dialect:?} {name}");
                assert!(shown.contains(name), "{shown}");
            }
        }
    }
}

#[test]
fn a_name_may_come_in_pieces_with_what_stands_around_it() {
    let pieces: [&[&str]; 5] = [
        &["functions.", "calc", "ulator"],
        &["func", "tions.calculator"],
        &[" ", "calculator", " "],
        &["calculator", "<|channel|>", "commentary"],
        &["default_api", ".calculator_", "exact"],
    ];
    for pieces in pieces {
        let chunk = |delta: Value, end: Value| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": end });
            format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] }))
        };
        let call =
            |function: Value| json!({ "tool_calls": [{ "index": 0, "function": function }] });
        let names = pieces
            .iter()
            .map(|name| chunk(call(json!({ "name": name })), Value::Null));
        let mut stream: String = names.collect();
        stream += &chunk(call(json!({ "arguments": ARGUMENTS })), Value::Null);
        stream += &chunk(json!({}), json!("tool_calls"));
        let (leg, shown) = streamed(Dialect::Chat, &["screenshot"], &stream.into());
        assert!(
            round(&leg).calls[0].name.starts_with("calculator"),
            "{pieces:?}"
        );
        assert_eq!(shown, "", "{pieces:?}");
    }
}

#[test]
fn a_call_of_an_odd_shape_is_the_gateways_all_the_same() {
    let function = json!({ "name": "calculator", "arguments": ARGUMENTS });
    let entry = |entry: Value| json!({ "tool_calls": [entry] });
    for delta in [
        // One without a list around it.
        json!({ "tool_calls": { "id": "c", "type": "function", "function": function } }),
        entry(json!({ "id": "c", "type": "function", "function": function.to_string() })),
        entry(
            json!({ "id": "c", "type": "function", "name": "calculator", "arguments": ARGUMENTS }),
        ),
        entry(json!({ "id": "c", "type": "FUNCTION", "function": function })),
        entry(json!({ "id": "c", "type": "tool_call", "function": function })),
        entry(json!({ "id": "c", "function": { "name": "calculator",
            "parameters": serde_json::from_str::<Value>(ARGUMENTS).expect("JSON") } })),
    ] {
        for (index, name) in [
            (json!(0), "delta"),
            (json!(1), "delta"),
            (json!("0"), "message"),
        ] {
            let choice = json!({ "index": index, name: delta, "finish_reason": "tool_calls" });
            let chunk = json!({ "id": "c", "choices": [choice] }).to_string();
            let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
            let mut whole = editor(Dialect::Chat, &[]);
            whole.whole(&chunk.clone().into());
            let legs = [
                streamed(Dialect::Chat, &[], &stream.into()).0,
                whole.end_leg(),
            ];
            for leg in legs {
                let round = round(&leg);
                assert_eq!(round.calls[0].name, "calculator", "{chunk}");
                assert_eq!(
                    serde_json::from_str::<Value>(&round.calls[0].arguments).ok(),
                    serde_json::from_str(ARGUMENTS).ok(),
                    "{chunk}"
                );
                let said: Value = serde_json::from_slice(&round.said[0]).expect("JSON");
                assert_eq!(said["tool_calls"][0]["type"], "function", "{said}");
                assert_eq!(
                    said["tool_calls"][0]["function"]["name"], "calculator",
                    "{said}"
                );
            }
        }
    }
}

#[test]
fn a_text_and_a_call_may_each_be_a_choice_of_its_own() {
    let call = json!({ "id": "c", "type": "function", "index": 0,
        "function": { "name": "calculator", "arguments": ARGUMENTS } });
    for [first, second] in [
        [json!(0), json!(0)],
        [json!(0), json!(1)],
        [Value::Null, Value::Null],
    ] {
        for name in ["delta", "message"] {
            let choices = json!([
                { "index": first, name: { "role": "assistant", "content": "Let me see." },
                  "finish_reason": "tool_calls" },
                { "index": second, name: { "role": "assistant", "tool_calls": [call] },
                  "finish_reason": "tool_calls" },
            ]);
            let body = json!({ "id": "c", "choices": choices }).to_string();
            let mut whole = editor(Dialect::Chat, &[]);
            let Edit::Replace(shown) = whole.whole(&body.clone().into()) else {
                panic!("it goes on as it came");
            };
            assert!(!text(&shown).contains("calculator"));
            assert_eq!(round(&whole.end_leg()).calls.len(), 1);
            let stream = format!("data: {body}\n\ndata: [DONE]\n\n");
            let (leg, shown) = streamed(Dialect::Chat, &[], &stream.into());
            assert_eq!(round(&leg).calls.len(), 1);
            assert!(
                shown.contains("Let me see.") && !shown.contains("calculator"),
                "{shown}"
            );
        }
    }
}

/// A stream that calls the calculator.
fn calling(dialect: Dialect) -> String {
    let whole = answer(dialect, "calculator", &json!(reasons(dialect).0[0]));
    let stream = dialect.streamed(&whole.to_string().into());
    text(&stream.expect("an answer"))
}

#[test]
fn a_stream_may_end_without_saying_why() {
    for (dialect, end) in [
        (Dialect::Messages, "event: message_delta"),
        (Dialect::Responses, "event: response.completed"),
    ] {
        let stream = calling(dialect);
        let (begun, _) = stream.split_at(stream.find(end).expect("an end"));
        let last = match dialect {
            Dialect::Messages => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            _ => "data: [DONE]\n\n",
        };
        let (leg, shown) = streamed(dialect, &[], &format!("{begun}{last}").into());
        assert_eq!(round(&leg).calls[0].name, "calculator", "{dialect:?}");
        assert!(!shown.contains("calculator"), "{shown}");
        // What has no end at all broke off.
        let cut = Bytes::copy_from_slice(begun.as_bytes());
        assert_eq!(streamed(dialect, &[], &cut).0, Leg::Truncated);
    }
}

#[test]
fn numbers_may_be_texts_and_a_last_event_of_another_name() {
    for (dialect, member) in [
        (Dialect::Messages, "index"),
        (Dialect::Responses, "output_index"),
    ] {
        let stream = calling(dialect);
        let mut stream = stream.replace(&format!("\"{member}\":0"), &format!("\"{member}\":\"0\""));
        for number in 0..8 {
            stream = stream.replace(
                &format!("\"sequence_number\":{number}"),
                &format!("\"sequence_number\":\"{number}\""),
            );
        }
        let stream = stream.replace("response.completed", "response.done");
        let (leg, shown) = streamed(dialect, &[], &stream.into());
        assert_eq!(round(&leg).calls[0].name, "calculator", "{dialect:?}");
        assert!(!shown.contains("calculator"), "{shown}");
    }
}
