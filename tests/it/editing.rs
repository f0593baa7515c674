//! What the page edits: a personality's file; and a memory as a whole.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::{Client, Response, get};
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

const ANSWER: &str = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Noted."}}],"usage":{"prompt_tokens":1000,"completion_tokens":100}}"#;
const KEY: &str = "admin-key-0123456789";

fn setup(upstream: &Upstream) -> Setup {
    Setup::new()
        .env("YYCHAT_ADMIN_KEY", KEY)
        .upstream(upstream, "")
        .persona("ada", "You are Ada.")
}

/// A request to the admin listener, with its key.
fn admin(proxy: &Proxy, method: &str, path: &str, body: &str) -> Response {
    let (address, length) = (proxy.admin, body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    Client::connect(address).exchange(request)
}

fn value(response: &Response) -> Value {
    serde_json::from_slice(&response.body).expect("JSON")
}

fn shown(proxy: &Proxy, id: &str) -> Value {
    let shown = admin(proxy, "GET", &format!("/personalities/{id}"), "");
    assert_eq!(shown.status(), 200, "{}", shown.text());
    value(&shown)
}

fn edited(proxy: &Proxy, id: &str, text: &str, sha256: &Value) -> Response {
    let body = json!({ "text": text, "sha256": sha256 }).to_string();
    admin(proxy, "PUT", &format!("/personalities/{id}"), &body)
}

/// The system prompt that a chat with it gets.
fn prompt(proxy: &Proxy, upstream: &Upstream, id: &str) -> String {
    let asked = chat(
        &[&format!("X-YYChat-Personality: {id}")],
        r#"{"messages":[]}"#,
    );
    let answer = proxy.exchange(asked);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    upstream.requests().pop().expect("a request").text()
}

#[test]
fn a_personality_is_edited_and_in_force_at_once() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let before = shown(&proxy, "ada");
    assert!(before["text"].as_str().unwrap().contains("You are Ada."));
    let done = edited(
        &proxy,
        "ada",
        r#"{"system_prompt":"You are Grace."}"#,
        &before["sha256"],
    );
    assert_eq!(done.status(), 200, "{}", done.text());
    let done = value(&done);
    assert_eq!(
        (&done["generation"], &done["faults"]),
        (&json!(2), &json!([]))
    );
    assert!(prompt(&proxy, &upstream, "ada").contains("You are Grace."));
    assert_eq!(shown(&proxy, "ada")["sha256"], done["sha256"]);
    // Who edits what was there before writes over somebody's work.
    let late = edited(
        &proxy,
        "ada",
        r#"{"system_prompt":"Late"}"#,
        &before["sha256"],
    );
    assert_eq!(late.error(409)["code"], "personality_changed");
    // What would be none is not written.
    let file = proxy.root().join("conf/personalities/ada.json");
    let good = fs::read_to_string(&file).unwrap();
    let broken = edited(&proxy, "ada", "{\n\"system_prompt\":", &done["sha256"]).error(400);
    let message = broken["message"].as_str().unwrap();
    assert!(message.contains("ada.json:2: "), "{message}");
    assert_eq!(fs::read_to_string(&file).unwrap(), good);
    for name in fs::read_dir(file.parent().unwrap()).unwrap() {
        assert_eq!(name.unwrap().file_name(), "ada.json");
    }
}

#[test]
fn a_broken_file_is_seen_and_mended() {
    let upstream = Upstream::ok();
    let setup = setup(&upstream).file("conf/personalities/bob.json", b"{\n\"system_prompt\": 1}");
    let proxy = setup.start();
    let status = value(&admin(&proxy, "GET", "/status", ""));
    let ids = status["personalities"].as_array().unwrap().iter();
    let ids: Vec<_> = ids
        .map(|it| (it["id"].clone(), it["is_broken"].clone()))
        .collect();
    assert_eq!(
        ids,
        [(json!("ada"), json!(null)), (json!("bob"), json!(true))]
    );
    let broken = shown(&proxy, "bob");
    assert!(
        broken["fault"].as_str().unwrap().contains("bob.json"),
        "{broken}"
    );
    let mended = edited(
        &proxy,
        "bob",
        r#"{"system_prompt":"You are Bob."}"#,
        &broken["sha256"],
    );
    assert_eq!(mended.status(), 200, "{}", mended.text());
    assert!(prompt(&proxy, &upstream, "bob").contains("You are Bob."));
    admin(&proxy, "GET", "/personalities/nobody", "").error(404);
}

