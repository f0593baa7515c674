//! Keys: who is let in, and what never shows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;

use crate::support::client::{get, post};
use crate::support::{Setup, Upstream, chat, http2};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const KEY_A: &str = "key-of-app-a-0123456789";
const KEY_B: &str = "key-of-app-b-0123456789";

fn locked(upstream: &Upstream) -> Setup {
    Setup::new()
        .upstream(upstream, "")
        .key("a", KEY_A, "tenant-a")
        .key("b", KEY_B, "tenant-b")
}

#[test]
fn without_a_right_key_nothing_is_let_in() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let wrong: [&[&str]; 9] = [
        &[],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: Bearer key-of-app-a-012345678"],
        &["Authorization: Bearer key-of-app-a-01234567890"],
        &["Authorization: Basic a2V5LW9mLWFwcC1hLTAxMjM0NTY3ODk="],
        &["Authorization: key-of-app-a-0123456789"],
        &[
            "X-YYChat-Api-Key: nonsense",
            "Authorization: Bearer key-of-app-a-0123456789",
        ],
        &[
            "X-YYChat-Api-Key:",
            "Authorization: Bearer key-of-app-a-0123456789",
        ],
    ];
    let count = wrong.len();
    for fields in wrong {
        for request in [
            chat(fields, CHAT),
            get("/v1/models", fields),
            get("/v1/personalities", fields),
        ] {
            let answer = proxy.exchange(request);
            let error = answer.error(401);
            assert_eq!(error["code"], "invalid_api_key", "{fields:?}");
            assert_eq!(error["type"], "invalid_request_error");
            assert_eq!(answer.head.get("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(
        proxy.metric("yychat_auth_failures_total"),
        3.0 * count as f64
    );
}

#[test]
fn each_key_is_let_in_whichever_way_it_is_sent() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    for key in [KEY_A, KEY_B] {
        for field in [
            format!("Authorization: Bearer {key}"),
            format!("authorization: bearer  {key}"),
            format!("X-YYChat-Api-Key: {key}"),
            format!("x-api-key: {key}"),
            format!("Api-Key: {key}"),
            format!(
                "Authorization: BASIC {}",
                STANDARD.encode(format!("{key}:x"))
            ),
            format!("Sec-WebSocket-Protocol: openai-insecure-api-key.{key}"),
        ] {
            let fields = [field.as_str()];
            for request in [
                chat(&fields, CHAT),
                get("/v1/models", &fields),
                get("/v1/personalities", &fields),
            ] {
                assert_eq!(proxy.exchange(request).status(), 200, "{field}");
            }
        }
    }
}

#[test]
fn two_authorization_headers_are_not_let_in_by_the_second() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let second = format!("Authorization: Bearer {KEY_A}");
    let request = chat(&["Authorization: Bearer sk-x", &second], CHAT);
    proxy.exchange(request).error(401);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_second_authorization_header_does_not_carry_a_key_upstream() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let first = format!("Authorization: Bearer {KEY_A}");
    let second = format!("Authorization: Bearer {KEY_B}");
    for request in [
        chat(&[&first, &second], CHAT),
        get("/v1/models", &[&first, &second]),
    ] {
        assert_eq!(proxy.exchange(request).status(), 200);
        let request = upstream.requests().pop().unwrap();
        assert!(request.head.all("authorization").is_empty());
    }
}

/// The key of an app as a header field of a request, or in its target, in every way that came to mind.
fn places(key: &str) -> Vec<(String, Vec<String>)> {
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    let percent: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let field = |line: String| ("/v1/models".to_owned(), vec![line]);
    let target = |target: String| (target, vec![]);
    vec![
        field(format!("Authorization: Bearer {key}")),
        field(format!("Authorization: {}", basic(format!("{key}:")))),
        field(format!("Authorization: {}", basic(format!("user:{key}")))),
        field(format!("Authorization: {}", basic(key.to_owned()))),
        field(format!("Authorization: {key}")),
        field(format!("Authorization: Token token={key}")),
        field(format!("x-api-key: {key}")),
        field(format!("api-key: {key}")),
        field(format!("x-goog-api-key: {key}")),
        field(format!("X-YYChat-Api-Key: {key}")),
        field(format!("OpenAI-Organization: {key}")),
        field(format!("X-Whatever: {percent}")),
        field(format!("X-{key}: 1")),
        field(format!("Cookie: a=1; session={key}; b=2")),
        field(format!("Referer: https://app.example/?key={key}")),
        field(format!("baggage: k={percent}")),
        field(format!(
            "X-Json: {{\"auth\":\"{}\"}}",
            STANDARD.encode(format!("[\"{key}\"]"))
        )),
        field(format!("Proxy-Authorization: Bearer {key}")),
        field(format!(
            "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{key}"
        )),
        target(format!("/v1/models?key={key}")),
        target(format!("/v1/models?a=b&api_key={percent}")),
        target(format!("/v1/models?{key}")),
        target(format!("/v1/models/{key}")),
        target(format!("/v1/models/x{percent}")),
    ]
}

