//! Streams of Responses and of Messages with thinking, texts and calls of both sides, over several
//! legs, cut anywhere: the client sees one well-formed answer, the gateway exactly its own calls, and
//! a strict upstream takes every leg and what the client sends next.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::strict::expect_sound;
use super::{undone, views};
use crate::dialect::{
    Dialect, Editor, Injection, Leg, Owners, Restored, Role, Round, SseEditor, ToolOffer, Wanted,
    compose,
};

const OURS: &str = "calculator";
const THEIRS: &str = "calendar";
static NOTHING: Value = Value::Null;

#[derive(Debug, Clone)]
enum Item {
    Thinking,
    Text(String),
    Call { is_ours: bool, arguments: String },
}

/// How a leg is written.
#[derive(Debug, Clone)]
struct Style {
    line: &'static str,
    /// Whether deltas of several items take turns.
    mixes: bool,
    cuts: Vec<Index>,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let text = "[a\"\\\\\n{}é今🦀]{1,6}";
    let arguments = prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"operation":"add","a":1,"b":2}"#.to_owned()),
        text.prop_map(|text| json!({ "text": text }).to_string()),
    ];
    let item = prop_oneof![
        Just(Item::Thinking),
        text.prop_map(Item::Text),
        (any::<bool>(), arguments)
            .prop_map(|(is_ours, arguments)| Item::Call { is_ours, arguments }),
    ];
    // Nobody thinks and then says nothing.
    vec(item, 1..6).prop_map(|mut items| {
        while matches!(items.last(), Some(Item::Thinking)) {
            items.pop();
        }
        match items.is_empty() {
            true => vec![Item::Text("a".into())],
            false => items,
        }
    })
}

fn style() -> impl Strategy<Value = Style> {
    let line = prop_oneof![Just("\n"), Just("\r\n")];
    (line, any::<bool>(), vec(any::<Index>(), 0..12)).prop_map(|(line, mixes, cuts)| Style {
        line,
        mixes,
        cuts,
    })
}

/// The item at this place as it is when it is done.
fn done(dialect: Dialect, item: &Item, place: &str) -> Value {
    let name = |is_ours: &bool| if *is_ours { OURS } else { THEIRS };
    match (dialect, item) {
        (Dialect::Responses, Item::Thinking) => {
            json!({"type": "reasoning", "id": format!("rs_{place}"), "summary": [],
                "encrypted_content": "x"})
        }
        (Dialect::Responses, Item::Text(text)) => {
            json!({"type": "message", "id": format!("msg_{place}"), "role": "assistant",
                "status": "completed", "content": [{"type": "output_text", "text": text}]})
        }
        (Dialect::Responses, Item::Call { is_ours, arguments }) => {
            json!({"type": "function_call", "id": format!("fc_{place}"),
                "call_id": format!("call_{place}"), "name": name(is_ours),
                "arguments": arguments, "status": "completed"})
        }
        (_, Item::Thinking) => {
            json!({"type": "thinking", "thinking": place, "signature": format!("sign {place}")})
        }
        (_, Item::Text(text)) => json!({"type": "text", "text": text}),
        (_, Item::Call { is_ours, arguments }) => {
            let input: Value = serde_json::from_str(arguments).expect("JSON");
            json!({"type": "tool_use", "id": format!("toolu_{place}"), "name": name(is_ours),
                "input": input})
        }
    }
}

/// Text in up to three pieces.
fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<_> = text.chars().collect();
    let size = letters.len().div_ceil(3).max(1);
    let pieces = letters.chunks(size).map(|piece| piece.iter().collect());
    pieces.collect()
}

/// The events of one item of a response.
fn of_response(index: usize, whole: &Value) -> Vec<Value> {
    let mut begun = whole.clone();
    for (member, empty) in [("content", json!([])), ("arguments", json!(""))] {
        if begun.get(member).is_some() {
            begun[member] = empty;
        }
    }
    let added = json!({"type": "response.output_item.added", "output_index": index, "item": begun});
    let (kind, text) = match whole["type"].as_str() {
        Some("message") => ("response.output_text.delta", &whole["content"][0]["text"]),
        Some("function_call") => (
            "response.function_call_arguments.delta",
            &whole["arguments"],
        ),
        _ => ("response.reasoning_summary_text.delta", &NOTHING),
    };
    let deltas = pieces(text.as_str().unwrap_or_default()).into_iter();
    let deltas = deltas.map(|delta| {
        json!({"type": kind, "output_index": index, "item_id": whole["id"], "delta": delta})
    });
    let end = json!({"type": "response.output_item.done", "output_index": index, "item": whole});
    [added].into_iter().chain(deltas).chain([end]).collect()
}

