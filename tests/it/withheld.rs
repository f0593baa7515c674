//! Tools of the gateway's where they would do harm: none are offered, and the answer says why.

use serde_json::{Value, json};

use crate::support::upstream::{COMPLETION, answer, json_answer};
use crate::support::{Proxy, Setup, Upstream};

const CALCULATOR: &str = include_str!("../../plugins/calculator/plugin.toml");
const SCHEMA: &str = include_str!("../../plugins/calculator/calculator.json");

/// A gateway with the calculator, before an upstream with these lines.
fn gateway(upstream: &Upstream, lines: &str) -> Proxy {
    let setup = Setup::new().upstream(upstream, lines);
    std::fs::create_dir(setup.path("plugins/calculator")).expect("a folder");
    setup
        .file("plugins/calculator/plugin.toml", CALCULATOR.as_bytes())
        .file("plugins/calculator/calculator.json", SCHEMA.as_bytes())
        .start()
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
        ("400 Bad Request", "no"),
        ("422 Unprocessable Entity", "{}"),
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
fn a_refusal_that_is_not_about_tools_is_passed_on() {
    let always = |status: &'static str, says: &'static str| {
        Upstream::start(move |visit| {
            while visit.request().is_some() {
                visit.send(&answer(status, &["Content-Type: text/plain"], says));
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
