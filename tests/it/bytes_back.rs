//! The byte contract on the way back: what a client is given.

use std::sync::Arc;

use http::Request;

use crate::support::client::get;
use crate::support::upstream::{STREAM, answer, event, json_answer};
use crate::support::wire::Framing;
use crate::support::{Proxy, Setup, Upstream, chat, gate, http2};

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// An upstream that streams `pieces` as chunks of their own.
fn streaming(pieces: Vec<Vec<u8>>) -> Upstream {
    Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            for piece in &pieces {
                visit.chunk(piece);
            }
            visit.last_chunk();
        }
    })
}

/// Events with all that the specification allows and a reprint would change.
fn odd_events() -> Vec<u8> {
    [
        ": a comment\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"你好 🦀\"}}]}\r\n\r\n",
        "event: ping\ndata:\n\n",
        "id: 7\ndata: one\ndata: two\n\n",
        "data: {\"choices\": [ {\"delta\" : {\"content\":\"\\u4f60\"}} ] }\n\n\n\n",
        "retry: 10\n\n",
        "data: not json\r\r",
        "data: {\"error\":{\"message\":\"half",
    ]
    .concat()
    .into_bytes()
}

#[test]
fn a_streams_bytes_come_back_as_they_were_wherever_they_are_cut() {
    let whole = odd_events();
    for size in [1, 2, 3, 7, whole.len()] {
        let pieces = whole.chunks(size).map(<[u8]>::to_vec).collect();
        let upstream = streaming(pieces);
        let answer = Proxy::before(&upstream).chat(CHAT);
        assert!(answer.whole);
        assert_eq!(answer.body, whole, "cut every {size} bytes");
    }
}

#[test]
fn a_stream_without_a_done_event_ends_as_it_ended() {
    let upstream = streaming(vec![event("a").into_bytes()]);
    let answer = Proxy::before(&upstream).chat(CHAT);
    assert!(answer.whole);
    assert_eq!(answer.text(), event("a"));
}

#[test]
fn an_event_of_megabytes_comes_back_whole() {
    let huge = event(&"x".repeat(3 << 20)).into_bytes();
    let upstream = streaming(vec![huge.clone(), b"data: [DONE]\n\n".to_vec()]);
    let answer = Proxy::before(&upstream).chat(CHAT);
    assert!(answer.body == [huge, b"data: [DONE]\n\n".to_vec()].concat());
}

#[test]
fn each_event_reaches_the_client_before_the_next_is_sent() {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            for text in ["one", "two", "three"] {
                visit.chunk(event(text));
                opened.pass();
            }
            visit.last_chunk();
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(chat(&[], CHAT));
    assert_eq!(client.head().status(), 200);
    for text in ["one", "two", "three"] {
        let event = event(text);
        assert_eq!(client.chunks(event.len()), event.as_bytes());
        opener.open();
    }
    assert_eq!(client.chunk(), None);
}

#[test]
fn the_head_of_a_stream_reaches_the_client_before_its_first_event() {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            opened.pass();
            visit.last_chunk();
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(chat(&[], CHAT));
    assert_eq!(client.head().status(), 200);
    opener.open();
    assert_eq!(client.chunk(), None);
}

#[test]
fn status_and_headers_come_back_and_those_of_the_hop_do_not() {
    let upstream = Upstream::answering(answer(
        "203 Odd But True",
        &[
            "Content-Type: application/json",
            "Set-Cookie: a=1",
            "sEt-CoOkIe: b=2",
            "OpenAI-Processing-Ms: 12",
            "X-RateLimit-Remaining-Requests: 99",
            "Server-Timing: model;dur=3",
            "Connection: keep-alive, X-Of-This-Hop",
            "X-Of-This-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            "Trailer: X-Sum",
        ],
        "{}",
    ));
    let answer = Proxy::before(&upstream).chat(CHAT);
    assert_eq!(answer.status(), 203);
    assert_eq!(answer.text(), "{}");
    let head = &answer.head;
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(head.get("openai-processing-ms"), Some("12"));
    assert_eq!(head.get("x-ratelimit-remaining-requests"), Some("99"));
    assert_eq!(head.all("server-timing").first(), Some(&"model;dur=3"));
    for gone in [
        "x-of-this-hop",
        "keep-alive",
        "proxy-authenticate",
        "trailer",
    ] {
        assert_eq!(head.get(gone), None, "{gone}");
    }
}

