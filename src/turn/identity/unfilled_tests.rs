//! Names that are nobody's.

use super::tests::{read, told};
use super::*;

#[test]
fn a_name_that_all_who_have_none_would_share_is_nobodys() {
    let user = |name: &str| {
        let body = serde_json::json!({ "user": name }).to_string();
        read(&[], &body, Trust::default())
    };
    for name in [
        "{user_id}",
        "{{user}}",
        "{userId}",
        "{ user.id }",
        "{{{user.id}}}",
        "{{ $json.user }}",
        "${USER_ID}",
        "${user?.id}",
        "$(whoami)",
        "`whoami`",
        "#{current_user.id}",
        "<%= user.id %>",
        "{% user %}",
        "$USER",
        "$USER_ID",
        "$userId",
        "$env:USERNAME",
        "%USERNAME%",
        "%user_id%",
        "%s",
        "%d",
        "%(user)s",
        ":user_id",
        "<user>",
        "<user-id>",
        "<YOUR_USER_ID>",
        "<your user id>",
        "<built-in function id>",
        "<function get_user at 0x7f12ab34>",
        "[USER_ID]",
        "[Your Name]",
        "__USER_ID__",
        "YOUR_USER_ID",
        "your-user-id",
        "your_user_id_here",
        "yourUserId",
        "YOUR NAME",
        "Your-Username",
        "你的用户ID",
        "user_id",
        "userId",
        "USERNAME",
        "end-user-id",
        "string",
        "undefined",
        "Undefined",
        "null",
        "\"null\"",
        "none",
        "NaN",
        "(null)",
        "[object Object]",
        "[object Promise]",
        "function () { [native code] }",
        "{}",
        "[]",
        "\"\"",
        "--",
        "*",
        "-",
        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "XXX",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "00000000000000000000000000000000",
        "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "placeholder",
        "CHANGE_ME",
        "TODO",
        "anonymous",
        "Anonymous",
        "ANONYMOUS_USER",
        "anonymousUser",
        "AnonymousUser",
        "anon",
        "guest",
        "Guest User",
        "unknown",
        "default",
        "default_user",
        "default-user",
        "user",
        "User",
        "nobody",
        "not_logged_in",
        "0",
        "-1",
        "匿名",
        "游客",
        "未登录",
        "默认用户",
        "用户ID",
        "ゲスト",
    ] {
        let identity = user(name);
        assert_eq!(told(&identity), (None, None, "nobody"), "{name}");
        let unfit = identity.unfit.expect("a reason");
        assert!(unfit.starts_with("user \""), "{name}: {unfit}");
    }
    // Somebody is called so, or it is an id that somebody was given.
    for name in [
        "test",
        "test-user",
        "user_123",
        "user-1",
        "u0",
        "1",
        "42",
        "me",
        "admin",
        "root",
        "demo",
        "Guestavo",
        "anonymous-8f3a21",
        "guest_12345",
        "anonymous@example.org",
        "default:ann",
        "user:ann",
        "Null",
        "Nil",
        "Nan",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "550e8400-e29b-41d4-a716-446655440000",
        "<@U024BE7LH>",
        "Ann <ann@example.org>",
        "[ann]",
        "__ann__",
        "xx",
        "Xi",
        "xenia",
        "O'Neil",
        "你好",
        "用户小王",
        "😀",
        "yourself",
        "Yourdan",
        "C:\\Users\\ann",
        "%E6%B0%91",
        "userland",
        "string theory",
        "50%",
        "-100123",
    ] {
        let identity = user(name);
        assert_eq!(identity.user.as_deref(), Some(name));
    }
    // A chat called so groups the turns of somebody, and is nobody's memory.
    let body = r#"{"conversation_id":"default"}"#;
    let identity = read(&[], body, Trust::default());
    assert_eq!(told(&identity), (None, Some("default"), "nobody"));
    assert!(identity.unfit.is_some());
    let identity = read(&["X-YYChat-User-Id: ann"], body, Trust::default());
    assert_eq!(told(&identity), (Some("ann"), Some("default"), "user"));
    assert_eq!(identity.unfit, None);
    // Another that fits is believed.
    let body = r#"{"user":"anonymous","metadata":{"user_id":"ann"}}"#;
    let identity = read(&[], body, Trust::default());
    assert_eq!(told(&identity), (Some("ann"), None, "user"));
}
