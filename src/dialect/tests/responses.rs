//! Responses: what goes where in a request, and what of an answer the client sees.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{round, undone};
use crate::dialect::{
    Begins, Composed, Dialect, Edit, Editor, Fragment, Injection, Leg, MemoryText, Owners, Persona,
    PersonaMode, Placement, Request, Restored, Role, SseEditor, ToolOffer, Wanted, Withheld,
    compose,
};

fn request(body: &str) -> Request {
    Dialect::Responses
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
            placement: Placement::Tail,
        }),
        tools: ToolOffer::Add(vec![Bytes::from_static(
            br#"{"type":"function","name":"calculator"}"#,
        )]),
        ..Injection::default()
    }
}

fn composed(body: &str, injection: &Injection) -> (Value, Composed) {
    let composed = compose(&request(body), injection);
    let bytes = composed.to_bytes();
    assert_eq!(bytes.len(), composed.length);
    assert_eq!(undone(body, &composed), body);
    (serde_json::from_slice(&bytes).expect("JSON"), composed)
}

#[test]
fn a_text_becomes_a_list_with_memory_before_it() {
    let (json, _) = composed(r#"{"model":"m","input":"a \"b\""}"#, &injection());
    assert_eq!(json["instructions"], "Be \"kind\".");
    assert_eq!(
        json["input"][0],
        json!({"role":"developer","content":"MEMORY"})
    );
    assert_eq!(json["input"][1], json!({"role":"user","content":"a \"b\""}));
    assert_eq!(json["tools"][0]["name"], "calculator");
    let strict = Injection {
        strict_roles: true,
        ..injection()
    };
    let (json, _) = composed(r#"{"model":"m","input":"hi"}"#, &strict);
    assert_eq!(json["input"][0]["content"][0]["text"], "MEMORY");
    assert_eq!(json["input"][0]["content"][1]["text"], "hi");
}

#[test]
fn instructions_behind_what_was_said_stand_where_they_are_read() {
    let told = |body: &str, strict_roles: bool| {
        let injection = Injection {
            post_history: Some("Stay brief.".into()),
            strict_roles,
            ..Injection::default()
        };
        composed(body, &injection).0
    };
    let brief = json!({ "role": "developer", "content": "Stay brief." });
    let said = r#"{"instructions":"Own.","input":[{"role":"user","content":"hi"}LAST]}"#;
    let plain = told(&said.replace("LAST", ""), false);
    assert_eq!(plain["input"][1], brief);
    // What the answer is to begin with stays the last.
    let begun = said.replace("LAST", r#",{"role":"assistant","content":"The"}"#);
    let plain = told(&begun, false);
    assert_eq!(plain["input"][1], brief);
    assert_eq!(plain["input"][2]["content"], "The");
    let call = r#",{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}"#;
    assert_eq!(told(&said.replace("LAST", call), false)["input"][3], brief);
    // Some templates take instructions at the head alone; and there may be nothing that they could follow.
    for (body, strict_roles) in [
        (&*begun, true),
        (&*said.replace("LAST", ""), true),
        (r#"{"instructions":"Own.","input":"hi"}"#, true),
        (r#"{"instructions":"Own.","conversation":"conv_1"}"#, false),
        (
            r#"{"instructions":"Own.","input":null,"prompt":{"id":"p"}}"#,
            false,
        ),
    ] {
        let told = told(body, strict_roles);
        assert_eq!(told["instructions"], "Own.\n\nStay brief.", "{body}");
        assert!(!told["input"].to_string().contains("Stay"), "{body}");
    }
}

#[test]
fn memory_stands_before_the_last_words_of_the_user_in_a_list() {
    let body = r#"{"instructions":"Own.","input":[{"role":"user","content":"one"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"two"}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"three"}]}],"tools":[{"type":"web_search"}],"store":false,"include":["a"]}"#;
    let (json, _) = composed(body, &injection());
    assert_eq!(json["instructions"], "Be \"kind\".\n\nOwn.");
    assert_eq!(json["input"][3]["content"], "MEMORY");
    assert_eq!(json["input"][4]["content"][0]["text"], "three");
    assert_eq!(json["tools"][1]["name"], "calculator");
    assert_eq!(json["include"], json!(["a", "reasoning.encrypted_content"]));
    let request = request(body);
    let roles: Vec<_> = request.messages().iter().map(|it| it.role).collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::User]
    );
    assert_eq!(request.text(&request.messages()[2]), "two");
}

#[test]
fn instructions_may_be_items_and_what_else_they_are_is_the_upstreams_to_judge() {
    let persona = |fragments: Vec<Fragment>, mode| Injection {
        persona: Some(Persona { fragments, mode }),
        memory: Some(MemoryText {
            text: "MEMORY".into(),
            placement: Placement::Head,
        }),
        ..Injection::default()
    };
    let kind = || Fragment::Text("Be kind.".into());
    let (around, behind) = (Fragment::Original, Fragment::Text("And brief.".into()));
    let item = |text: &str| json!({ "role": "developer", "content": text });
    let own = json!({ "role": "system", "content": [{ "type": "input_text", "text": "Own." }] });
    for (injection, wanted) in [
        (
            persona(vec![kind()], PersonaMode::Prepend),
            vec![item("Be kind."), own.clone(), item("MEMORY")],
        ),
        (
            persona(vec![kind()], PersonaMode::Append),
            vec![own.clone(), item("Be kind.\n\nMEMORY")],
        ),
        (
            persona(vec![kind()], PersonaMode::Replace),
            vec![item("Be kind."), item("MEMORY")],
        ),
        (
            persona(vec![kind(), around, behind], PersonaMode::Prepend),
            vec![item("Be kind."), own.clone(), item("And brief.\n\nMEMORY")],
        ),
        (Injection::default(), vec![own.clone()]),
    ] {
        let body = json!({ "model": "m", "instructions": [own], "input": "hi" }).to_string();
        assert_eq!(
            composed(&body, &injection).0["instructions"],
            Value::Array(wanted)
        );
        let (json, _) = composed(r#"{"instructions":[],"input":"hi"}"#, &injection);
        let told = json["instructions"].as_array().expect("a list");
        assert_eq!(told.is_empty(), injection.persona.is_none(), "{json}");
        for other in ["42", "true", r#"{"id":"pmpt_1"}"#] {
            let body = format!(r#"{{"instructions":{other},"input":"hi"}}"#);
            assert_eq!(composed(&body, &injection).1.to_bytes(), body);
        }
    }
    let body = json!({ "instructions": [own], "input": "hi" }).to_string();
    let request = request(&body);
    let roles: Vec<_> = request.messages().iter().map(|it| it.role).collect();
    assert_eq!(roles, [Role::System, Role::User]);
    assert_eq!(request.text(&request.messages()[0]), "Own.");
}

#[test]
fn a_block_that_stays_is_put_back_byte_for_byte() {
    let first = r#"{"input":[{"role":"user","content":"one"}]}"#;
    let second = r#"{"input":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":"three"}]}"#;
    let only_memory = Injection {
        memory: injection().memory,
        ..Injection::default()
    };
    let earlier = Injection {
        earlier: vec![(0, "MEMORY".into())],
        ..Injection::default()
    };
    let sent = compose(&request(first), &only_memory).to_bytes();
    let again = compose(&request(second), &earlier).to_bytes();
    let common = sent.len() - "]}".len();
    assert_eq!(sent[..common], again[..common]);
}

#[test]
fn members_are_added_to_every_kind_of_body() {
    for body in [
        "{}",
        r#"{ "conversation_id" : "c" }"#,
        r#"{"use_tools":true,"input":null}"#,
        r#"{"unknown":1,"memory":"full"}"#,
        r#"{"instructions":null,"tools":null,"input":[]}"#,
        r#"{"instructions":"","tools":[],"input":[{"type":"compaction_trigger"}]}"#,
    ] {
        let (json, _) = composed(body, &injection());
        assert_eq!(json["instructions"], "Be \"kind\".", "{body}");
        assert_eq!(json["tools"][0]["name"], "calculator", "{body}");
    }
    let (json, _) = composed(
        r#"{"input":[{"role":"user","content":"x"},{"type":"compaction_trigger"}]}"#,
        &injection(),
    );
    assert_eq!(json["input"].as_array().map(Vec::len), Some(2));
}

#[test]
fn history_and_choices_are_read() {
    let begins = |body: &str| request(body).conversation().begins;
    assert_eq!(begins(r#"{"input":"x"}"#), Begins::Here);
    assert_eq!(
        begins(r#"{"input":"x","previous_response_id":"resp_1"}"#),
        Begins::AtUpstream
    );
    assert_eq!(
        begins(r#"{"input":"x","conversation":{"id":"c"}}"#),
        Begins::AtUpstream
    );
    let withheld = |members: &str| {
        request(&format!(r#"{{"input":"x",{members}}}"#))
            .options()
            .withheld
    };
    assert_eq!(withheld(r#""tool_choice":"auto""#), None);
    assert_eq!(
        withheld(r#""tool_choice":"required""#),
        Some(Withheld::ForcedChoice)
    );
    assert_eq!(
        withheld(r#""tool_choice":{"type":"allowed_tools"}"#),
        Some(Withheld::ForcedChoice)
    );
    assert_eq!(withheld(r#""background":true"#), Some(Withheld::Background));
    assert_eq!(
        withheld(r#""text":{"format":{"type":"json_schema"}}"#),
        Some(Withheld::AnswerSchema)
    );
    assert_eq!(withheld(r#""text":{"verbosity":"low"}"#), None);
    let names = request(
        r#"{"input":[{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"name":"deep"}]}]}],"tools":[{"type":"function","name":"f"},{"type":"namespace","name":"n","tools":[{"name":"in"}]},{"type":"web_search"},7]}"#,
    );
    assert_eq!(names.options().tool_names, ["f", "n", "in", "deep"]);
}

#[test]
fn with_a_conversation_upstream_only_what_tools_gave_is_sent_again() {
    let round = Injection {
        follow_up: vec![
            Bytes::from_static(br#"{"type":"function_call","call_id":"c","name":"calculator"}"#),
            Bytes::from_static(br#"{"type":"function_call_output","call_id":"c","output":"2"}"#),
        ],
        ..Injection::default()
    };
    let (json, _) = composed(r#"{"input":"x","conversation":"conv_1"}"#, &round);
    assert_eq!(
        json["input"],
        json!([{"type":"function_call_output","call_id":"c","output":"2"}])
    );
    let renamed = Injection {
        goes_on_from: Some("resp_2".into()),
        ..Injection::default()
    };
    let (json, _) = composed(r#"{"input":"x","previous_response_id":"resp_1"}"#, &renamed);
    assert_eq!(json["previous_response_id"], "resp_2");
    let (json, _) = composed(r#"{"input":"x","previous_response_id":"resp_1"}"#, &round);
    assert_eq!(json["input"].as_array().map(Vec::len), Some(3));
}

fn owners() -> Owners {
    Owners {
        gateway: vec!["calculator".into()],
        client: vec!["shell".into()],
    }
}

fn editor() -> SseEditor {
    SseEditor::new(Editor::new(
        Dialect::Responses,
        owners(),
        Wanted::ALL,
        "seed".into(),
    ))
}

/// A leg's stream of these items, each with a delta of its own, ended by an event of that kind.
fn stream(id: &str, items: &[Value], end: &str) -> String {
    let mut number = 0;
    let mut out = String::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        data["sequence_number"] = number.into();
        number += 1;
        out += &format!("event: {kind}\ndata: {data}\n\n");
    };
    let status = end.trim_start_matches("response.");
    let begun = json!({"id":id,"object":"response","status":"in_progress","model":"m","output":[],"tools":[{"type":"function"}]});
    event("response.created", json!({"response":begun}));
    event("response.in_progress", json!({"response":begun}));
    for (index, item) in items.iter().enumerate() {
        let id = &item["id"];
        event(
            "response.output_item.added",
            json!({"output_index":index,"item":item}),
        );
        event(
            "response.some.delta",
            json!({"output_index":index,"item_id":id,"delta":"x","obfuscation":"aa"}),
        );
        event(
            "response.output_item.done",
            json!({"output_index":index,"item":item}),
        );
    }
    let usage = json!({"input_tokens":10,"input_tokens_details":{"cached_tokens":1},"output_tokens":5,"total_tokens":15});
    event(
        end,
        json!({"response":{"id":id,"object":"response","status":status,"model":"m","output":items,"usage":usage}}),
    );
    out
}

fn message(text: &str) -> Value {
    json!({"type":"message","id":format!("msg_{text}"),"role":"assistant","status":"completed","content":[{"type":"output_text","text":text,"annotations":[]}]})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type":"function_call","id":format!("fc_{id}"),"call_id":id,"name":name,"arguments":"{\"a\":1}","status":"completed"})
}

fn reasoning(id: &str) -> Value {
    json!({"type":"reasoning","id":id,"summary":[],"encrypted_content":"zzz"})
}

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

/// Every rule of one lifecycle that clients count on.
fn is_one_lifecycle(events: &[Value]) {
    let count = |kind: &str| events.iter().filter(|it| it["type"] == kind).count();
    assert_eq!(
        (count("response.created"), count("response.completed")),
        (1, 1)
    );
    let numbers: Vec<_> = events
        .iter()
        .map(|it| it["sequence_number"].as_u64().expect("a number"))
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    let added = events
        .iter()
        .filter(|it| it["type"] == "response.output_item.added");
    let places: Vec<_> = added
        .map(|it| it["output_index"].as_u64().expect("an index"))
        .collect();
    assert_eq!(places, (0..places.len() as u64).collect::<Vec<_>>());
    let end = events.last().expect("an end");
    assert_eq!(
        end["response"]["output"].as_array().map(Vec::len),
        Some(places.len())
    );
}

#[test]
fn an_answer_without_a_call_of_ours_is_the_upstreams_bytes() {
    let whole = stream(
        "resp_1",
        &[reasoning("rs_1"), message("hi"), call("c", "shell")],
        "response.completed",
    );
    for size in [1, 13, 1 << 16] {
        let mut editor = editor();
        assert_eq!(
            leg(&mut editor, &whole, size),
            (whole.clone(), Leg::Complete)
        );
        let answer = editor.into_answer();
        assert_eq!(answer.text, "hi");
        assert!(answer.has_tool_calls && !answer.is_complete());
    }
}

#[test]
fn two_legs_are_one_response() {
    let first = stream(
        "resp_1",
        &[
            reasoning("rs_1"),
            message("Let me see."),
            call("c", "calculator"),
        ],
        "response.completed",
    );
    let second = stream(
        "resp_2",
        &[reasoning("rs_2"), message("2")],
        "response.completed",
    );
    for size in [1, 17, 1 << 16] {
        let mut editor = editor();
        let (mut seen, going_on) = leg(&mut editor, &first, size);
        let round = round(going_on);
        assert_eq!(
            (round.said.len(), round.calls[0].arguments.as_str()),
            (3, "{\"a\":1}")
        );
        let follow_up = Dialect::Responses.follow_up(&round, &["2".into()]);
        let output: Value = serde_json::from_slice(&follow_up[3]).expect("JSON");
        assert_eq!(
            output,
            json!({"type":"function_call_output","call_id":"c","output":"2"})
        );
        let (more, end) = leg(&mut editor, &second, size);
        assert_eq!(end, Leg::Complete);
        seen += &more;
        assert!(!seen.contains("calculator"));
        let events = events(&seen);
        is_one_lifecycle(&events);
        let end = &events[events.len() - 1]["response"];
        assert_eq!(end["id"], "resp_1");
        assert_eq!(
            end["usage"],
            json!({"input_tokens":20,"input_tokens_details":{"cached_tokens":2},"output_tokens":10,"total_tokens":30})
        );
        let answer = editor.into_answer();
        assert_eq!(answer.text, "Let me see.2");
        assert_eq!(answer.upstream_id.as_deref(), Some("resp_2"));
        assert!(answer.is_complete());
    }
}

#[test]
fn a_turn_with_calls_of_both_sides_ends_with_the_clients_and_is_made_whole_later() {
    let whole = stream(
        "resp_1",
        &[
            reasoning("rs_1"),
            call("ours", "calculator"),
            call("theirs", "shell"),
        ],
        "response.completed",
    );
    let mut editor = editor();
    let (mut seen, going_on) = leg(&mut editor, &whole, 1 << 16);
    let round = round(going_on);
    assert_eq!(
        (&round.client_calls[..], &round.places[..]),
        (&["theirs".to_owned()][..], &[1][..])
    );
    for event in editor.finish() {
        seen += std::str::from_utf8(&event).expect("UTF-8");
    }
    is_one_lifecycle(&events(&seen));
    assert!(!seen.contains("calculator"));

    let next = r#"{"input":[{"role":"user","content":"q"},{"type":"reasoning","id":"rs_1"},{"type":"function_call","id":"fc_theirs","call_id":"theirs","name":"shell","arguments":"{}"},{"type":"function_call_output","call_id":"theirs","output":"x"}]}"#;
    let asked = request(next);
    assert_eq!(asked.call_ids(1), ["theirs"]);
    let restored = Restored {
        at: 1,
        before: vec![
            Bytes::from_static(br#"{"type":"reasoning","id":"rs_1"}"#),
            Bytes::from_static(
                br#"{"type":"function_call","id":"fc_0","call_id":"earlier","name":"calculator"}"#,
            ),
        ],
        round,
        results: vec!["42".into()],
    };
    let injection = Injection {
        restored: vec![restored],
        ..Injection::default()
    };
    let (json, _) = composed(next, &injection);
    let told: Vec<_> = json["input"]
        .as_array()
        .expect("items")
        .iter()
        .map(|it| (it["type"].as_str(), it["call_id"].as_str()))
        .collect();
    let wanted = [
        (None, None),
        (Some("reasoning"), None),
        (Some("function_call"), Some("earlier")),
        (Some("function_call"), Some("ours")),
        (Some("function_call_output"), Some("ours")),
        (Some("function_call"), Some("theirs")),
        (Some("function_call_output"), Some("theirs")),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn an_end_that_is_no_completion_is_passed_on_and_nothing_is_run() {
    for end in ["response.incomplete", "response.failed"] {
        let whole = stream("resp_1", &[message("so"), call("c", "calculator")], end);
        let mut editor = editor();
        let (seen, going_on) = leg(&mut editor, &whole, 1 << 16);
        assert_eq!(going_on, Leg::Complete, "{end}");
        assert!(seen.contains(end) && !seen.contains("calculator"));
    }
    let whole = stream("resp_1", &[call("c", "calculator")], "response.completed");
    let broken = whole
        .split("event: response.completed")
        .next()
        .expect("a part");
    assert_eq!(leg(&mut editor(), broken, 64).1, Leg::Truncated);
}

#[test]
fn a_call_in_a_namespace_is_the_clients() {
    let mut foreign = call("c", "calculator");
    foreign["namespace"] = "mine".into();
    let whole = stream("resp_1", &[foreign], "response.completed");
    let mut editor = editor();
    assert_eq!(leg(&mut editor, &whole, 64), (whole.clone(), Leg::Complete));
}

#[test]
fn an_answer_that_is_not_streamed_is_edited_alike() {
    let body = |id: &str, items: Value| {
        let body = json!({"id":id,"object":"response","status":"completed","output":items,"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}});
        Bytes::from(body.to_string())
    };
    let first = body(
        "resp_1",
        json!([
            reasoning("rs_1"),
            message("Let me see."),
            call("c", "calculator")
        ]),
    );
    let second = body("resp_2", json!([message("2")]));
    let mut editor = Editor::new(Dialect::Responses, owners(), Wanted::ALL, "seed".into());
    editor.whole(&first);
    assert_eq!(round(editor.end_leg()).said.len(), 3);
    let Edit::Replace(shown) = editor.whole(&second) else {
        panic!("it holds what the first leg said, too");
    };
    assert_eq!(editor.end_leg(), Leg::Complete);
    let shown: Value = serde_json::from_slice(&shown).expect("JSON");
    assert_eq!(
        shown["output"],
        json!([reasoning("rs_1"), message("Let me see."), message("2")])
    );
    assert_eq!(shown["usage"]["total_tokens"], 6);
    let mut editor = Editor::new(Dialect::Responses, owners(), Wanted::ALL, "seed".into());
    assert_eq!(editor.whole(&second), Edit::Pass);
}
