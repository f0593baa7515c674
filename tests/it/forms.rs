//! Answers whose header does not say what they are: events sent as JSON or as nothing at all, one whole
//! text sent as events, legs of one answer in different forms.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::{STREAM, answer};
use crate::support::{Proxy, Setup, Upstream, eventually, gate, post};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const ALL: [&str; 3] = [CHAT, RESPONSES, MESSAGES];

const ARGUMENTS: &str = r#"{"operation":"multiply","a":6,"b":7}"#;
const EVENTS: &str = "Content-Type: text/event-stream";
const JSON: &str = "Content-Type: application/json";
/// What a header may say of a body, right or wrong.
const LABELS: [&[&str]; 4] = [
    &[EVENTS],
    &[JSON],
    &["Content-Type: text/plain; charset=utf-8"],
    &[],
];

/// The model asks for the calculator, or says this.
#[derive(Clone, Copy)]
enum Leg {
    Call,
    Says(&'static str),
}

use Leg::{Call, Says};

/// A whole answer, in the API of a path.
fn whole(path: &str, leg: Leg) -> String {
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let usage_there = json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 });
    match (path, leg) {
        (RESPONSES, leg) => {
            let item = match leg {
                Call => json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1",
                    "name": "calculator", "arguments": ARGUMENTS, "status": "completed" }),
                Says(text) => json!({ "type": "message", "id": "msg_1", "role": "assistant",
                    "status": "completed", "content": [{ "type": "output_text", "text": text }] }),
            };
            json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m",
                "output": [item], "usage": usage_there })
        }
        (MESSAGES, leg) => {
            let (block, reason) = match leg {
                Call => {
                    let input: Value = serde_json::from_str(ARGUMENTS).expect("JSON");
                    let block = json!({ "type": "tool_use", "id": "toolu_1", "name": "calculator",
                        "input": input });
                    (block, "tool_use")
                }
                Says(text) => (json!({ "type": "text", "text": text }), "end_turn"),
            };
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": [block], "stop_reason": reason, "stop_sequence": null,
                "usage": { "input_tokens": 3, "output_tokens": 2 } })
        }
        (_, leg) => {
            let (message, reason) = match leg {
                Call => {
                    let call = json!({ "id": "call_1", "type": "function",
                        "function": { "name": "calculator", "arguments": ARGUMENTS } });
                    let message =
                        json!({ "role": "assistant", "content": null, "tool_calls": [call] });
                    (message, "tool_calls")
                }
                Says(text) => (json!({ "role": "assistant", "content": text }), "stop"),
            };
            json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{ "index": 0, "message": message, "finish_reason": reason }],
                "usage": usage })
        }
    }
    .to_string()
}

/// The same as events.
fn streamed(path: &str, leg: Leg) -> String {
    let whole: Value = serde_json::from_str(&whole(path, leg)).expect("JSON");
    let events = match path {
        RESPONSES => {
            let item = &whole["output"][0];
            let mut begun = whole.clone();
            (begun["output"], begun["status"]) = (json!([]), "in_progress".into());
            vec![
                json!({ "type": "response.created", "sequence_number": 0, "response": begun }),
                json!({ "type": "response.output_item.added", "sequence_number": 1,
                    "output_index": 0, "item": item }),
                json!({ "type": "response.output_item.done", "sequence_number": 2,
                    "output_index": 0, "item": item }),
                json!({ "type": "response.completed", "sequence_number": 3, "response": whole }),
            ]
        }
        MESSAGES => {
            let mut block = whole["content"][0].clone();
            let delta = match leg {
                Call => {
                    block["input"] = json!({});
                    json!({ "type": "input_json_delta", "partial_json": ARGUMENTS })
                }
                Says(text) => {
                    block["text"] = "".into();
                    json!({ "type": "text_delta", "text": text })
                }
            };
            let mut begun = whole.clone();
            (begun["content"], begun["stop_reason"]) = (json!([]), Value::Null);
            let end = json!({ "stop_reason": whole["stop_reason"], "stop_sequence": null });
            vec![
                json!({ "type": "message_start", "message": begun }),
                json!({ "type": "content_block_start", "index": 0, "content_block": block }),
                json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({ "type": "message_delta", "delta": end, "usage": whole["usage"] }),
                json!({ "type": "message_stop" }),
            ]
        }
        _ => {
            let choice = &whole["choices"][0];
            let mut delta = choice["message"].clone();
            if let Call = leg {
                delta["tool_calls"][0]["index"] = 0.into();
            }
            let chunk = |delta: Value, reason: Value| {
                json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                    "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
            };
            vec![
                chunk(delta, Value::Null),
                chunk(json!({}), choice["finish_reason"].clone()),
            ]
        }
    };
    let frames = events.iter().map(|event| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    });
    let done = if path == CHAT { "data: [DONE]\n\n" } else { "" };
    frames.chain([done.to_owned()]).collect()
}

