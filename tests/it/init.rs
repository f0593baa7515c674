//! A binary alone in a folder: what it has in itself, and what it writes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use yychat::config::Sources;
use yychat::snapshot::Store;

/// Runs the program in `folder`, without this process's own environment.
fn yychat(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yychat"));
    command.args(arguments).current_dir(folder).env_clear();
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    texts.concat()
}

#[test]
fn a_lone_binary_has_its_personalities_and_plugins() {
    let folder = TempDir::new().unwrap();
    let checked = yychat(folder.path(), &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(
        said(&checked).contains("3 personalities, 5 plugins"),
        "{}",
        said(&checked)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn shipped_personalities_do_not_miss_tools_that_own_plugins_lack() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    let checked = yychat(folder.path(), &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(
        said(&checked).contains("3 personalities, 0 plugins"),
        "{}",
        said(&checked)
    );
}

#[test]
fn what_init_writes_passes_the_check_and_is_written_once() {
    let folder = TempDir::new().unwrap();
    let inside = |path: &str| folder.path().join(path);
    let init = ["init", "--base-url", "http://127.0.0.1:11434", "--yes"];
    fs::create_dir_all(inside("conf/personalities")).unwrap();
    let own = r#"{"system_prompt":"mine"}"#;
    fs::write(inside("conf/personalities/friendly.json"), own).unwrap();

    let written = yychat(folder.path(), &init);
    assert!(written.status.success(), "{}", said(&written));
    assert!(
        said(&written).contains("http://127.0.0.1:8000/v1"),
        "{}",
        said(&written)
    );
    let text = fs::read_to_string(inside("conf/yychat.toml")).unwrap();
    assert!(
        text.contains("base_url = \"http://127.0.0.1:11434/v1\""),
        "{text}"
    );
    assert!(inside("plugins/calculator/plugin.toml").is_file());
    let kept = fs::read_to_string(inside("conf/personalities/friendly.json")).unwrap();
    assert_eq!(kept, own);
    assert!(yychat(folder.path(), &["check"]).status.success());

    let again = yychat(folder.path(), &init);
    assert!(!again.status.success());
    assert!(
        said(&again).contains("conf/yychat.toml: is there already"),
        "{}",
        said(&again)
    );
}

#[test]
fn init_says_what_it_was_not_told() {
    let folder = TempDir::new().unwrap();
    for (arguments, told) in [
        (&["init"][..], "give --base-url URL"),
        (
            &["init", "--base-url", "localhost:11434"],
            "is no URL of an API",
        ),
    ] {
        let refused = yychat(folder.path(), arguments);
        assert!(!refused.status.success());
        assert!(said(&refused).contains(told), "{}", said(&refused));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let arguments = [
        "init",
        "--base-url",
        "https://a.example/v1",
        "--api-key-env",
        "A_KEY",
        "-y",
    ];
    let unset = yychat(folder.path(), &arguments);
    assert!(!unset.status.success());
    assert!(
        said(&unset).contains("\"A_KEY\", which is not set"),
        "{}",
        said(&unset)
    );
}

#[test]
fn a_folder_of_ones_own_takes_the_place_of_what_is_shipped() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("conf/yychat.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    let own = folder.path().join("own");
    let load = |dir: &Path| {
        let sources = Sources {
            file: Some(file.clone()),
            overrides: vec![("personality.dir".to_owned(), dir.display().to_string())],
            ..Sources::default()
        };
        Store::open(sources)
    };
    // One that was named must be there.
    assert!(load(&own).is_err());
    fs::create_dir(&own).unwrap();
    let (store, _) = load(&own).unwrap();
    assert_eq!(store.load().personalities.iter().len(), 0);
}