/// The events of one block of a message.
fn of_message(index: usize, whole: &Value) -> Vec<Value> {
    let (mut begun, mut deltas) = (whole.clone(), Vec::new());
    match whole["type"].as_str() {
        Some("text") => {
            begun["text"] = "".into();
            let texts = pieces(whole["text"].as_str().expect("text")).into_iter();
            deltas.extend(texts.map(|text| json!({"type": "text_delta", "text": text})));
        }
        Some("thinking") => {
            (begun["thinking"], begun["signature"]) = ("".into(), "".into());
            deltas.push(json!({"type": "thinking_delta", "thinking": whole["thinking"]}));
            deltas.push(json!({"type": "signature_delta", "signature": whole["signature"]}));
        }
        _ => {
            begun["input"] = json!({});
            if whole["input"] != json!({}) {
                let texts = pieces(&whole["input"].to_string()).into_iter();
                let delta = |text| json!({"type": "input_json_delta", "partial_json": text});
                deltas.extend(texts.map(delta));
            }
        }
    }
    let start = json!({"type": "content_block_start", "index": index, "content_block": begun});
    let deltas = deltas.into_iter();
    let deltas =
        deltas.map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
    let stop = json!({"type": "content_block_stop", "index": index});
    [start].into_iter().chain(deltas).chain([stop]).collect()
}

/// A leg as its upstream sends it.
fn leg(dialect: Dialect, number: usize, wholes: &[Value], style: &Style) -> Vec<u8> {
    let each: fn(usize, &Value) -> Vec<Value> = match dialect {
        Dialect::Responses => of_response,
        _ => of_message,
    };
    let parts = wholes.iter().enumerate();
    let mut parts: Vec<_> = parts.map(|(at, whole)| each(at, whole)).collect();
    let mut middle = Vec::new();
    if style.mixes && dialect == Dialect::Responses {
        middle.extend(parts.iter_mut().map(|part| part.remove(0)));
        while parts.iter().any(|part| !part.is_empty()) {
            let open = parts.iter_mut().filter(|part| !part.is_empty());
            middle.extend(open.map(|part| part.remove(0)));
        }
    } else {
        middle.extend(parts.concat());
    }
    let calls = wholes.iter().any(|whole| whole["type"] == "tool_use");
    let events = match dialect {
        Dialect::Responses => {
            let response = |status: &str, output: &[Value]| {
                json!({"id": format!("resp_{number}"), "status": status, "output": output,
                    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}})
            };
            let begin =
                json!({"type": "response.created", "response": response("in_progress", &[])});
            let end =
                json!({"type": "response.completed", "response": response("completed", wholes)});
            let events = [begin].into_iter().chain(middle).chain([end]);
            let events = events.enumerate().map(|(number, mut event)| {
                event["sequence_number"] = number.into();
                event
            });
            events.collect::<Vec<_>>()
        }
        _ => {
            let reason = if calls { "tool_use" } else { "end_turn" };
            let begin = json!({"type": "message_start", "message": {"id": format!("msg_{number}"),
                "role": "assistant", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}});
            let delta = json!({"type": "message_delta", "delta": {"stop_reason": reason},
                "usage": {"input_tokens": 3, "output_tokens": 2}});
            let stop = json!({"type": "message_stop"});
            [begin]
                .into_iter()
                .chain(middle)
                .chain([delta, stop])
                .collect()
        }
    };
    let line = style.line;
    let frames = events.iter().map(|event| {
        let kind = event["type"].as_str().expect("a type");
        format!("event: {kind}{line}data: {event}{line}{line}")
    });
    frames.collect::<String>().into_bytes()
}

fn pass(editor: &mut SseEditor, leg: &[u8], cuts: &[Index]) -> (Vec<u8>, Leg) {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(leg.len() + 1)).collect();
    at.extend([0, leg.len()]);
    at.sort_unstable();
    let chunks = at
        .windows(2)
        .map(|pair| Bytes::copy_from_slice(&leg[pair[0]..pair[1]]));
    let mut shown: Vec<u8> = chunks
        .flat_map(|chunk| editor.feed(&chunk).concat())
        .collect();
    let (rest, leg) = editor.end_leg();
    shown.extend(rest.concat());
    (shown, leg)
}

fn tool(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::Responses => json!({"type": "function", "name": name, "parameters": {}}),
        _ => json!({"name": name, "input_schema": {"type": "object"}}),
    }
}

/// A client's body that tells `more` after its question.
fn body(dialect: Dialect, more: &[Value]) -> String {
    let told = [json!({"role": "user", "content": "q"})];
    let told: Vec<_> = told.iter().chain(more).cloned().collect();
    let list = if dialect == Dialect::Responses {
        "input"
    } else {
        "messages"
    };
    json!({"model": "m", "tools": [tool(dialect, THEIRS)], list: told}).to_string()
}

