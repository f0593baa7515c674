//! What an operator sees of the requests that were served.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::client::{Client, Response, get};
use crate::support::upstream::{COMPLETION, STREAM, event, json_answer};
use crate::support::{Proxy, Setup, Upstream, eventually, post};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// The admin listener's answer, asked for by a name that it is served under.
fn admin(proxy: &Proxy, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Client::connect(proxy.admin).exchange(request)
}

fn json_at(proxy: &Proxy, path: &str) -> Value {
    serde_json::from_str(&admin(proxy, path).text()).expect("JSON")
}

/// A gateway whose ring holds so many requests.
fn served(proxy: &Proxy, count: u64) {
    eventually("the ring has them", || {
        let stats = json_at(proxy, "/v1/performance/stats");
        (stats["total_requests"] == count).then_some(())
    });
}

#[test]
fn the_ring_tells_of_each_request_and_its_phases_sum_to_its_time() {
    let upstream = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            if request.text().contains("\"stream\":true") {
                visit.send(STREAM);
                visit.chunk(event("hello"));
                visit.last_chunk();
            } else {
                visit.send(json_answer(COMPLETION));
            }
        }
    });
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("p", "Be brief.")
        .start();
    proxy.chat(CHAT);
    proxy.chat(r#"{"personality_id":"p","stream":true,"model":"<b>","user":"ada","messages":[{"role":"user","content":"hi"}]}"#);
    proxy.chat("{").error(400);
    served(&proxy, 3);
    let recent = json_at(&proxy, "/v1/performance/recent?count=2");
    let data = recent["data"].as_array().expect("a list");
    assert_eq!((data.len(), &data[0]["status"]), (2, &json!(400)));
    let streamed = &data[1];
    for (name, value) in [
        ("route", json!("chat")),
        ("stream", json!(true)),
        ("model", json!("<b>")),
        ("upstream", json!("u0")),
        ("personality", json!("p")),
        ("memory", json!("miss")),
        ("generation", json!(1)),
        ("tenant", json!("default")),
        ("failure", json!(null)),
    ] {
        assert_eq!(streamed[name], value, "{name}");
    }
    let all = json_at(&proxy, "/v1/performance/recent");
    for entry in all["data"].as_array().expect("a list") {
        let phases = entry["phases"].as_object().expect("phases").values();
        let sum: f64 = phases.filter_map(Value::as_f64).sum();
        let total = entry["total"].as_f64().expect("a number");
        assert!((sum - total).abs() <= total * 0.01, "{entry}");
    }
    assert_eq!(all["data"][2]["completion_tokens"], 1);
    let stats = json_at(&proxy, "/v1/performance/stats");
    assert_eq!(stats["streams"]["count"], 1);
    assert_eq!(stats["streams"]["live"], 0);
    assert_eq!(stats["window"]["count"], 3);
    assert!(stats["phases"]["upstream_ttfb"]["p99"].is_f64());
}

