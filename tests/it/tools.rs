//! The gateway's own tools in the middle of an answer.

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::proxy::CALCULATOR;
use crate::support::upstream::{STREAM, answer, event, json_answer};
use crate::support::{Proxy, Setup, Upstream, post};

const STREAMED: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"6*7?"}]}"#;
const WHOLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"6*7?"}]}"#;

/// A gateway before `upstream` that has the calculator.
fn gateway(upstream: &Upstream, config: &str) -> Proxy {
    setup(upstream).config(config).start()
}

fn setup(upstream: &Upstream) -> Setup {
    Setup::new().upstream(upstream, "").calculator()
}

/// An upstream that answers with the first of `legs` until it is given a tool's result, then with
/// the next for each further result.
fn upstream(legs: &[Vec<u8>]) -> Upstream {
    let legs = legs.to_vec();
    Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let messages = body["messages"].as_array().expect("messages");
            let turns = messages
                .iter()
                .filter(|message| !message["tool_calls"].is_null());
            let leg = turns.count().min(legs.len() - 1);
            visit.send(&legs[leg]);
        }
    })
}

fn chunk(id: &str, choice: &Value) -> String {
    let chunk = json!({ "id": id, "object": "chat.completion.chunk", "choices": [choice] });
    format!("data: {chunk}\n\n")
}

fn delta(id: &str, delta: Value) -> String {
    chunk(
        id,
        &json!({ "index": 0, "delta": delta, "finish_reason": null }),
    )
}

fn finish(id: &str, reason: &str) -> String {
    chunk(
        id,
        &json!({ "index": 0, "delta": {}, "finish_reason": reason }),
    )
}

fn usage(id: &str, prompt: u64, completion: u64) -> String {
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
    });
    let chunk =
        json!({ "id": id, "object": "chat.completion.chunk", "choices": [], "usage": usage });
    format!("data: {chunk}\n\n")
}

/// A call of the calculator in three fragments.
fn multiply(id: &str, index: u64, call: &str) -> String {
    let fragment = |rest: Value| {
        let mut entry = json!({ "index": index });
        let members = entry.as_object_mut().expect("an object");
        members.extend(rest.as_object().expect("an object").clone());
        delta(id, json!({ "tool_calls": [entry] }))
    };
    [
        fragment(json!({
            "id": call, "type": "function", "function": { "name": "calculator", "arguments": "" },
        })),
        fragment(json!({ "function": { "arguments": "{\"operation\":\"multi" } })),
        fragment(json!({ "function": { "arguments": "ply\",\"a\":6,\"b\":7}" } })),
    ]
    .concat()
}

