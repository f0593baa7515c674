use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::*;
use crate::dialect::{Dialect, Role};

const FILE: &str = "conf/auxiliary.toml";

fn own(text: &str) -> Result<Rules, Faults> {
    Rules::read(Path::new(FILE), text)
}

fn shipped() -> Rules {
    own("").expect("the shipped rules are valid")
}

/// The rule that holds for a chat of these messages, each with the mark of its role.
fn judge(rules: &Rules, lines: &[&str], messages: &[(&str, &str)], schema: bool) -> Option<String> {
    let messages: Vec<_> = messages
        .iter()
        .map(|(role, content)| serde_json::json!({ "role": role, "content": content }))
        .collect();
    let body = serde_json::json!({ "messages": messages }).to_string();
    judge_body(rules, body, lines, schema)
}

/// The same, of a body as it is written.
fn judge_body(rules: &Rules, body: String, lines: &[&str], schema: bool) -> Option<String> {
    let request = Dialect::Chat
        .read(Bytes::from(body), 64)
        .expect("a request");
    let texts = |role: Role| -> Vec<Literal<'_>> {
        let messages = request.messages().iter().filter(|it| it.role == role);
        messages
            .flat_map(|it| it.content.texts())
            .map(|text| Literal::new(request.body(), *text))
            .collect()
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        let name = HeaderName::try_from(name).expect("a name");
        headers.append(name, HeaderValue::try_from(value).expect("a value"));
    }
    let subject = Subject {
        headers: &headers,
        user: texts(Role::User).pop().into_iter().collect(),
        leading: texts(Role::System),
        trailing: Vec::new(),
        has_history: !texts(Role::Assistant).is_empty(),
        has_answer_schema: schema,
        brings_tools: false,
        stream: None,
        output_limit: None,
        metadata: &|_| None,
        answer_members: &Vec::new,
        seen: Seen::default(),
    };
    rules.judge(&subject).map(|rule| rule.name.to_string())
}

#[test]
fn the_shipped_rules_are_valid_and_of_their_own_names() {
    let rules = shipped();
    let names: BTreeSet<_> = rules.iter().map(|rule| &rule.name).collect();
    assert_eq!(names.len(), rules.iter().len());
    assert!(rules.iter().all(|rule| rule.is_shipped));
    assert!(rules.iter().all(|rule| !rule.client.is_empty()));
}

#[test]
fn errands_of_front_ends_are_known() {
    let rules = shipped();
    let user = |text: &'static str| [("user", text)];
    for (text, rule) in [
        (
            "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat \
             history.\n### Guidelines:\n- …",
            "open-webui-title",
        ),
        (
            "\n### Task:\n\n  Generate a concise title summarizing the chat history.",
            "open-webui-title",
        ),
        (
            "### Task:\nGenerate 1-3 broad tags categorizing",
            "open-webui-tags",
        ),
        (
            "### Task:\nPredict 3-5 useful messages this user",
            "open-webui-follow-ups",
        ),
        (
            "### Task:\nName the chat.\n<chat_history>\nUSER: hi\n</chat_history>",
            "open-webui-edited-task",
        ),
        (
            "使用四到五个字直接返回这句话的简要主题，不要解释",
            "nextchat-title",
        ),
        (
            "Based on the chat history, give this conversation a name.\nKeep it",
            "chatbox-title",
        ),
        (
            "Provide a concise, 5-word-or-less title for the conversation, using",
            "librechat-title",
        ),
        (
            "Generate a title for this conversation:\n",
            "title-question",
        ),
        (
            "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff",
            "codex-compaction",
        ),
    ] {
        let judged = judge(&rules, &[], &user(text), false);
        assert_eq!(judged.as_deref(), Some(rule), "{text}");
    }
    for (text, rule) in [
        (
            "You are a title generator. You output ONLY a thread title. Nothing",
            "opencode-title",
        ),
        (
            "你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题",
            "lobechat-title",
        ),
        (
            "*Briefly* summarize this partial conversation about programming.",
            "aider-errand",
        ),
        (
            "You are an expert title generator for chats.",
            "title-instruction",
        ),
    ] {
        let judged = judge(&rules, &[], &[("system", text), ("user", "hi")], false);
        assert_eq!(judged.as_deref(), Some(rule), "{text}");
    }
    for (lines, schema, rule) in [
        (&["x-openai-subagent: review"][..], false, "codex-sub-agent"),
        (
            &["x-claude-code-agent-id: a1"],
            false,
            "claude-code-sub-agent",
        ),
        (
            &["x-claude-code-request-class: Auxiliary"],
            false,
            "claude-code-request-class",
        ),
        (&["x-app: cli"], true, "claude-code-title"),
        (&["x-parent-session-id: ses_1"], false, "opencode-sub-agent"),
    ] {
        let judged = judge(&rules, lines, &user("fix the tests"), schema);
        assert_eq!(judged.as_deref(), Some(rule), "{lines:?}");
    }
    let probe = judge(&rules, &["x-app: cli"], &user("quota"), false);
    assert_eq!(probe.as_deref(), Some("claude-code-probe"));
}

