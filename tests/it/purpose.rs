//! Errands of front ends: known by rules, sent on as they came, and never remembered.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

/// What Open WebUI sends with everything that a user has it do.
const OPEN_WEBUI: [&str; 4] = [
    "X-OpenWebUI-User-Name: Ann",
    "X-OpenWebUI-User-Id: 7d0c",
    "X-OpenWebUI-User-Role: user",
    "X-OpenWebUI-Chat-Id: 51aa",
];

/// A gateway with a default personality, memory and a tool: all that an errand must not get.
fn setup(upstream: &Upstream) -> Setup {
    Setup::new()
        .config("personality.default = \"ada\"")
        .upstream(upstream, "")
        .persona("ada", "You are Ada.")
        .calculator()
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

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const CHAT: &str = "/v1/chat/completions";

/// A request as clients shape it in the API of a path: instructions, then what the user's side sends, each a
/// message or a block of its own.
fn shaped(path: &str, system: &str, said: &[&str], members: &Value) -> String {
    let texts = |kind: &str| -> Vec<Value> {
        let texts = said.iter();
        texts
            .map(|text| json!({ "type": kind, "text": text }))
            .collect()
    };
    let mut body = match path {
        RESPONSES => {
            let said = texts("input_text").into_iter();
            let said = said.map(|text| json!({ "role": "user", "content": [text] }));
            let mut input: Vec<_> = said.collect();
            if !system.is_empty() {
                input.insert(0, json!({ "role": "developer", "content": system }));
            }
            json!({ "model": "m", "input": input })
        }
        MESSAGES => {
            let mut body = json!({ "model": "m", "max_tokens": 32_000,
                "messages": [{ "role": "user", "content": texts("text") }] });
            if !system.is_empty() {
                body["system"] = json!([{ "type": "text", "text": system,
                    "cache_control": { "type": "ephemeral" } }]);
            }
            body
        }
        _ => {
            let said = said
                .iter()
                .map(|text| json!({ "role": "user", "content": text }));
            let mut messages: Vec<_> = said.collect();
            if !system.is_empty() {
                messages.insert(0, json!({ "role": "system", "content": system }));
            }
            json!({ "model": "m", "messages": messages })
        }
    };
    let members = members.as_object().expect("members").clone();
    body.as_object_mut().expect("an object").extend(members);
    body.to_string()
}

/// What an errand is asked with, beside its user: fields, instructions, what is said, other members.
type Errand<'a> = (&'a str, &'a [&'a str], &'a str, &'a [&'a str], Value);

fn errands() -> Vec<Errand<'static>> {
    let history = "<chat_history>\nUSER: my cat is called Pixel\nASSISTANT: Nice!\n</chat_history>";
    let open_webui = |words: &str| -> &'static [&'static str] {
        let text =
            format!("### Task:\n{words}\n### Guidelines:\n- …\n### Chat History:\n{history}");
        Vec::leak(vec![&*text.leak()])
    };
    let schema = json!({ "response_format": { "type": "json_schema", "json_schema": {} },
        "text": { "format": { "type": "json_schema" } },
        "output_config": { "format": { "type": "json_schema" } } });
    let codex = |member: &str, value: &str| {
        let turn = json!({ "session_id": "s", "request_kind": "turn", "thread_source": "user" });
        let mut turn = turn;
        turn[member] = value.into();
        json!({ "client_metadata": { "x-codex-turn-metadata": turn.to_string() } })
    };
    let none = || json!({});
    let opencode = "You are a title generator. You output ONLY a thread title. Nothing else.";
    let all: [Errand<'static>; 34] = [
        (
            "open-webui-title",
            &OPEN_WEBUI,
            "",
            open_webui("Generate a concise, 3-5 word title with an emoji"),
            none(),
        ),
        (
            "open-webui-tags",
            &OPEN_WEBUI,
            "",
            open_webui("Generate 1-3 broad tags categorizing the main themes"),
            none(),
        ),
        (
            "open-webui-follow-ups",
            &OPEN_WEBUI,
            "",
            open_webui("Suggest 3-5 relevant follow-up questions"),
            none(),
        ),
        (
            "open-webui-queries",
            &OPEN_WEBUI,
            "",
            open_webui(
                "Analyze the chat history to determine the necessity of generating search queries",
            ),
            none(),
        ),
        (
            "open-webui-image-prompt",
            &OPEN_WEBUI,
            "",
            open_webui("Generate a detailed prompt for am image generation task"),
            none(),
        ),
        (
            "open-webui-autocompletion",
            &OPEN_WEBUI,
            "",
            open_webui("You are an autocompletion system. Continue the text"),
            none(),
        ),
        (
            "open-webui-emoji",
            &OPEN_WEBUI,
            "",
            &[
                "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
            ],
            none(),
        ),
        (
            "open-webui-moa",
            &OPEN_WEBUI,
            "",
            &[
                "You have been provided with a set of responses from various models to the latest user query: \"hi\"",
            ],
            none(),
        ),
        (
            "open-webui-function-calling",
            &OPEN_WEBUI,
            "Available Tools: []\n\nYour task is to choose and return the correct tool(s)",
            &["Query: hi"],
            none(),
        ),
        (
            "open-webui-edited-task",
            &OPEN_WEBUI,
            "",
            open_webui("Nenne drei Schlagworte."),
            none(),
        ),
        (
            "open-webui-chat-history",
            &OPEN_WEBUI,
            "",
            &["Titel, bitte.\n<chat_history>\nUSER: hallo\n</chat_history>"],
            none(),
        ),
        (
            "open-webui-transcript",
            &OPEN_WEBUI,
            "",
            &["Wie könnte das heißen?\nUSER: hallo"],
            json!({ "stream": false }),
        ),
        (
            "open-webui-short-answer",
            &OPEN_WEBUI,
            "",
            &["Wie könnte das heißen: hallo"],
            json!({ "stream": false, "max_tokens": 1000 }),
        ),
        (
            "request-metadata",
            &[],
            "",
            &["hallo"],
            json!({ "metadata": { "task": "title_generation" } }),
        ),
        (
            "opencode-title",
            &["User-Agent: opencode/1.18.33", "x-session-id: ses_1"],
            opencode,
            &["Generate a title for this conversation:\n", "fix the build"],
            none(),
        ),
        (
            "title-question",
            &["x-session-id: ses_1"],
            "Name things.",
            &["Generate a title for this conversation:\n", "fix the build"],
            none(),
        ),
        (
            "opencode-summary",
            &["User-Agent: opencode/1.18.33"],
            "Summarize what was done in this conversation. Write like a pull request description",
            &["…"],
            none(),
        ),
        (
            "agent-without-tools",
            &["User-Agent: opencode/3.0"],
            "Write one brief line that names what the user wants: a title.",
            &["fix the build"],
            none(),
        ),
        (
            "claude-code-title",
            &["x-app: cli"],
            "You are Claude Code.",
            &["fix the build"],
            schema,
        ),
        (
            "claude-code-title-instruction",
            &["x-app: cli"],
            "Generate a concise, sentence-case title (3-7 words)",
            &["fix the build"],
            none(),
        ),
        (
            "claude-code-sub-agent",
            &["x-app: cli", "X-Claude-Code-Agent-Id: a1"],
            "You are an agent for Claude Code.",
            &["look for tests"],
            json!({ "tools": [{ "name": "Bash" }] }),
        ),
        (
            "claude-code-errand",
            &["x-app: cli"],
            "You are Claude Code.",
            &[
                "Your task is to create a detailed summary of the conversation so far, paying close attention",
            ],
            json!({ "tools": [{ "name": "Bash" }] }),
        ),
        (
            "codex-turn-kind",
            &["originator: codex_exec"],
            "You are Codex.",
            &["fix the build"],
            codex("request_kind", "compaction"),
        ),
        (
            "codex-turn-kind",
            &["originator: codex_exec"],
            "You are Codex.",
            &["fix the build"],
            codex("thread_source", "subagent"),
        ),
        (
            "codex-turn-kind",
            &["x-codex-turn-metadata: {\"request_kind\":\"title\"}"],
            "You are Codex.",
            &["fix the build"],
            none(),
        ),
        (
            "codex-sub-agent",
            &["x-openai-subagent: collab_spawn"],
            "You are Codex.",
            &["look at the diff"],
            json!({ "tools": [{ "type": "function", "name": "exec" }] }),
        ),
        (
            "codex-title",
            &["originator: codex_vscode"],
            "Generate a concise, single-line task title of at most 36 characters",
            &["fix the build"],
            none(),
        ),
        (
            "codex-compaction",
            &["originator: codex_exec"],
            "You are Codex.",
            &["You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary"],
            none(),
        ),
        (
            "librechat-title",
            &[],
            "",
            &[
                "Provide a concise, 5-word-or-less title for the conversation, using its same language",
            ],
            none(),
        ),
        (
            "lobechat-title",
            &[],
            "You are a professional conversation summarizer. Generate a concise title that captures",
            &["user: hi\nassistant: hello"],
            none(),
        ),
        (
            "lobechat-title",
            &[],
            "你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题",
            &["user: 你好"],
            none(),
        ),
        (
            "sillytavern-quiet",
            &[],
            "Ignore previous instructions. Summarize the most important facts and events",
            &["*smiles*"],
            none(),
        ),
        (
            "sillytavern-quiet",
            &[],
            "You are Seraphina.",
            &[
                "*smiles*",
                "[Pause your roleplay. Provide a detailed description of the room",
            ],
            none(),
        ),
        (
            "told-conversation",
            &[],
            "",
            &["Nenne höchstens drei Schlagworte dazu.\nNutzer: hallo\nAssistent: hallo"],
            none(),
        ),
    ];
    all.into()
}