fn asked(path: &str, text: &str, is_stream: bool) -> String {
    let message = json!([{ "role": "user", "content": text }]);
    match path {
        RESPONSES => json!({ "model": "m", "stream": is_stream, "input": text }),
        _ => json!({ "model": "m", "stream": is_stream, "max_tokens": 9, "messages": message }),
    }
    .to_string()
}

/// An upstream that answers with each of these in turn.
fn upstream(legs: Vec<Vec<u8>>) -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(&legs[asked.fetch_add(1, Ordering::Relaxed)]);
        }
    })
}

fn gateway(upstream: &Upstream) -> Proxy {
    Setup::new().upstream(upstream, "").calculator().start()
}

fn ask(proxy: &Proxy, path: &str, is_stream: bool) -> crate::support::client::Response {
    proxy.exchange(post(path, &[JSON], asked(path, "6*7?", is_stream)))
}

/// What an answer says, in whatever form it is; panics where that is no well-formed answer.
fn says(path: &str, is_stream: bool, text: &str) -> String {
    let value = |data: &str| serde_json::from_str::<Value>(data).expect("JSON");
    if !is_stream {
        let whole = value(text);
        let said = match path {
            RESPONSES => &whole["output"][0]["content"][0]["text"],
            MESSAGES => &whole["content"][0]["text"],
            _ => &whole["choices"][0]["message"]["content"],
        };
        return said.as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<_> = data.filter(|data| *data != "[DONE]").map(value).collect();
    let last = events.last().expect("an event");
    match path {
        RESPONSES => {
            for (number, event) in events.iter().enumerate() {
                assert_eq!(event["sequence_number"], number, "{text}");
            }
            let whole = &last["response"];
            let said = &whole["output"][0]["content"][0]["text"];
            said.as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
        }
        MESSAGES => {
            assert_eq!(last["type"], "message_stop", "{text}");
            let deltas = events.iter().map(|event| &event["delta"]["text"]);
            deltas.filter_map(Value::as_str).collect()
        }
        _ => {
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
            let ends = |event: &&Value| event["choices"][0]["finish_reason"] == "stop";
            assert_eq!(events.iter().filter(ends).count(), 1, "{text}");
            let deltas = events.iter();
            let deltas = deltas.map(|event| &event["choices"][0]["delta"]["content"]);
            deltas.filter_map(Value::as_str).collect()
        }
    }
}

/// Each leg's body in each form, marks and white space before some of them.
fn bodies(path: &str, leg: Leg) -> [(bool, String); 6] {
    let (whole, streamed) = (whole(path, leg), streamed(path, leg));
    [
        (false, format!("\u{feff}{whole}")),
        (false, format!("\n\n \t{whole}")),
        (true, format!("\u{feff}{streamed}")),
        (true, format!(": PROCESSING\n\n{streamed}")),
        (false, whole),
        (true, streamed),
    ]
}

#[test]
fn an_answer_without_a_call_is_the_upstreams_to_the_byte_whatever_its_header_says() {
    for path in ALL {
        let mut cases = Vec::new();
        for (_, body) in bodies(path, Says("42.")) {
            for label in LABELS {
                cases.extend([true, false].map(|is_stream| (label, body.clone(), is_stream)));
            }
        }
        let legs = cases.iter();
        let legs = legs.map(|(label, body, _)| answer("200 OK", label, body));
        let upstream = upstream(legs.collect());
        let proxy = gateway(&upstream);
        for (label, body, is_stream) in cases {
            let told = ask(&proxy, path, is_stream);
            assert_eq!(told.text(), body, "{path} {label:?}");
            let kind = told.head.get("content-type").unwrap_or_default();
            let sent = label.first().map_or("", |label| &label[14..]);
            assert_eq!(kind, sent, "{path} {label:?}");
        }
    }
}

#[test]
fn a_call_is_run_whatever_the_header_of_a_leg_says() {
    for path in ALL {
        let mut cases = Vec::new();
        for first in bodies(path, Call) {
            for label in LABELS {
                for (_, last) in &bodies(path, Says("42."))[4..] {
                    let case = (first.clone(), label, last.clone());
                    cases.extend([true, false].map(|is_stream| (case.clone(), is_stream)));
                }
            }
        }
        let legs = cases.iter().flat_map(|(((_, first), label, last), _)| {
            let legs = [(*label, first), (LABELS[1], last)];
            legs.map(|(label, body)| answer("200 OK", label, body))
        });
        let upstream = upstream(legs.collect());
        let proxy = gateway(&upstream);
        for (at, (((begins_streamed, first), label, last), is_stream)) in cases.iter().enumerate() {
            let told = ask(&proxy, path, *is_stream);
            let text = told.text();
            let case = format!("{path} {is_stream} {label:?}\n{first}\n{last}\n{text}");
            assert!(!text.contains("calculator"), "{case}");
            // A stream that has begun stays one; else it is as it was asked for.
            let is_streamed = *begins_streamed || *is_stream;
            assert_eq!(says(path, is_streamed, &text), "42.", "{case}");
            if !begins_streamed {
                let kind = told.head.get("content-type").unwrap_or_default();
                let is_events = kind.starts_with("text/event-stream");
                assert_eq!(is_events, *is_stream, "{case}");
            }
            let second = upstream.requests()[2 * at + 1].text();
            assert!(second.contains(r#"{\"result\":42}"#), "{case}\n{second}");
        }
    }
}

/// A body in a coding that nobody asked for.
fn coded(coding: &str, body: &str) -> Vec<u8> {
    let level = Compression::default();
    let mut bytes = Vec::new();
    let read = match coding {
        "deflate" => ZlibEncoder::new(body.as_bytes(), level).read_to_end(&mut bytes),
        "raw" => DeflateEncoder::new(body.as_bytes(), level).read_to_end(&mut bytes),
        "br" => {
            let parameters = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut body.as_bytes(), &mut bytes, &parameters)
        }
        "zstd" => zstd::stream::copy_encode(body.as_bytes(), &mut bytes, 3).map(|()| 0),
        _ => GzEncoder::new(body.as_bytes(), level).read_to_end(&mut bytes),
    };
    read.expect("it is in memory");
    let coding = coding.replace("raw", "deflate");
    let length = bytes.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.into_bytes(), bytes].concat()
}

#[test]
fn a_call_in_a_coding_that_nobody_asked_for_is_run() {
    for (at, coding) in ["gzip", "x-gzip", "deflate", "raw", "GZIP", "br", "zstd"]
        .iter()
        .enumerate()
    {
        let path = ALL[at % 3];
        for is_stream in [true, false] {
            let body = |leg| match is_stream {
                true => streamed(path, leg),
                false => whole(path, leg),
            };
            let legs = [Call, Says("42.")].map(|leg| coded(coding, &body(leg)));
            let upstream = upstream(legs.into());
            let told = ask(&gateway(&upstream), path, is_stream);
            assert_eq!(says(path, is_stream, &told.text()), "42.", "{coding}");
            assert_eq!(told.head.get("content-encoding"), None);
        }
    }
    // What is none is none.
    for coding in ["", "none", "utf-8", "identity"] {
        let field = format!("Content-Encoding: {coding}");
        let legs = [Call, Says("42.")];
        let legs = legs.map(|leg| answer("200 OK", &[&field], &whole(CHAT, leg)));
        let upstream = upstream(legs.into());
        let told = ask(&gateway(&upstream), CHAT, false);
        assert_eq!(says(CHAT, false, &told.text()), "42.", "{coding}");
    }
}

#[test]
fn a_call_in_an_answer_of_megabytes_is_run() {
    let long = "x".repeat(3 << 20);
    for path in ALL {
        for is_stream in [true, false] {
            let first = match is_stream {
                true => streamed(path, Call),
                false => whole(path, Call),
            };
            // An event of its own, or a member of the whole.
            let first = match (path, is_stream) {
                (_, false) => first.replacen('{', &format!("{{\"x\":\"{long}{long}\","), 1),
                (MESSAGES, true) => {
                    format!("data: {{\"type\":\"ping\",\"x\":\"{long}\"}}\n\n{first}")
                }
                (RESPONSES, true) => first.replacen(
                    "\"response\":{",
                    &format!("\"response\":{{\"x\":\"{long}\","),
                    1,
                ),
                _ => format!("data: {{\"choices\":[],\"x\":\"{long}\"}}\n\n{first}"),
            };
            assert!(first.len() > long.len());
            let last = whole(path, Says("42."));
            let legs = [
                (&first, if is_stream { EVENTS } else { JSON }),
                (&last, JSON),
            ];
            let legs = legs.map(|(body, label)| answer("200 OK", &[label], body));
            let upstream = upstream(legs.into());
            let text = ask(&gateway(&upstream), path, is_stream).text();
            assert_eq!(upstream.requests().len(), 2, "{path} {is_stream}");
            assert!(!text.contains("calculator"), "{path} {is_stream}");
        }
    }
}

#[test]
fn a_call_in_another_apis_words_is_an_error_and_shown_to_nobody() {
    for path in ALL {
        for other in ALL.into_iter().filter(|other| *other != path) {
            for (body, is_stream) in [(streamed(other, Call), true), (whole(other, Call), false)] {
                let upstream = upstream(vec![answer("200 OK", &[JSON], &body)]);
                let text = ask(&gateway(&upstream), path, is_stream).text();
                assert!(!text.contains("calculator"), "{path} {other}: {text}");
                assert!(text.contains("cannot be read"), "{path} {other}: {text}");
                // Without one it is the upstream's to the byte.
                let body = match is_stream {
                    true => streamed(other, Says("42.")),
                    false => whole(other, Says("42.")),
                };
                let upstream = self::upstream(vec![answer("200 OK", &[JSON], &body)]);
                let text = ask(&gateway(&upstream), path, is_stream).text();
                assert_eq!(text, body, "{path} {other}");
            }
        }
    }
}

#[test]
fn what_is_said_to_be_coded_and_is_not_is_read_all_the_same() {
    for coding in ["gzip", "zstd", "br"] {
        let fields = [JSON, &format!("Content-Encoding: {coding}")];
        let legs = [Call, Says("42.")].map(|leg| answer("200 OK", &fields, &whole(CHAT, leg)));
        let told = ask(&gateway(&upstream(legs.into())), CHAT, false);
        assert_eq!(says(CHAT, false, &told.text()), "42.", "{coding}");
        assert_eq!(told.head.get("content-encoding"), None);
    }
}

#[test]
fn an_answer_without_a_body_has_no_length_either() {
    let upstream = upstream(vec![b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()]);
    let told = ask(&gateway(&upstream), CHAT, false);
    assert_eq!(told.status(), 204);
    assert_eq!(told.head.get("content-length"), None);
}

#[test]
fn several_objects_in_place_of_one_are_read() {
    let data = |leg| {
        let events = streamed(CHAT, leg);
        let data = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: {"));
        data.map(|data| format!("{{{data}")).collect::<Vec<_>>()
    };
    let call = whole(CHAT, Call);
    for first in [
        data(Call).join("\n"),
        format!("[{}]", data(Call).join(",")),
        format!("[{call}]"),
        format!("{call}\n<!-- served by -->"),
        format!("{call}\0"),
    ] {
        for last in [data(Says("42.")).join("\n"), whole(CHAT, Says("42."))] {
            for is_stream in [true, false] {
                let legs = [&first, &last].map(|body| answer("200 OK", &[JSON], body));
                let upstream = upstream(legs.into());
                let text = ask(&gateway(&upstream), CHAT, is_stream).text();
                assert!(!text.contains("calculator"), "{first}\n{text}");
                assert!(text.contains("42."), "{first}\n{last}\n{text}");
                assert_eq!(upstream.requests().len(), 2, "{first}");
            }
        }
        // Without a call they are the upstream's bytes.
        let plain = first.replace("calculator", "their_tool");
        let upstream = upstream(vec![answer("200 OK", &[JSON], &plain)]);
        assert_eq!(ask(&gateway(&upstream), CHAT, true).text(), plain);
    }
}

#[test]
fn what_cannot_be_read_and_may_be_a_call_goes_to_nobody() {
    for path in ALL {
        for (body, is_stream) in [(streamed(path, Call), true), (whole(path, Call), false)] {
            // As Python writes it, and no other reader takes it.
            let body = match path {
                CHAT => body.replacen("\"index\":0", "\"index\":0,\"logprob\":-Infinity", 1),
                RESPONSES => body.replace("\"id\":\"fc_1\"", "\"id\":\"fc_1\",\"logprob\":NaN"),
                _ => body.replace("\"id\":\"toolu_1\"", "\"id\":\"toolu_1\",\"logprob\":NaN"),
            };
            let upstream = upstream(vec![answer("200 OK", &[JSON], &body)]);
            let text = ask(&gateway(&upstream), path, is_stream).text();
            assert!(!text.contains("calculator"), "{path} {body}\n{text}");
            assert!(text.contains("cannot be read"), "{path} {body}\n{text}");
        }
    }
}

#[test]
fn what_is_said_in_an_answer_of_another_form_is_kept() {
    for (path, label, body) in [
        (
            CHAT,
            JSON,
            streamed(CHAT, Says("A fine name for a cat, Pixel.")),
        ),
        (
            CHAT,
            EVENTS,
            whole(CHAT, Says("A fine name for a cat, Pixel.")),
        ),
        (
            MESSAGES,
            "X-Nothing: 1",
            streamed(MESSAGES, Says("A fine name for a cat, Pixel.")),
        ),
        (
            RESPONSES,
            JSON,
            streamed(RESPONSES, Says("A fine name for a cat, Pixel.")),
        ),
    ] {
        let upstream = upstream(vec![answer("200 OK", &[label], &body)]);
        let proxy = Setup::new().upstream(&upstream, "").start();
        let fields = [JSON, "X-YYChat-User-Id: ann"];
        let fact = "My cat is called Pixel.";
        proxy.exchange(post(path, &fields, asked(path, fact, true)));
        let kept = eventually("both are kept", || {
            let listed = proxy.exchange(get("/v1/memories?user_id=ann", &[]));
            let listed: Value = serde_json::from_slice(&listed.body).expect("JSON");
            let records = listed["data"].as_array().expect("records").clone();
            (records.len() == 2).then_some(records)
        });
        let mut texts = kept.iter().filter_map(|record| record["text"].as_str());
        assert!(texts.any(|text| text.starts_with("A fine name")), "{path}");
    }
}

#[test]
fn an_event_goes_on_before_the_next_one_is_there_whatever_the_header_says() {
    for label in ["application/json", "text/event-stream", "text/plain"] {
        let (opener, gate) = gate();
        let events = streamed(CHAT, Says("42."));
        let (first, rest) = events.split_at(events.find("\n\n").expect("an event") + 2);
        let (first, rest) = (first.to_owned(), rest.to_owned());
        let sent = first.clone();
        let upstream = Upstream::start(move |visit| {
            while visit.request().is_some() {
                visit.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {label}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ));
                visit.chunk(&sent);
                gate.pass();
                visit.chunk(&rest);
                visit.last_chunk();
            }
        });
        let proxy = gateway(&upstream);
        let mut client = proxy.client();
        client.send(post(CHAT, &[JSON], asked(CHAT, "6*7?", true)));
        client.head();
        assert_eq!(client.chunk(), Some(first.into_bytes()), "{label}");
        opener.open();
        while client.chunk().is_some() {}
    }
}