/// A stream of `events`, each in a chunk of its own.
fn stream(events: &[String]) -> Vec<u8> {
    let mut bytes = STREAM.to_vec();
    for event in events {
        bytes.extend(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// The events of an answer, each as JSON, `[DONE]` as text.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()))
        .collect()
}

fn body(upstream: &Upstream, request: usize) -> Value {
    serde_json::from_slice(&upstream.requests()[request].body).expect("JSON")
}

fn done() -> String {
    "data: [DONE]\n\n".into()
}

#[test]
fn a_call_in_mid_stream_is_run_and_the_client_sees_one_answer() {
    let spoken = delta(
        "a",
        json!({ "role": "assistant", "content": "Let me see: " }),
    );
    let upstream = upstream(&[
        stream(&[
            spoken.clone(),
            multiply("a", 0, "call_1"),
            finish("a", "tool_calls"),
            usage("a", 10, 5),
            done(),
        ]),
        stream(&[
            delta("b", json!({ "role": "assistant", "content": "" })),
            delta("b", json!({ "content": "42." })),
            finish("b", "stop"),
            usage("b", 20, 2),
            done(),
        ]),
    ]);
    let proxy = gateway(&upstream, "");
    let answer = proxy.chat(STREAMED);
    let text = answer.text();
    assert!(text.starts_with(&spoken), "{text}");
    assert!(!text.contains("tool_calls"), "{text}");
    let events = events(&text);
    let said: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "Let me see: 42.");
    let count = |has: &dyn Fn(&Value) -> bool| events.iter().filter(|event| has(event)).count();
    assert_eq!(count(&|event| event == "[DONE]"), 1);
    assert_eq!(
        count(&|event| !event["choices"][0]["delta"]["role"].is_null()),
        1
    );
    assert_eq!(
        count(&|event| event["choices"][0]["finish_reason"].is_string()),
        1
    );
    assert!(
        events
            .iter()
            .all(|event| event == "[DONE]" || event["id"] == "a")
    );
    let usages: Vec<_> = events
        .iter()
        .filter(|event| event["usage"].is_object())
        .collect();
    assert_eq!(usages.len(), 1);
    assert_eq!(
        usages[0]["usage"],
        json!({ "prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37 })
    );
    let first = body(&upstream, 0);
    assert_eq!(first["tools"][0]["function"]["name"], "calculator");
    let second = body(&upstream, 1);
    assert_eq!(second["tools"], first["tools"]);
    let messages = second["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[1]["content"], "Let me see: ");
    assert_eq!(messages[1]["tool_calls"][0]["id"], "call_1");
    assert_eq!(messages[2]["role"], "tool");
    assert_eq!(messages[2]["tool_call_id"], "call_1");
    assert_eq!(messages[2]["content"], "{\"result\":42}");
    let line = "yychat_tool_calls_total{outcome=\"ok\",tool=\"calculator\"}";
    assert!((proxy.metric(line) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_whole_answer_is_gone_on_with_as_well() {
    let first = json!({
        "id": "a", "object": "chat.completion",
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": null,
            "tool_calls": [{ "id": "call_1", "type": "function", "function": {
                "name": "calculator", "arguments": "{\"operation\":\"multiply\",\"a\":6,\"b\":7}",
            }}],
        }}],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 },
    });
    let second = r#"{"id":"b","choices":[{"index":0,"message":{"role":"assistant","content":"42."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":2,"total_tokens":22}}"#;
    let upstream = upstream(&[json_answer(&first.to_string()), json_answer(second)]);
    let proxy = gateway(&upstream, "");
    let answer = proxy.chat(WHOLE);
    let shown: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(shown["choices"][0]["message"]["content"], "42.");
    assert_eq!(shown["usage"]["total_tokens"], 37);
    assert_eq!(
        body(&upstream, 1)["messages"][2]["content"],
        "{\"result\":42}"
    );
}

#[test]
fn an_answer_without_a_call_is_the_upstreams_to_the_byte() {
    let events = [event("It is "), event("42."), finish("x", "stop"), done()];
    let streaming = upstream(&[stream(&events)]);
    assert_eq!(
        gateway(&streaming, "").chat(STREAMED).text(),
        events.concat()
    );
    let body = r#"{ "id":"x",  "choices":[{"message":{"content":"42"}}] , "odd": 1e2}"#;
    let whole = upstream(&[json_answer(body)]);
    assert_eq!(gateway(&whole, "").chat(WHOLE).text(), body);
}

#[test]
fn a_request_that_wants_no_tools_is_offered_none() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "");
    proxy.chat(r#"{"use_tools":false,"model":"m","messages":[]}"#);
    proxy.exchange(post(
        "/v1/chat/completions",
        &["X-YYChat-Use-Tools: false"],
        WHOLE,
    ));
    proxy.chat(r#"{"model":"m","n":2,"messages":[]}"#);
    proxy.chat(r#"{"model":"m","messages":[],"tool_choice":"none"}"#);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert!(!request.text().contains("calculator"), "{}", request.text());
    }
    let refused = proxy.exchange(post(
        "/v1/chat/completions",
        &["X-YYChat-Use-Tools: perhaps"],
        WHOLE,
    ));
    refused.error(400);
}

#[test]
fn a_persona_decides_which_tools_are_offered_and_a_call_of_another_is_the_clients_to_judge() {
    let upstream = upstream(&[stream(&[
        multiply("a", 0, "call_1"),
        finish("a", "tool_calls"),
        done(),
    ])]);
    let persona = json!({ "id": "p", "name": "p", "system_prompt": "s", "allowed_tools": [] });
    let clock = "name = \"gettime\"\nkind = \"builtin\"\n[[tools]]\nname = \"gettime\"\ndescription = \"d\"\nparameters = \"gettime.json\"\n";
    let schema = include_bytes!("../../plugins/gettime/gettime.json");
    let setup = setup(&upstream);
    std::fs::create_dir(setup.path("plugins/gettime")).expect("a folder");
    let one = json!({ "id": "one", "name": "one", "system_prompt": "s",
        "allowed_tools": [{ "tool_name": "gettime", "description": "Only when asked." }] });
    let proxy = setup
        .file("plugins/gettime/plugin.toml", clock.as_bytes())
        .file("plugins/gettime/gettime.json", schema)
        .file("conf/personalities/p.json", persona.to_string().as_bytes())
        .file("conf/personalities/one.json", one.to_string().as_bytes())
        .start();
    let with = |persona: &str| {
        let body = STREAMED.replacen('{', &format!("{{\"personality_id\":\"{persona}\","), 1);
        proxy.chat(body).text()
    };
    // None are allowed, so nothing is offered and nothing kept from the client.
    assert!(with("p").contains("tool_calls"));
    assert!(body(&upstream, 0)["tools"].is_null());
    // One is allowed, and the model calls the other: nobody runs what was not offered.
    let text = with("one");
    assert!(text.contains("tool_calls"), "{text}");
    let offered = body(&upstream, 1)["tools"].clone();
    assert_eq!(offered.as_array().map(Vec::len), Some(1));
    let description = offered[0]["function"]["description"].as_str();
    assert!(description.is_some_and(|text| text.ends_with("Only when asked.")));
    assert_eq!(upstream.requests().len(), 2);
}

/// A turn with a call for each side, streamed or whole.
fn both_sides() -> [Vec<u8>; 2] {
    let clients = json!({ "tool_calls": [{
        "index": 1, "id": "call_theirs", "type": "function",
        "function": { "name": "their_tool", "arguments": "{}" },
    }]});
    let whole = json!({ "id": "a", "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_ours", "type": "function", "function": {
                "name": "calculator", "arguments": "{\"operation\":\"multiply\",\"a\":6,\"b\":7}" } },
            { "id": "call_theirs", "type": "function", "function": {
                "name": "their_tool", "arguments": "{}" } },
        ],
    }}]});
    [
        stream(&[
            multiply("a", 0, "call_ours"),
            delta("a", clients),
            finish("a", "tool_calls"),
            done(),
        ]),
        json_answer(&whole.to_string()),
    ]
}

