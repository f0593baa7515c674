//! Budgets of keys, over one gateway and over several that share a store; the ledger of usage.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, Response, get};
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, post};

const KEY: &str = "gateway-key-of-app";
const AUTHORIZED: &str = "Authorization: Bearer gateway-key-of-app";
const CHAT: &str = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;

fn upstream(tokens: u64) -> Upstream {
    let answer = json!({ "id": "c", "object": "chat.completion", "model": "m",
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": "ok" } }],
        "usage": { "prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens } });
    Upstream::answering(json_answer(&answer.to_string()))
}

fn setup(upstream: &Upstream, budgets: &str) -> Setup {
    Setup::new()
        .upstream(upstream, "")
        .key("app", KEY, "acme")
        .with(&format!("budgets = [{budgets}]"))
}

fn ask(proxy: &Proxy) -> Response {
    let fields = ["Content-Type: application/json", AUTHORIZED];
    proxy.exchange(post("/v1/chat/completions", &fields, CHAT))
}

#[test]
fn a_budget_is_used_up_and_says_when_it_is_full_again() {
    let upstream = upstream(60);
    let proxy = setup(&upstream, "{ tokens = 100, per = \"month\" }").start();
    let first = ask(&proxy);
    assert_eq!(first.status(), 200, "{}", first.text());
    let left: u64 = first
        .head
        .get("x-yychat-budget-remaining")
        .and_then(|left| left.parse().ok())
        .expect("what is left");
    assert!(left < 100, "{left}");
    assert_eq!(ask(&proxy).status(), 200);
    let error = ask(&proxy).error(429);
    assert_eq!(error["code"], "budget_exceeded");
    let message = error["message"].as_str().expect("a text");
    assert!(
        message.contains("100 tokens a month") && message.contains("full again"),
        "{message}"
    );
    assert_eq!(upstream.requests().len(), 2);
    assert!(proxy.metric("yychat_budget_refused_total") > 0.0);
}

#[test]
fn a_request_that_fails_costs_nothing() {
    let upstream = Upstream::answering("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n");
    let proxy = setup(&upstream, "{ tokens = 100, per = \"month\" }").start();
    for _ in 0..5 {
        assert_eq!(ask(&proxy).status(), 500);
    }
}

#[test]
fn dollars_need_a_price_and_are_counted_by_it() {
    let upstream = upstream(1_000_000);
    let budget = "{ usd = 3, per = \"day\" }";
    let faults = setup(&upstream, budget).open().err().expect("a fault");
    assert!(faults.to_string().contains("no model a price"), "{faults}");
    let prices = "[[prices]]\nmodel = \"m\"\ninput = 2\noutput = 1\n";
    let proxy = setup(&upstream, budget)
        .file("conf/prices.toml", prices.as_bytes())
        .start();
    assert_eq!((ask(&proxy).status(), ask(&proxy).status()), (200, 200));
    assert_eq!(ask(&proxy).error(429)["code"], "budget_exceeded");
    let fields = ["Content-Type: application/json", AUTHORIZED];
    let other = CHAT.replace("\"m\"", "\"unpriced\"");
    let refused = proxy.exchange(post("/v1/chat/completions", &fields, other));
    assert_eq!(refused.error(403)["code"], "price_missing");
}

#[test]
fn usage_is_told_by_key_model_and_day() {
    let upstream = upstream(7);
    let proxy = setup(&upstream, "").start();
    for _ in 0..3 {
        assert_eq!(ask(&proxy).status(), 200);
    }
    let usage = proxy.exchange(get("/v1/usage?by=key,model", &[AUTHORIZED]));
    let usage: Value = serde_json::from_str(&usage.text()).expect("JSON");
    let line = &usage["data"][0];
    assert_eq!((&line["key"], &line["model"]), (&json!("app"), &json!("m")));
    assert_eq!(
        (&line["requests"], &line["input_tokens"]),
        (&json!(3), &json!(21))
    );
    let bad = proxy.exchange(get("/v1/usage?by=hour", &[AUTHORIZED]));
    assert_eq!(bad.error(400)["param"], "by");
    let looking = "GET /v1/usage HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let all = Client::connect(proxy.admin).exchange(looking);
    let all: Value = serde_json::from_str(&all.text()).expect("JSON");
    assert_eq!(all["data"][0]["tenant"], "acme", "{all}");
}

/// A Redis of the test's own, on a socket in a folder of its own.
struct Shared(TempDir, Child);

impl Shared {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let launched = ["redis-server", "valkey-server"]
            .into_iter()
            .find_map(|name| {
                Command::new(name)
                    .args(["--port", "0", "--save", "", "--unixsocket"])
                    .arg(folder.path().join("socket"))
                    .arg("--dir")
                    .arg(folder.path())
                    .stdout(Stdio::null())
                    .spawn()
                    .ok()
            });
        let server = Self(
            folder,
            launched.expect("scripts/setup --tests installs redis-server"),
        );
        while std::os::unix::net::UnixStream::connect(server.0.path().join("socket")).is_err() {
            std::thread::yield_now();
        }
        server
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.0.path().join("socket").display())
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn several_gateways_share_a_budget_and_go_on_alone_without_their_store() {
    let upstream = upstream(10);
    let mut shared = Shared::start();
    let gateway = || {
        setup(&upstream, "{ tokens = 200, per = \"month\" }")
            .config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"")
            .env("VALKEY_URL", &shared.url())
            .start()
    };
    let gateways = [gateway(), gateway(), gateway()];
    let mut admitted = 0;
    for turn in 0..60 {
        match ask(&gateways[turn % 3]).status() {
            200 => admitted += 1,
            429 => break,
            other => panic!("{other}"),
        }
    }
    // What the last ones reserved may not have been given back when the next was decided.
    assert!((15..=20).contains(&admitted), "{admitted}");
    shared.kill();
    let alone = ask(&gateways[0]).status();
    assert!(matches!(alone, 200 | 429), "{alone}");
    gateways[0].readyz_says("shared store: down");
}
