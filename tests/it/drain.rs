//! The end: what is live is finished, and then the server is gone.

use std::net::TcpStream;

use yychat::server::Order;

use crate::support::upstream::{STREAM, event};
use crate::support::{Proxy, Setup, Upstream, chat, eventually, gate};

const CHAT: &str = r#"{"stream":true,"messages":[]}"#;

fn streaming_behind_a_gate() -> (Upstream, crate::support::Opener) {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while visit.request().is_some() {
            visit.send(STREAM);
            visit.chunk(event("one"));
            opened.pass();
            visit.chunk(event("two"));
            visit.last_chunk();
        }
    });
    (upstream, opener)
}

#[test]
fn a_live_stream_is_finished_and_then_the_server_is_gone() {
    let (upstream, opener) = streaming_behind_a_gate();
    let mut proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send(chat(&[], CHAT));
    client.head();
    client.chunks(event("one").len());
    proxy.order(Order::Drain);
    eventually("nobody is let in any more", || {
        TcpStream::connect(proxy.api).is_err().then_some(())
    });
    assert!(!proxy.has_stopped());
    opener.open();
    assert_eq!(client.chunks(event("two").len()), event("two").as_bytes());
    assert_eq!(client.chunk(), None);
    proxy.join();
}

#[test]
fn an_idle_server_stops_though_clients_keep_their_connections() {
    let upstream = Upstream::ok();
    let mut proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    assert_eq!(client.exchange(chat(&[], CHAT)).status(), 200);
    proxy.order(Order::Drain);
    proxy.join();
    assert!(client.is_closed());
}

#[test]
fn a_stream_that_does_not_end_is_cut_at_the_drains_own_end() {
    let (upstream, _opener) = streaming_behind_a_gate();
    let mut proxy = Setup::new()
        .set("timeouts.drain", "100ms")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(chat(&[], CHAT));
    let head = client.head();
    client.chunks(event("one").len());
    proxy.order(Order::Drain);
    proxy.join();
    let body = client.body(head.framing(true, false).unwrap());
    assert!(!body.whole, "the cut is seen");
}