#[test]
fn a_leg_that_is_no_answer_ends_in_an_error_and_shows_no_call() {
    for (last, label) in [
        ("<html>Bad gateway</html>", "Content-Type: text/html"),
        ("", JSON),
    ] {
        for path in ALL {
            for body in [streamed(path, Call), whole(path, Call)] {
                let legs = [(&body[..], EVENTS), (last, label)];
                let legs = legs.map(|(body, label)| answer("200 OK", &[label], body));
                let upstream = upstream(legs.into());
                let text = ask(&gateway(&upstream), path, true).text();
                assert!(!text.contains("calculator"), "{text}");
                assert!(text.contains("is no whole answer of"), "{path}: {text}");
            }
        }
    }
}

#[test]
fn a_header_that_has_gone_out_before_the_first_byte_may_be_wrong() {
    let begun = |body: String| {
        let head = String::from_utf8(STREAM.to_vec()).expect("UTF-8");
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
    };
    for path in ALL {
        for is_stream in [true, false] {
            let legs = [Call, Says("42.")].map(|leg| begun(whole(path, leg)));
            let upstream = upstream(legs.into());
            let text = ask(&gateway(&upstream), path, is_stream).text();
            assert_eq!(says(path, is_stream, &text), "42.", "{text}");
        }
    }
}

