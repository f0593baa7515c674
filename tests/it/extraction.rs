//! Facts that a model extracts from a finished exchange, over HTTP: what it is sent, what comes of
//! its answer, and what its failures come to.

use serde_json::{Value, json};
use yychat::config::model::{Dialect, HttpVersion, Upstream as Named};
use yychat::memory::bill::Bill;
use yychat::memory::extraction::{HttpModel, Model, ModelError, Prompt};

use crate::support::client::get;
use crate::support::upstream::{answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, chat, eventually};

const ANN: &str = "X-YYChat-User-Id: ann";

const SETTINGS: &str =
    "[memory.extraction]\nenabled = true\nupstream = \"u1\"\nmodel = \"small\"\nper_minute = 6000";

/// A completion whose text is `content`.
fn completion(content: &str, finish_reason: &str) -> Vec<u8> {
    let message = json!({ "role": "assistant", "content": content });
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish_reason });
    json_answer(&json!({ "object": "chat.completion", "choices": [choice] }).to_string())
}

fn facts(list: &[&str]) -> Vec<u8> {
    completion(&json!({ "facts": list }).to_string(), "stop")
}

fn say(proxy: &Proxy, text: &str) {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    let response = proxy.exchange(chat(&[ANN], body.to_string()));
    assert_eq!(response.status(), 200, "{}", response.text());
}

fn memories(proxy: &Proxy) -> Vec<Value> {
    let list = proxy.exchange(get("/v1/memories?user_id=ann", &["Connection: close"]));
    let list: Value = serde_json::from_slice(&list.body).expect("JSON");
    list["data"].as_array().expect("a list").clone()
}

fn exchanges(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metric(&format!(
        "yychat_memory_extraction_total{{outcome=\"{outcome}\"}}"
    ))
}

#[test]
fn an_exchange_becomes_a_fact_that_is_recalled() {
    let (upstream, model) = (
        Upstream::ok(),
        Upstream::answering(facts(&["Ann's cat is called Pixel."])),
    );
    let proxy = Setup::new()
        .config(SETTINGS)
        .upstream(&upstream, "")
        .upstream(
            &model,
            "models = [\"small\"]\napi_key = { env = \"MODEL_KEY\" }",
        )
        .env("MODEL_KEY", "sk-of-the-model")
        .start();
    say(&proxy, "This is my cat <b>Pixel</b>.");
    let fact = eventually("the fact is there", || {
        memories(&proxy)
            .into_iter()
            .find(|memory| memory["role"] == "fact")
    });
    assert_eq!(fact["text"], "Ann's cat is called Pixel.");
    assert_eq!(fact["source"], "extraction");
    let said: Vec<_> = memories(&proxy)
        .into_iter()
        .filter(|m| m["role"] != "fact")
        .collect();
    let mut sources: Vec<_> = said
        .iter()
        .rev()
        .map(|memory| memory["id"].clone())
        .collect();
    assert_eq!(
        fact["derived_from"],
        Value::Array(std::mem::take(&mut sources))
    );
    eventually("it is counted", || {
        (exchanges(&proxy, "done") >= 1.0).then_some(())
    });
    assert_eq!(
        proxy.metric("yychat_memory_facts_total{outcome=\"added\"}"),
        1.0
    );
    assert_eq!(proxy.metric("yychat_memory_extraction_waiting"), 0.0);

    let asked = model.request();
    assert_eq!(asked.head.target(), "/v1/chat/completions");
    assert_eq!(
        asked.head.get("authorization"),
        Some("Bearer sk-of-the-model")
    );
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert_eq!(body["model"], "small");
    assert_eq!(body["response_format"]["type"], "json_schema");
    let schema = &body["response_format"]["json_schema"];
    assert_eq!(
        (&schema["strict"], &schema["schema"]["required"]),
        (&json!(true), &json!(["facts"]))
    );
    let data = body["messages"][1]["content"].as_str().expect("text");
    assert!(
        data.contains("\nuser: This is my cat ＜b＞Pixel＜/b＞.\nassistant: hello\n"),
        "{data}"
    );

    say(&proxy, "What is Ann's cat called?");
    let sent = upstream.requests().pop().expect("a request").text();
    assert!(sent.contains("fact: Ann's cat is called Pixel."), "{sent}");
}

/// What the key has of a model in the ledger.
fn used(proxy: &Proxy, key: &str, model: &str) -> Option<u64> {
    let usage = proxy.exchange(get("/v1/usage?by=model", &[key]));
    let usage: Value = serde_json::from_slice(&usage.body).expect("JSON");
    let lines = usage["data"].as_array().expect("a list");
    let line = lines.iter().find(|line| line["model"] == model)?;
    Some(line["input_tokens"].as_u64()? + line["output_tokens"].as_u64()?)
}

