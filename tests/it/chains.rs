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
    for (text, before, chain) in [
        ("The first drawer holds stamps.", "", "resp_1"),
        ("The second drawer holds string.", "resp_1", "resp_1"),
        ("The third drawer holds candles.", "resp_2", "resp_1"),
        // Another branch of the same, and a chain of its own.
        ("The fourth drawer holds buttons.", "resp_1", "resp_1"),
        ("The garden has a shed.", "", "resp_5"),
        ("A spade leans on the wall.", "resp_5", "resp_5"),
        // Where the gateway has not seen the first.
        ("The attic has a trunk.", "resp_of_before", "resp_of_before"),
        ("Its lock is broken.", "resp_7", "resp_of_before"),
    ] {
        let before = Some(before).filter(|before| !before.is_empty());
        ask(
            &proxy,
            &json!({ "input": text, "previous_response_id": before }),
        );
        assert_eq!(conversation(&proxy, text), chain, "{text}");
    }
}

#[test]
fn what_names_a_conversation_comes_before_the_chain_and_what_caches_go_by_behind_it() {
    let upstream = upstream();
    let proxy = Setup::new().upstream(&upstream, "").start();
    for (text, members, named) in [
        (
            "The first drawer holds stamps.",
            json!({ "prompt_cache_key": "app" }),
            "app",
        ),
        (
            "The second drawer holds string.",
            json!({ "prompt_cache_key": "other", "previous_response_id": "resp_1" }),
            "app",
        ),
        (
            "The third drawer holds candles.",
            json!({ "conversation": { "id": "conv_1" } }),
            "conv_1",
        ),
        (
            "The fourth drawer holds buttons.",
            json!({ "conversation": "conv_1" }),
            "conv_1",
        ),
        (
            "The fifth drawer holds thread.",
            json!({ "conversation_id": "mine", "previous_response_id": "resp_2" }),
            "mine",
        ),
        (
            "The sixth drawer holds wax.",
            json!({ "previous_response_id": 7 }),
            "resp_6",
        ),
    ] {
        let mut members = members;
        members["input"] = text.into();
        ask(&proxy, &members);
        assert_eq!(conversation(&proxy, text), named, "{text}");
    }
}
