//! Streams with calls of both sides, cut anywhere: the client sees one well-formed answer, the
//! gateway exactly its own calls.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::dialect::{Answer, Call, Dialect, Edit, Editor, Leg, Owners, Round, SseEditor};

const OURS: &str = "calculator";
/// Begins as the gateway's does, so that a name cut early belongs to nobody yet.
const THEIRS: &str = "calendar";

#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Call(Wanted),
}

#[derive(Debug, Clone)]
struct Wanted {
    is_ours: bool,
    arguments: String,
    cuts: Vec<Index>,
    cuts_name: bool,
}

/// What an upstream makes of the protocol.
#[derive(Debug, Clone, Copy)]
struct Style {
    has_index: bool,
    has_ids: bool,
    repeats_ids: bool,
    returns: bool,
    has_usage: bool,
    /// Whether calls come in turns, a fragment of each.
    mixes: bool,
    /// The whole call in one event, as llama.cpp and Ollama send it.
    whole: bool,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let text = "[a\"\\\\\n{}é今🦀]{1,6}";
    let arguments = prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"operation":"add","a":1,"b":2}"#.to_owned()),
        text.prop_map(|text| json!({ "text": text }).to_string()),
        "[{\"a:]{1,5}",
    ];
    let call = (
        any::<bool>(),
        arguments,
        vec(any::<Index>(), 0..4),
        any::<bool>(),
    )
        .prop_map(|(is_ours, arguments, cuts, cuts_name)| {
            Item::Call(Wanted {
                is_ours,
                arguments,
                cuts,
                cuts_name,
            })
        });
    // Models speak before they call.
    (vec(text.prop_map(Item::Text), 0..3), vec(call, 0..4))
        .prop_map(|(texts, calls)| texts.into_iter().chain(calls).collect())
}

fn style() -> impl Strategy<Value = Style> {
    any::<[bool; 7]>().prop_map(
        |[
            has_index,
            has_ids,
            repeats_ids,
            returns,
            has_usage,
            mixes,
            whole,
        ]| Style {
            has_index,
            // Without either nobody could tell two calls apart but by their names.
            has_ids: has_ids || !has_index,
            repeats_ids,
            returns,
            has_usage,
            mixes: mixes && has_index,
            whole,
        },
    )
}

impl Wanted {
    fn name(&self) -> &'static str {
        if self.is_ours { OURS } else { THEIRS }
    }

    /// The entries of `tool_calls` that make it up.
    fn fragments(&self, place: usize, style: Style) -> Vec<Value> {
        let mut pieces = pieces(&self.arguments, &self.cuts);
        let mut names = vec![self.name().to_owned()];
        if style.whole {
            pieces = vec![self.arguments.clone()];
        } else if self.cuts_name {
            let (start, rest) = self.name().split_at(3);
            names = vec![start.to_owned(), rest.to_owned()];
        }
        let mut entries: Vec<Value> = names
            .into_iter()
            .map(|name| json!({ "function": { "name": name } }))
            .collect();
        if style.whole {
            entries[0]["function"]["arguments"] = pieces[0].clone().into();
        } else {
            let rest = pieces.into_iter();
            entries.extend(rest.map(|piece| json!({ "function": { "arguments": piece } })));
        }
        for (number, entry) in entries.iter_mut().enumerate() {
            if style.has_index {
                entry["index"] = place.into();
            }
            let has_id = number == 0 || style.repeats_ids || !style.has_index;
            if style.has_ids && has_id {
                entry["id"] = format!("call_{place}").into();
            }
            if number == 0 {
                entry["type"] = "function".into();
            }
        }
        entries
    }
}

/// `text` cut at characters.
fn pieces(text: &str, cuts: &[Index]) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut at: Vec<_> = cuts
        .iter()
        .map(|cut| cut.index(letters.len() + 1))
        .collect();
    at.extend([0, letters.len()]);
    at.sort_unstable();
    at.windows(2)
        .map(|pair| letters[pair[0]..pair[1]].iter().collect())
        .collect()
}