#[test]
fn the_gateways_keys_reach_no_upstream_wherever_they_stand() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let own = format!("X-YYChat-Api-Key: {KEY_A}");
    // The key that is proven, and another of the gateway's.
    for key in [KEY_A, KEY_B] {
        for (target, fields) in places(key) {
            let mut fields: Vec<_> = fields.iter().map(String::as_str).collect();
            fields.extend([own.as_str(), "X-Stays: here"]);
            let chat_at = target.replace("/v1/models", "/v1/chat/completions");
            for request in [get(&target, &fields), post(&chat_at, &fields, CHAT)] {
                let answer = proxy.exchange(&request);
                let said = String::from_utf8_lossy(&request).into_owned();
                match target.contains("/v1/models/") {
                    // Nothing can be taken out of a path.
                    true => drop(answer.error(400)),
                    false => assert_eq!(answer.status(), 200, "{said}"),
                }
            }
        }
    }
    let received = String::from_utf8_lossy(&upstream.received()).to_lowercase();
    assert_eq!(received.matches("x-stays: here").count(), 2 * 2 * 22);
    assert_eq!(received.matches("a=1; b=2").count(), 2 * 2);
    assert_eq!(
        received
            .matches("sec-websocket-protocol: realtime\r\n")
            .count(),
        2 * 2
    );
    for key in [KEY_A, KEY_B] {
        for before in ["", "x", "xx"] {
            let encoded = STANDARD.encode(format!("{before}{key}")).to_lowercase();
            // The last letters hang on what follows.
            assert!(
                !received.contains(&encoded[4..encoded.len() - 4]),
                "{encoded}"
            );
        }
        let percent: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert!(!received.contains(key) && !received.contains(&percent));
    }
}

#[test]
fn a_callers_own_upstream_key_goes_on_beside_the_gateways() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let ours = format!("Authorization: Bearer {KEY_A}");
    let also_ours = format!("api-key: {KEY_A}");
    for (fields, name, value) in [
        ([&*ours, "x-api-key: sk-theirs"], "x-api-key", "sk-theirs"),
        (
            [&*also_ours, "Authorization: Bearer sk-theirs"],
            "authorization",
            "Bearer sk-theirs",
        ),
    ] {
        for request in [chat(&fields, CHAT), get("/v1/models", &fields)] {
            assert_eq!(proxy.exchange(request).status(), 200, "{fields:?}");
            let head = upstream.requests().pop().unwrap().head;
            let shown: Vec<_> = ["authorization", "x-api-key", "api-key"]
                .into_iter()
                .filter_map(|name| Some((name, head.get(name)?)))
                .collect();
            assert_eq!(shown, [(name, value)]);
        }
    }
}

#[test]
fn an_upstreams_own_key_goes_out_as_it_is_told_and_in_the_place_of_the_clients() {
    for (line, path, expected) in [
        ("", "/v1/models", ("authorization", "Bearer sk-upstream")),
        ("", "/v1/messages", ("x-api-key", "sk-upstream")),
        (
            "auth = \"bearer\"",
            "/v1/messages",
            ("authorization", "Bearer sk-upstream"),
        ),
        (
            "auth = \"api-key\"",
            "/v1/models",
            ("api-key", "sk-upstream"),
        ),
        (
            "auth = \"x-api-key\"",
            "/v1/models",
            ("x-api-key", "sk-upstream"),
        ),
        (
            "auth = \"x-api-key\"",
            "/v1/chat/completions",
            ("x-api-key", "sk-upstream"),
        ),
        (
            "auth = \"api-key\"",
            "/v1/chat/completions",
            ("api-key", "sk-upstream"),
        ),
    ] {
        let upstream = Upstream::ok();
        let lines = format!("api_key = {{ env = \"UP\" }}\n{line}");
        let proxy = Setup::new()
            .env("UP", "sk-upstream")
            .upstream(&upstream, &lines)
            .start();
        let theirs = [
            "Authorization: Bearer sk-theirs",
            "x-api-key: sk-theirs",
            "Api-Key: sk-theirs",
        ];
        assert_eq!(proxy.exchange(post(path, &theirs, CHAT)).status(), 200);
        let head = upstream.request().head;
        let shown: Vec<_> = ["authorization", "x-api-key", "api-key"]
            .into_iter()
            .filter_map(|name| Some((name, head.get(name)?)))
            .collect();
        assert_eq!(shown, [expected], "{line} {path}");
    }
}

