use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::memory::tests::config;
use crate::memory::{Memory, Outcome, Question, RecallQuery, Record, Scope, Source};

/// Knows a few words, some of which mean the same.
#[derive(Default)]
struct Words {
    model: u64,
    fails: AtomicBool,
    hangs: AtomicBool,
    /// Bytes of a text at most; 0 stands for any number.
    longest: usize,
    passages: AtomicU64,
    queries: AtomicU64,
}

#[async_trait]
impl Embedder for Words {
    fn space(&self) -> String {
        format!("words-{}", self.model)
    }

    async fn embed(
        &self,
        kind: Kind,
        texts: &[String],
        _: &Bill,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(EmbedError::Down("down".into()));
        }
        let too_long = |text: &String| self.longest > 0 && text.len() > self.longest;
        if texts.iter().any(too_long) {
            return Err(EmbedError::Refused("too long".into()));
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

fn scope() -> Scope {
    Scope::of("tenant", Some("ann"), None).unwrap()
}

fn query(text: &str) -> RecallQuery {
    RecallQuery {
        question: Arc::new(text.into()),
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

fn count(memory: &Memory, became: Embedding) -> u64 {
    memory.stats().embeddings[became as usize]
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
    while count(&memory, Embedding::RecordEmbedded) < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(found(&memory, "car").await, "the automobile is red");
    assert_eq!(found(&memory, "tea").await, "a cup of 龙井");
    // However often it was asked.
    assert_eq!(words.queries.load(Ordering::SeqCst), 3);
}

#[test]
fn what_is_embedded_names_the_speaker_and_ends_with_the_question() {
    let said = |role| Record::new(&scope(), role, "I like tea".into(), Source::Api, 0);
    assert_eq!(passage(&said("user")), "I like tea");
    assert_eq!(passage(&said("Ann")), "Ann: I like tea");
    let context = ["fourth", "third", "second", "first", "too old"].map(String::from);
    let asked = "first\nsecond\nthird\nfourth\nasked";
    assert_eq!(query_text("asked", &context), asked);
    assert_eq!(
        query_text(&"x".repeat(MAX_BYTES), &context).len(),
        MAX_BYTES
    );
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

#[tokio::test]
async fn of_a_text_that_is_too_long_a_part_is_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words {
        longest: 1000,
        ..Words::default()
    });
    let memory = Memory::open(&config(folder.path()), Some(words)).unwrap();
    let padding = "so it goes on ".repeat(200);
    for text in [
        format!("our puppy is called Rex {padding}"),
        padding.clone() + "car",
    ] {
        let record = Record::new(&scope(), "user", text, Source::Api, 0);
        memory.create(record).await.unwrap();
    }
    while count(&memory, Embedding::RecordEmbedded) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(found(&memory, "dog").await.starts_with("our puppy"));
    let asked = RecallQuery {
        question: Question::new("dog".to_owned(), vec!["and on and on ".repeat(200)]).into(),
        ..query("dog")
    };
    let recall = memory.recall(&scope(), &asked).await;
    assert!(recall.records[0].record.text.starts_with("our puppy"));
    assert!(recall.records[0].meaning > 0.0);
}

#[tokio::test]
async fn records_that_are_refused_hold_up_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words {
        longest: 30,
        ..Words::default()
    });
    let memory = Memory::open(&config(folder.path()), Some(words)).unwrap();
    for n in 0..3 {
        let text = format!("{n} is a text that is too long for this embedder");
        let record = Record::new(&scope(), "user", text, Source::Api, 0);
        memory.create(record).await.unwrap();
    }
    fill(&memory).await;
    assert_eq!(found(&memory, "dog").await, "our puppy is called Rex");
    while count(&memory, Embedding::RecordRefused) < 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failing_embedder_is_left_alone_longer_each_time() {
    tokio::time::pause();
    let circuit = Circuit::default();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        circuit.failed("down");
        // One that was under way beside it.
        circuit.failed("down");
        let pause = circuit.pause().unwrap();
        pauses.push(pause.as_secs());
        tokio::time::advance(pause).await;
        assert_eq!(circuit.pause(), None);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    circuit.failed("down");
    circuit.succeeded();
    assert_eq!(circuit.pause(), None);
    circuit.failed("down");
    assert_eq!(circuit.pause(), Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn no_more_queries_are_under_way_than_the_embedder_can_do() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words::default());
    let memory = Memory::open(&config(folder.path()), Some(words.clone())).unwrap();
    // The scope's index is there before time stands still.
    memory.recall(&scope(), &query("anything")).await;
    words.hangs.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let at_once = words.queries_at_once() as u64;
    for n in 0..at_once + 3 {
        let mut asked = query(&format!("question {n}"));
        asked.deadline = Duration::from_millis(50);
        assert_eq!(memory.recall(&scope(), &asked).await.outcome, Outcome::Miss);
    }
    assert_eq!(count(&memory, Embedding::QueryLate), at_once);
    assert_eq!(count(&memory, Embedding::QuerySkipped), 3);
}

#[test]
fn a_vector_is_read_as_it_was_written_or_not_at_all() {
    let vector = Vector::new(7, "text", &[0.5, -1.0, 0.25]).unwrap();
    let bytes = vector.encode(b"key");
    assert_eq!(Vector::decode(b"key", &bytes), Some(vector.clone()));
    let said = |role, text: &str| Record::new(&scope(), role, text.into(), Source::Api, 0);
    assert!(vector.stands_for(7, &said("user", "text")));
    for other in [said("user", "other"), said("Ann", "text")] {
        assert!(!vector.stands_for(7, &other));
    }
    assert_eq!(Vector::decode(b"kez", &bytes), None);
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert_eq!(Vector::decode(b"key", &bytes), None);
    }
    assert_eq!(Vector::new(7, "text", &[0.0, 0.0]), None);
    assert_eq!(Vector::new(7, "text", &[f32::NAN, 1.0]), None);
}