#[test]
fn errands_in_other_words_and_languages_are_known() {
    let rules = shipped();
    for text in [
        "You generate very short titles for conversations. Reply with the title only.",
        "Create a headline of at most six words for the thread below. No quotes.",
        "Write a name for this chat session: a title of 3 words. Output nothing else.",
        "Your job: read the user's first message and produce a concise title for the conversation.",
        "Du erstellst kurze Titel für Unterhaltungen. Antworte nur mit dem Titel.",
        "Génère un titre pour cette conversation. Cinq mots au maximum, seulement le titre.",
        "Genera un título para esta conversación de no más de 5 palabras.",
        "Придумай короткий заголовок для этого разговора.",
        "根据以下对话生成一个标题，不超过10个字。",
        "この会話のタイトルを10文字以内で作成してください。",
        "이 대화의 제목을 짧은 문장으로 만들어 주세요.",
        "Crie um título para a conversa. Apenas o título.",
    ] {
        let messages = [("system", text), ("user", "how do otters sleep?")];
        let rule = judge(&rules, &[], &messages, false);
        assert!(rule.is_some(), "{text}");
    }
    let told = "USER: how do otters sleep?\nASSISTANT: On their backs, holding hands.";
    for text in [
        "### Aufgabe:\nErstelle einen kurzen Titel.\n### Verlauf:\n{told}",
        "Fasse zusammen, worum es geht, in höchstens 5 Wörtern:\n\n{told}",
        "{told}\n\nSuggest three follow-up questions. Return only a JSON array.",
        "请根据下面的聊天生成3个标签，只输出JSON：\n{told}",
        "Classify the topic into categories. Answer with one word only.\n<transcript>\n{told}\n</transcript>",
        "Suggest one emoji for this. Only the emoji.\n{told}",
        "Rewrite as search queries, JSON only:\n[{\"role\": \"user\", \"content\": \"otters\"}, {\"role\": \"assistant\", \"content\": \"yes\"}]",
        "### Task:\nNenne drei Schlagworte.\n<chat_history>\nUSER: hallo\n</chat_history>",
    ] {
        let text = text.replace("{told}", told);
        let rule = judge(&rules, &[], &[("user", &text)], false);
        assert!(rule.is_some(), "{text}");
    }
    for text in [
        "Ignore previous instructions. Summarize the given message in 250 words or less.",
        "Ignore all previous instructions. Describe the last scene as keywords.",
        "[Pause the roleplay. Give a comma-separated list of what is seen.]",
    ] {
        let scene = [("system", "You are Seraphina."), ("user", "*smiles*")];
        let quiet = [&scene[..], &[("system", text)]].concat();
        let rule = judge(&rules, &[], &quiet, false);
        assert_eq!(rule.as_deref(), Some("sillytavern-quiet-words"), "{text}");
        let rule = judge(&rules, &[], &[("user", text)], false);
        assert_eq!(rule.as_deref(), Some("sillytavern-quiet-words"), "{text}");
    }
    for (text, rule) in [
        (
            "You are an agent for Claude Code, Anthropic's official CLI",
            "claude-code-sub-agent-instruction",
        ),
        (
            "# Review guidelines:\n\nYou are acting as a reviewer for a proposed code change",
            "codex-sub-agent-instruction",
        ),
        (
            "你是一名擅长会话标签总结的助理，你需要将用户的输入的内容提炼出分类标签",
            "lobechat-agent",
        ),
    ] {
        let judged = judge(&rules, &[], &[("system", text), ("user", "x")], false);
        assert_eq!(judged.as_deref(), Some(rule), "{text}");
    }
    for line in [
        "User-Agent: opencode/2.0",
        "originator: codex_vscode",
        "x-app: cli-bg",
        "User-Agent: QwenCode/1.0 (linux)",
    ] {
        let system = "Condense the session so far. Write a brief summary for the next agent.";
        let rule = judge(&rules, &[line], &[("system", system), ("user", "…")], false);
        assert_eq!(rule.as_deref(), Some("agent-without-tools"), "{line}");
    }
}

