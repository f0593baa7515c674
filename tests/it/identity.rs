//! Who is speaking: by whatever a client sends, and by nothing that it does not.

use crate::support::{Proxy, Upstream, chat};

/// The value of `x-yychat-memory` for a request with these fields and members.
fn memory(proxy: &Proxy, fields: &[&str], members: &str) -> String {
    let body = format!(r#"{{"messages":[{{"role":"user","content":"hello there"}}]{members}}}"#);
    let answer = proxy.exchange(chat(fields, body));
    assert_eq!(answer.status(), 200, "{members}: {}", answer.text());
    let memory = answer.head.get("x-yychat-memory").expect("the header");
    memory.to_owned()
}

/// What the upstream was sent last.
fn last(upstream: &Upstream) -> String {
    let requests = upstream.requests();
    requests.last().expect("a request").text()
}

#[test]
fn memory_that_is_off_says_why() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for (fields, members, wanted) in [
        (&[][..], "", "off;reason=no-identity"),
        (&[], r#","user":"ada""#, "miss"),
        (&[], r#","user":"ada","conversation_id":42"#, "miss"),
        (&[], r#","user":"ada","memory":"off""#, "off;reason=request"),
        (
            &["X-YYChat-Memory: off"],
            r#","user":"ada""#,
            "off;reason=request",
        ),
        (&[], r#","user":{"id":"ada"}"#, "off;reason=unfit-identity"),
        (&[], r#","conversation_id":42"#, "off;reason=unfit-identity"),
        (&["X-YYChat-User-Id: %FE"], "", "off;reason=unfit-identity"),
        (&[], r#","metadata":[]"#, "off;reason=no-identity"),
        (&["x-session-id: ses_1"], "", "off;reason=no-identity"),
        (
            &["X-OpenWebUI-User-Id: ada", "X-OpenWebUI-Chat-Id: local:7"],
            "",
            "off;reason=temporary",
        ),
    ] {
        assert_eq!(
            memory(&proxy, fields, members),
            wanted,
            "{fields:?} {members}"
        );
    }
}

#[test]
fn what_is_the_upstreams_to_judge_goes_on_as_it_came() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for members in [
        r#""metadata": [ ]"#,
        r#""user" : {"id": 7}"#,
        r#""user":1,"user":2"#,
        r#""User":"a","safety_identifier":[null]"#,
        r#""metadata":{"user_id":1,"user_id":"two"}"#,
    ] {
        let body = format!(r#"{{"messages":[],{members}}}"#);
        assert_eq!(proxy.chat(body.clone()).status(), 200, "{members}");
        assert_eq!(last(&upstream), body);
    }
    let body = r#"{"conversation_id":{"a":1},"messages":[],"conversation_id":42}"#;
    assert_eq!(proxy.chat(body).status(), 200);
    assert_eq!(last(&upstream), r#"{"messages":[]}"#);
}
