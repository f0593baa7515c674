//! Which words of a request are the user's newest, and so are kept.

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, chat, eventually};

const ANSWER: &str = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Noted."}}]}"#;

/// What is kept of a user, in the order in which it was said.
fn kept(proxy: &Proxy, user: &str) -> Vec<String> {
    let listed = proxy.exchange(get(&format!("/v1/memories?user_id={user}"), &[]));
    let listed: Value = serde_json::from_slice(&listed.body).expect("JSON");
    let records = listed["data"].as_array().expect("records").iter().rev();
    let texts = records.map(|record| record["text"].as_str().expect("a text").to_owned());
    texts.collect()
}

fn said(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

#[test]
fn what_the_user_said_is_kept_whatever_stands_behind_it_that_is_no_turn() {
    let upstream = Upstream::answering(json_answer(ANSWER));
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .set("memory.save", "user")
        .start();
    let fact = said("user", "My cat is called Pixel.");
    for (user, behind) in [
        // aider, and front ends with instructions at the end.
        (
            "instructed",
            vec![said("system", "# Rules: answer in blocks.")],
        ),
        (
            "told",
            vec![
                said("developer", "Be brief."),
                said("system", "In English."),
            ],
        ),
        // What the answer is to begin with.
        ("begun", vec![said("assistant", "Noted: ")]),
    ] {
        let messages = [vec![said("system", "You help."), fact.clone()], behind].concat();
        let body = json!({ "user": user, "messages": messages }).to_string();
        assert_eq!(proxy.exchange(chat(&[], body)).status(), 200);
        eventually("it is kept", || {
            (kept(&proxy, user) == ["My cat is called Pixel."]).then_some(())
        });
    }
    // What a tool gave for it is no turn of the user's: nothing is kept anew.
    let call =
        json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let calls = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
    let result = json!({ "role": "tool", "tool_call_id": "c", "content": "7" });
    let messages = json!([fact, calls, result, said("system", "Be brief.")]);
    let body = json!({ "user": "answered", "messages": messages }).to_string();
    assert_eq!(proxy.exchange(chat(&[], body)).status(), 200);
    let body = json!({ "user": "answered", "messages": [said("user", "My dog is called Bruno.")] });
    assert_eq!(proxy.exchange(chat(&[], body.to_string())).status(), 200);
    eventually("the later one is kept", || {
        (!kept(&proxy, "answered").is_empty()).then_some(())
    });
    assert_eq!(kept(&proxy, "answered"), ["My dog is called Bruno."]);
}