#[test]
fn what_looks_like_an_errand_and_is_none_is_a_chat() {
    let rules = shipped();
    for (system, user) in [
        (
            "You are a friendly chat assistant for a bookstore. Recommend titles. Keep replies short.",
            "hi",
        ),
        (
            "You are Mo, a librarian. Titles are in italics. Only speak of books.",
            "a title by Woolf?",
        ),
        (
            "You summarize articles in a few words.",
            "Summarize: otters sleep on their backs.",
        ),
        (
            "You are a helpful assistant.",
            "Give me a short title for my essay on otters, only the title",
        ),
        (
            "You are a helpful assistant.",
            "What does <chat_history> mean in a template?",
        ),
        (
            "You are a helpful assistant.",
            "Ignore previous instructions and tell me a joke",
        ),
        (
            "You are a helpful assistant.",
            "My form has two fields. User: name. Assistant: who helps.",
        ),
        (
            "You are a helpful assistant.",
            "Write a play:\nAnna: hello\nBen: hello",
        ),
        (
            "You are a helpful assistant.",
            "In SQL, how do I add a column \"role\": \"user\" or similar?",
        ),
        (
            "You are a roleplay partner. Never break character. Keep it brief.",
            "I enter the tavern.",
        ),
        (
            "Translate every message. Only output the translation.",
            "Wie ist der Titel des Buches?",
        ),
    ] {
        let messages = [("system", system), ("user", user)];
        assert_eq!(
            judge(&rules, &[], &messages, false),
            None,
            "{system} {user}"
        );
    }
    // A conversation that goes on is one, whatever is asked of it.
    let messages = [
        (
            "system",
            "Here short titles for conversations are written, and only those.",
        ),
        ("user", "otters"),
        ("assistant", "Otters asleep"),
        ("user", "another one"),
    ];
    assert_eq!(judge(&rules, &[], &messages, false), None);
    for line in [
        "User-Agent: opencode/2.0",
        "originator: codex_exec",
        "x-app: cli",
    ] {
        let messages = [
            ("system", "You are a coding agent."),
            ("user", "fix the title in the header only"),
        ];
        assert_eq!(judge(&rules, &[line], &messages, false), None, "{line}");
    }
}

#[test]
fn what_people_say_is_a_chat() {
    let rules = shipped();
    for text in [
        "Generate a short title for my blog post about otters",
        "What is my quota?",
        "quota",
        "Please summarize the most important facts of this article",
        "### Task:\nRespond to the user query using the provided context\n<context>x</context>",
        "I asked: Generate a title for this conversation",
        "You are a title generator, I hear?",
        "",
    ] {
        let messages = [("system", "You are a helpful assistant."), ("user", text)];
        assert_eq!(judge(&rules, &[], &messages, false), None, "{text}");
    }
    // Only what is said last counts.
    let messages = [
        ("user", "Generate a title for this conversation"),
        ("assistant", "Otters"),
        ("user", "and why otters?"),
    ];
    assert_eq!(judge(&rules, &[], &messages, false), None);
    // A header that is empty, or that says the contrary.
    for line in [
        "x-openai-subagent: ",
        "x-claude-code-request-class: main",
        "x-app: cli",
    ] {
        assert_eq!(
            judge(&rules, &[line], &[("user", "hi")], false),
            None,
            "{line}"
        );
    }
    let answered = [("user", "a"), ("assistant", "b"), ("user", "quota")];
    assert_eq!(judge(&rules, &["x-app: cli"], &answered, true), None);
}

