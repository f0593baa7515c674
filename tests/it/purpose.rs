//! Errands of front ends: known by rules, sent on as they came, and never remembered.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

const CALCULATOR: &str = include_str!("../../plugins/calculator/plugin.toml");
const SCHEMA: &str = include_str!("../../plugins/calculator/calculator.json");

/// What Open WebUI sends with everything that a user has it do.
const OPEN_WEBUI: [&str; 4] = [
    "X-OpenWebUI-User-Name: Ann",
    "X-OpenWebUI-User-Id: 7d0c",
    "X-OpenWebUI-User-Role: user",
    "X-OpenWebUI-Chat-Id: 51aa",
];

/// A gateway with a default personality, memory and a tool: all that an errand must not get.
fn setup(upstream: &Upstream) -> Setup {
    let setup = Setup::new()
        .config("personality.default = \"ada\"")
        .upstream(upstream, "")
        .persona("ada", "You are Ada.");
    fs::create_dir(setup.path("plugins/calculator")).expect("a folder");
    setup
        .file("plugins/calculator/plugin.toml", CALCULATOR.as_bytes())
        .file("plugins/calculator/calculator.json", SCHEMA.as_bytes())
}

fn said(text: &str) -> String {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }] }).to_string()
}

/// A task of Open WebUI: its template's words, and the chat that it is about.
fn task(words: &str) -> String {
    said(&format!(
        "### Task:\n{words}\n\n### Output:\nJSON\n\n### Chat History:\n<chat_history>\nUSER: my cat \
         is called Pixel\n</chat_history>"
    ))
}

/// What the upstream was sent last.
fn last(upstream: &Upstream) -> String {
    let requests = upstream.requests();
    requests.last().expect("a request").text()
}

fn records(proxy: &Proxy, user: &str) -> Vec<Value> {
    let path = format!("/v1/memories?user_id={user}&limit=100");
    let list = proxy.exchange(get(&path, &["Connection: close"]));
    let list: Value = serde_json::from_slice(&list.body).expect("JSON");
    list["data"].as_array().expect("a list").clone()
}

#[test]
fn an_errand_goes_on_as_it_came_and_says_by_which_rule() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    for (fields, body, rule) in [
        (
            &OPEN_WEBUI[..],
            task("Generate a concise, 3-5 word title with an emoji summarizing the chat history."),
            "open-webui-title",
        ),
        (
            &OPEN_WEBUI,
            task("Suggest 3-5 relevant follow-up questions or prompts that the user might ask"),
            "open-webui-follow-ups",
        ),
        (
            &["X-YYChat-User-Id: ann", "x-openai-subagent: review"],
            said("look at the diff"),
            "codex-sub-agent",
        ),
        (
            &[
                "X-YYChat-User-Id: ann",
                "X-YYChat-Purpose: auxiliary",
                "X-YYChat-Memory: full",
            ],
            said("how is my cat called?"),
            "request",
        ),
        (
            &[
                "X-YYChat-User-Id: ann",
                "X-YYChat-Personality: nobody",
                "x-openwebui-task: emoji",
            ],
            said("how is my cat called?"),
            "open-webui-task",
        ),
    ] {
        let answer = proxy.exchange(chat(fields, body.clone()));
        assert_eq!(answer.status(), 200, "{rule}: {}", answer.text());
        assert_eq!(last(&upstream), body, "{rule}");
        let told = |name| answer.head.get(name);
        let purpose = format!("auxiliary;rule={rule}");
        assert_eq!(told("x-yychat-purpose"), Some(&*purpose));
        assert_eq!(
            told("x-yychat-memory"),
            Some("off;reason=auxiliary"),
            "{rule}"
        );
        assert_eq!(told("x-yychat-personality"), None, "{rule}");
        let counted = proxy.metric(&format!("yychat_auxiliary_total{{rule=\"{rule}\"}}"));
        assert_eq!(counted, 1.0, "{rule}");
    }
    let recent = proxy.exchange(get(
        "/v1/performance/recent?count=1",
        &["Connection: close"],
    ));
    assert!(
        recent
            .text()
            .contains("\"purpose\":\"auxiliary;rule=open-webui-task\"")
    );
}

#[test]
fn a_request_says_itself_what_it_is_for() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let title = task("Generate a concise title summarizing the chat history.");
    let fields = ["X-YYChat-User-Id: ann", "X-YYChat-Purpose: chat"];
    let answer = proxy.exchange(chat(&fields, title));
    assert_eq!(answer.head.get("x-yychat-purpose"), Some("chat"));
    assert_eq!(answer.head.get("x-yychat-personality"), Some("ada"));
    assert!(last(&upstream).contains("You are Ada."));
    let refused = proxy.exchange(chat(&["X-YYChat-Purpose: title"], said("hi")));
    assert_eq!(refused.error(400)["param"], "X-YYChat-Purpose");
}

#[test]
fn the_models_name_is_mended_in_an_errand_too() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let body = task("Generate 1-3 broad tags").replacen("\"m\"", "\"m@ada\"", 1);
    let answer = proxy.exchange(chat(&OPEN_WEBUI, body.clone()));
    assert_eq!(answer.head.get("x-yychat-personality"), None);
    assert_eq!(last(&upstream), body.replacen("m@ada", "m", 1));
}