#[test]
fn what_comes_with_the_program_is_shown_and_not_edited() {
    let upstream = Upstream::ok();
    let shipped = yychat::shipped::folder("conf/personalities");
    let setup = Setup::new()
        .env("YYCHAT_ADMIN_KEY", KEY)
        .upstream(&upstream, "")
        .set("personality.dir", &shipped.to_string_lossy());
    let proxy = setup.start();
    let shown = shown(&proxy, "friendly");
    let why = shown["read_only"].as_str().unwrap();
    assert!(why.contains("yychat init"), "{why}");
    let refused = edited(&proxy, "friendly", "{}", &json!("")).error(409);
    assert_eq!(refused["code"], "personality_read_only");
}

#[test]
fn users_are_listed_and_a_memory_goes_out_and_comes_back() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("one", "one-key-0123456789", "one")
        .key("two", "two-key-0123456789", "two")
        .start();
    let (one, two) = (
        "Authorization: Bearer one-key-0123456789",
        "Authorization: Bearer two-key-0123456789",
    );
    for (user, text) in [("bo", "a"), ("ann", "b"), ("ann", "c"), ("cy", "d")] {
        let body = json!({ "user_id": user, "text": text }).to_string();
        assert_eq!(
            proxy.exchange(post("/v1/memories", &[one], body)).status(),
            201
        );
    }
    let users = |key: &str, query: &str| {
        let listed = proxy.exchange(get(&format!("/v1/memories/users{query}"), &[key]));
        assert_eq!(listed.status(), 200, "{}", listed.text());
        value(&listed)
    };
    let first = users(one, "?limit=2");
    let known = json!([{ "user_id": "ann", "records": 2 }, { "user_id": "bo", "records": 1 }]);
    assert_eq!(
        (&first["data"], &first["next_cursor"]),
        (&known, &json!("bo"))
    );
    let rest = users(one, "?limit=2&cursor=bo");
    assert_eq!(rest["data"], json!([{ "user_id": "cy", "records": 1 }]));
    assert_eq!(
        (&rest["has_more"], &rest["next_cursor"]),
        (&json!(false), &json!(null))
    );
    // Nobody else's.
    assert_eq!(users(two, "")["data"], json!([]));
    let exported = proxy.exchange(get("/v1/memories/export", &[one])).text();
    let imported = proxy.exchange(post("/v1/memories/import", &[two], &exported));
    assert_eq!(value(&imported), json!({ "imported": 4 }));
    assert_eq!(users(two, "")["data"].as_array().unwrap().len(), 3);
    // The lines name the tenant that they came from, and change nothing there.
    assert_eq!(
        proxy.exchange(get("/v1/memories/export", &[one])).text(),
        exported
    );
    let odd = proxy.exchange(post("/v1/memories/import", &[two], "\u{feff}\n{\"text\":}"));
    let message = odd.error(400)["message"].to_string();
    assert!(message.contains("Line 2 is no record"), "{message}");
}

#[test]
fn a_request_is_known_by_its_user_and_by_what_it_cost() {
    let upstream = Upstream::answering(json_answer(ANSWER));
    let setup = Setup::new().upstream(&upstream, "");
    let setup = setup.file(
        "conf/prices.toml",
        b"[[prices]]\nmodel = \"dear-*\"\ninput = 10.0\noutput = 50.0\n",
    );
    let proxy = setup.start();
    for model in ["dear-one", "free-one"] {
        let body = json!({ "model": model, "user": "ada", "messages": [] }).to_string();
        assert_eq!(proxy.exchange(chat(&[], body)).status(), 200);
    }
    let recent = eventually("both are told of", || {
        let recent = value(&proxy.exchange(get("/v1/performance/recent", &[])));
        let chats = recent["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["route"] == "chat");
        let chats: Vec<_> = chats.cloned().collect();
        (chats.len() == 2).then_some(chats)
    });
    let told = |model: &str| recent.iter().find(|it| it["model"] == model).unwrap();
    assert_eq!(told("dear-one")["usd"], 0.015);
    assert_eq!(told("free-one")["usd"], Value::Null);
    assert_eq!(told("dear-one")["user"], "ada");
}
