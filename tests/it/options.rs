//! What holds for a request: what it says, else what its key has for it, else the configuration.

use serde_json::Value;

use crate::support::client::{get, post};
use crate::support::upstream::COMPLETION;
use crate::support::{Proxy, Setup, Upstream, chat, eventually};

/// What the upstream was sent last.
fn last(upstream: &Upstream) -> String {
    let requests = upstream.requests();
    requests.last().expect("a request").text()
}

/// The header line that proves the key of that name.
fn key(name: &str) -> String {
    format!("Authorization: Bearer {name}-key-0123456789")
}

/// Two personalities, of which `ada` is the default, and keys with defaults of their own.
fn with_keys(upstream: &Upstream, save: &str) -> Proxy {
    Setup::new()
        .config("personality.default = \"ada\"")
        .set("memory.save", save)
        .upstream(upstream, "")
        .persona("ada", "You are Ada.")
        .persona("bob", "You are Bob.")
        .key("plain", "plain-key-0123456789", "t")
        .key("agent", "agent-key-0123456789", "t")
        .with("user = \"dev\"\npersonality = \"\"\nmodels = [\"gpt-*\"]")
        .key("reader", "reader-key-0123456789", "t")
        .with("user = \"dev\"\npersonality = \"bob\"\nmemory = \"readonly\"")
        .key("blank", "blank-key-0123456789", "t")
        .with("user = \"dev\"\nmemory = \"off\"")
        .start()
}

