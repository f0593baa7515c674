//! Upgrades: after 101 the bytes go on as they come, both ways.

use std::io::Write;
use std::net::Shutdown;

use crate::support::client::get;
use crate::support::upstream::{COMPLETION, answer};
use crate::support::{Proxy, Setup, Upstream, eventually, gate};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: 1\r\n\r\n";
const UPGRADE: [&str; 2] = ["Connection: keep-alive, Upgrade", "Upgrade: websocket"];

fn upgrade(path: &str, more: &[&str]) -> Vec<u8> {
    get(path, &[&UPGRADE[..], more].concat())
}

#[test]
fn what_an_upstream_says_at_once_is_never_lost() {
    const SAID: &[u8] = b"\x81\x05hello and then some more";
    let upstream = Upstream::start(|visit| {
        visit.head().expect("an upgrade");
        // In one packet, and then gone.
        visit.send([SWITCHING.as_bytes(), SAID].concat());
    });
    let proxy = Proxy::before(&upstream);
    for number in 0..500 {
        let mut client = proxy.client();
        client.send(upgrade("/v1/realtime", &[]));
        let head = client.head();
        assert_eq!(head.status(), 101, "{number}");
        let mut said = Vec::new();
        client.read_to_end(&mut said);
        assert_eq!(said, SAID, "{number}");
    }
}

#[test]
fn what_a_client_says_at_once_is_never_lost() {
    let upstream = Upstream::start(|visit| {
        visit.head().expect("an upgrade");
        visit.send(SWITCHING);
        let mut said = [0; 11];
        visit.read_exact(&mut said);
        visit.send(said);
    });
    let proxy = Proxy::before(&upstream);
    for _ in 0..100 {
        let mut client = proxy.client();
        client.send([&upgrade("/v1/realtime", &[])[..], b"said early."].concat());
        assert_eq!(client.head().status(), 101);
        let mut said = Vec::new();
        client.read_to_end(&mut said);
        assert_eq!(said, b"said early.");
    }
}

#[test]
fn both_header_sections_are_what_an_upgrade_needs() {
    let upstream = Upstream::start(|visit| {
        visit.head().expect("an upgrade");
        visit.send(SWITCHING);
    });
    let proxy = Setup::new()
        .env("KEY_OF_OURS", "sk-ours")
        .upstream(&upstream, "api_key = { env = \"KEY_OF_OURS\" }")
        .start();
    let mut client = proxy.client();
    let fields = [
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-theirs",
        "X-YYChat-User-Id: u",
    ];
    client.send(upgrade("/v1/realtime?model=m", &fields));
    let head = client.head();
    assert_eq!(
        (head.get("upgrade"), head.get("connection"), head.get("x-a")),
        (Some("websocket"), Some("Upgrade"), Some("1"))
    );
    assert_eq!(head.get("x-yychat-upstream"), Some("u0"));
    eventually("it was received", || {
        upstream.received().ends_with(b"\r\n\r\n").then_some(())
    });
    let received = String::from_utf8(upstream.received()).expect("text");
    for line in [
        "GET /v1/realtime?model=m HTTP/1.1\r\n",
        "\r\nConnection: Upgrade\r\n",
        "\r\nUpgrade: websocket\r\n",
        "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "\r\nSec-WebSocket-Protocol: realtime\r\n",
        "Bearer sk-ours\r\n",
    ] {
        assert!(received.contains(line), "{line:?} in {received}");
    }
    assert!(!received.to_lowercase().contains("x-yychat"), "{received}");
}

#[test]
fn an_upgrade_goes_where_its_model_is_served() {
    let (gpt, local) = (Upstream::ok(), Upstream::ok());
    let proxy = Setup::new()
        .upstream(&gpt, "models = [\"gpt-*\"]")
        .upstream(&local, "models = [\"local-*\"]")
        .start();
    let answer = proxy.exchange(upgrade("/v1/realtime?model=local-1", &[]));
    assert_eq!(answer.head.get("x-yychat-upstream"), Some("u1"));
    assert_eq!(answer.text(), COMPLETION, "it need not agree");
    let error = proxy
        .exchange(upgrade("/v1/realtime?model=none", &[]))
        .error(404);
    assert_eq!(error["code"], "model_not_found");
}

#[test]
fn an_upstream_that_does_not_agree_answers_as_to_any_request() {
    let upstream = Upstream::answering(answer("426 Upgrade Required", &["Upgrade: other"], "no"));
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.exchange(upgrade("/v1/realtime", &[]));
        assert_eq!((answer.status(), answer.text()), (426, "no".to_owned()));
        assert_eq!(answer.head.get("upgrade"), None);
    }
}

#[test]
fn another_version_of_http_is_each_hops_own() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for protocol in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c"] {
        let fields = [
            "Connection: Upgrade, HTTP2-Settings",
            &format!("Upgrade: {protocol}"),
            "HTTP2-Settings: AAMAAABk",
        ];
        assert_eq!(
            proxy.exchange(get("/v1/models", &fields)).text(),
            COMPLETION
        );
        let head = upstream.requests().pop().expect("a request").head;
        assert_eq!(
            (head.get("upgrade"), head.get("http2-settings")),
            (None, None)
        );
    }
}

#[test]
fn an_end_on_one_side_is_passed_on_and_the_other_side_goes_on() {
    let upstream = Upstream::start(|visit| {
        visit.head().expect("an upgrade");
        visit.send(SWITCHING);
        let said = visit.read_to_end();
        visit.send([b"said: ", &said[..]].concat());
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(upgrade("/v1/realtime", &[]));
    assert_eq!(client.head().status(), 101);
    client.send(b"all of it");
    client.writer().shutdown(Shutdown::Write).expect("open");
    let mut heard = Vec::new();
    client.read_to_end(&mut heard);
    assert_eq!(heard, b"said: all of it");
    eventually("it has ended", || {
        (proxy.metric("yychat_in_flight") == 0.0).then_some(())
    });
}

#[test]
fn a_conversation_without_a_word_is_ended() {
    let (ends, ended) = gate();
    let upstream = Upstream::start(move |visit| {
        visit.head().expect("an upgrade");
        visit.send(SWITCHING);
        visit.wait_for_close();
        ends.open();
    });
    let proxy = Setup::new()
        .config("timeouts.stream_idle = \"100ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(upgrade("/v1/realtime", &[]));
    assert_eq!(client.head().status(), 101);
    ended.pass();
    assert!(client.is_closed());
}

#[test]
fn much_passes_both_ways_at_once() {
    const MUCH: usize = 8 << 20;
    let upstream = Upstream::start(|visit| {
        visit.head().expect("an upgrade");
        visit.send(SWITCHING);
        visit.echo_raw();
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(upgrade("/v1/realtime", &[]));
    assert_eq!(client.head().status(), 101);
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || {
        writer.write_all(&vec![7; MUCH]).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("open");
    });
    let mut heard = Vec::new();
    client.read_to_end(&mut heard);
    writing.join().expect("all was taken");
    assert!(heard == vec![7; MUCH]);
}
