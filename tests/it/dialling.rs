//! How upstreams are reached: their addresses, and which connections are kept for whom.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use crate::support::certificates::Authority;
use crate::support::client::get;
use crate::support::upstream::{COMPLETION, json_answer};
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};
use yychat::server::Order;

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const OPENS: &str = "breaker = { failures = 1, open_for = \"1m\", open_at_most = \"1h\" }";

/// `localhost` at the port of a server that listens on 127.0.0.1 alone.
fn at_localhost(upstream: &Upstream) -> String {
    format!("http://localhost:{}/v1", upstream.address().port())
}

#[test]
fn localhost_is_whichever_loopback_answers_on_every_route() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config(OPENS)
        .upstream_at(&at_localhost(&upstream), "")
        .start();
    for _ in 0..5 {
        for request in [
            get("/v1/models", &[]),
            get("/v1/files", &[]),
            chat(&[], CHAT),
            post("/v1/embeddings", &[], CHAT),
            post("/v1/files", &[], "x".repeat(1 << 20)),
        ] {
            assert_eq!(proxy.exchange(request).text(), COMPLETION);
        }
    }
    assert_eq!(proxy.metric("yychat_upstream_open{upstream=\"u0\"}"), 0.0);
    assert_eq!(
        proxy.metric("yychat_upstream_errors_total{kind=\"connect\",upstream=\"u0\"}"),
        0.0
    );
}

#[test]
fn a_list_from_several_asks_every_address_too() {
    let list = r#"{"object":"list","data":[{"id":"m"}]}"#;
    let (one, two) = (
        Upstream::answering(json_answer(list)),
        Upstream::answering(json_answer(list)),
    );
    let proxy = Setup::new()
        .upstream_at(&at_localhost(&one), "")
        .upstream_at(&at_localhost(&two), "")
        .start();
    assert_eq!(
        proxy.exchange(get("/v1/models", &[])).text(),
        r#"{"object":"list","data":[{"id":"m"}]}"#
    );
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[test]
fn a_server_on_the_other_loopback_is_reached_as_well() {
    // A machine may be without IPv6.
    let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else {
        return;
    };
    let upstream = Upstream::listening(listener);
    let proxy = Setup::new()
        .upstream_at(&at_localhost(&upstream), "")
        .start();
    for request in [chat(&[], CHAT), get("/v1/files", &[])] {
        assert_eq!(proxy.exchange(request).text(), COMPLETION);
    }
}

#[test]
fn a_connection_that_one_authority_vouched_for_serves_no_upstream_of_another() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::start_tls(trusted.server(&[]), |visit| {
        while visit.try_request().is_some() {
            visit.send(json_answer(COMPLETION));
        }
    });
    let setup = Setup::new()
        .file("conf/trusted.pem", trusted.pem().as_bytes())
        .file("conf/other.pem", other.pem().as_bytes());
    let ca = |file: &str| format!("ca = {:?}", setup.path(file));
    let (trusting, wary) = (ca("conf/trusted.pem"), ca("conf/other.pem"));
    let url = format!("https://{}/v1", upstream.address());
    let proxy = setup
        .config("breaker.failures = 0")
        .upstream_at(&url, &format!("{trusting}\nmodels = [\"a\"]"))
        .upstream_at(&url, &format!("{wary}\nmodels = [\"b\"]"))
        .start();
    for _ in 0..3 {
        let answer = proxy.chat(r#"{"model":"a","messages":[]}"#);
        assert_eq!(answer.text(), COMPLETION);
        let error = proxy.chat(r#"{"model":"b","messages":[]}"#).error(502);
        assert_eq!(error["code"], "upstream_unreachable", "{error}");
        let request = post("/v1/embeddings", &[], r#"{"model":"b"}"#);
        proxy.exchange(request).error(502);
    }
}

#[test]
fn a_handshake_that_fails_says_what_to_do() {
    let unknown = Upstream::start_tls(Authority::new().server(&[]), |visit| {
        while visit.try_request().is_some() {}
    });
    let plain = Upstream::start(|visit| {
        let _ = visit.try_read();
        visit.try_send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    for (upstream, mend) in [
        (
            &unknown,
            "(an authority to be trusted is named by upstreams.ca)",
        ),
        (&plain, "its base_url begins with http://)"),
    ] {
        let url = format!("https://{}/v1", upstream.address());
        let proxy = Setup::new().upstream_at(&url, "").start();
        let error = proxy.chat(CHAT).error(502);
        assert_eq!(error["code"], "upstream_unreachable", "{error}");
        assert!(error.to_string().contains(mend), "{error}");
    }
}

fn reload(proxy: &Proxy, upstreams: &str) {
    let before = proxy.metric("yychat_config_generation");
    std::fs::write(proxy.setup.path("conf/yychat.toml"), upstreams).expect("a file");
    proxy.order(Order::Reload);
    eventually("the file is in force", || {
        (proxy.metric("yychat_config_generation") > before).then_some(())
    });
}

#[test]
fn an_upstream_that_was_removed_is_gone_from_the_gauge() {
    let well = Upstream::ok();
    let proxy = Setup::new()
        .config(OPENS)
        .upstream_at(
            &format!("http://{}/v1", Upstream::dead()),
            "models = [\"m\"]",
        )
        .upstream(&well, "models = [\"other\"]")
        .start();
    proxy.chat(CHAT).error(502);
    assert_eq!(proxy.metric("yychat_upstream_open{upstream=\"u0\"}"), 1.0);
    let text = proxy
        .setup
        .text()
        .replace("name = \"u0\"", "name = \"renamed\"");
    reload(&proxy, &text);
    // Without a request that would ask for it.
    let metrics = proxy.admin("/metrics").text();
    assert!(
        !metrics.contains("yychat_upstream_open{upstream=\"u0\"}"),
        "{metrics}"
    );
    proxy.chat(CHAT).error(502);
    assert_eq!(
        proxy.metric("yychat_upstream_open{upstream=\"renamed\"}"),
        1.0
    );
}