#[test]
fn the_gateways_own_headers_are_there() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let first = proxy.chat(CHAT).head;
    let second = proxy.chat(CHAT).head;
    assert_eq!(first.get("x-yychat-generation"), Some("1"));
    assert_eq!(first.get("x-yychat-upstream"), Some("u0"));
    assert_eq!(first.get("x-yychat-personality"), None);
    let id = first.get("x-yychat-request-id").expect("an id");
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    assert_ne!(Some(id), second.get("x-yychat-request-id"));
    let timing = first.get("server-timing").expect("the phases");
    for phase in ["read_body", "compose", "upstream_connect", "upstream_ttfb"] {
        assert!(timing.contains(&format!("{phase};dur=")), "{timing}");
    }
}

#[test]
fn where_the_upstream_is_a_gateway_too_the_nearer_one_tells_of_itself() {
    let own = ["X-YYChat-Upstream: far", "X-YYChat-Generation: 77"];
    let upstream = Upstream::answering(answer("200 OK", &own, "{}"));
    let head = Proxy::before(&upstream).chat(CHAT).head;
    assert_eq!(head.all("x-yychat-upstream"), ["u0"]);
    assert_eq!(head.all("x-yychat-generation"), ["1"]);
    assert_eq!(head.all("x-yychat-request-id").len(), 1);
}

#[test]
fn a_stream_is_told_not_to_be_buffered_where_the_upstream_said_nothing() {
    let upstream = streaming(vec![]);
    let head = Proxy::before(&upstream).chat(CHAT).head;
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    assert_eq!(head.get("cache-control"), Some("no-cache"));
    assert_eq!(
        head.get("content-type"),
        Some("text/event-stream; charset=utf-8")
    );

    let own = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: yes\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::answering(own);
    let head = Proxy::before(&upstream).chat(CHAT).head;
    assert_eq!(head.get("x-accel-buffering"), Some("yes"));
    assert_eq!(head.get("cache-control"), Some("no-store"));

    let upstream = Upstream::ok();
    let head = Proxy::before(&upstream).chat(CHAT).head;
    assert_eq!(head.get("x-accel-buffering"), None);
    assert_eq!(head.get("cache-control"), None);
}

#[test]
fn an_upstreams_errors_pass_through_as_they_are() {
    for (status, fields, body) in [
        (
            "400 Bad Request",
            vec!["Content-Type: application/json"],
            "{ \"error\" : {\"message\":\"no\"}}",
        ),
        (
            "401 Unauthorized",
            vec!["WWW-Authenticate: Bearer", "Content-Type: text/plain"],
            "who?",
        ),
        ("404 Not Found", vec![], ""),
        (
            "429 Too Many Requests",
            vec!["Retry-After: 17", "Content-Type: application/json"],
            "{\"error\":{}}",
        ),
        (
            "500 Internal Server Error",
            vec!["Content-Type: text/html"],
            "<h1>\u{fffd}</h1>",
        ),
        (
            "503 Service Unavailable",
            vec!["Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"],
            "later",
        ),
    ] {
        let upstream = Upstream::answering(answer(status, &fields, body));
        let proxy = Proxy::before(&upstream);
        let answer = proxy.chat(CHAT);
        assert_eq!(answer.status().to_string(), status[..3]);
        assert_eq!(answer.text(), body);
        for field in fields {
            let (name, value) = field.split_once(": ").expect("a field");
            assert_eq!(answer.head.get(name), Some(value));
        }
        assert_eq!(upstream.requests().len(), 1, "it is not tried again");
    }
}

#[test]
fn an_answer_without_content_has_no_body_and_keeps_the_connection() {
    let upstream = Upstream::answering("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n");
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.exchange(chat(&[], CHAT));
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.head.get("transfer-encoding"), None);
        assert_eq!(answer.head.get("x-a"), Some("1"));
    }
}

#[test]
fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let upstream = streaming(vec![event("a").into_bytes(), event("b").into_bytes()]);
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let length = CHAT.len();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{CHAT}"
    ));
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("transfer-encoding"), None);
    let body = client.body(Framing::ToEnd);
    assert_eq!(body.bytes, [event("a"), event("b")].concat().as_bytes());
}

