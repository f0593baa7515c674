use std::future;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;

/// What the server saw: the target, the headers' debug form, the body.
type Seen = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// A server that answers by its path and notes what it is asked.
async fn serve() -> (u16, Seen) {
    let seen = Seen::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, seen)
}

async fn answer(State(seen): State<Seen>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = head.uri.to_string();
    seen.lock()
        .push((target.clone(), format!("{:?}", head.headers), body));
    let respond = |status: u16, body: Body| {
        let response = Response::builder().status(status);
        response
            .header("location", "http://169.254.169.254/")
            .body(body)
            .unwrap()
    };
    match target.split(['/', '?']).nth(1).unwrap() {
        "hang" => future::pending().await,
        "flood" => respond(200, Body::from(vec![b'x'; 8 << 20])),
        "redirect" => respond(302, Body::empty()),
        "broken" => respond(500, Body::from("key was canary-0123456789")),
        "garbage" => respond(200, Body::from("<html>")),
        "text" => respond(200, Body::from(vec![b'o', b'k', 0xff])),
        _ => respond(200, Body::from("{\"results\":[{\"text\":\"found\"},2]}")),
    }
}

/// A plugin with one tool, `t`, against that server.
fn toolbox(port: u16, path: &str, rest: &str) -> Toolbox {
    let manifest = format!(
        "kind = \"http\"\nallow_hosts = [\"localhost\", \"127.0.0.1\"]\n\
         [secrets]\nkey = {{ env = \"KEY\" }}\n\
         [[tools]]\nname = \"t\"\ndescription = \"d\"\n\
         parameters = {{ type = \"object\", properties = {{ a = {{}}, b = {{}} }} }}\n\
         url = \"http://localhost:{port}{path}\"\n{rest}\n"
    );
    let dir = folder(&[("plugin", &manifest)]);
    Toolbox::load(
        dir.path(),
        &variables(&[("KEY", "canary-0123456789")]),
        None,
        &Reading::default(),
    )
    .unwrap_or_else(|faults| panic!("{faults}"))
}

async fn call(toolbox: &Toolbox, arguments: Value) -> (Outcome, String) {
    let result = toolbox.call("t", &arguments.to_string(), CONTEXT).await;
    (result.outcome, result.content)
}

#[tokio::test]
async fn a_request_is_made_of_its_templates() {
    let (port, seen) = serve().await;
    let rest = "method = \"POST\"\nresult = \"/results\"\n\
                headers = { X-Key = \"k {{ secrets.key }}\", X-A = \"{{ a }}\" }\n\
                [tools.body]\nvalue = \"{{ a }}\"\ntext = \"<{{ a }}>\"\nleft_out = \"{{ b }}\"\n\
                fixed = 5\nlist = [\"{{ a }}\", \"{{ b }}\", \"x\"]\n";
    let toolbox = toolbox(port, "/x/{{ a }}?q={{ a }}", rest);
    let answer = call(&toolbox, json!({"a": "1 & \"2\""})).await;
    assert_eq!(answer, (Outcome::Ok, "[{\"text\":\"found\"},2]".to_owned()));
    let (target, headers, body) = seen.lock().pop().unwrap();
    assert_eq!(target, "/x/1%20%26%20%222%22?q=1%20%26%20%222%22");
    assert!(
        headers.contains("\"x-key\": \"k canary-0123456789\""),
        "{headers}"
    );
    assert!(
        headers.contains("\"content-type\": \"application/json\""),
        "{headers}"
    );
    let expected = json!({
        "value": "1 & \"2\"", "text": "<1 & \"2\">", "fixed": 5, "list": ["1 & \"2\"", "x"],
    });
    assert_eq!(parsed(&body), expected);
}

