//! What is in a memory that nobody said, and what a record has to do with others.

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::program::{command, ran};
use crate::support::{Setup, Upstream, eventually, post};

fn line(at: u32, role: &str, text: &str, request: &str) -> Value {
    json!({
        "user_id": "ada", "role": role, "text": text, "created_at": at, "source": "chat",
        "request_id": request,
    })
}

#[test]
fn what_earlier_versions_stored_and_nobody_said_is_listed_and_taken_out() {
    let setup = Setup::new().upstream(&Upstream::ok(), "");
    let title = "### Task:\nGenerate a concise, 3-5 word title with an emoji.\n### Chat History:\n\
        <chat_history>\nUSER: My cat is called Pixel.\n</chat_history>";
    let lines = [
        line(1, "user", title, "r1"),
        line(
            2,
            "assistant",
            "{ \"title\": \"🐱 A Cat Called Pixel\" }",
            "r1",
        ),
        line(3, "user", "My cat is called Pixel.", "r2"),
        line(
            4,
            "assistant",
            "<think>A cat.</think>What a fine name for her.",
            "r2",
        ),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let output = ran(command(&setup, &["import"]), lines.as_bytes());
    assert!(output.status.success());

    let found = ran(command(&setup, &["doctor"]), b"");
    assert!(found.status.success());
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    let each: Vec<&str> = said.lines().collect();
    assert_eq!(each.len(), 3, "{said}");
    let ills = ["auxiliary;rule=open-webui-title", "answer", "thinking"];
    for (line, ill) in each.iter().rev().zip(ills.iter().rev()) {
        assert!(line.contains(ill), "{said}");
    }
    let listed = ran(command(&setup, &["audit"]), b"").stdout;
    assert!(String::from_utf8_lossy(&listed).contains("records 4\n"));

    let mended = ran(command(&setup, &["doctor", "--remove"]), b"");
    let said = String::from_utf8_lossy(&mended.stderr).into_owned();
    assert!(said.contains("3 were mended"), "{said}");
    let again = ran(command(&setup, &["doctor"]), b"");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        again.stdout.is_empty() && said.contains("2 records, all well"),
        "{said}"
    );
    let left = ran(command(&setup, &["list"]), b"").stdout;
    let left = String::from_utf8_lossy(&left).into_owned();
    assert!(
        left.contains("assistant: What a fine name for her."),
        "{left}"
    );
    assert!(!left.contains("think"), "{left}");
}

#[test]
fn a_record_tells_what_is_like_it() {
    let proxy = Setup::new().upstream(&Upstream::ok(), "").start();
    let son = "my eldest son likes to play chess with his uncle on sunday mornings in town";
    let create = |text: &str| {
        let body = json!({ "user_id": "ada", "text": text }).to_string();
        let answer = proxy.exchange(post("/v1/memories", &[], body));
        let record: Value = serde_json::from_str(&answer.text()).expect("JSON");
        record["id"].as_str().expect("an id").to_owned()
    };
    let (one, other) = (create(son), create(&son.replace("eldest", "youngest")));
    let path = format!("/v1/memories/{one}");
    let record: Value =
        serde_json::from_str(&proxy.exchange(get(&path, &[])).text()).expect("JSON");
    assert_eq!(record["text"], son);
    assert_eq!(record["likes"], json!([other]));
    assert_eq!(
        (&record["superseded"], &record["superseding"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn the_old_switch_turns_retrieval_off_and_leaves_saving_on() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .env("ENABLE_MEMORY_RETRIEVAL", "false")
        .start();
    let says = |words: &str| {
        let message = json!({ "role": "user", "content": words });
        let body = json!({ "model": "m", "user": "ada", "messages": [message] });
        proxy.chat(body.to_string())
    };
    says("My cat is called Pixel.");
    eventually("it is saved", || {
        let page = proxy.exchange(get("/v1/memories?user_id=ada", &[])).text();
        page.contains("Pixel").then_some(())
    });
    let asked = says("What is my cat called?");
    assert_eq!(
        asked.head.get("x-yychat-memory"),
        Some("off;reason=disabled")
    );
    let sent = upstream.requests().pop().expect("a request").text();
    assert!(!sent.contains("Pixel"), "{sent}");
}
