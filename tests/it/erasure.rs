//! Erasing a user while he speaks: what began before it is not kept after it, in any gateway.

use serde_json::Value;

use crate::support::client::get;
use crate::support::postgres::Server;
use crate::support::upstream::{STREAM, event};
use crate::support::wire::Framing;
use crate::support::{Opener, Proxy, Setup, Upstream, chat, eventually, gate};

const SAYS: &str = r#"{"model":"m","stream":true,"user":"ada","messages":[{"role":"user","content":"My cat is called Pixel."}]}"#;
const ERASE: &str = "DELETE /v1/memories?user_id=ada HTTP/1.1\r\nHost: yychat\r\n\r\n";

/// An upstream whose streams end when the gate is passed.
fn slow() -> (Opener, Upstream) {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            visit.chunk(event("I shall keep it in mind."));
            opened.pass();
            visit.chunk("data: [DONE]\n\n");
            visit.last_chunk();
        }
    });
    (opener, upstream)
}

/// How many records the user has.
fn records(proxy: &Proxy) -> usize {
    let page = proxy.exchange(get("/v1/memories?user_id=ada", &[])).text();
    let page: Value = serde_json::from_str(&page).expect("JSON");
    page["data"].as_array().expect("a list").len()
}

/// `speaking` has a stream for a user whom `erasing` erases before it ends.
fn erased_while_speaking(speaking: &Proxy, erasing: &Proxy, gate: &Opener) {
    let mut client = speaking.client();
    client.send(chat(&[], SAYS));
    assert_eq!(client.head().status(), 200);
    let erased = erasing.exchange(ERASE).text();
    let erased: Value = serde_json::from_str(&erased).expect("JSON");
    assert!(erased["erased_at"].is_string(), "{erased}");
    gate.open();
    assert!(client.body(Framing::Chunked).whole);
    eventually("the turn was given up", || {
        let given_up = speaking.metric("yychat_memory_writes_total{outcome=\"erased\"}");
        (given_up > 0.0).then_some(())
    });
    assert_eq!((records(speaking), records(erasing)), (0, 0));

    // What is said after it is kept.
    gate.open();
    let mut client = speaking.client();
    client.send(chat(&[], SAYS));
    assert_eq!(client.head().status(), 200);
    assert!(client.body(Framing::Chunked).whole);
    eventually("the next turn is kept", || {
        (records(erasing) > 0).then_some(())
    });
}

#[test]
fn a_user_who_is_erased_while_a_stream_is_live_stays_erased() {
    let (gate, upstream) = slow();
    let proxy = Setup::new().upstream(&upstream, "").start();
    erased_while_speaking(&proxy, &proxy, &gate);
}

#[test]
fn a_user_who_is_erased_through_another_gateway_stays_erased() {
    let server = Server::start();
    let (gate, upstream) = slow();
    let gateway = || {
        Setup::new()
            .upstream(&upstream, "")
            .set("memory.store", "postgres")
            .config("[memory]\nurl = { env = \"DATABASE_URL\" }\nrecall_deadline = \"10s\"")
            .env("DATABASE_URL", &server.url("postgres"))
            .start()
    };
    let (one, two) = (gateway(), gateway());
    erased_while_speaking(&one, &two, &gate);
}