#[tokio::test]
async fn a_pointer_finds_the_result() {
    let (port, _) = serve().await;
    for (path, pointer, outcome, content) in [
        ("/", "/results/0/text", Outcome::Ok, "found"),
        ("/", "/results/1", Outcome::Ok, "2"),
        (
            "/",
            "/nothing",
            Outcome::UpstreamError,
            "there is nothing at /nothing",
        ),
        ("/garbage", "/results", Outcome::UpstreamError, "not JSON"),
        ("/text", "", Outcome::Ok, "ok\u{fffd}"),
    ] {
        let rest = format!("method = \"GET\"\nresult = \"{pointer}\"");
        let answer = call(&toolbox(port, path, &rest), json!({})).await;
        assert_eq!(answer.0, outcome, "{answer:?}");
        assert!(answer.1.contains(content), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_misbehaves_is_cut_at_its_bound() {
    let (port, seen) = serve().await;
    let ask = |path, result| {
        toolbox(
            port,
            path,
            &format!("method = \"GET\"\nresult = \"{result}\""),
        )
    };

    let (outcome, content) = call(&ask("/redirect", ""), json!({})).await;
    assert_eq!(outcome, Outcome::UpstreamError);
    assert!(content.contains("redirects are not followed"), "{content}");

    let (outcome, content) = call(&ask("/broken", ""), json!({})).await;
    assert_eq!(outcome, Outcome::UpstreamError);
    assert!(
        content.contains("500") && content.contains("key was [redacted]"),
        "{content}"
    );

    assert_eq!(
        call(&ask("/flood", ""), json!({})).await.0,
        Outcome::TooLarge
    );
    assert_eq!(
        call(&ask("/flood", "/a"), json!({})).await.0,
        Outcome::TooLarge
    );

    let context = CallContext {
        timeout: Duration::from_millis(1),
        ..CONTEXT
    };
    let hung = ask("/hang", "").call("t", "{}", context).await;
    assert_eq!(hung.outcome, Outcome::Timeout);
    assert!(seen.lock().len() <= 5);
}

#[tokio::test]
async fn a_closed_port_is_an_upstream_error_without_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let toolbox = toolbox(port, "/?key={{ secrets.key }}", "method = \"GET\"");
    let (outcome, content) = call(&toolbox, json!({})).await;
    assert_eq!(outcome, Outcome::UpstreamError);
    assert!(
        content.contains("cannot be reached") && !content.contains("canary"),
        "{content}"
    );
}

/// A name that leads to this host is refused by its address, and nobody is asked.
#[tokio::test]
async fn a_private_address_is_never_dialled() {
    let (port, seen) = serve().await;
    let manifest = format!(
        "kind = \"http\"\n[[tools]]\nname = \"t\"\ndescription = \"d\"\nmethod = \"GET\"\n\
         url = \"http://localhost:{port}/\"\n"
    );
    let (outcome, content) = call(&one(&manifest), json!({})).await;
    assert_eq!(outcome, Outcome::RefusedEgress);
    assert!(content.contains("loopback"), "{content}");
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn arguments_that_change_the_request_are_refused() {
    let (port, seen) = serve().await;
    let toolbox = toolbox(
        port,
        "/a/{{ a }}/b",
        "method = \"GET\"\nheaders = { X-B = \"{{ b }}\" }",
    );
    for arguments in [
        json!({"a": ".."}),
        json!({"a": "."}),
        json!({"a": "x", "b": "1\r\nHost: elsewhere"}),
        json!({"a": "x", "b": "\u{0}"}),
    ] {
        let (outcome, content) = call(&toolbox, arguments).await;
        assert_eq!(outcome, Outcome::InvalidArguments, "{content}");
    }
    assert!(seen.lock().is_empty());
    assert_eq!(
        call(&toolbox, json!({"a": "%2e%2e", "b": "é"})).await.0,
        Outcome::Ok
    );
    assert_eq!(seen.lock()[0].0, "/a/%252e%252e/b");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever an argument holds, the server reads it where it was put and nowhere else.
    #[test]
    fn no_argument_leaves_its_place(value in "\\PC{1,20}|[\"\\\\{}\\[\\],:/?#&=% \r\n\t\0]{1,8}") {
        let runtime = Runtime::new().unwrap();
        let (port, seen) = runtime.block_on(serve());
        let rest = "method = \"POST\"\nbody = { alone = \"{{ a }}\", mixed = \"x{{ a }}y\" }";
        let toolbox = toolbox(port, "/p?q={{ a }}", rest);
        let (outcome, _) = runtime.block_on(call(&toolbox, json!({"a": value})));
        prop_assert_eq!(outcome, Outcome::Ok);
        let (target, _, body) = seen.lock().pop().unwrap();
        prop_assert_eq!(parsed(&body), json!({"alone": value, "mixed": format!("x{value}y")}));
        let url = url::Url::parse(&format!("http://h{target}")).unwrap();
        prop_assert_eq!(url.path(), "/p");
        let query: Vec<_> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(query, [("q".to_owned(), value)]);
    }
}
