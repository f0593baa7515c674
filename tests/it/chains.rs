//! Responses that are gone on with by their ids: all turns of a chain are one conversation.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, eventually, post};

const FIELDS: [&str; 2] = ["Content-Type: application/json", "X-YYChat-User-Id: ann"];

/// An upstream whose responses are counted: `resp_1`, `resp_2`, …
fn upstream() -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |visit| {
        while visit.request().is_some() {
            let id = format!("resp_{}", count.fetch_add(1, Ordering::Relaxed) + 1);
            let message = json!({ "type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": "Noted.", "annotations": [] }] });
            let answer = json!({ "id": id, "object": "response", "status": "completed", "model": "m",
                "output": [message] });
            visit.send(json_answer(&answer.to_string()));
        }
    })
}

fn ask(proxy: &Proxy, members: &Value) {
    let mut body = json!({ "model": "m" });
    let fields = members.as_object().expect("members").clone();
    body.as_object_mut().expect("an object").extend(fields);
    let answer = proxy.exchange(post("/v1/responses", &FIELDS, body.to_string()));
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// The conversation of the record that holds this.
fn conversation(proxy: &Proxy, text: &str) -> Value {
    eventually("it is remembered", || {
        let list = proxy.exchange(get(
            "/v1/memories?user_id=ann&limit=100",
            &["Connection: close"],
        ));
        let list: Value = serde_json::from_slice(&list.body).expect("JSON");
        let records = list["data"].as_array().expect("a list").iter();
        let mut records = records.filter(|record| record["role"] == "user");
        let found = records.find(|it| it["text"].as_str().is_some_and(|it| it.contains(text)));
        found.map(|record| record["conversation_id"].clone())
    })
}

#[test]
fn a_chain_of_responses_is_one_conversation() {
    let upstream = upstream();
    let proxy = Setup::new().upstream(&upstream, "").start();
    let gone_on = |text: &str, before: &str| {
        ask(
            &proxy,
            &json!({ "input": text, "previous_response_id": before }),
        );
    };
    ask(
        &proxy,
        &json!({ "input": "The first drawer holds stamps." }),
    );
    gone_on("The second drawer holds string.", "resp_1");
    gone_on("The third drawer holds candles.", "resp_2");
    // Another branch of the same, and a chain of its own.
    gone_on("The fourth drawer holds buttons.", "resp_1");
    ask(&proxy, &json!({ "input": "The garden has a shed." }));
    gone_on("The shed has a spade.", "resp_5");
    // Where the gateway has not seen the first.
    gone_on("The attic has a trunk.", "resp_of_before");
    gone_on("The trunk has a lock.", "resp_7");
    for (text, chain) in [
        ("stamps", "resp_1"),
        ("string", "resp_1"),
        ("candles", "resp_1"),
        ("buttons", "resp_1"),
        ("shed.", "resp_5"),
        ("spade", "resp_5"),
        ("attic", "resp_of_before"),
        ("lock", "resp_of_before"),
    ] {
        assert_eq!(conversation(&proxy, text), chain, "{text}");
    }
}

#[test]
fn what_names_a_conversation_comes_before_the_chain_and_what_caches_go_by_behind_it() {
    let upstream = upstream();
    let proxy = Setup::new().upstream(&upstream, "").start();
    ask(
        &proxy,
        &json!({ "input": "The first drawer holds stamps.", "prompt_cache_key": "app" }),
    );
    ask(
        &proxy,
        &json!({ "input": "The second drawer holds string.", "prompt_cache_key": "other",
        "previous_response_id": "resp_1" }),
    );
    ask(
        &proxy,
        &json!({ "input": "The third drawer holds candles.", "conversation": { "id": "conv_1" } }),
    );
    ask(
        &proxy,
        &json!({ "input": "The fourth drawer holds buttons.", "conversation": "conv_1" }),
    );
    ask(
        &proxy,
        &json!({ "input": "The fifth drawer holds thread.", "conversation_id": "mine",
        "previous_response_id": "resp_2" }),
    );
    ask(
        &proxy,
        &json!({ "input": "The sixth drawer holds wax.", "previous_response_id": 7 }),
    );
    for (text, named) in [
        ("stamps", "app"),
        ("string", "app"),
        ("candles", "conv_1"),
        ("buttons", "conv_1"),
        ("thread", "mine"),
        ("wax", "resp_6"),
    ] {
        assert_eq!(conversation(&proxy, text), named, "{text}");
    }
}
