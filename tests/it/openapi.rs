//! The description of the gateway's own endpoints, and the endpoints, are the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::{Client, get};
use crate::support::openapi::{document, operations};
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

const ANSWER: &str = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Noted."}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

const KEY: &str = "admin-key-0123456789";

/// The paths that the sources of `folder` give routes to.
fn routes(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            routes(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            for rest in source.split(".route(").skip(1) {
                if let Some(path) = rest.trim_start().strip_prefix('"') {
                    into.insert(path.split('"').next().unwrap_or_default().to_owned());
                }
            }
        }
    }
}

#[test]
fn every_route_is_described_and_what_is_described_is_a_route() {
    let mut routed = BTreeSet::new();
    for folder in ["src/api", "src/admin"] {
        routes(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut routed,
        );
    }
    let described = document()["paths"].as_object().expect("paths").clone();
    let described: BTreeSet<String> = described.into_iter().map(|(path, _)| path).collect();
    assert_eq!(routed, described);
}

#[test]
fn the_methods_that_are_described_are_those_that_are_taken() {
    let proxy = Setup::new()
        .env("YYCHAT_ADMIN_KEY", KEY)
        .upstream(&Upstream::ok(), "")
        .start();
    for path in operations().iter().map(|it| &it.path) {
        let its: Vec<_> = operations().iter().filter(|it| it.path == *path).collect();
        let mut described: BTreeSet<&str> = its.iter().map(|it| &*it.method).collect();
        if described.contains("GET") {
            described.insert("HEAD");
        }
        let address = if its[0].is_admin {
            proxy.admin
        } else {
            proxy.api
        };
        let target = path.replace("{id}", "some");
        let asked = format!(
            "PATCH {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let refused = Client::connect(address).exchange(asked);
        refused.error(405);
        let taken = refused.head.get("allow").expect("what is taken");
        assert_eq!(
            taken.split(',').map(str::trim).collect::<BTreeSet<_>>(),
            described,
            "{path}"
        );
    }
}

#[test]
fn it_is_served_on_the_admin_listener() {
    let proxy = Proxy::before(&Upstream::ok());
    let served = Client::connect(proxy.admin).exchange(admin(&proxy, "/openapi.json"));
    assert_eq!(served.status(), 200);
    let served: Value = serde_json::from_slice(&served.body).expect("JSON");
    assert_eq!(served, document());
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}

fn admin(proxy: &Proxy, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin)
}

/// Each endpoint once; [`crate::support::openapi::judge`] judges the answers.
#[test]
fn the_answers_are_as_they_are_described() {
    let upstream = Upstream::answering(json_answer(ANSWER));
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("mira", "You are Mira.")
        .set("tools.dir", concat!(env!("CARGO_MANIFEST_DIR"), "/plugins"))
        .set("memory.recall_deadline", "10s")
        .start();
    let body = r#"{"model":"m","user":"ada","messages":[{"role":"user","content":"My cat is called Pixel."}]}"#;
    assert_eq!(proxy.exchange(chat(&[], body)).status(), 200);
    let one = eventually("a record", || {
        let listed = proxy.exchange(get("/v1/memories?user_id=ada", &[]));
        let listed: Value = serde_json::from_slice(&listed.body).expect("JSON");
        listed["data"][0]["id"].as_str().map(str::to_owned)
    });
    let json = "Content-Type: application/json";
    let by_id = format!("/v1/memories/{one}");
    let added =
        json!({ "user_id": "ada", "text": "My dog is called Bruno.", "conversation_id": "c" });
    for (request, status) in [
        (get("/v1/personalities", &[]), 200),
        (get("/v1/personalities/mira", &[]), 200),
        (get("/v1/personalities/%FF", &[]), 400),
        (get("/v1/tools", &[]), 200),
        (
            post(
                "/v1/tools/call",
                &[json],
                r#"{"tool_name":"calculator","params":{"operation":"sqrt","a":4}}"#,
            ),
            200,
        ),
        (
            post("/v1/tools/call", &[json], r#"{"tool_name":"none"}"#),
            404,
        ),
        (post("/v1/memories", &[json], added.to_string()), 201),
        (get("/v1/memories?limit=0", &[]), 400),
        (get("/v1/memories?color=red", &[]), 400),
        (get("/v1/conversations/c/memory", &[]), 200),
        (get("/v1/conversations/%FF/memory", &[]), 400),
        (get(&by_id, &[]), 200),
        (get("/v1/memories/%FF", &[]), 400),
        (
            post(
                "/v1/memories/search",
                &[json],
                r#"{"user_id":"ada","query":"cat","limit":3.0}"#,
            ),
            200,
        ),
        (get("/v1/memories/export?user_id=ada", &[]), 200),
        (post("/v1/preview", &[json], body), 200),
        (
            post("/v1/preview?dialect=messages&dialect=chat", &[json], body),
            400,
        ),
        (get("/v1/usage?by=key", &[]), 200),
        (get("/v1/usage?to=a&to=b", &[]), 400),
        (get("/v1/performance/stats", &[]), 200),
        (get("/v1/performance/recent?count=5", &[]), 200),
        (get("/v1/performance/recent?count=-1", &[]), 400),
    ] {
        let answer = proxy.exchange(&request);
        let asked = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(answer.status(), status, "{asked}: {}", answer.text());
        assert!(status < 400 || !answer.error(status).is_null(), "{asked}");
    }
    for target in [
        "/status",
        "/livez",
        "/readyz?verbose",
        "/metrics",
        "/v1/usage",
    ] {
        let answer = Client::connect(proxy.admin).exchange(admin(&proxy, target));
        assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
    }
}

#[test]
fn a_preview_takes_what_a_chat_takes() {
    let proxy = Proxy::before(&Upstream::ok());
    let long = "x".repeat(3 << 20);
    let body = json!({ "messages": [{ "role": "user", "content": long }] });
    let preview = proxy.exchange(post("/v1/preview", &[], body.to_string()));
    assert_eq!(preview.status(), 200, "{}", preview.head.status());
}