/// What a client sends next: what it saw, what its own calls gave, and another question.
fn next(dialect: Dialect, seen: &[Value]) -> Vec<Value> {
    let again = json!({"role": "user", "content": "and?"});
    let calls = seen
        .iter()
        .filter(|it| it["call_id"].is_string() || it["type"] == "tool_use");
    let results = calls.map(|call| match dialect {
        Dialect::Responses => {
            json!({"type": "function_call_output", "call_id": call["call_id"], "output": "r"})
        }
        _ => json!({"type": "tool_result", "tool_use_id": call["id"], "content": "r"}),
    });
    let results: Vec<_> = results.collect();
    match dialect {
        Dialect::Responses => [seen, &results, &[again]].concat(),
        _ if results.is_empty() => vec![json!({"role": "assistant", "content": seen}), again],
        _ => vec![
            json!({"role": "assistant", "content": seen}),
            json!({"role": "user", "content": results}),
        ],
    }
}

/// Sends `body` with what `injection` puts in; a strict upstream takes it.
fn send(dialect: Dialect, body: &str, injection: Injection) {
    let request = dialect.read(Bytes::copy_from_slice(body.as_bytes()), 64);
    let composed = compose(&request.expect("a request"), &injection);
    assert_eq!(undone(body, &composed), body);
    let sent: Value = serde_json::from_slice(&composed.to_bytes()).expect("JSON");
    expect_sound(dialect, &sent);
}

fn is_ours(item: &Value) -> bool {
    item["name"] == OURS
}

/// One answer over all its legs, and the request that follows it.
fn converse(dialect: Dialect, legs: &[(Vec<Item>, Style)]) {
    let owners = Owners {
        gateway: vec![OURS.into()],
        client: vec![THEIRS.into()],
    };
    let mut editor = SseEditor::new(Editor::new(dialect, owners, Wanted::ALL, "x".into()));
    let first = body(dialect, &[]);
    let offer = || ToolOffer::Add(vec![tool(dialect, OURS).to_string().into()]);
    let (mut before, mut hidden) = (Vec::new(), None);
    let (mut shown, mut expected, mut count) = (Vec::new(), Vec::new(), 0);
    for (number, (items, style)) in legs.iter().enumerate() {
        let injection = Injection {
            tools: offer(),
            follow_up: before.clone(),
            ..Injection::default()
        };
        send(dialect, &first, injection);
        let wholes = items.iter().enumerate();
        let wholes = wholes.map(|(at, item)| done(dialect, item, &format!("{number}_{at}")));
        let wholes: Vec<_> = wholes.collect();
        let stream = leg(dialect, number, &wholes, style);
        let (bytes, ended) = pass(&mut editor, &stream, &style.cuts);
        let ours: Vec<_> = wholes.iter().filter(|item| is_ours(item)).collect();
        expected.extend(wholes.iter().filter(|item| !is_ours(item)).cloned());
        count += 1;
        match ended {
            Leg::Complete => {
                assert!(ours.is_empty());
                if number == 0 {
                    assert_eq!(bytes, stream, "the upstream's bytes");
                }
                shown.extend(bytes);
                break;
            }
            Leg::Calls(round) => {
                shown.extend(bytes);
                assert_eq!(round.calls.len(), ours.len());
                let results = vec!["42".to_owned(); ours.len()];
                if round.client_calls.is_empty() {
                    before.extend(dialect.follow_up(&round, &results));
                } else {
                    hidden = Some((round, results));
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    shown.extend(editor.finish().concat());
    let seen = views::read(dialect, &shown, count);
    assert_eq!(seen, expected);
    let next = body(dialect, &next(dialect, &seen));
    let request = dialect
        .read(Bytes::copy_from_slice(next.as_bytes()), 64)
        .expect("a request");
    let at = request
        .messages()
        .iter()
        .position(|it| it.role == Role::Assistant);
    let keeps = hidden.is_some() || !before.is_empty();
    let restored = at.filter(|_| keeps).map(|at| {
        let (round, results) = hidden.unwrap_or((Round::default(), Vec::new()));
        Restored {
            at,
            before,
            round,
            results,
        }
    });
    let injection = Injection {
        tools: offer(),
        restored: restored.into_iter().collect(),
        ..Injection::default()
    };
    send(dialect, &next, injection);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn responses_are_one_answer_and_can_be_gone_on_from(
        legs in vec((items(), style()), 1..4), last in style(),
    ) {
        let last = (vec![Item::Text("done".into())], last);
        converse(Dialect::Responses, &[legs, vec![last]].concat());
    }

    #[test]
    fn messages_are_one_answer_and_can_be_gone_on_from(
        legs in vec((items(), style()), 1..4), last in style(),
    ) {
        let last = (vec![Item::Text("done".into())], last);
        converse(Dialect::Messages, &[legs, vec![last]].concat());
    }
}
