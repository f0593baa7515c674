//! Requests that two readers could read in two ways: refused, or made anew without a doubt.

use crate::support::client::get;
use crate::support::wire::Framing;
use crate::support::{Client, Proxy, Setup, Upstream, chat, eventually};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const MARK: &str = r#"{"messages":[],"mark":true}"#;

/// A request whose hidden second one would reach the upstream if framing were misread.
fn smuggle(fields: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn ambiguous_requests_are_refused_and_nothing_reaches_the_upstream() {
    const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let cases = [
        smuggle("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", &chunks),
        smuggle("Host: a\r\nContent-Length: 0\r\nContent-Length: 41", HIDDEN),
        smuggle("Host: a\r\nContent-Length: 2\r\nContent-Length: 2", "{}"),
        smuggle("Host: a\r\nContent-Length: 2, 2", "{}"),
        smuggle("Host: a\r\nContent-Length: +2", "{}"),
        smuggle("Host: a\r\nContent-Length: -1", "{}"),
        smuggle("Host: a\r\nContent-Length: 0x2", "{}"),
        smuggle("Host: a\r\nContent-Length: 2 ", HIDDEN).replace("2 \r\n", "2\u{b}\r\n"),
        smuggle("Host: a\r\nContent-Length: 18446744073709551616", "{}"),
        smuggle("Host: a\r\nContent-Length: 18446744073709551618", "{}"),
        smuggle("Host: a\r\nTransfer-Encoding: gzip, chunked", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: chunked, gzip", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: identity", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: xchunked", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: \"chunked\"", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding : chunked", &chunks),
        smuggle("Host: a\r\nTransfer-Encoding:\r\n chunked", &chunks),
        smuggle("Host: a\r\nX: y\r\n\tContent-Length: 2", "{}"),
        smuggle("Host: a\r\nX: y\nContent-Length: 2", "{}"),
        smuggle("Host: a\r\nX: y\rContent-Length: 2", "{}"),
        smuggle("Host: a\r\nX: y\0z", ""),
        smuggle("Host: a\r\nContent-Length\0: 2", "{}"),
        smuggle("Host: a\r\nContent-Length", "{}"),
        smuggle("Host: a\r\nHost: b\r\nContent-Length: 2", "{}"),
        smuggle("Content-Length: 2", "{}"),
        smuggle("Host: a\r\n\u{0}: 2", "{}"),
        "POST /v1/chat/completions HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}".to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\n\r\n{}".to_owned(),
        "POST  /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "POST /v1/chat completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "POST /v1/chat/completions\r\nHost: a\r\n\r\n".to_owned(),
        "POST /v1/chat/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "P@ST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for (number, attack) in cases.iter().enumerate() {
        let mut client = proxy.client();
        client.try_send(attack);
        let answer = client.response();
        assert!(
            (400..500).contains(&answer.status()),
            "{attack:?}: {answer:?}"
        );
        let error = answer.error(answer.status());
        assert!(error["message"].as_str().unwrap().len() > 20, "{error}");
        assert!(client.is_closed(), "{attack:?}: more came");
        // An honest request follows, and nothing but that is at the upstream.
        assert_eq!(proxy.chat(MARK).status(), 200);
        let texts: Vec<_> = upstream
            .requests()
            .iter()
            .map(|request| request.text())
            .collect();
        assert_eq!(texts, vec![MARK; number + 1], "{attack:?}");
    }
}

#[test]
fn other_protocol_versions_and_connect_are_refused() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for (request, status) in [
        ("GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET /v1/models HTTP/3\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    ] {
        proxy.exchange(request).error(status);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_target_in_absolute_form_is_no_way_to_another_host() {
    let other = Upstream::ok();
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let address = other.address();
    for (at, target) in [
        format!("http://{address}/v1/files"),
        format!("https://{address}/v1/files"),
        "HTTPS://api.openai.com:443/v1/files".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let answer = proxy.exchange(format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(
            upstream.requests()[at].head.first_line,
            "GET /v1/files HTTP/1.1"
        );
    }
    assert_eq!(other.connections(), 0);
}

/// Each is a chunked body in a form that lenient and strict readers take differently, with a
/// second request in it. Either it is refused, or what reaches the upstream is one request whose
/// framing is made anew; pingora 0.9.1 takes an empty size for the end, so its body may be empty.
#[test]
fn odd_chunks_are_refused_or_framed_anew() {
    const HEAD: &str = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hidden = "GET /v1/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let whole = format!("{:x}", CHAT.len());
    let bodies = [
        format!("{whole};ext=1\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("{whole};ext=\"a;b\"\r\n{CHAT}\r\n0;last\r\n\r\n"),
        format!("{whole};a\nb\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("{whole}\n{CHAT}\n0\n\n"),
        format!("{whole}\r\n{CHAT}\n0\r\n\r\n"),
        format!("{whole} \r\n{CHAT}\r\n0\r\n\r\n"),
        format!("0{whole}\r\n{CHAT}\r\n000\r\n\r\n"),
        format!("0x{whole}\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("+{whole}\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("-1\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("10000000000000{whole}\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("ffffffffffffffff\r\n{CHAT}\r\n0\r\n\r\n"),
        format!("{whole}\r\n{CHAT}xx0\r\n\r\n"),
        format!("{whole}\r\n{CHAT}\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        format!("{whole}\r\n{CHAT}\r\n0\r\nContent-Length: 5\r\n\r\n"),
        format!("{whole}\r\n{CHAT}\r\n0\n\n"),
        format!("{whole};\n\n{CHAT}\r\n0\r\n\r\n"),
        format!("{whole}\r\n{CHAT}\r\n0\r\n\n{hidden}"),
        format!("{whole}\r\n{CHAT}\r\n\r\n{hidden}"),
        format!("{whole};\n0\r\n\r\n{hidden}\r\n{CHAT}\r\n0\r\n\r\n"),
    ];
    let upstream = Upstream::ok();
    // Those that seem to go on are given up soon.
    let proxy = Setup::new()
        .config("timeouts.body_idle = \"200ms\"")
        .upstream(&upstream, "")
        .start();
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        for body in &bodies {
            let before = upstream.requests().len();
            let mut client = proxy.client();
            client.try_send(format!("POST {path} {HEAD}{body}"));
            let answered = client.body(Framing::ToEnd);
            let answered = String::from_utf8_lossy(&answered.bytes).into_owned();
            assert!(
                answered.matches("HTTP/1.1 ").count() <= 1,
                "{body:?}: {answered}"
            );
            // The upstream reads strictly, and fails the test over framing that is in doubt.
            let requests = upstream.requests().split_off(before);
            assert!(requests.len() <= 1, "{body:?}: {requests:?}");
            for request in requests {
                assert!(
                    ["", CHAT].contains(&request.text().as_str()),
                    "{body:?}: {request:?}"
                );
            }
        }
    }
    let received = String::from_utf8_lossy(&upstream.received()).into_owned();
    for odd in ["hidden", "ext", "Trailer", "\0"] {
        assert!(!received.contains(odd), "{odd:?} in {received}");
    }
}

#[test]
fn a_request_hidden_behind_a_chunked_end_is_a_request_of_its_own() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    // The first says where it ends; what follows is judged as any request is.
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{CHAT}\r\n0\r\n\r\nGET /v1/hidden HTTP/1.1\r\n\r\n",
        CHAT.len()
    ));
    assert_eq!(client.response().status(), 200);
    let _ = client.body(Framing::ToEnd);
    assert_eq!(upstream.request().text(), CHAT);
}

#[test]
fn a_header_that_does_not_end_is_given_up_in_time() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("timeouts.header = \"100ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n");
    client.response().error(408);
    assert!(client.is_closed());
    // What could still become HTTP/2 cannot be answered in either version.
    for begun in ["", "P", "PRI * HT"] {
        let mut client = proxy.client();
        client.send(begun);
        assert!(client.is_closed(), "{begun:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_header_that_trickles_is_given_up_all_the_same() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("timeouts.header = \"200ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n");
    let mut writer = client.writer();
    let trickle = std::thread::spawn(move || {
        // A byte whenever the last one could be sent, for as long as anybody listens; each pause
        // is shorter than the deadline.
        use std::io::Write;
        while writer.write_all(b"X").is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    });
    client.response().error(408);
    drop(client);
    trickle.join().expect("it ends when the connection does");
}

#[test]
fn header_sections_too_large_or_of_too_many_fields_are_refused() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("limits.header_bytes = \"4KiB\"\nlimits.header_fields = 10")
        .upstream(&upstream, "")
        .start();
    let long = "x".repeat(4100);
    let many: Vec<_> = (0..10).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for request in [
        get("/v1/models", &[&format!("X-Long: {long}")]),
        get(&format!("/v1/models?{long}"), &[]),
        get("/v1/models", &many),
        // No end of the section is needed to see that it is too long.
        format!("GET /v1/models HTTP/1.1\r\nX: {}", "x".repeat(9000)).into_bytes(),
    ] {
        let mut client = proxy.client();
        client.try_send(request);
        let error = client.response().error(431);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("limits.header_"),
            "{error}"
        );
        assert!(client.is_closed());
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(proxy.exchange(get("/v1/models", &many[..9])).status(), 200);
    let fits = "x".repeat(4000);
    assert_eq!(
        proxy
            .exchange(get("/v1/models", &[&format!("X: {fits}")]))
            .status(),
        200
    );
}

#[test]
fn the_default_limits_of_a_header_hold() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let fields: Vec<_> = (0..100).map(|number| format!("X-{number}: 1")).collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    proxy.exchange(get("/v1/models", &fields)).error(431);
    let long = format!("X: {}", "x".repeat(33 << 10));
    proxy.exchange(get("/v1/models", &[&long])).error(431);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(
        proxy.exchange(get("/v1/models", &fields[..99])).status(),
        200
    );
    let long = format!("X: {}", "x".repeat(32000));
    assert_eq!(proxy.exchange(get("/v1/models", &[&long])).status(), 200);
}

#[test]
fn a_guard_stands_before_every_request_of_a_connection() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    assert_eq!(client.exchange(chat(&[], CHAT)).status(), 200);
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client.response().error(400);
    assert!(client.is_closed());
    assert_eq!(upstream.requests().len(), 1);
}

/// A second request that comes before the first is answered is answered in its turn, or the
/// connection closes so that the client knows; it is never executed twice.
#[test]
fn pipelined_requests_are_neither_lost_in_silence_nor_executed_twice() {
    for second in [chat(&[], MARK), get("/v1/models", &[])] {
        let upstream = Upstream::ok();
        let proxy = Proxy::before(&upstream);
        let mut client = proxy.client();
        client.send([chat(&[], CHAT), second].concat());
        let first = client.response();
        assert_eq!(first.status(), 200);
        let closes = first.head.get("connection") == Some("close");
        let executed = if client.is_closed() { 1 } else { 2 };
        if executed == 2 {
            assert!(!closes, "it said that it would close");
            assert_eq!(client.response().status(), 200);
        }
        assert_eq!(upstream.requests().len(), executed);
    }
}

#[test]
fn more_connections_than_allowed_are_told_so() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("limits.connections = 2")
        .upstream(&upstream, "")
        .start();
    let mut held: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut held {
        assert_eq!(client.exchange(chat(&[], CHAT)).status(), 200);
    }
    let mut third = proxy.client();
    let answer = third.response();
    answer.error(503);
    assert_eq!(answer.head.get("retry-after"), Some("1"));
    assert!(third.is_closed());
    drop(held.pop());
    eventually("there is room again", || {
        let mut client: Client = proxy.client();
        client.try_send(chat(&[], CHAT));
        (client.response().status() == 200).then_some(())
    });
}

#[test]
fn the_whole_of_an_injected_value_stays_a_value() {
    // A personality's id is shown in a header; one that tries to break out of it cannot.
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let answer = proxy.exchange(chat(
        &["X-YYChat-Personality: a%0d%0aX-Injected:%201"],
        CHAT,
    ));
    answer.error(404);
    assert_eq!(answer.head.get("x-injected"), None);
    assert_eq!(upstream.connections(), 0);
}