#[test]
fn a_turn_with_calls_of_both_sides_goes_on_with_the_clients_next_request() {
    let tools = json!([{ "type": "function", "function": { "name": "their_tool" } }]);
    for (leg, is_stream) in both_sides().into_iter().zip([true, false]) {
        let upstream = upstream(&[leg, json_answer("{}")]);
        let proxy = gateway(&upstream, "");
        let mut request = json!({ "model": "m", "tools": tools, "stream": is_stream,
            "messages": [{ "role": "user", "content": "6*7, and yours?" }] });
        let text = proxy.chat(request.to_string()).text();
        let call = if is_stream {
            let events = events(&text);
            assert_eq!(events.last(), Some(&"[DONE]".into()), "{text}");
            let finished = events
                .iter()
                .map(|event| &event["choices"][0]["finish_reason"]);
            assert_eq!(
                finished.filter(|reason| **reason == "tool_calls").count(),
                1
            );
            let mut calls = events
                .iter()
                .map(|event| event["choices"][0]["delta"]["tool_calls"][0].clone());
            calls
                .find(|call| !call.is_null())
                .expect("the client's call")
        } else {
            let whole: Value = serde_json::from_str(&text).expect("JSON");
            let calls = &whole["choices"][0]["message"]["tool_calls"];
            assert_eq!(calls.as_array().map(Vec::len), Some(1));
            calls[0].clone()
        };
        assert_eq!(
            (&call["id"], &call["function"]["name"]),
            (&"call_theirs".into(), &"their_tool".into())
        );
        assert!(!text.contains("calculator"), "{text}");
        if is_stream {
            assert_eq!(call["index"], 0, "the client counts its own calls alone");
        }
        assert_eq!(upstream.requests().len(), 1);

        let messages = request["messages"].as_array_mut().expect("messages");
        messages.push(
            json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_theirs", "type": "function",
              "function": { "name": "their_tool", "arguments": "{}" } }] }),
        );
        messages
            .push(json!({ "role": "tool", "tool_call_id": "call_theirs", "content": "theirs" }));
        request["stream"] = json!(false);
        proxy.chat(request.to_string());
        let sent = body(&upstream, 1)["messages"].clone();
        let roles: Vec<_> = sent
            .as_array()
            .expect("messages")
            .iter()
            .map(|m| m["role"].clone())
            .collect();
        assert_eq!(roles, ["user", "assistant", "tool", "tool"]);
        let calls = &sent[1]["tool_calls"];
        let ids = (&calls[0]["id"], &calls[1]["id"]);
        assert_eq!(ids, (&"call_ours".into(), &"call_theirs".into()));
        assert_eq!(sent[2]["content"], "theirs");
        assert_eq!(sent[3]["content"], "{\"result\":42}");
        assert_eq!(sent[3]["tool_call_id"], "call_ours");
    }
}

