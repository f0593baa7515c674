//! SIGQUIT: another process takes the place of the one that serves, and nobody notices.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};

use crate::support::client::{get, post};
use crate::support::program::Program;
use crate::support::upstream::{STREAM, event, json_answer};
use crate::support::{Opener, Setup, Upstream, chat, eventually, gate};

const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"I see, how nice"},"finish_reason":"stop"}]}"#;
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// Answers at once, but where a stream is asked for, which it ends when the gate is opened.
fn upstream() -> (Upstream, Opener) {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            if !request.text().contains(r#""stream":true"#) {
                visit.send(json_answer(ANSWER));
                continue;
            }
            visit.send(STREAM);
            visit.chunk(event("one"));
            opened.pass();
            visit.chunk(END);
            visit.last_chunk();
        }
    });
    (upstream, opener)
}

fn setup(upstream: &Upstream) -> Setup {
    Setup::new().upstream(upstream, "")
}

fn says(text: &str, stream: bool) -> Vec<u8> {
    let body = format!(
        r#"{{"stream":{stream},"user":"ann","messages":[{{"role":"user","content":"{text}"}}]}}"#
    );
    chat(&[], body)
}

fn tell(program: &Program, text: &str) {
    assert_eq!(program.exchange(says(text, false)).status(), 200);
    eventually(&format!("{text:?} is saved"), || {
        program.memories("ann")?.contains(text).then_some(())
    });
}

#[test]
fn live_streams_and_memory_outlive_the_process_that_began_them() {
    let (upstream, gate) = upstream();
    let mut program = Program::start(setup(&upstream));
    tell(&program, "My cat is called Pixel");
    let mut kept = program.client();
    assert_eq!(kept.exchange(get("/v1/personalities", &[])).status(), 200);
    let mut client = program.client();
    client.send(says("My dog is called Rex", true));
    client.head();
    client.chunks(event("one").len());
    let old = program.pid;

    program.upgrade();
    assert_ne!(program.pid, old);
    // The store is the new process's, so it is the one that answers.
    let remembered = eventually("the new process answers", || program.memories("ann"));
    assert!(remembered.contains("Pixel"), "{remembered}");
    let answer = kept.exchange(says("A kept connection brings one more", false));
    assert_eq!(answer.status(), 200);
    assert!(kept.is_closed(), "the old process keeps no connection");

    gate.open();
    assert_eq!(client.chunks(END.len()), END.as_bytes());
    assert_eq!(client.chunk(), None);
    for text in ["Rex", "A kept connection"] {
        eventually("what ended over there is saved here", || {
            program.memories("ann")?.contains(text).then_some(())
        });
    }
    drop(client);
    program.first_ends();

    // And again, from a process that was itself handed everything.
    program.upgrade();
    eventually("the third process answers", || program.memories("ann"));
    let answer = program.exchange(says("What are my cat and my dog called?", false));
    assert!(
        answer
            .head
            .get("x-yychat-memory")
            .expect("a field")
            .starts_with("hit")
    );
    let requests = upstream.requests();
    let asked = requests.last().expect("a request").text();
    assert!(asked.contains("Pixel") && asked.contains("Rex"), "{asked}");
    program.signal("TERM");
    program.all_end();
}

#[test]
fn a_stream_outlives_two_upgrades_and_its_turn_goes_on_to_the_third_process() {
    let (upstream, gate) = upstream();
    let mut program = Program::start(setup(&upstream));
    let mut client = program.client();
    client.send(says("My dog is called Rex", true));
    client.head();
    client.chunks(event("one").len());
    for _ in 0..2 {
        program.upgrade();
        eventually("the new process answers", || program.memories("ann"));
    }
    gate.open();
    assert_eq!(client.chunks(END.len()), END.as_bytes());
    assert_eq!(client.chunk(), None);
    eventually("what the first process ended is saved by the third", || {
        program.memories("ann")?.contains("Rex").then_some(())
    });
    drop(client);
    program.first_ends();
}

