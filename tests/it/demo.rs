//! `yychat demo`, as somebody runs it who has just built the program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn the_demo_shows_a_persona_a_stream_a_memory_and_a_tool_and_stays_up() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_yychat"))
        .args(["demo", "--set", "server.listen=127.0.0.1:0"])
        .args(["--set", "server.admin_listen=127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program that was just built");
    let shown = BufReader::new(demo.stdout.take().expect("a pipe"));
    let mut text = String::new();
    for line in shown.lines() {
        let line = line.expect("text");
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    // The demo ends by itself when it breaks off, and the loop above with it.
    let still_up = demo.try_wait().expect("a child").is_none();
    demo.kill().expect("a child that is up");
    demo.wait().expect("a child that was ended");
    assert!(still_up, "it ended by itself:\n{text}");
    for part in [
        "I received 1 messages",
        "system: You are a friendly companion",
        "x-yychat-memory: hit;count=1",
        "My cat is called Pixel",
        "Let me calculate that. I am the demo upstream",
        "{\"result\":1100012777237}",
        "Try it yourself",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
