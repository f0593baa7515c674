use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{Call, Dialect, Injection, compose};
use crate::shared::testing::Server;
use crate::shared::{Notes, Store};
use crate::telemetry::Metrics;

/// The id that the upstream gives to everybody's call.
const ID: &str = "functions.f:0";
/// A turn that began after whatever was erased.
const LATER: i64 = i64::MAX;

fn whose(user: &str, conversation: &str) -> Whose {
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Whose {
        tenant: "acme".into(),
        user: name(user),
        conversation: name(conversation),
    }
}

fn hidden(result: &str) -> HiddenRound {
    let entry = json!({
        "id": "ours", "type": "function", "x_signature": result,
        "function": { "name": "calculator", "arguments": "{}" },
    });
    HiddenRound {
        before: Vec::new(),
        round: Round {
            calls: vec![Call {
                id: "ours".into(),
                name: "calculator".into(),
                arguments: "{}".into(),
            }],
            client_calls: vec![ID.into()],
            places: vec![0],
            said: vec![entry.to_string().into()],
        },
        results: vec![result.into()],
    }
}

/// What needs no other gateway is there at once.
fn now<T>(done: impl Future<Output = T>) -> T {
    done.now_or_never().expect("nothing to wait for")
}

fn ask(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn called() -> Value {
    let function = json!({ "name": "f", "arguments": "{}" });
    json!({
        "role": "assistant", "content": null,
        "tool_calls": [{ "id": ID, "type": "function", "function": function }],
    })
}

fn gave(text: &str) -> Value {
    json!({ "role": "tool", "tool_call_id": ID, "content": text })
}

fn request(messages: &[Value]) -> Request {
    let body = json!({ "messages": messages }).to_string();
    Dialect::Chat.read(body.into(), 64).expect("a request")
}

/// The messages that the upstream gets.
fn sent(rounds: &HiddenRounds, whose: &Whose, messages: &[Value]) -> Vec<Value> {
    let request = request(messages);
    let injection = Injection {
        restored: now(rounds.restore(whose, &request)),
        ..Injection::default()
    };
    let body: Bytes = compose(&request, &injection).to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    body["messages"].as_array().expect("messages").clone()
}

#[test]
fn a_turn_is_whole_again_in_its_place() {
    let rounds = HiddenRounds::default();
    let ann = whose("ann", "one");
    let history = [ask("hi")];
    now(rounds.keep(
        HiddenPlace::after(&request(&history), ann.clone()),
        hidden("42"),
        LATER,
    ));
    let told = [
        ask("hi"),
        called(),
        gave("1"),
        ask("and?"),
        called(),
        gave("2"),
    ];
    let messages = sent(&rounds, &ann, &told);
    let calls = messages[1]["tool_calls"].as_array().expect("calls");
    assert_eq!(
        (&calls[0]["id"], &calls[1]["id"]),
        (&"ours".into(), &ID.into())
    );
    assert_eq!(calls[0]["x_signature"], "42");
    assert_eq!(messages[2], gave("1"));
    let ours = json!({ "role": "tool", "tool_call_id": "ours", "content": "42" });
    assert_eq!(messages[3], ours);
    // The same id again, in another place.
    assert_eq!(messages[4..], told[3..]);
    for other in [
        whose("ben", "one"),
        whose("ann", "two"),
        whose("", "one"),
        whose("", ""),
    ] {
        assert_eq!(sent(&rounds, &other, &told), told, "{other:?}");
    }
}

#[test]
fn what_clients_change_in_each_request_moves_nothing() {
    let rounds = HiddenRounds::default();
    let ann = whose("ann", "one");
    let clock = |time: &str| json!({ "role": "system", "content": format!("It is {time}.") });
    let history = [
        clock("noon"),
        json!({
            "role": "user",
            "content": [{ "type": "text", "text": "hi", "cache_control": { "type": "ephemeral" } }],
        }),
    ];
    now(rounds.keep(
        HiddenPlace::after(&request(&history), ann.clone()),
        hidden("42"),
        LATER,
    ));
    let messages = sent(
        &rounds,
        &ann,
        &[clock("one"), ask("hi"), called(), gave("1")],
    );
    assert_eq!(messages.len(), 5);
}

#[test]
fn strangers_who_say_the_same_are_told_apart_by_their_instructions() {
    let rounds = HiddenRounds::default();
    let system = |name: &str| json!({ "role": "system", "content": format!("You serve {name}.") });
    let nobody = whose("", "");
    let history = [system("Ann"), ask("hi")];
    now(rounds.keep(
        HiddenPlace::after(&request(&history), nobody.clone()),
        hidden("42"),
        LATER,
    ));
    let told = |name: &str| [system(name), ask("hi"), called(), gave("1")];
    assert_eq!(sent(&rounds, &nobody, &told("Ann")).len(), 5);
    assert_eq!(sent(&rounds, &nobody, &told("Ben")), told("Ben"));
}

#[test]
fn another_history_or_other_calls_get_nothing() {
    let rounds = HiddenRounds::default();
    let ann = whose("ann", "one");
    now(rounds.keep(
        HiddenPlace::after(&request(&[ask("hi")]), ann.clone()),
        hidden("42"),
        LATER,
    ));
    let mut other_id = called();
    other_id["tool_calls"][0]["id"] = "functions.f:1".into();
    let mut two = called();
    let again = two["tool_calls"][0].clone();
    two["tool_calls"].as_array_mut().expect("calls").push(again);
    for told in [
        vec![ask("ho"), called(), gave("1")],
        vec![ask("hi"), ask("hi"), called(), gave("1")],
        vec![called(), gave("1")],
        vec![ask("hi"), other_id, gave("1")],
        vec![ask("hi"), two, gave("1")],
        vec![ask("hi"), json!({ "role": "assistant", "content": "no" })],
    ] {
        assert_eq!(sent(&rounds, &ann, &told), told);
    }
}

/// Two users with two conversations each, whose upstream gives every call one id.
fn turns() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    proptest::collection::vec((0..2_usize, 0..2_usize, 0..3_u8), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_gets_what_anothers_tools_gave(turns in turns()) {
        let rounds = HiddenRounds::default();
        let mut told = vec![vec![Vec::new(); 2]; 2];
        let mut given = vec![vec![Vec::new(); 2]; 2];
        for (at, (user, conversation, text)) in turns.into_iter().enumerate() {
            let who = whose(["ann", "ben"][user], ["one", "two"][conversation]);
            let history = &mut told[user][conversation];
            history.push(ask(&format!("ask {text}")));
            let result = format!("{user} {conversation} {at}");
            now(rounds.keep(HiddenPlace::after(&request(history), who.clone()), hidden(&result), LATER));
            history.extend([called(), gave("theirs")]);
            given[user][conversation].push(result);
            let messages = sent(&rounds, &who, history);
            let ours = messages.iter().filter(|message| message["tool_call_id"] == "ours");
            let results: Vec<_> = ours.map(|message| message["content"].clone()).collect();
            prop_assert_eq!(&results, &given[user][conversation]);
        }
    }
}

/// A gateway of a fleet.
fn gateway(server: &Server) -> HiddenRounds {
    let metrics = Arc::new(Metrics::new());
    let store = Store::new(&server.url().into(), Duration::from_secs(30), metrics).expect("a URL");
    HiddenRounds::of(Notes::of(Arc::new(store)))
}

async fn found(rounds: &HiddenRounds, whose: &Whose, messages: &[Value]) -> Vec<String> {
    let restored = rounds.restore(whose, &request(messages)).await;
    let results = restored.into_iter().flat_map(|restored| restored.results);
    results.collect()
}

#[tokio::test]
async fn any_gateway_of_a_fleet_goes_on_with_a_turn_and_for_nobody_else() {
    let server = Server::start();
    let [one, other] = [gateway(&server), gateway(&server)];
    let told = [ask("hi"), called(), gave("1")];
    let ann = whose("ann", "one");
    let place = HiddenPlace::after(&request(&told[..1]), ann.clone());
    one.keep(place, hidden("42"), LATER).await;
    assert_eq!(found(&other, &ann, &told).await, ["42"]);
    let elsewhere = Whose {
        tenant: "acme}".into(),
        ..ann.clone()
    };
    // Names that would meet, were they written one behind the other.
    for other_one in [
        whose("ben", "one"),
        whose("ann:=one", ""),
        whose("", "ann:=one"),
        whose("ann", ""),
        elsewhere,
    ] {
        let found = found(&gateway(&server), &other_one, &told).await;
        assert!(found.is_empty(), "{other_one:?}");
    }
    let tenant: Arc<str> = "acme".into();
    one.ends(&tenant, "resp_told", "resp_upstream").await;
    let body = json!({ "previous_response_id": "resp_told", "input": "and?" });
    let next = Dialect::Responses.read(body.to_string().into(), 64);
    let next = next.expect("a request");
    let end = other.goes_on_from(&tenant, &next).await;
    assert_eq!(end.as_deref(), Some("resp_upstream"));
    assert_eq!(other.goes_on_from(&"else".into(), &next).await, None);
}

#[tokio::test]
async fn a_gateway_goes_on_with_its_own_turns_while_the_store_is_away() {
    let server = Server::start();
    let here = gateway(&server);
    drop(server);
    let ann = whose("ann", "one");
    let told = [ask("hi"), called(), gave("1")];
    let place = HiddenPlace::after(&request(&told[..1]), ann.clone());
    here.keep(place, hidden("42"), LATER).await;
    assert_eq!(found(&here, &ann, &told).await, ["42"]);
}

#[tokio::test]
async fn a_turn_that_began_before_an_erasure_leaves_nothing_to_the_others() {
    let server = Server::start();
    let url = server.url().into();
    let minute = Duration::from_secs(60);
    let store = Store::new(&url, minute, Arc::new(Metrics::new())).expect("a URL");
    let notes = Notes::of(Arc::new(store));
    let began = jiff::Timestamp::now().as_microsecond();
    let told = [ask("hi"), called(), gave("1")];
    let all = [
        whose("ann", "one"),
        whose("ann", ""),
        whose("ann", "two"),
        whose("ben", "one"),
        whose("", "one"),
    ];
    for (erased, left) in [
        (&["round:=ann:*"][..], [false, false, false, true, true]),
        (&["round:*:=one:*"], [false, true, true, false, false]),
        (&["round:=ann:=one:*"], [false, true, true, true, true]),
        (&["round::=one:*"], [true, true, true, true, false]),
        (&["round:*", "block:*"], [false; 5]),
    ] {
        let tenant = format!("of {erased:?}");
        let erased: Vec<String> = erased.iter().map(|it| (*it).to_owned()).collect();
        notes.erase(&tenant, &erased).await;
        for (who, is_left) in all.iter().zip(left) {
            let tenant: Arc<str> = tenant.as_str().into();
            let who = Whose {
                tenant,
                ..who.clone()
            };
            let place = || HiddenPlace::after(&request(&told[..1]), who.clone());
            let here = gateway(&server);
            here.keep(place(), hidden("42"), began).await;
            let before = found(&gateway(&server), &who, &told).await;
            assert_eq!(!before.is_empty(), is_left, "{erased:?} {who:?}");
            // What begins later is left again.
            here.keep(place(), hidden("43"), LATER).await;
            assert_eq!(found(&gateway(&server), &who, &told).await, ["43"]);
        }
    }
}
