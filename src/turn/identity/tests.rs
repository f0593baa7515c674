use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use ring::hmac;

use super::*;

const NOW: i64 = 1_800_000_000;

/// Reads `body` with `lines` of `Name: value` as its header.
pub(super) fn read(lines: &[&str], body: &str, trust: Trust<'_>) -> Identity {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        headers.append(
            HeaderName::try_from(name).expect("a name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(body).expect("an object");
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| (name, value.to_string()))
        .collect();
    let member = |name: &str| {
        let found = members.iter().find(|(known, _)| *known == name);
        found.map(|(_, raw)| raw.as_bytes())
    };
    let sources = Sources {
        headers: &headers,
        member: &member,
    };
    Identity::read(sources, trust)
}

/// User, conversation, and whose memory it is.
pub(super) fn told(identity: &Identity) -> (Option<&str>, Option<&str>, &'static str) {
    let scope = match identity.scope("t") {
        None => "nobody",
        Some(scope) if scope.user().is_some() => "user",
        Some(_) => "conversation",
    };
    let conversation = identity.conversation.as_deref();
    (identity.user.as_deref(), conversation, scope)
}

const CLAUDE_CODE: &str = r#"{"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"acc\",\"session_id\":\"s\"}"}}"#;
const NO_ACCOUNT: &str = r#"{"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"}}"#;
const OLDER: &str = r#"{"metadata":{"user_id":"user_dd_account_acc_session_s"}}"#;
const OLDER_WITHOUT: &str = r#"{"metadata":{"user_id":"user_dd_account__session_s"}}"#;

