//! Tools of the gateway's where they would do harm: none are offered, and the answer says why.

use serde_json::{Value, json};

use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream, post};

/// A gateway with the calculator, before an upstream with these lines.
fn gateway(upstream: &Upstream, lines: &str) -> Proxy {
    Setup::new().upstream(upstream, lines).calculator().start()
}

fn request(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"6*7?"}}]{members}}}"#)
}

fn tools(upstream: &Upstream, request: usize) -> usize {
    let body: Value = serde_json::from_slice(&upstream.requests()[request].body).expect("JSON");
    body["tools"].as_array().map_or(0, Vec::len)
}

fn withheld(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!(
        "yychat_tools_withheld_total{{reason=\"{reason}\"}}"
    ))
}

#[test]
fn tools_are_offered_where_they_can_help_and_the_answer_says_how_many_or_why_none() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "");
    let own = json!({ "type": "function", "function": { "name": "own" } });
    let list = |count: usize| format!(r#","tools":{}"#, json!(vec![own.clone(); count]));
    let forced = r#","tool_choice":{"type":"function","function":{"name":"own"}}"#;
    let allowed = r#","tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto"}}"#;
    for (members, header, offered) in [
        (String::new(), "1", 1),
        (list(127), "1", 128),
        (list(128), "0;reason=limit", 128),
        (
            list(1) + r#","tool_choice":"required""#,
            "0;reason=forced-choice",
            1,
        ),
        (list(1) + forced, "0;reason=forced-choice", 1),
        (list(1) + allowed, "0;reason=forced-choice", 1),
        (
            r#","response_format":{"type":"json_object"}"#.into(),
            "0;reason=answer-schema",
            0,
        ),
        (
            r#","response_format":{"type":"json_schema"}"#.into(),
            "0;reason=answer-schema",
            0,
        ),
        (r#","n":2"#.into(), "0;reason=several-answers", 0),
        (r#","functions":[]"#.into(), "0;reason=functions", 0),
        (r#","tool_choice":"none""#.into(), "0;reason=request", 0),
        (r#","use_tools":false"#.into(), "0;reason=disabled", 0),
    ] {
        let answer = proxy.chat(request(&members));
        assert_eq!(answer.head.get("x-yychat-tools"), Some(header), "{members}");
        let last = upstream.requests().len() - 1;
        assert_eq!(tools(&upstream, last), offered, "{members}");
    }
    assert!(withheld(&proxy, "forced-choice") >= 3.0);
}

#[test]
fn an_upstream_whose_models_call_no_tools_is_offered_none() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "tools = false");
    let answer = proxy.chat(request(""));
    let said = answer.head.get("x-yychat-tools");
    assert_eq!(said, Some("0;reason=upstream"));
    assert_eq!(tools(&upstream, 0), 0);
    let own = json!({ "type": "function", "function": { "name": "own" } });
    proxy.chat(request(&format!(r#","tools":[{own}]"#)));
    assert_eq!(tools(&upstream, 1), 1, "the client's are its own business");
}

/// An upstream that answers requests with tools by this, and others as usual.
fn refusing(status: &'static str, says: &'static str) -> Upstream {
    Upstream::start(move |visit| {
        while let Some(request) = visit.request() {
            let has_tools = request.text().contains("\"tools\"");
            visit.send(&match has_tools {
                true => answer(status, &["Content-Type: application/json"], says),
                false => json_answer(COMPLETION),
            });
        }
    })
}

#[test]
fn a_refusal_that_only_the_gateways_tools_can_have_caused_is_met_once_and_remembered() {
    for (status, says) in [
        (
            "400 Bad Request",
            r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice"}}"#,
        ),
        ("400 Bad Request", r#"{"error":"m does not support tools"}"#),
        (
            "422 Unprocessable Entity",
            r#"{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
        (
            "404 Not Found",
            r#"{"error":{"message":"No endpoints found that support tool use"}}"#,
        ),
        (
            "500 Internal Server Error",
            r#"{"code":500,"message":"tools param requires --jinja flag"}"#,
        ),
    ] {
        let upstream = refusing(status, says);
        let proxy = gateway(&upstream, "");
        for (sent, offered) in [(2, [1, 0].as_slice()), (3, &[1, 0, 0])] {
            let answer = proxy.chat(request(""));
            assert_eq!(
                (answer.status(), answer.text().as_str()),
                (200, COMPLETION),
                "{says}"
            );
            let said = answer.head.get("x-yychat-tools");
            assert_eq!(said, Some("0;reason=refused"), "{says}");
            let counts: Vec<_> = (0..sent).map(|at| tools(&upstream, at)).collect();
            assert_eq!(counts, offered, "{says}");
        }
        assert_eq!(upstream.requests().len(), 3, "{says}");
        // Another model may be another matter.
        let other = request("").replace("\"m\"", "\"other\"");
        proxy.chat(other);
        assert_eq!(tools(&upstream, 3), 1, "{says}");
    }
}

#[test]
fn a_request_that_is_odd_beside_tools_takes_them_from_nobody() {
    // Answered without them, and said of that request.
    for says in [
        "no",
        "{}",
        r#"{"error":{"message":"messages with role 'tool' must follow a message with 'tool_calls'"}}"#,
        r#"{"error":{"code":"context_length_exceeded","message":"tools are not supported beyond"}}"#,
    ] {
        let upstream = refusing("400 Bad Request", says);
        let proxy = gateway(&upstream, "");
        for sent in [2, 4] {
            let answer = proxy.chat(request(""));
            let said = answer.head.get("x-yychat-tools");
            assert_eq!((answer.status(), said), (200, Some("0;reason=refused")));
            assert_eq!(upstream.requests().len(), sent, "{says}");
            assert_eq!(tools(&upstream, sent - 2), 1, "{says}");
        }
    }
}

#[test]
fn what_one_tenants_requests_bring_about_is_that_tenants_alone() {
    let upstream = refusing("400 Bad Request", "m does not support tools");
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .key("one", "gateway-key-of-one", "one")
        .key("two", "gateway-key-of-two", "two")
        .calculator()
        .start();
    for (key, sent) in [("one", 2), ("one", 3), ("two", 5), ("two", 6)] {
        let authorized = format!("Authorization: Bearer gateway-key-of-{key}");
        let fields = ["Content-Type: application/json", &authorized];
        let answer = proxy.exchange(post("/v1/chat/completions", &fields, request("")));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(upstream.requests().len(), sent, "{key}");
    }
}

#[test]
fn a_refusal_that_is_not_about_tools_is_passed_on() {
    let always = |status: &'static str, says: &'static str| {
        Upstream::start(move |visit| {
            while visit.request().is_some() {
                visit.send(answer(status, &["Content-Type: text/plain"], says));
            }
        })
    };
    // One that refuses without them too is tried again each time, and nothing is remembered.
    let upstream = always("400 Bad Request", "what is that?");
    let proxy = gateway(&upstream, "");
    for sent in [2, 4] {
        let answer = proxy.chat(request(""));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (400, "what is that?")
        );
        assert_eq!(upstream.requests().len(), sent);
        assert_eq!(tools(&upstream, sent - 2), 1);
    }
    // What may have been served, or is about something else, is asked once.
    for (status, code, says) in [
        ("500 Internal Server Error", 500, "out of memory"),
        ("404 Not Found", 404, "no such model"),
        ("429 Too Many Requests", 429, "too many tools"),
        ("401 Unauthorized", 401, "no tools for you"),
    ] {
        let upstream = always(status, says);
        let answer = gateway(&upstream, "").chat(request(""));
        assert_eq!((answer.status(), answer.text().as_str()), (code, says));
        assert_eq!(upstream.requests().len(), 1, "{says}");
    }
    // The client's own tools may be what it is about.
    let upstream = refusing("500 Internal Server Error", "tools? no");
    let own = json!({ "type": "function", "function": { "name": "own" } });
    let answer = gateway(&upstream, "").chat(request(&format!(r#","tools":[{own}]"#)));
    assert_eq!((answer.status(), upstream.requests().len()), (500, 1));
}

#[test]
fn a_prompt_that_is_too_long_with_tools_is_no_refusal_of_tools() {
    let upstream = refusing(
        "400 Bad Request",
        r#"{"error":{"code":"context_length_exceeded","message":"tools take too much"}}"#,
    );
    let proxy = gateway(&upstream, "");
    for sent in [2, 4] {
        assert_eq!(proxy.chat(request("")).status(), 200);
        assert_eq!(upstream.requests().len(), sent);
    }
}

const JSON: [&str; 1] = ["Content-Type: application/json"];
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

/// A question in the API of a path, with these members.
fn asked(path: &str, members: &str) -> String {
    match path {
        RESPONSES => format!(r#"{{"model":"m","input":"6*7?"{members}}}"#),
        _ => request(members),
    }
}

#[test]
fn every_shape_of_a_choice_and_of_an_answer_is_the_apps_in_each_api() {
    let upstream = Upstream::ok();
    let proxy = gateway(&upstream, "");
    let forced = "0;reason=forced-choice";
    let schema = "0;reason=answer-schema";
    let chat = "/v1/chat/completions";
    for (path, members, header) in [
        (chat, r#""tool_choice":"auto""#, "1"),
        (chat, r#""tool_choice":null"#, "1"),
        (chat, r#""tool_choice":"required""#, forced),
        (chat, r#""tool_choice":"any""#, forced),
        (
            chat,
            r#""tool_choice":{"type":"function","function":{"name":"own"}}"#,
            forced,
        ),
        (
            chat,
            r#""tool_choice":{"type":"custom","custom":{"name":"own"}}"#,
            forced,
        ),
        (
            chat,
            r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[]}}"#,
            forced,
        ),
        (chat, r#""tool_choice":{"type":"what_comes_next"}"#, forced),
        (chat, r#""response_format":{"type":"text"}"#, "1"),
        (
            chat,
            r#""response_format":{"type":"what_comes_next"}"#,
            schema,
        ),
        (chat, r#""guided_json":{}"#, schema),
        (
            chat,
            r#""functions":[{"name":"own"}],"function_call":{"name":"own"}"#,
            "0;reason=functions",
        ),
        (
            chat,
            r#""functions":[{"name":"own"}],"function_call":"auto""#,
            "0;reason=functions",
        ),
        (chat, r#""functions":null"#, "1"),
        (RESPONSES, "\"x\":1", "1"),
        (RESPONSES, r#""tool_choice":"auto""#, "1"),
        (RESPONSES, r#""tool_choice":null"#, "1"),
        (RESPONSES, r#""tool_choice":"none""#, "0;reason=request"),
        (RESPONSES, r#""tool_choice":"required""#, forced),
        (
            RESPONSES,
            r#""tool_choice":{"type":"function","name":"own"}"#,
            forced,
        ),
        (
            RESPONSES,
            r#""tool_choice":{"type":"custom","name":"own"}"#,
            forced,
        ),
        (
            RESPONSES,
            r#""tool_choice":{"type":"mcp","server_label":"s"}"#,
            forced,
        ),
        (
            RESPONSES,
            r#""tool_choice":{"type":"web_search_preview"}"#,
            forced,
        ),
        (
            RESPONSES,
            r#""tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]}"#,
            forced,
        ),
        (
            RESPONSES,
            r#""text":{"format":{"type":"json_schema"}}"#,
            schema,
        ),
        (
            RESPONSES,
            r#""text":{"format":{"type":"json_object"}}"#,
            schema,
        ),
        (
            RESPONSES,
            r#""text":{"format":{"type":"text"},"verbosity":"low"}"#,
            "1",
        ),
        (RESPONSES, r#""background":true"#, "0;reason=background"),
        (MESSAGES, "\"x\":1", "1"),
        (MESSAGES, r#""tool_choice":{"type":"auto"}"#, "1"),
        (
            MESSAGES,
            r#""tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#,
            "1",
        ),
        (
            MESSAGES,
            r#""tool_choice":{"type":"none"}"#,
            "0;reason=request",
        ),
        (MESSAGES, r#""tool_choice":{"type":"any"}"#, forced),
        (
            MESSAGES,
            r#""tool_choice":{"type":"tool","name":"own"}"#,
            forced,
        ),
        (MESSAGES, r#""tool_choice":"required""#, forced),
        (
            MESSAGES,
            r#""tool_choice":{"type":"what_comes_next"}"#,
            forced,
        ),
        (
            MESSAGES,
            r#""output_format":{"type":"json_schema"}"#,
            schema,
        ),
        (
            MESSAGES,
            r#""output_config":{"format":{"type":"json_schema"}}"#,
            schema,
        ),
        (MESSAGES, r#""output_config":{"effort":"high"}"#, "1"),
    ] {
        let body = asked(path, &format!(",{members}"));
        let answer = proxy.exchange(post(path, &JSON, &body));
        assert_eq!(
            answer.head.get("x-yychat-tools"),
            Some(header),
            "{path} {members}"
        );
        let last = upstream.requests().len() - 1;
        assert_eq!(
            tools(&upstream, last) > 0,
            header == "1",
            "{path} {members}"
        );
    }
}

#[test]
fn what_an_upstream_cannot_take_it_is_not_given_in_any_api() {
    for path in [RESPONSES, MESSAGES] {
        let own = json!({ "type": "function", "name": "own", "input_schema": {} });
        let many = format!(r#","tools":{}"#, json!(vec![own; 128]));
        let plain = Upstream::ok();
        let proxy = gateway(&plain, "");
        let answer = proxy.exchange(post(path, &JSON, asked(path, &many)));
        assert_eq!(
            answer.head.get("x-yychat-tools"),
            Some("0;reason=limit"),
            "{path}"
        );
        assert_eq!(tools(&plain, 0), 128, "{path}");
        let proxy = gateway(&plain, "tools = false");
        let answer = proxy.exchange(post(path, &JSON, asked(path, "")));
        assert_eq!(
            answer.head.get("x-yychat-tools"),
            Some("0;reason=upstream"),
            "{path}"
        );
        let refusing = refusing(
            "400 Bad Request",
            r#"{"error":{"message":"tools are not supported"}}"#,
        );
        let proxy = gateway(&refusing, "");
        for sent in [2, 3] {
            let answer = proxy.exchange(post(path, &JSON, asked(path, "")));
            assert_eq!(
                (answer.status(), answer.text().as_str()),
                (200, COMPLETION),
                "{path}"
            );
            assert_eq!(
                answer.head.get("x-yychat-tools"),
                Some("0;reason=refused"),
                "{path}"
            );
            assert_eq!(refusing.requests().len(), sent, "{path}");
        }
    }
}

/// An answer in the API of a path that calls the calculator, with these arguments.
fn calling(path: &str, arguments: &str) -> String {
    let answer = match path {
        RESPONSES => json!({ "id": "r", "object": "response", "status": "completed", "output": [
            { "type": "function_call", "id": "fc", "call_id": "c", "name": "calculator",
              "arguments": arguments, "status": "completed" }] }),
        MESSAGES => {
            json!({ "id": "m", "type": "message", "role": "assistant", "stop_reason": "tool_use",
            "content": [{ "type": "tool_use", "id": "c", "name": "calculator", "input": arguments }] })
        }
        _ => json!({ "choices": [{ "finish_reason": "tool_calls", "message": { "role": "assistant",
            "content": null, "tool_calls": [{ "id": "c", "type": "function",
            "function": { "name": "calculator", "arguments": arguments } }] } }] }),
    };
    answer.to_string()
}

#[test]
fn the_last_leg_keeps_its_tools_and_calls_none_and_all_that_goes_back_parses() {
    for path in ["/v1/chat/completions", RESPONSES, MESSAGES] {
        for choice in ["", r#","tool_choice":null"#] {
            let upstream = Upstream::start(move |visit| {
                while let Some(request) = visit.request() {
                    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                    let is_last = body["tool_choice"].to_string().contains("none");
                    visit.send(json_answer(&match is_last {
                        true => COMPLETION.to_owned(),
                        false => calling(path, ""),
                    }));
                }
            });
            let proxy = Setup::new()
                .upstream(&upstream, "")
                .set("tools.max_rounds", "2")
                .calculator()
                .start();
            let answer = proxy.exchange(post(path, &JSON, asked(path, choice)));
            assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
            assert_eq!(upstream.requests().len(), 3, "{path}");
            assert_eq!(tools(&upstream, 2), 1, "{path}");
            let body: Value = serde_json::from_slice(&upstream.requests()[2].body).expect("JSON");
            let none = match path {
                MESSAGES => json!({ "type": "none" }),
                _ => json!("none"),
            };
            assert_eq!(body["tool_choice"], none, "{path}");
            let text = body.to_string();
            assert!(
                !text.contains(r#""arguments":"""#) && !text.contains(r#""input":"""#),
                "{text}"
            );
        }
    }
}
