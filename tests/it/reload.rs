//! Edits take effect without a restart, whole or not at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use yychat::server::Order;

use crate::support::client::get;
use crate::support::upstream::{STREAM, event};
use crate::support::{Proxy, Setup, Upstream, chat, eventually, gate};

const CHAT: &str = r#"{"personality_id":"ada","messages":[]}"#;

fn persona(prompt: &str) -> String {
    json!({ "id": "ada", "name": "Ada", "system_prompt": prompt }).to_string()
}

/// Waits until a chat is given the prompt; gives the generation that gave it.
fn given(proxy: &Proxy, upstream: &Upstream, prompt: &str) -> String {
    eventually(&format!("the persona is {prompt:?}"), || {
        let answer = proxy.chat(CHAT);
        let sent = upstream.requests().pop().map(|request| request.text());
        let generation = answer.head.get("x-yychat-generation").map(str::to_owned);
        sent.filter(|sent| answer.status() == 200 && sent.contains(prompt))
            .and(generation)
    })
}

fn started() -> (Upstream, Proxy) {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "first")
        .start();
    assert_eq!(given(&proxy, &upstream, "first"), "1");
    (upstream, proxy)
}

#[test]
fn a_file_written_in_place_takes_effect() {
    let (upstream, proxy) = started();
    let file = proxy.root().join("conf/personalities/ada.json");
    for prompt in ["second", "third"] {
        fs::write(&file, persona(prompt)).unwrap();
        given(&proxy, &upstream, prompt);
    }
}

#[test]
fn a_file_renamed_over_another_takes_effect() {
    let (upstream, proxy) = started();
    let folder = proxy.root().join("conf/personalities");
    for prompt in ["second", "third"] {
        fs::write(folder.join("ada.json~"), persona(prompt)).unwrap();
        fs::rename(folder.join("ada.json~"), folder.join("ada.json")).unwrap();
        given(&proxy, &upstream, prompt);
    }
}

#[test]
fn an_edit_of_the_configuration_file_takes_effect() {
    let (upstream, proxy) = started();
    let other = Upstream::ok();
    let file = proxy.root().join("conf/yychat.toml");
    let table = |upstream: &Upstream| {
        format!(
            "[[upstreams]]\nname = \"edited\"\nbase_url = \"http://{}/v1\"\n",
            upstream.address()
        )
    };
    fs::write(&file, table(&other)).unwrap();
    eventually("the other upstream serves", || {
        (proxy.chat(CHAT).head.get("x-yychat-upstream") == Some("edited")).then_some(())
    });
    let beside = proxy.root().join("conf/.yychat.toml.swp");
    fs::write(&beside, table(&upstream)).unwrap();
    fs::rename(&beside, &file).unwrap();
    let before = upstream.requests().len();
    eventually("the first upstream serves again", || {
        proxy.chat(CHAT);
        (upstream.requests().len() > before).then_some(())
    });
}

