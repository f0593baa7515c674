//! Paths, methods and addresses: what is ours in any spelling, and what passes as it came.

use crate::support::client::get;
use crate::support::upstream::answer;
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn another_spelling_of_a_path_of_ours_is_that_path_or_refused() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("p", "Be brief.")
        .config("personality.default = \"p\"")
        .start();
    for path in [
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "//v1/chat//completions//",
        "/v1/chat/%63ompletions",
        "/%761/chat/completions?x=1",
    ] {
        let answer = proxy.exchange(post(path, &["Content-Type: application/json"], CHAT));
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.head.get("x-yychat-personality"), Some("p"), "{path}");
        let sent = upstream.requests().pop().expect("a request");
        assert!(sent.text().contains("Be brief."), "{path}");
        let line = sent.head.first_line;
        assert!(line.starts_with("POST /v1/chat/completions"), "{line}");
    }
    assert_eq!(
        proxy.exchange(get("/v1//personalities/p/", &[])).status(),
        200
    );
    let count = upstream.requests().len();
    for path in [
        "/v1/Chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat%252Fcompletions",
        "/v1/chat/completions%20",
        "/v1/chat/completions;a=b",
        "/v1/chat\\completions",
        "/v1/v1/chat/completions",
        "/v1/Memories?user_id=a",
    ] {
        let error = proxy.exchange(post(path, &[], CHAT)).error(400);
        let told = error["message"].as_str().unwrap();
        assert!(told.contains("another spelling of `/v1/"), "{path}: {told}");
    }
    assert_eq!(upstream.requests().len(), count);
}

#[test]
fn what_is_not_ours_passes_with_its_method_and_its_spelling() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for line in [
        "GET /v1/chat/completions?limit=2",
        "DELETE /v1/chat/completions/chatcmpl-1",
        "POST /v1/chat/completions/chatcmpl-1",
        "GET /v1/chat/completions/chatcmpl-1/messages",
        "GET /v1/something//a%2fb/",
        "PATCH /v1/Something;else",
        "QUERY /v1/models",
        "OPTIONS /v1/chat/completions",
    ] {
        let answer = proxy.exchange(format!(
            "{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.status(), 200, "{line}");
        let sent = upstream
            .requests()
            .pop()
            .expect("a request")
            .head
            .first_line;
        assert_eq!(sent, format!("{line} HTTP/1.1"));
    }
}

#[test]
fn a_path_outside_the_api_is_not_found() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for path in ["/v2/models", "/v1x", "/metrics", "/chat/completions"] {
        let error = proxy.exchange(get(path, &[])).error(404);
        assert!(error["message"].as_str().unwrap().contains("/v1"), "{path}");
    }
    for path in ["/api/chat", "/api/tags", "//api//generate"] {
        let error = proxy.exchange(post(path, &[], CHAT)).error(404);
        let told = error["message"].as_str().unwrap();
        assert!(told.contains("Ollama") && told.contains("/v1"), "{told}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn whoever_looks_whether_anyone_is_there_is_greeted() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("a", "key-of-app-a-0123456789", "a")
        .start();
    let mut client = proxy.client();
    let greeting = client.exchange(get("/", &[]));
    assert_eq!(greeting.status(), 200);
    let kind = greeting.head.get("content-type").expect("a type");
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert!(greeting.text().contains("yychat") && greeting.text().contains("/v1"));
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response_to("HEAD");
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.head.get("content-length"),
        greeting.head.get("content-length")
    );
    // The connection is still of use, so nothing was sent as a body.
    assert_eq!(client.exchange(get("/", &[])).text(), greeting.text());
    proxy.exchange(post("/", &[], "")).error(404);
    assert_eq!(upstream.connections(), 0);
    eventually("greetings are no refusals", || {
        let count = |route: &str| {
            proxy.metric(&format!(
                "yychat_requests_total{{route=\"{route}\",status=\"200\",stream=\"false\"}}"
            ))
        };
        (count("local") == 3.0).then_some(())
    });
}

#[test]
fn head_and_other_methods_on_our_own_endpoints() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("p", "x")
        .start();
    let mut client = proxy.client();
    for path in ["/v1/personalities", "/v1/tools", "/v1/personalities/nobody"] {
        let whole = client.exchange(get(path, &[]));
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.response_to("HEAD");
        assert_eq!(head.status(), whole.status(), "{path}");
        assert_eq!(
            head.head.get("content-length"),
            whole.head.get("content-length"),
            "{path}"
        );
    }
    for (method, path, allowed) in [
        ("POST", "/v1/personalities", "GET,HEAD"),
        ("GET", "/v1/tools/call", "POST"),
        ("PATCH", "/v1/memories/a", "GET,HEAD,PUT,DELETE"),
    ] {
        let answer = client.exchange(format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        ));
        answer.error(405);
        let mut named: Vec<_> = answer
            .head
            .get("allow")
            .expect("Allow")
            .split(',')
            .collect();
        let mut expected: Vec<_> = allowed.split(',').collect();
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected, "{method} {path}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upstreams_redirect_does_not_show_its_address() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let receiver = std::sync::Mutex::new(receiver);
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            let location: String = receiver.lock().unwrap().recv().expect("a location");
            let field = format!("Location: {location}");
            visit.send(answer(
                "307 Temporary Redirect",
                &[&field, "Alt-Svc: h2=\":1\""],
                "moved",
            ));
        }
    });
    let address = upstream.address();
    let base_url = format!("http://{address}/inner/v1");
    let proxy = Setup::new().upstream_at(&base_url, "").start();
    for (location, told) in [
        (
            format!("http://{address}/inner/v1/chat/completions/x"),
            Some("/v1/chat/completions/x"),
        ),
        (
            format!("//{address}/inner/v1/other?a=b"),
            Some("/v1/other?a=b"),
        ),
        ("/inner/v1/other".into(), Some("/v1/other")),
        (
            "https://files.example.com/a".into(),
            Some("https://files.example.com/a"),
        ),
        (format!("http://{address}/login"), None),
        ("http://10.0.0.7/x".into(), None),
        ("//localhost:9/x".into(), None),
    ] {
        for request in [chat(&[], CHAT), get("/v1/files", &[])] {
            sender.send(location.clone()).unwrap();
            let answer = proxy.exchange(request);
            match told {
                Some(told) => {
                    assert_eq!(answer.status(), 307, "{location}");
                    assert_eq!(answer.head.get("location"), Some(told));
                    assert_eq!(answer.head.get("alt-svc"), None);
                }
                None => {
                    let error = answer.error(502);
                    assert_eq!(error["code"], "upstream_error", "{location}");
                }
            }
            let shown = format!("{:?}{}", answer.head, answer.text());
            assert!(!shown.contains(&address.to_string()), "{shown}");
        }
    }
}

