//! Personality files as people have them: odd ones, broken ones, ones from a Mac.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::client::{Client, get};
use crate::support::{Proxy, Setup, Upstream, chat, eventually};

const BROKEN: &[u8] = b"{\n\"system_prompt\":,\n}";

fn status_of(proxy: &Proxy, personality: &str) -> (u16, String) {
    let body = format!(r#"{{"personality_id":"{personality}","messages":[]}}"#);
    let answer = proxy.chat(&body);
    (answer.status(), answer.text())
}

#[test]
fn a_broken_file_keeps_nothing_else_from_starting() {
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .upstream(&upstream, "")
        .config("personality.default = \"ada\"")
        .persona("bob", "You are Bob.")
        .file("conf/personalities/ada.json", BROKEN);
    let proxy = setup.start();
    assert_eq!(status_of(&proxy, "bob").0, 200);
    for asked in ["ada", ""] {
        let (status, said) = status_of(&proxy, asked);
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(status, 404, "{said}");
        assert_eq!(error["error"]["code"], "personality_not_found");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("`ada` cannot be used: ada.json:2: "),
            "{message}"
        );
    }
    let shown = proxy.exchange(get("/v1/personalities/ada", &[])).text();
    assert!(shown.contains("ada.json:2"), "{shown}");
    assert!(proxy.readyz_says("ada.json:2").starts_with("ok\n"));
    assert_eq!(proxy.metric("yychat_personalities_broken"), 1.0);
    let own_name = format!("GET /status HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    let page = Client::connect(proxy.admin).exchange(own_name);
    let page: Value = serde_json::from_str(&page.text()).unwrap();
    let told = page["generation"]["broken"][0].as_str().unwrap();
    assert!(told.contains("ada.json:2"), "{told}");

    let file = proxy.root().join("conf/personalities/ada.json");
    fs::write(&file, r#"{"system_prompt":"You are Ada."}"#).unwrap();
    eventually("it is mended", || {
        (status_of(&proxy, "ada").0 == 200).then_some(())
    });
    eventually("the metric says so too", || {
        (proxy.metric("yychat_personalities_broken") == 0.0).then_some(())
    });
    // From now on there is a last good one.
    fs::write(&file, BROKEN).unwrap();
    proxy.readyz_says("ada.json:2");
    assert_eq!(status_of(&proxy, "ada").0, 200);
}

#[test]
fn an_unknown_tool_is_a_fault_of_the_file_that_names_it() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "").file(
        "conf/personalities/ada.json",
        br#"{"system_prompt":"x","allowed_tools":["sextant"]}"#,
    );
    let proxy = setup.start();
    let (status, said) = status_of(&proxy, "ada");
    assert_eq!(status, 404, "{said}");
    assert!(said.contains("`allowed_tools` names `sextant`"), "{said}");
    proxy.readyz_says("`allowed_tools` names `sextant`, which no plugin has");

    let file = proxy.root().join("conf/personalities/ada.json");
    fs::write(&file, r#"{"system_prompt":"x","allowed_tools":[]}"#).unwrap();
    eventually("it is mended", || {
        (status_of(&proxy, "ada").0 == 200).then_some(())
    });
    // From now on there is a last good one.
    fs::write(
        &file,
        r#"{"system_prompt":"x","allowed_tools":["sextant"]}"#,
    )
    .unwrap();
    proxy.readyz_says("`allowed_tools` names `sextant`, which no plugin has");
    assert_eq!(status_of(&proxy, "ada").0, 200);
}

#[test]
fn a_copy_of_what_comes_with_the_program_does_not_miss_its_tools() {
    let upstream = Upstream::ok();
    let friendly = include_str!("../../conf/personalities/friendly.json");
    let setup = Setup::new()
        .upstream(&upstream, "")
        .file("conf/personalities/friendly.json", friendly.as_bytes());
    assert_eq!(status_of(&setup.start(), "friendly").0, 200);
}

#[test]
fn a_check_fails_for_a_broken_file() {
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .upstream(&upstream, "")
        .file("conf/personalities/ada.json", BROKEN);
    fs::write(setup.path("conf/yychat.toml"), setup.text()).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_yychat"))
        .arg("check")
        .current_dir(setup.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        !checked.status.success() && said.contains("ada.json:2"),
        "{said}"
    );
}

#[test]
fn an_id_is_found_in_a_body_and_in_a_header_however_it_is_composed() {
    let (composed, decomposed) = (
        "\u{bbfc}\u{c9c0}",
        "\u{1106}\u{1175}\u{11ab}\u{110c}\u{1175}",
    );
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .upstream(&upstream, "")
        .config(&format!("personality.default = \"{decomposed}\""))
        .file(
            &format!("conf/personalities/{decomposed}.json"),
            br#"{"system_prompt":"You are Minji."}"#,
        );
    let proxy = setup.start();
    for id in [composed, decomposed, ""] {
        assert_eq!(status_of(&proxy, id).0, 200);
    }
    for id in [composed, decomposed] {
        let named = format!("X-YYChat-Personality: {id}");
        let answer = proxy.exchange(chat(&[&named], r#"{"messages":[]}"#));
        assert_eq!(answer.status(), 200);
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|sent| sent.text().contains("You are Minji."))
    );
}
