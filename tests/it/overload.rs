//! Too much work: what is refused, how, and who is not harmed by it.

use std::fs;

use yychat::server::Order;

use crate::support::upstream::{STREAM, event};
use crate::support::{Client, Opener, Proxy, Setup, Upstream, chat, eventually, gate};

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
const GREEDY: &str = "Authorization: Bearer greedy-key-0123456789";
const MODEST: &str = "Authorization: Bearer modest-key-0123456789";

fn two_keys(setup: Setup, lines_of_greedy: &str) -> Setup {
    setup
        .key("greedy", "greedy-key-0123456789", "a")
        .with(lines_of_greedy)
        .key("modest", "modest-key-0123456789", "b")
}

/// Streams one event and waits at the gate before it ends.
fn holding() -> (Upstream, Opener) {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            visit.chunk(event("one"));
            opened.pass();
            visit.last_chunk();
        }
    });
    (upstream, opener)
}

/// A stream that has begun.
fn begin(proxy: &Proxy, key: &str) -> Client {
    let mut client = proxy.client();
    client.send(chat(&[key], CHAT));
    assert_eq!(client.head().status(), 200);
    client.chunks(event("one").len());
    client
}

fn shed(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!("yychat_shed_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_key_over_its_rate_is_told_when_to_come_again_and_others_are_served() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "");
    let proxy = two_keys(setup, "rate = \"1/h\"\nburst = 2").start();
    for _ in 0..2 {
        assert_eq!(proxy.exchange(chat(&[GREEDY], CHAT)).status(), 200);
    }
    let refused = proxy.exchange(chat(&[GREEDY], CHAT));
    let error = refused.error(429);
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert_eq!(error["type"], "rate_limit_error");
    assert!(error["message"].as_str().unwrap().contains("`greedy`"));
    let wait: u64 = refused.head.get("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert_eq!(proxy.exchange(chat(&[MODEST], CHAT)).status(), 200);
    }
    assert_eq!(shed(&proxy, "rate"), 1.0);
    assert_eq!(upstream.requests().len(), 22, "nothing refused was sent");
}

#[test]
fn a_rate_counts_every_route() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "");
    let proxy = two_keys(setup, "rate = \"1/h\"\nburst = 1").start();
    let models = crate::support::client::get("/v1/models", &[GREEDY]);
    assert_eq!(proxy.exchange(&models).status(), 200);
    proxy.exchange(&models).error(429);
    let own = crate::support::client::get("/v1/personalities", &[GREEDY]);
    proxy.exchange(&own).error(429);
}

#[test]
fn a_request_is_refused_before_its_body_is_sent() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "");
    let proxy = two_keys(setup, "rate = \"1/h\"\nburst = 1").start();
    assert_eq!(proxy.exchange(chat(&[GREEDY], CHAT)).status(), 200);
    let mut client = proxy.client();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n{GREEDY}\r\nContent-Length: 1000000\r\n\r\n"
    ));
    client.response().error(429);
}

#[test]
fn a_reload_refills_nobodys_rate_and_a_raised_one_holds_at_once() {
    let upstream = Upstream::ok();
    let setup = Setup::new().upstream(&upstream, "");
    let proxy = two_keys(setup, "rate = \"1/h\"\nburst = 1").start();
    assert_eq!(proxy.exchange(chat(&[GREEDY], CHAT)).status(), 200);
    proxy.order(Order::Reload);
    proxy.readyz_says("generation 2");
    proxy.exchange(chat(&[GREEDY], CHAT)).error(429);
    let raised = proxy.setup.text().replace("burst = 1", "burst = 100");
    fs::write(proxy.setup.path("conf/yychat.toml"), raised).unwrap();
    proxy.order(Order::Reload);
    eventually("the raised burst holds", || {
        let answer = proxy.exchange(chat(&[GREEDY], CHAT));
        (answer.status() == 200).then_some(())
    });
}

#[test]
fn when_all_room_is_taken_the_next_is_a_503_and_room_comes_back() {
    let (upstream, opener) = holding();
    let proxy = Setup::new()
        .config("limits.live_requests = 2")
        .upstream(&upstream, "")
        .start();
    let held = [(); 2].map(|()| begin(&proxy, "X-A: b"));
    let refused = proxy.chat(CHAT);
    assert_eq!(refused.error(503)["code"], "overloaded");
    assert_eq!(refused.head.get("retry-after"), Some("1"));
    assert_eq!(shed(&proxy, "live"), 1.0);
    opener.open();
    opener.open();
    for mut client in held {
        assert_eq!(client.chunk(), None);
    }
    // An answer's last byte comes before its request is off the count.
    eventually("there is room again", || {
        opener.open();
        (proxy.chat(CHAT).status() == 200).then_some(())
    });
}

