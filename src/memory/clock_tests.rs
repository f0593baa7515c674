//! A system clock that goes back or jumps ahead: memory takes the time from its callers, so here it
//! is whatever the test says.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::record::new_id;
use super::*;

/// Milliseconds by which the clock jumps between two turns.
fn jumps() -> impl Strategy<Value = i64> {
    const YEAR: i64 = 365 * 86_400_000;
    prop_oneof![
        -5000i64..5000,
        -86_400_000i64..86_400_000,
        -60 * YEAR..60 * YEAR,
        Just(0),
    ]
}

/// Memory that knows nothing but what is stored.
fn memory(store: &Embedded) -> Memory {
    let config = tests::config("".as_ref());
    Memory::with_store(Arc::new(store.clone()), &config, None).unwrap()
}

async fn find(memory: &Memory, scope: &Scope, number: usize, now: i64) -> Vec<Recalled> {
    let query = RecallQuery {
        question: Arc::new(
            format!("what is the secret of cabinet{number}?")
                .as_str()
                .into(),
        ),
        limit: 5,
        deadline: Duration::from_secs(60),
        clock: Clock {
            now,
            ..Clock::default()
        },
        ..RecallQuery::default()
    };
    memory.recall(scope, &query).await.records
}

/// Every id, page by page.
async fn listed(memory: &Memory, scope: &Scope) -> Vec<uuid::Uuid> {
    let selection = Selection::Scope(scope.clone());
    let (mut ids, mut cursor): (Vec<uuid::Uuid>, _) = (Vec::new(), None::<String>);
    loop {
        let page = memory
            .list(scope.tenant(), &selection, cursor.as_deref(), 2)
            .await
            .unwrap();
        ids.extend(page.records.iter().map(|record| record.id));
        cursor = ids.last().map(ToString::to_string);
        if !page.more {
            return ids;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_clock_that_jumps_harms_no_memory(jumps in prop::collection::vec(jumps(), 1..12)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let scope = Scope::of("tenant", Some("ann"), None).unwrap();
            let store = Embedded::open(folder.path()).unwrap();
            let running = memory(&store);
            let mut now = 1_700_000_000_000;
            for (number, jump) in jumps.iter().enumerate() {
                now += jump;
                running.save(Turn {
                    scope: scope.clone(),
                    conversation: Some("c".into()),
                    user_text: format!("The secret of cabinet{number} is word{}.", number * 7919),
                    assistant_text: String::new(),
                    request_id: "r".into(),
                    generation: 1,
                    recalled: Vec::new(),
        user_name: None,
        asked: None,
        history: History::default(),
                    began: 0,
                    now,
                });
                assert!(running.drain(Duration::from_secs(60)).await);
                let found = find(&running, &scope, number, now).await;
                let text = found.first().map(|found| found.record.text.as_str());
                let expected = format!("The secret of cabinet{number} is word{}.", number * 7919);
                assert_eq!(text, Some(&*expected));
                assert!(block::render(&found, &"secret".into(), (&block::tests::room(8192), &Default::default())).records.len() == found.len());
            }
            for memory in [&running, &memory(&store)] {
                let ids = listed(memory, &scope).await;
                let different: HashSet<_> = ids.iter().collect();
                assert_eq!((ids.len(), different.len()), (jumps.len(), jumps.len()));
                assert!(ids.is_sorted_by(|a, b| a > b), "the newest first");
                for number in 0..jumps.len() {
                    let found = find(memory, &scope, number, now).await;
                    assert!(found[0].record.text.contains(&format!("cabinet{number} ")));
                    assert!(found[0].record.updated_at >= found[0].record.created_at);
                }
            }
            let audit = running.audit().await.unwrap();
            assert_eq!(audit.records, jumps.len() as u64);
            assert_eq!((audit.corrupt, audit.orphans, audit.miscounted), (0, 0, 0));
        });
    }

    /// Within one process ids differ, and those of one moment are in the order of their making,
    /// whatever the clock says in between.
    #[test]
    fn ids_differ_and_sort_whatever_the_clock_says(times in prop::collection::vec(any::<i64>(), 1..50)) {
        let ids: Vec<_> = times.iter().map(|&at| new_id(at)).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        for (at, id) in times.iter().zip(&ids) {
            let later = new_id(*at);
            assert!(later > *id, "{at}: {id} {later}");
        }
    }
}