#[test]
fn a_refusal_to_go_on_keeps_its_type_its_code_and_when_to_ask_again() {
    for (path, status, error, kind) in [
        (
            CHAT,
            "429 Too Many Requests",
            json!({ "type": "tokens", "code": "rate_limit_exceeded", "message": "Slower." }),
            ["\"type\":\"tokens\"", "\"code\":\"rate_limit_exceeded\""],
        ),
        (
            CHAT,
            "503 Service Unavailable",
            json!({ "message": "Slower." }),
            ["\"type\":\"server_error\"", "\"code\":\"upstream_error\""],
        ),
        (
            RESPONSES,
            "429 Too Many Requests",
            json!({ "type": "requests", "message": "Slower." }),
            ["event: response.failed", "\"code\":\"rate_limit_exceeded\""],
        ),
        (
            MESSAGES,
            "529 Overloaded",
            json!({ "type": "overloaded_error", "message": "Slower." }),
            ["event: error", "\"type\":\"overloaded_error\""],
        ),
        (
            MESSAGES,
            "429 Too Many Requests",
            json!({ "message": "Slower." }),
            ["event: error", "\"type\":\"rate_limit_error\""],
        ),
    ] {
        let body = json!({ "type": "error", "error": error }).to_string();
        let refused = answer(status, &[JSON, "Retry-After: 7"], &body);
        for is_stream in [true, false] {
            let first = match is_stream {
                true => streamed(path, Call),
                false => whole(path, Call),
            };
            let legs = vec![answer("200 OK", &[JSON], &first), refused.clone()];
            let upstream = upstream(legs);
            let told = ask(&gateway(&upstream), path, is_stream);
            let text = told.text();
            if !is_stream {
                assert_eq!(text, body, "{path}");
                assert_eq!(told.head.get("retry-after"), Some("7"), "{path}");
                assert_eq!(told.status().to_string(), status[..3], "{path}");
                continue;
            }
            assert!(text.contains("Slower. Try again in 7 s."), "{text}");
            assert!(kind.iter().all(|kind| text.contains(kind)), "{text}");
        }
    }
}

