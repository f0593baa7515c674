//! What goes wrong on either side, and what the other side sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use crate::support::client::get;
use crate::support::upstream::{COMPLETION, STREAM, answer, event, json_answer};
use crate::support::wire::Framing;
use crate::support::{Client, Opener, Proxy, Setup, Upstream, chat, eventually, gate, http2, post};

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn dead_url() -> String {
    format!("http://{}/v1", Upstream::dead())
}

#[test]
fn a_dead_upstream_is_named_in_a_502() {
    let proxy = Setup::new().upstream_at(&dead_url(), "").start();
    let answer = proxy.chat(CHAT);
    let error = answer.error(502);
    assert_eq!(error["code"], "upstream_unreachable");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`u0`") && message.contains("refused"),
        "{message}"
    );
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u0"));
    let counted = "yychat_upstream_errors_total{kind=\"connect\",upstream=\"u0\"}";
    assert_eq!(proxy.metric(counted), 1.0);
}

#[test]
fn a_dead_upstream_is_named_on_the_pass_through_route_too() {
    let proxy = Setup::new().upstream_at(&dead_url(), "").start();
    let error = proxy.exchange(get("/v1/models", &[])).error(502);
    assert_eq!(error["code"], "upstream_unreachable");
    assert!(
        error["message"].as_str().unwrap().contains("`u0`"),
        "{error}"
    );
}

#[test]
fn a_name_that_does_not_resolve_is_a_502() {
    let proxy = Setup::new()
        .upstream_at("http://no-such-host.invalid/v1", "")
        .start();
    for request in [chat(&[], CHAT), get("/v1/models", &[])] {
        let error = proxy.exchange(request).error(502);
        assert_eq!(error["code"], "upstream_unreachable");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("no-such-host.invalid"),
            "{error}"
        );
    }
}

#[test]
fn an_unreachable_upstream_is_replaced_by_the_next_that_serves_the_model() {
    let (other, next) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream_at(&dead_url(), "models = [\"m\"]")
        .upstream(&other, "models = [\"other\"]")
        .upstream(&next, "models = [\"m\"]")
        .start();
    let answer = proxy.chat(CHAT);
    assert_eq!(answer.text(), COMPLETION);
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u2"));
    assert_eq!(next.request().text(), CHAT);
    assert_eq!(other.connections(), 0);
}

#[test]
fn an_unreachable_upstream_is_replaced_on_the_pass_through_route_too() {
    let next = Upstream::ok();
    let proxy = Setup::new()
        .upstream_at(&dead_url(), "")
        .upstream(&next, "")
        .start();
    let answer = proxy.exchange(get("/v1/files", &[]));
    assert_eq!(answer.text(), COMPLETION);
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u1"));
}

#[test]
fn a_failed_pass_through_upload_arrives_whole_at_the_next_upstream() {
    let next = Upstream::ok();
    let proxy = Setup::new()
        .upstream_at(&dead_url(), "")
        .upstream(&next, "")
        .start();
    let body = "x".repeat(300_000);
    let request = post("/v1/embeddings", &[], &body);
    assert_eq!(proxy.exchange(request).status(), 200);
    assert!(next.request().text() == body);
}

#[test]
fn all_upstreams_dead_names_the_last() {
    let proxy = Setup::new()
        .upstream_at(&dead_url(), "")
        .upstream_at(&dead_url(), "")
        .start();
    for request in [chat(&[], CHAT), get("/v1/models", &[])] {
        let error = proxy.exchange(request).error(502);
        assert!(
            error["message"].as_str().unwrap().contains("`u1`"),
            "{error}"
        );
    }
}

#[test]
fn nothing_that_was_sent_is_sent_to_another_upstream() {
    let first = Upstream::start(|visit| {
        // Closes in place of an answer.
        visit.request();
    });
    let second = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&first, "")
        .upstream(&second, "")
        .start();
    for request in [chat(&[], CHAT), post("/v1/embeddings", &[], "{}")] {
        proxy.exchange(request).error(502);
    }
    assert_eq!(first.requests().len(), 2);
    assert_eq!(second.connections(), 0);
}

#[test]
fn an_answer_in_a_transfer_coding_that_nobody_asked_for_is_a_502() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nzz\r\n0\r\n\r\n",
    );
    let proxy = Proxy::before(&upstream);
    for request in [chat(&[], CHAT), get("/v1/files", &[])] {
        let error = proxy.exchange(request).error(502);
        let message = error["message"].as_str().unwrap();
        let says = "in what is not HTTP: InvalidHTTPHeader context: its Transfer-Encoding is \"gzip, chunked\"";
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn what_is_not_http_is_said_not_to_be() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/1.1 99 Low\r\n\r\n"] {
        let upstream = Upstream::answering(nonsense);
        let error = Proxy::before(&upstream).chat(CHAT).error(502);
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("answered in what is not HTTP"),
            "{message}"
        );
    }
}

