//! Thinking in Messages: a client is shown all of it, and what stood between comes back to the upstream.

use serde_json::{Value, json};

use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, post};

const FIELDS: [&str; 3] = [
    "Content-Type: application/json",
    "X-YYChat-User-Id: ann",
    "X-YYChat-Memory: off",
];

fn thought(signature: &str) -> Value {
    json!({ "type": "thinking", "thinking": "hm", "signature": signature })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn answer(content: &Value, reason: &str) -> Vec<u8> {
    let message = json!({ "id": "msg", "type": "message", "role": "assistant", "model": "m",
        "content": content, "stop_reason": reason, "usage": { "input_tokens": 1, "output_tokens": 1 } });
    json_answer(&message.to_string())
}

/// An upstream that thinks, calls, thinks again and answers; with `theirs` it calls a tool of the client's
/// beside its second call of the gateway's.
fn upstream(theirs: bool) -> Upstream {
    let call = |id: &str| {
        json!({ "type": "tool_use", "id": id, "name": "calculator",
        "input": { "operation": "multiply", "a": 6, "b": 7 } })
    };
    let first = json!([thought("one"), text("Let me see."), call("t1")]);
    let last = match theirs {
        true => {
            json!([thought("two"), call("t2"), { "type": "tool_use", "id": "theirs", "name": "look", "input": {} }])
        }
        false => json!([thought("two"), text("42.")]),
    };
    Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let asked = body["messages"].as_array().expect("messages").len();
            let reason = if theirs { "tool_use" } else { "end_turn" };
            visit.send(match asked {
                1 => answer(&first, "tool_use"),
                3 => answer(&last, reason),
                _ => answer(&json!([text("Bye.")]), "end_turn"),
            });
        }
    })
}

fn gateway(upstream: &Upstream) -> Proxy {
    Setup::new().upstream(upstream, "").calculator().start()
}

fn ask(proxy: &Proxy, messages: &Value) -> Value {
    let body = json!({ "model": "m", "max_tokens": 9, "messages": messages,
        "tools": [{ "name": "look", "input_schema": {} }] });
    let answer = proxy.exchange(post("/v1/messages", &FIELDS, body.to_string()));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn sent(upstream: &Upstream) -> Vec<Value> {
    let request = upstream.requests().pop().expect("a request");
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    body["messages"].as_array().expect("messages").clone()
}

#[test]
fn all_thoughts_are_shown_and_go_back_with_the_calls_between_them() {
    let upstream = upstream(false);
    let proxy = gateway(&upstream);
    let question = json!({ "role": "user", "content": "6*7?" });
    let told = ask(&proxy, &json!([question]));
    let shown = json!([
        thought("one"),
        text("Let me see."),
        thought("two"),
        text("42.")
    ]);
    assert_eq!(told["content"], shown);
    let before = sent(&upstream);
    let thanks = json!({ "role": "user", "content": "thanks" });
    let history = json!([question, { "role": "assistant", "content": shown }, thanks]);
    for _ in 0..2 {
        ask(&proxy, &history);
        let sent = sent(&upstream);
        assert_eq!(sent[..3], before[..], "what the upstream was told before");
        assert_eq!(sent[3]["content"], json!([thought("two"), text("42.")]));
        assert_eq!(sent[4], thanks);
    }
    // Another user's history is another one's.
    let fields = ["Content-Type: application/json", "X-YYChat-User-Id: ben"];
    let body = json!({ "model": "m", "max_tokens": 9, "messages": history, "tool_choice": { "type": "none" } });
    proxy.exchange(post("/v1/messages", &fields, body.to_string()));
    assert_eq!(sent(&upstream).len(), 3);
}

#[test]
fn a_turn_that_ends_with_calls_of_the_clients_is_whole_again_too() {
    let upstream = upstream(true);
    let proxy = gateway(&upstream);
    let question = json!({ "role": "user", "content": "6*7?" });
    let told = ask(&proxy, &json!([question]));
    let theirs = json!({ "type": "tool_use", "id": "theirs", "name": "look", "input": {} });
    let shown = json!([thought("one"), text("Let me see."), thought("two"), theirs]);
    assert_eq!(told["content"], shown);
    let before = sent(&upstream);
    let result = json!({ "type": "tool_result", "tool_use_id": "theirs", "content": "x" });
    ask(
        &proxy,
        &json!([question, { "role": "assistant", "content": shown },
        { "role": "user", "content": [result] }]),
    );
    let sent = sent(&upstream);
    assert_eq!(sent.len(), 5);
    assert_eq!(sent[..3], before[..]);
    let turn = sent[3]["content"].as_array().expect("blocks");
    let ids: Vec<_> = turn
        .iter()
        .map(|block| block["id"].as_str().or(block["signature"].as_str()))
        .collect();
    assert_eq!(ids, ["two", "t2", "theirs"].map(Some));
    let results = sent[4]["content"].as_array().expect("blocks");
    let ids: Vec<_> = results
        .iter()
        .map(|block| block["tool_use_id"].as_str())
        .collect();
    assert_eq!(ids, ["t2", "theirs"].map(Some));
}
