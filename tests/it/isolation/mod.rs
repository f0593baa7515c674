//! Whose memory is seen, over every route: tenants whose users and conversations have the same
//! names, and callers who name others in every place there is.
//!
//! Every text carries a mark of whom it belongs to. An answer, or what reaches the upstream, that
//! shows a mark which its caller may not see is a cross read. So is a mark at another's: whoever
//! writes into another's memory leaves its own mark there.

mod act;
mod caller;

use serde_json::json;

use act::{Chance, TENANTS, mark, marks};
use caller::{Caller, Made, Tally};

use crate::support::upstream::{STREAM, event, json_answer};
use crate::support::{Proxy, Setup, Upstream};

/// Operations in all, unless `ISOLATION_OPERATIONS` says otherwise.
const OPERATIONS: usize = 3000;
/// Operations on one gateway: its upstream keeps every request.
const ROUND: usize = 50_000;
const CLIENTS: usize = 4;

/// An upstream that says which marks it was sent, so that what it sees comes to be judged.
fn telling_upstream() -> Upstream {
    Upstream::start(|visit| {
        while let Some(request) = visit.request() {
            let seen: Vec<_> = marks(&request.text())
                .into_iter()
                .map(|(tenant, holder)| mark(tenant, holder))
                .collect();
            let text = format!("I was told of {}", seen.join(" "));
            if request.text().contains(r#""stream":true"#) {
                visit.send(STREAM);
                visit.chunk(event(&text));
                visit.chunk("data: [DONE]\n\n");
                visit.last_chunk();
            } else {
                let message = json!({ "role": "assistant", "content": text });
                let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
                let answer = json!({ "object": "chat.completion", "choices": [choice] });
                visit.send(json_answer(&answer.to_string()));
            }
        }
    })
}

fn gateway(upstream: &Upstream) -> Proxy {
    let mut setup = Setup::new().upstream(upstream, "");
    for tenant in TENANTS {
        let key = format!("key-{tenant}-0123456789");
        setup = setup.key(&tenant.to_string(), &key, &format!("tenant-{tenant}"));
    }
    setup.start()
}

/// Operations of several callers on a gateway of their own.
fn round(number: usize, operations: usize) -> Tally {
    let upstream = telling_upstream();
    let proxy = gateway(&upstream);
    let made = Made::default();
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let callers = (0..CLIENTS).map(|client| {
            let seed = (number * CLIENTS + client + 1) as u64;
            let mut caller = Caller {
                client: proxy.client(),
                admin: proxy.admin,
                chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                tally: Tally::default(),
                made: &made,
            };
            scope.spawn(move || {
                (0..operations / CLIENTS).for_each(|_| caller.operate());
                caller.tally
            })
        });
        let callers: Vec<_> = callers.collect();
        for caller in callers {
            all.add(caller.join().expect("a tally"));
        }
    });
    all
}

#[test]
fn nobody_sees_what_is_anothers() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the size of the test is no setting of the program"
    )]
    let operations = std::env::var("ISOLATION_OPERATIONS")
        .map_or(OPERATIONS, |count| count.parse().expect("a number"));
    let mut all = Tally::default();
    for number in 0..operations.div_ceil(ROUND) {
        all.add(round(number, ROUND.min(operations)));
    }
    let figures = json!({
        "operations": all.operations.values().sum::<usize>(),
        "cross_reads": all.cross_reads.len(),
        "by_operation": all.operations,
        "own_marks_seen": all.seen,
    });
    println!("{figures}");
    assert_eq!(all.cross_reads, Vec::<String>::new());
    // Each way of reading has shown something, so that it could have shown too much.
    for what in [
        "/v1/chat/completions",
        "/v1/preview",
        "create",
        "list",
        "export",
        "search",
        "single",
        "conversation",
        "performance",
        "admin",
    ] {
        assert!(
            all.seen.contains_key(what),
            "{what} showed nothing: {figures}"
        );
    }
}