#[test]
fn a_length_that_is_told_twice_alike_is_told_once() {
    let length = COMPLETION.len();
    for fields in [
        format!("Content-Length: {length}, {length}"),
        format!("Content-Length: {length}\r\nContent-Length: {length}"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{COMPLETION}");
        let answer = Proxy::before(&Upstream::answering(answer)).chat(CHAT);
        assert_eq!(answer.text(), COMPLETION);
        assert_eq!(answer.head.all("content-length"), [length.to_string()]);
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_a_504() {
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.wait_for_close();
    });
    let second = Upstream::ok();
    let proxy = Setup::new()
        .config("timeouts.first_byte = \"50ms\"")
        .upstream(&upstream, "")
        .upstream(&second, "")
        .start();
    for request in [chat(&[], CHAT), get("/v1/files", &[])] {
        let error = proxy.exchange(request).error(504);
        assert_eq!(error["code"], "upstream_timeout");
        assert!(
            error["message"].as_str().unwrap().contains("`u0`"),
            "{error}"
        );
    }
    assert_eq!(second.connections(), 0);
}

#[test]
fn an_upstream_that_falls_silent_in_a_stream_is_cut() {
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.send(STREAM);
        visit.chunk(event("a"));
        visit.wait_for_close();
    });
    let proxy = Setup::new()
        .config("timeouts.stream_idle = \"50ms\"")
        .upstream(&upstream, "")
        .start();
    let answer = proxy.chat(CHAT);
    assert_eq!((answer.text(), answer.whole), (event("a"), false));
}

/// Answers that break off after `sent`, with an end of file or a reset.
fn breaking_off(sent: &'static [u8], resets: bool) -> (Upstream, Opener) {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        visit.request();
        visit.send(sent);
        opened.pass();
        if resets {
            visit.reset();
        }
    });
    (upstream, opener)
}

fn truncation_is_counted(proxy: &Proxy) {
    let counted = "yychat_upstream_errors_total{kind=\"truncated\",upstream=\"u0\"}";
    eventually("the truncation is counted", || {
        (proxy.metric(counted) == 1.0).then_some(())
    });
}

#[test]
fn an_upstream_that_dies_in_a_stream_is_seen_to_have_died() {
    const BETWEEN_CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    const IN_A_CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nfirst";
    for (sent, resets) in [
        (BETWEEN_CHUNKS, false),
        (BETWEEN_CHUNKS, true),
        (IN_A_CHUNK, false),
        (IN_A_CHUNK, true),
    ] {
        let (upstream, opener) = breaking_off(sent, resets);
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(chat(&[], CHAT));
        assert_eq!(client.head().status(), 200);
        assert_eq!(client.chunks(5), b"first");
        opener.open();
        let rest = client.body(Framing::Chunked);
        assert_eq!(
            (rest.bytes.len(), rest.whole),
            (0, false),
            "reset: {resets}"
        );
        truncation_is_counted(&proxy);
    }
}

#[test]
fn an_upstream_that_dies_in_an_answer_of_known_length_is_seen_to_have_died() {
    const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst";
    for resets in [false, true] {
        let (upstream, opener) = breaking_off(SHORT, resets);
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(chat(&[], CHAT));
        opener.open();
        assert_eq!(client.head().get("content-length"), Some("9"));
        let body = client.body(Framing::Length(9));
        assert_eq!((&body.bytes[..], body.whole), (&b"first"[..], false));
        truncation_is_counted(&proxy);
    }
}

#[test]
fn all_that_came_of_an_answer_that_broke_off_reaches_the_client() {
    const CAME: usize = 50_000;
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 100000\r\n\r\n");
        visit.send([b'x'; CAME]);
    });
    let proxy = Proxy::before(&upstream);
    for request in [
        chat(&[], CHAT),
        get("/v1/files/f/content", &[]),
        post("/v1/audio/speech", &[], "{\"model\":\"m\"}"),
    ] {
        let answer = proxy.exchange(request);
        assert_eq!(answer.status(), 200);
        assert_eq!((answer.body.len(), answer.whole), (CAME, false));
    }
}