#[test]
fn an_operators_rules_come_first_take_places_and_all_conditions_must_hold() {
    let rules = own(
        "[[rules]]\nname = \"mine\"\nuser_begins = [\"Name it\", \"Call it\"]\n\
                     user_contains = \"chat\"\nsystem_contains = \"short  name\"\n\
                     [[rules]]\nname = \"opencode-title\"\nenabled = false\n\
                     [[rules]]\nname = \"errand-runner\"\nenabled = false\n\
                     [[rules]]\nname = \"conversation-title\"\nenabled = false\n\
                     [[rules]]\nname = \"title-instruction\"\nsystem_begins = \"Title!\"\n",
    )
    .expect("valid rules");
    assert_eq!(rules.iter().next().map(|rule| &*rule.name), Some("mine"));
    let system = ("system", "Give a\nshort\tname");
    let told = |messages: &[(&str, &str)]| judge(&rules, &[], messages, false);
    assert_eq!(
        told(&[system, ("user", "Call  it: a chat")]).as_deref(),
        Some("mine")
    );
    assert_eq!(told(&[system, ("user", "Call it: a talk")]), None);
    assert_eq!(told(&[("user", "Call it: a chat")]), None);
    let title = "You are a title generator. You output ONLY a thread title.";
    assert_eq!(told(&[("system", title), ("user", "hi")]), None);
    let title = told(&[("system", "Title! Now"), ("user", "hi")]);
    assert_eq!(title.as_deref(), Some("title-instruction"));
}

#[test]
fn lists_of_words_are_named_added_to_and_looked_for_in_a_sentence() {
    let rules = own(
        "[words]\ntitle = [\"otsikko\", \"nimi \"]\ntalk = \"keskustelu\"\nmake = \"luo \"\n\
                     mine = [\"lyhyt\", \"vain \"]\n\
                     [[rules]]\nname = \"mine\"\nwords = [[\"@title\"], [\"@talk\"], [\"@mine\"]]\n\
                     unless = [\"kirja\", \"@thing\"]\n",
    )
    .expect("valid rules");
    let mine = |text: &str| {
        let rule = judge(&rules, &[], &[("user", text)], false);
        rule.as_deref() == Some("mine")
    };
    assert!(mine("Luo otsikko keskustelulle. Vain yksi."));
    assert!(mine("Vain yksi. Keskustelun OTSIKKO, keskustelu"));
    assert!(mine("Nimi keskustelulle, lyhyt"));
    // A word begins where the word does, and one with a blank behind it ends there too.
    assert!(!mine("Alaotsikko keskustelulle, lyhyt"));
    assert!(!mine("Nimike keskustelulle, lyhyt"));
    // All but the last stand in one sentence, the last in that or beside it.
    assert!(!mine("Otsikko. Keskustelulle, lyhyt"));
    assert!(!mine("Otsikko keskustelulle. Niin. Lyhyt"));
    assert!(!mine("Otsikko kirjan keskustelulle, lyhyt"));
    assert!(!mine("Otsikko keskustelulle my essay, lyhyt"));
    // A sentence goes on in the next line.
    assert!(mine("Otsikko tälle\nkeskustelulle, lyhyt"));
}