#[test]
fn an_app_sees_and_clears_its_own_tenants_requests_alone() {
    let upstream = Upstream::ok();
    let keys = ["key-of-the-first-app", "key-of-the-second-app"];
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("a", keys[0], "acme")
        .key("b", keys[1], "bolt")
        .start();
    let with = |key: &str| format!("Authorization: Bearer {key}");
    for key in keys {
        proxy.exchange(post("/v1/chat/completions", &[&with(key)], CHAT));
    }
    served(&proxy, 2);
    let ask = |path: &str| {
        let answer = proxy.exchange(get(path, &[&with(keys[0])]));
        serde_json::from_str::<Value>(&answer.text()).expect("JSON")
    };
    let tenants = |list: &Value| {
        let data = list["data"].as_array().expect("a list").iter();
        data.map(|entry| entry["tenant"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(tenants(&ask("/v1/performance/recent")), ["acme"]);
    assert_eq!(
        proxy.exchange(get("/v1/performance/stats", &[])).status(),
        401
    );
    let clear = format!(
        "DELETE /v1/performance/clear HTTP/1.1\r\nHost: gateway\r\n{}\r\n\r\n",
        with(keys[1])
    );
    let cleared: Value = serde_json::from_str(&proxy.exchange(clear).text()).expect("JSON");
    assert!(cleared["cleared"].as_u64().is_some_and(|count| count >= 1));
    let left = json_at(&proxy, "/v1/performance/recent");
    let chats = left["data"].as_array().expect("a list").iter();
    let chats: Vec<_> = chats.filter(|entry| entry["route"] == "chat").collect();
    assert_eq!((chats.len(), &chats[0]["tenant"]), (1, &json!("acme")));
}

#[test]
fn the_page_is_served_with_what_it_shows() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "models = [\"gpt-*\", \"m\"]")
        .persona("p", "x")
        .start();
    proxy.chat(CHAT);
    served(&proxy, 1);
    let page = admin(&proxy, "/");
    let policy = page.head.get("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(page.text().contains("page.js"));
    let status = json_at(&proxy, "/status");
    assert_eq!(status["generation"]["number"], 1);
    assert_eq!(status["generation"]["faults"], json!([]));
    let shown = &status["upstreams"][0];
    assert_eq!(
        (&shown["name"], &shown["requests"], &shown["errors"]),
        (&json!("u0"), &json!(1), &json!(0))
    );
    assert_eq!(shown["models"], json!(["gpt-*", "m"]));
    assert_eq!(status["personalities"][0]["id"], "p");
    assert_eq!(status["memory"]["store"], "embedded");
    let mut watching = Client::connect(proxy.admin);
    watching.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        watching.head().get("content-type"),
        Some("text/event-stream")
    );
    let first = String::from_utf8(watching.chunk().expect("an event")).expect("text");
    let data = first
        .strip_prefix("event: overview\ndata: ")
        .expect("an overview");
    let overview: Value = serde_json::from_str(data.trim()).expect("JSON");
    assert_eq!(overview["recent"][0]["model"], "m");
    assert_eq!(overview["stats"]["total_requests"], 1);
    assert_eq!(overview["broken"], false);
}

#[test]
fn other_sites_and_strangers_are_kept_out_of_the_admin_listener() {
    let proxy = Setup::new()
        .env("YYCHAT_ADMIN_KEY", "admin-key-0123456789")
        .upstream(&Upstream::ok(), "")
        .key("a", "key-of-the-first-app", "acme")
        .start();
    let ask = |request: &str| Client::connect(proxy.admin).exchange(request);
    let status = |host: &str, line: &str, more: &str| {
        ask(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).status()
    };
    assert_eq!(status("evil.example", "GET /status", ""), 403);
    assert_eq!(status("evil.example", "GET /metrics", ""), 200);
    assert_eq!(status("localhost:9090", "GET /status", ""), 200);
    let clear = "DELETE /v1/performance/clear";
    let changes = |origin: &str| {
        let admin = "x-api-key: admin-key-0123456789";
        let fields = format!("Origin: http://{origin}\r\n{admin}\r\n");
        status("127.0.0.1:9", clear, &fields)
    };
    assert_eq!(changes("evil.example"), 403);
    assert_eq!(changes("127.0.0.1:9"), 200);
    assert_eq!(
        status("127.0.0.1:9", "GET /v1/memories?user_id=ada", ""),
        401
    );
    let key = "Authorization: Bearer key-of-the-first-app\r\n";
    assert_eq!(
        status("127.0.0.1:9", "GET /v1/memories?user_id=ada", key),
        200
    );
}

#[test]
fn the_admin_listener_bounds_what_it_reads_and_serves_one_request_after_another() {
    let proxy = Setup::new().upstream(&Upstream::ok(), "").start();
    let mut client = Client::connect(proxy.admin);
    client.send("HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response_to("HEAD");
    assert_eq!(
        (head.status(), head.head.get("content-length")),
        (200, Some("3"))
    );
    assert_eq!(client.exchange(get("/livez", &[])).text(), "ok\n");
    let wrong =
        client.exchange("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    wrong.error(405);
    assert_eq!(wrong.head.get("allow"), Some("GET,HEAD"));
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let refused =
        Client::connect(proxy.admin).exchange(format!("GET /livez HTTP/1.1\r\n{many}\r\n"));
    assert_eq!(refused.status(), 431);
    let large =
        "POST /v1/memories/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n";
    Client::connect(proxy.admin).exchange(large).error(413);
}

#[test]
fn a_preview_is_what_the_upstream_gets_to_the_byte() {
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .upstream(&upstream, "")
        .persona("p", "Be brief.");
    std::fs::create_dir(setup.path("plugins/gettime")).expect("a folder");
    let proxy = setup
        .file(
            "plugins/gettime/plugin.toml",
            include_bytes!("../../plugins/gettime/plugin.toml"),
        )
        .file(
            "plugins/gettime/gettime.json",
            include_bytes!("../../plugins/gettime/gettime.json"),
        )
        .start();
    let remember = r#"{"user_id":"ada","text":"My cat is called Pixel."}"#;
    assert_eq!(
        proxy.exchange(post("/v1/memories", &[], remember)).status(),
        201
    );
    let request = r#"{ "personality_id":"p", "user":"ada", "memory":"readonly", "model":"m","odd":1e2, "messages":[{"role":"user","content":"What is my cat called?"}]}"#;
    let preview = proxy.exchange(post("/v1/preview", &[], request));
    let preview: Value = serde_json::from_str(&preview.text()).expect("JSON");
    assert!(upstream.requests().is_empty(), "a preview sends nothing");
    proxy.chat(request);
    let sent = upstream.request().body;
    let digest = format!("{:x}", Sha256::digest(&sent));
    assert_eq!(preview["sha256"], digest, "{preview}");
    assert_eq!(preview["length"], sent.len());
    let body = preview["body"].as_str().expect("the body");
    assert_eq!(body.as_bytes(), sent);
    let mut sources = Vec::new();
    for insertion in preview["insertions"].as_array().expect("a list") {
        let place = |name: &str| {
            usize::try_from(insertion[name].as_u64().expect("a number")).expect("small")
        };
        assert_eq!(insertion["text"], body[place("start")..place("end")]);
        sources.push(insertion["source"].as_str().expect("a name"));
    }
    for source in ["persona", "memory", "tools"] {
        assert!(sources.contains(&source), "no {source} in {sources:?}");
    }
    assert_eq!(
        preview["memory"]["records"][0]["text"],
        "My cat is called Pixel."
    );
    assert_eq!(preview["memory"]["records"][0]["injected"], true);
    assert!(
        preview["memory"]["records"][0]["score"]
            .as_f64()
            .is_some_and(|score| score > 0.0)
    );
    assert_eq!(preview["tools"][0]["name"], "gettime");
    let refused = proxy.exchange(post(
        "/v1/preview",
        &[],
        r#"{"personality_id":"nobody","messages":[]}"#,
    ));
    assert_eq!(refused.error(404)["code"], "personality_not_found");
}

#[test]
fn explain_marks_the_insertions_in_a_terminals_text() {
    let setup = Setup::new()
        .upstream(&Upstream::ok(), "")
        .persona("p", "Be brief.");
    drop(setup.open().unwrap_or_else(|faults| panic!("{faults}")));
    let setup = setup.file(
        "request.json",
        br#"{"messages":[{"role":"user","content":"hi"}]}"#,
    );
    let explain = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_yychat"))
            .args(["explain", "--header", "X-YYChat-Personality: p"])
            .args(["--set", "memory.enabled=false", "--config"])
            .arg(setup.path("conf/yychat.toml"))
            .args([
                format!(
                    "--set=personality.dir={}",
                    setup.path("conf/personalities").display()
                ),
                format!("--set=tools.dir={}", setup.path("plugins").display()),
            ])
            .arg(setup.path("request.json"))
            .args(more)
            .output()
            .expect("the program that was just built")
    };
    let text = String::from_utf8(explain(&[]).stdout).expect("text");
    assert!(text.contains("Be brief."), "{text}");
    assert!(
        text.contains('⟦') && text.contains("+ \"persona\" at "),
        "{text}"
    );
    let told: Value = serde_json::from_slice(&explain(&["--json"]).stdout).expect("JSON");
    assert_eq!(told["upstream"], "u0");
}

#[test]
fn new_models_and_users_make_no_new_series() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "models = [\"gpt-4o\", \"*\"]")
        .start();
    let mut client = proxy.client();
    let mut ask = |model: &str, user: u32| {
        let body = json!({ "model": model, "user": format!("u{user}"), "messages": [] });
        client.exchange(post("/v1/chat/completions", &[], body.to_string()))
    };
    let series = || {
        let text = proxy.admin("/metrics").text();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    ask("gpt-4o", 0);
    for number in 0..150 {
        ask(&format!("model-{number}"), number);
    }
    served(&proxy, 151);
    let before = series();
    for number in 150..300 {
        ask(&format!("model-{number}"), number);
    }
    served(&proxy, 301);
    assert_eq!(series(), before);
    assert!(before < 2000, "{before} series");
    let named = "gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"u0\",gen_ai_request_model=\"gpt-4o\"}";
    assert!((proxy.metric(named) - 1.0).abs() < f64::EPSILON);
}
