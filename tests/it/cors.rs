//! Pages in a browser: which may ask, and what they may read.

use http::Request;

use crate::support::client::get;
use crate::support::upstream::{STREAM, answer, event};
use crate::support::wire::Head;
use crate::support::{Proxy, Setup, Upstream, chat, http2, post};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const KEY: &str = "key-of-app-a-0123456789";
const APP: &str = "Origin: https://app.example";

fn shared(upstream: &Upstream, origins: &str) -> Proxy {
    Setup::new()
        .config(&format!("cors.origins = {origins}"))
        .upstream(upstream, "")
        .key("a", KEY, "a")
        .start()
}

fn preflight(path: &str, fields: &[&str]) -> String {
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("OPTIONS {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// What a browser looks at.
fn allowed(head: &Head) -> Vec<&str> {
    head.all("access-control-allow-origin")
}

#[test]
fn a_preflight_is_answered_before_keys_are_asked_for_on_every_route() {
    let upstream = Upstream::ok();
    let proxy = shared(
        &upstream,
        "[\"https://app.example\", \"http://localhost:3000\"]",
    );
    let asks = "Access-Control-Request-Method: POST";
    let names = "Access-Control-Request-Headers: authorization,content-type,x-stainless-os";
    let mut client = proxy.client();
    for path in [
        "/v1/chat/completions",
        "/v1/models",
        "/v1/memories/a",
        "/v1/embeddings",
        "/v1/anything/else",
        "/v1//chat/completions/",
    ] {
        for origin in [APP, "Origin: http://localhost:3000"] {
            let answer = client.exchange(preflight(path, &[origin, asks, names]));
            assert_eq!((answer.status(), answer.text().len()), (204, 0), "{path}");
            let head = &answer.head;
            assert_eq!(allowed(head), [&origin["Origin: ".len()..]]);
            assert_eq!(
                head.get("access-control-allow-headers"),
                Some("authorization,content-type,x-stainless-os")
            );
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let methods = head.get("access-control-allow-methods").expect("methods");
                assert!(methods.split(", ").any(|it| it == method), "{methods}");
            }
            let varies = head.all("vary").join(", ");
            for name in [
                "Origin",
                "Access-Control-Request-Method",
                "Access-Control-Request-Headers",
            ] {
                assert!(varies.contains(name), "{varies}");
            }
            assert_eq!(head.get("content-length"), None);
        }
    }
    let private = "Access-Control-Request-Private-Network: true";
    let answer = client.exchange(preflight("/v1/models", &[APP, asks, private]));
    assert_eq!(
        answer.head.get("access-control-allow-private-network"),
        Some("true")
    );
    for stranger in [
        "Origin: https://evil.example",
        "Origin: https://app.example.evil.example",
        "Origin: http://app.example",
        "Origin: https://app.example:8443",
        "Origin: null",
        "Origin:",
    ] {
        let answer = proxy.exchange(preflight("/v1/models", &[stranger, asks]));
        let error = answer.error(403);
        assert!(
            error["message"].as_str().unwrap().contains("cors.origins"),
            "{stranger}"
        );
        assert!(allowed(&answer.head).is_empty(), "{stranger}");
        assert_eq!(answer.head.get("vary"), Some("Origin"));
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(proxy.metric("yychat_auth_failures_total"), 0.0);
}

#[test]
fn answers_and_errors_of_every_route_can_be_read_by_the_page() {
    let upstream = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            if request.text().contains("stream") {
                visit.send(STREAM);
                visit.chunk(event("one"));
                visit.last_chunk();
            } else {
                let theirs = [
                    "Access-Control-Allow-Origin: *",
                    "Access-Control-Allow-Credentials: true",
                    "Vary: Accept-Encoding",
                    "Content-Type: application/json",
                ];
                visit.send(answer("200 OK", &theirs, "{}"));
            }
        }
    });
    let proxy = shared(&upstream, "[\"https://app.example\"]");
    let key = format!("Authorization: Bearer {KEY}");
    let fields = [key.as_str(), APP];
    let stream = r#"{"model":"m","stream":true,"messages":[]}"#;
    for (request, status) in [
        (chat(&fields, CHAT), 200),
        (chat(&fields, stream), 200),
        (chat(&fields, "{"), 400),
        (get("/v1/models", &fields), 200),
        (get("/v1/personalities", &fields), 200),
        (get("/v1/personalities/nobody", &fields), 404),
        (post("/v1/personalities", &fields, ""), 405),
        (get("/v1/models", &[APP]), 401),
        (get("/nothing", &[APP]), 404),
        (get("/v1/a/../b", &fields), 400),
        (get("/", &[APP]), 200),
    ] {
        let said = String::from_utf8_lossy(&request).into_owned();
        let answer = proxy.exchange(&request);
        assert_eq!(answer.status(), status, "{said}");
        assert_eq!(allowed(&answer.head), ["https://app.example"], "{said}");
        assert_eq!(answer.head.get("access-control-allow-credentials"), None);
        let exposed = answer
            .head
            .get("access-control-expose-headers")
            .expect("names");
        assert!(exposed.contains("x-yychat-memory") && exposed.contains("x-yychat-request-id"));
        let varies = answer.head.all("vary").join(", ");
        assert!(varies.contains("Origin"), "{said}: {varies}");
    }
    let stranger = [key.as_str(), "Origin: https://evil.example"];
    for request in [
        chat(&stranger, CHAT),
        get("/v1/models", &stranger),
        get("/v1/tools", &stranger),
    ] {
        let answer = proxy.exchange(request);
        assert_eq!(answer.status(), 200);
        assert!(allowed(&answer.head).is_empty(), "{:?}", answer.head);
        assert!(answer.head.all("vary").contains(&"Origin"));
    }
    let both = proxy.exchange(get("/v1/models", &fields)).head;
    assert_eq!(both.all("vary"), ["Accept-Encoding", "Origin"]);
}

