use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use crate::tools::secrets::Secrets;
use crate::tools::template::{Place, Templates};

fn known(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn render(place: Place, source: &str, arguments: Value) -> Result<String, String> {
    let mut templates = Templates::new(Secrets::default());
    let template = templates.add(place, source, None)?;
    let arguments: Map<_, _> = serde_json::from_value(arguments).unwrap();
    let context = templates.context(&arguments);
    templates.render(&template, &context)
}

#[test]
fn templates_are_never_printed() {
    let secrets = [("key".to_owned(), SecretString::from("canary-0123456789"))];
    let mut templates = Templates::new(secrets.into_iter().collect());
    let source = "Bearer canary-0123456789 {{ secrets.key }}";
    let template = templates.add(Place::Text, source, None).unwrap();
    let shown = format!("{templates:?}{template:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

proptest! {
    /// A value in a URL is one component: nothing in it ends the component that it stands in.
    #[test]
    fn no_value_leaves_its_url_component(value in "\\PC{0,20}|[/?#&=%.@:\\\\ \r\n\0]{0,6}") {
        let source = "https://example.com/a/{{ v }}/b?q={{ v }}&r=1";
        let rendered = render(Place::Url, source, json!({"v": value})).unwrap();
        let encoded = &rendered["https://example.com/a/".len()..rendered.find("/b?q=").unwrap()];
        let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
        prop_assert!(encoded.chars().all(unreserved), "{rendered}");
        let url = Url::parse(&rendered).unwrap();
        prop_assert_eq!(url.host_str(), Some("example.com"));
        let query: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [("q".to_owned(), value.clone()), ("r".to_owned(), "1".to_owned())];
        prop_assert_eq!(query, expected);
    }

    /// A value alone comes back as it was.
    #[test]
    fn a_value_alone_keeps_its_type(text in "\\PC{0,20}", number: i64, flag: bool) {
        let value = json!({"text": text, "list": [number, flag, null, 0.5]});
        let rendered = render(Place::Json, "{{ v }}", json!({"v": value})).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&rendered).unwrap(), value);
    }
}

#[test]
fn neither_safe_nor_captured_values_get_around_the_escaping() {
    for source in [
        "{{ v | safe }}",
        "{% set x %}{{ v }}{% endset %}{{ x }}",
        "{% autoescape false %}{{ v }}{% endautoescape %}",
        "{{ v ~ '/' ~ v }}",
    ] {
        let rendered = render(Place::Url, source, json!({"v": "a/b?c"})).unwrap();
        assert!(!rendered.contains(['/', '?']), "{source}: {rendered}");
    }
}

#[test]
fn what_is_absent_writes_nothing() {
    for place in [Place::Url, Place::Text, Place::Json] {
        assert_eq!(render(place, "{{ v }}", json!({})).unwrap(), "");
    }
    assert_eq!(
        render(Place::Json, "{{ v }}", json!({"v": null})).unwrap(),
        "null"
    );
}

#[test]
fn a_template_that_never_ends_is_cut() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert!(render(Place::Text, source, json!({})).is_err());
}

#[test]
fn unknown_names_are_refused_at_load() {
    let secret = ("key".to_owned(), SecretString::from("canary-0123456789"));
    let secrets = Secrets::from_iter([secret]);
    let mut templates = Templates::new(secrets.clone());
    let known = known(&["query"]);
    let mut add = |source| templates.add(Place::Text, source, Some(&known)).map(|_| ());
    assert_eq!(
        add("{{ query }} {{ secrets.key }} {{ query | default(1) }}"),
        Ok(())
    );
    for wrong in [
        "{{ qery }}",
        "{{ secrets.kee }}",
        "{{ secrets }}",
        "{% if x %}{% endif %}",
    ] {
        assert!(
            add(wrong).unwrap_err().contains("which is no parameter"),
            "{wrong}"
        );
    }
    assert!(add("{{ query").is_err());
    assert_eq!(
        secrets.redact("a canary-0123456789 b".to_owned()),
        "a [redacted] b"
    );
}
