use bytes::Bytes;
use serde_json::json;

use crate::dialect::{Content, Dialect, Injection, MemoryUse, Request, Role, Withheld, compose};
use crate::error::ApiError;

fn parse(json: &str) -> Result<Request, ApiError> {
    Dialect::Chat.read(Bytes::copy_from_slice(json.as_bytes()), 64)
}

#[test]
fn reads_every_field_it_knows() {
    let request = parse(
        r#"{"model":"gpt\u002d4","stream":true,"user":"u","metadata":{"user_id":"m","x":1},
            "personality_id":"p","conversation_id":"c","use_tools":false,"memory":"readonly",
            "tool_choice":{"type":"function"},"mess\u0061ges":[],"enable_voice":1}"#,
    )
    .expect("a valid request");
    assert_eq!(request.model().as_deref(), Some("gpt-4"));
    assert!(request.stream());
    assert_eq!(request.member("user"), Some(br#""u""#.as_slice()));
    let metadata = br#"{"user_id":"m","x":1}"#.as_slice();
    assert_eq!(request.member("metadata"), Some(metadata));
    assert_eq!(request.personality_id().as_deref(), Some("p"));
    assert_eq!(
        request.member("conversation_id"),
        Some(br#""c""#.as_slice())
    );
    assert_eq!(request.use_tools(), Some(false));
    assert_eq!(request.memory(), Some(MemoryUse::Readonly));
    let forced = Some(Withheld::ForcedChoice);
    assert_eq!(request.options().withheld, forced);
    assert!(request.messages().is_empty());
}

#[test]
fn null_is_absent() {
    let request = parse(
        r#"{"messages":[],"model":null,"stream":null,"user":null,"metadata":null,"tools":null,
            "personality_id":null,"conversation_id":null,"use_tools":null,"memory":null,
            "functions":null,"tool_choice":null}"#,
    )
    .expect("a valid request");
    assert_eq!(request.model(), None);
    assert!(!request.stream());
    assert_eq!(request.use_tools(), None);
    assert_eq!(request.memory(), None);
    assert_eq!(request.options().withheld, None);
    assert!(request.options().tool_names.is_empty());
}

#[test]
fn reads_messages() {
    let request = parse(
        r#"{"messages":[
            {"role":"developer","content":"a\nb"},
            {"content":[{"type":"text","text":"one"},{"type":"image_url","image_url":{}},
                        {"text":"tw\u006f","type":"text"},"three"],"role":"us\u0065r"},
            {"role":"assistant","content":null,"tool_calls":[{}]},
            {"role":"tool"},
            {"role":"function","content":[],"tool_calls":[]},
            {"role":"critic","tool_calls":null,"function_call":{}}
        ]}"#,
    )
    .expect("a valid request");
    let messages = request.messages();
    let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
    use Role::*;
    assert_eq!(roles, [Developer, User, Assistant, Tool, Function, Other]);
    let texts: Vec<_> = messages
        .iter()
        .map(|m| request.text(m).into_owned())
        .collect();
    assert_eq!(texts, ["a\nb", "one\ntwo", "", "", "", ""]);
    let calls: Vec<_> = messages
        .iter()
        .map(|message| message.has_tool_calls)
        .collect();
    assert_eq!(calls, [false, false, true, false, false, true]);
    assert!(matches!(messages[2].content, Content::Null(_)));
    assert_eq!(messages[3].content, Content::Absent);
    assert_eq!(request.last_user(), Some(1));
    assert_eq!(request.leading_system(), 1);
}

#[test]
fn names_the_clients_tools_and_passes_over_what_is_none() {
    let request = parse(
        r#"{"messages":[],"functions":[{"name":"old"}],"tools":[
            {"type":"function","function":{"name":"a\u0062","parameters":{"n":1e999}}},
            {"type":"custom","custom":{"name":"free"}}, {"type":"function","name":"flat"},
            7, {"function":7}, {"function":{}}]}"#,
    )
    .expect("a valid request");
    assert_eq!(request.options().tool_names, ["ab", "free", "flat", "old"]);
}

