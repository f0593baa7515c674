//! Budgets of keys, over one gateway and over several that share a store; the ledger of usage.

use serde_json::{Value, json};

use crate::support::client::{Client, Response, get};
use crate::support::upstream::json_answer;
use crate::support::valkey;
use crate::support::{Proxy, Setup, Upstream, eventually, post};

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

#[test]
fn several_gateways_share_a_budget_and_go_on_alone_without_their_store() {
    let upstream = upstream(10);
    let mut shared = valkey::Server::start();
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

/// A stream as upstreams send it that were asked for its usage.
const TOLD: [&str; 5] = [
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"}}], \"usage\": null}\n\n",
    "data: {\"id\":\"c\",\"usage\":null,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":60,\"completion_tokens\":1,\"total_tokens\":61}}\n\n",
    "data: [DONE]\n\n",
];
/// The same as they send it unasked.
const UNTOLD: [&str; 4] = [
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];

/// Tells the usage of a stream where it is asked for it, and refuses to where it `refuses`.
fn streaming(refuses: bool) -> Upstream {
    Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let asked = body["stream_options"]["include_usage"] == true;
            let body = match asked {
                true if refuses => {
                    let body = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#;
                    let length = body.len();
                    visit.send(format!(
                        "HTTP/1.1 422 no\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                    ));
                    continue;
                }
                true => TOLD.concat(),
                false => UNTOLD.concat(),
            };
            visit.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            // Cut where no event ends.
            let (first, second) = body.split_at(body.len() / 2);
            for part in [first, second] {
                visit.send(format!("{:x}\r\n{part}\r\n", part.len()));
            }
            visit.send("0\r\n\r\n");
        }
    })
}

fn stream(proxy: &Proxy, body: &str) -> Response {
    let fields = ["Content-Type: application/json", AUTHORIZED];
    proxy.exchange(post("/v1/chat/completions", &fields, body))
}

fn used(proxy: &Proxy) -> u64 {
    let usage = proxy.exchange(get("/v1/usage?by=key", &[AUTHORIZED]));
    let usage: Value = serde_json::from_str(&usage.text()).expect("JSON");
    let line = &usage["data"][0];
    let tokens = |name: &str| line[name].as_u64().unwrap_or_default();
    tokens("input_tokens") + tokens("output_tokens")
}