#[test]
fn paths_that_climb_out_of_the_base_url_are_refused() {
    let upstream = Upstream::ok();
    let base_url = format!("http://{}/tenant/v1", upstream.address());
    let proxy = Setup::new().upstream_at(&base_url, "").start();
    for path in [
        "/v1/../admin",
        "/v1/files/../../../admin",
        "/v1/%2e%2e/admin",
        "/v1/.%2E/admin",
        "/v1/./admin",
        "/v1/files/..%2fadmin",
        "/v1/files/..%2Fadmin",
        "/v1/files\\..\\admin",
        "/v1/files/%2e%2e%5cadmin",
        "/v1/files/..;/admin",
    ] {
        let error = proxy.exchange(get(path, &[])).error(400);
        assert_eq!(error["type"], "invalid_request_error", "{path}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn what_an_upstream_says_of_its_own_address_is_not_said_of_this_one() {
    let fields = "Link: <http://10.0.0.1/v1/files?after=1>; rel=next\r\nAzure-AsyncOperation: http://10.0.0.1/x\r\n\
                  Strict-Transport-Security: max-age=1\r\nClear-Site-Data: \"*\"\r\nX-Accel-Redirect: /internal\r\n\
                  X-Sendfile: /etc/passwd\r\nSet-Cookie: session=1\r\nX-Kept: 1";
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n{fields}\r\n\r\n"
    ));
    let proxy = Setup::new()
        .upstream(&upstream, "api_key = { env = \"UPSTREAM_KEY\" }")
        .env("UPSTREAM_KEY", "the-upstreams-own-key")
        .start();
    let asked = get("/v1/files/f-1", &["Cookie: session=2", "X-Kept: 1"]);
    let answer = proxy.exchange(asked);
    assert_eq!(answer.status(), 204);
    for name in [
        "link",
        "azure-asyncoperation",
        "strict-transport-security",
        "clear-site-data",
        "x-accel-redirect",
        "x-sendfile",
        "set-cookie",
        "content-length",
    ] {
        assert_eq!(answer.head.get(name), None, "{name}");
    }
    assert_eq!(answer.head.get("x-kept"), Some("1"));
    let sent = upstream.request().head;
    assert_eq!((sent.get("cookie"), sent.get("x-kept")), (None, Some("1")));
}