#[test]
fn all_that_came_of_an_answer_that_broke_off_reaches_a_client_of_http2() {
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst");
    });
    let proxy = Proxy::before(&upstream);
    // A busy machine may take longer than is waited.
    eventually("all of it is there", || {
        let request = Request::get("http://gateway.test/v1/files/f/content");
        let request = request.body(Vec::new()).unwrap();
        (http2::until_cut(proxy.api, request) == b"first").then_some(())
    });
}

#[test]
fn an_upstream_that_dies_behind_the_header_of_a_whole_answer_is_a_502() {
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        for resets in [false, true] {
            let upstream = Upstream::start(move |visit| {
                visit.request();
                visit.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
                if resets {
                    visit.reset();
                }
            });
            let proxy = Proxy::before(&upstream);
            for request in [chat(&[], CHAT), get("/v1/files", &[])] {
                let error = proxy.exchange(request).error(502);
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("broke off"), "{message}");
            }
        }
    }
}

#[test]
fn an_upstream_that_dies_in_a_pass_through_stream_is_seen_to_have_died() {
    const BETWEEN_CHUNKS: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    for resets in [false, true] {
        let (upstream, opener) = breaking_off(BETWEEN_CHUNKS, resets);
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(get("/v1/files/f/content", &[]));
        assert_eq!(client.head().status(), 200);
        assert_eq!(client.chunks(5), b"first");
        opener.open();
        assert!(!client.body(Framing::Chunked).whole, "reset: {resets}");
    }
}

#[test]
fn a_death_before_the_answer_is_a_502() {
    for resets in [false, true] {
        let upstream = Upstream::start(move |visit| {
            visit.request();
            if resets {
                visit.reset();
            }
        });
        let proxy = Proxy::before(&upstream);
        let error = proxy.chat(CHAT).error(502);
        assert_eq!(error["code"], "upstream_error");
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[test]
fn an_upstream_that_speaks_no_http_is_a_502() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |visit| {
            visit.request();
            visit.send(garbage);
        });
        let proxy = Proxy::before(&upstream);
        let shown = String::from_utf8_lossy(garbage);
        assert_eq!(
            proxy.chat(CHAT).error(502)["type"],
            "server_error",
            "{shown}"
        );
    }
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_is_relayed() {
    for status in ["413 Payload Too Large", "401 Unauthorized"] {
        let upstream = Upstream::start(move |visit| {
            visit.head();
            visit.send(answer(status, &["Connection: close"], "early"));
            // The rest is never read, so the close is a reset.
        });
        let proxy = Proxy::before(&upstream);
        let body = format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(8 << 20));
        let answer = proxy.chat(body);
        assert_eq!(
            (answer.status().to_string(), answer.text()),
            (status[..3].into(), "early".into())
        );
    }
}

