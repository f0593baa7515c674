//! `GET /v1/models`: what all upstreams list, put together.

use serde_json::{Value, json};

use crate::support::client::{Response, get};
use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream};

const ANTHROPIC: &str = "anthropic-version: 2023-06-01";
const OWN_KEY: &str = "Authorization: Bearer sk-of-the-callers-own";

fn listing(ids: &[&str]) -> Upstream {
    let data: Vec<_> = ids
        .iter()
        .map(|id| json!({ "id": id, "object": "model", "created": 1_739_923_200, "owned_by": "o" }))
        .collect();
    Upstream::answering(json_answer(
        &json!({ "object": "list", "data": data }).to_string(),
    ))
}

fn ids(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let data = list["data"].as_array().expect("a list");
    let ids = data
        .iter()
        .map(|model| model["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

fn models(proxy: &Proxy, fields: &[&str]) -> Response {
    proxy.exchange(get("/v1/models", fields))
}

#[test]
fn the_list_is_what_all_upstreams_serve_each_once() {
    let (first, second) = (
        listing(&["gpt-4o", "whisper-1", "local-shadow"]),
        listing(&["local-1", "gpt-4o", "other"]),
    );
    let proxy = Setup::new()
        .upstream(&first, "models = [\"gpt-*\", \"whisper-*\"]")
        .upstream(&second, "models = [\"local-*\", \"gpt-*\"]")
        .start();
    let answer = models(&proxy, &[]);
    assert_eq!(ids(&answer), ["gpt-4o", "whisper-1", "local-1"]);
    let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["owned_by"], "o");
    assert!(answer.head.get("x-yychat-request-id").is_some());
}

#[test]
fn an_upstream_that_fails_costs_its_own_models_alone() {
    let well = listing(&["well"]);
    let silent = Upstream::start(|visit| {
        visit.request();
        visit.wait_for_close();
    });
    let refusing = Upstream::answering(answer("401 Unauthorized", &[], "{\"error\":{}}"));
    let odd = Upstream::answering(answer("200 OK", &[], "<html>models</html>"));
    let proxy = Setup::new()
        .config("timeouts.first_byte = \"200ms\"")
        .upstream_at(&format!("http://{}/v1", Upstream::dead()), "")
        .upstream(&silent, "")
        .upstream(&refusing, "")
        .upstream(&odd, "")
        .upstream(&well, "")
        .start();
    let answer = models(&proxy, &[]);
    assert_eq!(ids(&answer), ["well"]);
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u4"));
    let counted = "yychat_upstream_errors_total{kind=\"timeout\",upstream=\"u1\"}";
    assert_eq!(proxy.metric(counted), 1.0);
}

/// Chats are not refused for lists that are too long, late or broken, nor does a list that comes hide that
/// chats fail.
#[test]
fn lists_say_nothing_of_how_chats_fare() {
    let long = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let spaces = match request.head.first_line.contains("/models") {
                true => (16 << 20) + 1,
                false => 1,
            };
            // It may be closed before all of it is taken.
            visit.try_send(answer("200 OK", &[], &" ".repeat(spaces)));
        }
    });
    let hung = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            match request.head.first_line.contains("/models") {
                true => visit.send(json_answer("{\"data\":[{\"id\":\"hung-1\"}]}")),
                false => return visit.wait_for_close(),
            }
        }
    });
    let proxy = Setup::new()
        .config("breaker.failures = 2\ntimeouts.first_byte = \"1s\"")
        .config("breaker.open_for = \"60s\"\nbreaker.open_at_most = \"60s\"")
        .upstream(&long, "models = [\"long-*\"]")
        .upstream(&hung, "models = [\"hung-*\"]")
        .start();
    let chat = |model: &str| {
        let body = json!({ "model": model, "messages": [] }).to_string();
        proxy.chat(&body).status()
    };
    for _ in 0..3 {
        assert_eq!(ids(&models(&proxy, &[])), ["hung-1"]);
    }
    assert_eq!(chat("long-1"), 200);
    for status in [504, 504, 503] {
        assert_eq!(chat("hung-1"), status);
        assert_eq!(ids(&models(&proxy, &[])), ["hung-1"]);
    }
    assert_eq!(chat("hung-1"), 503);
}

