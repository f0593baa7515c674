//! The byte contract on the way in: what an upstream is sent.

use http::Request;
use serde_json::{Value, json};

use crate::support::client::chunked;
use crate::support::upstream::COMPLETION;
use crate::support::wire::Framing;
use crate::support::{Proxy, Setup, Upstream, chat, http2, post};

/// Spacing, escapes, number spelling and an unknown field that a reprint would change.
const ODD: &str = "{ \"unknown\" : 1.50e+00,\t\"messages\":[{\"content\":\"\\u4f60 \\/ \u{597d}\",\"role\":\"user\" }],\n\"model\":\"m\",\"unknown2\":{\"a\":1,\"a\":2} }";

fn persona(mode: &str, more: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config(&format!("personality.mode = \"{mode}\""))
        .upstream(&upstream, more)
        .persona("ada", "You are \"Ada\".")
        .start();
    (upstream, proxy)
}

/// What the upstream is sent for a request with a persona.
fn sent(mode: &str, more: &str, messages: &str) -> String {
    let (upstream, proxy) = persona(mode, more);
    let body = format!("{{\"personality_id\":\"ada\",\"messages\":{messages}}}");
    assert_eq!(proxy.chat(body).status(), 200);
    upstream.request().text()
}

#[test]
fn without_a_persona_the_body_is_forwarded_as_it_came() {
    let upstream = Upstream::ok();
    let answer = Proxy::before(&upstream).chat(ODD);
    assert_eq!(answer.text(), COMPLETION);
    let request = upstream.request();
    assert_eq!(request.text(), ODD);
    assert_eq!(
        request.head.first_line,
        "POST /v1/chat/completions HTTP/1.1"
    );
    let length = ODD.len().to_string();
    assert_eq!(request.head.get("content-length"), Some(length.as_str()));
    assert_eq!(request.head.get("transfer-encoding"), None);
}

#[test]
fn a_body_behind_a_byte_order_mark_is_read_and_keeps_it() {
    let (upstream, proxy) = persona("prepend", "");
    let body = "\u{feff}{\"personality_id\":\"ada\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    assert_eq!(proxy.chat(body).status(), 200);
    assert_eq!(
        upstream.request().text(),
        "\u{feff}{\"messages\":[{\"role\":\"system\",\"content\":\"You are \\\"Ada\\\".\"},{\"role\":\"user\",\"content\":\"hi\"}]}"
    );
}

#[test]
fn a_persona_is_put_before_the_clients_system_message() {
    assert_eq!(
        sent(
            "prepend",
            "",
            r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]"#
        ),
        r#"{"messages":[{"role":"system","content":"You are \"Ada\"."},{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]}"#
    );
}

#[test]
fn a_persona_is_put_after_the_clients_system_message() {
    assert_eq!(
        sent(
            "append",
            "",
            r#"[{"role":"developer","content":"Be brief."},{"role":"user","content":"hi"}]"#
        ),
        r#"{"messages":[{"role":"developer","content":"Be brief."},{"role":"system","content":"You are \"Ada\"."},{"role":"user","content":"hi"}]}"#
    );
}

#[test]
fn a_persona_takes_the_place_of_the_clients_system_message() {
    assert_eq!(
        sent(
            "replace",
            "",
            r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]"#
        ),
        r#"{"messages":[{"role":"system","content":"You are \"Ada\"."},{"role":"user","content":"hi"}]}"#
    );
}

#[test]
fn an_upstream_of_strict_roles_gets_one_system_message() {
    assert_eq!(
        sent(
            "prepend",
            "strict_roles = true",
            r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]"#
        ),
        r#"{"messages":[{"role":"system","content":"You are \"Ada\".\n\nBe brief."},{"role":"user","content":"hi"}]}"#
    );
}

#[test]
fn everything_around_a_persona_stays_as_it_came() {
    let (upstream, proxy) = persona("prepend", "");
    let answer = proxy.exchange(chat(&["X-YYChat-Personality: ada"], ODD));
    assert_eq!(answer.head.get("x-yychat-personality"), Some("ada"));
    let request = upstream.request();
    let inserted = r#"{"role":"system","content":"You are \"Ada\"."},"#;
    assert_eq!(request.text().replacen(inserted, "", 1), ODD);
    assert_eq!(request.body.len(), ODD.len() + inserted.len());
    let length = request.body.len().to_string();
    assert_eq!(request.head.get("content-length"), Some(length.as_str()));
}