#[test]
fn what_ends_after_the_new_process_has_gone_is_saved_by_the_old_one() {
    let (upstream, gate) = upstream();
    let mut program = Program::start(setup(&upstream));
    let mut client = program.client();
    client.send(says("My dog is called Rex", true));
    client.head();
    client.chunks(event("one").len());
    program.upgrade();
    eventually("the new process answers", || program.memories("ann"));
    program.signal("KILL");
    program.says("memory taken back");
    gate.open();
    assert_eq!(client.chunks(END.len()), END.as_bytes());
    assert_eq!(client.chunk(), None);
    drop(client);
    program.first_ends();
    let mut memory = Command::new(env!("CARGO_BIN_EXE_yychat"));
    memory
        .args(["memory", "export"])
        .args(program.setup.arguments());
    let exported = memory.output().expect("the program");
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert!(exported.contains("Rex"), "{exported}");
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let (upstream, _gate) = upstream();
    let setup = setup(&upstream).unset("memory.path");
    let data = setup.path("data");
    let setup = setup.config(&format!("[memory]\npath = \"{}\"", data.display()));
    let program = Program::start(setup);
    tell(&program, "My cat is called Pixel");

    let file = program.setup.path("conf/yychat.toml");
    fs::write(&file, "[memory]\nrecall_limit = \"many\"\n").expect("a file of ours");
    program.signal("QUIT");
    program.says("upgrade failed");
    tell(&program, "My dog is called Rex");

    // All is well but the store, which it finds out when the old process has closed its own.
    let elsewhere = program.setup.text().replace(
        &format!("{}", data.display()),
        &format!("{}/memory", file.display()),
    );
    fs::write(&file, elsewhere).expect("a file of ours");
    program.signal("QUIT");
    program.says("upgrade failed");
    tell(&program, "My bird is called Kes");
    let remembered = program.memories("ann").expect("the store is open again");
    assert!(
        remembered.contains("Pixel") && remembered.contains("Rex"),
        "{remembered}"
    );
}

#[test]
fn no_new_process_begins_with_half_a_file() {
    let (upstream, _gate) = upstream();
    let mut program = Program::start(setup(&upstream).persona("ada", "You are Ada."));
    let file = program.setup.path("conf/yychat.toml");
    let persona = program.setup.path("conf/personalities/ada.json");
    for (path, half) in [(&file, "# to be continued"), (&persona, "{")] {
        let good = fs::read(path).expect("a file of ours");
        fs::write(path, half).expect("a file of ours");
        program.signal("QUIT");
        program.says("upgrade failed: the new process would begin with a broken edit");
        let answer = program.exchange(chat(&[], r#"{"personality_id":"ada","messages":[]}"#));
        assert_eq!(answer.status(), 200);
        fs::write(path, good).expect("a file of ours");
    }
    let old = program.pid;
    program.upgrade();
    assert_ne!(program.pid, old);
}

#[test]
fn a_file_that_was_replaced_is_the_new_version_and_one_upgrade_is_enough_at_a_time() {
    let (upstream, _gate) = upstream();
    let mut program = Program::start(setup(&upstream));
    program.replace("echo $$ >started; exec -a \"$0\" \"$PROGRAM\" \"$@\"");
    program.upgrade();
    let started = fs::read_to_string(program.setup.path("started")).expect("the script ran");
    assert_eq!(started.trim(), program.pid.to_string());
    program.first_ends();

    // A version that never gets ready.
    program.replace("exec sleep 1000");
    program.signal("QUIT");
    program.says("new process started");
    program.signal("QUIT");
    program.says("upgrade refused: one is under way");
    tell(&program, "My cat is called Pixel");
    program.signal("TERM");
    program.all_end();
}

#[test]
fn sockets_that_systemd_holds_are_taken_over() {
    let (upstream, _gate) = upstream();
    let setup = setup(&upstream);
    let listeners = ["api", "admin"].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let addresses = listeners
        .each_ref()
        .map(|held| held.local_addr().expect("an address"));
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "export LISTEN_PID=$$; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_yychat"),
        ])
        .args(setup.arguments())
        .env("LISTEN_FDS", "2");
    let held = (3..).zip(&listeners).map(|(child_fd, listener)| FdMapping {
        parent_fd: listener.try_clone().expect("a socket").into(),
        child_fd,
    });
    command.fd_mappings(held.collect()).expect("each its own");
    let program = Program::started(command, setup);
    assert_eq!([program.api, program.admin], addresses);
    let made = post(
        "/v1/memories",
        &[],
        r#"{"user_id":"ann","role":"user","text":"a fact of hers"}"#,
    );
    assert_eq!(program.exchange(made).status(), 201);
}