#[test]
fn where_none_lists_anything_the_client_is_told_why() {
    let refusing = Upstream::answering(answer("401 Unauthorized", &[], "{\"error\":\"no\"}"));
    let proxy = Setup::new()
        .upstream_at(&format!("http://{}/v1", Upstream::dead()), "")
        .upstream(&refusing, "")
        .start();
    let answer = models(&proxy, &[]);
    assert_eq!(
        (answer.status(), answer.text()),
        (401, "{\"error\":\"no\"}".to_owned())
    );
}

#[test]
fn a_key_sees_the_models_that_it_may_use() {
    let upstream = listing(&["cheap-1", "dear"]);
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("all", "key-for-all-of-them", "t")
        .key("some", "key-for-some-of-them", "t")
        .with("models = [\"cheap-*\"]")
        .start();
    let list = |key: &str| ids(&models(&proxy, &[&format!("Authorization: Bearer {key}")]));
    assert_eq!(list("key-for-all-of-them"), ["cheap-1", "dear"]);
    assert_eq!(list("key-for-some-of-them"), ["cheap-1"]);
}

#[test]
fn one_upstream_that_serves_all_it_lists_is_passed_through() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    assert_eq!(models(&proxy, &["Accept: text/plain"]).text(), COMPLETION);
    assert_eq!(upstream.request().head.get("accept"), Some("text/plain"));
}

#[test]
fn a_client_of_anthropics_gets_its_form() {
    let openai = listing(&["a", "b"]);
    let anthropic = Upstream::answering(json_answer(
        &json!({
            "data": [{ "type": "model", "id": "claude", "display_name": "Claude", "created_at": "2025-02-19T00:00:00Z" }],
            "has_more": false, "first_id": "claude", "last_id": "claude",
        })
        .to_string(),
    ));
    let proxy = Setup::new()
        .env("KEY_OF_OURS", "sk-ant")
        .upstream(&openai, "models = [\"a\", \"b\"]")
        .upstream(
            &anthropic,
            "models = [\"claude*\"]\ndialects = [\"messages\"]\napi_key = { env = \"KEY_OF_OURS\" }",
        )
        .start();
    let page = |path: &str| -> Value {
        let answer = proxy.exchange(get(path, &[ANTHROPIC]));
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    assert_eq!(
        page("/v1/models"),
        json!({
            "data": [
                { "type": "model", "id": "a", "display_name": "a", "created_at": "2025-02-19T00:00:00Z" },
                { "type": "model", "id": "b", "display_name": "b", "created_at": "2025-02-19T00:00:00Z" },
                { "type": "model", "id": "claude", "display_name": "Claude", "created_at": "2025-02-19T00:00:00Z" },
            ],
            "has_more": false, "first_id": "a", "last_id": "claude",
        })
    );
    let second = page("/v1/models?limit=1&after_id=a");
    assert_eq!(
        (&second["first_id"], &second["has_more"]),
        (&"b".into(), &true.into())
    );
    let list: Value = serde_json::from_slice(&models(&proxy, &[]).body).expect("JSON");
    assert_eq!(
        list["data"][2],
        json!({ "id": "claude", "object": "model", "created": 1_739_923_200, "owned_by": "system" })
    );
    for request in anthropic.requests() {
        assert_eq!(request.head.get("anthropic-version"), Some("2023-06-01"));
        assert_eq!(request.head.get("x-api-key"), Some("sk-ant"));
        assert_eq!(request.head.target(), "/v1/models?limit=1000");
    }
}

#[test]
fn the_callers_own_key_is_shown_to_one_upstream() {
    let (first, second, third) = (listing(&["a"]), listing(&["b"]), listing(&["c"]));
    let proxy = Setup::new()
        .env("KEY_OF_OURS", "sk-ours")
        .upstream(
            &first,
            "models = [\"a\"]\napi_key = { env = \"KEY_OF_OURS\" }",
        )
        .upstream(&second, "models = [\"b\"]")
        .upstream(&third, "models = [\"c\"]")
        .start();
    assert_eq!(ids(&models(&proxy, &[OWN_KEY])), ["a", "b", "c"]);
    let keys = [&first, &second, &third].map(|upstream| {
        let key = upstream
            .request()
            .head
            .get("authorization")
            .map(str::to_owned);
        key.unwrap_or_default()
    });
    assert_eq!(keys, ["Bearer sk-ours", "Bearer sk-of-the-callers-own", ""]);
}
