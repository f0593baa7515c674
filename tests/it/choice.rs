//! Which upstream serves a request, on every route: by model, by the API that it speaks, by id.

use serde_json::{Value, json};

use crate::support::client::{chunked, get};
use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, chat, post};

const JSON: &str = "Content-Type: application/json";
const FORM: &str = "Content-Type: multipart/form-data; boundary=x";
const OWN_KEY: &str = "Authorization: Bearer sk-of-the-callers-own";

/// What every API takes.
fn asking(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"input":"x","max_tokens":1}}"#
    )
}

fn served(proxy: &Proxy, request: impl AsRef<[u8]>) -> String {
    let answer = proxy.exchange(request);
    let upstream = answer.head.get("x-yychat-upstream").map(str::to_owned);
    upstream.unwrap_or_else(|| format!("{}: {}", answer.status(), answer.text()))
}

fn two() -> (Upstream, Upstream, Proxy) {
    let (gpt, local) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream(&gpt, "models = [\"gpt-*\"]")
        .upstream(&local, "models = [\"local-*\", \"org/*\"]")
        .start();
    (gpt, local, proxy)
}

fn field(name: &str, value: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file(bytes: usize) -> String {
    format!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\n{}\r\n",
        "\0".repeat(bytes)
    )
}

#[test]
fn the_model_decides_wherever_it_is_named() {
    let (gpt, local, proxy) = two();
    let long = "x".repeat(3 << 20);
    let bodies = [
        asking("local-1"),
        format!(
            r#"{{"input":"{long}","x":{{"model":"gpt-4o"}}, "model" : "local-1","max_tokens":1,"messages":[{{"role":"user","content":"x"}}]}}"#
        ),
        asking("local-1").replacen('{', r#"{"prompt":"\"model\":\"gpt-4o\"","#, 1),
    ];
    let mut requests = Vec::new();
    for path in [
        "/v1/embeddings",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/moderations",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/rerank",
        "/v1/what/comes/next",
    ] {
        for body in &bodies {
            requests.push(post(path, &[JSON], body));
        }
    }
    for content_type in ["Content-Type: text/plain", "X-No-Type: 1"] {
        requests.push(post("/v1/embeddings", &[content_type], &bodies[0]));
    }
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n{JSON}\r\n");
    let in_chunks = [
        format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes(),
        chunked(bodies[1].as_bytes(), 60_000),
    ];
    requests.push(in_chunks.concat());
    let model = field("model", "local-1");
    for form in [
        format!("{model}{}--x--\r\n", file(10)),
        format!("{}{model}--x--\r\n", file(1 << 20)),
    ] {
        requests.push(post("/v1/audio/transcriptions", &[FORM], form));
    }
    for path in [
        "/v1/models/local-1",
        "/v1/models/org%2Fname",
        "/v1/models/org/name",
        "/v1/engines/local-1/completions",
        "/v1/anything?model=local-1&x=y",
    ] {
        requests.push(get(path, &[]));
    }
    let count = requests.len();
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        assert_eq!(served(&proxy, &request), "u1", "{shown}");
    }
    assert_eq!((gpt.connections(), local.requests().len()), (0, count));
    // What was looked at is sent as it came.
    let sent = local.requests();
    assert!(sent[1].text() == bodies[1]);
    let is_whole = |request: &crate::support::upstream::Request| request.text() == bodies[1];
    assert_eq!(sent.iter().filter(|request| is_whole(request)).count(), 10);
}

#[test]
fn a_model_that_nobody_serves_is_not_found_on_any_route() {
    let (gpt, local, proxy) = two();
    let json = &asking("claude-4");
    for request in [
        post("/v1/embeddings", &[JSON], json),
        post("/v1/responses", &[JSON], json),
        post("/v1/messages", &[JSON], json),
        post("/v1/new", &[JSON], json),
        post(
            "/v1/audio/transcriptions",
            &[FORM],
            field("model", "claude-4") + "--x--",
        ),
        get("/v1/models/claude-4", &[]),
        get("/v1/realtime?model=claude-4", &[]),
        chat(&[], r#"{"model":"claude-4","messages":[]}"#),
    ] {
        let answer = proxy.exchange(&request);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.status(), 404, "{body}");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(
            message.contains("`claude-4`") && message.contains("`models`"),
            "{body}"
        );
    }
    assert_eq!((gpt.connections(), local.connections()), (0, 0));
}