#[test]
fn an_early_answer_with_the_connection_kept_does_not_spoil_the_next_request() {
    let upstream = Upstream::start(move |visit| {
        while let Some(head) = visit.head() {
            visit.send(answer("413 Payload Too Large", &[], "early"));
            visit.body(head);
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let body = format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(4 << 20));
    for _ in 0..3 {
        assert_eq!(client.exchange(chat(&[], &body)).text(), "early");
    }
}

/// Upstreams close idle connections; a request that meets the close is sent on another.
#[test]
fn a_kept_connection_that_was_closed_costs_nothing() {
    let (closes, closed) = gate();
    let upstream = Upstream::start(move |visit| {
        if visit.request().is_some() {
            visit.send(json_answer(COMPLETION));
            visit.close();
            closes.open();
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for number in 1..=50 {
        assert_eq!(
            client.exchange(chat(&[], CHAT)).text(),
            COMPLETION,
            "request {number}"
        );
        assert_eq!(upstream.requests().len(), number);
        closed.pass();
    }
}

/// The close may come just as the next request goes out. Where it cannot be told whether the
/// upstream read it, the client is told, and the request is not sent again.
#[test]
fn a_close_that_meets_a_request_never_has_it_executed_twice() {
    let upstream = Upstream::start(|visit| {
        if visit.request().is_some() {
            visit.send(json_answer(COMPLETION));
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let body = |number| format!("{{\"messages\":[],\"n\":{number}}}");
    let mut answered = Vec::new();
    for number in 0..300 {
        let answer = client.exchange(chat(&[], body(number)));
        match answer.status() {
            200 => answered.push(body(number)),
            _ => assert_eq!(answer.error(502)["code"], "upstream_error"),
        }
    }
    let executed: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.text())
        .collect();
    assert_eq!(
        executed, answered,
        "each that was answered was executed once, and no other"
    );
    assert!(!answered.is_empty());
}

#[test]
fn a_request_that_was_read_on_a_kept_connection_is_never_sent_again() {
    for resets in [false, true] {
        let upstream = Upstream::start(move |visit| {
            visit.request();
            visit.send(json_answer(COMPLETION));
            // The second request is read and then left without an answer.
            visit.request();
            if resets {
                visit.reset();
            }
        });
        let proxy = Proxy::before(&upstream);
        assert_eq!(proxy.chat(CHAT).status(), 200);
        proxy.chat(CHAT).error(502);
        assert_eq!(upstream.requests().len(), 2);
    }
}

#[test]
fn a_request_that_was_read_in_part_on_a_kept_connection_is_never_sent_again() {
    let upstream = Upstream::start(|visit| {
        visit.request();
        visit.send(json_answer(COMPLETION));
        visit.head();
    });
    let proxy = Proxy::before(&upstream);
    assert_eq!(proxy.chat(CHAT).status(), 200);
    let body = format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(8 << 20));
    proxy.chat(body).error(502);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_client_that_leaves_before_the_answer_closes_the_upstream() {
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        for resets in [false, true] {
            let (opener, closed) = gate();
            let (reads, read) = gate();
            let upstream = Upstream::start(move |visit| {
                visit.request();
                reads.open();
                visit.wait_for_close();
                opener.open();
            });
            let proxy = Proxy::before(&upstream);
            let mut client = proxy.client();
            client.send(post(path, &[], CHAT));
            read.pass();
            match resets {
                true => client.reset(),
                false => drop(client),
            }
            closed.pass();
        }
    }
}

#[test]
fn a_client_that_leaves_in_a_stream_closes_the_upstream() {
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let (opener, closed) = gate();
        let upstream = Upstream::start(move |visit| {
            visit.request();
            visit.send(STREAM);
            visit.chunk(event("a"));
            visit.wait_for_close();
            opener.open();
        });
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send(post(path, &[], CHAT));
        client.head();
        client.chunks(event("a").len());
        drop(client);
        closed.pass();
    }
}

#[test]
fn a_client_that_leaves_while_its_body_is_sent_on_closes_the_upstream() {
    let (leaves, left) = gate();
    let (closes, closed) = gate();
    let upstream = Upstream::start(move |visit| {
        visit.head();
        // More than buffers hold is left unread, so the gateway is still sending.
        left.pass();
        visit.wait_for_close();
        closes.open();
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(chat(
        &[],
        format!("{{\"messages\":[],\"a\":\"{}\"}}", "x".repeat(30 << 20)),
    ));
    eventually("the body is being sent on", || {
        (!upstream.received().is_empty()).then_some(())
    });
    drop(client);
    eventually("the request is given up", || {
        (proxy.metric("yychat_in_flight") == 0.0).then_some(())
    });
    leaves.open();
    closed.pass();
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_reader_that_stalls_is_cut_at_the_write_timeout() {
    let (opener, closed) = gate();
    let upstream = Upstream::start(move |visit| {
        visit.request();
        visit.send(STREAM);
        let chunk = "x".repeat(64 << 10);
        let framed = format!("{:x}\r\n{chunk}\r\n", chunk.len());
        while visit.try_send(&framed) {}
        opener.open();
    });
    let proxy = Setup::new()
        .config("timeouts.write = \"100ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = Client::connect_narrow(proxy.api);
    client.send(chat(&[], CHAT));
    assert_eq!(client.head().status(), 200);
    // Nothing is read from here on until the upstream has been let go.
    closed.pass();
    let body = client.body(Framing::Chunked);
    assert!(!body.whole);
}

#[test]
fn a_slow_reader_holds_the_upstream_back() {
    const CHUNK: usize = 64 << 10;
    /// What sockets on the way may hold; a gateway that buffers goes far beyond.
    const ON_THE_WAY: usize = 24 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let upstream = {
        let written = written.clone();
        Upstream::start(move |visit| {
            visit.request();
            visit.send(STREAM);
            let chunk = "x".repeat(CHUNK);
            for _ in 0..1024 {
                visit.chunk(&chunk);
                written.fetch_add(CHUNK, Ordering::Relaxed);
            }
            visit.last_chunk();
        })
    };
    let proxy = Proxy::before(&upstream);
    let mut client = Client::connect_narrow(proxy.api);
    client.send(chat(&[], CHAT));
    client.head();
    let mut read = 0;
    while let Some(chunk) = client.chunk() {
        read += chunk.len();
        let ahead = written.load(Ordering::Relaxed).saturating_sub(read);
        assert!(ahead < ON_THE_WAY, "{ahead} bytes are held");
    }
    assert_eq!(read, 1024 * CHUNK);
}
