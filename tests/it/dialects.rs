//! Responses and Messages get what Chat Completions have, and all three share one memory.

use serde_json::{Value, json};

use crate::support::upstream::{STREAM, json_answer};
use crate::support::{Proxy, Setup, Upstream, post};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

/// What is said, in the API of a path.
fn asked(path: &str, text: &str) -> String {
    let message = json!([{ "role": "user", "content": text }]);
    match path {
        RESPONSES => json!({ "model": "m", "input": text }),
        _ => json!({ "model": "m", "max_tokens": 9, "messages": message }),
    }
    .to_string()
}

/// An answer of this text, in the API of a path.
fn said(path: &str, text: &str) -> Value {
    match path {
        RESPONSES => {
            json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m",
            "output": [{ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": text, "annotations": [] }] }],
            "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } })
        }
        MESSAGES => json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
            "usage": { "input_tokens": 3, "output_tokens": 2 } }),
        _ => json!({ "id": "c", "object": "chat.completion", "model": "m",
            "choices": [{ "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 } }),
    }
}

/// An upstream of all three, which always says the same.
fn upstream() -> Upstream {
    Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let target = request.head.target();
            let path = [RESPONSES, MESSAGES, CHAT]
                .into_iter()
                .find(|path| target.starts_with(path))
                .unwrap_or(CHAT);
            visit.send(json_answer(&said(path, "Noted.").to_string()));
        }
    })
}

fn setup(upstream: &Upstream) -> Setup {
    Setup::new().upstream(upstream, "").calculator()
}

fn body(upstream: &Upstream, request: usize) -> Value {
    serde_json::from_slice(&upstream.requests()[request].body).expect("JSON")
}

/// Waits until a memory is found: it is saved behind the answer.
fn is_remembered(proxy: &Proxy, text: &str) {
    loop {
        let search = json!({ "user_id": "ann", "query": text }).to_string();
        let found = proxy.exchange(post(
            "/v1/memories/search",
            &["Content-Type: application/json"],
            search,
        ));
        if found.text().contains(text) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_is_told_in_one_api_is_recalled_in_the_others() {
    for teller in [CHAT, RESPONSES, MESSAGES] {
        let upstream = upstream();
        let proxy = setup(&upstream).start();
        let fields = ["Content-Type: application/json", "X-YYChat-User-Id: ann"];
        let fact = "My cat is called Pixel.";
        let told = proxy.exchange(post(teller, &fields, asked(teller, fact)));
        assert_eq!(told.status(), 200, "{}", told.text());
        assert!(told.text().contains("Noted."));
        is_remembered(&proxy, "Pixel");
        for path in [CHAT, RESPONSES, MESSAGES]
            .into_iter()
            .filter(|path| *path != teller)
        {
            let before = upstream.requests().len();
            let answer = proxy.exchange(post(path, &fields, asked(path, "What is my cat called?")));
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let sent = body(&upstream, before).to_string();
            assert!(sent.contains("Pixel"), "{teller} to {path}: {sent}");
        }
    }
}

#[test]
fn personas_and_tools_go_where_each_api_has_them() {
    let upstream = upstream();
    let proxy = setup(&upstream)
        .persona("ada", "You are Ada.")
        .set("personality.default", "ada")
        .start();
    let json = ["Content-Type: application/json"];
    for path in [RESPONSES, MESSAGES] {
        let answer = proxy.exchange(post(path, &json, asked(path, "hi")));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.text(), said(path, "Noted.").to_string());
    }
    let responses = body(&upstream, 0);
    assert_eq!(responses["instructions"], "You are Ada.");
    assert_eq!(responses["tools"][0]["name"], "calculator");
    assert_eq!(responses["tools"][0]["strict"], false);
    let messages = body(&upstream, 1);
    assert_eq!(messages["system"], "You are Ada.");
    assert!(messages["tools"][0]["input_schema"].is_object());
}

#[test]
fn errors_of_ours_have_the_shape_of_the_api() {
    let upstream = upstream();
    let proxy = setup(&upstream)
        .key("app", "gateway-key-of-app", "t")
        .start();
    let json = [
        "Content-Type: application/json",
        "x-api-key: gateway-key-of-app",
    ];
    let refused = proxy.exchange(post(MESSAGES, &["Content-Type: application/json"], "{}"));
    let error: Value = serde_json::from_str(&refused.text()).expect("JSON");
    assert_eq!((refused.status(), &error["type"]), (401, &json!("error")));
    assert_eq!(error["error"]["type"], "authentication_error");
    let broken = proxy.exchange(post(MESSAGES, &json, r#"{"messages":7}"#));
    let error: Value = serde_json::from_str(&broken.text()).expect("JSON");
    assert_eq!(
        (broken.status(), &error["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let broken = proxy.exchange(post(RESPONSES, &json, r#"{"input":7}"#));
    let error: Value = serde_json::from_str(&broken.text()).expect("JSON");
    assert_eq!(
        (broken.status(), &error["error"]["param"]),
        (400, &json!("input"))
    );
}

fn sse(events: &[Value]) -> Vec<u8> {
    let mut bytes = STREAM.to_vec();
    for event in events {
        let kind = event["type"].as_str().expect("a type");
        let frame = format!("event: {kind}\ndata: {event}\n\n");
        bytes.extend(format!("{:x}\r\n{frame}\r\n", frame.len()).into_bytes());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// The events of a leg in the API of a path: a call of the calculator, or a text.
fn leg(path: &str, calls: bool) -> Vec<Value> {
    let arguments = r#"{"operation":"multiply","a":6,"b":7}"#;
    if path == MESSAGES {
        let (block, delta, reason) = match calls {
            true => (
                json!({"type":"tool_use","id":"toolu_1","name":"calculator","input":{}}),
                json!({"type":"input_json_delta","partial_json":arguments}),
                "tool_use",
            ),
            false => (
                json!({"type":"text","text":""}),
                json!({"type":"text_delta","text":"42"}),
                "end_turn",
            ),
        };
        return vec![
            json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}),
            json!({"type":"content_block_start","index":0,"content_block":block}),
            json!({"type":"content_block_delta","index":0,"delta":delta}),
            json!({"type":"content_block_stop","index":0}),
            json!({"type":"message_delta","delta":{"stop_reason":reason,"stop_sequence":null},"usage":{"output_tokens":2}}),
            json!({"type":"message_stop"}),
        ];
    }
    let item = match calls {
        true => {
            json!({"type":"function_call","id":"fc_1","call_id":"call_1","name":"calculator","arguments":arguments,"status":"completed"})
        }
        false => said(RESPONSES, "42")["output"][0].clone(),
    };
    let response = |status: &str, output: Value| {
        json!({"id":"resp_1","object":"response","status":status,"model":"m","output":output,
            "usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}})
    };
    vec![
        json!({"type":"response.created","sequence_number":0,"response":response("in_progress", json!([]))}),
        json!({"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":item}),
        json!({"type":"response.output_item.done","sequence_number":2,"output_index":0,"item":item}),
        json!({"type":"response.completed","sequence_number":3,"response":response("completed", json!([item]))}),
    ]
}

/// Whether a request gives a tool's result to the model.
fn holds_a_result(body: &str) -> bool {
    body.contains("tool_result") || body.contains("function_call_output")
}

#[test]
fn tools_of_ours_run_in_mid_stream() {
    for path in [RESPONSES, MESSAGES] {
        let upstream = Upstream::start(move |visit| {
            while let Some(request) = visit.request() {
                visit.send(sse(&leg(path, !holds_a_result(&request.text()))));
            }
        });
        let proxy = setup(&upstream).start();
        let mut asked: Value = serde_json::from_str(&asked(path, "6*7?")).expect("JSON");
        asked["stream"] = true.into();
        let json = ["Content-Type: application/json"];
        let answer = proxy.exchange(post(path, &json, asked.to_string()));
        let text = answer.text();
        assert_eq!(answer.status(), 200, "{text}");
        assert!(
            text.contains("42") && !text.contains("calculator"),
            "{text}"
        );
        let second = body(&upstream, 1).to_string();
        assert!(
            second.contains("\"42\"") || second.contains("42"),
            "{second}"
        );
        assert!(holds_a_result(&second));
    }
}

#[test]
fn tokens_are_counted_of_what_would_be_sent() {
    let upstream = Upstream::answering(json_answer(r#"{"input_tokens":9}"#));
    let proxy = setup(&upstream)
        .persona("ada", "You are Ada.")
        .set("personality.default", "ada")
        .start();
    let json = ["Content-Type: application/json", "X-YYChat-User-Id: ann"];
    for path in ["/v1/messages/count_tokens", "/v1/responses/input_tokens"] {
        let asked = asked(path.rsplit_once('/').expect("a path").0, "hi");
        let counted = proxy.exchange(post(path, &json, asked));
        assert_eq!(
            (counted.status(), counted.text().as_str()),
            (200, r#"{"input_tokens":9}"#)
        );
    }
    assert_eq!(body(&upstream, 0)["system"], "You are Ada.");
    assert_eq!(body(&upstream, 1)["instructions"], "You are Ada.");
}

#[test]
fn a_turn_that_the_upstream_keeps_gets_what_our_calls_gave() {
    let both = || {
        let call = |id: &str, name: &str| {
            json!({"type":"function_call","id":format!("fc_{id}"),"call_id":id,"name":name,
                "arguments":"{\"operation\":\"multiply\",\"a\":6,\"b\":7}","status":"completed"})
        };
        json!({"id":"resp_1","object":"response","status":"completed","model":"m",
            "output":[call("ours", "calculator"), call("theirs", "shell")]})
    };
    let upstream = Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let answer = match holds_a_result(&request.text()) {
                false => both(),
                true => said(RESPONSES, "Done."),
            };
            visit.send(json_answer(&answer.to_string()));
        }
    });
    let proxy = setup(&upstream).start();
    let json = ["Content-Type: application/json"];
    let tools = json!([{"type":"function","name":"shell","parameters":{}}]);
    let asked = json!({"model":"m","input":"go","tools":tools}).to_string();
    let first = proxy.exchange(post(RESPONSES, &json, asked));
    assert!(!first.text().contains("calculator"), "{}", first.text());
    let output = json!([{"type":"function_call_output","call_id":"theirs","output":"x"}]);
    let next = json!({"model":"m","previous_response_id":"resp_1","input":output,"tools":tools});
    assert_eq!(
        proxy
            .exchange(post(RESPONSES, &json, next.to_string()))
            .status(),
        200
    );
    let sent = body(&upstream, 1);
    let ids: Vec<_> = sent["input"]
        .as_array()
        .expect("items")
        .iter()
        .map(|it| it["call_id"].as_str())
        .collect();
    assert_eq!(ids, [Some("ours"), Some("theirs")]);
}