#[test]
fn each_name_is_what_it_is() {
    let user = |name| (Some(name), None, "user");
    let group = |name| (None, Some(name), "nobody");
    let cases: &[(&[&str], &str, _)] = &[
        (&[], "{}", (None, None, "nobody")),
        (&["X-YYChat-User-Id: a"], "{}", user("a")),
        (&["X-YYChat-User-Id:  %E6%B0%91 "], "{}", user("民")),
        (&["X-YYChat-User-Id: 民"], "{}", user("民")),
        (&[], r#"{"user":"a"}"#, user("a")),
        (&["X-OpenWebUI-User-Id: a"], "{}", user("a")),
        (&["x-sm-user-id: a"], "{}", user("a")),
        (&["x-resource-id: a"], "{}", user("a")),
        (&[], r#"{"safety_identifier":"a"}"#, user("a")),
        (&[], r#"{"metadata":{"user_id":"a"}}"#, user("a")),
        (&[], CLAUDE_CODE, (Some("acc"), Some("s"), "user")),
        (&[], OLDER, (Some("acc"), Some("s"), "user")),
        (&[], NO_ACCOUNT, group("s")),
        (&[], OLDER_WITHOUT, group("s")),
        // What else passes Claude Code's on.
        (
            &[],
            r#"{"user":"user_dd_account_acc_session_s"}"#,
            user("acc"),
        ),
        // What only looks like it.
        (
            &[],
            r#"{"user":"user_dd_account_acc"}"#,
            user("user_dd_account_acc"),
        ),
        (&[], r#"{"user":"{\"id\":7}"}"#, user(r#"{"id":7}"#)),
        (
            &["X-YYChat-Conversation-Id: c"],
            "{}",
            (None, Some("c"), "conversation"),
        ),
        (
            &[],
            r#"{"conversation_id":"c"}"#,
            (None, Some("c"), "conversation"),
        ),
        (&["X-OpenWebUI-Chat-Id: c"], "{}", group("c")),
        (&["x-sm-conversation-id: c"], "{}", group("c")),
        (&["x-thread-id: c"], "{}", group("c")),
        (&["x-conversation-id: c"], "{}", group("c")),
        (
            &["x-session-id: ses_1", "x-session-affinity: ses_1"],
            "{}",
            group("ses_1"),
        ),
        (&["x-session-affinity: ses_1"], "{}", group("ses_1")),
        (
            &["session-id: s", "thread-id: c"],
            r#"{"prompt_cache_key":"k"}"#,
            group("c"),
        ),
        (&["session-id: s"], "{}", group("s")),
        (&["session_id: s", "conversation_id: c"], "{}", group("c")),
        (&["X-Claude-Code-Session-Id: s2"], NO_ACCOUNT, group("s2")),
        (&[], r#"{"conversation":"conv_1"}"#, group("conv_1")),
        (&[], r#"{"conversation":{"id":"conv_1"}}"#, group("conv_1")),
        (
            &[],
            r#"{"client_metadata":{"session_id":"s","thread_id":"c"}}"#,
            group("c"),
        ),
        (&[], r#"{"client_metadata":{"session_id":"s"}}"#, group("s")),
        (&[], r#"{"prompt_cache_key":"k"}"#, group("k")),
        (
            &["X-OpenWebUI-User-Id: a", "X-OpenWebUI-Chat-Id: c"],
            "{}",
            (Some("a"), Some("c"), "user"),
        ),
    ];
    for (lines, body, wanted) in cases {
        let identity = read(lines, body, Trust::default());
        assert_eq!(told(&identity), *wanted, "{lines:?} {body}");
        assert!(
            identity.unfit.is_none() && !identity.is_temporary,
            "{lines:?} {body}"
        );
    }
}

#[test]
fn the_first_that_fits_is_believed() {
    let lines = [
        "X-YYChat-User-Id: 1",
        "X-OpenWebUI-User-Id: 3",
        "x-sm-user-id: 4",
        "x-resource-id: 5",
    ];
    let bodies = [
        r#"{"user":"2","safety_identifier":"6","metadata":{"user_id":"7"}}"#,
        r#"{"user":null,"safety_identifier":"6","metadata":{"user_id":"7"}}"#,
        r#"{"user":" ","safety_identifier":"","metadata":{"user_id":"7"}}"#,
        r#"{"user":7,"metadata":{"user_id":"7"}}"#,
        r#"{"user":""}"#,
    ];
    let trust = Trust {
        user: Some("8"),
        ..Trust::default()
    };
    for (lines, body, wanted) in [
        (&lines[..], bodies[0], "1"),
        (&lines[1..], bodies[0], "2"),
        (&lines[1..], bodies[1], "3"),
        (&lines[1..], bodies[3], "3"),
        (&lines[2..], bodies[1], "4"),
        (&lines[3..], bodies[1], "5"),
        (&[][..], bodies[1], "6"),
        (&[][..], bodies[2], "7"),
        (&[][..], bodies[3], "7"),
        (&[][..], bodies[4], "8"),
        (&[][..], NO_ACCOUNT, "8"),
    ] {
        let identity = read(lines, body, trust);
        assert_eq!(identity.user.as_deref(), Some(wanted), "{lines:?} {body}");
        assert!(identity.unfit.is_none(), "{lines:?} {body}");
    }
}

#[test]
fn a_name_that_can_be_none_is_none_and_is_not_the_keys_own() {
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(513));
    let trust = Trust {
        user: Some("the key's"),
        ..Trust::default()
    };
    for (lines, body) in [
        (&[][..], r#"{"user":42}"#),
        (&[][..], r#"{"user":{"id":"a"}}"#),
        (&[][..], r#"{"user":["a"]}"#),
        (&[][..], r#"{"user":true}"#),
        (&[][..], r#"{"user":"a\u0000b"}"#),
        (&[][..], &long),
        (&[][..], r#"{"metadata":{"user_id":7}}"#),
        (&[][..], r#"{"safety_identifier":[]}"#),
        (&["X-YYChat-User-Id: %FF"][..], "{}"),
        (&["X-YYChat-User-Id: a%0Ab"][..], "{}"),
        (&["X-YYChat-User-Id: a", "X-YYChat-User-Id: b"][..], "{}"),
        (&["X-OpenWebUI-User-Jwt: a.b.c"][..], "{}"),
        (&["X-YYChat-User-Id: {{LIBRECHAT_USER_ID}}"][..], "{}"),
        (&["X-YYChat-User-Id: %7B%7BUSER_ID%7D%7D"][..], "{}"),
        (&["X-OpenWebUI-User-Id: acme-{{ user }}"][..], "{}"),
        (&["x-resource-id: ${USER_ID}"][..], "{}"),
        (&["X-YYChat-User-Id: undefined"][..], "{}"),
        (&[][..], r#"{"user":"[object Object]"}"#),
        (&[][..], r#"{"user":" None "}"#),
        (&[][..], r#"{"metadata":{"user_id":"null"}}"#),
        (
            &[][..],
            r#"{"user":"00000000-0000-0000-0000-000000000000"}"#,
        ),
    ] {
        let identity = read(lines, body, trust);
        assert_eq!(told(&identity), (None, None, "nobody"), "{lines:?} {body}");
        assert!(identity.unfit.is_some(), "{lines:?} {body}");
    }
    for body in [
        r#"{"conversation_id":42}"#,
        r#"{"conversation_id":{"a":1}}"#,
    ] {
        let identity = read(&[], body, Trust::default());
        assert_eq!(told(&identity), (None, None, "nobody"), "{body}");
        assert!(identity.unfit.is_some(), "{body}");
    }
    // Names that only look like it.
    for name in [
        "Nil",
        "nonesuch",
        "$ada",
        "a{{b",
        "a}}{{b",
        "undefined@example.com",
    ] {
        let body = format!(r#"{{"user":"{name}"}}"#);
        let identity = read(&[], &body, Trust::default());
        assert_eq!(identity.user.as_deref(), Some(name));
    }
    // These name nobody, and there is nothing amiss with that.
    for body in [
        r#"{"metadata":[]}"#,
        r#"{"metadata":"x"}"#,
        r#"{"metadata":{"user_id":null}}"#,
        r#"{"prompt_cache_key":7,"conversation":7,"client_metadata":7}"#,
    ] {
        let identity = read(&[], body, Trust::default());
        assert_eq!(identity, Identity::default(), "{body}");
    }
}

#[test]
fn open_webuis_signed_user_is_believed_where_its_secret_is_known() {
    let secret = SecretString::from("s3cret");
    let signed = |secret: &str| {
        let parts = [r#"{"alg":"HS256"}"#, r#"{"sub":"ann","exp":1800000300}"#];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, parts.as_bytes()));
        format!("X-OpenWebUI-User-Jwt: {parts}.{signature}")
    };
    let (own, other) = (signed("s3cret"), signed("another"));
    let with = |secret, now| Trust {
        user: None,
        secret,
        now,
    };
    for (line, trust, user) in [
        (&own, with(Some(&secret), NOW), Some("ann")),
        (&own, with(Some(&secret), NOW + 400), None),
        (&own, with(None, NOW), None),
        (&other, with(Some(&secret), NOW), None),
    ] {
        let identity = read(&[line, "X-OpenWebUI-Chat-Id: c"], "{}", trust);
        assert_eq!(identity.user.as_deref(), user, "{line}");
        assert_eq!(identity.unfit.is_some(), user.is_none(), "{line}");
        assert_eq!(identity.conversation.as_deref(), Some("c"));
    }
    // Who is signed for wins over who is only named.
    let lines = [&own[..], "X-OpenWebUI-User-Id: bob"];
    let identity = read(&lines, "{}", with(Some(&secret), NOW));
    assert_eq!(identity.user.as_deref(), Some("ann"));
}

#[test]
fn a_temporary_chat_is_known_by_its_name() {
    for (line, is_temporary) in [
        ("X-OpenWebUI-Chat-Id: local:Xy_9", true),
        ("X-OpenWebUI-Chat-Id: local", true),
        ("X-YYChat-Conversation-Id: local:Xy_9", true),
        ("X-OpenWebUI-Chat-Id: 0f0e", false),
        ("X-OpenWebUI-Chat-Id: locality", false),
        ("x-session-id: local:1", false),
    ] {
        let identity = read(&[line, "X-OpenWebUI-User-Id: a"], "{}", Trust::default());
        assert_eq!(identity.is_temporary, is_temporary, "{line}");
    }
}

#[test]
fn a_session_is_nobody_however_it_is_told() {
    for told in [
        r#"{"session_id":"s"}"#,
        r#" {"device_id":"d","session_id":"s"}"#,
        r#"{"device_id":"d","account_uuid":null,"session_id":"s"}"#,
    ] {
        let body = serde_json::json!({"metadata": {"user_id": told}}).to_string();
        let identity = read(&[], &body, Trust::default());
        assert_eq!(
            (identity.user, identity.conversation),
            (None, Some("s".into())),
            "{told}"
        );
    }
    let told = r#" {"device_id":"d","account_uuid":"acc","session_id":5}"#;
    let body = serde_json::json!({"metadata": {"user_id": told}}).to_string();
    let identity = read(&[], &body, Trust::default());
    assert_eq!(
        (identity.user, identity.conversation),
        (Some("acc".into()), None)
    );
    // What another app writes is its own.
    let body = serde_json::json!({"metadata": {"user_id": r#"{"id":"ada"}"#}}).to_string();
    let identity = read(&[], &body, Trust::default());
    assert_eq!(identity.user.as_deref(), Some(r#"{"id":"ada"}"#));
}
