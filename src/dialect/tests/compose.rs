use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::dialect::{
    Composed, Dialect, Fragment, Injection, MemoryText, Persona, PersonaMode, Placement, Request,
    Role, Source, ToolOffer, compose,
};
use crate::wire::tests::generate;
use crate::wire::{Escaped, coalesce};

const EXTENSIONS: [&str; 7] = [
    "personality_id",
    "conversation_id",
    "use_tools",
    "memory",
    "enable_voice",
    "message_id",
    "client_id",
];

/// An injection as plain text.
#[derive(Debug, Clone)]
struct Wanted {
    persona: Option<(Vec<Piece>, PersonaMode)>,
    memory: Option<(String, Placement)>,
    /// Before the first user messages, though not before the last.
    earlier: Vec<String>,
    post_history: Option<String>,
    tools: Option<Vec<Value>>,
    extra: Vec<Value>,
    strict_roles: bool,
    closes: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Book(String),
    Original,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let text = || "[a\"\\\\\n é今🦀]{0,6}";
    let piece = prop_oneof![
        3 => text().prop_map(Piece::Text),
        1 => text().prop_map(Piece::Book),
        1 => Just(Piece::Original),
    ];
    let mode = prop_oneof![
        Just(PersonaMode::Prepend),
        Just(PersonaMode::Append),
        Just(PersonaMode::Replace),
    ];
    let placement = prop_oneof![Just(Placement::Tail), Just(Placement::Head)];
    let tool = Just(json!({"type": "function", "function": {"name": "ours"}}));
    let turn = Just(json!({"role": "tool", "tool_call_id": "1", "content": "2"}));
    (
        option::of((vec(piece, 0..4), mode)),
        option::of((text(), placement)),
        vec(text(), 0..3),
        option::of(text()),
        option::weighted(0.8, vec(tool, 0..3)),
        vec(turn, 0..3),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |(persona, memory, earlier, post_history, tools, extra, (strict_roles, closes))| {
                Wanted {
                    persona,
                    memory,
                    earlier,
                    post_history,
                    tools,
                    extra,
                    strict_roles,
                    closes,
                }
            },
        )
}

impl Wanted {
    fn injection(&self, request: &Request) -> Injection {
        let messages = request.messages().iter().enumerate();
        let users = messages.filter(|(_, message)| message.role == Role::User);
        let earlier = users.map(|(index, _)| index).zip(&self.earlier);
        let earlier = earlier.filter(|&(index, _)| Some(index) != request.last_user());
        let bytes = |value: &Value| Bytes::from(value.to_string());
        let fragment = |piece: &Piece| match piece {
            Piece::Text(text) => Fragment::Text(Escaped::new(text)),
            Piece::Book(text) => Fragment::Book(Escaped::new(text)),
            Piece::Original => Fragment::Original,
        };
        Injection {
            persona: self.persona.as_ref().map(|(pieces, mode)| Persona {
                fragments: pieces.iter().map(fragment).collect(),
                mode: *mode,
            }),
            memory: self.memory.as_ref().map(|(text, placement)| MemoryText {
                text: Escaped::new(text),
                placement: *placement,
            }),
            earlier: earlier
                .map(|(index, text)| (index, Escaped::new(text)))
                .collect(),
            post_history: self.post_history.as_deref().map(Escaped::new),
            tools: match &self.tools {
                None => ToolOffer::Keep,
                Some(tools) if self.closes => ToolOffer::Close(tools.iter().map(bytes).collect()),
                Some(tools) => ToolOffer::Add(tools.iter().map(bytes).collect()),
            },
            follow_up: self.extra.iter().map(bytes).collect(),
            strict_roles: self.strict_roles,
            usage: false,
            goes_on_from: None,
            model_suffix: None,
            restored: Vec::new(),
        }
    }

    /// What `input` should become, worked out on values.
    fn apply(&self, input: &Value) -> Value {
        let mut output = input.clone();
        let members = output.as_object_mut().expect("an object");
        members.retain(|key, _| !EXTENSIONS.contains(&key.as_str()));
        if self.closes && self.tools.is_some() {
            members.insert("tool_choice".to_owned(), "none".into());
        }
        match &self.tools {
            None => {}
            Some(tools) if tools.is_empty() => {}
            Some(tools) => {
                let own = members.get("tools").and_then(Value::as_array);
                let all = [own.cloned().unwrap_or_default(), tools.clone()].concat();
                members.insert("tools".to_owned(), all.into());
            }
        }
        let messages = members["messages"].as_array().expect("an array");
        let messages = self.messages(messages.clone());
        members.insert("messages".to_owned(), messages.into());
        output
    }

