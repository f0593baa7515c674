use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::dialect::{Answer, Dialect, Reader, SseReader, Wanted};
use crate::wire::frame::sse::EVENT_LIMIT;

const STREAM: &str = concat!(
    "\u{feff}: ping\n\n",
    r#"data: {"id":"c-1","model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
    "\n\n",
    r#"data:{"id":"c-1","choices":[{"index":0,"delta":{"content":"今天 "},"finish_reason":null}],"usage":null}"#,
    "\n\n",
    "event: message\nid: 7\nretry: 10\ndata: {\"choices\":[{\"index\":1,\"delta\":\ndata: {\"content\":\"x\"}}]}\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"content":"🦀\n\"","tool_calls":[]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
    "\n\ndata: [DONE]\n\n",
);

fn watch<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> SseReader {
    let mut reader = reader(1000);
    for chunk in chunks {
        reader.feed(&Bytes::copy_from_slice(chunk));
    }
    reader
}

fn reader(text_limit: usize) -> SseReader {
    SseReader::new(Reader::new(Dialect::Chat, Wanted::Text(text_limit)))
}

#[test]
fn gathers_an_answer() {
    let answer = watch([STREAM.as_bytes()]).finish();
    assert_eq!(answer.text, "今天 🦀\n\"");
    assert_eq!(answer.id.as_deref(), Some("c-1"));
    assert_eq!(answer.model.as_deref(), Some("gpt-4o"));
    assert_eq!(answer.role.as_deref(), Some("assistant"));
    assert_eq!(answer.usage.and_then(|usage| usage.total_tokens), Some(5));
    assert_eq!(answer.content_events, 3);
    assert!(answer.is_complete() && !answer.has_tool_calls);
}

#[test]
fn a_cut_at_any_byte_and_any_line_end_changes_nothing() {
    let whole = watch([STREAM.as_bytes()]).finish();
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = STREAM.replace('\n', line_end).into_bytes();
        assert_eq!(watch(stream.chunks(1)).finish(), whole);
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(
                watch([first, second]).finish(),
                whole,
                "{line_end:?} at {cut}"
            );
        }
    }
}

#[test]
fn the_first_token_is_seen_when_it_comes() {
    let mut reader = reader(10);
    let mut feed = |bytes: &'static str| {
        reader.feed(&Bytes::from_static(bytes.as_bytes()));
        reader.answer().content_events
    };
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    assert_eq!(feed(role), 0);
    let thought = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n";
    assert_eq!(feed(thought), 0);
    assert_eq!(feed("\n"), 1);
    assert!(reader.answer().text.is_empty());
}

#[test]
fn an_event_without_its_last_line_ends_counts() {
    for end in ["", "\n", "\r", "\r\n"] {
        let stream = format!("data: {{\"choices\":[{{\"finish_reason\":\"stop\"}}]}}{end}");
        assert!(watch([stream.as_bytes()]).finish().is_complete(), "{end:?}");
    }
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    let end = STREAM.find("\"stop\"").expect("the end");
    for cut in 0..end {
        assert!(
            !watch([&STREAM.as_bytes()[..cut]]).finish().is_complete(),
            "{cut}"
        );
    }
}

#[test]
fn what_cannot_be_read_blinds_it_and_keeps_what_came_before() {
    let good = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end =
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n";
    let long_line = format!("data: {}\n\n", "x".repeat(EVENT_LIMIT));
    let line = format!("data: {}\n", "x".repeat(1024));
    let long_event = line.repeat(EVENT_LIMIT / 1024 + 1);
    let never_ends = "x".repeat(EVENT_LIMIT + 1);
    for bad in [
        "data: {\n\n",
        "data: \u{1}\n\n",
        &long_line,
        &long_event,
        &never_ends,
    ] {
        let answer = watch([good.as_bytes(), bad.as_bytes(), end.as_bytes()]).finish();
        assert!(answer.unreadable);
        assert_eq!(answer.text, "a");
        assert!(!answer.is_complete());
    }
}

#[test]
fn an_error_in_the_stream_is_seen() {
    let answer =
        watch([&b"event: error\ndata: {\"error\":{\"message\":\"busy\"}}\n\n"[..]]).finish();
    assert!(answer.has_error && !answer.unreadable);
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_are_watched_alike(
        lines in vec(select(vec![
            "data: {}", "data: [DONE]", "data", ":", "", "\n", "\r", "\r\n", "\n\n", "\u{feff}",
            "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}", "data: nonsense", "\0",
        ]), 0..30),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let stream = lines.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|two| &stream[two[0]..two[1]]);
        let pieces: Answer = watch(chunks).finish();
        prop_assert_eq!(pieces, watch([&stream[..]]).finish());
    }
}
