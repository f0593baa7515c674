//! The configurations that the pages show are ones that load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use yychat::config::{self, Sources};
use yychat::reading::Reading;
use yychat::tools::Toolbox;

fn pages(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let mut pages: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// What stands in the blocks of that language.
fn blocks(page: &Path, language: &str) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let begins = format!("```{language}\n");
    let blocks = text.split(&begins).skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// Every variable that a configuration refers to, set.
fn variables(text: &str) -> BTreeMap<String, String> {
    let names = text.split("env = \"").skip(1);
    let names = names.filter_map(|rest| rest.split('"').next());
    names
        .map(|name| {
            let value = match name {
                "DATABASE_URL" => "postgres://user:password@host/database".to_owned(),
                "VALKEY_URL" => "valkey://host:6379".to_owned(),
                name => format!("{name}-of-a-test-0123456789"),
            };
            (name.to_owned(), value)
        })
        .collect()
}

#[test]
fn the_pages_show_configurations_that_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = 0;
    for page in ["servers", "clients", "zh"].iter().flat_map(|it| pages(it)) {
        let is_ours = |block: &String| {
            ["[[upstreams]]", "[[auth.keys]]", "[memory"]
                .iter()
                .any(|table| block.contains(table))
        };
        for block in blocks(&page, "toml").into_iter().filter(is_ours) {
            // A model that a page names is not there.
            let block = block.replace(
                "models/multilingual-e5-small",
                "tests/fixtures/config/valid/model",
            );
            let file = folder.path().join("yychat.toml");
            fs::write(&file, &block).unwrap();
            let sources = Sources {
                file: Some(file),
                env: variables(&block),
                overrides: Vec::new(),
            };
            if let Err(faults) = config::load(&sources, &Reading::default()) {
                panic!("{}: {faults}\n{block}", page.display());
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 15, "{loaded} were found");
}

#[test]
fn the_plugins_of_the_pages_load() {
    let folder = tempfile::tempdir().unwrap();
    let page = &pages("zh")
        .into_iter()
        .find(|page| page.ends_with("tools.md"))
        .unwrap();
    let schema = blocks(page, "json").remove(0);
    let manifests = blocks(page, "toml");
    assert_eq!(manifests.len(), 2);
    let variables = manifests.iter().flat_map(|text| variables(text)).collect();
    for (number, manifest) in manifests.iter().enumerate() {
        let plugin = folder.path().join(number.to_string());
        fs::create_dir(&plugin).unwrap();
        fs::write(plugin.join("plugin.toml"), manifest).unwrap();
        fs::write(plugin.join("weather.json"), &schema).unwrap();
    }
    if let Err(faults) = Toolbox::load(folder.path(), &variables, None, &Reading::default()) {
        panic!("{faults}");
    }
}

#[test]
fn the_json_of_the_pages_is_json() {
    for page in ["servers", "clients", "zh"].iter().flat_map(|it| pages(it)) {
        for block in blocks(&page, "json") {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&block) {
                panic!("{}: {error}\n{block}", page.display());
            }
        }
    }
}
