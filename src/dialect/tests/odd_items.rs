//! Calls in Responses and Messages as servers really send them: ids and indices that are missing, the same
//! for all or another each time, arguments that are no object, ends within a call.

use bytes::Bytes;
use serde_json::{Value, json};

use super::found;
use crate::dialect::{Dialect, Edit, Editor, Leg, Owners, Round, SseEditor, Wanted};

fn editor(dialect: Dialect) -> Editor {
    let owners = Owners {
        gateway: vec!["calc".into(), "clock".into()],
        client: vec!["look".into()],
    };
    Editor::new(dialect, owners, Wanted::ALL, "x".into())
}

/// What the client sees of a leg, its ending included where the answer ends with it.
fn leg(dialect: Dialect, events: &[Value]) -> (Vec<Value>, Leg) {
    let mut editor = SseEditor::new(editor(dialect));
    let mut shown = Vec::new();
    for event in events {
        let event = format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap_or("x")
        );
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
    let data = data.map(|data| serde_json::from_str(data).expect("JSON"));
    (data.collect(), leg)
}

fn whole(dialect: Dialect, body: &Value) -> (Value, Leg) {
    let mut editor = editor(dialect);
    let body = Bytes::from(body.to_string());
    let shown = match editor.whole(&body) {
        Edit::Replace(shown) => shown,
        Edit::Pass | Edit::Drop => body,
    };
    (
        serde_json::from_slice(&shown).expect("JSON"),
        editor.end_leg(),
    )
}

fn round(case: &str, leg: Leg) -> Round {
    match leg {
        Leg::Calls(round) => round,
        other => panic!("{case}: it asks for no calls: {other:?}"),
    }
}

/// What the next leg is told: ids are there, each once, and each call's arguments are an object.
fn expect_sound(case: &str, dialect: Dialect, round: &Round) {
    let results: Vec<_> = round.calls.iter().map(|_| "r".to_owned()).collect();
    let items = dialect.follow_up(round, &results);
    let items: Vec<Value> = items
        .iter()
        .map(|item| serde_json::from_slice(item).expect("JSON"))
        .collect();
    let mut asked = Vec::new();
    let mut given = Vec::new();
    let blocks = items
        .iter()
        .flat_map(|item| match item["content"].as_array() {
            Some(blocks) => blocks.clone(),
            None => vec![item.clone()],
        });
    for block in blocks {
        for call in block["tool_calls"].as_array().into_iter().flatten() {
            let arguments = call["function"]["arguments"].as_str().expect("a text");
            let arguments: Value = serde_json::from_str(arguments).expect("JSON");
            assert!(arguments.is_object(), "{case}: {call}");
            asked.push(call["id"].clone());
        }
        if block["role"] == "tool" {
            given.push(block["tool_call_id"].clone());
        }
        match block["type"].as_str().unwrap_or_default() {
            "tool_use" => {
                assert!(block["input"].is_object(), "{case}: {block}");
                asked.push(block["id"].clone());
            }
            "function_call" => {
                let arguments = block["arguments"].as_str().expect("a text");
                let arguments: Value = serde_json::from_str(arguments).expect("JSON");
                assert!(arguments.is_object(), "{case}: {block}");
                asked.push(block["call_id"].clone());
            }
            "tool_result" => given.push(block["tool_use_id"].clone()),
            "function_call_output" => given.push(block["call_id"].clone()),
            _ => {}
        }
    }
    assert_eq!(asked, given, "{case}");
    assert_eq!(asked.len(), round.calls.len(), "{case}");
    let mut ids: Vec<_> = asked
        .iter()
        .map(|id| id.as_str().expect("a text"))
        .collect();
    assert!(ids.iter().all(|id| !id.is_empty()), "{case}: {ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), asked.len(), "{case}: {asked:?}");
}

// ---- Responses ----

fn item(id: &str, call: Value, arguments: Value) -> Value {
    let mut item = json!({ "type": "function_call", "name": "calc", "status": "completed" });
    for (name, value) in [
        ("id", json!(id)),
        ("call_id", call),
        ("arguments", arguments),
    ] {
        if !value.is_null() {
            item[name] = value;
        }
    }
    item
}

fn said(id: &str) -> Value {
    json!({ "type": "message", "id": id, "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": "so", "annotations": [] }] })
}

