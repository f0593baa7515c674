//! JSON as clients may write it: any white space, key order, escapes and number spelling.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// White space between tokens.
pub fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", " ", "\n", "\r\n\t ", "  "])
}

/// A string literal, quotes included.
pub fn literal() -> impl Strategy<Value = String> {
    let runs = select(vec![
        "a",
        "Hello, world",
        " ",
        "é",
        "今天",
        "🦀",
        "\u{7f}",
        "\u{2028}",
        "{}[],:",
        "role",
        r#"\""#,
        r"\\",
        r"\/",
        r"\n",
        r"\r\t\b\f",
        r"\u0000",
        r"\u00e9",
        r"\uD83E\uDD80",
        r"\u005c",
        r"\u0022",
    ]);
    vec(runs, 0..8).prop_map(|runs| format!("\"{}\"", runs.concat()))
}

/// Any value, nested a little.
pub fn value() -> impl Strategy<Value = String> {
    let number = select(vec![
        "0",
        "-0",
        "-0.0",
        "1.50",
        "1E+3",
        "-12e-7",
        "10000000000000000000000000000000000001",
        "0.1000000000000000055511151231257827",
    ]);
    let leaf = prop_oneof![
        select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        number.prop_map(str::to_owned),
        literal(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_flat_map(array),
            vec((literal(), inner), 0..4).prop_flat_map(object),
        ]
    })
}

/// An array of `items`.
pub fn array(items: Vec<String>) -> impl Strategy<Value = String> {
    vec((space(), space()), items.len().max(1)).prop_map(move |spaces| {
        let spaced = items.iter().zip(&spaces);
        let items: Vec<_> = spaced.map(|(i, (a, b))| format!("{a}{i}{b}")).collect();
        let inside = if items.is_empty() { spaces[0].0 } else { "" };
        format!("[{inside}{}]", items.join(","))
    })
}

/// An object of `members`: key literals and values.
pub fn object(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
    vec([space(), space(), space(), space()], members.len().max(1)).prop_map(move |spaces| {
        let spaced = members.iter().zip(&spaces);
        let members: Vec<_> = spaced
            .map(|((key, value), [a, b, c, d])| format!("{a}{key}{b}:{c}{value}{d}"))
            .collect();
        let inside = if members.is_empty() { spaces[0][0] } else { "" };
        format!("{{{inside}{}}}", members.join(","))
    })
}

/// A key literal for `name`, with or without a needless escape.
fn key(name: &'static str) -> impl Strategy<Value = String> {
    any::<bool>().prop_map(move |escaped| match name.chars().next() {
        Some(first) if escaped => format!("\"\\u{:04x}{}\"", u32::from(first), &name[1..]),
        _ => format!("\"{name}\""),
    })
}

fn member(
    name: &'static str,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = (String, String)> {
    (key(name), value)
}

/// A member with a key that the gateway does not know, often the same one twice.
fn unknown() -> impl Strategy<Value = (String, String)> {
    let names = select(vec![
        "temperature",
        "x",
        "x",
        "seed",
        "stop",
        "größe",
        "messages2",
        "",
    ]);
    (names.prop_map(|name| format!("\"{name}\"")), value())
}

fn content() -> impl Strategy<Value = String> {
    let text = (literal(), vec(unknown(), 0..2)).prop_flat_map(|(text, mut rest)| {
        rest.push((r#""text""#.to_owned(), text));
        rest.push((r#""type""#.to_owned(), r#""text""#.to_owned()));
        Just(rest).prop_shuffle().prop_flat_map(object)
    });
    let image = Just(r#"{"type":"image_url","image_url":{"url":"data:,"}}"#.to_owned());
    let part = prop_oneof![3 => text, 1 => image];
    prop_oneof![4 => literal(), 2 => vec(part, 0..3).prop_flat_map(array), 1 => Just("null".to_owned())]
}

fn message(roles: Vec<&'static str>) -> impl Strategy<Value = String> {
    let role = select(roles).prop_map(|role| format!("\"{role}\""));
    let content = proptest::option::weighted(0.9, member("content", content()));
    (member("role", role), content, vec(unknown(), 0..2)).prop_flat_map(
        |(role, content, mut all)| {
            all.push(role);
            all.extend(content);
            Just(all).prop_shuffle().prop_flat_map(object)
        },
    )
}

/// The body of a chat request.
pub fn chat() -> impl Strategy<Value = String> {
    let lead = vec(message(vec!["system", "developer"]), 0..3);
    let turns = vec(
        message(vec![
            "user",
            "assistant",
            "tool",
            "user",
            "system",
            "narrator",
        ]),
        0..5,
    );
    let messages = (lead, turns).prop_flat_map(|(lead, turns)| array([lead, turns].concat()));
    let text = || prop_oneof![literal(), Just("null".to_owned())];
    let flag = || select(vec!["true", "false", "null"]).prop_map(str::to_owned);
    let tools = prop_oneof![
        Just("null".to_owned()),
        Just("[ ]".to_owned()),
        Just(r#"[ {"type":"function","function":{"name":"own"}} ]"#.to_owned()),
    ];
    let memory = select(vec![r#""full""#, r#""off""#, "null"]).prop_map(str::to_owned);
    let optional = (
        proptest::option::of(member("tools", tools)),
        proptest::option::of(member("tool_choice", Just(r#""auto""#.to_owned()))),
        proptest::option::of(member("parallel_tool_calls", flag())),
        proptest::option::of(member("stream", flag())),
        proptest::option::of(member("user", text())),
        proptest::option::of(member("personality_id", text())),
        proptest::option::of(member("use_tools", flag())),
        proptest::option::of(member("memory", memory)),
        proptest::option::of(member("client_id", value())),
    );
    let all = (member("messages", messages), optional, vec(unknown(), 0..4));
    let members = all.prop_map(|(messages, (a, b, c, d, e, f, g, h, i), mut rest)| {
        rest.push(messages);
        rest.extend([a, b, c, d, e, f, g, h, i].into_iter().flatten());
        rest
    });
    let object = members.prop_shuffle().prop_flat_map(object);
    (space(), object, space()).prop_map(|(a, object, b)| format!("{a}{object}{b}"))
}
