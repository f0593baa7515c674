//! Several gateways that share a store: any of them goes on with a turn, and one that cannot count
//! does not start.

use std::sync::Arc;

use serde_json::{Value, json};
use yychat::server::{self, Bound, Signals};

use crate::support::client::get;
use crate::support::upstream::json_answer;
use crate::support::valkey;
use crate::support::{Proxy, Setup, Upstream, post};

const AUTHORIZED: &str = "Authorization: Bearer gateway-key-of-app";

fn gateway(upstreams: &[&Upstream], valkey: &valkey::Server) -> Setup {
    let mut setup = Setup::new();
    for upstream in upstreams {
        setup = setup.upstream(upstream, "");
    }
    setup
        .calculator()
        .key("app", "gateway-key-of-app", "acme")
        .config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"")
        .env("VALKEY_URL", &valkey.url())
}

fn ask(proxy: &Proxy, path: &str, body: &Value) -> Value {
    let fields = ["Content-Type: application/json", AUTHORIZED];
    let answer = proxy.exchange(post(path, &fields, body.to_string()));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

#[test]
fn a_turn_with_calls_of_both_sides_goes_on_at_another_gateway() {
    let call = |id: &str, name: &str, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "id": id, "type": "function", "function": function })
    };
    let calls = [
        call(
            "ours",
            "calculator",
            r#"{"operation":"multiply","a":6,"b":7}"#,
        ),
        call("theirs", "their_tool", "{}"),
    ];
    let message = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    let choice = json!({ "index": 0, "finish_reason": "tool_calls", "message": message });
    let leg = json!({ "id": "a", "choices": [choice] });
    let upstream = Upstream::answering(json_answer(&leg.to_string()));
    let valkey = valkey::Server::start();
    let [one, other] = [(); 2].map(|()| gateway(&[&upstream], &valkey).start());
    let tools = json!([{ "type": "function", "function": { "name": "their_tool" } }]);
    let mut request = json!({ "model": "m", "tools": tools, "user": "ann",
        "messages": [{ "role": "user", "content": "6*7, and yours?" }] });
    let answer = ask(&one, "/v1/chat/completions", &request);
    let said = answer["choices"][0]["message"].clone();
    assert_eq!(
        said["tool_calls"].as_array().map(Vec::len),
        Some(1),
        "{said}"
    );
    let result = json!({ "role": "tool", "tool_call_id": "theirs", "content": "from them" });
    let messages = request["messages"].as_array_mut().expect("messages");
    messages.extend([said, result]);
    ask(&other, "/v1/chat/completions", &request);
    let sent: Value = serde_json::from_str(&upstream.requests()[1].text()).expect("JSON");
    let results = sent["messages"].as_array().expect("messages").iter();
    let results: Vec<_> = results
        .filter(|message| message["role"] == "tool")
        .map(|message| (&message["tool_call_id"], &message["content"]))
        .collect();
    assert_eq!(results[0], (&"theirs".into(), &"from them".into()));
    assert_eq!(results[1].0, "ours");
    assert!(results[1].1.to_string().contains("42"), "{results:?}");
    // For somebody else it is another turn.
    request["user"] = "ben".into();
    ask(&other, "/v1/chat/completions", &request);
    let sent = upstream.requests()[2].text();
    assert!(!sent.contains("42"), "{sent}");
}

#[test]
fn a_response_is_gone_on_with_where_it_was_made_whichever_gateway_is_asked() {
    let response = |name: &str| {
        let answer = json!({ "id": format!("resp_of_{name}"), "object": "response", "output": [] });
        Upstream::answering(json_answer(&answer.to_string()))
    };
    let upstreams = [response("first"), response("second")];
    let valkey = valkey::Server::start();
    let served = |model: &str| format!("models = [\"{model}\", \"m\"]");
    let gateway = || {
        let [first, second] = &upstreams;
        Setup::new()
            .upstream(first, &served("of-first"))
            .upstream(second, &served("of-second"))
            .key("app", "gateway-key-of-app", "acme")
            .config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"")
            .env("VALKEY_URL", &valkey.url())
            .start()
    };
    let [one, other] = [gateway(), gateway()];
    let made = ask(
        &one,
        "/v1/responses",
        &json!({ "model": "of-second", "input": "hi" }),
    );
    assert_eq!(made["id"], "resp_of_second");
    let next = json!({ "model": "m", "input": "and?", "previous_response_id": "resp_of_second" });
    ask(&other, "/v1/responses", &next);
    assert_eq!(upstreams[1].requests().len(), 2);
    let told = other.exchange(get("/v1/responses/resp_of_second", &[AUTHORIZED]));
    assert_eq!(told.status(), 200);
    assert_eq!(upstreams[0].requests().len(), 0);
}

#[test]
fn a_store_that_refuses_keeps_the_gateway_from_starting() {
    let upstream = Upstream::ok();
    let valkey = valkey::Server::with(&["--requirepass", "secret"]);
    let setup = gateway(&[&upstream], &valkey);
    let (store, _) = setup.open().expect("a configuration that loads");
    let bound = Bound::bind(&store.load().config.server).expect("free ports");
    let run = server::run(Arc::new(store), bound, Arc::new(Signals::new()));
    let fault = run.expect_err("it could count nowhere").to_string();
    assert!(fault.contains("shared.url"), "{fault}");
    assert!(!fault.contains("redis+unix"), "{fault}");
}