fn added(index: Value, item: &Value) -> Value {
    json!({ "type": "response.output_item.added", "output_index": index, "item": item })
}

fn done(index: Value, item: &Value) -> Value {
    json!({ "type": "response.output_item.done", "output_index": index, "item": item })
}

fn completed(output: &[&Value]) -> Value {
    json!({ "type": "response.completed", "response": { "id": "r", "status": "completed",
        "output": output, "usage": { "input_tokens": 1, "output_tokens": 1, "total_tokens": 2 } } })
}

#[test]
fn items_are_told_apart_by_whatever_is_there() {
    let one = || item("fc_1", json!("c1"), json!("{\"a\":1}"));
    let two = || item("fc_2", json!("c2"), json!("{\"a\":2}"));
    let said = said("m");
    let none = Value::Null;
    let both = &["calc({\"a\":1})", "calc({\"a\":2})"];
    let delta = |id: &str, delta: &str| json!({ "type": "response.function_call_arguments.delta", "item_id": id, "output_index": 0, "delta": delta });
    let all = |id: &str, arguments: &str| json!({ "type": "response.function_call_arguments.done", "item_id": id, "output_index": 0, "arguments": arguments });
    let bare = |id: &str| item(id, json!(format!("c{id}")), json!(""));
    let zero = || json!(0);
    let cases: Vec<(&str, Vec<Value>, &[&str])> = vec![
        (
            "all with index 0",
            vec![
                added(zero(), &said),
                done(zero(), &said),
                added(zero(), &one()),
                done(zero(), &one()),
                added(zero(), &two()),
                done(zero(), &two()),
                completed(&[&said, &one(), &two()]),
            ],
            both,
        ),
        (
            "all with index 0, side by side",
            vec![
                added(zero(), &one()),
                added(zero(), &two()),
                done(zero(), &one()),
                done(zero(), &two()),
                completed(&[&one(), &two()]),
            ],
            both,
        ),
        (
            "no index",
            vec![
                added(none.clone(), &said),
                done(none.clone(), &said),
                added(none.clone(), &one()),
                done(none.clone(), &one()),
                completed(&[&said, &one()]),
            ],
            &both[..1],
        ),
        (
            "indices with gaps",
            vec![
                added(json!(3), &said),
                done(json!(3), &said),
                added(json!(7), &one()),
                done(json!(7), &one()),
                completed(&[&said, &one()]),
            ],
            &both[..1],
        ),
        (
            "done, and never begun",
            vec![
                done(zero(), &said),
                done(json!(1), &one()),
                completed(&[&said, &one()]),
            ],
            &both[..1],
        ),
        (
            "begun, and never done",
            vec![added(zero(), &bare("1")), completed(&[&one()])],
            &both[..1],
        ),
        (
            "in the last event alone",
            vec![completed(&[&said, &one(), &two()])],
            both,
        ),
        (
            "another id when it is done",
            vec![
                added(zero(), &bare("x")),
                done(zero(), &one()),
                completed(&[&one()]),
            ],
            &both[..1],
        ),
        (
            "arguments in pieces alone",
            vec![
                added(zero(), &bare("1")),
                delta("1", "{\"a\""),
                delta("1", ":1}"),
                done(zero(), &bare("1")),
                completed(&[&bare("1")]),
            ],
            &both[..1],
        ),
        (
            "arguments in an event of their own",
            vec![
                added(zero(), &bare("1")),
                all("1", "{\"a\":1}"),
                done(zero(), &bare("1")),
                completed(&[&bare("1")]),
            ],
            &both[..1],
        ),
    ];
    for (case, events, calls) in cases {
        let (shown, leg) = leg(Dialect::Responses, &events);
        let round = round(case, leg);
        assert_eq!(found(&round), calls, "{case}");
        expect_sound(case, Dialect::Responses, &round);
        let shown = Value::from(shown).to_string();
        assert!(!shown.contains("calc"), "{case}: {shown}");
    }
}

