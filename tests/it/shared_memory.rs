//! Gateways that share a memory in PostgreSQL.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support::postgres::Server;
use super::support::upstream::json_answer;
use super::support::{Proxy, Setup, Upstream, eventually, post};

const ANSWER: &str = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"I shall keep it in mind."}}]}"#;

fn gateway(server: &Server, upstream: &Upstream) -> Setup {
    Setup::new()
        .upstream(upstream, "")
        .set("memory.store", "postgres")
        .config("[memory]\nurl = { env = \"DATABASE_URL\" }\nrecall_deadline = \"10s\"")
        .env("DATABASE_URL", &server.url("postgres"))
}

/// What the answer says of memory; `mode` is the request's.
fn chat(proxy: &Proxy, mode: &str, conversation: &str, text: &str) -> String {
    let body = json!({
        "model": "m", "user": "ada", "memory": mode, "conversation_id": conversation,
        "messages": [{ "role": "user", "content": text }],
    });
    let response = proxy.chat(body.to_string());
    assert_eq!(response.status(), 200, "{}", response.text());
    let memory = response.head.get("x-yychat-memory");
    memory.expect("a header").to_owned()
}

fn tell(proxy: &Proxy, text: &str) -> String {
    chat(proxy, "full", "monday", text)
}

fn ask(proxy: &Proxy, text: &str) -> String {
    chat(proxy, "readonly", "tuesday", text)
}

#[test]
fn what_is_told_through_one_gateway_is_recalled_through_another() {
    let server = Server::start();
    let upstream = Upstream::answering(json_answer(ANSWER));
    let one = gateway(&server, &upstream).start();
    let two = gateway(&server, &upstream).start();
    // Both have the user's index before there is anything in it.
    for gateway in [&one, &two] {
        assert_eq!(ask(gateway, "What is my cat called?"), "miss");
    }
    tell(&one, "My cat is called Pixel.");
    eventually("the other gateway recalls it", || {
        ask(&two, "What is my cat called?")
            .starts_with("hit")
            .then_some(())
    });
    let sent = upstream.requests().pop().expect("a request");
    let sent = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(sent.contains("user: My cat is called Pixel."), "{sent}");

    let forget = "DELETE /v1/memories?user_id=ada HTTP/1.1\r\nHost: yychat\r\n\r\n";
    assert_eq!(two.exchange(forget).status(), 200);
    eventually("the first gateway has forgotten it", || {
        (ask(&one, "What is my cat called?") == "miss").then_some(())
    });
}

#[test]
fn a_database_that_is_down_fails_no_chat_and_is_shown() {
    let server = Server::start();
    server.stop();
    let upstream = Upstream::answering(json_answer(ANSWER));
    let proxy = gateway(&server, &upstream).start();
    assert_eq!(tell(&proxy, "My cat is called Pixel."), "error");
    proxy.readyz_says("memory store: down");
    assert_eq!(proxy.metric("yychat_memory_store_up "), 0.0);
    let body = r#"{"user_id":"ada","text":"My dog is called Rex."}"#;
    let refused = proxy.exchange(post("/v1/memories", &[], body));
    assert_eq!(refused.error(503)["code"], "memory_unavailable");

    server.start_again();
    // The turn was held, and its store is back.
    eventually("what was told is recalled", || {
        ask(&proxy, "What is my cat called?")
            .starts_with("hit")
            .then_some(())
    });
    assert!(
        !proxy
            .admin("/readyz?verbose")
            .text()
            .contains("memory store")
    );
    assert_eq!(proxy.metric("yychat_memory_store_up "), 1.0);
}

/// Runs `yychat memory` on the server's store.
fn memory(setup: &Setup, server: &Server, arguments: &[&str]) -> Output {
    drop(setup.open().unwrap_or_else(|faults| panic!("{faults}")));
    Command::new(env!("CARGO_BIN_EXE_yychat"))
        .arg("--config")
        .arg(setup.path("conf/yychat.toml"))
        .arg("--set=memory.store=postgres")
        .arg(format!(
            "--set=personality.dir={}",
            setup.path("conf/personalities").display()
        ))
        .arg(format!(
            "--set=tools.dir={}",
            setup.path("plugins").display()
        ))
        .arg("memory")
        .args(arguments)
        .env("DATABASE_URL", server.url("postgres"))
        .output()
        .expect("the program that was just built")
}

#[test]
fn the_memory_command_works_on_the_shared_store() {
    let server = Server::start();
    let setup = gateway(&server, &Upstream::ok());
    // Ten megabytes, of two users.
    let lines = (0..2500).map(|n| {
        let text = format!("line {n} with a NUL \0 {}", "and some words ".repeat(270));
        let user = if n % 2 == 0 { "ada" } else { "bob" };
        json!({ "tenant": "t", "user_id": user, "text": text }).to_string() + "\n"
    });
    let setup = setup.file("lines.jsonl", lines.collect::<String>().as_bytes());
    let ran = |arguments: &[&str]| {
        let output = memory(&setup, &server, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        (String::from_utf8(output.stdout).expect("text"), error)
    };
    let path = |name: &str| setup.path(name).to_string_lossy().into_owned();
    let (_, said) = ran(&["import", &path("lines.jsonl")]);
    assert!(said.contains("2500 records imported"), "{said}");
    let (audit, _) = ran(&["audit"]);
    assert!(audit.contains("records 2500\nscopes 2\n"), "{audit}");

    let exported = |name: &str| {
        ran(&["export", "--output", &path(name)]);
        std::fs::read_to_string(path(name)).expect("an export")
    };
    let first = exported("first.jsonl");
    assert_eq!(first.lines().count(), 2500);
    let (_, said) = ran(&["delete", "--tenant", "t", "--user", "ada"]);
    assert!(said.contains("1250 records deleted"), "{said}");
    let (listed, said) = ran(&["list", "--tenant", "t", "--limit", "3"]);
    assert!(said.contains("3 of 1250"), "{said}");
    assert!(listed.contains("bob"), "{listed}");
    ran(&["import", &path("first.jsonl")]);
    let sorted = |text: &str| {
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        lines.sort_by_key(|line| line["id"].to_string());
        lines
    };
    assert_eq!(sorted(&exported("second.jsonl")), sorted(&first));
}

#[test]
fn a_store_that_cannot_be_used_says_so_without_its_url() {
    let server = Server::start();
    server.stop();
    let setup = gateway(&server, &Upstream::ok());
    let output = memory(&setup, &server, &["list"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("unavailable"), "{said}");
    assert!(!said.contains("yychat@"), "{said}");
}
