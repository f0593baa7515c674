//! A whole answer as a stream, and a stream as a whole answer: nothing that was said is lost.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::{Answer, Dialect, Reader, SseReader, Wanted};

/// Whole answers of an API.
fn wholes(dialect: Dialect) -> Vec<Value> {
    match dialect {
        Dialect::Chat => vec![
            json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "f",
                "choices": [
                    { "index": 0, "finish_reason": "stop", "logprobs": { "content": [{ "token": "4" }] },
                      "message": { "role": "assistant", "content": "42 \"é\"\n", "reasoning_content": "hm" } },
                    { "index": 1, "finish_reason": "length", "message": { "role": "assistant", "content": "forty" } },
                ],
                "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 } }),
            json!({ "id": "c", "object": "chat.completion", "choices": [{ "index": 0, "finish_reason": "tool_calls",
                "message": { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
                    { "id": "b", "type": "function", "function": { "name": "f", "arguments": "{}" },
                      "extra_content": { "google": { "thought_signature": "s" } } },
                ] } }] }),
        ],
        Dialect::Responses => vec![
            json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m",
                "output": [
                    { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e" },
                    { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                      "content": [{ "type": "output_text", "text": "42", "annotations": [] },
                                  { "type": "refusal", "refusal": "no" }] },
                    { "type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}",
                      "status": "completed" },
                ],
                "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } }),
            json!({ "id": "resp_1", "status": "incomplete", "output": [], "error": null,
                "incomplete_details": { "reason": "max_output_tokens" } }),
        ],
        Dialect::Messages => vec![
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "s" },
                    { "type": "redacted_thinking", "data": "x" },
                    { "type": "text", "text": "42", "citations": [{ "type": "char_location", "cited_text": "4" }] },
                    { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": [1, { "y": null }] } },
                    { "type": "tool_use", "id": "toolu_2", "name": "f", "input": {} },
                ],
                "stop_reason": "tool_use", "stop_sequence": null,
                "usage": { "input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1 } }),
        ],
    }
}

fn read_stream(dialect: Dialect, stream: &Bytes) -> Answer {
    let mut reader = SseReader::new(Reader::new(dialect, Wanted::ALL));
    reader.feed(stream);
    reader.finish()
}

#[test]
fn a_whole_answer_told_as_a_stream_and_gathered_again_is_the_same() {
    for dialect in Dialect::ALL {
        for whole in wholes(dialect) {
            let body = Bytes::from(whole.to_string());
            let stream = dialect.streamed(&body).expect("an answer");
            let again = dialect.gathered(&stream).expect("all of it");
            let again: Value = serde_json::from_slice(&again).expect("JSON");
            assert_eq!(again, whole, "{dialect:?}");
            let mut reader = Reader::new(dialect, Wanted::ALL);
            reader.whole(&body);
            let (known, told) = (reader.finish(), read_stream(dialect, &stream));
            assert_eq!((&told.text, told.usage), (&known.text, known.usage));
            assert_eq!(told.finish_reason, known.finish_reason);
            assert_eq!(told.has_tool_calls, known.has_tool_calls);
        }
    }
}

#[test]
fn what_is_no_answer_is_none_and_a_stream_that_broke_off_is_no_whole() {
    for dialect in Dialect::ALL {
        for other in ["", "<html>", "[]", "{}", "42"] {
            assert_eq!(dialect.streamed(&Bytes::from(other)), None, "{other}");
            assert_eq!(dialect.gathered(&Bytes::from(other)), None, "{other}");
        }
        let whole = wholes(dialect).swap_remove(0).to_string();
        let stream = dialect.streamed(&whole.into()).expect("an answer");
        let text = String::from_utf8(stream.to_vec()).expect("UTF-8");
        let cut = &text[..text.find("\n\n").expect("an event") + 2];
        assert_eq!(
            dialect.gathered(&Bytes::copy_from_slice(cut.as_bytes())),
            None
        );
    }
}

#[test]
fn a_message_that_is_one_text_is_told_as_a_block() {
    let whole = json!({ "id": "m", "type": "message", "content": "42", "stop_reason": "end_turn" });
    let stream = Dialect::Messages.streamed(&whole.to_string().into());
    let stream = stream.expect("an answer");
    assert_eq!(read_stream(Dialect::Messages, &stream).text, "42");
}

#[test]
fn an_error_is_told_as_one() {
    let error =
        json!({ "error": { "type": "overloaded_error", "message": "Later.", "code": null } });
    for dialect in Dialect::ALL {
        let stream = dialect
            .streamed(&error.to_string().into())
            .expect("an error");
        assert!(read_stream(dialect, &stream).has_error, "{dialect:?}");
        let again = dialect.gathered(&stream).expect("an error");
        let text = String::from_utf8(again.to_vec()).expect("UTF-8");
        assert!(text.contains("Later."), "{text}");
    }
}