#[test]
fn ids_and_arguments_that_would_be_refused_are_mended() {
    let none = Value::Null;
    for (case, ids) in [
        ("none", [none.clone(), none.clone()]),
        ("empty", [json!(""), json!("")]),
        ("one for both", [json!("call_0"), json!("call_0")]),
        ("the client's too", [json!("theirs"), json!("c2")]),
        ("numbers", [json!(1), json!(1)]),
    ] {
        let theirs = json!({ "type": "function_call", "id": "fc_t", "call_id": "theirs", "name": "look",
            "arguments": "{}", "status": "completed" });
        let [first, second] = ids;
        let ours = [
            item("fc_1", first, json!("{}")),
            item("", second, json!("{}")),
        ];
        let answer = json!({ "id": "r", "status": "completed", "output": ours });
        let (shown, leg) = whole(Dialect::Responses, &answer);
        let round = round(case, leg);
        expect_sound(case, Dialect::Responses, &round);
        assert_eq!(shown["output"], json!([]), "{case}");
        let answer =
            json!({ "id": "r", "status": "completed", "output": [ours[0], theirs, ours[1]] });
        let (shown, leg) = whole(Dialect::Responses, &answer);
        let round = self::round(case, leg);
        assert_eq!(
            (&round.client_calls[..], &round.places[..]),
            (&["theirs".to_owned()][..], &[1, 0][..]),
            "{case}"
        );
        assert!(round.calls.iter().all(|call| call.id != "theirs"), "{case}");
        assert_eq!(shown["output"], json!([theirs]), "{case}");
    }
}

#[test]
fn arguments_go_back_as_an_object_whatever_they_were() {
    for (case, arguments, wanted) in [
        ("none", Value::Null, ""),
        ("empty", json!(""), ""),
        ("blank", json!("  "), "  "),
        ("no JSON", json!("{\"a\":"), "{\"a\":"),
        ("a list", json!("[1]"), "[1]"),
        ("null", json!("null"), "null"),
        (
            "one key twice",
            json!("{\"a\":1,\"a\":2}"),
            "{\"a\":1,\"a\":2}",
        ),
        ("an empty object before", json!("{}{\"a\":1}"), "{\"a\":1}"),
        ("said twice", json!("{\"a\":1}{\"a\":1}"), "{\"a\":1}"),
        (
            "two objects",
            json!("{\"a\":1}{\"a\":2}"),
            "{\"a\":1}{\"a\":2}",
        ),
        (
            "a string within a string",
            json!("\"{\\\"a\\\":1}\""),
            "{\"a\":1}",
        ),
        ("an object", json!({ "a": 1 }), "{\"a\":1}"),
    ] {
        let item = item("fc", json!("c"), arguments.clone());
        let answer = json!({ "id": "r", "status": "completed", "output": [item] });
        let (_, leg) = whole(Dialect::Responses, &answer);
        let round = round(case, leg);
        assert_eq!(round.calls[0].arguments, wanted, "{case}");
        expect_sound(case, Dialect::Responses, &round);
        let call = json!({ "id": "c", "type": "function",
            "function": { "name": "calc", "arguments": arguments } });
        let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        let answer = json!({ "choices": [{ "message": message, "finish_reason": "tool_calls" }] });
        let (_, leg) = whole(Dialect::Chat, &answer);
        let round = self::round(case, leg);
        assert_eq!(round.calls[0].arguments, wanted, "{case}");
        expect_sound(case, Dialect::Chat, &round);
    }
}