/// A leg as an upstream streams it.
fn stream(id: &str, items: &[Item], reason: &str, style: Style) -> Vec<u8> {
    let mut choices = vec![json!({ "delta": { "role": "assistant", "content": "" } })];
    let mut calls = Vec::new();
    for item in items {
        match item {
            Item::Text(text) => choices.push(json!({ "delta": { "content": text } })),
            Item::Call(call) => calls.push(call.fragments(calls.len(), style)),
        }
    }
    let mut entries: Vec<(usize, Value)> = Vec::new();
    for (place, fragments) in calls.into_iter().enumerate() {
        for (number, fragment) in fragments.into_iter().enumerate() {
            entries.push((if style.mixes { number } else { place }, fragment));
        }
    }
    entries.sort_by_key(|(turn, _)| *turn);
    choices.extend(
        entries
            .into_iter()
            .map(|(_, entry)| json!({ "delta": { "tool_calls": [entry] } })),
    );
    choices.push(json!({ "delta": {}, "finish_reason": reason }));
    let end = if style.returns { "\r\n\r\n" } else { "\n\n" };
    let mut text = format!(": hello{end}");
    for mut choice in choices {
        choice["index"] = 0.into();
        let event = json!({ "id": id, "choices": [choice] });
        text += &format!("data: {event}{end}");
    }
    if style.has_usage {
        let usage =
            json!({ "prompt_tokens": 3, "completion_tokens_details": { "reasoning_tokens": 1 } });
        text += &format!(
            "data: {}{end}",
            json!({ "id": id, "choices": [], "usage": usage })
        );
    }
    text += &format!("data: [DONE]{end}");
    text.into_bytes()
}

/// What an SDK puts together from a stream.
#[derive(Debug, Default)]
struct Seen {
    text: String,
    calls: Vec<(Option<u64>, Call)>,
    roles: usize,
    reasons: Vec<String>,
    usages: Vec<Value>,
    ids: Vec<String>,
    dones: usize,
}

impl Seen {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut seen = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(':'))
        {
            let data = line.strip_prefix("data: ").expect("nothing but data");
            if data == "[DONE]" {
                seen.dones += 1;
                continue;
            }
            assert_eq!(seen.dones, 0, "something after the end");
            seen.event(&serde_json::from_str(data).expect("JSON"));
        }
        seen.ids.dedup();
        seen
    }

    fn event(&mut self, event: &Value) {
        self.ids
            .push(event["id"].as_str().expect("an id").to_owned());
        if event["usage"].is_object() {
            self.usages.push(event["usage"].clone());
        }
        for choice in event["choices"].as_array().expect("choices") {
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.reasons.push(reason.to_owned());
            }
            let delta = &choice["delta"];
            self.roles += usize::from(delta["role"].is_string());
            self.text += delta["content"].as_str().unwrap_or_default();
            for entry in delta["tool_calls"].as_array().into_iter().flatten() {
                self.entry(entry);
            }
        }
    }

    fn entry(&mut self, entry: &Value) {
        let (index, id) = (entry["index"].as_u64(), entry["id"].as_str());
        let known = self.calls.iter().position(|(known, call)| match index {
            Some(_) => *known == index,
            None => Some(&*call.id) == id,
        });
        let at = known.unwrap_or_else(|| {
            self.calls.push((index, Call::default()));
            self.calls.len() - 1
        });
        let call = &mut self.calls[at].1;
        if let Some(id) = id {
            call.id = id.to_owned();
        }
        call.name += entry["function"]["name"].as_str().unwrap_or_default();
        call.arguments += entry["function"]["arguments"].as_str().unwrap_or_default();
    }
}

fn owners() -> Owners {
    Owners {
        gateway: vec![OURS.into()],
        client: vec![THEIRS.into()],
    }
}