#[test]
fn a_stream_is_counted_by_its_usage_which_the_client_sees_where_it_asked() {
    let chat = |options: &str| {
        format!(
            r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"hi"}}]{options}}}"#
        )
    };
    for (options, sees) in [
        ("", false),
        (r#","stream_options":null"#, false),
        (r#","stream_options":{}"#, false),
        (r#","stream_options":{"include_obfuscation":false}"#, false),
        (r#","stream_options":{ "include_usage" : false }"#, false),
        (r#","stream_options":{"include_usage":true}"#, true),
    ] {
        let upstream = streaming(false);
        let proxy = setup(&upstream, "{ tokens = 100_000, per = \"month\" }").start();
        let answer = stream(&proxy, &chat(options));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let wanted = if sees { TOLD.concat() } else { UNTOLD.concat() };
        assert_eq!(answer.text(), wanted, "{options}");
        let sent = upstream.requests()[0].text();
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(sent["stream_options"]["include_usage"], true, "{options}");
        assert_eq!(used(&proxy), 61, "{options}");
    }
    let upstream = streaming(false);
    let proxy = setup(&upstream, "").start();
    let body = chat("");
    assert_eq!(stream(&proxy, &body).text(), UNTOLD.concat());
    assert_eq!(upstream.requests()[0].text(), body, "nothing needs it");
}

#[test]
fn an_upstream_that_does_not_tell_is_asked_once_and_its_events_are_counted() {
    let upstream = streaming(true);
    let proxy = setup(&upstream, "{ tokens = 100_000, per = \"month\" }").start();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for _ in 0..2 {
        let answer = stream(&proxy, body);
        assert_eq!((answer.status(), answer.text()), (200, UNTOLD.concat()));
    }
    assert_eq!(upstream.requests().len(), 3);
    let input = 2 * body.len().div_ceil(4) as u64;
    assert!(used(&proxy) > input, "{}", used(&proxy));
}

#[test]
fn a_stream_whose_client_leaves_has_cost_what_came_of_it() {
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let events = UNTOLD[1].repeat(7);
        visit.send(format!("{:x}\r\n{events}\r\n", events.len()));
        // Until the gateway leaves.
        visit.request();
    });
    let proxy = setup(&upstream, "{ tokens = 100_000, per = \"month\" }").start();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let fields = ["Content-Type: application/json", AUTHORIZED];
    let mut client = proxy.client();
    client.send(post("/v1/chat/completions", &fields, body));
    client.head();
    client.chunks(7 * UNTOLD[1].len());
    client.reset();
    let told = 7 + body.len().div_ceil(4) as u64;
    eventually("it is counted", || (used(&proxy) == told).then_some(()));
}

#[test]
fn what_costs_is_counted_or_refused_and_never_neither() {
    let upstream = upstream(10);
    let proxy = setup(&upstream, "{ tokens = 10000, per = \"day\" }").start();
    let json = "Content-Type: application/json";
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (path, fields, body) in [
        ("/v1/embeddings", &[json][..], r#"{"input":"x"}"#),
        ("/v1/embeddings", &[form], "input=x&model=m"),
        ("/v1/what_comes_next", &[json], "{}"),
        ("/v1/images/generations", &[json], r#"{"prompt":"x"}"#),
        ("/v1/deployments/m/chat/completions", &[json], "{}"),
    ] {
        let fields = [fields, &[AUTHORIZED]].concat();
        let answer = proxy.exchange(post(path, &fields, body));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let left = answer.head.get("x-yychat-budget-remaining");
        assert!(left.is_some(), "{path} {body}");
    }
    let sent = upstream.requests().len();
    let packed = [json, "Content-Encoding: gzip", AUTHORIZED];
    let packed = proxy.exchange(post("/v1/embeddings", &packed, "?"));
    assert_eq!(packed.error(415)["param"], "Content-Encoding");
    for path in ["/v1/batches", "/v1/realtime/sessions", "/v1/evals/e/runs"] {
        let told = proxy.exchange(post(path, &[json, AUTHORIZED], r#"{"model":"m"}"#));
        assert_eq!(told.error(403)["code"], "budget_uncounted", "{path}");
    }
    assert_eq!(upstream.requests().len(), sent);
    let files = proxy.exchange(get("/v1/files", &[AUTHORIZED]));
    assert_eq!(files.status(), 200, "what costs nothing goes on");
}

#[test]
fn a_file_in_a_form_is_not_counted_by_its_bytes() {
    let upstream = Upstream::answering(json_answer(r#"{"text":"hi"}"#));
    let proxy = setup(&upstream, "{ tokens = 100000, per = \"day\" }").start();
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = [
        part("model", "m"),
        part("file", &"x".repeat(200_000)),
        "--b--".into(),
    ];
    let fields = ["Content-Type: multipart/form-data; boundary=b", AUTHORIZED];
    let answer = proxy.exchange(post("/v1/audio/transcriptions", &fields, form.concat()));
    let left = answer.head.get("x-yychat-budget-remaining");
    let left: u64 = left.and_then(|it| it.parse().ok()).expect("what is left");
    assert!(left > 98_000, "{left}");
}

#[test]
fn a_request_that_names_no_model_is_priced_as_its_upstreams_default() {
    let upstream = upstream(1);
    let prices = "[[prices]]\nmodel = \"m\"\ninput = 2\noutput = 1\n";
    let proxy = Setup::new()
        .upstream(&upstream, "default_model = \"m\"")
        .key("app", KEY, "acme")
        .with("budgets = [{ usd = 3, per = \"day\" }]")
        .file("conf/prices.toml", prices.as_bytes())
        .start();
    let fields = ["Content-Type: application/json", AUTHORIZED];
    let unnamed = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = proxy.exchange(post("/v1/chat/completions", &fields, unnamed));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let unknown = proxy.exchange(post("/v1/what_comes_next", &fields, "{}"));
    assert_eq!(unknown.error(403)["code"], "price_missing");
}

#[test]
fn numbers_that_cannot_be_true_take_the_shared_store_from_nobody() {
    let usage =
        r#""usage":{"prompt_tokens":18446744073709551615,"completion_tokens":9223372036854775807}"#;
    let answer = format!(
        r#"{{"id":"c","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"ok"}}}}],{usage}}}"#
    );
    let upstream = Upstream::answering(json_answer(&answer));
    let shared = valkey::Server::start();
    let proxy = setup(&upstream, "{ tokens = 1000000, per = \"month\" }")
        .config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"")
        .env("VALKEY_URL", &shared.url())
        .start();
    let fields = ["Content-Type: application/json", AUTHORIZED];
    for limit in ["18446744073709551615", "9223372036854775807", "10"] {
        let chat = CHAT.replace("\"max_tokens\":10", &format!("\"max_tokens\":{limit}"));
        let answer = proxy.exchange(post("/v1/chat/completions", &fields, chat));
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    assert!((proxy.metric("yychat_shared_up") - 1.0).abs() < f64::EPSILON);
    assert!(proxy.metric("yychat_shared_fallback_total") < 1.0);
}

#[test]
fn a_shared_rate_holds_for_every_route() {
    let upstream = upstream(1);
    let shared = valkey::Server::start();
    let proxy = setup(&upstream, "")
        .with("rate = \"1/h\"\nburst = 1")
        .config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"")
        .env("VALKEY_URL", &shared.url())
        .start();
    assert_eq!(
        proxy.exchange(get("/v1/tools", &[AUTHORIZED])).status(),
        200
    );
    for path in ["/v1/tools", "/v1/models", "/v1/files", "/v1/files/f-1"] {
        let told = proxy.exchange(get(path, &[AUTHORIZED]));
        assert_eq!(told.error(429)["code"], "rate_limit_exceeded", "{path}");
    }
    assert!(upstream.requests().is_empty());
}
