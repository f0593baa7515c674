//! Streams as clients read them: whoever puts an answer together from its events trips where they are
//! not in order.

use serde_json::{Value, json};

use crate::dialect::Dialect;

/// The items of an answer that took so many legs.
pub fn read(dialect: Dialect, stream: &[u8], legs: u64) -> Vec<Value> {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    match dialect {
        Dialect::Responses => response(&events, legs),
        _ => message(&events, legs),
    }
}

fn response(events: &[Value], legs: u64) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let (first, last) = (&events[0], events.last().expect("an event"));
    assert_eq!(first["type"], "response.created");
    assert_eq!(last["type"], "response.completed");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        let index = event["output_index"].as_u64().map(|index| index as usize);
        match (event["type"].as_str().expect("a type"), index) {
            ("response.created", _) => assert_eq!(number, 0),
            ("response.completed", _) => assert_eq!(number + 1, events.len()),
            ("response.output_item.added", Some(index)) => {
                assert_eq!(index, items.len(), "{event}");
                items.push(event["item"].clone());
                texts.push(String::new());
            }
            ("response.output_item.done", Some(index)) => {
                let item = &event["item"];
                assert_eq!(items[index]["id"], item["id"]);
                let text = item["content"][0]["text"].as_str();
                if let Some(text) = text.or(item["arguments"].as_str()) {
                    assert_eq!(texts[index], text);
                }
                items[index] = item.clone();
            }
            (_, Some(index)) => {
                assert_eq!(items[index]["id"], event["item_id"], "{event}");
                texts[index] += event["delta"].as_str().expect("a delta");
            }
            (kind, None) => panic!("{kind}"),
        }
    }
    let response = &last["response"];
    assert_eq!(response["output"], json!(items));
    assert_eq!(response["id"], first["response"]["id"]);
    let usage =
        json!({"input_tokens": 3 * legs, "output_tokens": 2 * legs, "total_tokens": 5 * legs});
    assert_eq!(response["usage"], usage);
    items
}

fn message(events: &[Value], legs: u64) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut open: Option<usize> = None;
    let mut inputs: Vec<String> = Vec::new();
    assert_eq!(events[0]["type"], "message_start");
    assert_eq!(events.last().expect("an event")["type"], "message_stop");
    for (number, event) in events.iter().enumerate() {
        let index = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().expect("a type") {
            "message_start" => assert_eq!(number, 0),
            "message_stop" => assert_eq!(number + 1, events.len()),
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(blocks.len())), "{event}");
                open = index;
                blocks.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, index, "{event}");
                let at = index.expect("an index");
                let delta = &event["delta"];
                for member in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[member].as_str() {
                        let said = blocks[at][member].as_str().expect("text").to_owned();
                        blocks[at][member] = (said + more).into();
                    }
                }
                inputs[at] += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" => {
                assert_eq!(open, index, "{event}");
                let at = open.take().expect("an index");
                if !inputs[at].is_empty() {
                    blocks[at]["input"] = serde_json::from_str(&inputs[at]).expect("JSON");
                }
            }
            "message_delta" => {
                assert_eq!((open, number + 2), (None, events.len()));
                let calls = blocks.iter().any(|block| block["type"] == "tool_use");
                let reason = if calls { "tool_use" } else { "end_turn" };
                assert_eq!(event["delta"]["stop_reason"], reason);
                let usage = json!({"input_tokens": 3 * legs, "output_tokens": 2 * legs});
                assert_eq!(event["usage"], usage);
            }
            kind => panic!("{kind}"),
        }
    }
    blocks
}
