//! A template of any text, and arguments of a model's: rendering ends, and no value of an argument
//! leaves its place in a URL.
#![no_main]
#![allow(dead_code, reason = "the target reads a part of the modules")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

#[path = "../../src/tools/secrets.rs"]
mod secrets;
#[path = "../../src/tools/template.rs"]
mod template;

use secrets::Secrets;
use template::{Place, Template, Templates};

/// One in a path, in a query, with filters that an operator may write.
const SOURCES: [&str; 4] = [
    "https://example.com/a/{{ v }}/b?q={{ v }}&r=1",
    "https://example.com/a/{{ v | safe }}/b?q={{ v | safe }}&r=1",
    "https://example.com/a/{% set x %}{{ v }}{% endset %}{{ v }}/b?q={{ v }}&r=1",
    "https://example.com/a/{{ v | default('none') }}/b?q={{ v }}&r=1",
];

static COMPILED: LazyLock<(Templates, [Template; SOURCES.len()])> = LazyLock::new(|| {
    let mut templates = new();
    let compiled =
        SOURCES.map(|source| templates.add(Place::Url, source, None).expect("a template"));
    (templates, compiled)
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match choice {
        0..224 => argument(usize::from(choice) % SOURCES.len(), text),
        _ => any_template(choice, text),
    }
});

fn argument(which: usize, text: &str) {
    let (templates, compiled) = &*COMPILED;
    let arguments = Map::from_iter([("v".to_owned(), Value::from(text))]);
    let context = templates.context(&arguments);
    let url = templates
        .render(&compiled[which], &context)
        .expect("text is rendered");
    let inner = url
        .strip_prefix("https://example.com/a/")
        .and_then(|rest| rest.strip_suffix("&r=1"));
    let (path, query) = inner
        .and_then(|rest| rest.split_once("/b?q="))
        .expect("the frame");
    for value in [path, query] {
        assert!(
            value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)),
            "{url}"
        );
    }
    let url = Url::parse(&url).expect("a URL");
    assert_eq!(url.host_str(), Some("example.com"));
    assert_eq!(url.query_pairs().count(), 2);
}

fn any_template(choice: u8, source: &str) {
    let place = [Place::Url, Place::Text, Place::Json][usize::from(choice) % 3];
    let mut templates = new();
    let known = ["v".to_owned()];
    let Ok(template) = templates.add(place, source, Some(&known)) else {
        return;
    };
    let arguments = json!({"v": {"a": [1, "x/y", null]}});
    let context = templates.context(arguments.as_object().expect("an object"));
    let _ = templates.render(&template, &context);
}

fn new() -> Templates {
    let secret = ("key".to_owned(), SecretString::from("canary-0123456789"));
    Templates::new(Secrets::from_iter([secret]))
}