#[test]
fn a_key_that_holds_too_much_is_cut_back_while_another_finds_room() {
    let (upstream, opener) = holding();
    let setup = Setup::new()
        .config("limits.live_requests = 8")
        .upstream(&upstream, "");
    let proxy = two_keys(setup, "").start();
    let mut held: Vec<_> = (0..6).map(|_| begin(&proxy, GREEDY)).collect();
    let refused = proxy.exchange(chat(&[GREEDY], CHAT));
    assert_eq!(refused.error(429)["code"], "rate_limit_exceeded");
    assert_eq!(refused.head.get("retry-after"), Some("1"));
    held.push(begin(&proxy, MODEST));
    held.push(begin(&proxy, MODEST));
    assert_eq!(shed(&proxy, "share"), 1.0);
    for _ in &held {
        opener.open();
    }
    for mut client in held {
        assert_eq!(client.chunk(), None);
    }
}

/// The head of a chat request that announces `length` bytes.
fn announcing(key: &str, length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n{key}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// A chat of `length` bytes.
fn body_of(length: usize) -> String {
    let (start, end) = (r#"{"model":"m","messages":[],"a":""#, "\"}");
    format!(
        "{start}{}{end}",
        "x".repeat(length - start.len() - end.len())
    )
}

#[test]
fn bodies_find_room_within_a_budget_and_each_keys_share_of_it() {
    const KIB: usize = 1024;
    let upstream = Upstream::ok();
    let setup = Setup::new()
        .config("limits.body_bytes = \"1MiB\"\nserver.body_limit = \"768KiB\"")
        .upstream(&upstream, "");
    let proxy = two_keys(setup, "").start();
    let held = || proxy.metric("yychat_body_bytes");
    let first = body_of(600 * KIB);
    let (begun, rest) = first.split_at(first.len() - 10);
    let mut stalled = proxy.client();
    stalled.send(announcing(GREEDY, first.len()));
    stalled.send(begun);
    eventually("it is held", || {
        (held() == begun.len() as f64).then_some(())
    });
    // Told before it is sent, and when to come again.
    let refused = |key: &str, length: usize, status: u16, code: &str| {
        let mut client = proxy.client();
        client.send(announcing(key, length));
        let answer = client.response();
        assert_eq!(answer.error(status)["code"], code);
        assert_eq!(answer.head.get("retry-after"), Some("1"));
    };
    refused(GREEDY, 300 * KIB, 429, "rate_limit_exceeded");
    refused(MODEST, 340 * KIB, 503, "overloaded");
    assert_eq!(
        (shed(&proxy, "body_share"), shed(&proxy, "bodies")),
        (1.0, 1.0)
    );
    // What comes without a length is refused while it comes.
    let mut client = proxy.client();
    let body = body_of(400 * KIB);
    client.try_send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n{GREEDY}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    client.response().error(429);
    // Others find room, and so do small ones of the same key.
    for (key, length) in [(MODEST, 250 * KIB), (GREEDY, 60 * KIB)] {
        let body = body_of(length);
        assert_eq!(proxy.exchange(chat(&[key], &body)).status(), 200, "{key}");
    }
    // What is only passed on is of any size, and takes the room of what waits of it.
    let upload = "x".repeat(3 << 20);
    let file = "Content-Type: application/octet-stream";
    let pass = |key: &str| {
        let mut client = proxy.client();
        client.try_send(crate::support::post(
            "/v1/uploads/u/parts",
            &[key, file],
            &upload,
        ));
        client.response().status()
    };
    assert_eq!((pass(MODEST), pass(GREEDY)), (200, 429));
    stalled.send(rest);
    assert_eq!(stalled.response().status(), 200);
    eventually("nothing is held", || (held() == 0.0).then_some(()));
}

#[test]
fn a_body_whose_client_leaves_is_held_no_longer() {
    let upstream = Upstream::ok();
    let proxy = Setup::new().upstream(&upstream, "").start();
    let body = body_of(1 << 20);
    for path in ["/v1/chat/completions", "/v1/memories"] {
        let mut client = proxy.client();
        client.send(announcing("A: b", body.len()).replace("/v1/chat/completions", path));
        client.send(&body[..body.len() / 2]);
        let held = || proxy.metric("yychat_body_bytes") > 0.0;
        eventually("it is held", || held().then_some(()));
        drop(client);
        eventually("it is held no longer", || (!held()).then_some(()));
    }
    eventually("nothing is in flight", || {
        (proxy.metric("yychat_in_flight") == 0.0).then_some(())
    });
}