#[test]
fn at_the_bound_the_model_is_asked_once_more_and_may_call_nothing() {
    let call = stream(&[
        multiply("a", 0, "call_1"),
        finish("a", "tool_calls"),
        done(),
    ]);
    let obedient = upstream(&[
        call.clone(),
        call.clone(),
        stream(&[event("Enough."), finish("b", "stop"), done()]),
    ]);
    let text = gateway(&obedient, "[tools]\nmax_rounds = 2")
        .chat(STREAMED)
        .text();
    assert!(text.contains("Enough."), "{text}");
    assert!(body(&obedient, 1)["tool_choice"].is_null());
    let last = body(&obedient, 2);
    assert_eq!(last["tool_choice"], "none");
    assert_eq!(last["tools"], body(&obedient, 1)["tools"]);
    // One that calls even then is an error that says what to do.
    let stubborn = upstream(&[call]);
    let text = gateway(&stubborn, "[tools]\nmax_rounds = 2")
        .chat(STREAMED)
        .text();
    let events = events(&text);
    assert_eq!(events.len(), 1, "{text}");
    assert_eq!(events[0]["error"]["code"], "tool_rounds_exceeded");
    assert_eq!(stubborn.requests().len(), 3);
}

#[test]
fn what_the_model_gets_wrong_it_is_told() {
    let broken = |arguments: &str| {
        let entry = json!({ "tool_calls": [{ "index": 0, "id": "c", "type": "function",
            "function": { "name": "calculator", "arguments": arguments } }] });
        stream(&[delta("a", entry), finish("a", "tool_calls"), done()])
    };
    let upstream = upstream(&[
        broken("{\"operation\": \"add\", \"a\": "),
        broken("{\"operation\":\"fly\",\"a\":1}"),
        broken("{\"operation\":\"divide\",\"a\":1,\"b\":0}"),
        stream(&[event("I see."), finish("b", "stop"), done()]),
    ]);
    let text = gateway(&upstream, "").chat(STREAMED).text();
    assert!(text.contains("I see."), "{text}");
    let messages = body(&upstream, 3)["messages"].clone();
    for (message, part) in [(2, "JSON"), (4, "operation"), (6, "zero")] {
        let told = messages[message]["content"].as_str().unwrap_or_default();
        assert!(told.contains("error") && told.contains(part), "{told}");
    }
}

