//! Bodies that stream: both ways at once, of any size, each with one end.

use std::io::Write;
use std::time::Duration;

use http::Request;

use crate::support::client::{Client, chunked};
use crate::support::http2::{self, End};
use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::wire::Framing;
use crate::support::{Proxy, STUCK, Setup, Upstream, chat, gate, post};

const FORM: &str = "Content-Type: multipart/form-data; boundary=x";
/// More than sockets on the way hold.
const MUCH: usize = 32 << 20;
const HALF: usize = MUCH / 2;

/// The header section of an upload of `length` bytes.
fn head(length: usize, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!(
        "POST /v1/files HTTP/1.1\r\nHost: a\r\n{FORM}\r\nContent-Length: {length}\r\n{fields}\r\n"
    )
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn an_upload_arrives_while_it_is_sent() {
    let (seen, first_half) = gate();
    let upstream = Upstream::start(move |visit| {
        let head = visit.head().expect("an upload");
        let mut half = vec![0; 1 << 20];
        visit.read_exact(&mut half);
        seen.open();
        assert_eq!(half, bytes(2 << 20)[..1 << 20]);
        let rest = visit.rest(head, 1 << 20);
        assert!(rest == bytes(2 << 20)[1 << 20..]);
        visit.send(json_answer(COMPLETION));
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let body = bytes(2 << 20);
    client.send(head(body.len(), &[]));
    client.send(&body[..1 << 20]);
    first_half.pass();
    client.send(&body[1 << 20..]);
    assert_eq!(client.response().text(), COMPLETION);
}

#[test]
fn an_upload_is_read_no_faster_than_the_upstream_takes_it() {
    let (reads, read) = gate();
    let upstream = Upstream::start(move |visit| {
        let head = visit.head().expect("an upload");
        read.pass();
        visit.body(head);
        visit.send(json_answer(COMPLETION));
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(head(MUCH, &[]));
    let body = bytes(MUCH);
    let mut writer = client.writer();
    // Nobody takes it, so writing stands still at last, with much unsent.
    writer
        .set_write_timeout(Some(Duration::from_millis(300)))
        .expect("an open socket");
    let mut sent = 0;
    while sent < MUCH
        && let Ok(written) = writer.write(&body[sent..])
    {
        sent += written;
    }
    assert!(sent < MUCH, "all of it is held");
    reads.open();
    writer
        .set_write_timeout(Some(STUCK))
        .expect("an open socket");
    writer.write_all(&body[sent..]).expect("it is read");
    assert_eq!(client.response().text(), COMPLETION);
    assert!(upstream.request().body == bytes(MUCH));
}

#[test]
fn an_answer_streams_while_the_body_still_comes() {
    for is_chunked in [false, true] {
        let upstream = Upstream::start(move |visit| {
            let head = visit.head().expect("an upload");
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            // Echoes as it comes, so that neither side can wait for the other's end.
            visit.echo(head);
            visit.last_chunk();
            // The connection may be used again.
            visit.request();
            visit.send(json_answer(COMPLETION));
        });
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        let body = bytes(MUCH);
        let (head, body) = match is_chunked {
            false => (head(MUCH, &[]), body),
            true => (
                format!(
                    "POST /v1/files HTTP/1.1\r\nHost: a\r\n{FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                chunked(&body, 100_000),
            ),
        };
        client.send(head);
        let mut writer = client.writer();
        let writing = std::thread::spawn(move || writer.write_all(&body).expect("it is read"));
        assert_eq!(client.head().status(), 200);
        let echoed = client.body(Framing::Chunked);
        writing.join().expect("all was taken");
        assert!(
            echoed.whole && echoed.bytes == bytes(MUCH),
            "chunked: {is_chunked}"
        );
        assert_eq!(proxy.chat(r#"{"messages":[]}"#).text(), COMPLETION);
        assert_eq!(upstream.connections(), 1, "both directions are free again");
    }
}

#[test]
fn an_answer_before_the_upload_is_over_is_relayed() {
    for (status, kept) in [("413 Payload Too Large", true), ("401 Unauthorized", false)] {
        let (leaves, left) = gate();
        let upstream = Upstream::start(move |visit| {
            visit.head().expect("an upload");
            let fields: &[&str] = if kept { &[] } else { &["Connection: close"] };
            visit.send(answer(status, fields, "early"));
            // One keeps the connection and reads nothing more, the other is gone.
            if kept {
                left.pass();
            }
        });
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(head(MUCH, &[]));
        let mut writer = client.writer();
        let writing = std::thread::spawn(move || {
            // It may be told to stop.
            let _ = writer.write_all(&bytes(MUCH));
        });
        let answer = client.response();
        assert_eq!(
            (answer.status().to_string(), answer.text()),
            (status[..3].to_owned(), "early".to_owned())
        );
        assert_eq!(answer.head.get("connection"), Some("close"));
        if kept {
            leaves.open();
        }
        drop(client);
        writing.join().expect("it ends");
    }
}

#[test]
fn informational_answers_are_never_the_answer() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
    for hints in [
        HINTS,
        CONTINUE,
        PROCESSING,
        &[CONTINUE, HINTS, HINTS].concat(),
    ] {
        let sent = hints.to_owned();
        let upstream = Upstream::start(move |visit| {
            while let Some(head) = visit.head() {
                // Before the body is read, and again behind it.
                visit.send(&sent);
                if visit.body(head).is_none() {
                    return;
                }
                visit.send(&sent);
                visit.send(json_answer(COMPLETION));
            }
        });
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        let long = format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(4 << 20));
        for request in [
            chat(&[], "{\"messages\":[]}"),
            chat(&[], &long),
            post("/v1/embeddings", &[], "{}"),
            post("/v1/embeddings", &[], &long),
            crate::support::client::get("/v1/models", &[]),
        ] {
            let answer = client.exchange(request);
            assert_eq!(
                (answer.status(), answer.text()),
                (200, COMPLETION.to_owned())
            );
        }
    }
}

#[test]
fn a_client_that_waits_to_be_told_is_told_once_an_upstream_is_there() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for length in [10, 1 << 20] {
        client.send(head(length, &["Expect: 100-continue"]));
        let told = client.head();
        assert_eq!((told.status(), told.fields.len()), (100, 0));
        client.send(bytes(length));
        assert_eq!(client.response().text(), COMPLETION);
    }
    for request in upstream.requests() {
        assert_eq!(request.head.get("expect"), None);
    }
    let dead = Setup::new()
        .upstream_at(&format!("http://{}/v1", Upstream::dead()), "")
        .start();
    let mut client = dead.client();
    client.send(head(1 << 30, &["Expect: 100-continue"]));
    assert_eq!(client.head().status(), 502, "it need not send in vain");
}

#[test]
fn a_body_without_a_length_ends_once() {
    for end in [End::WithBytes, End::ByItself] {
        for (path, length) in [
            ("/v1/files", 10),
            ("/v1/files", 2 << 20),
            ("/v1/embeddings", 2 << 20),
        ] {
            let upstream = Upstream::ok();
            let proxy = Proxy::before(&upstream);
            let request = Request::post(format!("http://{}{path}", proxy.api))
                .header("content-type", "multipart/form-data; boundary=x")
                .body(bytes(length))
                .expect("a request");
            let answer = http2::exchange_ending(proxy.api, request, end);
            assert_eq!(answer.body, COMPLETION.as_bytes());
            assert!(upstream.request().body == bytes(length));
            let received = upstream.received();
            let ends = received
                .windows(7)
                .filter(|bytes| bytes == b"\r\n0\r\n\r\n")
                .count();
            let head = upstream.request().head;
            match head.get("transfer-encoding") {
                Some(coding) => {
                    assert_eq!((coding, ends), ("chunked", 1));
                    assert!(received.ends_with(b"\r\n0\r\n\r\n"));
                }
                None => assert_eq!(head.get("content-length"), Some("10")),
            }
            // A second end would be read as the next request.
            assert_eq!(proxy.chat("{\"messages\":[]}").text(), COMPLETION);
            assert_eq!(upstream.requests().len(), 2);
        }
    }
}

#[test]
fn an_upload_reaches_an_http2_upstream_whole() {
    let upstream = http2::Upstream::start(None, "application/json", &["{}"]);
    let proxy = Setup::new()
        .upstream_at(&format!("http://{}/v1", upstream.address), "http = \"h2\"")
        .start();
    let mut client = proxy.client();
    client.send(head(MUCH, &[]));
    client.send(bytes(MUCH));
    assert_eq!(client.response().text(), "{}");
    let request = Request::post(format!("http://{}/v1/files", proxy.api))
        .body(bytes(MUCH))
        .expect("a request");
    let answer = http2::exchange_ending(proxy.api, request, End::ByItself);
    assert_eq!(answer.body, b"{}");
    for received in upstream.received() {
        assert!(received.body == bytes(MUCH));
    }
}

#[test]
fn a_client_that_leaves_in_an_upload_leaves_it_cut() {
    for resets in [false, true] {
        let (ends, ended) = gate();
        let upstream = Upstream::start(move |visit| {
            let head = visit.head().expect("an upload");
            assert!(visit.body(head).is_none(), "it is cut");
            ends.open();
        });
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(head(MUCH, &[]));
        client.send(bytes(HALF));
        match resets {
            true => client.reset(),
            false => drop(client),
        }
        ended.pass();
        assert!(upstream.requests().is_empty());
    }
}

#[test]
fn an_upload_that_nobody_takes_is_given_up() {
    let (leaves, left) = gate();
    let upstream = Upstream::start(move |visit| {
        visit.head().expect("an upload");
        left.pass();
    });
    let proxy = Setup::new()
        .config("timeouts.write = \"300ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(head(1 << 30, &[]));
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || while writer.write(&[0; 64 << 10]).is_ok() {});
    assert_eq!(client.response().error(504)["code"], "upstream_timeout");
    leaves.open();
    drop(client);
    writing.join().expect("it ends");
}

#[test]
fn an_upload_that_stalls_is_refused_in_time() {
    let upstream = Upstream::start(|visit| {
        let head = visit.head().expect("an upload");
        assert!(visit.body(head).is_none(), "it is cut");
    });
    let proxy = Setup::new()
        .config("timeouts.body_idle = \"100ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(head(MUCH, &[]));
    client.send(bytes(1 << 20));
    client.response().error(408);
}

#[test]
fn an_upload_is_not_sent_on_a_kept_connection_and_leaves_one() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = Client::connect(proxy.api);
    for round in 1..=3 {
        client.send(head(1 << 20, &[]));
        client.send(bytes(1 << 20));
        assert_eq!(client.response().text(), COMPLETION);
        assert_eq!(upstream.connections(), round);
    }
    // What is at hand whole may use them.
    assert_eq!(proxy.chat("{\"messages\":[]}").text(), COMPLETION);
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn a_small_body_of_unknown_length_is_given_one() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let body = b"{\"model\":\"m\",\"input\":\"x\"}";
    for _ in 0..3 {
        let head = "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.exchange([head.as_bytes(), &chunked(body, 5)].concat());
        assert_eq!(answer.text(), COMPLETION);
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.body, body);
        assert_eq!(request.head.get("content-length"), Some("25"));
    }
    assert_eq!(upstream.connections(), 1, "it goes on a kept connection");
}