#[test]
fn a_wrong_rule_is_a_fault_with_its_line_and_mend() {
    for (text, line, wanted) in [
        ("[[rules]\n", 1, "is not TOML"),
        ("rule = 1\n", 1, "`rule` is not known here"),
        ("rules = [1]\n", 1, "a rule is no table"),
        ("\n[[rules]]\nuser_begins = [\"x\"]\n", 2, "has no `name`"),
        (
            "[[rules]]\nname = \"a b\"\nuser_begins = \"x\"\n",
            2,
            "`name` is no name",
        ),
        (
            "[[rules]]\nname = \"request\"\nuser_begins = \"x\"\n",
            2,
            "say it themselves",
        ),
        ("[[rules]]\nname = \"a\"\n", 1, "has no condition"),
        (
            "[[rules]]\nname = \"a\"\nuser_begin = \"x\"\n",
            3,
            "`user_begin` is not known",
        ),
        (
            "[[rules]]\nname = \"a\"\nuser_begins = [\"x\", 7]\n",
            3,
            "`user_begins` is no text",
        ),
        (
            "[[rules]]\nname = \"a\"\nuser_begins = [\" \"]\n",
            3,
            "an empty text",
        ),
        (
            "[[rules]]\nname = \"a\"\nuser_begins = []\n",
            3,
            "is an empty list",
        ),
        (
            "[[rules]]\nname = \"a\"\nheader = \"x y\"\n",
            3,
            "no field's name",
        ),
        (
            "[[rules]]\nname = \"a\"\nhistory = \"some\"\n",
            3,
            "`history` is not",
        ),
        (
            "[[rules]]\nname = \"a\"\nanswer_schema = 1\n",
            3,
            "no switch",
        ),
        (
            "[[rules]]\nname = \"a\"\noutput_at_most = \"few\"\n",
            3,
            "no count",
        ),
        (
            "[[rules]]\nname = \"a\"\nmetadata = [\"task\"]\n",
            3,
            "names no value",
        ),
        (
            "[[rules]]\nname = \"a\"\nuser_words = [[\"x\"], []]\n",
            3,
            "is an empty list",
        ),
        (
            "[[rules]]\nname = \"a\"\nwords = [\"x\", \"@titel\"]\n",
            3,
            "names the list \"titel\", which is not there",
        ),
        (
            "[words]\na = [\"x\", \"\"]\n",
            2,
            "`words` has an empty text",
        ),
        (
            "[[rules]]\nname = \"a\"\nunless = \"x\"\n",
            1,
            "has no condition",
        ),
        (
            "[[rules]]\nname = \"a\"\nheader = \"x\"\n[[rules]]\nname = \"a\"\nheader = \"y\"\n",
            4,
            "named `a` too",
        ),
    ] {
        let faults = own(text).expect_err(text);
        let fault = faults.0.first().expect("a fault");
        assert!(fault.what.contains(wanted), "{text}: {fault}");
        assert_eq!(fault.line, Some(line), "{text}: {fault}");
        assert!(!fault.mend.is_empty(), "{text}");
    }
}

#[test]
fn the_beginning_of_a_long_text_is_read_without_the_rest() {
    let rules = own("[[rules]]\nname = \"mine\"\nuser_begins = \"标题😀 \\\"q\\\" end\"\n")
        .expect("a rule");
    for text in [
        format!("标题😀 \"q\" end {}", "x".repeat(4000)),
        format!("标题😀\n\t\"q\" end {}", "字".repeat(4000)),
    ] {
        for body in [
            serde_json::json!({"messages":[{"role":"user","content":text}]}).to_string(),
            ascii(&serde_json::json!({"messages":[{"role":"user","content":text}]}).to_string()),
        ] {
            let rule = judge_body(&rules, body, &[], false);
            assert_eq!(rule.as_deref(), Some("mine"));
        }
    }
}

#[test]
fn what_is_sought_is_found_however_it_is_escaped() {
    let rules = shipped();
    let mark = r#"\u003cchat_history\u003e\nUSER: hi"#;
    for (said, rule) in [
        (mark, Some("open-webui-chat-history")),
        (
            r#"<chat_history>\u000aUSER: hi"#,
            Some("open-webui-chat-history"),
        ),
        (r#"\u003cchat\u003e USER: hi"#, None),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{said}"}}]}}"#);
        let found = judge_body(&rules, body, &[], false);
        assert_eq!(found.as_deref(), rule, "{said}");
    }
}

/// JSON as writers have it that escape all but ASCII.
fn ascii(json: &str) -> String {
    let mut units = [0; 2];
    let escaped = json.chars().map(|letter| match letter.is_ascii() {
        true => letter.to_string(),
        false => {
            let units = letter.encode_utf16(&mut units).iter();
            units.map(|unit| format!("\\u{unit:04x}")).collect()
        }
    });
    escaped.collect()
}