#[test]
fn a_refusal_says_in_which_fields_a_key_was_looked_for() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let told = |fields: &[&str]| {
        let error = proxy.exchange(get("/v1/models", fields)).error(401);
        error["message"].as_str().unwrap().to_owned()
    };
    for field in [
        "`Authorization: Bearer KEY`",
        "`x-api-key: KEY`",
        "`api-key: KEY`",
    ] {
        assert!(told(&[]).contains(field), "{}", told(&[]));
    }
    let both = told(&["Authorization: Bearer sk-theirs", "x-api-key: sk-theirs"]);
    assert!(both.contains("in `Authorization` or `x-api-key`"), "{both}");
}

#[test]
fn a_body_is_not_read_before_the_key_is_proven() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    let mut client = proxy.client();
    // The body never comes, and the answer does.
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.head().status(), 401);
}

#[test]
fn an_http2_client_needs_a_key_too() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream).start();
    for (key, status) in [("nonsense", 401), (KEY_A, 200)] {
        let request = Request::post(format!("http://{}/v1/chat/completions", proxy.api))
            .header("authorization", format!("Bearer {key}"))
            .body(CHAT.as_bytes().to_vec())
            .unwrap();
        assert_eq!(http2::exchange(proxy.api, request).head.status, status);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn an_address_open_to_the_network_needs_keys() {
    let open = || Setup::new().set("server.listen", "0.0.0.0:0");
    let faults = open().upstream_at("http://127.0.0.1:9/v1", "").open().err();
    let text = faults.expect("a fault").to_string();
    assert!(
        text.contains("server.listen") && text.contains("auth.keys"),
        "{text}"
    );
    let keyed = open()
        .upstream_at("http://127.0.0.1:9/v1", "")
        .key("a", KEY_A, "a");
    assert!(keyed.open().is_ok());
    let insecure = open()
        .config("server.insecure_no_auth = true")
        .upstream_at("http://127.0.0.1:9/v1", "");
    let (_, warnings) = insecure.open().expect("it was asked for");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.what.contains("insecure_no_auth"))
    );
}

#[test]
fn an_open_server_shows_as_a_metric() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .set("server.listen", "0.0.0.0:0")
        .config("server.insecure_no_auth = true")
        .upstream(&upstream, "")
        .start();
    assert_eq!(proxy.metric("yychat_insecure_no_auth"), 1.0);
}

#[test]
fn secrets_show_nowhere() {
    let upstream = Upstream::ok();
    let proxy = locked(&upstream)
        .env("UPSTREAM_KEY", "sk-secret-of-the-upstream")
        .upstream_at(
            &format!("http://{}/v1", Upstream::dead()),
            "models = [\"dead\"]\napi_key = { env = \"UPSTREAM_KEY\" }",
        )
        .start();
    let own = format!("X-YYChat-Api-Key: {KEY_A}");
    let callers = "Authorization: Bearer sk-secret-of-the-caller";
    let mut seen = String::new();
    for request in [
        chat(&[&own, callers], CHAT),
        chat(&[&own, callers], r#"{"model":"dead","messages":[]}"#),
        chat(&[callers], CHAT),
        chat(&[&own, callers], "{"),
        get("/v1/personalities", &[&own]),
    ] {
        let answer = proxy.exchange(request);
        seen.push_str(&format!("{:?}{}", answer.head, answer.text()));
    }
    for path in ["/metrics", "/readyz?verbose", "/livez", "/nothing"] {
        let answer = proxy.admin(path);
        seen.push_str(&format!("{:?}{}", answer.head, answer.text()));
    }
    let sources = yychat::config::Sources {
        file: Some(proxy.root().join("conf/yychat.toml")),
        env: [
            ("KEY_A", KEY_A),
            ("KEY_B", KEY_B),
            ("UPSTREAM_KEY", "sk-secret-of-the-upstream"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        overrides: vec![],
    };
    let loaded = yychat::config::load(&sources, &yychat::reading::Reading::default());
    let config = &loaded.expect("valid").config;
    seen.push_str(&format!(
        "{config:?}{}",
        serde_json::to_string(config).unwrap()
    ));
    for secret in [KEY_A, KEY_B, "sk-secret"] {
        assert!(!seen.contains(secret), "{secret} shows");
    }
}