#[test]
fn a_model_that_is_named_twice_is_refused_and_never_reaches_an_upstream_whole() {
    let upstream = Upstream::ok();
    let proxy = Setup::new().upstream(&upstream, "models = [\"a\"]").start();
    let long = "x".repeat(2 << 20);
    for body in [
        r#"{"model":"a","model":"b"}"#.to_owned(),
        r#"{"model":"a","MODEL":"b"}"#.to_owned(),
        format!(r#"{{"model":"a","input":"{long}","model":"b"}}"#),
    ] {
        let error = proxy
            .exchange(post("/v1/embeddings", &[JSON], &body))
            .error(400);
        assert_eq!(error["param"], "model");
    }
    let twice = field("model", "a") + &field("model", "b") + "--x--";
    proxy
        .exchange(post("/v1/audio/translations", &[FORM], twice))
        .error(400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_request_that_names_no_model_gets_its_upstreams_default() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "default_model = \"de\\\"fault\"")
        .start();
    let form = file(40_000);
    for (path, fields, sent, received) in [
        (
            "/v1/embeddings",
            JSON,
            "{ \"input\" : 1.0 }",
            "{\"model\":\"de\\\"fault\", \"input\" : 1.0 }",
        ),
        ("/v1/completions", JSON, "{}", "{\"model\":\"de\\\"fault\"}"),
        (
            "/v1/responses",
            JSON,
            "{\"input\":\"x\"}",
            "{\"model\":\"de\\\"fault\",\"input\":\"x\"}",
        ),
        (
            "/v1/messages",
            JSON,
            "{\"messages\":[ ] }",
            "{\"model\":\"de\\\"fault\",\"messages\":[ ] }",
        ),
        (
            "/v1/completions",
            JSON,
            "{\"a\":[],\"model\":null}",
            "{\"a\":[],\"model\":\"de\\\"fault\"}",
        ),
        (
            "/v1/completions",
            JSON,
            "{\"model\":\"\",\"b\":2}",
            "{\"model\":\"de\\\"fault\",\"b\":2}",
        ),
        (
            "/v1/chat/completions",
            JSON,
            "\n{\"messages\":[ ]}",
            "\n{\"model\":\"de\\\"fault\",\"messages\":[ ]}",
        ),
        (
            "/v1/audio/transcriptions",
            FORM,
            &format!("{form}--x--\r\n"),
            &format!("{}{form}--x--\r\n", field("model", "de\"fault")),
        ),
        // Their upstream has a default of its own, or takes none.
        (
            "/v1/moderations",
            JSON,
            "{\"input\":\"\"}",
            "{\"input\":\"\"}",
        ),
        ("/v1/images/generations", JSON, "{}", "{}"),
        (
            "/v1/vector_stores",
            JSON,
            "{\"name\":\"a\"}",
            "{\"name\":\"a\"}",
        ),
        // It is not ours to say that these are no models.
        ("/v1/embeddings", JSON, "{\"model\":7}", "{\"model\":7}"),
        (
            "/v1/embeddings",
            JSON,
            "{\"model\":\"named\"}",
            "{\"model\":\"named\"}",
        ),
        ("/v1/embeddings", JSON, "[1]", "[1]"),
        ("/v1/embeddings", JSON, "", ""),
    ] {
        let answer = proxy.exchange(post(path, &[fields], sent));
        assert_eq!(answer.status(), 200, "{path} {sent}");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.text(), received, "{path}");
        let length = received.len().to_string();
        assert_eq!(request.head.get("content-length"), Some(length.as_str()));
    }
}

