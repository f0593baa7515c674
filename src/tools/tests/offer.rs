use serde_json::json;

use super::*;
use crate::dialect::Dialect;

#[test]
fn a_definition_is_ready_bytes_with_the_schema_as_written() {
    let toolbox = shipped();
    let offered = toolbox.offer(Dialect::Chat, None, &[]);
    let definition = parsed(&offered[0].definition);
    assert_eq!(definition["type"], "function");
    assert_eq!(definition["function"]["name"], "calculator");
    let schema = fs::read(project("plugins/calculator/calculator.json")).unwrap();
    assert_eq!(definition["function"]["parameters"], parsed(&schema));
    let text = std::str::from_utf8(&offered[0].definition).unwrap();
    let order = ["\"operation\":", "\"a\":", "\"b\":"].map(|key| text.find(key).unwrap());
    assert!(order.is_sorted(), "{text}");
    assert!(!text.contains('\n'));
    let again = toolbox.offer(Dialect::Chat, None, &[]);
    assert_eq!(again[0].definition.as_ptr(), offered[0].definition.as_ptr());
}

#[test]
fn a_hint_extends_the_description_once() {
    let toolbox = shipped();
    let allowed = [("gettime", "Use it \"often\".")];
    let first = toolbox.offer(Dialect::Chat, Some(&allowed), &[]);
    let description = parsed(&first[0].definition)["function"]["description"].clone();
    assert!(
        description
            .as_str()
            .unwrap()
            .ends_with("\nUse it \"often\".")
    );
    let second = toolbox.offer(Dialect::Chat, Some(&allowed), &[]);
    assert_eq!(second[0].definition.as_ptr(), first[0].definition.as_ptr());
}

#[test]
fn a_filter_fails_closed() {
    let toolbox = shipped();
    let offer = |allowed: &[(&str, &str)]| {
        let offered = toolbox.offer(Dialect::Chat, Some(allowed), &[]);
        offered
            .iter()
            .map(|it| it.tool.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(offer(&[]).is_empty());
    assert!(offer(&[("unknown", ""), ("tavily_search", "")]).is_empty());
    assert_eq!(
        offer(&[("gettime", ""), ("gettime", ""), ("calculator", "")]),
        ["gettime", "calculator"]
    );
}

#[test]
fn the_clients_own_tool_of_a_name_wins() {
    let toolbox = shipped();
    assert_eq!(
        names(&toolbox.offer(Dialect::Chat, None, &["calculator".into()])),
        ["gettime"]
    );
    let allowed = [("gettime", "")];
    assert!(
        toolbox
            .offer(Dialect::Chat, Some(&allowed), &["gettime".into()])
            .is_empty()
    );
}

#[test]
fn the_list_has_what_the_endpoint_shows() {
    let list = serde_json::to_value(shipped().list()).unwrap();
    assert_eq!(list[1]["name"], "gettime");
    assert_eq!(list[1]["plugin"], "gettime");
    assert_eq!(list[1]["kind"], "builtin");
    assert_eq!(list[1]["parameters"]["type"], json!("object"));
}
