//! Which upstream is asked, under which path, with which key.

use http::Request;
use tungstenite::{Message, WebSocket, protocol::Role};

use crate::support::certificates::Authority;
use crate::support::client::{chunked, get};
use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, chat, http2, post};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const KEY: &str = "gateway-key-of-the-test";

#[test]
fn the_first_upstream_whose_globs_match_the_model_serves() {
    let (gpt, qwen, rest) = (Upstream::ok(), Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream(&gpt, "models = [\"gpt-*\", \"o?\"]")
        .upstream(&qwen, "models = [\"qwen/*\"]")
        .upstream(&rest, "")
        .start();
    for (model, served) in [
        ("gpt-4o", "u0"),
        ("o3", "u0"),
        ("o30", "u2"),
        ("qwen/qwen3", "u1"),
        ("llama", "u2"),
    ] {
        let answer = proxy.chat(format!("{{\"model\":\"{model}\",\"messages\":[]}}"));
        assert_eq!(
            answer.head.get("x-yychat-upstream"),
            Some(served),
            "{model}"
        );
    }
    let unnamed = proxy.chat(r#"{"messages":[]}"#);
    assert_eq!(unnamed.head.get("x-yychat-upstream"), Some("u0"));
}

#[test]
fn a_model_that_no_upstream_serves_is_not_found() {
    let upstream = Upstream::ok();
    let proxy = Setup::new().upstream(&upstream, "models = [\"a\"]").start();
    let error = proxy.chat(CHAT).error(404);
    assert_eq!(
        (&error["code"], &error["param"]),
        (&"model_not_found".into(), &"model".into())
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_path_goes_on_under_the_base_urls_and_the_query_with_it() {
    let upstream = Upstream::ok();
    let base_url = format!("http://{}/api/openai/v1/", upstream.address());
    let proxy = Setup::new().upstream_at(&base_url, "").start();
    for (request, target) in [
        (
            post("/v1/chat/completions?api-version=1&a=%20b", &[], CHAT),
            "/api/openai/v1/chat/completions?api-version=1&a=%20b",
        ),
        (
            get("/v1/models?limit=2", &[]),
            "/api/openai/v1/models?limit=2",
        ),
        (get("/v1/models/a%2Fb", &[]), "/api/openai/v1/models/a%2Fb"),
        (get("/v1/some//x", &[]), "/api/openai/v1/some//x"),
    ] {
        assert_eq!(proxy.exchange(request).status(), 200);
        assert_eq!(upstream.requests().last().unwrap().head.target(), target);
    }
}

#[test]
fn the_gateways_key_for_the_upstream_takes_the_place_of_the_callers() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .env("UPSTREAM_KEY", "sk-upstream")
        .upstream(&upstream, "api_key = { env = \"UPSTREAM_KEY\" }")
        .start();
    let field = ["Authorization: Bearer sk-caller"];
    for request in [
        chat(&field, CHAT),
        get("/v1/models", &field),
        chat(&[], CHAT),
    ] {
        assert_eq!(proxy.exchange(request).status(), 200);
        let head = upstream.requests().pop().unwrap().head;
        assert_eq!(head.get("authorization"), Some("Bearer sk-upstream"));
    }
}

#[test]
fn the_callers_own_key_goes_through_where_none_is_configured() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let field = ["Authorization: Bearer sk-caller"];
    for request in [chat(&field, CHAT), get("/v1/models", &field)] {
        assert_eq!(proxy.exchange(request).status(), 200);
        let head = upstream.requests().pop().unwrap().head;
        assert_eq!(head.get("authorization"), Some("Bearer sk-caller"));
    }
}

#[test]
fn a_gateway_key_never_reaches_an_upstream() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("app", KEY, "app")
        .start();
    let bearer = format!("Authorization: Bearer {KEY}");
    let own = format!("X-YYChat-Api-Key: {KEY}");
    for (fields, reaches) in [
        (vec![bearer.as_str()], None),
        (vec![own.as_str()], None),
        (
            vec![own.as_str(), "Authorization: Bearer sk-caller"],
            Some("Bearer sk-caller"),
        ),
    ] {
        for request in [chat(&fields, CHAT), get("/v1/models", &fields)] {
            assert_eq!(proxy.exchange(request).status(), 200);
            let head = upstream.requests().pop().unwrap().head;
            assert_eq!(head.get("authorization"), reaches);
        }
    }
    let received = String::from_utf8_lossy(&upstream.received()).into_owned();
    assert!(!received.contains(KEY));
}

#[test]
fn an_https_upstream_of_a_private_authority_is_trusted_by_its_file() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), |visit| {
        while visit.request().is_some() {
            visit.send(json_answer(COMPLETION));
        }
    });
    let setup = Setup::new().file("conf/ca.pem", authority.pem().as_bytes());
    let ca = format!("ca = {:?}", setup.path("conf/ca.pem"));
    let proxy = setup
        .upstream_at(&format!("https://{}/v1", upstream.address()), &ca)
        .start();
    for request in [chat(&[], CHAT), get("/v1/models", &[])] {
        assert_eq!(proxy.exchange(request).text(), COMPLETION);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_untrusted_certificate_is_a_502_and_nothing_is_sent() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::start_tls(other.server(&[]), |visit| {
        // The handshake fails, as it should; what is sent is looked at below.
        let _ = visit.try_read();
    });
    let setup = Setup::new().file("conf/ca.pem", trusted.pem().as_bytes());
    let ca = format!("ca = {:?}", setup.path("conf/ca.pem"));
    let proxy = setup
        .upstream_at(&format!("https://{}/v1", upstream.address()), &ca)
        .start();
    for request in [chat(&[], CHAT), get("/v1/models", &[])] {
        let error = proxy.exchange(request).error(502);
        assert_eq!(error["code"], "upstream_unreachable");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .to_lowercase()
                .contains("certificate"),
            "{error}"
        );
    }
    assert!(upstream.requests().is_empty() && upstream.received().is_empty());
}