#[test]
fn an_http2_client_gets_the_same_bytes_of_a_stream() {
    let pieces: Vec<_> = odd_events().chunks(5).map(<[u8]>::to_vec).collect();
    let upstream = streaming(pieces);
    let proxy = Proxy::before(&upstream);
    let request = Request::post(format!("http://{}/v1/chat/completions", proxy.api))
        .body(CHAT.as_bytes().to_vec())
        .unwrap();
    let answer = http2::exchange(proxy.api, request);
    assert_eq!(
        answer.head.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(answer.head.headers.get("transfer-encoding"), None);
    assert_eq!(answer.body, odd_events());
}

#[test]
fn an_answer_that_ends_with_the_connection_comes_back_whole() {
    let upstream = Upstream::start(|visit| {
        if visit.request().is_some() {
            visit.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":");
            visit.send("1}");
        }
    });
    let answer = Proxy::before(&upstream).chat(CHAT);
    assert!(answer.whole);
    assert_eq!(answer.text(), "{\"a\":1}");
}

#[test]
fn informational_answers_do_not_stand_for_the_final_one() {
    let final_answer = json_answer("{}");
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let upstream = Upstream::answering([&interim[..], &final_answer].concat());
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.exchange(chat(&[], CHAT));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "{}"));
    }
}

#[test]
fn a_compressed_answer_is_not_asked_for_and_passes_when_it_comes() {
    let upstream = Upstream::answering(answer(
        "200 OK",
        &["Content-Type: application/json", "Content-Encoding: gzip"],
        "\u{1f}not really gzip",
    ));
    let proxy = Proxy::before(&upstream);
    let answer = proxy.exchange(chat(&["Accept-Encoding: gzip, br"], CHAT));
    assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
    assert_eq!(answer.text(), "\u{1f}not really gzip");
    assert_eq!(upstream.request().head.get("accept-encoding"), None);
}

#[test]
fn trailers_of_an_upstream_do_not_harm_the_answer() {
    let upstream = Upstream::start(|visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            visit.chunk(event("a"));
            visit.send(b"0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n");
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.exchange(chat(&[], CHAT));
        assert_eq!(answer.text(), event("a"));
        assert!(answer.whole);
    }
}

#[test]
fn a_pass_through_stream_comes_back_the_same_and_event_by_event() {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            for text in ["one", "two"] {
                visit.chunk(event(text));
                opened.pass();
            }
            visit.last_chunk();
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(get("/v1/threads/t/runs/r", &[]));
    let head = client.head();
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    assert_eq!(head.get("cache-control"), Some("no-cache"));
    assert_eq!(head.get("x-yychat-upstream"), Some("u0"));
    for text in ["one", "two"] {
        assert_eq!(client.chunks(event(text).len()), event(text).as_bytes());
        opener.open();
    }
    assert_eq!(client.chunk(), None);
}

#[test]
fn many_streams_at_once_keep_their_bytes_apart() {
    let upstream = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            visit.send(STREAM);
            for _ in 0..20 {
                visit.chunk(&request.body);
            }
            visit.last_chunk();
        }
    });
    let proxy = Arc::new(Proxy::before(&upstream));
    let clients = (0..20).map(|number| {
        let proxy = proxy.clone();
        std::thread::spawn(move || {
            let body = format!("{{\"messages\":[],\"n\":{number}}}");
            assert_eq!(proxy.chat(&body).text(), body.repeat(20));
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.join().expect("its own bytes");
    }
}

#[test]
fn of_two_upstreams_the_one_that_answered_is_named() {
    let (first, second) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream(&first, "models = [\"a*\"]")
        .upstream(&second, "models = [\"b*\"]")
        .start();
    let head = proxy.chat(r#"{"model":"b1","messages":[]}"#).head;
    assert_eq!(head.get("x-yychat-upstream"), Some("u1"));
    assert_eq!((first.connections(), second.connections()), (0, 1));
}

#[test]
fn an_answer_that_says_that_it_is_in_no_coding_ends_where_its_length_does() {
    let upstream = Upstream::start(|visit| {
        while visit.request().is_some() {
            let head =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n";
            visit.send(format!("{head}whole"));
            visit.wait_for_close();
        }
    });
    let proxy = Proxy::before(&upstream);
    for request in [chat(&[], CHAT), get("/v1/files/f/content", &[])] {
        let answer = proxy.exchange(request);
        assert_eq!((&*answer.text(), answer.whole), ("whole", true));
    }
}
