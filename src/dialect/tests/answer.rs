use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::dialect::{Answer, Dialect, Reader, Usage, Wanted};
use crate::wire::tests::generate::{array, object};

fn whole(json: &[u8], text_limit: usize) -> Answer {
    read(json, Wanted::Text(text_limit))
}

fn read(json: &[u8], wanted: Wanted) -> Answer {
    let mut reader = Reader::new(Dialect::Chat, wanted);
    reader.whole(json);
    reader.finish()
}

#[test]
fn reads_a_whole_answer() {
    let answer = whole(
        r#"{"id":"c-1","object":"chat.completion","model":"gpt-4o","choices":[
            {"index":1,"message":{"role":"assistant","content":"other"},"finish_reason":"length"},
            {"index":0,"message":{"role":"assistant","content":"noon \ud83d\udd5b","refusal":null,
             "annotations":[]},"logprobs":null,"finish_reason":"stop"}],
            "usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,
                     "prompt_tokens_details":{"cached_tokens":4}}}"#
            .as_bytes(),
        100,
    );
    let wanted = Answer {
        id: Some("c-1".to_owned()),
        model: Some("gpt-4o".to_owned()),
        role: Some("assistant".to_owned()),
        text: "noon 🕛".to_owned(),
        finish_reason: Some("stop".to_owned()),
        ended_by_itself: true,
        usage: Some(Usage {
            prompt_tokens: Some(9),
            completion_tokens: Some(2),
            total_tokens: Some(11),
            cached_tokens: Some(4),
        }),
        content_events: 1,
        ..Answer::default()
    };
    assert_eq!(answer, wanted);
    assert!(answer.is_complete());
}

#[test]
fn only_an_answer_that_ended_by_itself_is_complete() {
    let cases = [
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#,
            true,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"eos_token"}]}"#,
            true,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"STOP"}]}"#,
            true,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}"#,
            false,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"MAX_TOKENS"}]}"#,
            false,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"content_filter"}]}"#,
            false,
        ),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":""}]}"#,
            false,
        ),
        (r#"{"choices":[{"message":{"content":"a"}}]}"#, false),
        (
            r#"{"choices":[{"message":{"content":7},"finish_reason":"stop"}]}"#,
            false,
        ),
        (
            r#"{"error":"busy","choices":[{"finish_reason":"stop"}]}"#,
            false,
        ),
        (
            r#"{"object":"error","choices":[{"finish_reason":"stop"}]}"#,
            false,
        ),
        (r#"{"choices":null}"#, false),
        (
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]"#,
            false,
        ),
    ];
    for (json, complete) in cases {
        assert_eq!(whole(json.as_bytes(), 10).is_complete(), complete, "{json}");
    }
}

#[test]
fn tells_tool_calls_errors_and_refusals() {
    let calls = |json: &str| whole(json.as_bytes(), 10).has_tool_calls;
    assert!(calls(
        r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1"}]}}]}"#
    ));
    assert!(calls(
        r#"{"choices":[{"message":{"function_call":{"name":"f"}}}]}"#
    ));
    assert!(!calls(
        r#"{"choices":[{"message":{"tool_calls":[],"function_call":null}}]}"#
    ));
    assert!(whole(br#"{"error":{"message":"busy"}}"#, 10).has_error);
    assert!(!whole(br#"{"error":null}"#, 10).has_error);
    let refusal = whole(br#"{"choices":[{"message":{"refusal":"no"}}]}"#, 10);
    assert_eq!(
        (refusal.refusal.as_str(), refusal.content_events),
        ("no", 1)
    );
}

#[test]
fn keeps_whole_characters_within_the_limit() {
    let json = r#"{"choices":[{"message":{"content":"今天"},"finish_reason":"stop"}]}"#;
    for (limit, text) in [(0, ""), (2, ""), (3, "今"), (5, "今"), (6, "今天")] {
        let answer = whole(json.as_bytes(), limit);
        assert_eq!(
            (answer.text.as_str(), answer.truncated),
            (text, limit < 6),
            "{limit}"
        );
        assert_eq!(answer.content_events, 1);
    }
}

#[test]
fn reads_content_in_parts_and_other_names_for_cached_tokens() {
    let answer = whole(
        br#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[]},
            {"type":"text","text":"a"},{"type":"text","text":"b"}]}}],
            "usage":{"prompt_tokens":1,"prompt_cache_hit_tokens":1}}"#,
        10,
    );
    assert_eq!(answer.text, "ab");
    assert_eq!(answer.usage.and_then(|usage| usage.cached_tokens), Some(1));
    let odd = whole(br#"{"choices":[],"usage":{"prompt_tokens":-1.5}}"#, 10);
    assert!(odd.usage.is_none() && !odd.unreadable);
}

const USAGE: &str = r#"{"prompt_tokens":7,"completion_tokens":2,"details":{"a":[1]}}"#;

#[test]
fn what_it_cost_is_found_at_its_end_without_the_rest() {
    for rest in ["", r#","service_tier":"default","x":{"y":["z"]}"#, " "] {
        // What stands before it is not even JSON.
        let json = format!(r#"{{"choices":[nonsense], "usage" : {USAGE}{rest}}} "#);
        let answer = read(json.as_bytes(), Wanted::Usage);
        assert_eq!(answer.usage.and_then(|usage| usage.prompt_tokens), Some(7));
    }
}

#[test]
fn what_only_looks_like_the_cost_is_not_taken_for_it() {
    let usage = |json: String| read(json.as_bytes(), Wanted::Usage).usage;
    for other in [
        format!(r#"{{"choices":[{{"usage":{USAGE}}}]}}"#),
        format!(r#"{{"x":{{"y":1,"usage":{USAGE}}}}}"#),
        r#"{"choices":[],"kind":"usage"}"#.to_owned(),
        r#"{"a\"usage":{"prompt_tokens":1}}"#.to_owned(),
        r#"{"a":",\"usage\":{}"}"#.to_owned(),
        r#"{"usage":"none"}"#.to_owned(),
    ] {
        assert_eq!(usage(other.clone()), None, "{other}");
    }
    let both = format!(r#"{{"usage":{USAGE},"x":{{"usage":{{"prompt_tokens":1}}}}}}"#);
    assert_eq!(usage(both).unwrap().prompt_tokens, Some(7));
    let far = format!(r#"{{"usage":{USAGE},"text":"{}"}}"#, "a".repeat(9999));
    assert_eq!(usage(far).unwrap().prompt_tokens, Some(7));
}

/// An object full of what could be taken for the answer's cost.
fn misleading() -> impl Strategy<Value = String> {
    let keys = || select(vec![r#""usage""#, r#""\"usage""#, r#""a""#]).prop_map(str::to_owned);
    let leaf = select(vec![USAGE, r#""usage""#, r#"",\"usage\":""#, "null", "{}"]);
    let value = leaf
        .prop_map(str::to_owned)
        .prop_recursive(3, 12, 3, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_flat_map(array),
                vec((keys(), inner), 0..3).prop_flat_map(object),
            ]
        });
    vec((keys(), value), 0..4).prop_flat_map(object)
}

proptest! {
    #[test]
    fn the_cost_is_the_same_whether_or_not_the_rest_is_read(json in misleading()) {
        let all = whole(json.as_bytes(), 0);
        prop_assume!(!all.unreadable);
        prop_assert_eq!(read(json.as_bytes(), Wanted::Usage).usage, all.usage, "{}", json);
    }
}
