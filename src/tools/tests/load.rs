use proptest::prelude::*;

use super::*;
use crate::dialect::Dialect;

/// A name and its tools.
fn summary(toolbox: &Toolbox) -> Vec<(String, State, usize)> {
    let health = toolbox.health().into_iter();
    health
        .map(|health| (health.plugin, health.state, health.tools))
        .collect()
}

#[test]
fn valid_plugins_load_and_only_what_is_on_is_offered() {
    let toolbox = load(&project("tests/fixtures/plugins/valid")).unwrap();
    let plugins = [
        ("http_server", State::Disabled, 0),
        ("inline", State::Ready, 1),
        ("stdio_server", State::Disabled, 0),
        ("switched_off", State::Disabled, 0),
        ("waiting", State::Disabled, 0),
    ];
    let plugins = plugins.map(|(name, state, tools)| (name.to_owned(), state, tools));
    assert_eq!(summary(&toolbox), plugins);
    assert_eq!(names(&toolbox.offer(Dialect::Chat, None, &[])), ["gettime"]);
    assert_eq!(
        toolbox.health()[4].detail.as_deref(),
        Some("set the environment variable NOT_SET")
    );
}

/// The faults of all plugins come at once, each with file and line.
#[test]
fn invalid_plugins_give_every_fault_with_its_line() {
    let dir = project("tests/fixtures/plugins/invalid");
    let faults = load(&dir).unwrap_err().to_string();
    let shown = faults.replace(&format!("{}/", dir.display()), "");
    for entry in fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_first_twin = name == "twin_a";
        let named = shown.lines().any(|line| line.starts_with(&name));
        assert!(named || is_first_twin, "{name} should be refused");
    }
    insta::assert_snapshot!("invalid", shown);
}

#[test]
fn the_shipped_plugins_load_without_any_key() {
    let toolbox = shipped();
    assert_eq!(
        names(&toolbox.offer(Dialect::Chat, None, &[])),
        ["calculator", "gettime"]
    );
    assert_eq!(toolbox.check_name("tavily_search"), Ok(()));
    assert_eq!(toolbox.check_name("get_current_time"), Ok(()));
    assert_eq!(toolbox.check_name("mcp_time_example__convert_time"), Ok(()));
    assert_eq!(toolbox.check_name("calculater"), Err(Some("calculator")));
    assert_eq!(toolbox.check_name("xyz"), Err(None));
}

#[test]
fn tavily_is_offered_as_soon_as_there_is_a_key() {
    let variables = variables(&[("TAVILY_API_KEY", "tvly-canary")]);
    let toolbox =
        Toolbox::load(&project("plugins"), &variables, None, &Reading::default()).unwrap();
    let offered = toolbox.offer(Dialect::Chat, None, &[]);
    assert_eq!(names(&offered), ["calculator", "gettime", "tavily_search"]);
    assert!(!format!("{toolbox:?}").contains("canary"));
}

#[test]
fn a_secret_may_be_in_a_file_and_is_never_in_a_fault() {
    let dir = folder(&[]);
    let secret = dir.path().join("secret.txt");
    let manifest = format!(
        "kind = \"http\"\n[secrets]\nkey = {{ file = {secret:?} }}\n[[tools]]\nname = \"a\"\n\
         description = \"d\"\nmethod = \"GET\"\nurl = \"https://example.com/?{{{{ secrets.key }}}}\"\n"
    );
    write(dir.path(), "plugin", &manifest);
    for (content, fault) in [
        ("canary\n", None),
        ("", Some("`secrets.key` is not set or empty")),
        ("can\nary", Some("`secrets.key` holds control characters")),
    ] {
        fs::write(&secret, content).unwrap();
        let found = load(dir.path()).err().map(|faults| faults.to_string());
        assert_eq!(found.is_some(), fault.is_some());
        if let (Some(found), Some(fault)) = (found, fault) {
            assert!(found.contains(fault) && !found.contains("ary"), "{found}");
        }
    }
}

#[test]
fn what_reads_the_same_is_taken_over() {
    let dir = folder(&[
        ("a", include_str!("../../../plugins/calculator/plugin.toml")),
        (
            "b",
            "kind = \"builtin\"\n[[tools]]\nname = \"gettime\"\ndescription = \"d\"\n",
        ),
    ]);
    let schema = project("plugins/calculator/calculator.json");
    fs::copy(&schema, dir.path().join("a/calculator.json")).unwrap();
    let first = load(dir.path()).unwrap();
    let same = |toolbox: &Toolbox, name| {
        Arc::ptr_eq(&toolbox.get(name).unwrap(), &first.get(name).unwrap())
    };

    let second = Toolbox::load(
        dir.path(),
        &BTreeMap::new(),
        Some(&first),
        &Reading::default(),
    )
    .unwrap();
    assert!(same(&second, "calculator") && same(&second, "gettime"));

    fs::write(
        dir.path().join("a/calculator.json"),
        "{\"type\":\"object\"}",
    )
    .unwrap();
    let third = Toolbox::load(
        dir.path(),
        &BTreeMap::new(),
        Some(&second),
        &Reading::default(),
    )
    .unwrap();
    assert!(!same(&third, "calculator") && same(&third, "gettime"));

    fs::write(dir.path().join("a/calculator.json"), "{").unwrap();
    assert!(
        Toolbox::load(
            dir.path(),
            &BTreeMap::new(),
            Some(&third),
            &Reading::default()
        )
        .is_err()
    );
    assert!(!third.list().is_empty());
}

#[test]
fn hidden_folders_and_plain_files_are_passed_over() {
    let dir = folder(&[("..data", "kind ="), (".git", "kind =")]);
    fs::write(dir.path().join("README.md"), "read me").unwrap();
    assert!(load(dir.path()).unwrap().list().is_empty());
    let faults = load(&dir.path().join("absent")).unwrap_err();
    assert!(faults.to_string().contains("tools.dir"), "{faults}");
}

proptest! {
    /// Whatever stands in a manifest, loading it ends in plugins or faults.
    #[test]
    fn no_manifest_panics(manifest in "(kind = \"(builtin|http|mcp)\"\n)?([a-z_]{1,9} = ?[0-9\"{}\\[\\]a-z=., ]{0,9}\n|\\[\\[tools\\]\\]\n|\\PC{0,20}\n){0,8}") {
        let dir = folder(&[("plugin", &manifest)]);
        if let Err(faults) = load(dir.path()) {
            prop_assert!(!faults.0.is_empty());
        }
    }
}
