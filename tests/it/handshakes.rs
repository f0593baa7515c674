//! TLS with clients, and what a connection costs before anyone has shaken hands.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::certificates::Authority;
use crate::support::upstream::COMPLETION;
use crate::support::wire::{Framing, Reader, is_cut};
use crate::support::{STUCK, Setup, Upstream, chat, eventually};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// A setup with a certificate of that authority.
fn over_tls(authority: &Authority) -> Setup {
    let (certificate, key) = authority.issue();
    let setup = Setup::new()
        .file("conf/cert.pem", certificate.as_bytes())
        .file("conf/key.pem", key.as_bytes());
    let (cert, key) = (setup.path("conf/cert.pem"), setup.path("conf/key.pem"));
    setup.config(&format!(
        "server.tls = {{ cert = {cert:?}, key = {key:?} }}"
    ))
}

#[test]
fn a_client_over_tls_is_served() {
    let authority = Authority::new();
    let upstream = Upstream::ok();
    let proxy = over_tls(&authority).upstream(&upstream, "").start();
    let mut client = authority.connect(proxy.api);
    client
        .write_all(&chat(&["Connection: close"], CHAT))
        .expect("open");
    let mut reader = Reader::new(client);
    let head = reader.head().expect("a header section").expect("an answer");
    assert_eq!(head.status(), 200);
    let body = reader.body(head.framing(true, false).unwrap()).unwrap();
    assert_eq!(body.bytes, COMPLETION.as_bytes());
    assert_ne!(head.framing(true, false).unwrap(), Framing::ToEnd);
    assert_eq!(upstream.request().text(), CHAT);
}

/// Waits for the end of a connection, which is all that the other side says.
fn is_closed(mut client: TcpStream) {
    client
        .set_read_timeout(Some(STUCK))
        .expect("an open socket");
    let mut said = Vec::new();
    match client.read_to_end(&mut said) {
        Err(error) => assert!(is_cut(&error), "{error}"),
        Ok(_) => assert_eq!(said, b""),
    }
}

#[test]
fn a_connection_counts_from_its_beginning_on_before_any_handshake() {
    let authority = Authority::new();
    let upstream = Upstream::ok();
    let proxy = over_tls(&authority)
        .config("limits.connections = 2")
        .upstream(&upstream, "")
        .start();
    let connect = || TcpStream::connect(proxy.api).expect("the gateway listens");
    let silent = [connect(), connect()];
    eventually("they count", || {
        (proxy.metric("yychat_connections") == 2.0).then_some(())
    });
    is_closed(connect());
    let turned_away = "yychat_rejected_total{reason=\"connections\"}";
    assert_eq!(proxy.metric(turned_away), 1.0);
    drop(silent);
    eventually("they are gone", || {
        (proxy.metric("yychat_connections") == 0.0).then_some(())
    });
    let mut client = authority.connect(proxy.api);
    client
        .write_all(&chat(&["Connection: close"], CHAT))
        .expect("open");
    let mut reader = Reader::new(client);
    assert_eq!(reader.head().unwrap().unwrap().status(), 200);
}

#[test]
fn a_handshake_has_a_deadline_of_its_own() {
    let authority = Authority::new();
    let proxy = over_tls(&authority)
        .config("timeouts.handshake = \"300ms\"\ntimeouts.header = \"300ms\"")
        .upstream(&Upstream::ok(), "")
        .start();
    // A record that says how long it is, half of it; and nothing at all.
    for begun in [&b"\x16\x03\x01\x02\x00\x01"[..], b""] {
        let mut client = TcpStream::connect(proxy.api).expect("the gateway listens");
        client.write_all(begun).expect("open");
        is_closed(client);
    }
    // HTTP/2's own begins after that of TLS.
    let mut client = authority.connect_speaking(proxy.api, &["h2"]);
    while client.conn.is_handshaking() {
        client
            .conn
            .complete_io(&mut client.sock)
            .expect("a handshake");
    }
    assert_eq!(client.conn.alpn_protocol(), Some(&b"h2"[..]));
    client.write_all(b"PRI * HTTP/2.0").expect("open");
    let mut said = Vec::new();
    // It may end without the last words of TLS.
    let _ = client.read_to_end(&mut said);
    assert_eq!(said, b"");
    let late = "yychat_rejected_total{reason=\"handshake\"}";
    eventually("all are gone", || {
        (proxy.metric("yychat_connections") == 0.0).then_some(())
    });
    assert_eq!(proxy.metric(late), 3.0);
}
