use std::time::Duration;

use super::block::Block;
use super::store_tests::scope;
use super::tests::config;
use super::*;
use crate::dialect::{Dialect, Request};

const ROOM: usize = 32 << 10;

fn request(texts: &[&str]) -> Request {
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages = roles.zip(texts);
    let messages = messages.map(|(role, text)| serde_json::json!({"role": role, "content": text}));
    let body = serde_json::json!({ "messages": messages.collect::<Vec<_>>() });
    Dialect::Chat.read(body.to_string().into(), 64).unwrap()
}

/// Memory in which Ann has a record, and a block of it before her question.
async fn asked(question: &str) -> (Memory, tempfile::TempDir, Record) {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(&config(folder.path()), None).unwrap();
    let text = "My dog is called Rex.".to_owned();
    let record = Record::new(&scope("ann"), "user", text, Source::Api, 1_700_000_000_000);
    let record = memory.create(record).await.unwrap();
    let query = RecallQuery {
        question: Arc::new("dog".into()),
        limit: 5,
        deadline: Duration::from_secs(60),
        ..RecallQuery::default()
    };
    let recall = memory.recall(&scope("ann"), &query).await;
    let block = block::render(
        &recall.records,
        &"dog".into(),
        (&block::tests::room(8192), &Default::default()),
    );
    let (_, place) = Place::all(&scope("ann"), &request(&[question])).remove(0);
    memory
        .keep_block(&place, Some(block.into()), i64::MAX)
        .await;
    (memory, folder, record)
}

/// What stands in a request of this user's.
async fn standing(memory: &Memory, user: &str, texts: &[&str]) -> Vec<(usize, Arc<Block>)> {
    let scope = scope(user);
    let places = Place::all(&scope, &request(texts));
    memory.standing(&scope, &places, ROOM).await
}

#[tokio::test]
async fn a_block_stands_before_its_own_message_of_its_own_conversation() {
    let (memory, _folder, _) = asked("Which dog?").await;
    let later = ["Which dog?", "Rex.", "And which cat?"];
    let found = standing(&memory, "ann", &later).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.records.len()), (0, 1));
    assert!(standing(&memory, "bob", &later).await.is_empty());
    for other in [
        &["Which dog"][..],
        &["?"],
        &["Hello.", "Hello.", "Which dog?"],
    ] {
        assert!(
            standing(&memory, "ann", other).await.is_empty(),
            "{other:?}"
        );
    }
    let ann = scope("ann");
    let places = Place::all(&ann, &request(&later));
    assert_eq!(places.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 2]);
    let room = found[0].1.text.len();
    let with_room = |room| memory.standing(&ann, &places, room);
    assert_eq!(with_room(room).await.len(), 1);
    assert_eq!(with_room(room - 1).await.len(), 0);
    memory.keep_block(&places[0].1, None, i64::MAX).await;
    assert!(standing(&memory, "ann", &later).await.is_empty());
}

#[tokio::test]
async fn a_block_goes_with_its_record_and_not_when_the_same_is_said_again() {
    let (memory, _folder, record) = asked("dog?").await;
    let id = record.id.to_string();
    let again = Record {
        updated_at: record.updated_at + 1,
        ..record.clone()
    };
    memory.create(again).await.unwrap();
    assert_eq!(standing(&memory, "ann", &["dog?"]).await.len(), 1);
    let other = "The cat is called Kit.".to_owned();
    let other = Record::new(&scope("ann"), "user", other, Source::Api, 1_700_000_000_001);
    let other = memory.create(other).await.unwrap();
    memory
        .delete("tenant", None, &other.id.to_string())
        .await
        .unwrap();
    // Not before the index is there again can anybody say what stands.
    assert!(standing(&memory, "ann", &["dog?"]).await.is_empty());
    memory.scopes.get(&scope("ann")).await.unwrap();
    assert_eq!(standing(&memory, "ann", &["dog?"]).await.len(), 1);

    memory
        .update("tenant", None, (&id, "my dog is called REX".into()))
        .await
        .unwrap();
    memory.scopes.get(&scope("ann")).await.unwrap();
    assert!(standing(&memory, "ann", &["dog?"]).await.is_empty());
    // It does not come back with the old text.
    memory
        .update("tenant", None, (&id, record.text))
        .await
        .unwrap();
    memory.scopes.get(&scope("ann")).await.unwrap();
    assert!(standing(&memory, "ann", &["dog?"]).await.is_empty());
}
