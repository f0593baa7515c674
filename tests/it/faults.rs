//! The cheap halves of the harnesses in `chaos/`: the same faults, fewer times.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use yychat::server::Order;

use crate::support::upstream::{COMPLETION, STREAM, event, json_answer};
use crate::support::wire::Framing;
use crate::support::{Setup, Upstream, chat, eventually, gate};

/// `chaos/upstream_death`.
#[test]
fn a_death_at_any_event_shows_as_a_cut_and_leaves_a_prefix() {
    const EVENTS: usize = 4;
    for resets in [false, true] {
        for at in 0..=EVENTS {
            let (opener, opened) = gate();
            let upstream = Upstream::start(move |visit| {
                visit.request();
                visit.send(STREAM);
                for number in 0..at {
                    visit.chunk(event(&number.to_string()));
                }
                opened.pass();
                if resets {
                    visit.reset();
                }
            });
            let proxy = Setup::new().upstream(&upstream, "").start();
            let mut client = proxy.client();
            let user = r#"{"model":"m","stream":true,"user":"a","messages":[{"role":"user","content":"something worth keeping"}]}"#;
            client.send(chat(&[], user));
            assert_eq!(client.head().status(), 200);
            let whole: String = (0..at).map(|number| event(&number.to_string())).collect();
            assert_eq!(client.chunks(whole.len()), whole.as_bytes());
            opener.open();
            let rest = client.body(Framing::Chunked);
            assert_eq!((rest.bytes.len(), rest.whole), (0, false), "{at} {resets}");
            let kept = eventually("the user's side is saved", || {
                let path = "/v1/memories?user_id=a";
                let page = proxy
                    .exchange(crate::support::client::get(path, &[]))
                    .text();
                let page: Value = serde_json::from_str(&page).unwrap();
                let records = page["data"].as_array().unwrap().clone();
                (!records.is_empty()).then_some(records)
            });
            assert!(
                kept.iter().all(|record| record["role"] == "user"),
                "{kept:?}"
            );
        }
    }
}

/// `chaos/reload`: one file moves the personality's text and the upstream's path together.
#[test]
fn no_request_sees_two_generations_while_edits_come() {
    const EDITS: usize = 12;
    let upstream = Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let path = request.head.target().split('/').nth(1).unwrap_or_default();
            assert!(
                request.text().contains(&format!("Yours is {path}.")),
                "{path}: {}",
                request.text()
            );
            visit.send(json_answer(COMPLETION));
        }
    });
    let mut setup = Setup::new();
    // The file is to say which, and the command line is stronger.
    let folder = |number: usize| format!("personas/{number}");
    for number in 0..EDITS {
        fs::create_dir_all(setup.path(&folder(number))).unwrap();
        let text = format!(r#"{{"id":"p","name":"p","system_prompt":"Yours is {number}."}}"#);
        setup = setup.file(&format!("{}/p.json", folder(number)), text.as_bytes());
    }
    let address = upstream.address();
    let root = setup.path("");
    let text = move |number: usize| {
        format!(
            "[personality]\ndefault = \"p\"\ndir = {:?}\n[[upstreams]]\nname = \"u0\"\nbase_url = \"http://{address}/{number}/v1\"\n",
            root.join(folder(number)).display().to_string()
        )
    };
    let setup = setup.unset("personality.dir").config(&text(0));
    let proxy = setup.start();
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, api) = (done.clone(), proxy.api);
            thread::spawn(move || {
                let mut client = crate::support::Client::connect(api);
                let mut served = 0;
                while !done.load(Ordering::Acquire) {
                    let answer = client.exchange(chat(&[], r#"{"model":"m","messages":[]}"#));
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    served += 1;
                }
                served
            })
        })
        .collect();
    let file = proxy.setup.path("conf/yychat.toml");
    for number in 1..EDITS {
        let broken = number % 3 == 0;
        let edit = if broken {
            format!("[brokenn]\n{}", text(number))
        } else {
            text(number)
        };
        let new = proxy.setup.path("new.toml");
        fs::write(&new, edit).unwrap();
        fs::rename(new, &file).unwrap();
        proxy.order(Order::Reload);
        if broken {
            proxy.readyz_says("brokenn");
        } else {
            eventually("the edit serves", || {
                let answer = proxy.exchange(chat(&[], r#"{"model":"m","messages":[]}"#));
                assert_eq!(answer.status(), 200);
                let last = upstream.received();
                let seen = format!("POST /{number}/v1/chat/completions");
                crate::support::wire::find(&last, seen.as_bytes()).map(drop)
            });
        }
    }
    done.store(true, Ordering::Release);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}
