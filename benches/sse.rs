//! What watching a stream costs, by chunk.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yychat::dialect::{Answer, Observer};

fn event(content: &str) -> String {
    let chunk = serde_json::json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}],
    });
    format!("data: {chunk}\n\n")
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    let one = event(" token");
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("an_event_a_chunk", |bencher| {
        let mut observer = Observer::new(0);
        bencher.iter(|| observer.feed(black_box(one.as_bytes())));
    });
    let many = one.repeat(64);
    group.throughput(Throughput::Bytes(many.len() as u64));
    group.bench_function("64_events_a_chunk", |bencher| {
        let mut observer = Observer::new(0);
        bencher.iter(|| observer.feed(black_box(many.as_bytes())));
    });
    let halves = one.split_at(one.len() / 2);
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("an_event_in_two_chunks", |bencher| {
        let mut observer = Observer::new(0);
        bencher.iter(|| {
            observer.feed(black_box(halves.0.as_bytes()));
            observer.feed(black_box(halves.1.as_bytes()));
        });
    });
    let whole = serde_json::json!({
        "choices": [{"message": {"role": "assistant", "content": "word ".repeat(400)},
                     "finish_reason": "stop"}],
    });
    let whole = whole.to_string();
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("a_whole_answer_of_2_kb", |bencher| {
        bencher.iter(|| Answer::from_json(black_box(whole.as_bytes()), 1 << 16));
    });
    group.finish();
}

criterion_group!(sse, benches);
criterion_main!(sse);
