//! Memory that is found by meaning, with an upstream that embeds: at work, failing and hanging.

use serde_json::{Value, json};

use crate::support::upstream::{answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, eventually, post};

const ANN: &str = "X-YYChat-User-Id: ann";

/// Words of one column mean the same.
const MEANINGS: [[&str; 2]; 2] = [["dog", "puppy"], ["car", "automobile"]];

/// What an embedding upstream answers to `request`.
fn embeddings(request: &Value) -> Vec<u8> {
    let inputs = request["input"].as_array().expect("a list of texts");
    let embed = |text: &Value| {
        let text = text.as_str().expect("text").to_lowercase();
        let counts = |words: [&str; 2]| words.iter().filter(|word| text.contains(*word)).count();
        let mut vector: Vec<f32> = MEANINGS.map(|words| counts(words) as f32).into();
        vector.push(0.01);
        vector
    };
    // An upstream may give them in any order.
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .rev()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": embed(text) }))
        .collect();
    json_answer(&json!({ "object": "list", "data": data }).to_string())
}

fn embedder() -> Upstream {
    Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let body = serde_json::from_slice(&request.body).expect("JSON");
            visit.send(embeddings(&body));
        }
    })
}

/// A gateway whose memory embeds at `address`.
fn gateway(upstream: &Upstream, embedder: std::net::SocketAddr) -> Proxy {
    Setup::new()
        .upstream(upstream, "")
        .config(&format!(
            "[memory]\nsave = \"off\"\nrecall_deadline = \"1s\"\n\n[memory.embedding]\nbase_url = \"http://{embedder}/v1/\"\n\
             api_key = {{ env = \"EMBEDDING_KEY\" }}\nmodel = \"small\"\nquery_model = \"small-query\"\n\
             dimensions = 3\nquery_prefix = \"query: \"\npassage_prefix = \"passage: \""
        ))
        .env("EMBEDDING_KEY", "sk-embedding")
        .start()
}

fn remember(proxy: &Proxy, texts: &[&str]) {
    for text in texts {
        let record = json!({ "text": text, "user_id": "ann" }).to_string();
        let stored = proxy.exchange(post(
            "/v1/memories",
            &["Content-Type: application/json"],
            record,
        ));
        assert_eq!(stored.status(), 201, "{}", stored.text());
    }
}

/// Asks as Ann; gives what `x-yychat-memory` says.
fn ask(proxy: &Proxy, question: &str) -> String {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": question }] });
    let request = crate::support::chat(&[ANN], body.to_string());
    let response = proxy.exchange(request);
    assert_eq!(response.status(), 200, "{}", response.text());
    let said = response.head.get("x-yychat-memory").expect("the header");
    said.to_owned()
}

fn embedded(proxy: &Proxy, kind: &str, outcome: &str) -> f64 {
    proxy.metric(&format!(
        "yychat_memory_embeddings_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"
    ))
}

#[test]
fn a_record_is_recalled_by_its_meaning() {
    let (upstream, embedder) = (Upstream::ok(), embedder());
    let proxy = gateway(&upstream, embedder.address());
    remember(
        &proxy,
        &["Our puppy is called Rex.", "The automobile is red."],
    );
    eventually("both are embedded", || {
        (embedded(&proxy, "record", "embedded") >= 2.0).then_some(())
    });
    let said = ask(&proxy, "Which dog?");
    assert!(said.starts_with("hit;count="), "{said}");
    let sent = upstream.request().text();
    let (rex, red) = (sent.find("called Rex"), sent.find("is red"));
    assert!(
        rex.is_some() && red.is_none_or(|red| rex < Some(red)),
        "{sent}"
    );
    // Asked again, the vector is at hand.
    ask(&proxy, "Which dog?");
    assert_eq!(embedded(&proxy, "query", "embedded"), 1.0);
    assert_eq!(embedded(&proxy, "query", "cached"), 1.0);

    let requests = embedder.requests();
    for request in &requests {
        assert_eq!(request.head.target(), "/v1/embeddings");
        assert_eq!(
            request.head.get("authorization"),
            Some("Bearer sk-embedding")
        );
    }
    let bodies: Vec<Value> = requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).expect("JSON"))
        .collect();
    let of = |model: &str| bodies.iter().find(|body| body["model"] == model);
    let (passage, query) = (of("small").expect("one"), of("small-query").expect("one"));
    assert_eq!(passage["input"][0], "passage: Our puppy is called Rex.");
    assert_eq!(
        (&passage["dimensions"], &passage["encoding_format"]),
        (&json!(3), &json!("float"))
    );
    assert_eq!(query["input"], json!(["query: Which dog?"]));
}

#[test]
fn with_the_embedder_down_words_are_enough() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, Upstream::dead());
    remember(&proxy, &["Our puppy is called Rex."]);
    eventually("it was tried", || {
        (embedded(&proxy, "record", "failed") >= 1.0).then_some(())
    });
    assert!(ask(&proxy, "How is the puppy?").starts_with("hit;count=1;"));
    assert!(upstream.request().text().contains("called Rex"));
    assert_eq!(ask(&proxy, "Which dog?"), "miss");
}

#[test]
fn with_an_embedder_that_answers_errors_words_are_enough() {
    let upstream = Upstream::ok();
    let failing = Upstream::answering(answer("503 Service Unavailable", &[], ""));
    let proxy = gateway(&upstream, failing.address());
    assert_eq!(ask(&proxy, "Which dog?"), "miss");
    assert_eq!(failing.requests().len(), 1);
    assert_eq!(embedded(&proxy, "query", "failed"), 1.0);
    remember(&proxy, &["Our puppy is called Rex."]);
    assert!(ask(&proxy, "How is the puppy?").starts_with("hit;count=1;"));
}

#[test]
fn a_request_does_not_wait_for_an_embedder_that_hangs() {
    let upstream = Upstream::ok();
    let hanging = Upstream::start(|visit| {
        visit.request();
        visit.wait_for_close();
    });
    let proxy = gateway(&upstream, hanging.address());
    remember(&proxy, &["Our puppy is called Rex."]);
    assert!(ask(&proxy, "How is the puppy?").starts_with("hit;count=1;"));
    assert_eq!(embedded(&proxy, "query", "late"), 1.0);
    assert!(upstream.request().text().contains("called Rex"));
}