#[test]
fn what_can_go_back_goes_back_as_it_was_said() {
    let odd = json!({ "type": "function_call", "x": { "y": [1.50] }, "id": "fc", "name": "calc",
        "call_id": "c", "arguments": "{ \"a\" : 1.0 }", "caller": { "type": "program", "id": "p" } });
    let reasoning =
        json!({ "type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "e" });
    let answer = json!({ "id": "r", "status": "completed", "output": [reasoning, odd] });
    let (_, leg) = whole(Dialect::Responses, &answer);
    let round = round("odd", leg);
    assert_eq!(
        round.said,
        [reasoning.to_string(), odd.to_string()].map(Bytes::from)
    );
    let follow_up = Dialect::Responses.follow_up(&round, &["2".into()]);
    let output: Value = serde_json::from_slice(&follow_up[2]).expect("JSON");
    assert_eq!(
        output["caller"], odd["caller"],
        "who called is told who it was"
    );
}

#[test]
fn what_is_not_surely_ours_passes() {
    for (case, call) in [
        (
            "a custom tool",
            json!({ "type": "custom_tool_call", "call_id": "c", "name": "calc", "input": "x" }),
        ),
        (
            "one of a group",
            json!({ "type": "function_call", "call_id": "c", "name": "calc", "namespace": "theirs", "arguments": "{}" }),
        ),
        (
            "without a name",
            json!({ "type": "function_call", "call_id": "c", "arguments": "{}" }),
        ),
        (
            "of another name",
            json!({ "type": "function_call", "call_id": "c", "name": "calculator", "arguments": "{}" }),
        ),
        (
            "of a server",
            json!({ "type": "mcp_call", "id": "c", "name": "calc", "arguments": "{}" }),
        ),
        (
            "of what comes next",
            json!({ "type": "quantum_call", "call_id": "c", "name": "calc", "x": 1 }),
        ),
    ] {
        let answer = json!({ "id": "r", "status": "completed", "output": [call] });
        let (shown, leg) = whole(Dialect::Responses, &answer);
        assert_eq!((shown, leg), (answer, Leg::Complete), "{case}");
        let events = [
            added(json!(0), &call),
            done(json!(0), &call),
            completed(&[&call]),
        ];
        let (shown, leg) = self::leg(Dialect::Responses, &events);
        assert_eq!((&shown[..], leg), (&events[..], Leg::Complete), "{case}");
    }
    for (case, block) in [
        (
            "a server's",
            json!({ "type": "server_tool_use", "id": "c", "name": "calc", "input": {} }),
        ),
        (
            "of MCP",
            json!({ "type": "mcp_tool_use", "id": "c", "name": "calc", "server_name": "s", "input": {} }),
        ),
        (
            "without a name",
            json!({ "type": "tool_use", "id": "c", "input": {} }),
        ),
        (
            "of another name",
            json!({ "type": "tool_use", "id": "c", "name": "Calc", "input": {} }),
        ),
        (
            "of what comes next",
            json!({ "type": "quantum_use", "id": "c", "name": "calc" }),
        ),
    ] {
        let answer = json!({ "type": "message", "content": [block], "stop_reason": "tool_use" });
        let (shown, leg) = whole(Dialect::Messages, &answer);
        assert_eq!((shown, leg), (answer, Leg::Complete), "{case}");
        let events = message(vec![start(json!(0), &block), stop(json!(0))], "tool_use");
        let (shown, leg) = self::leg(Dialect::Messages, &events);
        assert_eq!((&shown[..], leg), (&events[..], Leg::Complete), "{case}");
    }
}

#[test]
fn half_a_call_is_not_run_whatever_says_so() {
    let half = json!({ "type": "function_call", "id": "fc", "call_id": "c", "name": "calc",
        "arguments": "{\"a\":", "status": "incomplete" });
    for (kind, status) in [
        ("response.incomplete", "incomplete"),
        ("response.failed", "failed"),
        ("response.completed", "incomplete"),
        ("response.completed", "completed"),
    ] {
        let end = json!({ "type": kind, "response": { "id": "r", "status": status, "output": [half],
            "incomplete_details": { "reason": "max_output_tokens" } } });
        let events = [added(json!(0), &half), done(json!(0), &half), end];
        let (shown, leg) = leg(Dialect::Responses, &events);
        assert_eq!(leg, Leg::Complete, "{kind} {status}");
        assert_eq!(shown.len(), 1, "{kind} {status}: {shown:?}");
        assert_eq!(
            (&shown[0]["type"], &shown[0]["response"]["output"]),
            (&json!(kind), &json!([]))
        );
    }
    for status in ["incomplete", "failed", "cancelled", "in_progress"] {
        let answer =
            json!({ "id": "r", "status": status, "output": [item("fc", json!("c"), json!("{}"))] });
        let (shown, leg) = whole(Dialect::Responses, &answer);
        assert_eq!(
            (leg, &shown["output"]),
            (Leg::Complete, &json!([])),
            "{status}"
        );
    }
    let cut = [added(json!(0), &half), done(json!(0), &half)];
    assert_eq!(leg(Dialect::Responses, &cut).1, Leg::Truncated);
}

// ---- Messages ----

fn start(index: Value, block: &Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: Value, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: Value) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn message(blocks: Vec<Value>, reason: &str) -> Vec<Value> {
    let begin = json!({ "type": "message_start", "message": { "id": "m", "usage": { "input_tokens": 1 } } });
    let end = json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 1 } });
    let mut events = vec![begin];
    events.extend(blocks);
    events.extend([end, json!({ "type": "message_stop" })]);
    events
}

