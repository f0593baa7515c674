//! `MODEL@PERSONALITY`: listed where the configuration says so, taken wherever a model is named; and the
//! models that a key may ask for, wherever they come from.

use serde_json::{Value, json};

use crate::support::client::{Response, get};
use crate::support::upstream::{answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, post};

const JSON: &str = "Content-Type: application/json";
const FORM: &str = "Content-Type: multipart/form-data; boundary=x";
const ANTHROPIC: &str = "anthropic-version: 2023-06-01";

fn model(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_739_923_200, "owned_by": "o", "context": 8 })
}

/// An upstream of the models `m` and `n@1`, which shows each of them and answers all else with `{}`.
fn upstream() -> Upstream {
    Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let path = request.head.target();
            let path = path.split('?').next().unwrap_or_default().to_owned();
            visit.send(match path.strip_prefix("/v1/models") {
                Some("") => json_answer(
                    &json!({ "object": "list", "data": [model("m"), model("n@1")] }).to_string(),
                ),
                Some("/missing") => answer("404 Not Found", &[JSON], "{\"error\":\"none\"}"),
                Some(id) => json_answer(&model(&id[1..]).to_string()),
                None => json_answer("{}"),
            });
        }
    })
}

fn setup(upstream: &Upstream, more: &str) -> Setup {
    Setup::new()
        .upstream(upstream, more)
        .persona("ada", "You are Ada.")
        .persona("bo b", "You are Bob.")
}

fn body(answer: &Response) -> Value {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().expect("a list");
    let ids = data.iter().map(|model| model["id"].as_str());
    ids.collect::<Option<_>>().expect("ids")
}

#[test]
fn models_are_listed_with_each_personality_where_the_configuration_says_so() {
    let upstream = upstream();
    let plain = setup(&upstream, "").start();
    assert_eq!(
        ids(&body(&plain.exchange(get("/v1/models", &[])))),
        ["m", "n@1"]
    );
    let proxy = setup(&upstream, "")
        .set("personality.as_models", "true")
        .start();
    let list = body(&proxy.exchange(get("/v1/models", &[])));
    let all = ["m", "m@ada", "m@bo b", "n@1", "n@1@ada", "n@1@bo b"];
    assert_eq!(ids(&list), all);
    assert_eq!(list["data"][0], model("m"));
    assert_eq!(
        list["data"][1],
        model("m@ada"),
        "what is known of the model is known of the pair"
    );
    let page = body(&proxy.exchange(get("/v1/models?limit=2&after_id=m", &[ANTHROPIC])));
    assert_eq!(ids(&page), ["m@ada", "m@bo b"]);
    assert_eq!(
        page["data"][0],
        json!({ "type": "model", "id": "m@ada", "display_name": "m (ada)", "created_at": "2025-02-19T00:00:00Z" })
    );
    assert_eq!(
        (&page["has_more"], &page["last_id"]),
        (&json!(true), &json!("m@bo b"))
    );
    let limited = setup(&upstream, "")
        .set("personality.as_models", "true")
        .key("some", "key-for-some-of-them", "t")
        .with("models = [\"m\"]")
        .start();
    let list = limited.exchange(get("/v1/models", &["x-api-key: key-for-some-of-them"]));
    assert_eq!(ids(&body(&list)), ["m", "m@ada", "m@bo b"]);
}

#[test]
fn one_model_is_shown_under_the_name_that_it_has_with_a_personality() {
    let upstream = upstream();
    let proxy = setup(&upstream, "").start();
    for (path, id, asked) in [
        ("/v1/models/m@ada", "m@ada", "/v1/models/m"),
        ("/v1/models/m%40ada", "m@ada", "/v1/models/m"),
        ("/v1/models/org/m@bo%20b", "org/m@bo b", "/v1/models/org/m"),
        ("/v1/models/n@1@ada", "n@1@ada", "/v1/models/n@1"),
        ("/v1/models/n@1", "n@1", "/v1/models/n@1"),
        ("/v1/models/m", "m", "/v1/models/m"),
    ] {
        let shown = body(&proxy.exchange(get(path, &[])));
        assert_eq!(shown["id"], id, "{path}");
        assert_eq!(
            (&shown["owned_by"], &shown["context"]),
            (&json!("o"), &json!(8)),
            "{path}"
        );
        let requests = upstream.requests();
        assert_eq!(requests.last().expect("a request").head.target(), asked);
    }
    let shown = body(&proxy.exchange(get("/v1/models/m@ada", &[ANTHROPIC])));
    assert_eq!(
        (&shown["type"], &shown["id"]),
        (&json!("model"), &json!("m@ada"))
    );
    assert_eq!(
        proxy.exchange(get("/v1/models/missing@ada", &[])).status(),
        404
    );
}

