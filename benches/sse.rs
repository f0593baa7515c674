//! What watching a stream costs, by chunk.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yychat::dialect::{Dialect, Reader, SseReader, Wanted};

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

fn reader() -> SseReader {
    SseReader::new(Reader::new(Dialect::Chat, Wanted::Text(0)))
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    let one = Bytes::from(event(" token"));
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("an_event_a_chunk", |bencher| {
        let mut reader = reader();
        bencher.iter(|| reader.feed(black_box(&one)));
    });
    let many = Bytes::from(event(" token").repeat(64));
    group.throughput(Throughput::Bytes(many.len() as u64));
    group.bench_function("64_events_a_chunk", |bencher| {
        let mut reader = reader();
        bencher.iter(|| reader.feed(black_box(&many)));
    });
    let middle = one.len() / 2;
    let halves = (one.slice(..middle), one.slice(middle..));
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("an_event_in_two_chunks", |bencher| {
        let mut reader = reader();
        bencher.iter(|| {
            reader.feed(black_box(&halves.0));
            reader.feed(black_box(&halves.1));
        });
    });
    let whole = serde_json::json!({
        "choices": [{"message": {"role": "assistant", "content": "word ".repeat(400)},
                     "finish_reason": "stop"}],
    });
    let whole = whole.to_string();
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("a_whole_answer_of_2_kb", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new(Dialect::Chat, Wanted::ALL);
            reader.whole(black_box(whole.as_bytes()));
            reader.finish()
        });
    });
    group.finish();
}

criterion_group!(sse, benches);
criterion_main!(sse);