    fn messages(&self, client: Vec<Value>) -> Vec<Value> {
        let is_system = |m: &&Value| m["role"] == "system" || m["role"] == "developer";
        let lead = client.iter().take_while(is_system).count();
        let (mut head, mut turns) = (client[..lead].to_vec(), client[lead..].to_vec());
        let (persona, mode) = self.persona(&head);
        if !persona.is_empty() && mode == PersonaMode::Replace {
            head.clear();
        }
        let post_history = self.post_history.clone().unwrap_or_default();
        let (memory, placement) = self
            .memory
            .clone()
            .unwrap_or((String::new(), Placement::Head));
        let users = turns
            .iter()
            .enumerate()
            .filter(|(_, m)| m["role"] == "user");
        let mut users: Vec<usize> = users.map(|(i, _)| i).collect();
        let last_user = users.pop().unwrap_or(turns.len());
        let mut blocks: Vec<_> = users.into_iter().zip(self.earlier.clone()).collect();
        let mut at_head = String::new();
        match placement {
            Placement::Head => at_head = memory,
            Placement::Tail => blocks.push((last_user, memory)),
        }
        let mut added = 0;
        for (at, block) in blocks {
            if !self.strict_roles {
                let own = system(&block);
                let gap = at + added;
                added += own.len();
                turns.splice(gap..gap, own);
            } else if let Some(user) = turns.get_mut(at).filter(|m| !m["content"].is_null()) {
                surround(user, &block, "");
            } else {
                at_head = paragraph(&at_head, &block);
            }
        }
        if self.strict_roles {
            let rest = paragraph(&at_head, &post_history);
            let (before, after) = match mode {
                PersonaMode::Append => (String::new(), paragraph(&persona, &rest)),
                _ => (persona, rest),
            };
            join_lead(&mut head, &before, &after);
        } else {
            let own = system(&paragraph(&persona, &at_head));
            match mode {
                _ if persona.is_empty() => join_lead(&mut head, "", &at_head),
                PersonaMode::Prepend => head = [own, head].concat(),
                _ => head.extend(own),
            }
            let begun = client.last().is_some_and(|last| {
                last["role"] == "assistant" && last.get("tool_calls").is_none_or(Value::is_null)
            });
            let is_assistant = |m: &Value| m["role"] == "assistant";
            let behind = match begun {
                true => turns.iter().rposition(is_assistant).expect("the last one"),
                false => turns.len(),
            };
            turns.splice(behind..behind, system(&post_history));
        }
        [head, turns, self.extra.clone()].concat()
    }

    fn persona(&self, head: &[Value]) -> (String, PersonaMode) {
        let Some((pieces, mode)) = &self.persona else {
            return (String::new(), PersonaMode::Prepend);
        };
        let original = head
            .iter()
            .fold(String::new(), |all, m| paragraph(&all, &text_of(m)));
        let texts: Vec<&str> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Book(text) => text.as_str(),
                Piece::Original => &original,
            })
            .collect();
        let moved = pieces.iter().any(|piece| matches!(piece, Piece::Original));
        (
            texts.concat(),
            if moved { PersonaMode::Replace } else { *mode },
        )
    }
}

fn paragraph(first: &str, second: &str) -> String {
    let gap = if first.is_empty() || second.is_empty() {
        ""
    } else {
        "\n\n"
    };
    format!("{first}{gap}{second}")
}

fn system(text: &str) -> Vec<Value> {
    if text.is_empty() {
        return Vec::new();
    }
    vec![json!({"role": "system", "content": text})]
}

fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<_> = parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn join_lead(head: &mut Vec<Value>, before: &str, after: &str) {
    match head.first_mut() {
        Some(first) => surround(first, before, after),
        None => *head = system(&paragraph(before, after)),
    }
}

fn surround(message: &mut Value, before: &str, after: &str) {
    if before.is_empty() && after.is_empty() {
        return;
    }
    let part = |text: String| json!({"type": "text", "text": text});
    let content = match &message["content"] {
        Value::Array(parts) if parts.is_empty() => json!([part(paragraph(before, after))]),
        Value::Array(parts) => {
            let mut parts = parts.clone();
            if !before.is_empty() {
                parts.insert(0, part(format!("{before}\n\n")));
            }
            if !after.is_empty() {
                parts.push(part(format!("\n\n{after}")));
            }
            parts.into()
        }
        content => {
            let own = content.as_str().unwrap_or_default();
            paragraph(&paragraph(before, own), after).into()
        }
    };
    message["content"] = content;
}

fn parse(json: &str) -> Request {
    Dialect::Chat
        .read(Bytes::copy_from_slice(json.as_bytes()), 64)
        .expect("a valid request")
}

/// The client's body, from what was sent and the account of what was done to it.
fn undo(composed: &Composed, client: &[u8]) -> Vec<u8> {
    let mut kept = composed.to_bytes().to_vec();
    for insertion in composed.insertions.iter().rev() {
        kept.drain(insertion.at.clone());
    }
    for cut in &composed.cuts {
        kept.splice(cut.start..cut.start, client[cut.clone()].iter().copied());
    }
    kept
}

