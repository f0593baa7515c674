//! Blocks of memory that stay where they stood, so that what an upstream is sent only grows.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::client::Response;
use crate::support::{Client, Proxy, Setup, Upstream, chat, eventually, post};

const CAT: &str = "My cat is called Pixel.";
const TRAIN: &str = "The train to Lisbon leaves at seven.";
const ORCHIDS: &str = "Grandmother grows orchids.";

/// Questions that recall one of these each, in turn.
const QUESTIONS: [&str; 3] = [
    "What is my cat called?",
    "When does the train to Lisbon leave?",
    "What does grandmother grow?",
];

/// A gateway that remembers these of Ada; no turn of the test's own is saved, which keeps it from
/// being recalled or not as chance has it.
fn remembering(upstream: &Upstream, more: &str, config: &str) -> Proxy {
    let setup = Setup::new().upstream(upstream, more).config(config);
    let proxy = setup.set("memory.save", "off").start();
    for text in [CAT, TRAIN, ORCHIDS] {
        remember(&proxy, text);
    }
    proxy
}

fn remember(proxy: &Proxy, text: &str) -> String {
    let record = json!({ "user_id": "ada", "text": text }).to_string();
    let stored = proxy.exchange(post("/v1/memories", &[], record));
    assert_eq!(stored.status(), 201, "{}", stored.text());
    let stored: Value = serde_json::from_str(&stored.text()).expect("JSON");
    stored["id"].as_str().expect("an id").to_owned()
}

/// The chat with this many questions, the last one yet to be answered.
fn body(questions: usize) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": "Be brief." })];
    for question in &QUESTIONS[..questions] {
        messages.push(json!({ "role": "user", "content": question }));
        messages.push(json!({ "role": "assistant", "content": "hello" }));
    }
    messages.pop();
    json!({ "model": "m", "user": "ada", "messages": messages })
}

/// Asks, and gives what `x-yychat-memory` says.
fn ask(proxy: &Proxy, body: &Value) -> String {
    let answer = proxy.chat(body.to_string());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let said = answer.head.get("x-yychat-memory").expect("the header");
    said.to_owned()
}

/// The messages that the upstream was sent last.
fn sent(upstream: &Upstream) -> Vec<Value> {
    let request = upstream.requests().pop().expect("a request");
    let mut body: Value = serde_json::from_slice(&request.body).expect("JSON");
    serde_json::from_value(body["messages"].take()).expect("a list")
}

/// How often a text stands in messages.
fn count(messages: &[Value], text: &str) -> usize {
    let all = Value::from(messages.to_vec()).to_string();
    all.matches(text).count()
}

#[test]
fn what_was_sent_stays_the_beginning_of_what_is_sent_later() {
    for more in ["", "strict_roles = true"] {
        for memory in ["full", "readonly"] {
            let upstream = Upstream::ok();
            let proxy = remembering(&upstream, more, "");
            let mut before = Vec::new();
            for questions in 1..=3 {
                let mut body = body(questions);
                body["memory"] = memory.into();
                let said = ask(&proxy, &body);
                let messages = sent(&upstream);
                assert_eq!(messages[..before.len()], before, "{more}");
                let earlier = said.split_once(";earlier_bytes=").map(|(_, bytes)| bytes);
                assert_eq!(earlier.is_some(), questions > 1, "{said}");
                before = messages;
            }
            for text in [CAT, TRAIN, ORCHIDS] {
                assert_eq!(count(&before, text), 1, "{text} in {before:?}");
            }
        }
    }
}