#[test]
fn the_default_personality_serves_requests_that_name_none() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("personality.default = \"ada\"")
        .upstream(&upstream, "")
        .persona("ada", "You are Ada.")
        .start();
    assert_eq!(proxy.chat(r#"{"messages":[]}"#).status(), 200);
    assert_eq!(
        upstream.request().text(),
        r#"{"messages":[{"role":"system","content":"You are Ada."}]}"#
    );
}

#[test]
fn the_header_wins_over_the_bodys_field() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "You are Ada.")
        .persona("李白", "You are Li Bai.")
        .start();
    let request = chat(
        &["X-YYChat-Personality: %E6%9D%8E%E7%99%BD"],
        r#"{"personality_id":"ada","messages":[]}"#,
    );
    let answer = proxy.exchange(request);
    assert_eq!(
        answer.head.get("x-yychat-personality"),
        Some("%E6%9D%8E%E7%99%BD")
    );
    assert!(upstream.request().text().contains("Li Bai"));
}

#[test]
fn extension_fields_are_cut_out_and_user_stays() {
    let upstream = Upstream::ok();
    let body = r#"{"personality_id":"","model":"m","conversation_id":"c","messages":[],"use_tools":true,"user":"u","memory":"off"}"#;
    assert_eq!(Proxy::before(&upstream).chat(body).status(), 200);
    assert_eq!(
        upstream.request().text(),
        r#"{"model":"m","messages":[],"user":"u"}"#
    );
}

#[test]
fn the_gateways_request_headers_end_here_and_others_go_on() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let fields = [
        "X-YYChat-User-Id: u",
        "X-YYChat-Anything: 1",
        "OpenAI-Organization: org",
        "X-Twice: 1",
        "X-Twice: 2",
        "Connection: keep-alive, X-Of-This-Hop",
        "X-Of-This-Hop: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Connection: keep-alive",
    ];
    assert_eq!(proxy.exchange(chat(&fields, ODD)).status(), 200);
    let head = upstream.request().head;
    let mut names: Vec<_> = head
        .fields
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "host",
            "openai-organization",
            "x-twice",
            "x-twice"
        ]
    );
    assert_eq!(head.all("x-twice"), ["1", "2"]);
    assert_eq!(
        head.get("host"),
        Some(upstream.address().to_string().as_str())
    );
}

#[test]
fn a_chunked_body_is_forwarded_with_an_exact_length() {
    let (upstream, proxy) = persona("prepend", "");
    let fields = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-YYChat-Personality: ada\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = [fields.as_bytes(), &chunked(ODD.as_bytes(), 7)].concat();
    assert_eq!(proxy.exchange(request).status(), 200);
    let request = upstream.request();
    let inserted = r#"{"role":"system","content":"You are \"Ada\"."},"#;
    assert_eq!(request.text().replacen(inserted, "", 1), ODD);
    assert_eq!(request.head.get("transfer-encoding"), None);
}

#[test]
fn a_client_that_waits_to_be_invited_is_invited_and_keeps_its_connection() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    let request = chat(&["Expect: 100-continue"], ODD);
    let (head, body) = request.split_at(request.len() - ODD.len());
    for _ in 0..2 {
        client.send(head);
        assert_eq!(client.head().status(), 100);
        client.send(body);
        let answer = client.response();
        assert_eq!((answer.status(), answer.text().as_str()), (200, COMPLETION));
        assert_eq!(
            answer.head.get("connection").unwrap_or("keep-alive"),
            "keep-alive"
        );
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.head.get("expect"), None);
        assert_eq!(request.text(), ODD);
    }
}

