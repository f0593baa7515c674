//! OpenTelemetry traces, as a receiver decodes them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use yychat::server::Order;

use crate::support::client::{chat, get};
use crate::support::upstream::json_answer;
use crate::support::{Proxy, Setup, Upstream, eventually};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-11111111111111111111111111111111-2222222222222222-00";
const SAID: &str = "a-word-that-was-said";
const ANSWER: &str = r#"{"id":"c","model":"m-2026","choices":[{"index":0,"message":{"role":"assistant","content":"a-word-that-was-said"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
const ASK: &str =
    r#"{"model":"m","user":"ada","messages":[{"role":"user","content":"a-word-that-was-said"}]}"#;

/// A receiver that takes all that is exported.
fn receiver() -> Upstream {
    Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
    )
}

fn traced(receiver: &Upstream, upstream: &Upstream) -> Setup {
    Setup::new().upstream(upstream, "").set(
        "traces.endpoint",
        &format!("http://{}/", receiver.address()),
    )
}

/// Stops the gateway and gives what it has exported by then.
fn exported(mut proxy: Proxy, receiver: &Upstream) -> Vec<Span> {
    proxy.order(Order::Drain);
    proxy.join();
    let mut spans = Vec::new();
    for request in receiver.requests() {
        assert_eq!(request.head.first_line, "POST /v1/traces HTTP/1.1");
        let export = ExportTraceServiceRequest::decode(&request.body[..]).expect("protobuf");
        for resource in export.resource_spans {
            let of = attributes(&resource.resource.expect("a resource").attributes);
            assert_eq!(of["service.name"], "yychat");
            spans.extend(resource.scope_spans.into_iter().flat_map(|s| s.spans));
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = list.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        let text = match value.expect("a value") {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(switch) => switch.to_string(),
            Value::DoubleValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key.clone(), text)
    });
    pairs.collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_request_is_a_span_with_one_below_it_for_each_phase() {
    let (receiver, upstream) = (receiver(), Upstream::answering(json_answer(ANSWER)));
    let proxy = traced(&receiver, &upstream).persona("p", SAID).start();
    let parent = format!("traceparent: {PARENT}");
    let fields = [
        parent.as_str(),
        "tracestate: vendor=1",
        "X-YYChat-Personality: p",
    ];
    let answer = proxy.exchange(chat(&fields, ASK));
    let id = answer.head.get("x-yychat-request-id").expect("an id");
    let sent = upstream.request().head;
    let spans = exported(proxy, &receiver);

    assert!(!String::from_utf8_lossy(&receiver.received()).contains(SAID));
    let (own, phases): (Vec<_>, Vec<_>) = spans
        .iter()
        .partition(|span| span.kind == SpanKind::Server as i32);
    let own = own[0];
    assert_eq!(own.name, "chat m");
    assert_eq!(hex(&own.trace_id), PARENT[3..35]);
    assert_eq!(hex(&own.parent_span_id), PARENT[36..52]);
    assert_eq!(own.trace_state, "vendor=1");
    let parent = format!("00-{}-{}-01", hex(&own.trace_id), hex(&own.span_id));
    assert_eq!(sent.get("traceparent"), Some(parent.as_str()));
    assert_eq!(sent.get("tracestate"), Some("vendor=1"));
    let told = attributes(&own.attributes);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "u0"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.response.model", "m-2026"),
        ("gen_ai.usage.input_tokens", "7"),
        ("gen_ai.usage.output_tokens", "3"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/chat/completions"),
        ("yychat.generation", "1"),
        ("yychat.memory.outcome", "miss"),
        ("yychat.personality", "p"),
        ("yychat.request_id", id),
        ("yychat.route", "chat"),
        ("yychat.tenant", "default"),
        ("yychat.upstream", "u0"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!told.contains_key("error.type"));
    assert_eq!(own.status.as_ref().map_or(0, |status| status.code), 0);

    let mut last = own.start_time_unix_nano;
    for phase in &phases {
        assert_eq!(phase.parent_span_id, own.span_id);
        assert_eq!(phase.trace_id, own.trace_id);
        assert!(
            phase.start_time_unix_nano >= last,
            "{} overlaps",
            phase.name
        );
        assert!(phase.end_time_unix_nano >= phase.start_time_unix_nano);
        last = phase.end_time_unix_nano;
    }
    assert!(own.end_time_unix_nano >= last);
    let names: Vec<_> = phases.iter().map(|phase| phase.name.as_str()).collect();
    for name in [
        "read_body",
        "memory",
        "upstream_connect",
        "upstream_ttfb",
        "stream",
    ] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
}

#[test]
fn a_client_that_sends_a_trace_decides_whether_it_is_sampled() {
    let (receiver, upstream) = (receiver(), Upstream::ok());
    let setup = traced(&receiver, &upstream).set("traces.sample_ratio", "0");
    let proxy = setup.start();
    proxy.chat(ASK);
    proxy.exchange(chat(&[&format!("traceparent: {UNSAMPLED}")], ASK));
    proxy.exchange(get("/v1/models", &[&format!("traceparent: {PARENT}")]));
    let spans = exported(proxy, &receiver);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), PARENT[3..35], "{}", span.name);
    }
    assert_eq!(spans[0].name, "GET other");
    let sent = upstream.requests();
    let parents = sent.iter().map(|request| request.head.get("traceparent"));
    let parents: Vec<_> = parents.map(|parent| parent.expect("one")).collect();
    assert!(parents[0].ends_with("-00"), "{}", parents[0]);
    assert_eq!(parents[1][..35], UNSAMPLED[..35]);
    assert!(parents[1].ends_with("-00") && !parents[1].contains(&UNSAMPLED[36..52]));
    assert_eq!(parents[2][36..52], hex(&spans[0].span_id));
}