#[test]
fn a_preview_tells_what_stands_since_when_and_leaves_no_trace() {
    let upstream = Upstream::ok();
    let proxy = remembering(&upstream, "", "");
    let preview = |body: &Value| -> Value {
        let answer = proxy.exchange(post("/v1/preview", &[], body.to_string()));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_str(&answer.text()).expect("JSON")
    };
    ask(&proxy, &body(1));
    let previews = [preview(&body(2)), preview(&body(2))];
    ask(&proxy, &body(2));
    let digest = upstream.requests().pop().expect("a request").body;
    let digest = format!("{:x}", Sha256::digest(digest));
    for preview in &previews {
        assert_eq!(preview["sha256"], digest);
        let insertions = preview["insertions"].as_array().expect("a list");
        let memory = insertions.iter().filter(|it| it["source"] == "memory");
        let [first, second] = memory.collect::<Vec<_>>()[..] else {
            panic!("not two blocks in {insertions:?}");
        };
        let text = |insertion: &Value| insertion["text"].to_string();
        assert!(text(first).contains(CAT) && text(second).contains(TRAIN));
        assert_eq!(
            (&first["why"]["earlier"], &second["why"]["earlier"]),
            (&json!(true), &json!(false))
        );
        for (insertion, fact) in [(first, CAT), (second, TRAIN)] {
            let records = preview["memory"]["records"].as_array().expect("a list");
            let record = records.iter().find(|record| record["text"] == fact);
            let ids = insertion["why"]["records"].as_array().expect("a list");
            // The one that stands since earlier need not be found again.
            if let Some(record) = record {
                assert_eq!(record["injected"], true);
                assert!(ids.contains(&record["id"]), "{insertion}");
            }
        }
    }
    // A request that was only previewed has put nothing anywhere.
    let mut other = body(2);
    other["messages"][0]["content"] = "Be verbose.".into();
    preview(&other);
    other["messages"]
        .as_array_mut()
        .expect("a list")
        .truncate(2);
    preview(&other);
    let mut again = body(2);
    again["messages"][0]["content"] = "Be verbose.".into();
    assert!(!ask(&proxy, &again).contains("earlier_bytes"));
}

