//! What `docs/security.md` promises names the test behind it, and that test exists.

use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether `file#test` or a harness exists.
fn exists(reference: &str) -> bool {
    let Some((file, test)) = reference.split_once('#') else {
        return root().join(reference).is_file();
    };
    let Ok(code) = fs::read_to_string(root().join(file)) else {
        return false;
    };
    code.contains(&format!("fn {test}("))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, promises) = page.split_once("## Promises").unwrap();
    let (promises, _) = promises.split_once("## Not promised").unwrap();
    let rows: Vec<_> = promises
        .lines()
        .filter(|line| line.starts_with("| ") && !line.ends_with("| Held by |"))
        .collect();
    assert!(rows.len() > 20, "the table was not found");
    for row in rows {
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let references = quoted(held_by);
        assert!(!references.is_empty(), "nothing holds: {row}");
        for reference in references {
            assert!(exists(reference), "{reference} does not exist: {row}");
        }
    }
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    assert!(exists(
        "tests/promises.rs#a_test_that_does_not_exist_is_noticed"
    ));
    assert!(!exists("tests/promises.rs#nobody_wrote_this"));
    assert!(!exists("tests/no_such.rs#nobody_wrote_this"));
    assert!(!exists("chaos/nothing"));
}