#[test]
fn a_preview_says_what_a_request_is_for() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let body = task("Generate 1-3 broad tags");
    let preview = proxy.exchange(post("/v1/preview", &OPEN_WEBUI, body.clone()));
    let preview: Value = serde_json::from_slice(&preview.body).expect("JSON");
    assert_eq!(preview["purpose"], "auxiliary;rule=open-webui-tags");
    assert_eq!(preview["body"], body);
    assert_eq!(preview["insertions"], json!([]));
    assert_eq!(preview["memory"]["reason"], "auxiliary");
}

#[test]
fn an_operators_rules_take_effect_as_they_are_written() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let purpose = || {
        let answer = proxy.chat(said("Name this chat: cats"));
        answer.head.get("x-yychat-purpose").map(str::to_owned)
    };
    assert_eq!(purpose().as_deref(), Some("chat"));
    let file = proxy.root().join("conf/auxiliary.toml");
    let rule = "[[rules]]\nname = \"my-title\"\nuser_begins = [\"Name this chat:\"]\n";
    fs::write(&file, rule).expect("a file");
    let own = "auxiliary;rule=my-title";
    eventually("the rule holds", || {
        (purpose().as_deref() == Some(own)).then_some(())
    });
    fs::write(&file, format!("{rule}user_start = \"x\"\n")).expect("a file");
    let said = proxy.readyz_says("auxiliary.toml:4: `user_start` is not known in a rule");
    assert!(said.contains("broken edit, not applied:"), "{said}");
    assert_eq!(purpose().as_deref(), Some(own));
    fs::write(&file, rule.replace("Name this", "Call that")).expect("a file");
    eventually("the rule is another", || {
        (purpose().as_deref() == Some("chat")).then_some(())
    });
}

/// Twenty turns of a chat, with what Open WebUI asks for itself around each.
#[test]
fn twenty_turns_in_open_webui_leave_what_the_user_said_and_nothing_else() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let mut history = Vec::new();
    let mut errands = 0;
    for turn in 0..20 {
        let question = format!(
            "Fact number {turn}: drawer {turn} holds key {}",
            turn * 7 + 3
        );
        history.push(json!({ "role": "user", "content": question }));
        let mut tasks = vec![
            "Analyze the chat history to determine the necessity of generating search queries",
            "You are an autocompletion system. Continue the text in `<text>`",
            "Suggest 3-5 relevant follow-up questions or prompts that the user might ask",
            "Generate 1-3 broad tags categorizing the main themes of the chat history",
        ];
        if turn == 0 {
            tasks.push("Generate a concise, 3-5 word title with an emoji summarizing the chat");
        }
        for words in tasks {
            let body = task(words);
            let answer = proxy.exchange(chat(&OPEN_WEBUI, body.clone()));
            assert_eq!(
                answer.head.get("x-yychat-memory"),
                Some("off;reason=auxiliary")
            );
            assert_eq!(last(&upstream), body, "no persona, memory or tool");
            errands += 1;
        }
        let body = json!({ "model": "m", "messages": history, "stream": false }).to_string();
        let answer = proxy.exchange(chat(&OPEN_WEBUI, body));
        assert_eq!(answer.head.get("x-yychat-purpose"), Some("chat"));
        assert!(last(&upstream).contains("You are Ada."));
        history.push(json!({ "role": "assistant", "content": "hello" }));
    }
    let saved = eventually("all turns are saved", || {
        let records = records(&proxy, "7d0c");
        let said = records.iter().filter(|record| record["role"] == "user");
        (said.count() >= 20).then_some(records)
    });
    let of_tasks = |record: &&Value| {
        let text = record["text"].as_str().expect("a text");
        text.contains("Task") || text.contains("chat_history")
    };
    assert_eq!(saved.iter().filter(of_tasks).count(), 0);
    assert_eq!(saved.iter().filter(|it| it["role"] == "user").count(), 20);
    assert_eq!(errands, 81);
    // A chat that the user keeps to himself leaves nothing.
    let fields = [
        "X-OpenWebUI-User-Id: 7d0d",
        "X-OpenWebUI-Chat-Id: local:Xa9",
    ];
    let answer = proxy.exchange(chat(&fields, said("I keep my key under the mat")));
    assert_eq!(
        answer.head.get("x-yychat-memory"),
        Some("off;reason=temporary")
    );
    let fields = ["X-OpenWebUI-User-Id: 7d0d", "X-OpenWebUI-Chat-Id: 51ab"];
    proxy.exchange(chat(&fields, said("My other key is in the shed")));
    eventually("what may be kept is saved", || {
        let records = records(&proxy, "7d0d");
        let texts = records
            .iter()
            .map(|it| it["text"].as_str().unwrap_or_default());
        let texts: Vec<_> = texts.collect();
        assert!(!texts.iter().any(|text| text.contains("mat")), "{texts:?}");
        texts.iter().any(|text| text.contains("shed")).then_some(())
    });
}