#[test]
fn a_trace_that_cannot_be_read_is_begun_anew() {
    let (receiver, upstream) = (receiver(), Upstream::ok());
    let proxy = traced(&receiver, &upstream).start();
    let broken = format!("traceparent: {}", PARENT.to_uppercase());
    proxy.exchange(chat(&[&broken, "tracestate: vendor=1"], ASK));
    let sent = upstream.request().head;
    let spans = exported(proxy, &receiver);
    assert_ne!(hex(&spans[0].trace_id), PARENT[3..35]);
    assert!(spans[0].parent_span_id.is_empty());
    let parent = sent.get("traceparent").expect("one");
    assert_eq!(parent[3..35], hex(&spans[0].trace_id));
    assert_eq!(sent.get("tracestate"), None);
}

#[test]
fn without_traces_the_clients_own_goes_on_untouched() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(&upstream);
    let odd = "traceparent: WHATEVER it is";
    proxy.exchange(chat(&[odd, "tracestate: vendor=1"], ASK));
    proxy.exchange(get("/v1/models", &[odd]));
    for request in upstream.requests() {
        assert_eq!(request.head.get("traceparent"), Some("WHATEVER it is"));
    }
    assert_eq!(
        upstream.requests()[0].head.get("tracestate"),
        Some("vendor=1")
    );
}

#[test]
fn a_failure_is_told_and_a_stranger_has_no_trace() {
    let receiver = receiver();
    let proxy = Setup::new()
        .upstream_at(&format!("http://{}/v1", Upstream::dead()), "")
        .key("a", "key-of-the-first-app", "acme")
        .set("traces.endpoint", &format!("http://{}", receiver.address()))
        .start();
    proxy.chat(ASK).error(401);
    let key = "Authorization: Bearer key-of-the-first-app";
    proxy.exchange(chat(&[key], ASK)).error(502);
    let spans = exported(proxy, &receiver);
    let own: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server as i32)
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    let told = attributes(&own[0].attributes);
    assert_eq!(told["error.type"], "502");
    assert_eq!(told["yychat.tenant"], "acme");
    let status = own[0].status.as_ref().expect("a status");
    assert_eq!(status.code, StatusCode::Error as i32);
    assert!(
        status.message.contains("could not be reached"),
        "{status:?}"
    );
}

#[test]
fn a_receiver_that_is_away_costs_a_count_and_no_request() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .set("traces.endpoint", &format!("http://{}", Upstream::dead()))
        .start();
    assert_eq!(proxy.chat(ASK).status(), 200);
    eventually("the loss is counted", || {
        let failed = proxy.metric("yychat_traces_total{outcome=\"failed\"}");
        (failed > 0.0).then_some(())
    });
    assert_eq!(proxy.chat(ASK).status(), 200);
}