fn field(name: &str, value: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[test]
fn upstreams_get_the_models_own_name_on_every_route() {
    let upstream = upstream();
    let proxy = setup(&upstream, "models = [\"m\", \"n@1\"]").start();
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let big = "y".repeat(300_000);
    for (path, sent, received) in [
        (
            "/v1/embeddings",
            r#"{"model":"m@ada","input":1.0}"#.to_owned(),
            r#"{"model":"m","input":1.0}"#.to_owned(),
        ),
        (
            "/v1/completions",
            r#"{ "prompt":"m@ada", "model" : "m@bo b" }"#.into(),
            r#"{ "prompt":"m@ada", "model" : "m" }"#.into(),
        ),
        (
            "/v1/embeddings",
            format!(r#"{{"model":"m@ada","input":"{big}"}}"#),
            format!(r#"{{"model":"m","input":"{big}"}}"#),
        ),
        (
            "/v1/audio/speech",
            r#"{"model":"n@1@ada"}"#.into(),
            r#"{"model":"n@1"}"#.into(),
        ),
        (
            "/v1/responses/compact",
            r#"{"model":"n@1"}"#.into(),
            r#"{"model":"n@1"}"#.into(),
        ),
        (
            "/v1/what/comes/next",
            r#"{"model":"m@ada"}"#.into(),
            r#"{"model":"m"}"#.into(),
        ),
        (
            "/v1/messages/count_tokens",
            format!(r#"{{"model":"m@ada",{messages}}}"#),
            String::new(),
        ),
        (
            "/v1/responses",
            r#"{"model":"m\u0040ada","input":"x"}"#.into(),
            String::new(),
        ),
        (
            "/v1/messages",
            format!(r#"{{"model":"m@ada",{messages}}}"#),
            String::new(),
        ),
        (
            "/v1/chat/completions",
            format!(r#"{{"model":"m@ada",{messages}}}"#),
            String::new(),
        ),
    ] {
        let answer = proxy.exchange(post(path, &[JSON], &sent));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let text = upstream.requests().pop().expect("a request").text();
        match received.is_empty() {
            false => assert!(text == received, "{path}"),
            // These get the personality too.
            true => assert!(
                text.contains(r#""model":"m""#) && text.contains("You are Ada."),
                "{path}: {text}"
            ),
        }
    }
    let form = field("model", "m@ada") + &field("language", "en") + "--x--\r\n";
    proxy.exchange(post("/v1/audio/transcriptions", &[FORM], &form));
    let request = upstream.requests().pop().expect("a request");
    assert_eq!(request.text(), form.replace("m@ada", "m"));
    assert_eq!(
        request.head.get("content-length"),
        Some(&*request.text().len().to_string())
    );
    for (path, asked) in [
        ("/v1/realtime?model=m@ada&x=1", "/v1/realtime?model=m&x=1"),
        (
            "/v1/realtime?x=1&model=m%40bo%20b",
            "/v1/realtime?x=1&model=m",
        ),
        ("/v1/engines/m@ada/completions", "/v1/engines/m/completions"),
        (
            "/v1/models/m@ada:generateContent",
            "/v1/models/m:generateContent",
        ),
    ] {
        let request = match path.ends_with("Content") {
            true => post(path, &[JSON], "{}"),
            false => get(path, &[]),
        };
        assert_eq!(proxy.exchange(request).status(), 200, "{path}");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.head.target(), asked);
    }
    // What is no personality belongs to the name.
    let answer = proxy.exchange(post("/v1/embeddings", &[JSON], r#"{"model":"m@nobody"}"#));
    assert_eq!(answer.error(404)["code"], "model_not_found");
}

/// A key for `cheap` models before an upstream with a default, or without.
fn limited(upstream: &Upstream, more: &str) -> Proxy {
    setup(upstream, more)
        .key("some", "key-for-some-of-them", "t")
        .with("models = [\"cheap*\"]")
        .start()
}

const KEY: &str = "Authorization: Bearer key-for-some-of-them";

#[test]
fn a_key_asks_for_its_own_models_wherever_the_name_comes_from() {
    let upstream = upstream();
    let proxy = limited(&upstream, "default_model = \"dear\"");
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let file =
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nmodel\r\n";
    let refused = [
        post(
            "/v1/chat/completions",
            &[KEY, JSON],
            format!("{{{messages}}}"),
        ),
        post(
            "/v1/chat/completions",
            &[KEY, JSON],
            format!(r#"{{"model":"dear@ada",{messages}}}"#),
        ),
        post(
            "/v1/chat/completions",
            &[KEY, JSON],
            format!(r#"{{"model":"cheap","models":["cheap","dear"],{messages}}}"#),
        ),
        post("/v1/responses", &[KEY, JSON], r#"{"input":"x"}"#),
        post(
            "/v1/responses",
            &[KEY, JSON],
            r#"{"model":"dear@ada","input":"x"}"#,
        ),
        post(
            "/v1/responses/input_tokens",
            &[KEY, JSON],
            r#"{"model":"dear","input":"x"}"#,
        ),
        post("/v1/messages", &[KEY, JSON], format!("{{{messages}}}")),
        post(
            "/v1/messages/count_tokens",
            &[KEY, JSON],
            format!(r#"{{"model":"dear",{messages}}}"#),
        ),
        post("/v1/embeddings", &[KEY, JSON], r#"{"input":"x"}"#),
        post("/v1/embeddings", &[KEY, JSON], r#"{"model":null}"#),
        post("/v1/embeddings", &[KEY, JSON], r#"{"model":"dear@ada"}"#),
        post(
            "/v1/embeddings?model=dear",
            &[KEY, JSON],
            r#"{"model":"cheap"}"#,
        ),
        post(
            "/v1/engines/dear/completions",
            &[KEY, JSON],
            r#"{"model":"cheap"}"#,
        ),
        post(
            "/v1/engines/cheap/completions",
            &[KEY, JSON],
            r#"{"model":"dear"}"#,
        ),
        post(
            "/v1/audio/transcriptions",
            &[KEY, FORM],
            file.to_owned() + &field("model", "dear@ada") + "--x--\r\n",
        ),
        post(
            "/v1/audio/transcriptions",
            &[KEY, FORM],
            file.to_owned() + "--x--\r\n",
        ),
        post("/v1/models/dear:generateContent", &[KEY, JSON], "{}"),
        get("/v1/models/dear", &[KEY]),
        get("/v1/models/dear@ada", &[KEY]),
        get("/v1/realtime?model=dear%40ada", &[KEY]),
    ];
    for request in refused {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let answer = proxy.exchange(&request);
        assert_eq!(answer.status(), 404, "{shown}\n{}", answer.text());
    }
    // Nobody can tell which model these would be of.
    for (path, body) in [
        ("/v1/embeddings", r#"{"MODEL":"dear"}"#),
        ("/v1/embeddings", r#"{"model":["dear"]}"#),
        ("/v1/what/comes/next", r#"{"Model":"dear"}"#),
        ("/v1/images/generations", r#"{"prompt":"x"}"#),
        ("/v1/moderations", "{}"),
        ("/v1/batches", r#"{"input_file_id":"f"}"#),
        (
            "/v1/messages/batches",
            r#"{"requests":[{"params":{"model":"dear"}}]}"#,
        ),
        (
            "/v1/realtime/client_secrets",
            r#"{"session":{"model":"dear"}}"#,
        ),
    ] {
        let answer = proxy.exchange(post(path, &[KEY, JSON], body));
        assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
        assert!(answer.text().contains("some models alone"), "{path}");
    }
    let socket = ["Connection: Upgrade", "Upgrade: websocket", KEY];
    for (path, status) in [
        ("/v1/realtime", 400),
        ("/v1/realtime?model=dear", 404),
        ("/v1/realtime?model=dear@ada", 404),
    ] {
        let answer = proxy.exchange(get(path, &socket));
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
    }
    assert_eq!(upstream.requests().len(), 0);
    for request in [
        post("/v1/embeddings", &[KEY, JSON], r#"{"model":"cheap-1@ada"}"#),
        post(
            "/v1/chat/completions",
            &[KEY, JSON],
            format!(r#"{{"model":"cheap@ada",{messages}}}"#),
        ),
        post(
            "/v1/audio/transcriptions",
            &[KEY, FORM],
            file.to_owned() + &field("model", "cheap") + "--x--\r\n",
        ),
        get("/v1/models/cheap@ada", &[KEY]),
        get("/v1/files", &[KEY]),
        get("/v1/chat/completions", &[KEY]),
    ] {
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(proxy.exchange(&request).status(), 200, "{shown}");
    }
}

#[test]
fn a_default_that_is_for_the_key_is_asked_and_an_unknown_one_is_not() {
    let upstream = upstream();
    let proxy = limited(&upstream, "default_model = \"cheap-1\"");
    let messages = r#"{"messages":[{"role":"user","content":"x"}]}"#;
    for (path, body) in [
        ("/v1/chat/completions", messages),
        ("/v1/messages", messages),
        ("/v1/responses", r#"{"input":"x"}"#),
        ("/v1/embeddings", r#"{"input":"x"}"#),
    ] {
        assert_eq!(
            proxy.exchange(post(path, &[KEY, JSON], body)).status(),
            200,
            "{path}"
        );
        let text = upstream.requests().pop().expect("a request").text();
        assert!(text.starts_with(r#"{"model":"cheap-1","#), "{path}: {text}");
    }
    let sent = upstream.requests().len();
    let proxy = limited(&upstream, "");
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        let error = proxy
            .exchange(post(path, &[KEY, JSON], messages))
            .error(400);
        assert_eq!(error["param"], "model", "{path}");
    }
    assert_eq!(upstream.requests().len(), sent);
}
