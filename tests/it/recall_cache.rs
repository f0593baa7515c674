//! How often the recall cache answers people who repeat themselves, counted by its own flags.

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::{Setup, Upstream, eventually};

const USERS: usize = 10;
/// Each person asks all of this so many times, never twice in the same way running.
const TIMES: usize = 5;

/// Questions, each as people put it from one time to the next.
const QUESTIONS: [[&str; 4]; 8] = [
    [
        "What is my cat called?",
        "what is my cat called",
        "What's my cat called??",
        "My cat: what is it called?",
    ],
    [
        "When does the train to Lisbon leave?",
        "when does the train leave to lisbon",
        "The train to Lisbon, when does it leave?",
        "When does the train to Lisbon leave",
    ],
    [
        "Where did I park the car?",
        "where did I park the car",
        "Where did I park the car?!",
        "The car, where did I park it?",
    ],
    [
        "Remind me of grandmother's recipe.",
        "remind me of grandmother's recipe",
        "Remind me of grandmother's recipes!",
        "Grandmother's recipe... remind me of it",
    ],
    [
        "我的猫叫什么名字？",
        "我的猫叫什么名字",
        "我的猫叫什么名字?",
        "我的猫叫什么名字？？",
    ],
    ["今天吃什么？", "今天吃什么", "今天吃什么?", "今天吃什么！"],
    [
        "去里斯本的火车几点开？",
        "去里斯本的火车几点开",
        "去里斯本的火车几点开?",
        "去里斯本的火车几点开。",
    ],
    ["你好", "你好！", "你好。", "你好!"],
];

#[test]
fn people_who_repeat_themselves_are_answered_from_the_cache() {
    let upstream = Upstream::ok();
    let proxy = Setup::new()
        .upstream(&upstream, "")
        .config("memory.cache_capacity = 100\nmemory.cache_ttl = \"300s\"")
        .start();
    for time in 0..TIMES {
        for question in QUESTIONS {
            for user in 0..USERS {
                let content = question[(time + user) % question.len()];
                let body = json!({
                    "model": "m", "user": format!("user-{user}"),
                    "messages": [{ "role": "user", "content": content }]
                });
                // Each is saved too, which leaves everybody's cache as it is.
                assert_eq!(proxy.chat(body.to_string()).status(), 200);
            }
        }
    }
    let asked = USERS * QUESTIONS.len() * TIMES;
    let cache = eventually("all requests to be filed", || {
        let stats = proxy.exchange(get("/v1/performance/stats", &[])).text();
        let mut stats: Value = serde_json::from_str(&stats).expect("JSON");
        (stats["total_requests"] == asked).then(|| stats["cache"].take())
    });
    assert_eq!(
        cache["hits"]
            .as_u64()
            .zip(cache["misses"].as_u64())
            .map(|(h, m)| h + m),
        Some(asked as u64)
    );
    let ratio = cache["hit_ratio"].as_f64().expect("a number");
    println!("{cache}");
    assert!(ratio > 0.6, "{cache}");
}
