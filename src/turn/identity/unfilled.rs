//! Names that are nobody's: what stands where none was filled in, and what programs call whoever has none.
//!
//! All who send such a one would be one person, who is told what others said. What a developer types
//! (`test`) or a program counts up (`user_123`) is somebody's all the same.

/// What programs print of no value. Some are names in other letters: Nil, Nan, Null.
const NOTHING: [&str; 12] = [
    "null", "NULL", "(null)", "None", "none", "NONE", "NoneType", "nil", "(nil)", "NaN", "nullptr",
    "empty",
];
/// What they print of a value that has no text, to begin with.
const PRINTED: [&str; 4] = ["[object ", "function ", "<bound method ", "Optional["];
/// Ids that an API's own page fills in, and the ones that are all the same.
const SAMPLES: [&str; 3] = [
    "00000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffff",
    "3fa85f6457174562b3fc2c963f66afa6",
];
/// The field's own name as its value, and what a page of an API puts there; in small letters, without what
/// parts words.
const FIELDS: [&str; 32] = [
    "string",
    "id",
    "uuid",
    "userid",
    "username",
    "useruuid",
    "useridentifier",
    "userkey",
    "useremail",
    "enduserid",
    "chatid",
    "chatuuid",
    "sessionid",
    "sessionuuid",
    "conversationid",
    "conversationuuid",
    "threadid",
    "placeholder",
    "changeme",
    "replaceme",
    "replacethis",
    "fillin",
    "fillme",
    "fillmein",
    "todo",
    "tbd",
    "用户id",
    "用户名",
    "用户标识",
    "會話id",
    "会话id",
    "ユーザーid",
];
/// What follows “your” in them.
const YOURS: [&str; 13] = [
    "id",
    "user",
    "username",
    "userid",
    "name",
    "uuid",
    "email",
    "account",
    "identifier",
    "key",
    "session",
    "conversation",
    "chat",
];
const YOURS_IN_CHINESE: [&str; 4] = ["你的", "您的", "请输入", "请填写"];
/// What programs call all who are not known to them, written as above.
const ANYBODY: [&str; 57] = [
    "anonymous",
    "anonymoususer",
    "anonymoususers",
    "useranonymous",
    "anon",
    "anonuser",
    "guest",
    "guestuser",
    "userguest",
    "visitor",
    "unknown",
    "unknownuser",
    "userunknown",
    "nobody",
    "nouser",
    "notloggedin",
    "loggedout",
    "unauthenticated",
    "unauthenticateduser",
    "unidentified",
    "default",
    "defaultuser",
    "userdefault",
    "defaultuserid",
    "user",
    "enduser",
    "exampleuser",
    "sampleuser",
    "everyone",
    "everybody",
    "anyone",
    "匿名",
    "匿名用户",
    "匿名用戶",
    "匿名ユーザー",
    "游客",
    "遊客",
    "访客",
    "訪客",
    "未登录",
    "未登录用户",
    "未知用户",
    "默认",
    "默认用户",
    "用户",
    "名無し",
    "ゲスト",
    "익명",
    "게스트",
    "anonym",
    "anonyme",
    "anónimo",
    "anônimo",
    "аноним",
    "гость",
    "неизвестно",
    "gastbenutzer",
];
/// What stands around a name that is still to be filled in, in the templates of front ends and shells.
const HOLES: [(&str, &str); 6] = [
    ("{{", "}}"),
    ("${", "}"),
    ("$(", ")"),
    ("#{", "}"),
    ("<%", "%>"),
    ("{%", "%}"),
];
/// What stands around it where it is all that there is.
const AROUND: [(&str, &str); 7] = [
    ("{", "}"),
    ("<", ">"),
    ("%", "%"),
    ("[", "]"),
    ("__", "__"),
    ("%(", ")s"),
    ("`", "`"),
];