fn call(id: Value, name: &str, input: Value) -> Value {
    let mut block = json!({ "type": "tool_use", "name": name });
    for (name, value) in [("id", id), ("input", input)] {
        if !value.is_null() {
            block[name] = value;
        }
    }
    block
}

fn json_delta(index: Value, part: &str) -> Value {
    delta(
        index,
        json!({ "type": "input_json_delta", "partial_json": part }),
    )
}

#[test]
fn blocks_are_told_apart_by_whatever_is_there() {
    let calc = |id: &str| call(json!(id), "calc", json!({}));
    let none = || Value::Null;
    let zero = || json!(0);
    let text = json!({ "type": "text", "text": "" });
    let word = |index: Value| delta(index, json!({ "type": "text_delta", "text": "so" }));
    let both = &["calc({\"a\":1})", "calc({\"a\":2})"];
    let cases: Vec<(&str, Vec<Value>, &[&str])> = vec![
        (
            "all with index 0",
            vec![
                start(zero(), &text),
                word(zero()),
                stop(zero()),
                start(zero(), &calc("1")),
                json_delta(zero(), "{\"a\":1}"),
                stop(zero()),
                start(zero(), &calc("2")),
                json_delta(zero(), "{\"a\""),
                json_delta(zero(), ":2}"),
                stop(zero()),
            ],
            both,
        ),
        (
            "no index",
            vec![
                start(none(), &text),
                word(none()),
                stop(none()),
                start(none(), &calc("1")),
                json_delta(none(), "{\"a\":1}"),
                stop(none()),
            ],
            &both[..1],
        ),
        (
            "indices with gaps, side by side",
            vec![
                start(json!(4), &calc("1")),
                start(json!(9), &calc("2")),
                json_delta(json!(9), "{\"a\":2}"),
                json_delta(json!(4), "{\"a\":1}"),
                stop(json!(4)),
                stop(json!(9)),
            ],
            both,
        ),
        (
            "no end of a block",
            vec![start(zero(), &calc("1")), json_delta(zero(), "{\"a\":1}")],
            &both[..1],
        ),
        (
            "all of it at once",
            vec![
                start(zero(), &call(json!("1"), "calc", json!({ "a": 1 }))),
                stop(zero()),
            ],
            &both[..1],
        ),
        (
            "a text for an object",
            vec![
                start(zero(), &call(json!("1"), "calc", json!("{\"a\":1}"))),
                stop(zero()),
            ],
            &both[..1],
        ),
        (
            "an empty object before",
            vec![
                start(zero(), &calc("1")),
                json_delta(zero(), "{}"),
                json_delta(zero(), "{\"a\":1}"),
                stop(zero()),
            ],
            &both[..1],
        ),
        (
            "no input",
            vec![
                start(zero(), &call(json!("1"), "calc", none())),
                stop(zero()),
            ],
            &["calc({})"],
        ),
        (
            "no JSON",
            vec![
                start(zero(), &calc("1")),
                json_delta(zero(), "{\"a\":"),
                stop(zero()),
            ],
            &["calc({\"a\":)"],
        ),
        (
            "no id",
            vec![
                start(zero(), &call(none(), "calc", json!({}))),
                stop(zero()),
            ],
            &["calc({})"],
        ),
        (
            "one id for two",
            vec![
                start(zero(), &calc("")),
                stop(zero()),
                start(json!(1), &calc("c")),
                stop(json!(1)),
                start(json!(2), &calc("c")),
                stop(json!(2)),
            ],
            &["calc({})", "calc({})", "calc({})"],
        ),
    ];
    for (case, blocks, calls) in cases {
        for reason in ["tool_use", "end_turn", "tool_calls", "stop"] {
            let (shown, leg) = leg(Dialect::Messages, &message(blocks.clone(), reason));
            let round = round(case, leg);
            assert_eq!(found(&round), calls, "{case}");
            expect_sound(case, Dialect::Messages, &round);
            let shown = Value::from(shown).to_string();
            assert!(!shown.contains("calc"), "{case}: {shown}");
        }
    }
    for (case, ids) in [
        ("none", [none(), none()]),
        ("one", [json!("c"), json!("c")]),
        ("numbers", [json!(1), json!(1)]),
    ] {
        let calls = ids.map(|id| call(id, "calc", json!({})));
        let answer = json!({ "type": "message", "content": calls, "stop_reason": null });
        let (shown, leg) = whole(Dialect::Messages, &answer);
        expect_sound(case, Dialect::Messages, &round(case, leg));
        assert_eq!(shown["content"], json!([]), "{case}");
    }
}