/// The calls of one side, as they are wanted.
fn wanted(items: &[Item], is_ours: bool, style: Style) -> Vec<Call> {
    let calls = items.iter().filter_map(|item| match item {
        Item::Call(call) => Some(call),
        Item::Text(_) => None,
    });
    let calls = calls
        .enumerate()
        .filter(|(_, call)| call.is_ours == is_ours);
    calls
        .enumerate()
        .map(|(number, (place, call))| Call {
            id: match (style.has_ids, is_ours) {
                (true, _) => format!("call_{place}"),
                (false, true) => format!("call_x{}", number + 1),
                (false, false) => String::new(),
            },
            name: call.name().to_owned(),
            arguments: call.arguments.clone(),
        })
        .collect()
}

fn text(items: &[Item]) -> String {
    let texts = items.iter().filter_map(|item| match item {
        Item::Text(text) => Some(text.as_str()),
        Item::Call(_) => None,
    });
    texts.collect()
}

fn editor() -> Editor {
    Editor::new(
        Dialect::Chat,
        owners(),
        crate::dialect::Wanted::Text(1 << 20),
        "x".into(),
    )
}

/// Feeds a leg in pieces; gives what the client saw of it, and how the answer goes on.
fn pass(editor: &mut SseEditor, leg: &[u8], cuts: &[Index]) -> (Vec<u8>, Leg) {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(leg.len() + 1)).collect();
    at.extend([0, leg.len()]);
    at.sort_unstable();
    let mut shown: Vec<u8> = Vec::new();
    for pair in at.windows(2) {
        let chunk = Bytes::copy_from_slice(&leg[pair[0]..pair[1]]);
        shown.extend(editor.feed(&chunk).concat());
    }
    let (rest, leg) = editor.end_leg();
    shown.extend(rest.concat());
    (shown, leg)
}

/// The assistant's turn that the next leg repeats.
fn said(round: &Round) -> Value {
    assert_eq!(round.said.len(), 1);
    serde_json::from_slice(&round.said[0]).expect("JSON")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_client_sees_one_answer_and_the_gateway_its_own_calls(
        items in items(),
        style in style(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let (ours, theirs) = (wanted(&items, true, style), wanted(&items, false, style));
        let calls = ours.len() + theirs.len();
        let first = stream("one", &items, if calls > 0 { "tool_calls" } else { "stop" }, style);
        let mut editor = SseEditor::new(editor());
        let (mut shown, leg) = pass(&mut editor, &first, &cuts);
        let round = match leg {
            Leg::Calls(round) => Some(round),
            leg => {
                prop_assert_eq!(leg, Leg::Complete);
                None
            }
        };
        let found = round.as_ref().map_or(&[][..], |round| &round.calls);
        prop_assert_eq!(found, &ours);
        let mut said = text(&items);
        let mut legs = 1;
        match round {
            None => {
                let no_names_cut = theirs.is_empty() || style.whole;
                if no_names_cut {
                    prop_assert_eq!(&shown, &first, "the upstream's bytes");
                }
            }
            Some(round) if !round.client_calls.is_empty() => {}
            Some(round) => {
                let turn = self::said(&round);
                prop_assert_eq!(turn["content"].as_str().unwrap_or_default(), said.as_str());
                let second = stream("two", &[Item::Text("done".into())], "stop", style);
                let (more, leg) = pass(&mut editor, &second, &cuts);
                shown.extend(more);
                prop_assert_eq!(leg, Leg::Complete);
                said.push_str("done");
                legs = 2;
            }
        }
        shown.extend(editor.finish().concat());
        let seen = Seen::read(&shown);
        prop_assert_eq!(seen.text, said);
        let indexes: Vec<_> = seen.calls.iter().map(|(index, _)| *index).collect();
        if style.has_index {
            prop_assert_eq!(indexes, (0..theirs.len() as u64).map(Some).collect::<Vec<_>>());
        }
        // A call whose name comes in two pieces may lose its turn to one that is whole before.
        let sorted = |mut calls: Vec<Call>| {
            calls.sort_by(|a, b| (&a.id, &a.arguments).cmp(&(&b.id, &b.arguments)));
            calls
        };
        let calls: Vec<_> = seen.calls.into_iter().map(|(_, call)| call).collect();
        prop_assert_eq!(sorted(calls), sorted(theirs.clone()));
        prop_assert_eq!(seen.roles, 1);
        let reason = if theirs.is_empty() { "stop" } else { "tool_calls" };
        prop_assert_eq!(seen.reasons, [reason]);
        prop_assert_eq!(seen.ids, ["one"]);
        prop_assert_eq!(seen.dones, 1);
        if style.has_usage {
            let usage = json!({
                "prompt_tokens": 3 * legs, "completion_tokens_details": { "reasoning_tokens": legs },
            });
            prop_assert_eq!(seen.usages, [usage]);
        } else {
            prop_assert!(seen.usages.is_empty());
        }
    }
}

/// What comes of one leg: what the client saw, its end included, and how it goes on.
fn leg(events: &[Value]) -> (Vec<Value>, Leg) {
    let stream: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let stream = stream.replace("data: \"[DONE]\"", "data: [DONE]");
    let mut editor = SseEditor::new(editor());
    let (mut shown, leg) = pass(&mut editor, stream.as_bytes(), &[]);
    if !matches!(&leg, Leg::Calls(round) if round.client_calls.is_empty()) {
        shown.extend(editor.finish().concat());
    }
    let shown = String::from_utf8(shown).expect("UTF-8");
    let data = shown.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()));
    (data.collect(), leg)
}