/// Whether nobody has filled it in: a template as it was written, a sample, or what programs print of no
/// value.
pub fn is_unfilled(name: &str) -> bool {
    let name = name.trim();
    let name = unquoted(name).unwrap_or(name).trim();
    let plain = plain(name);
    let letters = || name.chars().filter(|c| *c != '-');
    let has_hole = HOLES.iter().any(|(opens, closes)| {
        let inside = name.split_once(opens);
        inside.is_some_and(|(_, rest)| rest.contains(closes))
    });
    let is_crossed_out = letters().count() > 2 && letters().all(|c| matches!(c, 'x' | 'X'));
    has_hole
        || is_crossed_out
        || name
            .bytes()
            .all(|byte| byte.is_ascii_punctuation() || byte == b' ')
        || NOTHING.contains(&name)
        || name.eq_ignore_ascii_case("undefined")
        || PRINTED.iter().any(|it| name.starts_with(it))
        || SAMPLES.contains(&&*plain)
        || FIELDS.contains(&&*plain)
        || is_yours(&plain)
        || is_variable(name)
        || is_inside(name)
}

/// Whether it is what programs call everybody whom they do not know.
pub fn is_anybody(name: &str) -> bool {
    // Sites count from 1 and give this to who is not logged in.
    matches!(name.trim(), "0" | "-1") || ANYBODY.contains(&&*plain(name))
}

/// In small letters, without what parts words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// What stands in quotes, as where a text was written as JSON twice.
fn unquoted(name: &str) -> Option<&str> {
    let inner = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\''))
}

/// `YOUR_USER_ID`, `your-name-here`.
fn is_yours(plain: &str) -> bool {
    let mut chinese = YOURS_IN_CHINESE.iter();
    let yours = plain.strip_prefix("your");
    let yours = yours.or_else(|| chinese.find_map(|begin| plain.strip_prefix(*begin)));
    let chinese = ["用户", "名字", "姓名", "账号", "id"];
    yours.is_some_and(|rest| {
        let rest = rest.strip_suffix("here").unwrap_or(rest);
        YOURS.contains(&rest)
            || YOURS.iter().any(|it| {
                let end = rest.strip_prefix(it);
                end.is_some_and(|end| YOURS.contains(&end))
            })
            || (!rest.is_ascii() && chinese.iter().any(|it| rest.starts_with(it)))
    })
}

/// `$USER`, `$env:USERNAME`, `:user_id`, `%s`: a variable of a shell, a route or a format, that is one by
/// its name.
fn is_variable(name: &str) -> bool {
    let is_word = |text: &str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_capital = |text: &str| is_word(text) && !text.bytes().any(|it| it.is_ascii_lowercase());
    let is_named = |text: &str| {
        let plain = plain(text);
        FIELDS.contains(&&*plain) || plain == "user"
    };
    let shell = name.strip_prefix('$');
    let format = name.strip_prefix('%');
    shell.is_some_and(|rest| rest.starts_with("env:") || is_capital(rest) || is_named(rest))
        || name.strip_prefix(':').is_some_and(is_named)
        || format.is_some_and(|rest| matches!(rest, "s" | "d" | "v" | "i" | "u" | "@"))
}

/// `{user_id}`, `<your name>`, `%USERNAME%`: a word or a few between such marks, and no id that is
/// written so.
fn is_inside(name: &str) -> bool {
    AROUND.iter().any(|(opens, closes)| {
        let inner = name.strip_prefix(opens);
        let inner = inner.and_then(|rest| rest.strip_suffix(closes));
        inner.is_some_and(|inner| {
            let is_of_words = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
            let begins = inner.trim_start().chars().next();
            // Who plays calls himself `[ann]`.
            let may_be_a_name = matches!(*opens, "[" | "__");
            begins.is_some_and(char::is_alphabetic)
                && inner.chars().all(is_of_words)
                && uuid::Uuid::try_parse(inner).is_err()
                && (!may_be_a_name || is_told(inner))
        })
    })
}

/// Whether it speaks of what is to be filled in.
fn is_told(inner: &str) -> bool {
    let plain = plain(inner);
    let words = [
        "user", "name", "uuid", "your", "account", "insert", "email", "用户", "姓名",
    ];
    let ends = ["_id", "-id", " id", "Id", "ID"];
    words.iter().any(|word| plain.contains(word)) || ends.iter().any(|end| inner.ends_with(end))
}
