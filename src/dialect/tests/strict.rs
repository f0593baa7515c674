//! An upstream that looks at what it is sent as closely as the real ones do.

use serde_json::Value;

use crate::dialect::Dialect;

/// Panics where the request would be refused.
pub fn expect_sound(dialect: Dialect, sent: &Value) {
    match dialect {
        Dialect::Responses => response(sent["input"].as_array().expect("a list")),
        _ => message(sent["messages"].as_array().expect("a list")),
    }
}

fn response(items: &[Value]) {
    let mut open: Vec<&Value> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item["type"].as_str() {
            Some("function_call") => open.push(&item["call_id"]),
            Some("function_call_output") => {
                let call = open.iter().position(|id| **id == item["call_id"]);
                open.remove(
                    call.unwrap_or_else(|| panic!("an output without its call: {items:?}")),
                );
            }
            Some("reasoning") => {
                let kind = items.get(at + 1).and_then(|next| next["type"].as_str());
                let follows = matches!(kind, Some("reasoning" | "message" | "function_call"));
                assert!(follows, "reasoning without its following item: {items:?}");
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "no output for {open:?}: {items:?}");
}

fn message(messages: &[Value]) {
    let mut open: Vec<&Value> = Vec::new();
    for message in messages {
        let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        let mut given = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            match block["type"].as_str() {
                Some("tool_result") => {
                    assert_eq!(at, given.len(), "results do not come first: {messages:?}");
                    given.push(&block["tool_use_id"]);
                }
                Some("thinking") => {
                    let sign = format!("sign {}", block["thinking"].as_str().expect("text"));
                    assert_eq!(
                        block["signature"], sign,
                        "thinking was changed: {messages:?}"
                    );
                }
                _ => {}
            }
        }
        let sorted = |ids: &[&Value]| {
            let mut ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            ids.sort();
            ids
        };
        assert_eq!(
            sorted(&given),
            sorted(&open),
            "calls and results: {messages:?}"
        );
        let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
        open = calls.map(|call| &call["id"]).collect();
    }
    assert!(open.is_empty(), "no result for {open:?}: {messages:?}");
}
