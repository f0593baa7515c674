//! The files of `tests/fixtures/config`, and the shipped one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::config::extract::known_keys;
use crate::config::schema::shipped_text;

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(format!("tests/fixtures/config/{kind}"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    assert!(files.len() > 5, "the corpus of {kind} files is missing");
    files
}

#[test]
fn valid_files_load_with_the_warnings_that_they_name() {
    for path in fixtures("valid") {
        let loaded = load_file(&path).unwrap_or_else(|faults| panic!("{faults}"));
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# warn: "))
            .collect();
        let warnings: Vec<_> = loaded
            .warnings
            .iter()
            .map(|warning| &warning.what)
            .collect();
        assert_eq!(warnings, expected, "{}", path.display());
        assert_eq!(loaded.file.as_deref(), Some(path.as_path()));
    }
}

/// The faults of `x.toml` are in `x.txt`; `YYCHAT_BLESS=1` writes what stands there.
#[test]
fn invalid_files_give_every_fault_with_its_line() {
    for path in fixtures("invalid") {
        let faults = load_file(&path)
            .expect_err(&format!("{} should be refused", path.display()))
            .to_string();
        let expected = path.with_extension("txt");
        if std::env::var_os("YYCHAT_BLESS").is_some() {
            fs::write(&expected, format!("{faults}\n")).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap();
        assert_eq!(faults, expected.trim_end(), "{}", path.display());
        assert!(!faults.contains("canary"), "{faults}");
    }
}

#[test]
fn each_key_is_in_a_valid_and_an_invalid_file() {
    let read = |kind: &str| -> String {
        let texts = fixtures(kind).into_iter().map(|path| {
            let bytes = fs::read(if kind == "valid" {
                path
            } else {
                path.with_extension("txt")
            });
            String::from_utf8_lossy(&bytes.unwrap()).into_owned()
        });
        texts.collect()
    };
    let invalid = read("invalid");
    let valid: BTreeSet<String> = fixtures("valid")
        .iter()
        .flat_map(|path| file::parse(path, &fs::read_to_string(path).unwrap()).lines)
        .map(|(key, _)| key)
        .collect();
    for key in known_keys() {
        assert!(valid.contains(&key), "{key} is in no valid file");
        assert!(
            invalid.contains(&format!("`{key}`")),
            "{key} is in no invalid file"
        );
    }
}

#[test]
fn the_shipped_file_has_every_key_with_its_default_and_a_comment() {
    let path = Path::new(DEFAULT_FILE);
    let text = shipped_text();
    let parsed = file::parse(path, &text);
    assert_eq!(parsed.faults, []);

    let known: BTreeSet<_> = known_keys().into_iter().collect();
    let lines: Vec<_> = text.lines().collect();
    for key in &known {
        let inline = key.starts_with("server.tls.") || key.contains(".budgets.");
        let line = *parsed
            .lines
            .get(key)
            .unwrap_or_else(|| panic!("{key} is missing"));
        assert!(
            inline || lines[line - 2].starts_with("# "),
            "{key} has no comment"
        );
    }
    let figment = layers::merge(Some((path, parsed.values)), &BTreeMap::new(), &[]);
    let mut places = Places::new(figment, None, BTreeMap::new());
    let (raw, faults) = extract::extract(&mut places);
    assert_eq!(faults, [], "an unknown key");

    let as_written = serde_json::to_value(raw).unwrap();
    let mut defaults = serde_json::to_value(raw::Raw::example()).unwrap();
    for file in ["/server/tls/cert", "/server/tls/key", "/upstreams/0/ca"] {
        *defaults.pointer_mut(file).unwrap() = as_written.pointer(file).unwrap().clone();
    }
    assert_eq!(as_written, defaults);
}