#[test]
fn an_http2_page_is_told_too() {
    let upstream = Upstream::ok();
    let proxy = shared(&upstream, "[\"*\"]");
    let at = format!("http://{}/v1/chat/completions", proxy.api);
    let ask = Request::options(&at)
        .header("origin", "https://anywhere.example")
        .header("access-control-request-method", "POST")
        .body(vec![])
        .unwrap();
    let answer = http2::exchange(proxy.api, ask);
    assert_eq!(answer.head.status, 204);
    assert_eq!(answer.head.headers["access-control-allow-origin"], "*");
    let chat = Request::post(&at)
        .header("origin", "https://anywhere.example")
        .header("authorization", format!("Bearer {KEY}"))
        .body(CHAT.as_bytes().to_vec())
        .unwrap();
    let answer = http2::exchange(proxy.api, chat);
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.headers["access-control-allow-origin"], "*");
}

#[test]
fn without_origins_no_page_is_told_anything_whatever_an_upstream_says() {
    let theirs = [
        "Access-Control-Allow-Origin: *",
        "Access-Control-Expose-Headers: *",
    ];
    let upstream = Upstream::answering(answer("200 OK", &theirs, "{}"));
    let proxy = Proxy::before(&upstream);
    let asks = "Access-Control-Request-Method: GET";
    let refused = proxy.exchange(preflight("/v1/models", &[APP, asks]));
    refused.error(403);
    for request in [
        get("/v1/models", &[APP]),
        chat(&[APP], CHAT),
        get("/v1/tools", &[APP]),
    ] {
        let answer = proxy.exchange(request);
        assert_eq!(answer.status(), 200);
        assert!(allowed(&answer.head).is_empty());
        assert_eq!(answer.head.get("access-control-expose-headers"), None);
        assert_eq!(answer.head.get("vary"), None);
    }
    // No preflight: it names no method.
    let plain = proxy.exchange(preflight("/v1/models", &[APP]));
    assert_eq!(plain.status(), 200);
}