#[test]
fn an_http2_upstream_is_chosen_by_tls() {
    let authority = Authority::new();
    let upstream = http2::Upstream::start(
        Some(authority.server(&["h2", "http/1.1"])),
        "text/event-stream",
        &["data: one\n\n", "data: two\r\n\r\n"],
    );
    let setup = Setup::new().file("conf/ca.pem", authority.pem().as_bytes());
    let ca = format!("ca = {:?}", setup.path("conf/ca.pem"));
    let proxy = setup
        .upstream_at(&format!("https://{}/v1", upstream.address), &ca)
        .start();
    let answer = proxy.chat(CHAT);
    assert_eq!(answer.text(), "data: one\n\ndata: two\r\n\r\n");
    let received = upstream.received();
    assert_eq!(received[0].body, CHAT.as_bytes());
    assert_eq!(received[0].uri.path(), "/v1/chat/completions");
    assert_eq!(received[0].uri.scheme_str(), Some("https"));
    assert_eq!(
        received[0].headers.get("content-length").unwrap(),
        &CHAT.len().to_string()
    );
    assert!(!received[0].headers.contains_key("connection"));
}

#[test]
fn an_http2_upstream_without_tls_is_spoken_to_by_prior_knowledge() {
    let upstream = http2::Upstream::start(None, "application/json", &["{\"a\"", ":1}"]);
    let proxy = Setup::new()
        .upstream_at(&format!("http://{}/v1", upstream.address), "http = \"h2\"")
        .start();
    let body = format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(3 << 20));
    for request in [chat(&[], CHAT), chat(&[], &body), get("/v1/models", &[])] {
        let answer = proxy.exchange(request);
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "{\"a\":1}")
        );
    }
    let received = upstream.received();
    assert_eq!(received.len(), 3);
    assert!(received[1].body == body.as_bytes());
    assert_eq!(received[2].uri.path(), "/v1/models");
}

#[test]
fn an_http2_client_reaches_an_http2_upstream() {
    let upstream = http2::Upstream::start(None, "application/json", &["{}"]);
    let proxy = Setup::new()
        .upstream_at(&format!("http://{}/v1", upstream.address), "http = \"h2\"")
        .start();
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        let request = Request::post(format!("http://{}{path}", proxy.api))
            .body(CHAT.as_bytes().to_vec())
            .unwrap();
        assert_eq!(http2::exchange(proxy.api, request).body, b"{}");
    }
    for received in upstream.received() {
        let authority = received.uri.authority().unwrap().to_string();
        assert_eq!(authority, upstream.address.to_string());
        assert_eq!(received.body, CHAT.as_bytes());
    }
}