fn delta(delta: Value) -> Value {
    json!({ "id": "a", "choices": [{ "index": 0, "delta": delta }] })
}

fn entries(entries: &[Value]) -> Value {
    delta(json!({ "tool_calls": entries }))
}

fn end(reason: &str) -> Value {
    json!({ "id": "a", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

#[test]
fn the_older_function_call_is_held_back_too() {
    let (shown, leg) = leg(&[
        delta(json!({ "function_call": { "name": OURS, "arguments": "" } })),
        delta(json!({ "function_call": { "arguments": "{\"a\":1}" } })),
        end("function_call"),
    ]);
    assert_eq!(shown, [Value::Null; 0]);
    let Leg::Calls(round) = leg else {
        panic!("no call was found");
    };
    let (name, arguments) = (&*round.calls[0].name, &*round.calls[0].arguments);
    assert_eq!((name, arguments), (OURS, "{\"a\":1}"));
}

#[test]
fn an_error_in_the_stream_is_the_upstreams_to_tell() {
    let error = b"data: {\"error\":{\"message\":\"\\\"tool_calls\\\" went wrong\"}}\n\n";
    let mut editor = SseEditor::new(editor());
    let (shown, leg) = pass(&mut editor, error, &[]);
    assert_eq!((&shown[..], leg), (&error[..], Leg::Complete));
}

#[test]
fn an_event_too_large_to_hold_passes_unread_and_what_follows_is_read() {
    let large = format!("data: {{\"tool_calls\":\"{}", "x".repeat(17 << 20));
    let mut editor = SseEditor::new(editor());
    let mut feed = |bytes: &[u8]| editor.feed(&Bytes::copy_from_slice(bytes)).concat();
    assert!(feed(large.as_bytes()) == large.as_bytes());
    let rest = b"more of it\ndata: and more\n\n";
    assert_eq!(feed(rest), rest);
    let text = delta(json!({ "content": "hi" })).to_string();
    let text = format!("data: {text}\n\n");
    assert_eq!(feed(text.as_bytes()), text.as_bytes());
    let call = json!({ "index": 0, "id": "c", "function": { "name": OURS, "arguments": "{}" } });
    for event in [delta(json!({ "tool_calls": [call] })), end("tool_calls")] {
        assert_eq!(feed(format!("data: {event}\n\n").as_bytes()), b"");
    }
    let (_, leg) = editor.end_leg();
    let Leg::Calls(round) = leg else {
        panic!("the call behind it is not found: {leg:?}");
    };
    assert_eq!(round.calls[0].name, OURS);
}

#[test]
fn an_event_too_large_to_hold_within_a_call_is_an_error() {
    let mut editor = SseEditor::new(editor());
    let call = json!({ "index": 0, "id": "c", "function": { "name": OURS, "arguments": "{" } });
    let call = delta(json!({ "tool_calls": [call] }));
    editor.feed(&format!("data: {call}\n\n").into());
    editor.feed(&format!("data: {}\n\n", "x".repeat(17 << 20)).into());
    let last = format!("data: {}\n\ndata: [DONE]\n\n", end("tool_calls"));
    assert!(editor.feed(&last.into()).is_empty());
    assert_eq!(editor.end_leg().1, Leg::Unreadable);
}

#[test]
fn a_whole_answer_keeps_its_form_where_nothing_was_taken_out() {
    for body in [
        &br#"{ "choices":[{"message":{"content":"hi", "tool_calls":[{"id":"x","function":{"name":"calendar","arguments":"{}"}}]}}], "n": 1e2 }"#[..],
        br#"{"choices":[{"message":{"content":"\"tool_calls\""}}]}"#,
        b"no JSON",
        b"",
    ] {
        let mut editor = editor();
        assert_eq!(editor.whole(&Bytes::from_static(body)), Edit::Pass);
        assert_eq!(editor.end_leg(), Leg::Complete);
    }
}

#[test]
fn a_whole_answer_goes_on_with_the_gateways_calls_taken_out() {
    let body = json!({
        "id": "a", "usage": { "prompt_tokens": 3 },
        "choices": [{ "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "hm", "reasoning_content": "let me see",
            "tool_calls": [
                { "id": "1", "type": "function", "x": { "signature": "s" },
                  "function": { "name": OURS, "arguments": "" } },
                { "id": "2", "type": "function", "function": { "name": THEIRS, "arguments": "{}" } },
            ],
        } }],
    });
    let mut editor = editor();
    let Edit::Replace(shown) = editor.whole(&body.to_string().into()) else {
        panic!("nothing was taken out");
    };
    let mut wanted = body.clone();
    let calls = &mut wanted["choices"][0]["message"]["tool_calls"];
    calls.as_array_mut().expect("calls").remove(0);
    assert_eq!(
        serde_json::from_slice::<Value>(&shown).expect("JSON"),
        wanted
    );
    let Leg::Calls(round) = editor.end_leg() else {
        panic!("no call was found");
    };
    assert_eq!(
        (&round.client_calls[..], &round.places[..]),
        (&["2".to_owned()][..], &[0][..])
    );
    let entry: Value = serde_json::from_slice(&round.said[0]).expect("JSON");
    let mut wanted = body["choices"][0]["message"]["tool_calls"][0].clone();
    wanted["function"]["arguments"] = "{}".into();
    assert_eq!(entry, wanted);
    let answer: Answer = editor.into_answer();
    assert_eq!(
        (&*answer.text, answer.usage.and_then(|it| it.prompt_tokens)),
        ("hm", Some(3))
    );
}

#[test]
fn what_became_of_the_calls_is_told_in_order() {
    let call = |id: &str, arguments: &str| {
        json!({ "index": id.parse::<u64>().expect("a number"), "id": id,
                "function": { "name": OURS, "arguments": arguments } })
    };
    let (_, leg) = leg(&[
        delta(json!({ "content": "h" })),
        delta(json!({ "content": "m" })),
        entries(&[call("1", "{"), call("2", "{\"a\":1}")]),
        end("tool_calls"),
    ]);
    let Leg::Calls(round) = leg else {
        panic!("no call was found");
    };
    let messages = Dialect::Chat.follow_up(&round, &["a".into(), "b".into()]);
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| serde_json::from_slice(message).expect("JSON"))
        .collect();
    assert_eq!(messages[0]["content"], "hm");
    let calls = &messages[0]["tool_calls"];
    assert_eq!(
        calls[0]["function"]["arguments"], "{}",
        "what goes back parses"
    );
    assert_eq!(calls[1]["function"]["arguments"], "{\"a\":1}");
    let result =
        |id: &str, text: &str| json!({ "role": "tool", "tool_call_id": id, "content": text });
    assert_eq!(messages[1..], [result("1", "a"), result("2", "b")]);
}
