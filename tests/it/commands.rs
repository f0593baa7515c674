//! The program's commands among others on a command line: what it reads from a pipe, and what is
//! read of it by halves.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::valkey;
use crate::support::{Setup, Upstream};

/// A command in a folder of its own, with what it is given.
fn run(setup: &Setup, arguments: &[&str], given: &str) -> Output {
    let mut child = start(setup, arguments);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(given.as_bytes()).expect("it reads");
    drop(input);
    child.wait_with_output().expect("it ends")
}

fn start(setup: &Setup, arguments: &[&str]) -> Child {
    command(setup, arguments, &[])
        .spawn()
        .expect("the program that was just built")
}

/// The command with variables of its own.
fn command(setup: &Setup, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let settings = setup
        .settings()
        .map(|(key, value)| format!("{key}={value}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_yychat"));
    command
        .args(arguments)
        .args(settings.flat_map(|setting| ["--set".to_owned(), setting]))
        .envs(variables.iter().copied())
        .current_dir(setup.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn setup() -> Setup {
    let setup = Setup::new().upstream(&Upstream::ok(), "");
    std::fs::write(setup.path("conf/yychat.toml"), setup.text()).expect("a file");
    setup
}

#[test]
fn a_request_is_explained_from_a_pipe() {
    let setup = setup().persona("ada", "You are Ada.");
    let request = r#"{"personality_id":"ada","messages":[{"role":"user","content":"hello"}]}"#;
    let done = run(&setup, &["explain", "-"], request);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("You are Ada."),
        "{done:?}"
    );
}

#[test]
fn who_reads_half_of_an_export_hears_of_no_fault() {
    let setup = setup();
    let line =
        |n: usize| json!({ "user_id": "ada", "text": format!("Fact {n}: {}", "x".repeat(200)) });
    let lines: String = (0..3000).map(|n| format!("{}\n", line(n))).collect();
    let done = run(&setup, &["memory", "import"], &lines);
    assert!(done.status.success(), "{done:?}");
    let mut child = start(&setup, &["memory", "export"]);
    let mut first = [0; 10];
    let mut shown = child.stdout.take().expect("a pipe");
    shown.read_exact(&mut first).expect("a line");
    drop(shown);
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{done:?}");
    // Nobody to ask: the flag alone says that it is meant.
    let done = run(&setup, &["memory", "delete", "--all"], "");
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("3000 records deleted"),
        "{done:?}"
    );
}

#[test]
fn what_somebody_said_does_not_steer_the_terminal_that_shows_it() {
    let setup = setup();
    let text = "my cat\n\u{1b}]0;owned\u{7}\u{1b}[2J is \u{202e}Pixel";
    let line = json!({ "user_id": "ada", "text": text }).to_string();
    let done = run(&setup, &["memory", "import"], &line);
    assert!(done.status.success(), "{done:?}");
    let done = run(&setup, &["memory", "list"], "");
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(shown.contains("my cat \\u{1b}]0;owned"), "{shown}");
    assert!(
        !shown
            .trim_end()
            .contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{shown}"
    );
}

#[test]
fn who_looks_where_no_memory_is_hears_so_and_begins_none() {
    let setup = setup();
    for command in [
        &["memory", "list"][..],
        &["memory", "export"],
        &["memory", "doctor"],
        &["usage"],
    ] {
        let done = run(&setup, command, "");
        let said = String::from_utf8_lossy(&done.stderr);
        let is_told = said.contains("there is no memory here") && said.contains("--config");
        assert!(!done.status.success() && is_told, "{command:?}: {done:?}");
    }
    let files = std::fs::read_dir(setup.path("")).expect("a folder");
    let mut names = files.map(|file| file.expect("a file").file_name());
    assert!(names.all(|name| !name.to_string_lossy().contains("mem")));
}

#[test]
fn a_pipe_that_is_closed_early_is_no_fault() {
    let setup = setup();
    for command in [&["check"][..], &["schema"], &["openapi"]] {
        let mut child = start(&setup, command);
        drop(child.stdout.take());
        let done = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success() && said.is_empty(),
            "{command:?}: {done:?}"
        );
    }
}

#[test]
fn it_says_what_it_is() {
    let setup = setup();
    let version = Command::new(env!("CARGO_BIN_EXE_yychat"))
        .arg("--version")
        .output();
    let version = String::from_utf8(version.expect("it runs").stdout).expect("text");
    let known = format!("yychat {} (", env!("CARGO_PKG_VERSION"));
    assert!(
        version.starts_with(&known) && version.contains(std::env::consts::ARCH),
        "{version}"
    );
    let done = run(&setup, &["openapi"], "");
    let document: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn what_is_deleted_is_gone_from_the_shared_store_too() {
    let valkey = valkey::Server::start();
    let setup = setup().config("[shared]\nstore = \"valkey\"\ndeadline = \"30s\"");
    std::fs::write(setup.path("conf/yychat.toml"), setup.text()).expect("a file");
    let lines = "{\"text\":\"My cat is called Pixel\",\"user_id\":\"ann\"}\n";
    std::fs::write(setup.path("lines"), lines).expect("a file");
    let url = valkey.url();
    let run = |arguments: &[&str]| {
        let variables = [("VALKEY_URL", &*url)];
        let done = command(&setup, arguments, &variables).output();
        let done = done.expect("it ends");
        assert!(done.status.success(), "{done:?}");
    };
    run(&["memory", "import", "lines"]);
    let client = redis::Client::open(&*url).expect("a URL");
    let mut store = client.get_connection().expect("a connection");
    let keys = ["ann", "bob"].map(|user| format!("yychat:{{default}}:block:user:{user}:0"));
    for key in &keys {
        let () = redis::cmd("SET")
            .arg(key)
            .arg("x")
            .query(&mut store)
            .expect("room");
    }
    run(&["memory", "delete", "--user", "ann"]);
    let left: Vec<Option<String>> = redis::cmd("MGET")
        .arg(&keys)
        .query(&mut store)
        .expect("keys");
    assert_eq!(left, [None, Some("x".to_owned())]);
}

#[test]
fn a_request_is_explained_where_no_memory_is_yet() {
    let request = r#"{"user":"ann","messages":[{"role":"user","content":"hello there"}]}"#;
    let done = run(&setup(), &["explain", "-"], request);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        said,
        "note: no memory is kept here yet, so nothing is recalled\n"
    );
}

#[test]
fn usage_is_told_to_who_has_the_admin_key() {
    let admin = "admin-key-0123456789";
    let setup = Setup::new()
        .config("server.admin_key = { env = \"ADMIN\" }")
        .env("ADMIN", admin)
        .set("server.admin_listen", "0.0.0.0:0")
        .upstream(&Upstream::ok(), "")
        .key("a", "key-of-the-first-app", "acme");
    let proxy = setup.start();
    let here = crate::commands::setup()
        .config("server.admin_key = { env = \"ADMIN\" }")
        .unset("server.admin_listen");
    std::fs::write(here.path("conf/yychat.toml"), here.text()).expect("a file");
    let address = format!("server.admin_listen=127.0.0.1:{}", proxy.admin.port());
    let ask = |key: &str| {
        let arguments = ["usage", "--set", &address];
        let mut command = command(&here, &arguments, &[("ADMIN", key)]);
        command.output().expect("it ends")
    };
    let done = ask(admin);
    assert!(done.status.success(), "{done:?}");
    let done = ask("another-admin-key-0123");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success(), "{done:?}");
    assert!(
        said.contains("shows usage to its admin key alone"),
        "{said}"
    );
}
