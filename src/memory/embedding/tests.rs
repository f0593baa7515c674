use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::config::model;
use crate::memory::{Memory, Outcome, RecallQuery, Record, Scope, Source};

/// Knows a few words, some of which mean the same.
#[derive(Default)]
struct Words {
    model: u64,
    fails: AtomicBool,
    hangs: AtomicBool,
    passages: AtomicU64,
    queries: AtomicU64,
}

#[async_trait]
impl Embedder for Words {
    fn space(&self) -> String {
        format!("words-{}", self.model)
    }

    async fn embed(&self, kind: Kind, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(EmbedError("down".into()));
        }
        let count = match kind {
            Kind::Query => &self.queries,
            Kind::Passage => &self.passages,
        };
        count.fetch_add(texts.len() as u64, Ordering::SeqCst);
        let known = HashMap::from([
            ("dog", 0),
            ("puppy", 0),
            ("car", 1),
            ("automobile", 1),
            ("tea", 2),
            ("龙井", 2),
        ]);
        let vector = |text: &String| {
            let mut vector = vec![0.01; 3];
            for (word, at) in &known {
                vector[*at] += text.contains(word) as u8 as f32;
            }
            vector
        };
        Ok(texts.iter().map(vector).collect())
    }
}

fn config(path: &std::path::Path) -> model::Memory {
    model::Memory {
        enabled: true,
        store: model::Store::Embedded { path: path.into() },
        recall_limit: 5,
        recall_deadline: Duration::from_secs(60),
        cache_ttl: Duration::from_secs(300),
        cache_capacity: 100,
        save: model::Save::Both,
        placement: model::Placement::Tail,
        max_bytes: 8192,
        extraction: model::Extraction::default(),
    }
}

fn scope() -> Scope {
    Scope::of("tenant", Some("ann"), None).unwrap()
}

fn query(text: &str) -> RecallQuery {
    RecallQuery {
        text: text.into(),
        limit: 1,
        deadline: Duration::from_secs(60),
        ..RecallQuery::default()
    }
}

async fn fill(memory: &Memory) {
    for (n, text) in [
        "our puppy is called Rex",
        "the automobile is red",
        "a cup of 龙井",
    ]
    .into_iter()
    .enumerate()
    {
        let at = n as i64 * 3_600_000;
        let record = Record::new(&scope(), "user", text.into(), Source::Api, at);
        memory.create(record).await.unwrap();
    }
}

/// Asks until the background work shows.
async fn found(memory: &Memory, text: &str) -> String {
    loop {
        let recall = memory.recall(&scope(), &query(text)).await;
        if let Some(first) = recall.records.first() {
            return first.record.text.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_means_the_same_is_found_without_a_common_word() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words::default());
    let memory = Memory::open(&config(folder.path()), Some(words.clone())).unwrap();
    fill(&memory).await;
    assert_eq!(found(&memory, "dog").await, "our puppy is called Rex");
    while memory.stats().embedded < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(found(&memory, "car").await, "the automobile is red");
    assert_eq!(found(&memory, "tea").await, "a cup of 龙井");
    // However often it was asked.
    assert_eq!(words.queries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn records_without_a_vector_get_one_later_and_anew_for_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(&config(folder.path()), None).unwrap();
    fill(&memory).await;
    drop(memory);
    for model in 0..2 {
        let words = Arc::new(Words {
            model,
            ..Words::default()
        });
        // The file's lock goes with the last task of the memory before.
        let memory = loop {
            match Memory::open(&config(folder.path()), Some(words.clone())) {
                Ok(memory) => break memory,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(found(&memory, "car").await, "the automobile is red");
        assert_eq!(words.passages.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test]
async fn an_embedder_that_hangs_or_fails_costs_nothing_but_its_share() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words::default());
    let memory = Memory::open(&config(folder.path()), Some(words.clone())).unwrap();
    fill(&memory).await;
    found(&memory, "Rex").await;
    words.hangs.store(true, Ordering::SeqCst);
    // From here on no time passes but what is waited for.
    tokio::time::pause();
    let mut asked = query("what is the puppy called");
    asked.deadline = Duration::from_millis(50);
    let recall = memory.recall(&scope(), &asked).await;
    assert_eq!(recall.outcome, Outcome::Hit);
    words.hangs.store(false, Ordering::SeqCst);
    words.fails.store(true, Ordering::SeqCst);
    let recall = memory.recall(&scope(), &query("which automobile")).await;
    assert_eq!(recall.outcome, Outcome::Hit);
}

#[test]
fn a_vector_is_read_as_it_was_written_or_not_at_all() {
    let vector = Vector::new(7, "text", &[0.5, -1.0, 0.25]).unwrap();
    let bytes = vector.encode(b"key");
    assert_eq!(Vector::decode(b"key", &bytes), Some(vector.clone()));
    assert!(vector.stands_for(7, "text") && !vector.stands_for(7, "other"));
    assert_eq!(Vector::decode(b"kez", &bytes), None);
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert_eq!(Vector::decode(b"key", &bytes), None);
    }
    assert_eq!(Vector::new(7, "text", &[0.0, 0.0]), None);
    assert_eq!(Vector::new(7, "text", &[f32::NAN, 1.0]), None);
}
