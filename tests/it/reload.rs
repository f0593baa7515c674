//! Edits take effect without a restart, whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

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

const KEY: &str = "key-of-app-a-0123456789";

/// A server that others reach, with one key and a default personality.
fn exposed() -> (Upstream, Proxy) {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .unset("server.listen")
        .config("# What others reach.\nserver.listen = \"0.0.0.0:0\"")
        .config("personality.default = \"ada\"")
        .upstream(&upstream, "")
        .persona("ada", "first")
        .key("a", KEY, "a")
        .start();
    (upstream, proxy)
}

/// That nobody gets in without a key, and whoever has one gets the default personality.
fn is_closed_and_whole(upstream: &Upstream, proxy: &Proxy) {
    assert_eq!(
        proxy.exchange(get("/v1/memories", &[])).status(),
        401,
        "nobody gets in without a key"
    );
    let key = format!("Authorization: Bearer {KEY}");
    let answer = proxy.exchange(chat(&[&key], r#"{"messages":[]}"#));
    assert_eq!(answer.status(), 200);
    let sent = upstream.requests().pop().expect("a request").text();
    assert!(sent.contains("first"), "the default personality: {sent}");
    assert_eq!(proxy.metric("yychat_insecure_no_auth"), 0.0);
}

/// Waits until a broken edit shows with that text, sees that it opened nothing, and mends it.
fn is_broken_edit(upstream: &Upstream, proxy: &Proxy, shown: &str, good: &str) {
    let said = proxy.readyz_says(shown);
    assert!(said.contains("\nbroken edit, not applied:\n"), "{said}");
    is_closed_and_whole(upstream, proxy);
    let file = proxy.root().join("conf/yychat.toml");
    let whole = proxy.root().join("whole");
    fs::write(&whole, good).unwrap();
    if file.is_dir() {
        fs::remove_dir(&file).unwrap();
    }
    fs::rename(whole, file).unwrap();
    eventually("it is mended", || {
        let said = proxy.admin("/readyz?verbose").text();
        (!said.contains("broken edit")).then_some(())
    });
}

#[test]
fn no_edit_of_the_file_opens_an_address_that_others_reach() {
    let (upstream, proxy) = exposed();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let keys = good.find("[[auth.keys]]").unwrap();
    let without = &good[..keys];
    for (text, shown) in [
        (String::new(), "is empty, and was not"),
        ("\n \n".to_owned(), "is empty, and was not"),
        ("# later\n# on\n".to_owned(), "holds comments alone"),
        (without.to_owned(), "cut off after"),
        (good[..good.len() - 2].to_owned(), "cut off after"),
        (
            good[..good.find("server").unwrap()].to_owned(),
            "holds comments alone",
        ),
        // These are whole, some of them valid, and need keys all the same: what is bound decides.
        (format!("# edited\n{without}"), "and there are no keys"),
        (
            format!("auth.keys = []\n{without}"),
            "and there are no keys",
        ),
        (
            without.replace("0.0.0.0", "127.0.0.1"),
            "has no [[auth.keys]]",
        ),
        (without.replace("0.0.0.0", "[::1]"), "has no [[auth.keys]]"),
        (
            format!("server.insecure_no_auth = true\n{without}"),
            "has no [[auth.keys]]",
        ),
        (
            "[tools]\nenabled = true\n".to_owned(),
            "has no [[auth.keys]]",
        ),
    ] {
        fs::write(&file, text).unwrap();
        is_broken_edit(&upstream, &proxy, shown, &good);
    }
}

#[test]
fn a_file_that_is_gone_or_no_file_any_more_is_a_broken_edit() {
    let (upstream, proxy) = exposed();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let make: [(&str, &dyn Fn()); 5] = [
        ("was there, and is gone", &|| {}),
        ("is a directory", &|| fs::create_dir(&file).unwrap()),
        ("is a pipe, not a plain file", &|| pipe(&file)),
        ("is a device, not a plain file", &|| {
            symlink("/dev/null", &file).unwrap()
        }),
        ("was there, and is gone", &|| {
            symlink("nowhere", &file).unwrap()
        }),
    ];
    for (shown, make) in make {
        fs::remove_file(&file).unwrap();
        make();
        is_broken_edit(&upstream, &proxy, shown, &good);
    }
    let conf = proxy.root().join("conf");
    fs::rename(&conf, proxy.root().join("away")).unwrap();
    proxy.readyz_says("was there, and is gone");
    is_closed_and_whole(&upstream, &proxy);
    fs::rename(proxy.root().join("away"), &conf).unwrap();
    eventually("it is mended", || {
        (proxy.metric("yychat_config_last_good") == 1.0).then_some(())
    });
}

#[test]
fn a_file_is_read_when_its_writer_has_closed_it() {
    let (upstream, proxy) = exposed();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    let other = good.replace("[[auth.keys]]", "# as before\n[[auth.keys]]");
    let mut writer = File::create(&file).unwrap();
    // Whole as it is, it may go on.
    writer.write_all(other.as_bytes()).unwrap();
    proxy.readyz_says("yychat.toml: is still being written");
    is_closed_and_whole(&upstream, &proxy);
    drop(writer);
    eventually("it is in force", || {
        (proxy.metric("yychat_config_generation") == 2.0).then_some(())
    });
    is_closed_and_whole(&upstream, &proxy);
}

#[test]
fn an_order_to_reload_reads_no_half_file_either() {
    let (upstream, proxy) = exposed();
    let file = proxy.root().join("conf/yychat.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "").unwrap();
    for _ in 0..3 {
        proxy.order(Order::Reload);
        proxy.readyz_says("is empty, and was not");
        is_closed_and_whole(&upstream, &proxy);
    }
    fs::write(&file, &good).unwrap();
    proxy.order(Order::Reload);
    eventually("it is mended", || {
        (proxy.metric("yychat_config_last_good") == 1.0).then_some(())
    });
}

#[test]
fn the_gauge_follows_what_is_in_force() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .set("server.listen", "0.0.0.0:0")
        .config("server.insecure_no_auth = true")
        .env("KEY_A", KEY)
        .upstream(&upstream, "")
        .start();
    let file = proxy.root().join("conf/yychat.toml");
    let open = fs::read_to_string(&file).unwrap();
    let key = "[[auth.keys]]\nname = \"a\"\nkey = { env = \"KEY_A\" }\ntenant = \"a\"\n";
    let asked = || proxy.exchange(get("/v1/models", &[])).status();
    assert_eq!(
        (proxy.metric("yychat_insecure_no_auth"), asked()),
        (1.0, 200)
    );
    fs::write(&file, format!("{open}{key}")).unwrap();
    eventually("keys are asked for", || {
        (proxy.metric("yychat_insecure_no_auth") == 0.0).then_some(())
    });
    assert_eq!(asked(), 401);
    // It was started so, and no file takes that back before a restart.
    fs::write(&file, format!("# as it was\n{open}")).unwrap();
    eventually("it is open again", || {
        (proxy.metric("yychat_insecure_no_auth") == 1.0).then_some(())
    });
    assert_eq!(asked(), 200);
}

const PLUGIN: &str = r#"kind = "builtin"
description = "Time."

[[tools]]
name = "gettime"
description = "What time it is."
parameters = { type = "object" }
"#;

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn half_a_file_of_any_other_kind_is_no_edit_either() {
    let upstream = Upstream::ok();
    let bob = "system_prompt = \"You are Bob.\"\nallowed_tools = []\n";
    let setup = Setup::new()
        .file("secret", b"the-first-secret-0123456789")
        .file("conf/personalities/bob.toml", bob.as_bytes());
    let key = format!("api_key = {{ file = {:?} }}", setup.path("secret"));
    fs::create_dir(setup.path("plugins/time")).unwrap();
    let proxy = setup
        .file("plugins/time/plugin.toml", PLUGIN.as_bytes())
        .upstream(&upstream, &key)
        .start();
    for (path, good) in [
        ("secret", "the-first-secret-0123456789"),
        ("conf/personalities/bob.toml", bob),
        ("plugins/time/plugin.toml", PLUGIN),
    ] {
        let file = proxy.root().join(path);
        let line = good.find('\n').map_or(20, |end| end + 1);
        for half in [&good[..line], "", " \n"] {
            fs::write(&file, half).unwrap();
            let name = path.rsplit('/').next().unwrap();
            let said = proxy.readyz_says("broken edit, not applied:");
            assert!(said.contains(name), "{said}");
            assert!(
                said.contains("cut off after") || said.contains("is empty"),
                "{said}"
            );
            let head = proxy.chat(r#"{"personality_id":"bob","messages":[]}"#).head;
            assert_eq!(head.get("x-yychat-personality"), Some("bob"));
            let sent = upstream.requests().pop().unwrap().head;
            let sent = sent.get("authorization").map(str::to_owned);
            assert_eq!(sent.as_deref(), Some("Bearer the-first-secret-0123456789"));
            fs::write(&file, good).unwrap();
            eventually("it is mended", || {
                (proxy.metric("yychat_config_last_good") == 1.0).then_some(())
            });
        }
    }
}

#[test]
fn what_is_no_plain_file_holds_nothing_up() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "").persona("ada", "first");
    for folder in ["conf", "conf/personalities", "plugins"] {
        pipe(&setup.path(folder).join("pipe.json"));
        symlink("/dev/zero", setup.path(folder).join("zero.png")).unwrap();
    }
    // Left to the test's end, since a listener that is dropped stays in the folder.
    let _socket = UnixListener::bind(setup.path("conf/personalities/socket.toml")).unwrap();
    let proxy = setup.start();
    given(&proxy, &upstream, "first");
    pipe(&proxy.root().join("plugins/later.toml"));
    let file = proxy.root().join("conf/personalities/ada.json");
    fs::write(file, persona("second")).unwrap();
    given(&proxy, &upstream, "second");
}

#[test]
fn thousands_of_files_beside_a_plugin_hide_no_edit() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "").persona("ada", "first");
    let modules = setup.path("plugins/time/node_modules");
    fs::create_dir_all(&modules).unwrap();
    for n in 0..12_000 {
        File::create(modules.join(n.to_string())).unwrap();
    }
    let proxy = setup
        .file("plugins/time/plugin.toml", PLUGIN.as_bytes())
        .start();
    let file = proxy.root().join("conf/personalities/ada.json");
    fs::write(file, persona("second")).unwrap();
    given(&proxy, &upstream, "second");
    assert!(!proxy.admin("/readyz?verbose").text().contains("watched"));
}