#[test]
fn an_unknown_reason_is_believed_as_far_as_the_call_bears_it_out() {
    let calls = |part: &str| {
        let block = call(json!("1"), "calc", json!({}));
        message(
            vec![
                start(json!(0), &block),
                json_delta(json!(0), part),
                stop(json!(0)),
            ],
            "new_reason",
        )
    };
    assert!(matches!(
        leg(Dialect::Messages, &calls("{\"a\":1}")).1,
        Leg::Calls(_)
    ));
    assert_eq!(leg(Dialect::Messages, &calls("{\"a\":")).1, Leg::Complete);
    for reason in [
        "max_tokens",
        "length",
        "content_filter",
        "refusal",
        "pause_turn",
    ] {
        let block = call(json!("1"), "calc", json!({ "a": 1 }));
        let events = message(vec![start(json!(0), &block), stop(json!(0))], reason);
        let (shown, leg) = leg(Dialect::Messages, &events);
        assert_eq!(leg, Leg::Complete, "{reason}");
        assert_eq!(shown[1]["delta"]["stop_reason"], reason);
    }
}

#[test]
fn costs_that_are_told_on_the_way_end_nothing() {
    let block = call(json!("1"), "calc", json!({}));
    let cost = |tokens: u64| json!({ "type": "message_delta", "delta": {}, "usage": { "output_tokens": tokens } });
    let on_the_way = |reason: &str| {
        let blocks = vec![
            cost(1),
            start(json!(0), &block),
            cost(2),
            json_delta(json!(0), "{\"a\":1}"),
            cost(3),
            stop(json!(0)),
        ];
        message(blocks, reason)
    };
    let (_, leg) = leg(Dialect::Messages, &on_the_way("tool_use"));
    assert_eq!(found(&round("in full", leg)), ["calc({\"a\":1})"]);
    let (shown, leg) = self::leg(Dialect::Messages, &on_the_way("max_tokens"));
    assert_eq!(leg, Leg::Complete);
    assert!(!Value::from(shown).to_string().contains("calc"));
    // Without an end it has none, whatever it cost.
    let cut: Vec<_> = on_the_way("x").into_iter().take(6).collect();
    assert_eq!(self::leg(Dialect::Messages, &cut).1, Leg::Truncated);
}