#[test]
fn tells_what_does_not_go_with_tools() {
    for (members, wanted) in [
        ("", None),
        (r#","functions":null,"n":null,"tool_choice":null"#, None),
        (r#","n":1,"tool_choice":"auto""#, None),
        (r#","response_format":{"type":"text"}"#, None),
        (r#","response_format":null,"grammar":null"#, None),
        (r#","functions":[]"#, Some(Withheld::Functions)),
        (r#","n":2"#, Some(Withheld::Several)),
        (r#","n":"1""#, Some(Withheld::Several)),
        (r#","tool_choice":{"type":"auto"}"#, None),
        (r#","tool_choice":"none""#, Some(Withheld::Request)),
        (r#","tool_choice":{"type":"none"}"#, Some(Withheld::Request)),
        (r#","tool_choice":7"#, Some(Withheld::ForcedChoice)),
        (r#","tool_choice":"required""#, Some(Withheld::ForcedChoice)),
        (
            r#","tool_choice":{"type":"function","function":{"name":"f"}}"#,
            Some(Withheld::ForcedChoice),
        ),
        (
            r#","tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
            Some(Withheld::ForcedChoice),
        ),
        (r#","tool_choice":"any""#, Some(Withheld::ForcedChoice)),
        (
            r#","response_format":{"type":"json_object"}"#,
            Some(Withheld::AnswerSchema),
        ),
        (
            r#","response_format":{"type":"json_schema","json_schema":{}}"#,
            Some(Withheld::AnswerSchema),
        ),
        (r#","response_format":"json""#, Some(Withheld::AnswerSchema)),
        (r#","guided_json":{}"#, Some(Withheld::AnswerSchema)),
        (
            r#","grammar":"root ::= [0-9]""#,
            Some(Withheld::AnswerSchema),
        ),
    ] {
        let request = parse(&format!(r#"{{"messages":[]{members}}}"#)).expect("a valid request");
        assert_eq!(request.options().withheld, wanted, "{members}");
    }
}

#[test]
fn names_the_calls_of_a_message() {
    let request = parse(
        r#"{"messages":[
            {"role":"user","content":"hi"},
            {"role":"assistant","tool_calls":[{"id":"a"},{},{"id":"\u0062"},{"id":1}]}
        ]}"#,
    )
    .expect("a valid request");
    assert!(request.call_ids(0).is_empty() && request.call_ids(7).is_empty());
    assert_eq!(request.call_ids(1), ["a", "", "b", ""]);
}

#[test]
fn refuses_what_it_cannot_act_upon_and_names_it() {
    let cases = [
        ("[]", None, "the body is an array; send one JSON object"),
        (
            "{",
            None,
            "cannot be read as JSON: expected a key in quotes at byte 1",
        ),
        (
            r#"{"messages":[]} x"#,
            None,
            "more after the end of the JSON value at byte 16",
        ),
        ("{}", Some("messages"), "has no `messages`"),
        (
            r#"{"messages":null}"#,
            Some("messages"),
            "must be an array, but is null at byte 12",
        ),
        (
            r#"{"messages":{}}"#,
            Some("messages"),
            "must be an array, but is an object",
        ),
        (
            r#"{"messages":[],"model":1}"#,
            Some("model"),
            "must be a string, but is a number",
        ),
        (
            r#"{"messages":[],"stream":"true"}"#,
            Some("stream"),
            "must be true or false",
        ),
        (
            r#"{"messages":[],"tools":{}}"#,
            Some("tools"),
            "must be an array",
        ),
        (
            r#"{"messages":[],"functions":1}"#,
            Some("functions"),
            "must be an array",
        ),
        (
            r#"{"messages":[],"use_tools":1}"#,
            Some("use_tools"),
            "must be true or false",
        ),
        (
            r#"{"messages":[],"memory":"none"}"#,
            Some("memory"),
            "\"full\" (or true), \"readonly\" or \"off\" (or false)",
        ),
        (
            r#"{"messages":[],"memory":{"mode":"off"}}"#,
            Some("memory"),
            "must be a string, but is an object",
        ),
        (
            r#"{"messages":[],"messages":[]}"#,
            Some("messages"),
            "twice, again at byte 15",
        ),
        (
            r#"{"messages":[],"client_id":1,"client_id":1}"#,
            Some("client_id"),
            "twice",
        ),
        (
            r#"{"messages":[],"Messages":[]}"#,
            Some("Messages"),
            "write `messages`",
        ),
        (r#"{"meſſages":[]}"#, Some("meſſages"), "write `messages`"),
        (
            r#"{"messages":[1]}"#,
            Some("messages[0]"),
            "must be an object, but is a number",
        ),
        (
            r#"{"messages":[{"role":"user"},{}]}"#,
            Some("messages[1].role"),
            "has no `role`",
        ),
        (
            r#"{"messages":[{"role":7}]}"#,
            Some("messages[0].role"),
            "must be a string",
        ),
        (
            r#"{"messages":[{"role":"user","role":"user"}]}"#,
            Some("messages[0].role"),
            "twice",
        ),
        (
            r#"{"messages":[{"content":"","role":"user","content":""}]}"#,
            Some("messages[0].content"),
            "twice",
        ),
        (
            r#"{"messages":[{"Role":"user"}]}"#,
            Some("Role"),
            "write `role`",
        ),
        (
            r#"{"messages":[{"role":"user","content":7}]}"#,
            Some("messages[0].content"),
            "must be a string or an array",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"text":"","text":""}]}]}"#,
            Some("messages[0].content[0].text"),
            "twice",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"Text":""}]}]}"#,
            Some("Text"),
            "write `text`",
        ),
    ];
    for (json, param, wanted) in cases {
        let error = parse(json).expect_err(json);
        assert_eq!(error.status, 400, "{json}");
        assert_eq!(error.param.as_deref(), param, "{json}");
        assert!(error.message.contains(wanted), "{json}: {}", error.message);
    }
}

#[test]
fn other_fields_may_be_anything_and_repeat() {
    let json = r#"{"x":1,"x":2,"Temperature":"warm","metadata":{"Team":1,"Team":2},"messages":[
        {"role":"user","name":1,"name":2,"content":[{"Detail":1,"Detail":2}]}]}"#;
    assert!(parse(json).is_ok());
}

#[test]
fn what_only_tells_who_speaks_may_be_anything() {
    for (members, name, wanted) in [
        (r#""user": 7 "#, "user", Some("7")),
        (
            r#""user":"a","\u0075ser" : {"id":1}"#,
            "user",
            Some(r#"{"id":1}"#),
        ),
        (r#""User":"a""#, "user", None),
        (r#""metadata":[]"#, "metadata", Some("[]")),
        (
            r#""metadata":{"user_id":1,"user_id":2,"User_ID":3}"#,
            "metadata",
            Some(r#"{"user_id":1,"user_id":2,"User_ID":3}"#),
        ),
        (r#""conversation_id":42"#, "conversation_id", Some("42")),
        (
            r#""conversation_id":1,"conversation_id":[]"#,
            "conversation_id",
            Some("[]"),
        ),
        (
            r#""safety_identifier":false"#,
            "safety_identifier",
            Some("false"),
        ),
        (
            r#""prompt_cache_key":"k""#,
            "prompt_cache_key",
            Some(r#""k""#),
        ),
        (r#""response_format":{}"#, "response_format", Some("{}")),
        (r#""x":1"#, "x", None),
    ] {
        let request = parse(&format!(r#"{{"messages":[],{members}}}"#)).expect(members);
        let member = request.member(name);
        assert_eq!(member, wanted.map(str::as_bytes), "{members}");
    }
}

#[test]
fn a_tool_choice_is_read_alike_in_each_api() {
    for (choice, wanted) in [
        (json!(null), None),
        (json!("auto"), None),
        (json!({ "type": "auto" }), None),
        (
            json!({ "type": "auto", "disable_parallel_tool_use": true }),
            None,
        ),
        (json!("none"), Some(Withheld::Request)),
        (json!({ "type": "none" }), Some(Withheld::Request)),
        (json!("required"), Some(Withheld::ForcedChoice)),
        (json!("any"), Some(Withheld::ForcedChoice)),
        (json!({ "type": "any" }), Some(Withheld::ForcedChoice)),
        (
            json!({ "type": "tool", "name": "f" }),
            Some(Withheld::ForcedChoice),
        ),
        (
            json!({ "type": "function", "name": "f" }),
            Some(Withheld::ForcedChoice),
        ),
        (
            json!({ "type": "allowed_tools", "mode": "auto" }),
            Some(Withheld::ForcedChoice),
        ),
        (json!({}), Some(Withheld::ForcedChoice)),
        (json!(7), Some(Withheld::ForcedChoice)),
    ] {
        for dialect in Dialect::ALL {
            let body = json!({ "tool_choice": choice, "messages": [], "input": "hi" });
            let request = dialect
                .read(body.to_string().into(), 64)
                .expect("a request");
            assert_eq!(request.options().withheld, wanted, "{dialect:?} {choice}");
        }
    }
}

#[test]
fn memory_is_switched_by_a_word_or_by_true_and_false() {
    for (memory, wanted) in [
        ("false", Some(MemoryUse::Off)),
        ("true", Some(MemoryUse::Full)),
        ("null", None),
        (r#""off""#, Some(MemoryUse::Off)),
        (r#""false""#, Some(MemoryUse::Off)),
        (r#""Read-Only""#, Some(MemoryUse::Readonly)),
        (r#""on""#, Some(MemoryUse::Full)),
    ] {
        let body = format!(r#"{{"messages":[],"memory":{memory}}}"#);
        let request = Dialect::Chat.read(body.into(), 64).expect("a request");
        assert_eq!(request.memory(), wanted, "{memory}");
        let sent = compose(&request, &Injection::default()).to_bytes();
        assert_eq!(&sent[..], br#"{"messages":[]}"#, "{memory}");
    }
}
