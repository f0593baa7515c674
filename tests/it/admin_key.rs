//! What the admin listener shows and does for whom.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{Client, Response};
use crate::support::{Proxy, Setup, Upstream, eventually};

const ADMIN: &str = "admin-key-0123456789";
const APP: &str = "key-of-the-first-app";

/// What looks, what searches, and what changes.
const STATUS: &str = "GET /status";
const SEARCH: &str = "POST /v1/memories/search";
const CLEAR: &str = "DELETE /v1/performance/clear";

fn ask(proxy: &Proxy, line: &str, fields: &[&str]) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let body = match line.starts_with("POST") {
        true => r#"{"query":"tea","user_id":"ada"}"#,
        false => "",
    };
    Client::connect(proxy.admin).exchange(format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn keyed() -> Setup {
    Setup::new()
        .config("server.admin_key = { env = \"ADMIN\" }")
        .env("ADMIN", ADMIN)
        .env("OTHER_ADMIN", "other-admin-key-0123456789")
        .upstream(&Upstream::ok(), "")
        .key("a", APP, "acme")
}

/// The key in each of the fields that show one.
fn shown(key: &str) -> [String; 6] {
    let basic = |pair: String| format!("Authorization: Basic {}", STANDARD.encode(pair));
    [
        format!("Authorization: Bearer {key}"),
        basic(format!("admin:{key}")),
        basic(format!("{key}:")),
        format!("x-api-key: {key}"),
        format!("api-key: {key}"),
        format!("X-YYChat-Api-Key: {key}"),
    ]
}

#[test]
fn what_changes_something_takes_the_admin_key_and_looking_on_loopback_none() {
    let proxy = keyed().start();
    assert_eq!(ask(&proxy, STATUS, &[]).status(), 200);
    let app = format!("X-YYChat-Api-Key: {APP}");
    for line in [
        CLEAR,
        "DELETE /v1/memories?user_id=ada",
        "POST /v1/memories",
        "PUT /v1/memories/x",
        "DELETE /v1/conversations/c/memory",
        "PATCH /what-comes-later",
    ] {
        for fields in [vec![], vec![&*app], vec!["Cookie: admin-key-0123456789"]] {
            let answer = ask(&proxy, line, &fields);
            let error = answer.error(401);
            assert_eq!(error["code"], "invalid_api_key", "{line}");
            assert_eq!(error["param"], "server.admin_key");
            assert_eq!(answer.head.get("www-authenticate"), Some("Bearer"));
        }
    }
    assert!(proxy.metric("yychat_auth_failures_total") >= 18.0);
    for field in shown("admin-key-012345678") {
        ask(&proxy, CLEAR, &[&field]).error(401);
    }
    for field in shown(ADMIN) {
        assert_eq!(ask(&proxy, CLEAR, &[&field]).status(), 200, "{field}");
    }
}

#[test]
fn without_an_admin_key_nothing_is_changed() {
    let proxy = Setup::new().upstream(&Upstream::ok(), "").start();
    for line in [CLEAR, "DELETE /v1/memories?user_id=ada"] {
        let error = ask(&proxy, line, &["x-api-key: "]).error(403);
        let told = error["message"].to_string();
        assert!(told.contains("set server.admin_key"), "{told}");
    }
    assert_eq!(ask(&proxy, STATUS, &[]).status(), 200);
}

#[test]
fn memories_take_their_apps_key_beside_the_admin_key() {
    let proxy = keyed().start();
    let admin = format!("Authorization: Bearer {ADMIN}");
    let app = format!("X-YYChat-Api-Key: {APP}");
    let delete = "DELETE /v1/memories?user_id=ada";
    // Neither opens what the other does.
    assert_eq!(
        ask(&proxy, delete, &[&app]).error(401)["param"],
        "server.admin_key"
    );
    assert!(ask(&proxy, delete, &[&admin]).error(401)["param"].is_null());
    assert_eq!(ask(&proxy, delete, &[&admin, &app]).status(), 200);
    assert_eq!(ask(&proxy, SEARCH, &[&app]).status(), 200);
    ask(&proxy, SEARCH, &[&admin]).error(401);
    // An app's endpoints know nothing of it.
    let api = crate::support::client::get("/v1/personalities", &[&admin]);
    proxy.exchange(api).error(401);
}

#[test]
fn an_admin_listener_that_others_reach_shows_metrics_and_health_alone_without_the_key() {
    let open = Setup::new()
        .set("server.admin_listen", "0.0.0.0:0")
        .upstream(&Upstream::ok(), "");
    let proxy = open.start();
    for line in [
        "GET /metrics",
        "GET /livez",
        "GET /readyz",
        "GET /readyz?verbose",
        "GET /",
        "GET /page.js",
    ] {
        assert_eq!(ask(&proxy, line, &[]).status(), 200, "{line}");
    }
    let looks = [
        STATUS,
        SEARCH,
        CLEAR,
        "GET /events",
        "GET /v1/usage",
        "GET /v1/performance/recent",
        "GET /v1/memories?user_id=ada",
        "GET /v1/memories/export",
        "GET /what-comes-later",
    ];
    for line in looks {
        let answer = ask(&proxy, line, &[]);
        assert_eq!(answer.status(), 403, "{line}");
    }
    let told = ask(&proxy, STATUS, &[]).error(403)["message"].to_string();
    assert!(told.contains("YYCHAT_ADMIN_KEY"), "{told}");

    let proxy = keyed().set("server.admin_listen", "0.0.0.0:0").start();
    let admin = format!("Authorization: Bearer {ADMIN}");
    let app = format!("X-YYChat-Api-Key: {APP}");
    for line in looks {
        assert_eq!(ask(&proxy, line, &[&app]).status(), 401, "{line}");
    }
    assert_eq!(ask(&proxy, STATUS, &[&admin]).status(), 200);
    assert_eq!(ask(&proxy, SEARCH, &[&admin, &app]).status(), 200);
}

#[test]
fn the_admin_key_changes_with_a_reload_and_an_edit_that_says_another_address_opens_nothing() {
    let proxy = keyed()
        .unset("server.admin_listen")
        .config("server.admin_listen = \"0.0.0.0:0\"")
        .start();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let status = |key: &str| ask(&proxy, STATUS, &[&format!("x-api-key: {key}")]).status();
    assert_eq!(
        (status(ADMIN), status("other-admin-key-0123456789")),
        (200, 401)
    );
    fs::write(&file, good.replace("\"ADMIN\"", "\"OTHER_ADMIN\"")).unwrap();
    eventually("the other key opens", || {
        (status("other-admin-key-0123456789") == 200).then_some(())
    });
    assert_eq!(status(ADMIN), 401);
    // What is bound decides, and without a key nobody has the right one.
    let local = good.replace("0.0.0.0:0", "127.0.0.1:0");
    let without = local.replace("server.admin_key = { env = \"ADMIN\" }", "");
    fs::write(&file, without).unwrap();
    eventually("the key is gone", || {
        (status("other-admin-key-0123456789") == 403).then_some(())
    });
    assert_eq!((status(ADMIN), status("")), (403, 403));
}