#[test]
fn other_endpoints_pass_through() {
    let upstream = Upstream::answering(answer(
        "200 OK",
        &["X-A: 1", "Set-Cookie: a", "Set-Cookie: b"],
        "models",
    ));
    let answer = Proxy::before(&upstream).exchange(get(
        "/v1/models",
        &["Accept-Encoding: gzip", "X-YYChat-User-Id: u"],
    ));
    assert_eq!(answer.text(), "models");
    assert_eq!(answer.head.all("set-cookie"), ["a", "b"]);
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u0"));
    assert!(answer.head.get("x-yychat-request-id").is_some());
    let head = upstream.request().head;
    assert_eq!(head.first_line, "GET /v1/models HTTP/1.1");
    assert_eq!(head.get("accept-encoding"), Some("gzip"));
    assert_eq!(head.get("x-yychat-user-id"), None);
    assert_eq!(
        head.get("host"),
        Some(upstream.address().to_string().as_str())
    );
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop_on_the_pass_through_route() {
    let upstream = Upstream::answering(answer(
        "200 OK",
        &[
            "Connection: X-Mine",
            "X-Mine: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
        ],
        "x",
    ));
    let fields = [
        "Connection: X-Yours",
        "X-Yours: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Connection: close",
    ];
    let answer = Proxy::before(&upstream).exchange(get("/v1/models", &fields));
    for gone in ["x-mine", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.head.get(gone), None, "{gone}");
    }
    let head = upstream.request().head;
    for gone in [
        "x-yours",
        "keep-alive",
        "te",
        "proxy-authorization",
        "proxy-connection",
    ] {
        assert_eq!(head.get(gone), None, "{gone}");
    }
}

#[test]
fn an_upload_passes_through_untouched() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let file = [
        b"\0\r\n--x\xff".repeat(40_000),
        b"{\"messages\":[]}".to_vec(),
    ]
    .concat();
    let body = [
        &b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"[..],
        &file,
        b"\r\n--x--\r\n",
    ]
    .concat();
    let multipart = "Content-Type: multipart/form-data; boundary=x";
    assert_eq!(
        proxy
            .exchange(post("/v1/files", &[multipart], &body))
            .status(),
        200
    );
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nHost: a\r\n{multipart}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let request = [head.as_bytes(), &chunked(&body, 5000)].concat();
    assert_eq!(proxy.exchange(request).status(), 200);
    for request in upstream.requests() {
        assert!(request.body == body);
        assert_eq!(
            request.head.get("content-type"),
            Some("multipart/form-data; boundary=x")
        );
    }
}

#[test]
fn a_head_request_passes_through_without_a_body() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response_to("HEAD");
        assert_eq!(answer.head.get("content-length"), Some("100"));
    }
}

#[test]
fn a_websocket_upgrade_passes_through_and_echoes() {
    let upstream = Upstream::start(|visit| {
        let head = visit.head().expect("an upgrade");
        assert_eq!(head.target(), "/v1/realtime?model=m");
        assert_eq!(head.get("upgrade"), Some("websocket"));
        visit.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        let mut socket = WebSocket::from_raw_socket(visit.stream(), Role::Server, None);
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).expect("the gateway reads");
            }
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(get(
        "/v1/realtime?model=m",
        &[
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    ));
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(
        head.get("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let mut socket = WebSocket::from_raw_socket(client.into_stream(), Role::Client, None);
    for message in [
        Message::text("你好"),
        Message::binary(vec![0; 100_000]),
        Message::text(""),
    ] {
        socket.send(message.clone()).expect("the gateway reads");
        assert_eq!(socket.read().expect("the echo"), message);
    }
    socket.close(None).expect("open");
    while socket.read().is_ok() {}
}

#[test]
fn the_gateways_own_endpoints_do_not_reach_the_upstream() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "You are Ada.")
        .start();
    let list = proxy.exchange(get("/v1/personalities", &[]));
    let list: serde_json::Value = serde_json::from_slice(&list.body).expect("JSON");
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "ada");
    let one = proxy.exchange(get("/v1/personalities/ada", &[]));
    assert!(one.text().contains("You are Ada."));
    let error = proxy.exchange(get("/v1/personalities/bob", &[])).error(404);
    assert_eq!(error["code"], "personality_not_found");
    proxy
        .exchange(post("/v1/personalities", &[], "{}"))
        .error(405);
    assert_eq!(upstream.connections(), 0);
}