#[test]
fn an_upstream_that_fails_between_legs_is_an_error_in_the_stream() {
    let refusing = upstream(&[
        stream(&[
            event("Well: "),
            multiply("a", 0, "c"),
            finish("a", "tool_calls"),
            done(),
        ]),
        answer(
            "429 Too Many Requests",
            &["Content-Type: application/json"],
            r#"{"error":{"message":"slow down"}}"#,
        ),
    ]);
    let proxy = gateway(&refusing, "");
    let text = proxy.chat(STREAMED).text();
    assert!(text.starts_with(&event("Well: ")), "{text}");
    let last = events(&text).pop().expect("an event");
    let message = last["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("429") && message.contains("slow down"),
        "{message}"
    );
    // A whole answer is passed on as it is: nothing was sent before it.
    let whole = json!({ "choices": [{ "message": { "tool_calls": [{ "id": "c", "function": {
        "name": "calculator", "arguments": "{}" } }] } }] });
    let refusing = upstream(&[
        json_answer(&whole.to_string()),
        answer("429 Too Many Requests", &["Retry-After: 7"], "no"),
    ]);
    let refused = gateway(&refusing, "").chat(WHOLE);
    assert_eq!((refused.status(), refused.text().as_str()), (429, "no"));
    assert_eq!(refused.head.get("retry-after"), Some("7"));
}

#[test]
fn a_stream_that_breaks_off_within_a_call_is_cut_for_the_client_too() {
    let upstream = upstream(&[stream(&[event("Well: "), multiply("a", 0, "c")])]);
    let proxy = gateway(&upstream, "");
    let mut client = proxy.client();
    client.send(post("/v1/chat/completions", &[], STREAMED));
    let head = client.head();
    let body = client.body(head.framing(true, false).expect("framing"));
    assert!(!body.whole);
    let events = events(&String::from_utf8_lossy(&body.bytes));
    let last = events.last().expect("an event");
    assert_eq!(last["error"]["code"], "upstream_error");
    assert_eq!(
        upstream.requests().len(),
        1,
        "an unfinished call is not run"
    );
}

