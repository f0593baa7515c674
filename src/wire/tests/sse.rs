use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::wire::frame::Event;
use crate::wire::frame::sse::{Frame, Next, Splitter, framed};

fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
    let mut splitter = Splitter::default();
    let mut found = Vec::new();
    for chunk in chunks {
        let mut rest = Bytes::copy_from_slice(chunk);
        loop {
            match splitter.next(&mut rest) {
                Next::Frame(frame) => found.push(frame),
                Next::More => break,
                Next::TooLarge(_) => panic!("it is not that large"),
            }
        }
    }
    found.extend(splitter.rest());
    found
}

fn data(chunks: &[&[u8]]) -> Vec<String> {
    let data = frames(chunks).into_iter().map(|frame| frame.data());
    let data = data.filter(|data| !data.is_empty());
    data.map(|data| String::from_utf8_lossy(&data).into_owned())
        .collect()
}

#[test]
fn splits_events_as_the_standard_says() {
    assert_eq!(data(&[b"data: a\ndata:b\ndata:  c\n\n"]), ["a\nb\n c"]);
    assert_eq!(data(&[b"data\n\ndata:\n\n"]), [""; 0]);
    assert_eq!(
        data(&[b"data: a\r", b"\n\r", b"\n", b"data: b\r\r"]),
        ["a", "b"]
    );
    assert_eq!(data(&[b":data: a\ndatas: b\nevent: c\n\n"]), [""; 0]);
    assert_eq!(data(&[b"data: unfinished\n"]), ["unfinished"]);
    assert_eq!(
        data(&["\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes()]),
        ["a"]
    );
    assert_eq!(data(&["\u{feff}".as_bytes(), b"\ndata: a\n\n"]), ["a"]);
}

#[test]
fn events_without_blank_lines_between_them_are_events() {
    for line in ["\n", "\r\n", "\r"] {
        for text in [
            "data: {\"a\":1}~data: {\"b\":2}~data: [DONE]~",
            "event: x~data: {\"a\":1}~event: y~data: {\"b\":2}~data: [DONE]~~",
            ": hi~data: {\"a\":1}~~data: {\"b\":2}~data: [DONE]~~",
            "data: data: {\"a\":1}~data:data:{\"b\":2}~~data: data: [DONE]~~",
        ] {
            let bytes = text.replace('~', line).into_bytes();
            let wanted = ["{\"a\":1}", "{\"b\":2}", "[DONE]"];
            assert_eq!(data(&[&bytes]), wanted, "{text}");
            let singly: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(data(&singly), wanted, "{text}");
            let raw: Vec<_> = frames(&singly).iter().map(|it| it.raw().to_vec()).collect();
            assert_eq!(raw.concat(), bytes);
        }
    }
    // One object over several lines is one event, and so is what is no object.
    for text in [
        "data: {\ndata: \"a\":{}\ndata: }\n\n",
        "data: a}\ndata: b\n\n",
    ] {
        assert_eq!(data(&[text.as_bytes()]).len(), 1, "{text}");
    }
    let mut splitter = Splitter::default();
    let mut chunk = Bytes::from("data: {}\ndata: {}\n");
    assert!(matches!(splitter.next(&mut chunk), Next::Frame(_)));
    assert!(matches!(splitter.next(&mut chunk), Next::More));
}

#[test]
fn an_event_is_there_as_soon_as_its_blank_line_is() {
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        let mut splitter = Splitter::default();
        let mut chunk = Bytes::from(format!("data: a{end}"));
        assert!(
            matches!(splitter.next(&mut chunk), Next::Frame(_)),
            "{end:?}"
        );
    }
}

#[test]
fn what_is_too_large_comes_back_as_it_came() {
    const LIMIT: usize = 1 << 12;
    let large = format!("event: x\ndata: {}\ndata: x", "x".repeat(2 * LIMIT));
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        let stream = format!("data: a\n\n{large}{end}data: b\n\ndata: c\n\n");
        for size in [stream.len(), LIMIT, 7, 1] {
            let mut splitter = Splitter::with_limit(LIMIT);
            let (mut all, mut small) = (Vec::new(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                loop {
                    match splitter.next(&mut chunk) {
                        Next::More => break,
                        Next::TooLarge(raw) => all.extend_from_slice(&raw),
                        Next::Frame(frame) => {
                            all.extend_from_slice(frame.raw());
                            small.extend(Some(frame.data()).filter(|data| !data.is_empty()));
                        }
                    }
                }
            }
            assert!(all == stream.as_bytes(), "{end:?} by {size}");
            assert_eq!(small, ["a", "b", "c"], "{end:?} by {size}");
            assert_eq!(splitter.rest(), None);
        }
    }
}

#[test]
fn a_large_event_is_not_searched_anew_with_each_chunk() {
    let (mut splitter, mut events) = (Splitter::default(), Vec::new());
    let line = format!("data: {}\n", "x".repeat(100));
    let stream = format!("{}\ndata: {{}}\ndata: {{}}\n\n", line.repeat(50_000));
    for chunk in stream.as_bytes().chunks(64) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Next::Frame(frame) = splitter.next(&mut chunk) {
            events.push(frame.raw().len());
        }
    }
    assert_eq!(
        events,
        [
            line.len() * 50_000 + 1,
            "data: {}\n".len(),
            "data: {}\n\n".len()
        ]
    );
}

#[test]
fn other_data_leaves_the_rest_of_a_frame_as_it_is() {
    for (frame, wanted) in [
        ("data: old\n\n", "data: new\n\n"),
        ("data:old\r\n\r\n", "data:new\r\n\r\n"),
        (
            "event: x\nid: 7\ndata: o\n: c\ndata: ld\nretry: 1\n\n",
            "event: x\nid: 7\ndata: new\n: c\nretry: 1\n\n",
        ),
        ("data: old", "data: new\n\n"),
        ("event: x\ndata: old\n", "event: x\ndata: new\n"),
        ("\u{feff}data: old\n\n", "data: new\n\n"),
    ] {
        let found = frames(&[frame.as_bytes()]);
        assert_eq!(found.len(), 1, "{frame:?}");
        assert_eq!(found[0].with_data(b"new"), wanted, "{frame:?}");
    }
    let frame = &frames(&[b"data: old\n\n"])[0];
    assert_eq!(frame.with_data(b"{\n}"), "data: {\ndata: }\n\n");
}

#[test]
fn an_event_of_ones_own_is_a_frame() {
    assert_eq!(framed(&Event::of("[DONE]")), "data: [DONE]\n\n");
    let named = Event::named("error", "{\n}");
    assert_eq!(framed(&named), "event: error\ndata: {\ndata: }\n\n");
}

proptest! {
    #[test]
    fn frames_are_the_same_wherever_the_stream_is_cut(
        lines in vec(select(vec![
            "data: a", "data", ":", "", "\n", "\r", "\r\n", "\n\n", "\u{feff}", "event: b", "\0",
        ]), 0..30),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let stream = lines.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|two| &stream[two[0]..two[1]]).collect();
        let found = frames(&chunks);
        let whole: Vec<_> = found.iter().map(|frame| &frame.raw()[..]).collect();
        prop_assert_eq!(whole.concat(), stream.clone());
        prop_assert_eq!(data(&chunks), data(&[&stream]));
    }
}
