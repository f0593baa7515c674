//! Responses over a WebSocket: frames as bodies, and bodies as frames.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::socket::{
    Create, Heard, History, Lineage, Said, error_event, http_error, in_lane, read,
};

fn frame(json: &Value) -> Box<Create> {
    let frame = Bytes::from(json.to_string());
    match read(&frame, 64).expect("a frame") {
        Said::Create(create) => create,
        Said::Nothing => panic!("it asks for nothing"),
    }
}

fn parse(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// What is heard of a response of these items.
fn heard(id: &str, items: &[Value]) -> Heard {
    let mut heard = Heard::default();
    let mut hear = |event: Value| heard.event(&event.to_string().into());
    hear(json!({"type": "response.created", "response": {"id": id}}));
    for (at, item) in items.iter().enumerate().rev() {
        hear(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
    }
    hear(json!({"type": "response.completed", "response": {"id": id}}));
    heard
}

#[test]
fn a_frame_is_a_body_but_for_what_is_the_frames() {
    for (sent, wanted) in [
        (r#"{"type":"response.create"}"#, r#"{"stream":true}"#),
        (
            r#"{ "type" : "response.create", "model":"m" , "n" : 1.0 }"#,
            r#"{"stream":true, "model":"m" , "n" : 1.0 }"#,
        ),
        (
            r#"{"model":"m","stream_id":"a","type":"response.create","generate":true,"stream":false}"#,
            r#"{"stream":true,"model":"m"}"#,
        ),
        (
            r#"{"input":"a \"b\"","type":"response.create","previous_response_id":"r"}"#,
            r#"{"stream":true,"input":[{"role":"user","content":"a \"b\""}],"previous_response_id":"r"}"#,
        ),
    ] {
        let Said::Create(create) = read(&Bytes::from(sent), 64).expect("a frame") else {
            panic!("{sent}");
        };
        let (body, _) = History::default().body(&create);
        assert_eq!(
            parse(&body),
            serde_json::from_str::<Value>(wanted).expect("JSON"),
            "{sent}"
        );
    }
}

#[test]
fn what_is_gone_on_from_is_told_and_no_lost_thinking_with_it() {
    let mut history = History::default();
    let user = |text: &str| json!({"role": "user", "content": text});
    let lost = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let kept = json!({"type": "reasoning", "id": "rs_2", "encrypted_content": "x"});
    let said = json!({"type": "message", "role": "assistant", "content": []});
    let first = frame(&json!({"type": "response.create", "store": false, "input": "one"}));
    let (_, told) = history.body(&first);
    history.answered(
        told,
        heard("resp_1", &[lost.clone(), kept.clone(), said.clone()]),
    );
    let next = |id: &str, store: bool| {
        frame(
            &json!({"type": "response.create", "store": store, "previous_response_id": id,
            "input": [user("two")]}),
        )
    };
    let (body, told) = history.body(&next("resp_1", false));
    let body = parse(&body);
    assert_eq!(body["input"], json!([user("one"), kept, said, user("two")]));
    assert_eq!(body.get("previous_response_id"), None);
    let (kept_body, _) = history.body(&next("resp_1", true));
    assert_eq!(
        parse(&kept_body)["input"],
        json!([user("one"), lost, kept, said, user("two")])
    );
    // On top of what the upstream alone knows.
    let (body, other) = history.body(&next("resp_0", true));
    assert_eq!(parse(&body)["previous_response_id"], "resp_0");
    history.answered(other, heard("resp_2", std::slice::from_ref(&said)));
    let (body, _) = history.body(&next("resp_2", true));
    let body = parse(&body);
    assert_eq!(body["previous_response_id"], "resp_0");
    assert_eq!(body["input"], json!([user("two"), said, user("two")]));
    // What failed cannot be gone on from.
    let mut failed = heard("resp_3", &[]);
    failed.event(&Bytes::from_static(br#"{"type":"response.failed"}"#));
    history.answered(told, failed);
    let (body, _) = history.body(&next("resp_3", true));
    assert_eq!(parse(&body)["previous_response_id"], "resp_3");
}

#[test]
fn an_upstream_hears_what_is_new_alone() {
    let mut lineage = Lineage::default();
    let body = |items: Value| {
        Bytes::from(json!({"model": "m", "stream": true, "input": items}).to_string())
    };
    let (user, said) = (
        json!({"role": "user", "content": "a"}),
        json!({"type": "message"}),
    );
    let (frame, told, is_rest) = lineage.frame(&body(json!([user])));
    assert!(!is_rest);
    assert_eq!(
        parse(&frame),
        json!({"type": "response.create", "model": "m", "input": [user]})
    );
    lineage.answered(told, heard("resp_1", std::slice::from_ref(&said)));
    let (frame, told, is_rest) = lineage.frame(&body(json!([user, said, user])));
    assert!(is_rest);
    let wanted = json!({"type": "response.create", "previous_response_id": "resp_1", "model": "m", "input": [user]});
    assert_eq!(parse(&frame), wanted);
    lineage.answered(told, heard("resp_2", std::slice::from_ref(&said)));
    for other in [
        json!([user, said]),
        json!([user, user, user, said, user]),
        json!("text"),
    ] {
        let (frame, _, is_rest) = lineage.frame(&body(other.clone()));
        assert!(!is_rest);
        assert_eq!(parse(&frame)["input"], other);
    }
}

#[test]
fn errors_go_both_ways() {
    let fields = [("retry-after".to_owned(), "7".to_owned())];
    let event = error_event(
        429,
        br#"{"error":{"type":"t","code":"c","message":"m"}}"#,
        &fields,
    );
    let json = parse(&event);
    assert_eq!(
        (&json["type"], &json["status"]),
        (&json!("error"), &json!(429))
    );
    assert_eq!(json["error"]["headers"]["retry-after"], "7");
    let back = http_error(&event).expect("an error");
    assert_eq!((back.status, back.code.as_deref()), (429, Some("c")));
    assert_eq!(back.fields, fields);
    let plain = parse(&error_event(500, b"<html>", &[]));
    assert_eq!(plain["error"]["message"], "<html>");
    for none in [
        r#"{"type":"error","code":"x","message":"in a stream"}"#,
        r#"{"type":"response.created","status":400,"error":{}}"#,
        r#"{"type":"error","status":200,"error":{}}"#,
        "no JSON",
    ] {
        assert_eq!(http_error(none.as_bytes()), None, "{none}");
    }
    let split = br#"{"type":"error","status":400,"error":{},"headers":{"content-length":"9","a b":"c","x":"a\r\nb: c","x-ok":1}}"#;
    let fields = http_error(split).expect("an error").fields;
    assert_eq!(fields, [("x-ok".to_owned(), "1".to_owned())]);
    let event = in_lane(Bytes::from_static(br#"{"type":"a"} "#), Some("b\"c"));
    assert_eq!(parse(&event), json!({"type": "a", "stream_id": "b\"c"}));
    assert_eq!(
        in_lane(Bytes::from_static(b"{}"), Some("b")),
        r#"{"stream_id":"b"}"#
    );
}