#[test]
fn tools_are_listed_and_called_by_hand() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "");
    let list: Value =
        serde_json::from_str(&proxy.exchange(get("/v1/tools", &[])).text()).expect("JSON");
    assert_eq!(list["data"][0]["name"], "calculator");
    assert_eq!(list["data"][0]["kind"], "builtin");
    assert_eq!(list["data"][0]["parameters"]["type"], "object");
    let call = |body: &str| proxy.exchange(post("/v1/tools/call", &[], body));
    let done = call(r#"{"tool_name":"calculator","params":{"operation":"pow","a":2,"b":10}}"#);
    let done: Value = serde_json::from_str(&done.text()).expect("JSON");
    assert_eq!(
        done,
        json!({ "success": true, "result": { "result": 1024 } })
    );
    assert_eq!(
        call(r#"{"tool_name":"calculatr"}"#).error(404)["code"],
        "tool_not_found"
    );
    let refused = call(r#"{"tool_name":"calculator","params":{"operation":"pow"}}"#).error(400);
    assert_eq!(refused["param"], "params");
    call("{").error(400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_edited_plugin_takes_effect_and_a_broken_one_leaves_the_last_good() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "");
    let manifest = proxy.root().join("plugins/calculator/plugin.toml");
    std::fs::write(
        &manifest,
        CALCULATOR.replace("kind = \"builtin\"", "kind = \"bultin\""),
    )
    .expect("written");
    let shown = proxy.readyz_says("bultin");
    assert!(shown.contains("plugin.toml"), "{shown}");
    proxy.chat(WHOLE);
    assert_eq!(
        body(&upstream, 0)["tools"][0]["function"]["name"],
        "calculator"
    );
    std::fs::write(
        &manifest,
        CALCULATOR.replace("Computes exactly", "Reckons exactly"),
    )
    .expect("written");
    proxy.readyz_says("generation 2");
    proxy.chat(WHOLE);
    let described = body(&upstream, 1)["tools"][0]["function"]["description"].to_string();
    assert!(described.contains("Reckons"), "{described}");
}

#[test]
fn a_turn_goes_back_with_what_its_upstream_put_into_it() {
    let signed = json!({ "google": { "thought_signature": "c2ln" } });
    let call = json!({ "index": 0, "id": "c", "type": "function", "extra_content": signed,
        "function": { "name": "calculator", "arguments": "" } });
    let streamed = upstream(&[
        stream(&[
            delta(
                "a",
                json!({ "role": "assistant", "reasoning_content": "6 by 7" }),
            ),
            delta("a", json!({ "tool_calls": [call] })),
            finish("a", "tool_calls"),
            done(),
        ]),
        stream(&[event("42"), finish("b", "stop"), done()]),
    ]);
    gateway(&streamed, "").chat(STREAMED);
    let message = json!({ "role": "assistant", "content": null, "reasoning_content": "6 by 7",
        "tool_calls": [call] });
    let whole = json!({ "choices": [{ "message": message, "finish_reason": "tool_calls" }] });
    let whole = upstream(&[json_answer(&whole.to_string()), json_answer("{}")]);
    gateway(&whole, "").chat(WHOLE);
    for upstream in [streamed, whole] {
        let turn = body(&upstream, 1)["messages"][1].clone();
        assert_eq!(turn["reasoning_content"], "6 by 7");
        assert_eq!(turn["tool_calls"][0]["extra_content"], signed);
        assert_eq!(turn["tool_calls"][0]["function"]["arguments"], "{}");
    }
}

#[test]
fn an_answer_that_runs_into_its_limit_within_a_call_ends_there() {
    let entry = json!({ "tool_calls": [{ "index": 0, "id": "c", "type": "function",
        "function": { "name": "calculator", "arguments": "{\"operation\":" } }] });
    let streamed = upstream(&[stream(&[
        event("Well: "),
        delta("a", entry),
        finish("a", "length"),
        done(),
    ])]);
    let text = gateway(&streamed, "").chat(STREAMED).text();
    let events = events(&text);
    assert_eq!(events.len(), 3, "{text}");
    assert_eq!(events[1]["choices"][0]["finish_reason"], "length");
    let message = json!({ "role": "assistant", "content": "Well:", "tool_calls": [
        { "id": "c", "function": { "name": "calculator", "arguments": "{\"operation\":" } }] });
    let whole = json!({ "choices": [{ "message": message, "finish_reason": "length" }] });
    let whole = upstream(&[json_answer(&whole.to_string())]);
    let answer: Value =
        serde_json::from_str(&gateway(&whole, "").chat(WHOLE).text()).expect("JSON");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["choices"][0]["message"]["tool_calls"], Value::Null);
    for upstream in [streamed, whole] {
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[test]
fn what_anothers_tools_gave_stays_anothers() {
    let tools = json!([{ "type": "function", "function": { "name": "their_tool" } }]);
    let [leg, _] = both_sides();
    // The upstream numbers the calls of everybody alike.
    let upstream = upstream(&[leg.clone(), json_answer("{}")]);
    let proxy = gateway(&upstream, "");
    let ask = |user: &str, text: &str| {
        json!({ "model": "m", "user": user, "tools": tools, "stream": true,
            "messages": [{ "role": "user", "content": text }] })
    };
    proxy.chat(ask("ann", "my salary times seven?").to_string());
    let go_on = |user: &str, text: &str| {
        let mut request = ask(user, text);
        let messages = request["messages"].as_array_mut().expect("messages");
        messages.push(
            json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_theirs", "type": "function",
              "function": { "name": "their_tool", "arguments": "{}" } }] }),
        );
        messages.push(json!({ "role": "tool", "tool_call_id": "call_theirs", "content": "t" }));
        request.to_string()
    };
    for (user, text, comes_back) in [
        ("ben", "my salary times seven?", false),
        ("ben", "hello", false),
        ("ann", "hello", false),
        ("ann", "my salary times seven?", true),
    ] {
        proxy.chat(go_on(user, text));
        let last = upstream.requests().len() - 1;
        let sent = body(&upstream, last)["messages"].to_string();
        assert_eq!(sent.contains("call_ours"), comes_back, "{user}: {text}");
        let preview = post("/v1/preview", &[], go_on(user, text));
        let preview = proxy.exchange(preview).text();
        assert_eq!(preview.contains("call_ours"), comes_back, "{user}: {text}");
    }
}
