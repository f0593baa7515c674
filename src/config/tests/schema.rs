//! The JSON Schema that editors check `yychat.toml` by.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::extract::known_keys;
use crate::config::schema::schema;

/// The one that is shipped beside the configuration; `YYCHAT_BLESS=1` writes it.
#[test]
fn the_shipped_schema_is_that_of_the_configuration() {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    let shipped = "conf/yychat.schema.json";
    if std::env::var_os("YYCHAT_BLESS").is_some() {
        fs::write(shipped, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(shipped).unwrap(), text);
    let conf = fs::read_to_string(DEFAULT_FILE).unwrap();
    assert!(conf.starts_with("#:schema ./yychat.schema.json\n"));
}

fn is_valid(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap();
    let parsed = file::parse(path, text.trim_start_matches('\u{feff}'));
    let instance = serde_json::to_value(&parsed.values).unwrap();
    jsonschema::draft7::new(&schema())
        .unwrap()
        .is_valid(&instance)
}

#[test]
fn it_takes_what_loads_and_refuses_what_does_not() {
    let files = |kind: &str| {
        let folder = fs::read_dir(format!("tests/fixtures/config/{kind}")).unwrap();
        folder
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
    };
    for path in files("valid").chain([DEFAULT_FILE.into()]) {
        assert!(is_valid(&path), "{}", path.display());
    }
    for name in [
        "wrong_type",
        "unknown_key",
        "out_of_range",
        "missing_fields",
        "secrets",
    ] {
        let path = format!("tests/fixtures/config/invalid/{name}.toml");
        let expected = name == "secrets";
        assert_eq!(is_valid(Path::new(&path)), expected, "{name}");
    }
}

#[test]
fn each_key_is_there_with_its_words() {
    let schema = schema();
    for key in known_keys() {
        let node = key
            .split('.')
            .try_fold(&schema, |node, part| match part.parse::<usize>() {
                Ok(_) => node.get("items"),
                Err(_) => node.get("properties")?.get(part),
            });
        let node = node.unwrap_or_else(|| panic!("{key} is not in the schema"));
        let inline = key.starts_with("server.tls.") || key.contains(".budgets.");
        assert!(
            inline || node["description"].is_string(),
            "{key} has no words"
        );
    }
    let mode = &schema["properties"]["personality"]["properties"]["mode"];
    assert_eq!(
        mode["enum"],
        serde_json::json!(["prepend", "append", "replace"])
    );
    let upstream = &schema["properties"]["upstreams"]["items"];
    let needed = upstream["required"].as_array().unwrap();
    let needed: BTreeSet<_> = needed.iter().filter_map(Value::as_str).collect();
    assert_eq!(needed, ["base_url", "name"].into());
    assert_eq!(upstream["additionalProperties"], false);
}
