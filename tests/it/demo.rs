//! `yychat demo`, as somebody runs it who has just built the program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// All that it shows in a locale, until it stays up.
fn shown(locale: &str) -> String {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_yychat"))
        .args(["demo", "--set", "server.listen=127.0.0.1:0"])
        .args(["--set", "server.admin_listen=127.0.0.1:0"])
        .env("LC_ALL", locale)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program that was just built");
    let shown = BufReader::new(demo.stdout.take().expect("a pipe"));
    let mut text = String::new();
    for line in shown.lines() {
        let line = line.expect("text");
        text.push_str(&line);
        text.push('\n');
        if line.contains("Ctrl-C") {
            break;
        }
    }
    // The demo ends by itself when it breaks off, and the loop above with it.
    let still_up = demo.try_wait().expect("a child").is_none();
    demo.kill().expect("a child that is up");
    demo.wait().expect("a child that was ended");
    assert!(still_up, "it ended by itself:\n{text}");
    text
}

#[test]
fn the_demo_shows_a_persona_a_stream_a_memory_and_a_tool_and_stays_up() {
    let text = shown("C.UTF-8");
    for part in [
        "I received 1 messages",
        "system: You are a friendly companion",
        "x-yychat-memory: hit;count=1",
        "over Responses",
        "over Messages",
        "Let me calculate that. I am the demo upstream",
        "{\"result\":1100012777237}",
        "Try it yourself",
        "/  (the page",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    // The fact itself is seen where it is recalled, over each of the three APIs.
    let recalled = text.lines().filter(|line| line.contains("<memory>"));
    let recalled = recalled.filter(|line| line.contains("user: My cat is called Pixel"));
    assert_eq!(recalled.count(), 3, "{text}");
}

#[test]
fn the_demo_speaks_chinese_where_the_locale_does() {
    let text = shown("zh_CN.UTF-8");
    let recalled = text.lines().filter(|line| line.contains("<memory>"));
    let recalled = recalled.filter(|line| line.contains("我的猫叫皮皮"));
    assert_eq!(recalled.count(), 3, "{text}");
    for part in [
        "收到 1 条消息",
        "我来算一下。",
        "1100012777237",
        "可以自己试",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