#[test]
fn a_client_that_waits_to_be_invited_is_not_invited_to_send_too_much() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    client.response().error(413);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_http2_client_with_prior_knowledge_is_served() {
    let (upstream, proxy) = persona("prepend", "");
    let request = Request::post(format!("http://{}/v1/chat/completions", proxy.api))
        .header("content-type", "application/json")
        .header("x-yychat-personality", "ada")
        .body(ODD.as_bytes().to_vec())
        .unwrap();
    let answer = http2::exchange(proxy.api, request);
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.headers["x-yychat-upstream"], "u0");
    assert_eq!(answer.body, COMPLETION.as_bytes());
    let inserted = r#"{"role":"system","content":"You are \"Ada\"."},"#;
    assert_eq!(upstream.request().text().replacen(inserted, "", 1), ODD);
}

#[test]
fn an_http2_client_uploads_megabytes() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let body = long_chat(5 << 20);
    let request = Request::post(format!("http://{}/v1/chat/completions", proxy.api))
        .body(body.clone().into_bytes())
        .unwrap();
    assert_eq!(http2::exchange(proxy.api, request).head.status, 200);
    assert!(upstream.request().body == body.as_bytes());
}

/// A chat of about `size` bytes, most of it an image.
fn long_chat(size: usize) -> String {
    let image = "QUJDRA+/".repeat(size / 8);
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"what is it?"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#
    )
}

fn goes_through_whole(size: usize) {
    let (upstream, proxy) = persona("prepend", "");
    let body = long_chat(size);
    assert_eq!(proxy.chat(&body).status(), 200);
    let answer = proxy.exchange(chat(&["X-YYChat-Personality: ada"], &body));
    assert_eq!(answer.status(), 200);
    let requests = upstream.requests();
    // Not assert_eq: a difference would print megabytes.
    assert!(requests[0].body == body.as_bytes());
    let inserted = r#"{"role":"system","content":"You are \"Ada\"."},"#;
    assert!(requests[1].text().replacen(inserted, "", 1) == body);
}

#[test]
fn two_hundred_kilobytes_go_through_whole() {
    goes_through_whole(200 << 10);
}

#[test]
fn five_megabytes_go_through_whole() {
    goes_through_whole(5 << 20);
}

#[test]
fn thirty_one_megabytes_go_through_whole() {
    goes_through_whole(31 << 20);
}