#[test]
fn the_environments_upstream_has_openai_model_as_its_default() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .env(
            "OPENAI_BASE_URL",
            &format!("http://{}/v1", upstream.address()),
        )
        .env("OPENAI_API_KEY", "sk-env")
        .env("OPENAI_MODEL", "m-env")
        .start();
    assert_eq!(proxy.chat(r#"{"messages":[]}"#).status(), 200);
    assert_eq!(
        upstream.request().text(),
        r#"{"model":"m-env","messages":[]}"#
    );
}

#[test]
fn a_stand_in_puts_in_its_own_default() {
    let next = Upstream::ok();
    let proxy = Setup::new()
        .upstream_at(
            &format!("http://{}/v1", Upstream::dead()),
            "default_model = \"first\"",
        )
        .upstream(&next, "default_model = \"second\"")
        .start();
    for request in [
        post("/v1/embeddings", &[JSON], "{}"),
        chat(&[], r#"{"messages":[]}"#),
    ] {
        assert_eq!(proxy.exchange(request).status(), 200);
        let text = next.requests().pop().expect("a request").text();
        assert!(text.starts_with(r#"{"model":"second""#), "{text}");
    }
}

#[test]
fn the_callers_own_key_goes_to_no_upstream_that_does_not_serve() {
    let dead = format!("http://{}/v1", Upstream::dead());
    let local = Upstream::ok();
    let proxy = Setup::new()
        .config("breaker = { failures = 2, open_for = \"1m\", open_at_most = \"1h\" }")
        .upstream_at(&dead, "models = [\"gpt-*\"]")
        .upstream(&local, "models = [\"local-*\"]")
        .start();
    for round in 0..3 {
        for request in [
            post("/v1/responses", &[JSON, OWN_KEY], asking("gpt-4o")),
            post("/v1/embeddings", &[JSON, OWN_KEY], r#"{"model":"gpt-4o"}"#),
            post(
                "/v1/embeddings",
                &[JSON, OWN_KEY],
                r#"{"input":"names none"}"#,
            ),
            get("/v1/files", &[OWN_KEY]),
            get("/v1/models/gpt-4o", &[OWN_KEY]),
            post("/v1/files", &[FORM, OWN_KEY], file(10) + "--x--"),
            chat(&[OWN_KEY], r#"{"model":"gpt-4o","messages":[]}"#),
        ] {
            let status = proxy.exchange(request).status();
            assert!(matches!(status, 502 | 503), "{round}: {status}");
        }
    }
    assert_eq!(local.connections(), 0);
    let request = post("/v1/embeddings", &[JSON, OWN_KEY], r#"{"model":"local-1"}"#);
    assert_eq!(proxy.exchange(request).status(), 200);
    assert_eq!(
        local.request().head.get("authorization"),
        Some("Bearer sk-of-the-callers-own")
    );
}

#[test]
fn what_serves_every_model_stands_in_where_none_is_named() {
    let (other, all) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream_at(
            &format!("http://{}/v1", Upstream::dead()),
            "models = [\"gpt-*\"]",
        )
        .upstream(&other, "models = [\"local-*\"]")
        .upstream(&all, "models = [\"*\"]")
        .start();
    assert_eq!(served(&proxy, get("/v1/files", &[])), "u2");
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_path_of_one_api_goes_to_those_that_speak_it() {
    let (chat_only, all) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream(&chat_only, "dialects = [\"chat\"]\nmodels = [\"a\", \"b\"]")
        .upstream(&all, "models = [\"b\"]")
        .start();
    for path in ["/v1/responses", "/v1/messages", "/v1/messages/count_tokens"] {
        assert_eq!(served(&proxy, post(path, &[JSON], asking("b"))), "u1");
        let answer = proxy.exchange(post(path, &[JSON], asking("a")));
        assert_eq!(answer.status(), 404);
        assert!(answer.text().contains("`dialects`"), "{}", answer.text());
        let dialect = path.split('/').nth(2).expect("a segment");
        assert!(answer.text().contains(dialect), "{}", answer.text());
    }
    assert_eq!(
        served(&proxy, post("/v1/embeddings", &[JSON], asking("a"))),
        "u0"
    );
    assert_eq!(
        served(&proxy, chat(&[], r#"{"model":"b","messages":[]}"#)),
        "u0"
    );
    assert_eq!(served(&proxy, get("/v1/responses/resp_unknown", &[])), "u1");
}

#[test]
fn a_chat_that_no_upstream_of_the_model_speaks_names_the_key_to_set() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "dialects = [\"messages\"]")
        .start();
    let error = proxy.chat(r#"{"model":"m","messages":[]}"#).error(404);
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("`dialects`") && message.contains("\"chat\""),
        "{message}"
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_key_asks_for_its_own_models_alone() {
    const KEY: &str = "Authorization: Bearer key-of-an-app-of-the-test";
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "default_model = \"dear\"")
        .key("app", "key-of-an-app-of-the-test", "app")
        .with("models = [\"cheap-*\"]")
        .start();
    for request in [
        post("/v1/embeddings", &[JSON, KEY], r#"{"model":"dear"}"#),
        post("/v1/embeddings", &[JSON, KEY], "{}"),
        chat(&[KEY], r#"{"model":"dear","messages":[]}"#),
        chat(&[KEY], r#"{"messages":[]}"#),
        get("/v1/models/dear", &[KEY]),
    ] {
        let error = proxy.exchange(request).error(404);
        assert_eq!(error["code"], "model_not_found", "{error}");
    }
    assert_eq!(upstream.connections(), 0);
    let request = post("/v1/embeddings", &[JSON, KEY], r#"{"model":"cheap-1"}"#);
    assert_eq!(proxy.exchange(request).status(), 200);
}

#[test]
fn what_cannot_be_read_goes_on_only_where_its_model_decides_nothing() {
    let upstream = Upstream::ok();
    let packed = post(
        "/v1/embeddings",
        &[JSON, "Content-Encoding: zstd"],
        "\u{1}\u{2}",
    );
    let proxy = Proxy::before(&upstream);
    assert_eq!(proxy.exchange(&packed).status(), 200);
    assert_eq!(upstream.request().text(), "\u{1}\u{2}");
    let (_, _, proxy) = two();
    let error = proxy.exchange(&packed).error(415);
    assert_eq!(error["param"], "Content-Encoding");
}

#[test]
fn a_model_is_sought_within_the_body_limit() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("server.body_limit = \"1MiB\"")
        .upstream(&upstream, "models = [\"m\"]")
        .start();
    let long = "x".repeat(2 << 20);
    let body = format!(r#"{{"input":"{long}","model":"m"}}"#);
    let error = proxy
        .exchange(post("/v1/embeddings", &[JSON], &body))
        .error(413);
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .contains("`model`")
    );
    let body = format!(r#"{{"model":"m","input":"{long}"}}"#);
    assert_eq!(
        proxy
            .exchange(post("/v1/embeddings", &[JSON], &body))
            .status(),
        200
    );
    assert!(upstream.request().text() == body);
}

/// Knows one file, and says of all others that they are not there.
fn knowing(id: &'static str) -> Upstream {
    Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let target = request.head.target().to_owned();
            let known = json!({ "id": id, "object": "file" }).to_string();
            let is_known = target.contains(id) || request.head.first_line.starts_with("POST");
            visit.send(match is_known {
                true => json_answer(&known),
                false => answer("404 Not Found", &[], "it is not here"),
            });
        }
    })
}

#[test]
fn what_an_upstream_made_is_asked_for_there() {
    let (first, second) = (Upstream::ok(), knowing("file-of-the-second"));
    let proxy = Setup::new()
        .upstream(&first, "models = [\"gpt-*\"]")
        .upstream(&second, "models = [\"local-*\"]")
        .start();
    // Something that names a model says whose it is.
    let made = post("/v1/fine_tuning/jobs", &[JSON], r#"{"model":"local-1"}"#);
    assert_eq!(served(&proxy, made), "u1");
    for request in [
        get("/v1/fine_tuning/jobs/file-of-the-second", &[]),
        get(
            "/v1/fine_tuning/jobs/file%2Dof%2Dthe%2Dsecond/events?limit=1",
            &[],
        ),
        post("/v1/fine_tuning/jobs/file-of-the-second/cancel", &[], ""),
        "DELETE /v1/files/file-of-the-second HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        post(
            "/v1/batches",
            &[JSON],
            r#"{"input_file_id":"file-of-the-second"}"#,
        ),
        get("/v1/files?after=file-of-the-second", &[]),
    ] {
        assert_eq!(
            served(&proxy, &request),
            "u1",
            "{}",
            String::from_utf8_lossy(&request)
        );
    }
    assert_eq!(first.connections(), 0);
    let other = "DELETE /v1/files/file-of-nobody HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(served(&proxy, other), "u0");
}

#[test]
fn a_stream_names_what_it_made_too() {
    let first = Upstream::ok();
    let second = Upstream::answering(answer(
        "200 OK",
        &["Content-Type: text/event-stream"],
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_12345\"}}\n\n",
    ));
    let proxy = Setup::new()
        .upstream(&first, "models = [\"gpt-*\"]")
        .upstream(&second, "models = [\"local-*\"]")
        .start();
    let made = post(
        "/v1/responses",
        &[JSON],
        r#"{"model":"local-1","stream":true,"input":"x"}"#,
    );
    assert_eq!(served(&proxy, made), "u1");
    let cancel = post("/v1/responses/resp_12345/cancel", &[], "");
    assert_eq!(served(&proxy, cancel), "u1");
    assert_eq!(first.connections(), 0);
}

#[test]
fn an_id_that_nobody_remembers_is_looked_for() {
    let (first, second) = (knowing("file-of-the-first"), knowing("file-of-the-second"));
    let proxy = Setup::new()
        .env("KEY_OF_OURS", "sk-ours")
        .upstream(&first, "models = [\"gpt-*\"]")
        .upstream(
            &second,
            "models = [\"local-*\"]\napi_key = { env = \"KEY_OF_OURS\" }",
        )
        .start();
    assert_eq!(
        served(&proxy, get("/v1/files/file-of-the-first", &[])),
        "u0"
    );
    assert_eq!(second.connections(), 0);
    let found = proxy.exchange(get("/v1/files/file-of-the-second", &[OWN_KEY]));
    assert_eq!(found.head.get("x-yychat-upstream"), Some("u1"));
    assert!(found.text().contains("file-of-the-second"));
    let key = second
        .request()
        .head
        .get("authorization")
        .map(str::to_owned);
    assert_eq!(key.as_deref(), Some("Bearer sk-ours"));
    let asked = first.requests().len();
    // From now on it is known.
    let delete = "DELETE /v1/files/file-of-the-second HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(served(&proxy, delete), "u1");
    assert_eq!(first.requests().len(), asked);
    let missing = proxy.exchange(get("/v1/files/file-of-nobody", &[]));
    assert_eq!(
        (missing.status(), missing.text()),
        (404, "it is not here".to_owned())
    );
    assert_eq!(missing.head.get("x-yychat-upstream"), Some("u0"));
}

#[test]
fn looking_for_an_id_shows_the_callers_own_key_to_the_first_alone() {
    let (first, second) = (knowing("file-of-the-first"), knowing("file-of-the-second"));
    let proxy = Setup::new()
        .upstream(&first, "models = [\"gpt-*\"]")
        .upstream(&second, "models = [\"local-*\"]")
        .start();
    let fields = [OWN_KEY, "x-api-key: sk-of-the-callers-own"];
    let found = proxy.exchange(get("/v1/files/file-of-the-second", &fields));
    assert_eq!(found.head.get("x-yychat-upstream"), Some("u1"));
    let received = String::from_utf8_lossy(&second.received()).into_owned();
    assert!(!received.contains("sk-of-the-callers-own"), "{received}");
    let received = String::from_utf8_lossy(&first.received()).into_owned();
    assert!(received.contains("sk-of-the-callers-own"));
}

#[test]
fn an_upstream_that_is_down_hides_nothing_of_the_others() {
    let second = knowing("file-of-the-second");
    let proxy = Setup::new()
        .upstream_at(
            &format!("http://{}/v1", Upstream::dead()),
            "models = [\"gpt-*\"]",
        )
        .upstream(&second, "models = [\"local-*\"]")
        .start();
    assert_eq!(
        served(&proxy, get("/v1/files/file-of-the-second", &[])),
        "u1"
    );
    let error = proxy
        .exchange(get("/v1/files/file-of-nobody", &[]))
        .error(502);
    assert_eq!(error["code"], "upstream_unreachable");
}

#[test]
fn the_model_and_the_route_are_known_of_every_request() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for (request, route, path) in [
        (
            post("/v1/embeddings", &[JSON], asking("m")),
            "other",
            "/v1/embeddings",
        ),
        (
            post("/v1/responses", &[JSON], asking("m")),
            "responses",
            "/v1/responses",
        ),
        (
            post("/v1/messages", &[JSON], asking("m")),
            "messages",
            "/v1/messages",
        ),
        (
            chat(&[], r#"{"model":"m","messages":[]}"#),
            "chat",
            "/v1/chat/completions",
        ),
        (get("/v1/models/m", &[]), "other", "/v1/models/{*model}"),
        (
            get("/v1/files/secret-name?model=m", &[]),
            "other",
            "/v1/files/{id}",
        ),
        (get("/v1/secret/path?model=m", &[]), "other", "other"),
    ] {
        assert_eq!(proxy.exchange(request).text(), COMPLETION);
        let recent = crate::support::eventually("it is filed", || {
            let recent = proxy.exchange(get("/v1/performance/recent?count=2", &[]));
            let recent: Value = serde_json::from_slice(&recent.body).expect("JSON");
            let entries = recent["data"].as_array().expect("a list").clone();
            entries
                .into_iter()
                .find(|entry| entry["route"] != "local" && entry["path"] == path)
        });
        assert_eq!(
            (&recent["route"], &recent["model"]),
            (&route.into(), &"m".into())
        );
    }
    let other = "yychat_requests_total{route=\"other\",status=\"200\",stream=\"false\"}";
    assert_eq!(proxy.metric(other), 4.0);
}

#[test]
fn a_key_for_some_models_gets_no_other_in_whatever_way_it_is_named() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("app", "gateway-key-of-app", "acme")
        .with("models = [\"a-*\"]")
        .start();
    let authorized = "Authorization: Bearer gateway-key-of-app";
    let json = "Content-Type: application/json";
    let urlencoded = "Content-Type: application/x-www-form-urlencoded";
    let form = "Content-Type: multipart/form-data; boundary=b";
    let named = r#"{"model":"a-1","input":"x"}"#;
    let disposed = |more: &str| {
        let part = |header: &str, value: &str| format!("--b\r\n{header}\r\n\r\n{value}\r\n");
        let first = part("Content-Disposition: form-data; name=\"model\"", "a-1");
        [&first, &part(more, "b-1"), "--b--"].concat()
    };
    for (path, fields, body) in [
        (
            "/v1/embeddings?model=a-1&model=b-1",
            &[json][..],
            named.to_owned(),
        ),
        (
            "/v1/embeddings?model=a-1&mod%65l=b-1",
            &[json],
            named.to_owned(),
        ),
        (
            "/v1/deployments/b-1/chat/completions",
            &[json],
            "{}".to_owned(),
        ),
        (
            "/v1/openai/deployments/b-1/images/edits",
            &[json],
            "{}".to_owned(),
        ),
        (
            "/v1/what_comes_next",
            &[json],
            r#"{"input":"x"}"#.to_owned(),
        ),
        (
            "/v1/evals/e-1/runs",
            &[json],
            r#"{"data_source":{"model":"b-1"}}"#.to_owned(),
        ),
        (
            "/v1/completions",
            &[urlencoded],
            "prompt=x&model=b-1".to_owned(),
        ),
        (
            "/v1/completions",
            &[urlencoded],
            "model=a-1&model=b-1".to_owned(),
        ),
        ("/v1/embeddings", &[json, urlencoded], named.to_owned()),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data;\r\n name=\"model\""),
        ),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data; name=\"mo\\del\""),
        ),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data; name*=UTF-8''mod%65l"),
        ),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data; name=Model"),
        ),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data; name=x; name=model"),
        ),
        (
            "/v1/images/edits",
            &["Content-Type: multipart/form-data; boundary=b; boundary=c"],
            disposed("Content-Disposition: form-data; name=x"),
        ),
    ] {
        let fields = [fields, &[authorized]].concat();
        let status = proxy.exchange(post(path, &fields, &body)).status();
        assert!(matches!(status, 400 | 404), "{status} {path} {body}");
    }
    assert!(upstream.requests().is_empty());
    for (path, fields, body) in [
        (
            "/v1/embeddings?model=a-1&model=a-1",
            &[json][..],
            named.to_owned(),
        ),
        (
            "/v1/completions",
            &[urlencoded],
            "prompt=x&model=a-1".to_owned(),
        ),
        ("/v1/completions", &[urlencoded], named.to_owned()),
        (
            "/v1/images/edits",
            &[form],
            disposed("Content-Disposition: form-data; name=\"models\""),
        ),
        (
            "/v1/deployments/a-1/chat/completions",
            &[json],
            "{}".to_owned(),
        ),
    ] {
        let fields = [fields, &[authorized]].concat();
        let answer = proxy.exchange(post(path, &fields, &body));
        assert_eq!(answer.status(), 200, "{path} {body} {}", answer.text());
    }
}
