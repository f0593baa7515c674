//! What clients send for themselves, and what people send that looks like it, in each dialect.

use std::path::Path;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::judge;
use crate::dialect::Dialect;
use crate::purpose::Rules;
use crate::reading::Reading;

const ERRANDS: &str = include_str!("../../../tests/fixtures/purpose/errands.jsonl");
const CHATS: &str = include_str!("../../../tests/fixtures/purpose/chats.jsonl");

/// A request as the fixtures have it: what it is of, who says what, and what else Chat has in it.
#[derive(Deserialize)]
struct Case {
    kind: String,
    said: Vec<(String, String)>,
    #[serde(default)]
    with: Map<String, Value>,
}

/// A body in each dialect that can say it.
fn bodies(case: &Case) -> Vec<(Dialect, Value)> {
    let message = |(role, text): &(String, String)| json!({ "role": role, "content": text });
    let messages: Vec<_> = case.said.iter().map(message).collect();
    let mut chat = json!({ "model": "m", "messages": messages });
    chat.as_object_mut()
        .expect("an object")
        .extend(case.with.clone());
    let format = case.with.get("response_format");
    let flat = format.map(|it| {
        let mut flat = it["json_schema"].clone();
        flat["type"] = it["type"].clone();
        flat
    });
    let limit = ["max_tokens", "max_completion_tokens"];
    let limit = limit.iter().find_map(|name| case.with.get(*name));
    let mut responses = json!({ "model": "m", "input": messages });
    let leading = case.said.iter().take_while(|said| said.0 == "system");
    let (system, rest) = messages.split_at(leading.count());
    let system: Vec<_> = system
        .iter()
        .map(|it| json!({ "type": "text", "text": it["content"] }))
        .collect();
    let mut anthropic =
        json!({ "model": "m", "max_tokens": 32_000, "system": system, "messages": rest });
    if let Some(flat) = flat {
        responses["text"] = json!({ "format": flat });
        anthropic["output_config"] = json!({ "format": flat });
    }
    if let Some(limit) = limit {
        responses["max_output_tokens"] = limit.clone();
        anthropic["max_tokens"] = limit.clone();
    }
    if let Some(tool) = case
        .with
        .get("tools")
        .map(|tools| tools[0]["function"].clone())
    {
        let choice = case.with.get("tool_choice").is_some_and(Value::is_object);
        responses["tools"] =
            json!([{ "type": "function", "name": tool["name"], "parameters": tool["parameters"] }]);
        anthropic["tools"] = json!([{ "name": tool["name"], "input_schema": tool["parameters"] }]);
        if choice {
            responses["tool_choice"] = json!({ "type": "function", "name": tool["name"] });
            anthropic["tool_choice"] = json!({ "type": "tool", "name": tool["name"] });
        }
    }
    // Chat alone has system messages among the others.
    match rest.iter().any(|it| it["role"] == "system") {
        true => vec![(Dialect::Chat, chat)],
        false => vec![
            (Dialect::Chat, chat),
            (Dialect::Responses, responses),
            (Dialect::Messages, anthropic),
        ],
    }
}

/// Those of `lines` that are judged otherwise, with the rule.
fn wrong(lines: &str, is_errand: bool) -> Vec<String> {
    let reading = Reading::default();
    let rules = Rules::load(Path::new("no/auxiliary.toml"), &reading).expect("the shipped rules");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let case: Case = serde_json::from_str(line).expect(line);
        count += 1;
        for (dialect, body) in bodies(&case) {
            let request = dialect.read(Bytes::from(body.to_string()), 64).expect(line);
            let rule = judge(&rules, &HeaderMap::new(), &request);
            if rule.is_some() != is_errand {
                wrong.push(format!("{dialect:?} {} {rule:?}: {line}", case.kind));
            }
        }
    }
    assert!(count >= 300, "{count}");
    wrong
}

#[test]
fn errands_of_each_kind_are_known_in_each_dialect() {
    let missed = wrong(ERRANDS, true);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn chats_that_look_like_errands_are_chats_in_each_dialect() {
    let taken = wrong(CHATS, false);
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}
