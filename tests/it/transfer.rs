//! Export and import, through the API and as a command.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::support::client::get;
use crate::support::postgres::Server;
use crate::support::program::{command, ran};
use crate::support::wire::Framing;
use crate::support::{Setup, Upstream, eventually};

/// Records of ten megabytes in all.
const RECORDS: usize = 2500;

fn lines() -> String {
    let line = |n: usize| {
        let text = format!("line {n} {}", "and some words ".repeat(270));
        format!("{{\"user_id\":\"ada\",\"text\":\"{text}\",\"created_at\":{n}}}\n")
    };
    (0..RECORDS).map(line).collect()
}

fn stored() -> Setup {
    let setup = Setup::new().upstream(&Upstream::ok(), "");
    let output = ran(command(&setup, &["import"]), lines().as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("2500 records imported"), "{said}");
    assert!(!said.contains('\r'), "progress is for terminals: {said:?}");
    setup
}

#[test]
fn an_export_is_read_from_the_store_as_the_client_takes_it() {
    let proxy = stored().start();
    let mut client = proxy.client();
    client.send(get("/v1/memories/export?user_id=ada", &[]));
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("content-type"), Some("application/jsonl"));
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    let body = client.body(Framing::Chunked);
    assert!(body.whole);
    let text = String::from_utf8(body.bytes).expect("UTF-8");
    assert_eq!(text.lines().count(), RECORDS);
    let newest: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(newest["created_at"], "1970-01-01T00:41:39Z");

    // Whoever leaves is not read for any longer.
    let mut client = proxy.client();
    client.send(get("/v1/memories/export", &[]));
    assert_eq!(client.head().status(), 200);
    assert!(
        proxy.metric("yychat_in_flight ") >= 1.0,
        "it waits for the client"
    );
    client.reset();
    eventually("the export has ended", || {
        (proxy.metric("yychat_in_flight ") == 0.0).then_some(())
    });
}

#[test]
fn an_export_that_the_store_breaks_off_is_cut_and_no_shorter_whole() {
    let server = Server::start();
    let setup = Setup::new()
        .upstream(&Upstream::ok(), "")
        .set("memory.store", "postgres")
        .config("[memory]\nurl = { env = \"DATABASE_URL\" }")
        .env("DATABASE_URL", &server.url("postgres"));
    let mut import = command(&setup, &["import", "--tenant", "default"]);
    import.env("DATABASE_URL", server.url("postgres"));
    let output = ran(import, lines().as_bytes());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let proxy = setup.start();
    let mut client = proxy.client();
    client.send(get("/v1/memories/export", &[]));
    assert_eq!(client.head().status(), 200);
    server.stop();
    assert!(!client.body(Framing::Chunked).whole);
    let refused = proxy.exchange(get("/v1/memories/export", &[]));
    assert_eq!(refused.error(503)["code"], "memory_unavailable");
}

#[test]
fn whoever_reads_an_export_or_a_list_may_stop_reading() {
    let setup = stored();
    for arguments in [&["export"][..], &["list", "--limit", "2500"]] {
        let mut child = command(&setup, arguments).spawn().expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.next().is_some_and(|line| line.is_ok()));
        drop(lines);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains("error"),
            "{said}"
        );
    }
}

#[test]
fn an_import_says_how_far_it_came_and_goes_on_from_there() {
    let setup = Setup::new().upstream(&Upstream::ok(), "");
    let good = lines();
    let mut broken: Vec<&str> = good.lines().collect();
    broken[1700] = "{\"text\":\"of nobody\"}";
    let output = ran(command(&setup, &["import"]), broken.join("\n").as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("line 1701") && said.contains("the 1700 records"),
        "{said}"
    );
    let output = ran(
        command(&setup, &["import", "--from-line", "1701"]),
        good.as_bytes(),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("800 records imported"), "{said}");
    let output = ran(command(&setup, &["audit"]), b"");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("records 2500\n"), "{said}");
}

#[test]
fn what_was_deleted_is_off_the_disk_when_it_was_erased() {
    const SECRET: &str = "xyzzy-7731-plugh";
    let setup = Setup::new().upstream(&Upstream::ok(), "");
    let line = format!(
        "{{\"user_id\":\"ada\",\"text\":\"{SECRET}\"}}\n{{\"user_id\":\"bob\",\"text\":\"tea\"}}\n"
    );
    assert!(
        ran(command(&setup, &["import"]), line.as_bytes())
            .status
            .success()
    );
    let folder = setup.path("data/memory");
    let aside = folder.join("memory.redb.corrupt-20260101T000000.000");
    std::fs::write(&aside, SECRET).expect("a folder");
    let holds = || {
        let files = std::fs::read_dir(&folder).expect("a folder");
        let mut files = files.map(|file| std::fs::read(file.expect("a file").path()));
        files.any(|file| {
            let file = file.expect("a file");
            memchr::memmem::find(&file, SECRET.as_bytes()).is_some()
        })
    };
    assert!(holds());
    let output = ran(command(&setup, &["erase", "--user", "ada"]), b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for what in [
        "1 records deleted",
        "rewritten",
        "corrupt-20260101T000000.000 destroyed",
    ] {
        assert!(said.contains(what), "{said}");
    }
    assert!(!holds() && !aside.exists());
    let output = ran(command(&setup, &["list"]), b"");
    assert!(String::from_utf8_lossy(&output.stdout).contains("bob  user: tea"));
}