#[test]
fn what_is_deleted_or_changed_stands_nowhere_from_then_on() {
    let upstream = Upstream::ok();
    let proxy = remembering(&upstream, "", "memory.recall_limit = 1");
    let delete = |path: &str| {
        let request = format!("DELETE {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        assert_eq!(proxy.exchange(request).status(), 200);
    };
    let secret = remember(&proxy, "The secret word for my cat is sardine.");
    let mut first = body(1);
    first["messages"][1]["content"] = "What is the secret word for my cat?".into();
    let mut later = body(3);
    later["messages"][1] = first["messages"][1].clone();
    ask(&proxy, &first);
    assert_eq!(count(&sent(&upstream), "sardine"), 1);
    ask(&proxy, &later);
    assert_eq!(count(&sent(&upstream), "sardine"), 1);

    let change = json!({ "text": "The secret word for my cat is herring." }).to_string();
    let request = format!(
        "PUT /v1/memories/{secret} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n\r\n{change}",
        change.len()
    );
    assert_eq!(proxy.exchange(request).status(), 200);
    ask(&proxy, &later);
    assert_eq!(count(&sent(&upstream), "sardine"), 0);

    ask(&proxy, &first);
    ask(&proxy, &later);
    assert_eq!(count(&sent(&upstream), "herring"), 1);
    delete(&format!("/v1/memories/{secret}"));
    ask(&proxy, &later);
    assert_eq!(count(&sent(&upstream), "herring"), 0);
    assert_eq!(count(&sent(&upstream), ORCHIDS), 1);

    ask(&proxy, &body(1));
    ask(&proxy, &body(2));
    assert_eq!(count(&sent(&upstream), CAT), 1);
    delete("/v1/memories?user_id=ada");
    ask(&proxy, &body(3));
    assert_eq!(count(&sent(&upstream), "<memory>"), 0);
}

#[test]
fn blocks_stay_as_far_as_they_have_room() {
    for (room, blocks) in [(0, 1), (400, 2), (800, 3)] {
        let upstream = Upstream::ok();
        let config = format!("memory.earlier_bytes = {room}\nmemory.recall_limit = 1");
        let proxy = remembering(&upstream, "", &config);
        for questions in 1..=3 {
            ask(&proxy, &body(questions));
        }
        // Each has about 250 bytes. What had no room was there for its own question alone, and
        // what stood before it stands still.
        let messages = sent(&upstream);
        assert_eq!(count(&messages, "<memory>"), blocks, "{room}");
        assert_eq!(count(&messages, CAT), usize::from(room > 0));
        assert_eq!(count(&messages, ORCHIDS), 1);
    }
}

#[test]
fn what_tools_of_the_client_gave_does_not_move_the_block_of_their_question() {
    let upstream = Upstream::ok();
    let proxy = remembering(&upstream, "", "memory.recall_limit = 1");
    let mut body = body(1);
    ask(&proxy, &body);
    let before = sent(&upstream);
    remember(
        &proxy,
        "My cat is called Pixel; called so is my cat, my cat is.",
    );
    let call =
        json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let messages = body["messages"].as_array_mut().expect("a list");
    messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
    messages.push(json!({ "role": "tool", "tool_call_id": "1", "content": "42" }));
    ask(&proxy, &body);
    assert_eq!(sent(&upstream)[..before.len()], before);
    assert_eq!(count(&sent(&upstream), "<memory>"), 1);
}

#[test]
fn a_question_is_asked_anew_and_its_latest_block_is_the_one_that_stays() {
    let upstream = Upstream::ok();
    let proxy = remembering(&upstream, "", "memory.recall_limit = 1");
    ask(&proxy, &body(1));
    let newer = "My cat is called Voxel: called so is my cat.";
    remember(&proxy, newer);
    ask(&proxy, &body(1));
    let asked = sent(&upstream);
    assert_eq!((count(&asked, CAT), count(&asked, newer)), (0, 1));
    ask(&proxy, &body(2));
    assert_eq!(sent(&upstream)[..asked.len()], asked);
}

#[test]
fn an_answer_that_repeats_an_earlier_block_is_not_stored() {
    let upstream = Upstream::answering(crate::support::upstream::json_answer(
        &crate::support::upstream::COMPLETION.replace("hello", CAT),
    ));
    let proxy = Proxy::before(&upstream);
    remember(&proxy, CAT);
    ask(&proxy, &body(1));
    ask(&proxy, &body(2));
    let list = eventually("both questions are saved", || {
        let list = Client::connect(proxy.api)
            .exchange(crate::support::client::get("/v1/memories?user_id=ada", &[]));
        let saved = |list: &Response| QUESTIONS[..2].iter().all(|it| list.text().contains(it));
        saved(&list).then(|| list.text())
    });
    assert_eq!(list.matches(CAT).count(), 1, "{list}");
}

#[test]
fn a_block_stands_for_its_own_user_and_at_the_tail_alone() {
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .upstream(&upstream, "")
        .key("a", "key-of-the-first-app", "acme")
        .key("b", "key-of-another-app", "other");
    let proxy = setup.start();
    let one = "Authorization: Bearer key-of-the-first-app";
    let another = "Authorization: Bearer key-of-another-app";
    let send = |request: Vec<u8>| {
        let answer = proxy.exchange(request);
        assert!(answer.status() < 300, "{}", answer.text());
    };
    let record = json!({ "user_id": "ada", "text": CAT }).to_string();
    send(post("/v1/memories", &[one], record));
    send(chat(&[one], body(1).to_string()));
    assert_eq!(count(&sent(&upstream), CAT), 1);
    for (fields, times) in [
        (&[another][..], 0),
        (&[one, "X-YYChat-User-Id: bob"], 0),
        (&[one, "X-YYChat-Memory: off"], 0),
        (&[one], 1),
    ] {
        send(chat(fields, body(2).to_string()));
        assert_eq!(count(&sent(&upstream), CAT), times, "{fields:?}");
    }
}