#[test]
fn lines_of_json_go_on_as_they_come_and_stay_lines() {
    let lines = |leg| {
        let events = streamed(CHAT, leg);
        let data = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let objects = data.filter(|data| data.starts_with('{'));
        objects.map(|data| format!("{data}\n")).collect::<Vec<_>>()
    };
    // Each line is there before the next one is.
    let (opener, gate) = gate();
    let sent = lines(Says("42."));
    let expected = sent.concat();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
            visit.chunk(format!("{}{{", sent[0]));
            gate.pass();
            visit.chunk(&sent[1][1..]);
            visit.last_chunk();
        }
    });
    let proxy = gateway(&upstream);
    let mut client = proxy.client();
    client.send(post(CHAT, &[JSON], asked(CHAT, "6*7?", true)));
    assert_eq!(
        client.head().get("content-type"),
        Some("application/x-ndjson")
    );
    let first = expected.find('\n').expect("a line") + 1;
    assert_eq!(client.chunks(first), &expected.as_bytes()[..first]);
    opener.open();
    assert_eq!(
        client.chunks(expected.len() - first),
        &expected.as_bytes()[first..]
    );
    assert_eq!(client.chunk(), None);
    // With a call the answer is of lines too, whatever the next leg is of.
    let says = lines(Says("42."));
    for last in [
        says.concat(),
        streamed(CHAT, Says("42.")),
        whole(CHAT, Says("42.")),
    ] {
        let first = format!(
            "{}\n{}",
            says[0].replace("42.", "Hm: "),
            lines(Call).concat()
        );
        let legs = [first, last].map(|body| answer("200 OK", &[JSON], &body));
        let upstream = self::upstream(legs.into());
        let text = ask(&gateway(&upstream), CHAT, true).text();
        let events = text.lines().filter(|line| !line.is_empty());
        let events: Vec<Value> = events
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let deltas = events
            .iter()
            .map(|event| &event["choices"][0]["delta"]["content"]);
        assert_eq!(
            deltas.filter_map(Value::as_str).collect::<String>(),
            "Hm: 42.",
            "{text}"
        );
        assert!(!text.contains("calculator"), "{text}");
    }
}