#[test]
fn too_large_a_body_is_refused_by_its_announced_length() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("server.body_limit = \"64KiB\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n");
    let error = client.response().error(413);
    assert!(
        error["message"].as_str().unwrap().contains("65536"),
        "{error}"
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn too_large_a_chunked_body_is_refused_while_it_is_read() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("server.body_limit = \"64KiB\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.try_send(chunked(&vec![b' '; 1 << 20], 9000));
    client.response().error(413);
    assert!(client.is_closed());
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_refused_body_is_read_on_so_that_the_answer_arrives() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("server.body_limit = \"64KiB\"")
        .upstream(&upstream, "")
        .start();
    // All of it is in flight before the first byte of the answer is read.
    proxy.chat(long_chat(4 << 20)).error(413);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn other_content_types_and_encodings_are_refused() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    for (field, param) in [
        ("Content-Type: text/plain", "Content-Type"),
        (
            "Content-Type: multipart/form-data; boundary=x",
            "Content-Type",
        ),
        ("Content-Encoding: gzip", "Content-Encoding"),
        ("Content-Encoding: br", "Content-Encoding"),
    ] {
        let request = post("/v1/chat/completions", &[field], ODD);
        let error = proxy.exchange(request).error(415);
        assert_eq!(error["param"], param, "{field}");
    }
    assert_eq!(upstream.connections(), 0);
    for field in [
        "Content-Type: Application/JSON; charset=utf-8",
        "Content-Type: application/vnd.api+json",
        "Content-Encoding: identity",
        "X-No: type",
    ] {
        let request = post("/v1/chat/completions", &[field], ODD);
        assert_eq!(proxy.exchange(request).status(), 200, "{field}");
    }
}

#[test]
fn faults_in_the_body_name_the_place() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let cases: [(&[u8], Value, &str); 14] = [
        (b"", Value::Null, "byte 0"),
        (b"{\"messages\":[", Value::Null, "byte 13"),
        (b"{\"messages\":[],}", Value::Null, "byte 15"),
        (b"{\"messages\":[]} x", Value::Null, "byte 16"),
        (b"[]", Value::Null, "array"),
        (b"{\"messages\":[],\"a\":\"\xff\"}", Value::Null, "byte 20"),
        (b"{\"messages\":[],\"a\":01}", Value::Null, "byte 20"),
        (b"{\"messages\":[],\"a\":\"\t\"}", Value::Null, "byte 20"),
        (
            b"{\"messages\":[],\"a\":\"\\ud800\"}",
            Value::Null,
            "byte 2",
        ),
        (b"{}", json!("messages"), "messages"),
        (b"{\"messages\":{}}", json!("messages"), "array"),
        (b"{\"messages\":[1]}", json!("messages[0]"), "object"),
        (b"{\"messages\":[{}]}", json!("messages[0].role"), "role"),
        (
            b"{\"messages\":[],\"memory\":\"no\"}",
            json!("memory"),
            "readonly",
        ),
    ];
    for (body, param, says) in cases {
        let shown = String::from_utf8_lossy(body);
        let error = proxy.chat(body).error(400);
        assert_eq!(error["type"], "invalid_request_error", "{shown}");
        assert_eq!(error["param"], param, "{shown}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{shown}: {error}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_unknown_personality_is_not_found_and_never_none() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "You are Ada.")
        .start();
    for request in [
        chat(&[], r#"{"personality_id":"bob","messages":[]}"#),
        chat(
            &["X-YYChat-Personality: bob"],
            r#"{"personality_id":"ada","messages":[]}"#,
        ),
    ] {
        let error = proxy.exchange(request).error(404);
        assert_eq!(error["code"], "personality_not_found");
        assert!(error["message"].as_str().unwrap().contains("`bob`"));
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn json_bombs_are_answered_and_reach_no_upstream() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let deep = format!("{{\"messages\":[],\"a\":{}", "[".repeat(1_000_000));
    let bombs: [Vec<u8>; 5] = [
        deep.into_bytes(),
        "[".repeat(1_000_000).into_bytes(),
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xf0\x28\x8c\x28\"}]}".to_vec(),
        br#"{"messages":[{"role":"user","content":"\udc00"}]}"#.to_vec(),
        br#"{"messages":[],"messages":[{"role":"user","content":"two"}]}"#.to_vec(),
    ];
    for bomb in bombs {
        proxy.chat(bomb).error(400);
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(proxy.chat(ODD).status(), 200);
}

#[test]
fn a_number_of_a_million_digits_is_forwarded_as_it_came() {
    let upstream = Upstream::ok();
    let body = format!("{{\"messages\":[],\"seed\":{}}}", "9".repeat(1_000_000));
    assert_eq!(Proxy::before(&upstream).chat(&body).status(), 200);
    assert!(upstream.request().body == body.as_bytes());
}

#[test]
fn nesting_as_deep_as_the_limit_passes_and_one_deeper_is_refused() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("limits.json_depth = 8")
        .upstream(&upstream, "")
        .start();
    let nested = |depth: usize| {
        format!(
            "{{\"messages\":[],\"a\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_eq!(proxy.chat(nested(7)).status(), 200);
    proxy.chat(nested(8)).error(400);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .config("timeouts.body_idle = \"50ms\"")
        .upstream(&upstream, "")
        .start();
    let mut client = proxy.client();
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"mess",
    );
    client.response().error(408);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_body_cut_short_reaches_no_upstream() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"messages\":[]}");
    client.finish();
    let _ = client.body(Framing::ToEnd);
    assert_eq!(upstream.connections(), 0);
}

/// Completions that were stored are listed, changed and deleted under the same path.
#[test]
fn what_is_no_new_completion_passes_through() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let path = "/v1/chat/completions?model=m&limit=1";
    for method in ["GET", "DELETE", "PUT"] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(proxy.exchange(request).text(), COMPLETION, "{method}");
        let head = upstream.requests().pop().expect("a request").head;
        assert_eq!(head.first_line, format!("{method} {path} HTTP/1.1"));
    }
}

#[test]
fn a_client_keeps_its_connection_over_many_requests() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.exchange(chat(&[], ODD)).text(), COMPLETION);
    }
    assert_eq!(upstream.requests().len(), 20);
    assert_eq!(
        upstream.connections(),
        1,
        "the upstream's connection is kept too"
    );
}
