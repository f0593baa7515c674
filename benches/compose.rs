//! What the gateway adds to a request by reading and splicing its body, by size of the body.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use yychat::dialect::{
    Dialect, Fragment, Injection, MemoryText, Persona, PersonaMode, Placement, ToolOffer, compose,
};
use yychat::wire::{Escaped, coalesce};

const ENGLISH: &str = "The quick brown fox jumps over the lazy dog, said the \"old\" man.\n\
                       And then it was night, and all was quiet again in the hills.\n";
const CHINESE: &str = "今天北京的天气怎么样?我想去公园散步,可是听说下午会下雨。\n";

/// A chat history of about `size` bytes, in turns of about 300.
fn body(size: usize, text: &str) -> Bytes {
    let turn = text.repeat(300_usize.div_ceil(text.len()));
    let mut messages = vec![serde_json::json!({"role": "system", "content": "You are helpful."})];
    let roles = ["user", "assistant"].into_iter().cycle();
    let turns = roles.map(|role| serde_json::json!({"role": role, "content": turn}));
    messages.extend(turns.take((size / (turn.len() + 40)).max(1)));
    let body = serde_json::json!({
        "model": "gpt-4o",
        "stream": true,
        "temperature": 0.7,
        "user": "u-1",
        "conversation_id": "c-1",
        "messages": messages,
    });
    body.to_string().into()
}

fn injection() -> Injection {
    let persona = Escaped::new(&ENGLISH.repeat(10));
    let tool = serde_json::json!({"type": "function", "function": {"name": "gettime"}});
    Injection {
        persona: Some(Persona {
            fragments: vec![Fragment::Text(persona)],
            mode: PersonaMode::Prepend,
        }),
        memory: Some(MemoryText {
            text: Escaped::new(&ENGLISH.repeat(5)),
            placement: Placement::Tail,
        }),
        tools: ToolOffer::Add(vec![tool.to_string().into()]),
        ..Injection::default()
    }
}

fn benches(criterion: &mut Criterion) {
    let injection = injection();
    for (language, text) in [("english", ENGLISH), ("chinese", CHINESE)] {
        let mut group = criterion.benchmark_group(format!("compose/{language}"));
        for size in [1_000, 10_000, 200_000, 2_000_000] {
            let body = body(size, text);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(BenchmarkId::new("parse", size), &body, |bencher, body| {
                bencher.iter(|| Dialect::Chat.read(black_box(body.clone()), 64));
            });
            group.bench_with_input(
                BenchmarkId::new("parse_splice", size),
                &body,
                |bencher, body| {
                    bencher.iter(|| {
                        let request = Dialect::Chat.read(black_box(body.clone()), 64)?;
                        let composed = compose(&request, &injection);
                        Ok::<_, yychat::error::ApiError>(coalesce(composed.pieces, 4096))
                    });
                },
            );
        }
        group.finish();
    }
}

criterion_group!(compose_body, benches);
criterion_main!(compose_body);
