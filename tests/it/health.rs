//! Upstreams that keep failing: who is asked in their place, and how they come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::client::get;
use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, chat, eventually, post};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;

/// Opens after two failures, and does not look again while a test lasts.
const OPENS: &str = "breaker = { failures = 2, open_for = \"1m\", open_at_most = \"1h\" }";

fn dead_url() -> String {
    format!("http://{}/v1", Upstream::dead())
}

fn open(proxy: &Proxy, upstream: &str) -> f64 {
    proxy.metric(&format!("yychat_upstream_open{{upstream=\"{upstream}\"}}"))
}

fn skipped(proxy: &Proxy, upstream: &str) -> f64 {
    proxy.metric(&format!(
        "yychat_upstream_skipped_total{{upstream=\"{upstream}\"}}"
    ))
}

#[test]
fn an_upstream_that_is_down_is_left_out_after_some_failures_and_both_routes_know() {
    let next = Upstream::ok();
    let proxy = Setup::new()
        .config(OPENS)
        .upstream_at(&dead_url(), "")
        .upstream(&next, "")
        .start();
    for _ in 0..5 {
        assert_eq!(proxy.chat(CHAT).text(), COMPLETION);
    }
    for _ in 0..3 {
        let answer = proxy.exchange(get("/v1/models", &[]));
        assert_eq!(answer.head.get("x-yychat-upstream"), Some("u1"));
    }
    let counted = "yychat_upstream_errors_total{kind=\"connect\",upstream=\"u0\"}";
    assert_eq!(proxy.metric(counted), 2.0, "the rest did not try");
    assert_eq!((open(&proxy, "u0"), open(&proxy, "u1")), (1.0, 0.0));
    assert_eq!(skipped(&proxy, "u0"), 6.0);
    let fallbacks = "yychat_fallback_total{outcome=\"tried\"}";
    assert_eq!(proxy.metric(fallbacks), 2.0, "what is left out is no retry");
}

#[test]
fn the_pass_through_route_opens_it_too() {
    let next = Upstream::ok();
    let proxy = Setup::new()
        .config(OPENS)
        .upstream_at(&dead_url(), "")
        .upstream(&next, "")
        .start();
    for _ in 0..4 {
        let answer = proxy.exchange(post("/v1/embeddings", &[], "{}"));
        assert_eq!(answer.head.get("x-yychat-upstream"), Some("u1"));
    }
    assert_eq!((open(&proxy, "u0"), skipped(&proxy, "u0")), (1.0, 2.0));
}

#[test]
fn with_no_upstream_left_the_client_is_told_at_once_when_to_come_again() {
    let proxy = Setup::new()
        .config(OPENS)
        .upstream_at(&dead_url(), "")
        .start();
    for _ in 0..2 {
        proxy.chat(CHAT).error(502);
    }
    for request in [chat(&[], CHAT), get("/v1/models", &[])] {
        let refused = proxy.exchange(request);
        let error = refused.error(503);
        assert_eq!(error["code"], "upstream_unavailable");
        let wait: u64 = refused.head.get("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let counted = "yychat_upstream_errors_total{kind=\"connect\",upstream=\"u0\"}";
    assert_eq!(proxy.metric(counted), 2.0);
}

#[test]
fn an_upstream_that_is_back_is_found_by_one_request_that_looks() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let first = Upstream::start(move |visit| {
        while visit.request().is_some() {
            if !is_well.load(Ordering::Acquire) {
                return;
            }
            visit.send(json_answer(COMPLETION));
        }
    });
    let next = Upstream::ok();
    let proxy = Setup::new()
        .config("breaker = { failures = 1, open_for = \"1ms\", open_at_most = \"1ms\" }")
        .upstream(&first, "")
        .upstream(&next, "")
        .start();
    // It may have been read, so nobody else is asked.
    proxy.chat(CHAT).error(502);
    assert_eq!(open(&proxy, "u0"), 1.0);
    well.store(true, Ordering::Release);
    eventually("the first serves again", || {
        let answer = proxy.chat(CHAT);
        assert_eq!(answer.status(), 200);
        (answer.head.get("x-yychat-upstream") == Some("u0")).then_some(())
    });
    assert_eq!(open(&proxy, "u0"), 0.0);
}

#[test]
fn answers_that_tell_of_an_outage_open_it_where_another_can_serve() {
    let ailing = Upstream::answering(answer("503 Service Unavailable", &[], "busy"));
    let next = Upstream::ok();
    let proxy = Setup::new()
        .config(OPENS)
        .upstream(&ailing, "")
        .upstream(&next, "")
        .start();
    for _ in 0..2 {
        assert_eq!(proxy.chat(CHAT).text(), "busy", "it was sent once");
    }
    assert_eq!(proxy.chat(CHAT).text(), COMPLETION);
    assert_eq!(ailing.requests().len(), 2);
    assert_eq!(open(&proxy, "u0"), 1.0);
}

#[test]
fn an_upstream_that_answers_keeps_its_own_words_where_there_is_no_other() {
    let ailing = Upstream::answering(answer(
        "503 Service Unavailable",
        &["Retry-After: 7"],
        "busy",
    ));
    let proxy = Setup::new().config(OPENS).upstream(&ailing, "").start();
    for _ in 0..5 {
        let answer = proxy.chat(CHAT);
        assert_eq!((answer.status(), answer.text()), (503, "busy".to_owned()));
        assert_eq!(answer.head.get("retry-after"), Some("7"));
    }
    assert_eq!(ailing.requests().len(), 5);
}

#[test]
fn errors_of_the_request_open_nothing() {
    for status in [
        "400 Bad Request",
        "429 Too Many Requests",
        "500 Internal Server Error",
    ] {
        let upstream = Upstream::answering(answer(status, &[], "no"));
        let next = Upstream::ok();
        let proxy = Setup::new()
            .config(OPENS)
            .upstream(&upstream, "")
            .upstream(&next, "")
            .start();
        for _ in 0..4 {
            assert_eq!(proxy.chat(CHAT).text(), "no");
        }
        assert_eq!((open(&proxy, "u0"), next.connections()), (0.0, 0));
    }
}

#[test]
fn an_outage_does_not_multiply_the_load_beyond_the_budget() {
    let dead = dead_url();
    // Never open, so that each request would try both.
    let proxy = Setup::new()
        .config("breaker.failures = 0")
        .upstream_at(&dead, "")
        .upstream_at(&dead, "")
        .start();
    let count = |outcome: &str| {
        let line = format!("yychat_fallback_total{{outcome=\"{outcome}\"}}");
        proxy.metric(&line)
    };
    let mut requests = 0.0;
    eventually("the budget is spent", || {
        proxy.chat(CHAT).error(502);
        requests += 1.0;
        (count("refused") > 0.0).then_some(())
    });
    assert_eq!(count("tried") + count("refused"), requests);
    // What is always granted in ten seconds.
    assert!(requests > 100.0, "{requests}");
}