/// A config map is a folder of links through `..data`, which is a link that is swapped.
fn config_map(folder: &Path, version: &str, files: &[(&str, &str)]) {
    let data = folder.join(format!("..{version}"));
    fs::create_dir_all(&data).unwrap();
    for (name, text) in files {
        fs::write(data.join(name), text).unwrap();
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    let old = fs::read_link(folder.join("..data"));
    symlink(data.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if let Ok(old) = old {
        fs::remove_dir_all(folder.join(old)).unwrap();
    }
}

#[test]
fn a_swap_of_links_as_kubernetes_does_it_takes_effect() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "");
    let (conf, personalities) = (setup.path("conf"), setup.path("conf/personalities"));
    let text = |default: &str| format!("personality.default = \"{default}\"\n{}", setup.text());
    config_map(&conf, "v1", &[("yychat.toml", &text("ada"))]);
    config_map(&personalities, "v1", &[("ada.json", &persona("first"))]);
    let texts: Vec<_> = ["", "ada"].map(text).into();
    let proxy = setup.start();
    given(&proxy, &upstream, "first");
    for (version, prompt) in [("v2", "second"), ("v3", "third")] {
        config_map(&personalities, version, &[("ada.json", &persona(prompt))]);
        given(&proxy, &upstream, prompt);
    }
    for (version, text) in ["v2", "v3"].iter().zip(&texts) {
        config_map(&conf, version, &[("yychat.toml", text)]);
        let named = (text == &texts[1]).then_some("ada");
        eventually("the default personality changes", || {
            let head = proxy.chat(r#"{"messages":[]}"#).head;
            (head.get("x-yychat-personality") == named).then_some(())
        });
    }
}

#[test]
fn a_folder_removed_and_made_again_takes_effect() {
    let (upstream, proxy) = started();
    let folder = proxy.root().join("conf/personalities");
    for prompt in ["second", "third"] {
        fs::remove_dir_all(&folder).unwrap();
        eventually("the folder's end is seen", || {
            let status = proxy.admin("/readyz?verbose").text();
            let gone = proxy.chat(CHAT).status() == 404;
            (gone || status.contains("broken edit")).then_some(())
        });
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ada.json"), persona(prompt)).unwrap();
        given(&proxy, &upstream, prompt);
    }
}

#[test]
fn a_personality_that_is_added_or_removed_is_there_or_gone() {
    let (upstream, proxy) = started();
    let file = proxy.root().join("conf/personalities/bob.toml");
    let asks = || proxy.exchange(get("/v1/personalities/bob", &[])).status();
    assert_eq!(asks(), 404);
    fs::write(
        &file,
        "id = \"bob\"\nname = \"Bob\"\nsystem_prompt = \"You are Bob.\"\n",
    )
    .unwrap();
    eventually("Bob is there", || (asks() == 200).then_some(()));
    fs::remove_file(&file).unwrap();
    eventually("Bob is gone", || (asks() == 404).then_some(()));
    given(&proxy, &upstream, "first");
}

#[test]
fn a_broken_edit_keeps_the_last_good_state_and_is_shown() {
    let (upstream, proxy) = started();
    let good = fs::read_to_string(proxy.root().join("conf/yychat.toml")).unwrap();
    assert_eq!(proxy.metric("yychat_config_last_good"), 1.0);
    for (path, text, shown) in [
        ("conf/yychat.toml", "[server\n".to_owned(), "yychat.toml:1"),
        (
            "conf/yychat.toml",
            format!("\n\nserver.lisden = 1\n{good}"),
            "yychat.toml:3",
        ),
        (
            "conf/personalities/ada.json",
            "{\n\"id\": \"ada\",,\n}".to_owned(),
            "ada.json:2",
        ),
    ] {
        let file = proxy.root().join(path);
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, text).unwrap();
        let said = proxy.readyz_says(shown);
        assert!(
            said.starts_with("ok\n"),
            "the last good state serves: {said}"
        );
        assert!(said.contains("broken edit"), "{said}");
        eventually("the metric says so too", || {
            (proxy.metric("yychat_config_last_good") == 0.0).then_some(())
        });
        assert!(proxy.metric("yychat_config_reload_total{outcome=\"refused\"}") >= 1.0);
        given(&proxy, &upstream, "first");
        fs::write(&file, before).unwrap();
        eventually("it is mended", || {
            (proxy.metric("yychat_config_last_good") == 1.0).then_some(())
        });
        assert!(
            !proxy
                .admin("/readyz?verbose")
                .text()
                .contains("broken edit")
        );
    }
}

