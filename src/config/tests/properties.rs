//! What holds for every key, secret and text.

use proptest::prelude::*;

use super::*;
use crate::config::extract::known_keys;

/// Files that hold every key between them, each with a value that is none of the defaults.
fn every_key() -> [toml::Table; 2] {
    ["every_key", "embedding_folder"].map(|name| {
        let text = fs::read_to_string(format!("tests/fixtures/config/valid/{name}.toml")).unwrap();
        text.parse().unwrap()
    })
}

fn value_at<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let (section, rest) = key.split_once('.').unwrap();
    rest.split('.')
        .try_fold(table.get(section)?, |value, part| match value {
            toml::Value::Array(items) => items.get(part.parse::<usize>().unwrap()),
            other => other.get(part),
        })
}

#[test]
fn a_variable_does_what_the_file_does() {
    let tables = every_key();
    for key in known_keys() {
        let found = tables
            .iter()
            .find_map(|table| Some((table, value_at(table, &key)?)));
        let (table, value) = found.unwrap_or_else(|| panic!("{key} is in neither file"));
        let from_file = load_with(table, variables());
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut without = table.clone();
        remove(&mut without, &key);
        let mut variables = variables();
        let variable = format!("YYCHAT__{}", key.to_uppercase().replace('.', "__"));
        variables.insert(variable, text);
        let from_variable = load_with(&without, variables);
        assert_eq!(
            changed(&from_file, &from_variable),
            Vec::<String>::new(),
            "{key}"
        );
    }
}

proptest! {
    #[test]
    fn no_secret_is_ever_shown(body in "[!-~]{16,40}", broken in any::<bool>()) {
        let secret = format!("canary{body}");
        let text = "[[upstreams]]\nname = \"a\"\nbase_url = \"https://example.com\"\n\
                    api_key = { env = \"A\" }\n[[auth.keys]]\nname = \"k\"\ntenant = \"t\"\n\
                    key = { env = \"A\" }\n[memory]\nstore = \"postgres\"\nurl = { env = \"U\" }\n";
        let url = format!("{}://{secret}", if broken { "mysql" } else { "postgres" });
        let shown = match load_text(text, &[("A", &secret), ("U", &url)]) {
            Ok(loaded) => {
                format!("{loaded:?}{}", serde_json::to_string(&loaded.config).unwrap())
            }
            Err(faults) => format!("{faults}{faults:?}"),
        };
        prop_assert!(!shown.contains("canary"), "{}", shown);
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-z_.\"'=\\[\\]{}#, \n]|[0-9]|é|\u{feff}|server|upstreams|name|=){0,60}") {
        // A fault or a configuration: either is an answer.
        if let Err(faults) = load_text(&text, &[]) {
            prop_assert!(!faults.0.is_empty());
        }
    }

    #[test]
    fn no_variable_makes_it_panic(name in "[A-Z0-9_]{0,20}", text in ".{0,30}") {
        let section = format!("YYCHAT__{name}");
        if let Err(faults) = load_text("", &[(&section, &text), (&name, &text)]) {
            prop_assert!(!faults.0.is_empty());
        }
    }
}

fn load_with(table: &toml::Table, env: BTreeMap<String, String>) -> model::Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    fs::write(&path, table.to_string()).unwrap();
    let sources = Sources {
        file: Some(path),
        env,
        ..Sources::default()
    };
    load(&sources)
        .unwrap_or_else(|faults| panic!("{faults}"))
        .config
}

fn remove(table: &mut toml::Table, key: &str) {
    let (section, rest) = key.split_once('.').unwrap();
    let mut parts: Vec<_> = rest.split('.').collect();
    let last = parts.pop().unwrap();
    let outer =
        parts
            .into_iter()
            .fold(table.get_mut(section).unwrap(), |value, part| match value {
                toml::Value::Array(items) => &mut items[part.parse::<usize>().unwrap()],
                other => &mut other[part],
            });
    outer.as_table_mut().unwrap().remove(last);
}
