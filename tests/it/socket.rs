//! Responses over a WebSocket: what holds for a request holds for each response on one.

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use yychat::server::Order;

use crate::support::client::post;
use crate::support::socket::{ACCEPT, Line, Socket, upgrade};
use crate::support::upstream::{STREAM, Visit, answer, json_answer};
use crate::support::wire::Head;
use crate::support::{Proxy, Setup, Upstream, eventually, gate};

const JSON: &str = "Content-Type: application/json";

/// The events of a response of these items.
fn events(id: &str, items: &[Value]) -> Vec<Value> {
    let response = |status: &str, output: &[Value]| {
        json!({"id": id, "object": "response", "status": status, "model": "m", "output": output,
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}})
    };
    let mut events =
        vec![json!({"type": "response.created", "response": response("in_progress", &[])})];
    for (at, item) in items.iter().enumerate() {
        events
            .push(json!({"type": "response.output_item.added", "output_index": at, "item": item}));
        events.push(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
    }
    events.push(json!({"type": "response.completed", "response": response("completed", items)}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    events
}

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name,
        "arguments": r#"{"operation":"multiply","a":6,"b":7}"#, "status": "completed"})
}

fn sse(events: &[Value]) -> Vec<u8> {
    let mut bytes = STREAM.to_vec();
    for event in events {
        let frame = format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().expect("a type")
        );
        bytes.extend(format!("{:x}\r\n{frame}\r\n", frame.len()).into_bytes());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// An upstream without sockets that says `text` as many times as it is asked.
fn over_http(text: &'static str) -> Upstream {
    Upstream::start(move |visit| {
        let mut number = 0;
        while let Some(request) = visit.request() {
            number += 1;
            match request.head.target().starts_with("/v1/responses")
                && request.head.get("upgrade").is_none()
            {
                true => visit.send(sse(&events(&format!("resp_{number}"), &[message(text)]))),
                false => visit.send(answer("404 Not Found", &[], "")),
            }
        }
    })
}

/// An upstream with nothing but sockets; `answer` gets a frame and its number on the socket.
fn over_sockets(answer: impl Fn(&Value, usize) -> Vec<Value> + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |visit| serve(visit, &answer))
}

fn serve(visit: &mut Visit, answer: &(impl Fn(&Value, usize) -> Vec<Value> + Sync)) {
    let Some(head) = visit.head() else { return };
    assert_eq!(head.get("upgrade"), Some("websocket"), "{head:?}");
    let mut line = Line::accept(visit, &head);
    let mut number = 0;
    while let Some(frame) = line.hear() {
        number += 1;
        line.say_all(&answer(&frame, number));
    }
}

/// What an upstream was asked over its sockets, kept by the script itself.
#[derive(Clone, Default)]
struct Asked(std::sync::Arc<std::sync::Mutex<Vec<Value>>>);

impl Asked {
    fn note(&self, frame: &Value) {
        self.0.lock().expect("no panic").push(frame.clone());
    }

    fn all(&self) -> Vec<Value> {
        self.0.lock().expect("no panic").clone()
    }
}

fn create(more: Value) -> Value {
    let mut event = json!({"type": "response.create", "model": "m", "store": false});
    for (name, value) in more.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

/// The bodies of the POSTs that came.
fn bodies(upstream: &Upstream) -> Vec<Value> {
    let requests = upstream.requests().into_iter();
    let posts = requests.filter(|request| request.head.get("upgrade").is_none());
    let bodies = posts.map(|request| serde_json::from_slice(&request.body).expect("JSON"));
    bodies.collect()
}

fn is_remembered(proxy: &Proxy, text: &str) {
    eventually("it is saved", || {
        let search = json!({"user_id": "ann", "query": text}).to_string();
        let found = proxy.exchange(post("/v1/memories/search", &[JSON], search));
        found.text().contains(text).then_some(())
    });
}

#[test]
fn each_response_has_persona_memory_and_a_log_line() {
    let upstream = over_http("Noted.");
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .persona("ada", "You are Ada.")
        .set("personality.default", "ada")
        .start();
    // What it is opened for is not what each response is for.
    let opened_for = r#"X-Codex-Turn-Metadata: {"request_kind":"prewarm"}"#;
    let mut socket = Socket::open(proxy.client(), &["X-YYChat-User-Id: ann", opened_for]);
    let heard = socket.ask(create(json!({"input": "My cat is called Pixel."})));
    assert_eq!(heard, events("resp_1", &[message("Noted.")]));
    is_remembered(&proxy, "Pixel");
    socket.ask(create(
        json!({"input": [{"role": "user", "content": "What is my cat called?"}]}),
    ));
    let asked = bodies(&upstream);
    assert_eq!(asked[0]["instructions"], "You are Ada.");
    assert_eq!(asked[0]["stream"], true);
    assert_eq!(asked[0].get("type"), None);
    assert!(
        asked[1]["input"][0]["content"]
            .to_string()
            .contains("Pixel"),
        "{}",
        asked[1]
    );
    let count = r#"yychat_requests_total{route="responses",status="200",stream="true"}"#;
    eventually("each is counted", || {
        (proxy.metric(count) == 2.0).then_some(())
    });
    // An upstream that takes none is not asked for a socket again.
    let requests = upstream.requests();
    let upgrades = requests
        .iter()
        .filter(|it| it.head.get("upgrade").is_some());
    assert_eq!(upgrades.count(), 1);
}

#[test]
fn what_was_said_on_the_socket_is_told_to_an_upstream_that_keeps_nothing() {
    let upstream = over_http("Noted.");
    let proxy = Proxy::before(&upstream);
    let mut socket = Socket::open(proxy.client(), &[]);
    let first = socket.ask(create(json!({"input": "one"})));
    let id = first[0]["response"]["id"].clone();
    let more = json!({"input": [{"role": "user", "content": "two"}], "previous_response_id": id});
    socket.ask(create(more));
    let asked = bodies(&upstream);
    let user = |text: &str| json!({"role": "user", "content": text});
    assert_eq!(asked[0]["input"], json!([user("one")]));
    assert_eq!(
        asked[1]["input"],
        json!([user("one"), message("Noted."), user("two")])
    );
    assert_eq!(asked[1].get("previous_response_id"), None);
    // What nobody here knows is the upstream's to know.
    socket.ask(create(
        json!({"input": "three", "previous_response_id": "resp_other"}),
    ));
    assert_eq!(bodies(&upstream)[2]["previous_response_id"], "resp_other");
}

#[test]
fn getting_ready_asks_nobody_and_can_be_gone_on_from() {
    let upstream = over_http("Noted.");
    let proxy = Proxy::before(&upstream);
    let mut socket = Socket::open(proxy.client(), &[]);
    let ready = socket.ask(create(
        json!({"generate": false, "input": [{"role": "user", "content": "one"}]}),
    ));
    assert_eq!(ready.len(), 2);
    assert_eq!(bodies(&upstream), Vec::<Value>::new());
    let id = ready[1]["response"]["id"].clone();
    socket.ask(create(json!({"input": [], "previous_response_id": id})));
    let asked = bodies(&upstream).remove(0);
    assert_eq!(asked["input"], json!([{"role": "user", "content": "one"}]));
    assert_eq!(asked.get("generate"), None);
}

#[test]
fn an_upstream_with_sockets_hears_each_thing_once() {
    let asked = Asked::default();
    let noted = asked.clone();
    let upstream = over_sockets(move |frame, number| {
        noted.note(frame);
        events(&format!("resp_{number}"), &[message("Noted.")])
    });
    let proxy = Setup::new()
        .env("KEY_OF_OURS", "sk-ours")
        .upstream(&upstream, "api_key = { env = \"KEY_OF_OURS\" }")
        .start();
    let mut socket = Socket::open(
        proxy.client(),
        &["OpenAI-Beta: responses_websockets=2026-02-06"],
    );
    for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
        let mut more = json!({"input": [{"role": "user", "content": text}]});
        if number > 0 {
            more["previous_response_id"] = format!("resp_{number}").into();
        }
        let heard = socket.ask(create(more));
        assert_eq!(
            heard,
            events(&format!("resp_{}", number + 1), &[message("Noted.")])
        );
    }
    let asked = asked.all();
    for (number, frame) in asked.iter().enumerate() {
        assert_eq!(frame["type"], "response.create");
        assert_eq!(frame["input"].as_array().map(Vec::len), Some(1), "{frame}");
        assert_eq!(frame.get("stream"), None);
        let previous = (number > 0).then(|| format!("resp_{number}"));
        assert_eq!(
            frame.get("previous_response_id").and_then(Value::as_str),
            previous.as_deref()
        );
    }
    assert_eq!(upstream.connections(), 1);
    let received = String::from_utf8_lossy(&upstream.received()).into_owned();
    for line in [
        "GET /v1/responses HTTP/1.1",
        "Bearer sk-ours",
        "responses_websockets=2026-02-06",
    ] {
        assert!(received.contains(line), "{line}");
    }
    assert!(
        !received.to_lowercase().contains("content-type"),
        "{received}"
    );
}

#[test]
fn tools_run_over_the_same_socket() {
    let asked = Asked::default();
    let noted = asked.clone();
    let upstream = over_sockets(move |frame, number| {
        noted.note(frame);
        let item = match number {
            1 => call("call_1", "calculator"),
            _ => message("42"),
        };
        events(&format!("resp_{number}"), &[item])
    });
    let proxy = Setup::new().upstream(&upstream, "").calculator().start();
    let mut socket = Socket::open(proxy.client(), &[]);
    let heard = socket.ask(create(
        json!({"input": [{"role": "user", "content": "6*7?"}]}),
    ));
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(
        !json!(heard).to_string().contains("calculator"),
        "{heard:?}"
    );
    let last = heard.last().expect("an event");
    assert_eq!(last["response"]["output"], json!([message("42")]));
    assert_eq!(last["response"]["usage"]["total_tokens"], 10);
    let legs = asked.all();
    assert_eq!(legs[1]["previous_response_id"], "resp_1");
    assert_eq!(legs[1]["input"][0]["type"], "function_call_output");
    assert_eq!(legs[1]["input"].as_array().map(Vec::len), Some(1));
    // The client's next request names the response as it knows it, and the upstream hears no more than
    // what is new.
    let more = json!({"input": [{"role": "user", "content": "and?"}], "previous_response_id": last["response"]["id"]});
    socket.ask(create(more));
    let next = asked.all().pop().expect("a frame");
    assert_eq!(next["previous_response_id"], "resp_2");
    assert_eq!(next["input"], json!([{"role": "user", "content": "and?"}]));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_has_forgotten_is_told_all() {
    let asked = Asked::default();
    let noted = asked.clone();
    let upstream = over_sockets(move |frame, number| {
        noted.note(frame);
        match number {
            2 => vec![
                json!({"type": "error", "status": 400, "error": {"type": "invalid_request_error",
                "code": "previous_response_not_found", "message": "gone", "param": "previous_response_id"}}),
            ],
            _ => events(&format!("resp_{number}"), &[message("Noted.")]),
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut socket = Socket::open(proxy.client(), &[]);
    socket.ask(create(json!({"input": "one"})));
    let heard = socket.ask(create(
        json!({"input": "two", "previous_response_id": "resp_1"}),
    ));
    assert_eq!(
        heard.last().expect("an event")["type"],
        "response.completed"
    );
    let all = asked.all();
    assert_eq!(all.len(), 3);
    assert_eq!(all[2]["input"].as_array().map(Vec::len), Some(3));
    assert_eq!(all[2].get("previous_response_id"), None);
}

#[test]
fn a_socket_that_its_upstream_has_closed_is_opened_anew() {
    let asked = Asked::default();
    let noted = asked.clone();
    // Each serves one response and is then too old.
    let upstream = over_sockets(move |frame, number| match number {
        1 => {
            noted.note(frame);
            events("resp_1", &[message("Noted.")])
        }
        _ => vec![
            json!({"type": "error", "status": 400, "error": {"type": "invalid_request_error",
            "code": "websocket_connection_limit_reached", "message": "60 minutes"}}),
        ],
    });
    let proxy = Proxy::before(&upstream);
    let mut socket = Socket::open(proxy.client(), &[]);
    for _ in 0..3 {
        let heard = socket.ask(create(json!({"input": "one"})));
        assert_eq!(heard, events("resp_1", &[message("Noted.")]));
    }
    assert_eq!((asked.all().len(), upstream.connections()), (3, 3));
}

#[test]
fn errors_are_events_and_the_socket_goes_on() {
    let upstream = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            match request.text().contains("slow down") {
                true => visit.send(answer("429 Too Many Requests", &[JSON, "Retry-After: 7"],
                    r#"{"error":{"message":"wait","type":"rate_limit_error","code":"rate_limit_exceeded","param":null}}"#)),
                false if request.head.get("upgrade").is_some() => visit.send(answer("405 Method Not Allowed", &[], "")),
                false if request.text().contains("break off") => {
                    visit.send(STREAM);
                    let created = &events("resp_1", &[])[0];
                    visit.chunk(format!("data: {created}\n\n"));
                    return visit.reset();
                }
                false => visit.send(sse(&events("resp_1", &[message("Noted.")]))),
            }
        }
    });
    let proxy = Setup::new().upstream(&upstream, "models = [\"m\"]").start();
    let mut socket = Socket::open(proxy.client(), &[]);
    let asked = [
        (
            r#"{"type":"response.create","input":7}"#.to_owned(),
            400,
            "input",
        ),
        ("{".to_owned(), 400, ""),
        ("[]".to_owned(), 400, ""),
        (r#"{"input":"a"}"#.to_owned(), 400, "type"),
        (r#"{"type":"session.update"}"#.to_owned(), 400, "type"),
        (
            r#"{"type":"response.create","type":"response.create"}"#.to_owned(),
            400,
            "type",
        ),
        (
            create(json!({"stream_id": 7})).to_string(),
            400,
            "stream_id",
        ),
        (
            create(json!({"generate": "no"})).to_string(),
            400,
            "generate",
        ),
        (
            create(json!({"model": "none", "input": "a"})).to_string(),
            404,
            "model",
        ),
        (
            create(json!({"personality_id": "nobody", "input": "a"})).to_string(),
            404,
            "personality_id",
        ),
    ];
    for (frame, status, param) in asked {
        let heard = socket.ask(&frame);
        assert_eq!(heard.len(), 1, "{frame}");
        assert_eq!(
            (&heard[0]["type"], &heard[0]["status"]),
            (&json!("error"), &json!(status)),
            "{heard:?}"
        );
        assert!(heard[0]["error"]["message"].is_string());
        if !param.is_empty() {
            assert_eq!(heard[0]["error"]["param"], param, "{heard:?}");
        }
    }
    let heard = socket.ask(create(json!({"input": "break off"})));
    let last = heard.last().expect("an event");
    assert_eq!(
        (&last["type"], &last["status"]),
        (&json!("error"), &json!(502)),
        "{heard:?}"
    );
    // What is only told is not answered.
    socket.say(json!({"type": "response.processed", "response_id": "resp_1"}));
    let heard = socket.ask(create(json!({"input": "a"})));
    assert_eq!(heard, events("resp_1", &[message("Noted.")]));
    let heard = socket.ask(create(json!({"input": "slow down"})));
    assert_eq!(heard[0]["status"], 429);
    assert_eq!(heard[0]["error"]["code"], "rate_limit_exceeded");
    assert_eq!(heard[0]["headers"]["retry-after"], "7");
}

#[test]
fn frames_come_in_pieces_with_pings_between_and_are_bounded() {
    let upstream = over_http("Noted.");
    let setup = || {
        Setup::new()
            .config("server.body_limit = \"64KiB\"")
            .upstream(&upstream, "")
    };
    let proxy = setup().start();
    let mut socket = Socket::open(proxy.client(), &[]);
    let text = create(json!({"input": "in pieces, 你好"}))
        .to_string()
        .into_bytes();
    let pieces: Vec<_> = text.chunks(7).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let kind = if at == 0 { Data::Text } else { Data::Continue };
        let is_last = at + 1 == pieces.len();
        let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), is_last);
        socket.0.send(Message::Frame(frame)).expect("it is read");
        socket
            .0
            .send(Message::Ping(vec![1, 2, 3].into()))
            .expect("it is read");
    }
    let mut pongs = 0;
    loop {
        match socket.0.read().expect("an answer") {
            Message::Pong(said) => pongs += usize::from(said[..] == [1, 2, 3]),
            Message::Text(text) if text.contains("response.completed") => break,
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(pongs > 0, "pings are answered");
    assert_eq!(
        bodies(&upstream)[0]["input"][0]["content"],
        "in pieces, 你好"
    );
    // It ends as a client ends it.
    socket.0.close(None).expect("open");
    socket.end();

    let large = create(json!({"input": "a".repeat(100 << 10)})).to_string();
    for (sent, status, code) in [
        (Message::text(large), 413, CloseCode::Size),
        (Message::binary(b"{}".to_vec()), 400, CloseCode::Unsupported),
    ] {
        let mut socket = Socket::open(proxy.client(), &[]);
        socket.0.send(sent).expect("it is read");
        let error = socket.hear();
        assert_eq!(
            (&error["type"], &error["status"]),
            (&json!("error"), &json!(status))
        );
        assert_eq!(socket.end().expect("a reason").code, code);
    }
}

#[test]
fn lanes_go_on_beside_each_other_and_each_in_its_order() {
    let (opener, opened) = gate();
    let upstream = Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            if request.head.get("upgrade").is_some() {
                visit.send(answer("426 Upgrade Required", &[], ""));
                continue;
            }
            if request.text().contains("slow") {
                opened.pass();
            }
            visit.send(sse(&events("resp_1", &[message("Noted.")])));
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut socket = Socket::open(proxy.client(), &[]);
    socket.say(create(json!({"input": "slow", "stream_id": "one"})));
    socket.say(create(json!({"input": "behind it", "stream_id": "one"})));
    let heard = socket.ask(create(json!({"input": "beside it", "stream_id": "two"})));
    assert!(
        heard.iter().all(|event| event["stream_id"] == "two"),
        "{heard:?}"
    );
    let said = |body: &Value| body["input"][0]["content"].clone();
    assert!(
        !bodies(&upstream)
            .iter()
            .any(|body| said(body) == "behind it")
    );
    opener.open();
    for _ in 0..2 {
        let heard = socket.hear_all();
        assert!(
            heard.iter().all(|event| event["stream_id"] == "one"),
            "{heard:?}"
        );
    }
    assert_eq!(said(bodies(&upstream).last().expect("a body")), "behind it");
}

#[test]
fn a_client_that_leaves_takes_the_upstreams_work_with_it() {
    let (begun, has_begun) = gate();
    let (left, has_left) = gate();
    let sockets = Upstream::start({
        let (begun, left) = (begun.clone(), left.clone());
        move |visit| {
            let Some(head) = visit.head() else { return };
            let mut line = Line::accept(visit, &head);
            while line.hear().is_some() {
                line.say(&events("resp_1", &[])[0]);
                begun.open();
            }
            left.open();
        }
    });
    let http = Upstream::start(move |visit| {
        let Some(request) = visit.request() else {
            return;
        };
        if request.head.get("upgrade").is_some() {
            return visit.send(answer("404 Not Found", &["Connection: close"], ""));
        }
        visit.send(STREAM);
        visit.chunk(format!("data: {}\n\n", events("resp_1", &[])[0]));
        begun.open();
        visit.wait_for_close();
        left.open();
    });
    for upstream in [&sockets, &http] {
        let proxy = Proxy::before(upstream);
        let mut socket = Socket::open(proxy.client(), &[]);
        socket.say(create(json!({"input": "a"})));
        has_begun.pass();
        assert_eq!(socket.hear()["type"], "response.created");
        drop(socket);
        has_left.pass();
        let cut = r#"yychat_requests_total{route="responses",status="499",stream="true"}"#;
        eventually("it is noted", || (proxy.metric(cut) == 1.0).then_some(()));
        eventually("nothing is left", || {
            (proxy.metric("yychat_in_flight") == 0.0).then_some(())
        });
    }
}

#[test]
fn a_drain_ends_what_is_idle_and_lets_what_is_answered_end() {
    let (opener, opened) = gate();
    let (begun, has_begun) = gate();
    let upstream = Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            if request.head.get("upgrade").is_some() {
                visit.send(answer("404 Not Found", &[], ""));
                continue;
            }
            begun.open();
            opened.pass();
            visit.send(sse(&events("resp_1", &[message("Noted.")])));
        }
    });
    let mut proxy = Proxy::before(&upstream);
    let mut idle = Socket::open(proxy.client(), &[]);
    let mut busy = Socket::open(proxy.client(), &[]);
    busy.say(create(json!({"input": "a"})));
    has_begun.pass();
    proxy.order(Order::Drain);
    assert_eq!(idle.end().expect("a reason").code, CloseCode::Restart);
    opener.open();
    assert_eq!(busy.hear_all(), events("resp_1", &[message("Noted.")]));
    assert_eq!(busy.end().expect("a reason").code, CloseCode::Restart);
    proxy.join();
}

#[test]
fn keys_rates_and_reloads_hold_for_each_response() {
    let upstream = over_http("Noted.");
    let proxy = Setup::new()
        .upstream(&upstream, "api_key = { env = \"KEY_OF_OURS\" }")
        .env("KEY_OF_OURS", "sk-ours")
        .key("app", "gateway-key-of-app", "t")
        .with("rate = \"1/h\"\nburst = 2")
        .env("ANOTHER_KEY", "another-key-of-app")
        .start();
    let refused = proxy.exchange(upgrade("/v1/responses", &[]));
    refused.error(401);
    for shown in [
        "Authorization: Bearer gateway-key-of-app",
        "Sec-WebSocket-Protocol: openai-insecure-api-key.gateway-key-of-app, realtime",
    ] {
        let mut client = proxy.client();
        client.send(upgrade("/v1/responses", &[shown]));
        let head = client.head();
        assert_eq!(
            (head.status(), head.get("sec-websocket-accept")),
            (101, Some(ACCEPT))
        );
        let offers = shown.contains("realtime").then_some("realtime");
        assert_eq!(head.get("sec-websocket-protocol"), offers);
        let mut socket = Socket::over(client);
        let heard = socket.ask(create(json!({"input": "a"})));
        assert_eq!(
            heard.last().expect("an event")["type"],
            "response.completed",
            "{heard:?}"
        );
        if offers.is_none() {
            continue;
        }
        let heard = socket.ask(create(json!({"input": "a"})));
        assert_eq!(heard[0]["status"], 429, "{heard:?}");
        assert!(heard[0]["headers"]["retry-after"].is_string());
        // The key is taken away.
        let file = proxy.setup.path("conf/yychat.toml");
        let text = proxy.setup.text().replace("KEY_APP", "ANOTHER_KEY");
        std::fs::write(file, text).expect("a file of ours");
        eventually("the new key is in force", || {
            let heard = socket.ask(create(json!({"input": "a"})));
            (heard[0]["status"] == 401).then_some(())
        });
    }
    let received = String::from_utf8_lossy(&upstream.received()).into_owned();
    assert!(!received.contains("gateway-key-of-app"), "{received}");
}

#[test]
fn a_page_of_elsewhere_opens_none() {
    let upstream = over_http("Noted.");
    let open = |proxy: &Proxy, origin: &str| -> Head {
        let mut client = proxy.client();
        client.send(upgrade("/v1/responses", &[&format!("Origin: {origin}")]));
        client.head()
    };
    let proxy = Proxy::before(&upstream);
    assert_eq!(open(&proxy, "https://elsewhere.example").status(), 403);
    let proxy = Setup::new()
        .config("cors.origins = [\"https://app.example\"]")
        .upstream(&upstream, "")
        .start();
    assert_eq!(open(&proxy, "https://app.example").status(), 101);
    assert_eq!(open(&proxy, "https://elsewhere.example").status(), 403);
}

#[test]
fn what_is_no_socket_of_responses_is_said_at_once() {
    let upstream = Upstream::answering(json_answer("{}"));
    let proxy = Setup::new()
        .upstream(&upstream, "dialects = [\"chat\"]")
        .start();
    let refused = proxy.exchange(upgrade("/v1/responses", &[])).error(404);
    assert!(
        refused["message"]
            .as_str()
            .expect("text")
            .contains("dialects"),
        "{refused}"
    );
    let proxy = Proxy::before(&upstream);
    let other = "GET /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    proxy.exchange(other).error(426);
    let other = other
        .replace("Version: 8", "Version: 13")
        .replace("Sec-WebSocket-Key", "X-Key");
    proxy.exchange(other).error(400);
}