/// A secret's file may lie anywhere and is not watched; an order reads it again.
#[test]
fn an_order_reads_everything_again() {
    let upstream = Upstream::ok();
    let setup = Setup::new().file("secret", b"first");
    let key = format!("api_key = {{ file = {:?} }}", setup.path("secret"));
    let proxy = setup.upstream(&upstream, &key).start();
    let sent = || {
        let status = proxy.exchange(chat(&[], r#"{"messages":[]}"#)).status();
        let head = upstream.requests().pop().unwrap().head;
        (status == 200).then(|| head.get("authorization").unwrap().to_owned())
    };
    assert_eq!(sent().as_deref(), Some("Bearer first"));
    fs::write(proxy.root().join("secret"), "second").unwrap();
    proxy.order(Order::Reload);
    eventually("the other key is sent", || {
        (sent().as_deref() == Some("Bearer second")).then_some(())
    });
}

#[test]
fn what_needs_a_restart_says_so_until_it_is_taken_back() {
    let (_upstream, proxy) = started();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let edit = |lines: &str| fs::write(&file, format!("{lines}\n{good}")).unwrap();
    for (line, key) in [
        ("server.insecure_no_auth = true", "server.insecure_no_auth"),
        ("limits.connections = 7", "limits.connections"),
        ("memory.cache_capacity = 7", "memory.cache_capacity"),
        ("log.format = \"json\"", "log.format"),
    ] {
        edit(line);
        let said = proxy.readyz_says("waits for a restart");
        assert!(said.contains(key), "{said}");
        // An edit of something else does not make the wait forgotten.
        edit(&format!("{line}\nmemory.recall_limit = 3"));
        let generation = said
            .lines()
            .find(|line| line.starts_with("generation"))
            .unwrap()
            .to_owned();
        let said = eventually("the next generation is in force", || {
            let said = proxy.admin("/readyz?verbose").text();
            (!said.contains(&generation)).then_some(said)
        });
        assert!(said.contains(key), "{said}");
        edit("");
        eventually("nothing waits any more", || {
            (!proxy.admin("/readyz?verbose").text().contains("waits")).then_some(())
        });
    }
}

#[test]
fn a_limit_that_needs_no_restart_takes_effect() {
    let (_upstream, proxy) = started();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let nested = r#"{"messages":[],"a":[[[]]]}"#;
    assert_eq!(proxy.chat(nested).status(), 200);
    fs::write(
        &file,
        format!("limits.json_depth = 2\nlimits.header_fields = 5\n{good}"),
    )
    .unwrap();
    eventually("nesting is refused", || {
        (proxy.chat(nested).status() == 400).then_some(())
    });
    let fields = ["A: 1", "B: 2", "C: 3", "D: 4", "E: 5"];
    proxy.exchange(get("/v1/models", &fields)).error(431);
}

#[test]
fn keys_change_with_a_reload() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("a", "key-of-app-a-0123456789", "a")
        .env("OTHER", "key-of-app-b-0123456789")
        .start();
    let asks = |key: &str| {
        let field = format!("Authorization: Bearer {key}");
        proxy.exchange(get("/v1/models", &[&field])).status()
    };
    assert_eq!(
        (
            asks("key-of-app-a-0123456789"),
            asks("key-of-app-b-0123456789")
        ),
        (200, 401)
    );
    let file = proxy.root().join("conf/yychat.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("KEY_A", "OTHER")).unwrap();
    eventually("the other key is let in", || {
        (asks("key-of-app-b-0123456789") == 200).then_some(())
    });
    assert_eq!(asks("key-of-app-a-0123456789"), 401);
}

#[test]
fn a_request_in_flight_keeps_its_generation() {
    let (opener, opened) = gate();
    let (reads, read) = gate();
    let upstream = Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            visit.send(STREAM);
            if request.text().contains("slow") {
                reads.open();
                opened.pass();
            }
            visit.chunk(event("a"));
            visit.last_chunk();
        }
    });
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "first")
        .start();
    // Its body is sent in two parts, so that the reload comes before the persona is chosen.
    let body = r#"{"personality_id":"ada","messages":[],"a":"slow"}"#;
    let request = chat(&[], body);
    let (head, rest) = request.split_at(request.len() - 10);
    let mut slow = proxy.client();
    slow.send(head);
    eventually("it is in flight", || {
        (proxy.metric("yychat_in_flight") == 1.0).then_some(())
    });
    fs::write(
        proxy.root().join("conf/personalities/ada.json"),
        persona("second"),
    )
    .unwrap();
    assert_eq!(given(&proxy, &upstream, "second"), "2");
    slow.send(rest);
    read.pass();
    opener.open();
    let answer = slow.response();
    assert_eq!(answer.head.get("x-yychat-generation"), Some("1"));
    let sent = upstream.requests();
    let slow = sent
        .iter()
        .find(|request| request.text().contains("slow"))
        .unwrap();
    assert!(slow.text().contains("first"));
}