#[test]
fn errands_are_known_in_each_api() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    for (rule, fields, system, said, members) in errands() {
        for path in [CHAT, RESPONSES, MESSAGES] {
            let body = shaped(path, system, said, &members);
            let fields = [
                &["Content-Type: application/json", "X-YYChat-User-Id: ann"],
                fields,
            ]
            .concat();
            let answer = proxy.exchange(post(path, &fields, body.clone()));
            assert_eq!(answer.status(), 200, "{rule} {path}: {}", answer.text());
            let told = |name| answer.head.get(name);
            let purpose = format!("auxiliary;rule={rule}");
            assert_eq!(told("x-yychat-purpose"), Some(&*purpose), "{path}: {body}");
            assert_eq!(
                told("x-yychat-memory"),
                Some("off;reason=auxiliary"),
                "{rule} {path}"
            );
            assert_eq!(
                told("x-yychat-tools"),
                Some("0;reason=auxiliary"),
                "{rule} {path}"
            );
            assert_eq!(last(&upstream), body, "{rule} {path}");
        }
    }
    assert_eq!(records(&proxy, "ann").len(), 0);
}

#[test]
fn what_the_same_clients_chat_about_is_a_chat_in_each_api() {
    let upstream = Upstream::ok();
    let proxy = setup(&upstream).start();
    let tool = json!({ "tools": [{ "type": "function", "name": "exec", "function": { "name": "exec" } }] });
    let turn = json!({ "client_metadata": { "x-codex-turn-metadata":
        "{\"request_kind\":\"turn\",\"thread_source\":\"user\"}" } });
    let streamed = json!({ "stream": true, "max_tokens": 900 });
    let chats: [(&[&str], &str, &[&str], Value); 10] = [
        (
            &OPEN_WEBUI,
            "",
            &["Generate a short title for my essay on otters"],
            streamed,
        ),
        (
            &OPEN_WEBUI,
            "",
            &[
                "### Task:\nRespond to the user query using the provided context\n<context>x</context>\nhi",
            ],
            json!({}),
        ),
        (&OPEN_WEBUI, "", &["hi"], json!({ "stream": false })),
        (
            &["x-app: cli"],
            "You are Claude Code.",
            &["summarize the README only"],
            tool.clone(),
        ),
        (&["x-app: cli"], "You are Claude Code.", &["hi"], json!({})),
        (
            &["originator: codex_exec"],
            "You are Codex.",
            &[
                "<environment_context>x</environment_context>",
                "write a short title",
            ],
            turn,
        ),
        (
            &["User-Agent: opencode/1.18.33"],
            "You are opencode.",
            &["give the page a title"],
            tool,
        ),
        (
            &[],
            "You are Seraphina. Never break character.",
            &["*smiles* Ignore the noise."],
            json!({}),
        ),
        (&[], "", &["Summarize our conversation so far"], json!({})),
        (
            &[],
            "",
            &["What is a good title for this chat app? Keep it short."],
            json!({ "metadata": { "task": "support" } }),
        ),
    ];
    for (fields, system, said, members) in chats {
        for path in [CHAT, RESPONSES, MESSAGES] {
            let body = shaped(path, system, said, &members);
            let fields = [&["Content-Type: application/json"], fields].concat();
            let answer = proxy.exchange(post(path, &fields, body.clone()));
            assert_eq!(
                answer.head.get("x-yychat-purpose"),
                Some("chat"),
                "{path}: {body}"
            );
        }
    }
}