proptest! {
    #[test]
    fn puts_in_what_is_wanted_and_leaves_the_rest(json in generate::chat(), wanted in wanted()) {
        let request = parse(&json);
        let composed = compose(&request, &wanted.injection(&request));
        let output = composed.to_bytes();
        prop_assert_eq!(composed.length, output.len());
        prop_assert_eq!(&undo(&composed, json.as_bytes()), json.as_bytes());

        let text = String::from_utf8_lossy(&output);
        let found: Value = serde_json::from_str(&text).map_err(|error| {
            TestCaseError::fail(format!("{error} in {text}"))
        })?;
        let input = serde_json::from_str(&json).expect("generated JSON");
        prop_assert_eq!(found, wanted.apply(&input), "{}\n became {}", json, text);
    }

    #[test]
    fn inserted_ranges_are_in_order_and_apart(json in generate::chat(), wanted in wanted()) {
        let request = parse(&json);
        let composed = compose(&request, &wanted.injection(&request));
        let ends = composed.insertions.windows(2).all(|two| two[0].at.end <= two[1].at.start);
        let cuts = composed.cuts.windows(2).all(|two| two[0].end <= two[1].start);
        prop_assert!(ends && cuts);
        prop_assert!(composed.insertions.iter().all(|insertion| !insertion.at.is_empty()));
        prop_assert!(composed.pieces.iter().all(|piece| !piece.is_empty()));
    }

    #[test]
    fn coalescing_changes_no_byte(pieces in vec(vec(any::<u8>(), 0..40), 0..20), least in 0..64_usize) {
        let pieces: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
        let joined = coalesce(pieces.clone(), least);
        prop_assert_eq!(joined.concat(), pieces.concat());
        prop_assert!(joined.windows(3).all(|three| three[0].len() + three[1].len() >= least));
    }
}

#[test]
fn nothing_to_do_leaves_the_very_same_bytes() {
    let body =
        Bytes::from_static(br#" {"messages":[{"role":"user","content":"hi"}], "n" : 1.0 } "#);
    let request = Dialect::Chat
        .read(body.clone(), 64)
        .expect("a valid request");
    let composed = compose(&request, &Injection::default());
    assert_eq!(composed.pieces.len(), 1);
    assert_eq!(composed.pieces[0].as_ptr(), body.as_ptr());
    assert_eq!(composed.pieces[0], body);
    assert!(composed.insertions.is_empty() && composed.cuts.is_empty());
}

#[test]
fn long_texts_are_shared_and_not_copied() {
    let body = Bytes::from_static(br#"{"messages":[{"role":"user","content":"hi"}]}"#);
    let request = Dialect::Chat
        .read(body.clone(), 64)
        .expect("a valid request");
    let persona = Escaped::new("You are Ada.");
    let injection = Injection {
        persona: Some(Persona {
            fragments: vec![Fragment::Text(persona.clone())],
            mode: PersonaMode::Prepend,
        }),
        ..Injection::default()
    };
    let composed = compose(&request, &injection);
    let shared = |bytes: &Bytes| composed.pieces.iter().any(|p| p.as_ptr() == bytes.as_ptr());
    assert!(shared(&body) && shared(&persona.bytes()));
    assert_eq!(composed.insertions.len(), 1);
    assert_eq!(composed.insertions[0].source, Source::Persona);
}

#[test]
fn cuts_take_one_comma_wherever_the_member_stands() {
    let cases = [
        (r#"{"memory":"off", "messages":[]}"#, r#"{"messages":[]}"#),
        (r#"{"messages":[], "memory":"off" }"#, r#"{"messages":[] }"#),
        (
            r#"{"messages":[] , "memory":"off" , "n":1}"#,
            r#"{"messages":[] , "n":1}"#,
        ),
        (
            r#"{ "client_id":1, "memory":"off", "messages":[]}"#,
            r#"{ "messages":[]}"#,
        ),
        (
            r#"{"messages":[],"client_id":1,"message_id":2}"#,
            r#"{"messages":[]}"#,
        ),
        (
            r#"{"user":"u","client_id":1,"messages":[],"message_id":2}"#,
            r#"{"user":"u","messages":[]}"#,
        ),
    ];
    for (client, wanted) in cases {
        let composed = compose(&parse(client), &Injection::default());
        assert_eq!(composed.to_bytes(), wanted, "{client}");
    }
}

#[test]
fn escaping_is_json_s_own() {
    for text in [
        "",
        "plain",
        "\"\\\n\t\u{0}\u{1f}",
        "é今🦀\u{2028}",
        "</script>",
    ] {
        let escaped = Escaped::new(text);
        let quoted = [b"\"", &escaped.bytes()[..], b"\""].concat();
        assert_eq!(
            serde_json::from_slice::<String>(&quoted).expect("JSON"),
            text
        );
        assert_eq!(escaped.is_empty(), text.is_empty());
        assert_eq!(escaped.len() + 2, quoted.len());
    }
}