#[test]
fn a_request_wins_over_its_key_and_the_key_over_the_configuration() {
    let upstream = Upstream::ok();
    let proxy = with_keys(&upstream, "off");
    let bob = &["X-YYChat-Personality: bob"][..];
    let ada = &["X-YYChat-Personality: ada"][..];
    let readonly = &["X-YYChat-Memory: readonly"][..];
    for (name, fields, members, persona, memory) in [
        ("plain", &[][..], "", Some("ada"), "off;reason=no-identity"),
        ("plain", bob, "", Some("bob"), "off;reason=no-identity"),
        ("agent", &[], "", None, "miss"),
        (
            "agent",
            &[],
            r#","personality_id":"ada""#,
            Some("ada"),
            "miss",
        ),
        (
            "agent",
            &[],
            r#","memory":"off""#,
            None,
            "off;reason=request",
        ),
        ("reader", &[], "", Some("bob"), "miss"),
        ("reader", ada, "", Some("ada"), "miss"),
        ("blank", &[], "", Some("ada"), "off;reason=disabled"),
        ("blank", readonly, "", Some("ada"), "miss"),
    ] {
        let key = key(name);
        let fields = [&[key.as_str()], fields].concat();
        let body = format!(r#"{{"model":"gpt-4o","messages":[]{members}}}"#);
        let answer = proxy.exchange(chat(&fields, body));
        assert_eq!(answer.status(), 200, "{fields:?}: {}", answer.text());
        let told = |name| answer.head.get(name);
        assert_eq!(
            told("x-yychat-personality"),
            persona,
            "{fields:?} {members}"
        );
        assert_eq!(
            told("x-yychat-memory"),
            Some(memory),
            "{fields:?} {members}"
        );
    }
}

#[test]
fn what_a_key_may_only_read_is_not_written() {
    let upstream = Upstream::ok();
    let proxy = with_keys(&upstream, "user");
    for (name, text) in [
        ("reader", "my cat is called Pixel"),
        ("blank", "my dog is called Byte"),
        ("agent", "my fish is called Nibble"),
    ] {
        let message = format!(r#"{{"role":"user","content":"{text}"}}"#);
        let body = format!(r#"{{"model":"gpt-4o","messages":[{message}]}}"#);
        let answer = proxy.exchange(chat(&[&key(name)], body));
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    }
    // They are saved in the order in which they came.
    let saved = eventually("what was said last is saved", || {
        let fields = [&key("plain"), "Connection: close"];
        let list = proxy.exchange(get("/v1/memories?user_id=dev", &fields));
        let list: Value = serde_json::from_slice(&list.body).expect("JSON");
        let list = list["data"].to_string();
        list.contains("Nibble").then_some(list)
    });
    assert!(
        !saved.contains("Pixel") && !saved.contains("Byte"),
        "{saved}"
    );
}

#[test]
fn a_key_asks_for_its_own_models_alone() {
    let upstream = Upstream::ok();
    let proxy = with_keys(&upstream, "off");
    for (model, status) in [
        ("gpt-4o", 200),
        ("gpt-4o@bob", 200),
        ("o3", 404),
        ("o3@bob", 404),
    ] {
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        let answer = proxy.exchange(chat(&[&key("agent")], body));
        assert_eq!(answer.status(), status, "{model}: {}", answer.text());
        if status == 404 {
            assert_eq!(answer.error(404)["code"], "model_not_found");
        }
    }
}

#[test]
fn a_personality_is_chosen_by_the_models_name() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "models = [\"gpt-4o\", \"*@001\"]")
        .persona("ada", "You are Ada.")
        .persona("李白", "You are Li Bai.")
        .start();
    let li_bai = Some(("%E6%9D%8E%E7%99%BD", "Li Bai"));
    let ada = Some(("ada", "Ada"));
    for (model, persona, sent) in [
        ("gpt-4o@ada", ada, "gpt-4o"),
        (r"gpt-4o\u0040ada", ada, "gpt-4o"),
        (r"g\u0070t-4o@\u0061da", ada, r"g\u0070t-4o"),
        ("gpt-4o@李白", li_bai, "gpt-4o"),
        (r"gpt-4o@\u674e\u767d", li_bai, "gpt-4o"),
        ("claude@001@ada", ada, "claude@001"),
        // What is no personality belongs to the name.
        ("claude@001", None, "claude@001"),
        (r"a\\u0040@001", None, r"a\\u0040@001"),
        (r"a\\u0040@001@ada", ada, r"a\\u0040@001"),
    ] {
        let body = |model| format!("{{ \"model\" : \"{model}\",\"messages\":[ ] }}");
        let answer = proxy.chat(body(model));
        assert_eq!(answer.text(), COMPLETION, "{model}");
        let told = answer.head.get("x-yychat-personality");
        assert_eq!(told, persona.map(|(id, _)| id), "{model}");
        let mut sent = body(sent);
        if let Some((_, name)) = persona {
            let message = format!(r#"{{"role":"system","content":"You are {name}."}}"#);
            sent = sent.replace("[ ]", &format!("[{message} ]"));
        }
        assert_eq!(last(&upstream), sent, "{model}");
    }
}

#[test]
fn a_header_wins_over_the_models_name_and_no_upstream_sees_it() {
    let upstream = Upstream::ok();
    let proxy = with_keys(&upstream, "off");
    let fields = [&key("plain"), "X-YYChat-Personality: bob"];
    let body = r#"{"model":"gpt-4o@ada","messages":[]}"#;
    let answer = proxy.exchange(chat(&fields, body));
    assert_eq!(answer.head.get("x-yychat-personality"), Some("bob"));
    let sent = last(&upstream);
    assert!(sent.starts_with(r#"{"model":"gpt-4o","#), "{sent}");
    // A name that would be empty is no name.
    let body = r#"{"model":"@bob","messages":[]}"#;
    let answer = proxy.exchange(chat(&[&key("plain")], body));
    assert_eq!(answer.head.get("x-yychat-personality"), Some("ada"));
    assert!(last(&upstream).starts_with(r#"{"model":"@bob","#));
}

#[test]
fn yychats_switch_turns_recall_off_and_leaves_saving_on() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .env("ENABLE_MEMORY_RETRIEVAL", "false")
        .upstream(&upstream, "")
        .start();
    let say = |text: &str| {
        let message = format!(r#"{{"role":"user","content":"{text}"}}"#);
        let answer = proxy.chat(format!(r#"{{"user":"ann","messages":[{message}]}}"#));
        answer.head.get("x-yychat-memory").map(str::to_owned)
    };
    assert_eq!(
        say("my cat is called Pixel").as_deref(),
        Some("off;reason=disabled")
    );
    eventually("it is saved", || {
        let fields = ["Connection: close"];
        let list = proxy.exchange(get("/v1/memories?user_id=ann", &fields));
        list.text().contains("Pixel").then_some(())
    });
    let question = "what is my cat called?";
    assert_eq!(say(question).as_deref(), Some("off;reason=disabled"));
    assert!(!last(&upstream).contains("Pixel"));
}

#[test]
fn days_are_those_of_the_zone_that_a_request_names() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .config("memory.time_zone = \"America/New_York\"")
        .start();
    let said =
        r#"{"user_id":"ada","text":"My train was late.","created_at":"2026-05-04T23:30:00Z"}"#;
    let kept = proxy.exchange(post("/v1/memories", &[], said));
    assert_eq!(kept.status(), 201);
    let asked = r#"{"model":"m","user":"ada","memory":"readonly","messages":[{"role":"user","content":"Was my train late?"}]}"#;
    for (zone, day) in [
        ("", "- [2026-05-04] user: My train was late."),
        ("Asia/Shanghai", "- [2026-05-05] user: My train was late."),
    ] {
        let header = format!("X-YYChat-Time-Zone: {zone}");
        let preview = proxy.exchange(post("/v1/preview", &[&header], asked));
        assert!(preview.text().contains(day), "{zone}: {}", preview.text());
    }
    let search = r#"{"user_id":"ada","query":"What was on 5 May 2026?"}"#;
    for (zone, found) in [("America/New_York", 0), ("Asia/Shanghai", 1)] {
        let header = format!("X-YYChat-Time-Zone: {zone}");
        let answer = proxy.exchange(post("/v1/memories/search", &[&header], search));
        let answer: Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!(
            answer["data"].as_array().map(Vec::len),
            Some(found),
            "{zone}"
        );
    }
    let header = "X-YYChat-Time-Zone: Asia/Shangai";
    let refused = proxy.exchange(post("/v1/preview", &[header], asked));
    assert_eq!(refused.status(), 400);
    assert!(
        refused.text().contains("Asia/Shangai"),
        "{}",
        refused.text()
    );
}

/// A card whose prompt tells the hour, which macros are expanded in.
const CLOCK: &str = r#"{"spec":"chara_card_v2","spec_version":"2.0","data":{"name":"clock",
"description":"It is {{datetimeformat YYYY-MM-DD HH}} here.","first_mes":"","personality":"","scenario":"","mes_example":"","extensions":{}}}"#;

#[test]
fn a_macro_tells_the_time_of_the_request_where_its_user_is() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .file("conf/personalities/clock.json", CLOCK.as_bytes())
        .set("memory.time_zone", "Asia/Shanghai")
        .start();
    let told = |fields: &[&str]| {
        let fields = [&["X-YYChat-Personality: clock"], fields].concat();
        let answer = proxy.exchange(chat(&fields, r#"{"messages":[]}"#));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        last(&upstream)
    };
    let hour = |zone: &str| {
        let now = jiff::Timestamp::now().in_tz(zone).expect("a zone");
        now.strftime("It is %Y-%m-%d %H here.").to_string()
    };
    // The hour may end in between.
    let tells = |fields: &[&str], zone: &str| {
        let (before, sent, after) = (hour(zone), told(fields), hour(zone));
        assert!(
            sent.contains(&before) || sent.contains(&after),
            "{zone}: {sent}"
        );
    };
    tells(&[], "Asia/Shanghai");
    tells(
        &["X-YYChat-Time-Zone: Pacific/Kiritimati"],
        "Pacific/Kiritimati",
    );
    tells(
        &["X-YYChat-Time-Zone: America/Los_Angeles"],
        "America/Los_Angeles",
    );
    let odd = chat(&["X-YYChat-Time-Zone: Mars/Olympus"], r#"{"messages":[]}"#);
    let error = proxy.exchange(odd).error(400);
    assert_eq!(error["param"], "X-YYChat-Time-Zone", "{error}");
}