#[test]
fn what_memory_asks_models_for_is_charged_to_the_tenant_and_waits_for_its_budget() {
    let mut told: Value = serde_json::from_slice(
        facts(&["Ann's cat is called Pixel."])
            .rsplit(|byte| *byte == b'\n')
            .next()
            .expect("a body"),
    )
    .expect("JSON");
    told["usage"] = json!({ "prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930 });
    let model = Upstream::answering(json_answer(&told.to_string()));
    let upstream = Upstream::ok();
    let key = "Authorization: Bearer gateway-key-of-app";
    let proxy = Setup::new()
        .config(SETTINGS)
        .upstream(&upstream, "")
        .upstream(&model, "models = [\"small\"]")
        .key("app", "gateway-key-of-app", "acme")
        .with("budgets = [{ tokens = 800, per = \"month\" }]")
        .start();
    let say = |text: &str| {
        let body = json!({ "model": "m", "max_tokens": 1,
            "messages": [{ "role": "user", "content": text }] });
        let response = proxy.exchange(chat(&[ANN, key], body.to_string()));
        response.status()
    };
    assert_eq!(say("This is my cat Pixel."), 200);
    eventually("it is charged", || {
        (used(&proxy, key, "small") == Some(930)).then_some(())
    });
    assert_eq!(say("And this is my dog Rex."), 429);
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn extraction_is_switched_by_a_reload_and_what_is_queued_stays() {
    let (upstream, model) = (
        Upstream::ok(),
        Upstream::answering(answer("500 Oops", &[], "")),
    );
    let proxy = Setup::new()
        .config(SETTINGS)
        .upstream(&upstream, "")
        .upstream(&model, "models = [\"small\"]")
        .start();
    say(&proxy, "This is my cat Pixel.");
    eventually("it was tried", || {
        (exchanges(&proxy, "failed") >= 1.0).then_some(())
    });
    assert_eq!(proxy.metric("yychat_memory_extraction_waiting"), 1.0);
    let off = proxy
        .setup
        .text()
        .replace("enabled = true", "enabled = false");
    std::fs::write(proxy.setup.path("conf/yychat.toml"), off).expect("a file");
    eventually("it is in force", || {
        (proxy.metric("yychat_config_generation") >= 2.0).then_some(())
    });
    say(&proxy, "This is my dog Rex.");
    eventually("it is saved", || {
        (memories(&proxy).len() >= 3).then_some(())
    });
    assert_eq!(proxy.metric("yychat_memory_extraction_waiting"), 1.0);
    assert_eq!(model.requests().len(), 1);
}

fn ask(base_url: String) -> Result<String, ModelError> {
    let upstream = Named {
        name: "model".into(),
        base_url: base_url.parse().expect("a URL"),
        api_key: None,
        models: globset::GlobSet::empty(),
        model_patterns: Vec::new(),
        dialects: [Dialect::Chat].into(),
        auth: None,
        tools: true,
        default_model: None,
        strict_roles: false,
        http: HttpVersion::Auto,
        ca: None,
    };
    let model = HttpModel::open(&upstream, "small").unwrap_or_else(|fault| panic!("{fault}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let prompt = Prompt {
        system: String::new(),
        user: String::new(),
        schema: Value::Null,
    };
    let bill = Bill::default();
    runtime
        .expect("a runtime")
        .block_on(model.answer(&prompt, &bill))
}

#[test]
fn what_is_no_whole_answer_is_told_from_an_upstream_that_fails() {
    let answered = |bytes: Vec<u8>| {
        let upstream = Upstream::answering(bytes);
        ask(format!("http://{}/v1", upstream.address()))
    };
    assert_eq!(answered(completion("{}", "stop")), Ok("{}".into()));
    for bytes in [
        completion("{\"fac", "length"),
        json_answer("{\"choices\":[]}"),
        json_answer("not JSON"),
        json_answer("{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"stop\"}]}"),
        json_answer(&" ".repeat((1 << 20) + 1)),
    ] {
        let answered = answered(bytes);
        assert!(
            matches!(answered, Err(ModelError::Unusable(_))),
            "{answered:?}"
        );
    }
    for status in ["500 Oops", "429 Too Many Requests", "302 Found"] {
        let answered = answered(answer(status, &["Location: http://127.0.0.1/"], ""));
        assert!(matches!(answered, Err(ModelError::Down(_))), "{answered:?}");
    }
    let dead = ask(format!("http://{}/v1", Upstream::dead()));
    assert!(matches!(dead, Err(ModelError::Down(_))), "{dead:?}");
}
