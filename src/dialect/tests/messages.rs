//! Messages: what goes where in a request, and what of an answer the client sees.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{round, undone};
use crate::dialect::{
    Composed, Dialect, Editor, Fragment, Injection, Leg, MemoryText, Owners, Persona, PersonaMode,
    Placement, Request, Restored, Role, Round, SseEditor, ToolOffer, Wanted, Withheld, compose,
};

fn request(body: &str) -> Request {
    Dialect::Messages
        .read(Bytes::copy_from_slice(body.as_bytes()), 64)
        .expect("a request")
}

fn injection() -> Injection {
    Injection {
        persona: Some(Persona {
            fragments: vec![Fragment::Text("Be \"kind\".".into())],
            mode: PersonaMode::Prepend,
        }),
        memory: Some(MemoryText {
            text: "MEMORY".into(),
            placement: Placement::Head,
        }),
        tools: ToolOffer::Add(vec![Bytes::from_static(br#"{"name":"calculator"}"#)]),
        ..Injection::default()
    }
}

fn composed(body: &str, injection: &Injection) -> (Value, Composed) {
    let composed = compose(&request(body), injection);
    let bytes = composed.to_bytes();
    assert_eq!(bytes.len(), composed.length);
    (serde_json::from_slice(&bytes).expect("JSON"), composed)
}

#[test]
fn a_persona_is_the_last_block_of_system_and_memory_stands_before_the_last_text() {
    let body = r#"{"model":"m","system":[{"type":"text","text":"attribution","cache_control":{"type":"ephemeral"}}],"max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"7"},{"type":"text","text":"and now?","cache_control":{"type":"ephemeral"}}]},{"role":"system","content":"reminder"}],"tools":[{"name":"Bash"}]}"#;
    let (json, composed) = composed(body, &injection());
    assert_eq!(json["system"][1]["text"], "Be \"kind\".");
    let last = &json["messages"][2]["content"];
    assert_eq!(last[0]["type"], "tool_result");
    assert_eq!(last[1], json!({ "type": "text", "text": "MEMORY" }));
    assert_eq!(last[2]["text"], "and now?");
    assert_eq!(json["tools"][1]["name"], "calculator");
    assert_eq!(json["messages"][0]["content"], "hi");
    assert_eq!(undone(body, &composed), body);
}

#[test]
fn every_form_of_system_and_content_takes_what_is_put_in() {
    let asked = r#""messages":[{"role":"user","content":"a \"b\""}]"#;
    for (system, wanted) in [
        ("", json!("Be \"kind\".")),
        (r#""system":null,"#, json!("Be \"kind\".")),
        (r#""system":"","#, json!("Be \"kind\".")),
        (r#""system":"Own.","#, json!("Be \"kind\".\n\nOwn.")),
        (
            r#""system":[],"#,
            json!([{ "type": "text", "text": "Be \"kind\"." }]),
        ),
    ] {
        let body = format!("{{{system}{asked}}}");
        let (json, composed) = composed(&body, &injection());
        assert_eq!(json["system"], wanted, "{body}");
        let content = &json["messages"][0]["content"];
        assert_eq!(content[0]["text"], "MEMORY");
        assert_eq!(content[1]["text"], "a \"b\"");
        assert_eq!(undone(&body, &composed), body);
    }
}

#[test]
fn a_block_that_stays_is_put_back_byte_for_byte() {
    let first = r#"{"messages":[{"role":"user","content":"one"}]}"#;
    let second = r#"{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":"three"}]}"#;
    let earlier = Injection {
        earlier: vec![(0, "MEMORY".into())],
        ..Injection::default()
    };
    let only_memory = Injection {
        memory: injection().memory,
        ..Injection::default()
    };
    let sent = compose(&request(first), &only_memory).to_bytes();
    let again = compose(&request(second), &earlier).to_bytes();
    let common = sent.len() - "]}".len();
    assert_eq!(sent[..common], again[..common]);
}

#[test]
fn a_message_that_only_brings_results_is_no_question() {
    let request = request(
        r#"{"system":"s","messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"7"}]}]}"#,
    );
    let roles: Vec<_> = request.messages().iter().map(|it| it.role).collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::Tool]
    );
    assert_eq!(request.call_ids(2), ["t"]);
    assert_eq!(request.last_user(), Some(1));
}

#[test]
fn tools_have_no_place_where_a_call_or_a_format_is_forced() {
    let withheld = |members: &str| {
        let body = format!(r#"{{"messages":[],{members}}}"#);
        request(&body).options().withheld
    };
    assert_eq!(withheld(r#""tool_choice":{"type":"auto"}"#), None);
    assert_eq!(
        withheld(r#""tool_choice":{"type":"any"}"#),
        Some(Withheld::ForcedChoice)
    );
    assert_eq!(
        withheld(r#""tool_choice":{"type":"none"}"#),
        Some(Withheld::Request)
    );
    let schema = r#""output_config":{"format":{"type":"json_schema"}}"#;
    assert_eq!(withheld(schema), Some(Withheld::AnswerSchema));
    assert_eq!(withheld(r#""output_config":{"effort":"low"}"#), None);
}

fn owners() -> Owners {
    Owners {
        gateway: vec!["calculator".into()],
        client: vec!["Bash".into()],
    }
}

fn editor() -> SseEditor {
    let editor = Editor::new(Dialect::Messages, owners(), Wanted::ALL, "seed".into());
    SseEditor::new(editor)
}

fn frame(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn block(index: u64, start: &Value, deltas: &[Value]) -> String {
    let mut out = frame(
        "content_block_start",
        &json!({"type":"content_block_start","index":index,"content_block":start}),
    );
    for delta in deltas {
        out += &frame(
            "content_block_delta",
            &json!({"type":"content_block_delta","index":index,"delta":delta}),
        );
    }
    out + &frame(
        "content_block_stop",
        &json!({"type":"content_block_stop","index":index}),
    )
}

fn message(id: &str, blocks: &[String], reason: &str, tokens: u64) -> String {
    let start = json!({"type":"message_start","message":{"id":id,"type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_read_input_tokens":1,"output_tokens":1}}});
    let end = json!({"type":"message_delta","delta":{"stop_reason":reason,"stop_sequence":null},"usage":{"output_tokens":tokens}});
    frame("message_start", &start)
        + &frame("ping", &json!({"type":"ping"}))
        + &blocks.concat()
        + &frame("message_delta", &end)
        + &frame("message_stop", &json!({"type":"message_stop"}))
}

fn text(index: u64, text: &str) -> String {
    let delta = json!({"type":"text_delta","text":text});
    block(index, &json!({"type":"text","text":""}), &[delta])
}

fn thinking(index: u64) -> String {
    let deltas = [
        json!({"type":"thinking_delta","thinking":"hm"}),
        json!({"type":"thinking_delta","thinking":"m"}),
        json!({"type":"signature_delta","signature":"c2ln"}),
    ];
    block(
        index,
        &json!({"type":"thinking","thinking":"","signature":""}),
        &deltas,
    )
}

fn call(index: u64, id: &str, name: &str, parts: &[&str]) -> String {
    let deltas: Vec<_> = parts
        .iter()
        .map(|part| json!({"type":"input_json_delta","partial_json":part}))
        .collect();
    let start =
        json!({"type":"tool_use","id":id,"name":name,"input":{},"caller":{"type":"direct"}});
    block(index, &start, &deltas)
}

/// What the client sees of a leg that is cut into pieces of `size`, and how it goes on.
fn leg(editor: &mut SseEditor, stream: &str, size: usize) -> (String, Leg) {
    let mut seen = Vec::new();
    for chunk in stream.as_bytes().chunks(size) {
        seen.extend(editor.feed(&Bytes::copy_from_slice(chunk)).concat());
    }
    let (rest, leg) = editor.end_leg();
    seen.extend(rest.concat());
    (String::from_utf8(seen).expect("UTF-8"), leg)
}

fn events(stream: &str) -> Vec<Value> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON"))
        .collect()
}

#[test]
fn an_answer_without_a_call_of_ours_is_the_upstreams_bytes() {
    let stream = message(
        "msg_1",
        &[
            thinking(0),
            text(1, "hi"),
            call(2, "t", "Bash", &["{\"a\":", "1}"]),
        ],
        "tool_use",
        7,
    );
    for size in [1, 7, 4096] {
        let mut editor = editor();
        let (seen, leg) = leg(&mut editor, &stream, size);
        assert_eq!((seen, leg), (stream.clone(), Leg::Complete));
        let answer = editor.into_answer();
        let usage = answer.usage.expect("usage");
        assert_eq!(
            (usage.prompt_tokens, usage.completion_tokens),
            (Some(11), Some(7))
        );
        assert!(answer.has_tool_calls);
    }
}

#[test]
fn two_legs_are_one_message_with_dense_indices_and_summed_costs() {
    let first = message(
        "msg_1",
        &[
            thinking(0),
            text(1, "Let me see. "),
            call(2, "t1", "calculator", &["{\"a\":1", "}"]),
        ],
        "tool_use",
        5,
    );
    let second = message("msg_2", &[thinking(0), text(1, "It is 2.")], "end_turn", 3);
    for size in [1, 11, 4096] {
        let mut editor = editor();
        let (mut seen, going_on) = leg(&mut editor, &first, size);
        let round = round(going_on);
        assert_eq!(round.calls[0].arguments, "{\"a\":1}");
        let said: Value = serde_json::from_slice(&round.said[0]).expect("JSON");
        assert_eq!(
            said["content"][0],
            json!({"type":"thinking","thinking":"hmm","signature":"c2ln"})
        );
        assert_eq!(said["content"][1]["text"], "Let me see. ");
        let wanted = json!({"type":"tool_use","id":"t1","name":"calculator","input":{"a":1},"caller":{"type":"direct"}});
        assert_eq!(said["content"][2], wanted);
        let follow_up = Dialect::Messages.follow_up(&round, &["2".into()]);
        let results: Value = serde_json::from_slice(&follow_up[1]).expect("JSON");
        assert_eq!(results["content"][0]["tool_use_id"], "t1");

        let (more, end) = leg(&mut editor, &second, size);
        assert_eq!(end, Leg::Complete);
        seen += &more;
        let events = events(&seen);
        let count = |kind: &str| events.iter().filter(|it| it["type"] == kind).count();
        assert_eq!(
            (
                count("message_start"),
                count("message_stop"),
                count("message_delta")
            ),
            (1, 1, 1)
        );
        let starts = events
            .iter()
            .filter(|it| it["type"] == "content_block_start");
        let starts: Vec<_> = starts
            .map(|it| (it["index"].as_u64(), it["content_block"]["type"].as_str()))
            .collect();
        let wanted = [
            (Some(0), Some("thinking")),
            (Some(1), Some("text")),
            (Some(2), Some("thinking")),
            (Some(3), Some("text")),
        ];
        assert_eq!(starts, wanted);
        let last = events
            .iter()
            .find(|it| it["type"] == "message_delta")
            .expect("an end");
        assert_eq!(
            last["usage"],
            json!({"input_tokens":20,"cache_read_input_tokens":2,"output_tokens":8})
        );
        assert_eq!(editor.into_answer().text, "Let me see. It is 2.");
    }
}

#[test]
fn a_turn_with_calls_of_both_sides_ends_with_the_clients_and_is_made_whole_later() {
    let stream = message(
        "msg_1",
        &[
            call(0, "ours", "calculator", &[""]),
            call(1, "theirs", "Bash", &["{}"]),
        ],
        "tool_use",
        5,
    );
    let mut editor = editor();
    let (mut seen, going_on) = leg(&mut editor, &stream, 4096);
    let round = round(going_on);
    assert_eq!(
        (round.client_calls.as_slice(), &round.places[..]),
        (&["theirs".to_owned()][..], &[0][..])
    );
    assert_eq!(round.calls[0].arguments, "{}");
    for event in editor.finish() {
        seen += std::str::from_utf8(&event).expect("UTF-8");
    }
    let told = events(&seen);
    assert_eq!(told.last().expect("an end")["type"], "message_stop");
    assert_eq!(told[2]["content_block"]["id"], "theirs");
    assert_eq!(told[2]["index"], 0);

    let next = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"theirs","name":"Bash","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"theirs","content":"x"},{"type":"text","text":"go on"}]}]}"#;
    let restored = Restored {
        at: 1,
        before: vec![Bytes::from_static(br#"{"role":"user","content":"before"}"#)],
        round,
        results: vec!["42".into()],
    };
    let injection = Injection {
        restored: vec![restored],
        ..Injection::default()
    };
    let (json, composed) = composed(next, &injection);
    assert_eq!(json["messages"][1]["content"], "before");
    let turn = &json["messages"][2]["content"];
    assert_eq!(
        (&turn[0]["id"], &turn[1]["id"]),
        (&json!("ours"), &json!("theirs"))
    );
    let answers = &json["messages"][3]["content"];
    assert_eq!(answers[0]["content"], "42");
    assert_eq!(answers[1]["tool_use_id"], "theirs");
    assert_eq!(answers[2]["text"], "go on");
    assert_eq!(undone(next, &composed), next);
}

/// What the client repeats of two legs, and what the gateway remembers of the first.
fn two_legs(blocks: &Value) -> (String, Restored) {
    let body = json!({"messages":[{"role":"user","content":"q"},
        {"role":"assistant","content":blocks},{"role":"user","content":"next"}]});
    let first = json!({"role":"assistant","content":[
        {"type":"thinking","thinking":"hm","signature":"one"},{"type":"text","text":"Let me see."},
        {"type":"tool_use","id":"t","name":"calculator","input":{}}]});
    let result =
        json!({"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"2"}]});
    let before = [first, result].map(|item| Bytes::from(item.to_string()));
    let restored = Restored {
        at: 1,
        before: before.to_vec(),
        round: Round::default(),
        results: Vec::new(),
    };
    (body.to_string(), restored)
}

#[test]
fn a_message_is_taken_apart_into_its_legs_again() {
    let mark = json!({"type":"ephemeral"});
    for thinks in [true, false] {
        let mut told = vec![
            json!({"type":"thinking","thinking":"hm","signature":"one"}),
            json!({"type":"text","text":"Let me see.","cache_control":mark}),
            json!({"type":"thinking","thinking":"so","signature":"two"}),
            json!({"type":"text","text":"It is 2."}),
        ];
        told.retain(|block| thinks || block["type"] == "text");
        let (body, restored) = two_legs(&Value::from(told.clone()));
        let before = restored.before.clone();
        let injection = Injection {
            restored: vec![restored],
            ..Injection::default()
        };
        let (json, composed) = composed(&body, &injection);
        let messages = json["messages"].as_array().expect("messages");
        assert_eq!(messages.len(), 5);
        for (message, before) in messages[1..].iter().zip(&before) {
            assert_eq!(
                message.to_string(),
                serde_json::from_slice::<Value>(before)
                    .expect("JSON")
                    .to_string()
            );
        }
        let left = told.split_off(if thinks { 2 } else { 1 });
        assert_eq!(messages[3]["content"], Value::from(left));
        assert_eq!(messages[4]["content"], "next");
        assert_eq!(undone(&body, &composed), body);
    }
    // What is not what was shown is left as it is told.
    let edited = json!([{"type":"text","text":"I say."},{"type":"text","text":"It is 2."}]);
    let (body, restored) = two_legs(&edited);
    let injection = Injection {
        restored: vec![restored],
        ..Injection::default()
    };
    assert_eq!(compose(&request(&body), &injection).to_bytes(), body);
}

#[test]
fn thoughts_of_rounds_that_nobody_remembers_are_left_out() {
    let kinds = |blocks: Value, tools: ToolOffer| {
        let (body, _) = two_legs(&blocks);
        let injection = Injection {
            tools,
            ..Injection::default()
        };
        let (json, composed) = composed(&body, &injection);
        assert_eq!(undone(&body, &composed), body);
        let blocks = json["messages"][1]["content"]
            .as_array()
            .expect("blocks")
            .clone();
        let told = blocks
            .iter()
            .map(|it| it["signature"].as_str().or(it["type"].as_str()));
        told.flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let thought = |signature: &str| json!({"type":"thinking","thinking":"","signature":signature});
    let said = json!({"type":"text","text":"x"});
    let several = json!([
        thought("1"),
        thought("2"),
        said,
        thought("3"),
        thought("4"),
        said
    ]);
    assert_eq!(kinds(several.clone(), injection().tools), "text 3 4 text");
    assert_eq!(kinds(several, ToolOffer::Keep), "1 2 text 3 4 text");
    let one = json!([thought("1"), thought("2"), said]);
    assert_eq!(kinds(one, injection().tools), "1 2 text");
    // The upstream's own tools stand between.
    let search = json!({"type":"server_tool_use","id":"s","name":"web_search","input":{}});
    let own = json!([thought("1"), search, thought("2"), said]);
    assert_eq!(kinds(own, injection().tools), "1 server_tool_use 2 text");
}

#[test]
fn an_end_is_passed_on_and_half_a_call_is_not_run() {
    for reason in [
        "max_tokens",
        "refusal",
        "pause_turn",
        "model_context_window_exceeded",
    ] {
        let stream = message(
            "msg_1",
            &[text(0, "so"), call(1, "t", "calculator", &["{\"a\":"])],
            reason,
            5,
        );
        let mut editor = editor();
        let (seen, going_on) = leg(&mut editor, &stream, 4096);
        assert_eq!(going_on, Leg::Complete, "{reason}");
        let told = events(&seen);
        assert!(told.iter().any(|it| it["delta"]["stop_reason"] == reason));
        assert!(!seen.contains("calculator"));
    }
    let mut editor = editor();
    let broken = frame(
        "message_start",
        &json!({"type":"message_start","message":{}}),
    ) + &call(0, "t", "calculator", &["{}"]);
    assert_eq!(leg(&mut editor, &broken, 4096).1, Leg::Truncated);
}

#[test]
fn what_is_not_known_passes_under_the_clients_own_indices() {
    let first = message(
        "msg_1",
        &[call(0, "t", "calculator", &["{}"])],
        "tool_use",
        1,
    );
    let odd = block(
        0,
        &json!({"type":"web_search_tool_result","tool_use_id":"s","content":[1.0]}),
        &[json!({"type":"new_delta","new":1})],
    ) + &frame("new_event", &json!({"type":"new_event","x":1.50}));
    let second = message("msg_2", &[odd, text(1, "done")], "end_turn", 1);
    let mut editor = editor();
    let (mut seen, _) = leg(&mut editor, &first, 4096);
    seen += &leg(&mut editor, &second, 4096).0;
    assert!(seen.contains(r#""x":1.5"#) && seen.contains("new_delta"));
    let told = events(&seen);
    let starts = told.iter().filter(|it| it["type"] == "content_block_start");
    assert_eq!(
        starts.map(|it| it["index"].as_u64()).collect::<Vec<_>>(),
        [Some(0), Some(1)]
    );
}

#[test]
fn an_answer_that_is_not_streamed_is_edited_alike() {
    let first = json!({"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Let me see."},{"type":"tool_use","id":"t","name":"calculator","input":{"a":1.50}}],"stop_reason":"tool_use","usage":{"input_tokens":10,"output_tokens":5}});
    let second = json!({"id":"msg_2","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"It is 2."}],"stop_reason":"end_turn","usage":{"input_tokens":20,"output_tokens":3}});
    let mut editor = Editor::new(Dialect::Messages, owners(), Wanted::ALL, "seed".into());
    editor.whole(&Bytes::from(first.to_string()));
    let round = round(editor.end_leg());
    let said: Value = serde_json::from_slice(&round.said[0]).expect("JSON");
    assert_eq!(said["content"], first["content"]);
    assert_eq!(round.calls[0].arguments, "{\"a\":1.5}");
    let edit = editor.whole(&Bytes::from(second.to_string()));
    assert_eq!(editor.end_leg(), Leg::Complete);
    let crate::dialect::Edit::Replace(shown) = edit else {
        panic!("{edit:?}");
    };
    let shown: Value = serde_json::from_slice(&shown).expect("JSON");
    let kinds: Vec<_> = shown["content"]
        .as_array()
        .expect("blocks")
        .iter()
        .map(|it| it["type"].as_str())
        .collect();
    let wanted = ["thinking", "text", "thinking", "text"].map(Some);
    assert_eq!(kinds, wanted);
    assert_eq!(shown["usage"], json!({"input_tokens":30,"output_tokens":8}));
    assert_eq!(editor.into_answer().text, "Let me see.It is 2.");

    let alone = Bytes::from(second.to_string());
    let mut editor = Editor::new(Dialect::Messages, owners(), Wanted::ALL, "seed".into());
    assert_eq!(editor.whole(&alone), crate::dialect::Edit::Pass);
}
