//! What every store does alike. Each store's own tests run these on it with [`store_tests`].

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::erasure::{self, Begun, KEPT};
use super::line::Line;
use super::record::{MAX_TEXT_BYTES, Reason, Record, Source};
use super::scope::Scope;
use super::store::{
    Applied, Audit, Backlog, Change, Changed, Fate, MemoryStore, Pending, SET_ASIDE, Selection,
};
use super::usage::{Row, Used};

/// Makes a test of each function of this module; `open` gives a store and what it needs to live.
macro_rules! store_tests {
    ($open:path) => {
        $crate::memory::store_tests::store_tests!($open:
            what_was_put_is_loaded_and_sound
            lists_page_from_the_newest_and_deletes_take_only_what_is_selected
            versions_rise_by_one_with_what_changes_and_with_nothing_else
            the_last_of_several_changes_of_a_record_holds
            a_record_that_moves_to_another_conversation_is_listed_there_alone
            any_text_comes_back_as_it_was
            scopes_that_look_alike_stay_apart
            vectors_stay_with_their_records
            a_scan_gives_everything_once
            a_queued_exchange_is_claimed_by_one_at_a_time_and_finished_once
            an_exchange_whose_record_is_gone_changes_nothing
            what_began_before_an_erasure_is_not_carried_out_after_it
            an_erasure_is_minded_as_long_as_it_is_kept
            an_update_of_what_is_gone_brings_nothing_back
            usage_is_summed_by_key_model_and_day_and_read_by_tenant_and_days
        );
    };
    ($open:path: $($name:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _alive) = $open();
                $crate::memory::store_tests::$name(&store).await;
            }
        )+
    };
}
pub(in crate::memory) use store_tests;

pub fn scope(user: &str) -> Scope {
    Scope::of("tenant", Some(user), None).unwrap()
}

pub fn record(user: &str, n: usize) -> Record {
    let text = format!(
        "record {n} of {user}: {}",
        "some words to fill a page ".repeat(n % 7)
    );
    let mut record = Record::new(&scope(user), "user", text, Source::Api, n as i64);
    record.conversation = Some(format!("c{}", n % 3).into());
    record
}

pub async fn put(store: &impl MemoryStore, records: &[Record]) -> Vec<Changed> {
    let changes = records.iter().cloned().map(Change::Put).collect();
    store.apply(changes).await.unwrap().changed
}

fn version(user: &str, version: u64) -> Vec<Changed> {
    let scope = scope(user);
    vec![Changed { scope, version }]
}

pub async fn what_was_put_is_loaded_and_sound(store: &impl MemoryStore) {
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 0);
    let mut records: Vec<_> = (0..50).map(|n| record("ann", n)).collect();
    records[3].replace_text("another text".into(), Reason::Edited, 77);
    records[4].request_id = Some("r-1".into());
    records[4].generation = u64::MAX;
    records[5].conversation = None;
    records[6].source = Source::Extraction;
    records[6].derived_from = vec![records[4].id, records[5].id];
    assert_eq!(put(store, &records).await, version("ann", 1));
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records);
    assert_eq!(loaded.version, 1);
    assert_eq!(store.count().await.unwrap(), 50);
    let found = store.get("tenant", records[4].id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&records[4]));
    assert_eq!(store.get("other", records[4].id).await.unwrap(), None);
    let audit = store.audit().await.unwrap();
    let clean = Audit {
        records: 50,
        scopes: 1,
        tenants: 1,
        text_bytes: records.iter().map(|r| r.text.len() as u64).sum(),
        ..Audit::default()
    };
    assert_eq!(audit, clean);
    assert_eq!(store.corrupt(), 0);
}

pub async fn a_record_that_moves_to_another_conversation_is_listed_there_alone(
    store: &impl MemoryStore,
) {
    let of = |id: &str| Selection::Conversation {
        id: id.into(),
        user: None,
    };
    let mut record = record("ann", 1);
    for conversation in [Some("c1"), Some("c2"), None, Some("c3")] {
        record.conversation = conversation.map(Into::into);
        put(store, std::slice::from_ref(&record)).await;
        for id in ["c1", "c2", "c3"] {
            let page = store.list("tenant", &of(id), None, 10).await.unwrap();
            assert_eq!(page.total, u64::from(conversation == Some(id)), "{id}");
        }
        assert_eq!(store.audit().await.unwrap().orphans, 0);
    }
    let holders = store.holders("tenant", vec![record.id, Uuid::nil()]);
    assert_eq!(holders.await.unwrap(), [(record.id, scope("ann"))]);
    let others = store.holders("other", vec![record.id]);
    assert!(others.await.unwrap().is_empty());
    assert_eq!(store.erase("tenant", &of("c3")).await.unwrap().records, 1);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (0, 0, 0));
}

pub async fn lists_page_from_the_newest_and_deletes_take_only_what_is_selected(
    store: &impl MemoryStore,
) {
    let ann: Vec<_> = (0..9).map(|n| record("ann", n)).collect();
    let bob: Vec<_> = (0..9).map(|n| record("bob", n)).collect();
    put(store, &ann).await;
    put(store, &bob).await;

    let of_ann = Selection::Scope(scope("ann"));
    let first = store.list("tenant", &of_ann, None, 5).await.unwrap();
    assert_eq!((first.records.len(), first.total, first.more), (5, 9, true));
    assert_eq!(first.records[0], ann[8]);
    let rest = store
        .list("tenant", &of_ann, Some(first.records[4].id), 5)
        .await
        .unwrap();
    assert_eq!((rest.records.len(), rest.more), (4, false));
    assert_eq!(rest.records[3], ann[0]);

    let conversation = |user: Option<&str>| Selection::Conversation {
        id: "c1".into(),
        user: user.map(str::to_owned),
    };
    let count = async |s| {
        let page = store.list("tenant", &s, None, 100).await.unwrap();
        assert_eq!(page.records.len() as u64, page.total);
        page.total
    };
    assert_eq!(count(conversation(None)).await, 6);
    assert_eq!(count(conversation(Some("ann"))).await, 3);
    assert_eq!(count(Selection::All).await, 18);

    let erased = store
        .erase("tenant", &conversation(Some("ann")))
        .await
        .unwrap();
    assert_eq!((erased.records, erased.changed), (3, version("ann", 2)));
    assert_eq!(count(conversation(None)).await, 3);
    assert_eq!(
        store.erase("other", &Selection::All).await.unwrap().records,
        0
    );
    assert_eq!(store.erase("tenant", &of_ann).await.unwrap().records, 6);
    assert_eq!(store.count().await.unwrap(), 9);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (9, 0, 0));
    assert_eq!(
        store
            .erase("tenant", &Selection::All)
            .await
            .unwrap()
            .records,
        9
    );
}

pub async fn versions_rise_by_one_with_what_changes_and_with_nothing_else(
    store: &impl MemoryStore,
) {
    let remove = |user: &str, id| Change::Remove {
        scope: scope(user),
        id,
    };
    let one = record("ann", 1);
    assert_eq!(
        put(store, std::slice::from_ref(&one)).await,
        version("ann", 1)
    );
    assert_eq!(
        put(store, std::slice::from_ref(&one)).await,
        version("ann", 2)
    );
    let nothing = vec![remove("ann", Uuid::now_v7()), remove("eve", one.id)];
    assert_eq!(store.apply(nothing).await.unwrap().changed, []);
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 2);
    assert_eq!(store.load(&scope("eve")).await.unwrap().version, 0);
    let removed = store.apply(vec![remove("ann", one.id)]).await.unwrap();
    assert_eq!(removed.changed, version("ann", 3));
    // One that is empty is not one that is new.
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 3);
    assert_eq!(put(store, &[one]).await, version("ann", 4));
    assert_eq!(store.apply(Vec::new()).await.unwrap(), Applied::default());
    assert_eq!(store.count().await.unwrap(), 1);
}

pub async fn the_last_of_several_changes_of_a_record_holds(store: &impl MemoryStore) {
    let (first, second) = (record("ann", 1), record("ann", 2));
    let mut later = first.clone();
    later.replace_text("said again".into(), Reason::NearDuplicate, 5);
    let remove = |record: &Record| Change::Remove {
        scope: record.scope.clone(),
        id: record.id,
    };
    let changes = vec![
        Change::Put(first.clone()),
        Change::Put(second.clone()),
        Change::Put(later.clone()),
        remove(&second),
    ];
    assert_eq!(
        store.apply(changes).await.unwrap().changed,
        version("ann", 1)
    );
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, [later]);
    let changes = vec![remove(&first), Change::Put(first.clone())];
    assert_eq!(
        store.apply(changes).await.unwrap().changed,
        version("ann", 2)
    );
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, [first]);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (1, 0, 0));
}

pub async fn any_text_comes_back_as_it_was(store: &impl MemoryStore) {
    let texts = [
        "\0",
        "\0\u{1A}\u{1A}0\u{1A}1\0\u{0}1",
        "\\0 \\u0000 ' \" $1 %s \r\n\t",
        "你好，世界 👩‍👩‍👧 e\u{301}",
        "\u{FFFF}\u{10FFFF}\u{E000}",
    ];
    let longest = "长".repeat(MAX_TEXT_BYTES / 3);
    let mut runner = TestRunner::deterministic();
    let random: Vec<String> = (0..64)
        .map(|_| any::<String>().new_tree(&mut runner).unwrap().current())
        .collect();
    let texts = texts.into_iter().chain([longest.as_str()]);
    let texts = texts.chain(random.iter().map(String::as_str));
    let mut records = Vec::new();
    for (n, text) in texts.enumerate() {
        let mut record = record("ann", n);
        record.replace_text(text.into(), Reason::Superseded, 9);
        record.replace_text(text.into(), Reason::Edited, 10);
        record.role = text.chars().take(20).collect::<String>().into();
        record.conversation = Some(text.chars().take(20).collect::<String>().into());
        record.request_id = Some(text.into());
        records.push(record);
    }
    put(store, &records).await;
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records);
    let of = Selection::Conversation {
        id: records[1].conversation.as_deref().unwrap().into(),
        user: None,
    };
    let page = store.list("tenant", &of, None, 10).await.unwrap();
    assert_eq!(page.records, [records[1].clone()]);
    assert_eq!(store.corrupt(), 0);
}

pub async fn scopes_that_look_alike_stay_apart(store: &impl MemoryStore) {
    let ids = [
        "a", "A", "a\0", "a\u{1A}0", "\u{1A}", "a/b", "a:b", "a b", "é", "e\u{301}", "а", "%00", "",
    ];
    let mut scopes = Vec::new();
    for tenant in ids {
        for id in ids {
            scopes.extend(Scope::of(tenant, Some(id), None));
            scopes.extend(Scope::of(tenant, None, Some(id)));
        }
    }
    let new = |scope: &Scope| Record::new(scope, "user", format!("{scope:?}"), Source::Api, 1);
    let records: Vec<_> = scopes.iter().map(new).collect();
    let changed = put(store, &records).await;
    assert_eq!(changed.len(), scopes.len());
    for (scope, record) in scopes.iter().zip(&records) {
        let loaded = store.load(scope).await.unwrap();
        assert_eq!(loaded.records, std::slice::from_ref(record));
        let found = store.get(scope.tenant(), record.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(record));
    }
    let audit = store.audit().await.unwrap();
    assert_eq!(audit.scopes, scopes.len() as u64);
    assert_eq!(audit.tenants, ids.len() as u64);
    let gone = store.erase("a\0", &Selection::All).await.unwrap().records;
    assert_eq!(gone, 2 * ids.len() as u64);
    let left = store.count().await.unwrap();
    assert_eq!(left, (scopes.len() - 2 * ids.len()) as u64);
}

pub async fn vectors_stay_with_their_records(store: &impl MemoryStore) {
    const SPACE: u64 = u64::MAX - 7;
    let (first, second) = (record("ann", 1), record("bob", 2));
    put(store, &[first.clone(), second.clone()]).await;
    let vector = |record: &Record, x| {
        let text = super::embedding::passage(record);
        Vector::new(SPACE, &text, &[x, 1.0, 0.0]).unwrap()
    };
    let of = |record: &Record, x| (record.scope.clone(), record.id, vector(record, x));
    let gone = record("ann", 3);
    let vectors = vec![of(&first, 0.1), of(&gone, 0.2), of(&first, 0.3)];
    store.put_vectors(vectors).await.unwrap();
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.version, 1, "vectors are no change");
    assert_eq!(loaded.vectors, [(first.id, vector(&first, 0.3))]);

    let (wanting, next) = store.unembedded(SPACE, None, 10).await.unwrap();
    assert_eq!((wanting, next), (vec![second.clone()], None));
    let (wanting, _) = store.unembedded(SPACE + 1, None, 10).await.unwrap();
    assert_eq!(wanting.len(), 2);
    let mut edited = first.clone();
    edited.replace_text("something else".into(), Reason::Edited, 9);
    put(store, &[edited.clone()]).await;
    let (wanting, _) = store.unembedded(SPACE, None, 10).await.unwrap();
    assert_eq!(wanting.len(), 2, "it stands for another text");

    let remove = Change::Remove {
        scope: scope("ann"),
        id: first.id,
    };
    store.apply(vec![remove]).await.unwrap();
    put(store, &[first]).await;
    assert_eq!(store.load(&scope("ann")).await.unwrap().vectors, []);
}

pub async fn a_scan_gives_everything_once(store: &impl MemoryStore) {
    let users = ["ann", "bob", "eve"];
    let records: Vec<_> = (0..60).map(|n| record(users[n % 3], n)).collect();
    put(store, &records).await;
    for limit in [1, 7, 60, 100] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (part, next) = store.scan(after, limit).await.unwrap();
            assert!(part.len() <= limit);
            found.extend(part);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut ids: Vec<_> = found.iter().map(|r| r.id).collect();
        let scopes: Vec<_> = found.iter().map(|r| r.scope.clone()).collect();
        assert_eq!(scopes.chunk_by(|a, b| a == b).count(), 3, "scope by scope");
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), found.len()), (60, 60));
    }
}

fn pending(record: &Record, due: i64) -> Pending {
    Pending {
        scope: record.scope.clone(),
        records: vec![record.id],
        due,
        failures: 0,
    }
}

pub async fn a_queued_exchange_is_claimed_by_one_at_a_time_and_finished_once(
    store: &impl MemoryStore,
) {
    let (ann, bob) = (record("ann", 1), record("bob", 2));
    // With the records that it is about, in one transaction.
    let changes = vec![
        Change::Put(ann.clone()),
        Change::Extract(pending(&ann, 20)),
        Change::Put(bob.clone()),
        Change::Extract(pending(&bob, 10)),
    ];
    store.apply(changes).await.unwrap();
    let claim = async |now, until| store.claim(now, until).await.unwrap();
    assert_eq!(claim(9, 100).await, None);
    let first = claim(20, 100).await.unwrap();
    assert_eq!((first.id(), first.due), (bob.id, 100));
    let late = claim(20, 100).await.unwrap();
    assert_eq!(late.id(), ann.id);
    assert_eq!(claim(99, 200).await, None);
    // Whoever claimed it first was too slow: another has it, and does it.
    let again = claim(100, 200).await.unwrap();
    let fact = record("ann", 3);
    let changes = || vec![Change::Put(fact.clone())];
    assert_eq!(again.id(), ann.id);
    assert_eq!(store.finish(&late, changes()).await.unwrap(), None);
    let changed = store.finish(&again, changes()).await.unwrap().unwrap();
    assert_eq!(changed.changed[0].scope, ann.scope);
    assert_eq!(store.finish(&again, changes()).await.unwrap(), None);
    assert_eq!(store.get("tenant", fact.id).await.unwrap(), Some(fact));
    let waiting = Backlog {
        waiting: 1,
        set_aside: 0,
    };
    assert_eq!(store.backlog().await.unwrap(), waiting);

    // A failure counts once, and what was queued anew begins anew.
    store.postpone(&first, 150).await.unwrap();
    store.postpone(&first, 300).await.unwrap();
    let tried = claim(150, 400).await.unwrap();
    assert_eq!((tried.id(), tried.failures), (bob.id, 1));
    let requeued = Change::Extract(pending(&bob, 0));
    store.apply(vec![requeued]).await.unwrap();
    store.postpone(&tried, SET_ASIDE).await.unwrap();
    let fresh = claim(0, 500).await.unwrap();
    assert_eq!(fresh.failures, 0);
    store.postpone(&fresh, SET_ASIDE).await.unwrap();
    assert_eq!(claim(i64::MAX - 1, i64::MAX).await, None);
    let set_aside = Backlog {
        waiting: 0,
        set_aside: 1,
    };
    assert_eq!(store.backlog().await.unwrap(), set_aside);
}

pub async fn an_exchange_whose_record_is_gone_changes_nothing(store: &impl MemoryStore) {
    let (asked, answered) = (record("ann", 1), record("ann", 2));
    put(store, &[asked.clone(), answered.clone()]).await;
    let mut exchange = pending(&asked, 0);
    exchange.records.push(answered.id);
    let queue = async || {
        let queued = Change::Extract(exchange.clone());
        store.apply(vec![queued]).await.unwrap();
        store.claim(0, 100).await.unwrap().unwrap()
    };
    let remove = async |record: &Record| {
        let (scope, id) = (record.scope.clone(), record.id);
        store
            .apply(vec![Change::Remove { scope, id }])
            .await
            .unwrap();
    };
    let fact = record("ann", 3);
    let claimed = queue().await;
    remove(&answered).await;
    let finished = store
        .finish(&claimed, vec![Change::Put(fact.clone())])
        .await;
    assert_eq!(finished.unwrap(), None);
    assert_eq!(store.get("tenant", fact.id).await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());

    queue().await;
    remove(&asked).await;
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());

    let all = Selection::Scope(asked.scope.clone());
    put(store, &[asked]).await;
    queue().await;
    store.erase("tenant", &all).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
}

pub async fn usage_is_summed_by_key_model_and_day_and_read_by_tenant_and_days(
    store: &impl MemoryStore,
) {
    let day = |text: &str| text.parse().expect("a day");
    let row = |tenant: &str, model: &str, on: &str, input| Row {
        tenant: tenant.into(),
        key: "app".into(),
        model: model.into(),
        day: day(on),
        used: Used {
            requests: 1,
            input,
            cached: 2,
            output: 3,
            micro_usd: u64::from(u32::MAX),
        },
    };
    let whole = (day("2026-01-01"), day("2026-12-31"));
    assert_eq!(store.usage(None, whole).await.unwrap(), []);
    let first = vec![
        row("acme", "gpt-4o", "2026-11-27", 5),
        row("acme", "gpt-4o", "2026-11-28", 7),
        row("other", "a, \"model\"", "2026-11-28", 11),
    ];
    store.add_usage(first).await.unwrap();
    let second = vec![row("acme", "gpt-4o", "2026-11-28", 1)];
    store.add_usage(second).await.unwrap();
    let mut all = store.usage(None, whole).await.unwrap();
    all.sort_by(|a, b| (&a.tenant, a.day).cmp(&(&b.tenant, b.day)));
    let inputs: Vec<_> = all
        .iter()
        .map(|row| (&*row.tenant, row.used.input))
        .collect();
    assert_eq!(inputs, [("acme", 5), ("acme", 8), ("other", 11)]);
    assert_eq!(all[1].used.requests, 2);
    assert_eq!(all[1].used.micro_usd, 2 * u64::from(u32::MAX));
    assert_eq!(all[2].model, "a, \"model\"");
    let last = (day("2026-11-28"), day("2026-11-28"));
    let acme = store.usage(Some("acme"), last).await.unwrap();
    assert_eq!((acme.len(), acme[0].used.input), (1, 8));
}

/// Where the first version's stores are: one of each kind, with the same in it.
pub fn first_version(name: &str) -> std::path::PathBuf {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/memory");
    fixtures.join(name)
}

/// Looks at a store that the first version has written, and writes to it.
pub async fn is_carried_over(store: &impl MemoryStore) {
    let lines = std::fs::read_to_string(first_version("first.jsonl")).unwrap();
    let lines = lines.lines().map(|line| {
        let line: Line = serde_json::from_str(line).unwrap();
        line.into_record("none", 0).unwrap()
    });
    let mut expected: Vec<_> = lines.collect();
    let (mut found, _) = store.scan(None, 100).await.unwrap();
    expected.sort_by_key(|record| record.id);
    found.sort_by_key(|record| record.id);
    assert_eq!(found, expected);
    let ada = Scope::of("default", Some("ada"), None).unwrap();
    let loaded = store.load(&ada).await.unwrap();
    assert_eq!((loaded.version, loaded.vectors.len()), (2, 2));
    let queued = store.backlog().await.unwrap();
    assert_eq!((queued.waiting, queued.set_aside), (1, 1));
    let sound = async |records| {
        let audit = store.audit().await.unwrap();
        assert_eq!((audit.corrupt, audit.orphans, audit.miscounted), (0, 0, 0));
        assert_eq!(audit.records, records);
    };
    sound(9).await;
    let new = Record::new(
        &ada,
        "user",
        "Said to a later version.".into(),
        Source::Chat,
        1,
    );
    let changed = store.apply(vec![Change::Put(new.clone())]).await.unwrap();
    assert_eq!(changed.changed[0].version, 3);
    let found = store.get("default", new.id).await.unwrap();
    assert_eq!(found, Some(new));
    let all = Selection::Scope(ada);
    assert_eq!(store.erase("default", &all).await.unwrap().records, 7);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
    sound(3).await;
}

/// The record, from an exchange in its conversation that began then.
pub fn begun(record: &Record, at: i64) -> Change {
    let conversation = record.conversation.clone();
    Change::Begun(
        Begun { at, conversation },
        Change::Put(record.clone()).into(),
    )
}

pub async fn what_began_before_an_erasure_is_not_carried_out_after_it(store: &impl MemoryStore) {
    // Two users, three conversations, and a conversation of nobody's.
    let mut records: Vec<_> = (0..3)
        .flat_map(|n| [record("ann", n), record("bob", n)])
        .collect();
    let lone = Scope::of("tenant", None, Some("c1")).unwrap();
    records.push(Record::new(
        &lone,
        "user",
        "of nobody".into(),
        Source::Chat,
        1,
    ));
    let other = Scope::of("other", Some("ann"), None).unwrap();
    records.push(Record::new(
        &other,
        "user",
        "of another tenant".into(),
        Source::Chat,
        1,
    ));
    let conversation = |user: Option<&str>| Selection::Conversation {
        id: "c1".into(),
        user: user.map(str::to_owned),
    };
    let is_c1 = |it: &Record| it.conversation.as_deref() == Some("c1");
    let of_tenant = |it: &Record| it.scope.tenant() == "tenant";
    type Taken<'t> = &'t dyn Fn(&Record) -> bool;
    let cases: [(Selection, Taken<'_>); 4] = [
        (Selection::Scope(scope("ann")), &|it| {
            it.scope == scope("ann")
        }),
        (conversation(Some("bob")), &|it| {
            is_c1(it) && it.scope == scope("bob")
        }),
        (conversation(None), &|it| is_c1(it) && of_tenant(it)),
        (Selection::All, &of_tenant),
    ];
    let mut last = erasure::now();
    for (selection, taken) in cases {
        let all = |at: i64| {
            records
                .iter()
                .map(move |it| begun(it, at))
                .collect::<Vec<_>>()
        };
        let before = erasure::now();
        let applied = store.apply(all(before)).await.unwrap();
        assert!(applied.fates.iter().all(|fate| *fate == Fate::Done));
        let erased = store.erase("tenant", &selection).await.unwrap();
        assert_eq!(
            erased.records,
            records.iter().filter(|it| taken(it)).count() as u64
        );
        assert!(erased.at > last, "{} {last}", erased.at);
        last = erased.at;
        for at in [before, erased.at] {
            // What stays in the queue of a gateway that was late, too.
            let mut late = all(at);
            late.extend(records.iter().map(|it| {
                let conversation = it.conversation.clone();
                let pending = Pending {
                    scope: it.scope.clone(),
                    records: vec![it.id],
                    due: 0,
                    failures: 0,
                };
                let extract = Change::Extract(pending).into();
                Change::Begun(Begun { at, conversation }, extract)
            }));
            let fates = store.apply(late).await.unwrap().fates;
            let expected = |it: &Record| match taken(it) {
                true => Fate::Erased,
                false => Fate::Done,
            };
            let expected: Vec<_> = records.iter().chain(&records).map(expected).collect();
            assert_eq!(fates, expected, "{selection:?}");
            for it in &records {
                let found = store.get(it.scope.tenant(), it.id).await.unwrap();
                assert_eq!(found.is_none(), taken(it), "{selection:?} {it:?}");
            }
            let waiting = store.backlog().await.unwrap().waiting;
            assert_eq!(
                waiting,
                records.iter().filter(|it| !taken(it)).count() as u64
            );
        }
        let after = store.apply(all(erased.at + 1)).await.unwrap();
        assert!(after.fates.iter().all(|fate| *fate == Fate::Done));
        for tenant in ["tenant", "other"] {
            store.erase(tenant, &Selection::All).await.unwrap();
        }
    }
    assert_eq!(store.count().await.unwrap(), 0);
    // What somebody puts there by hand is meant.
    put(store, &records).await;
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (8, 0, 0));
}

pub async fn an_erasure_is_minded_as_long_as_it_is_kept(store: &impl MemoryStore) {
    let record = record("ann", 1);
    let now = erasure::now();
    let apply = async |at| store.apply(vec![begun(&record, at)]).await.unwrap().fates;
    // Nobody can tell by then whether it was erased.
    assert_eq!(apply(now - KEPT - 1_000_000).await, [Fate::Erased]);
    assert_eq!(apply(now - KEPT / 2).await, [Fate::Done]);
    for user in ["ann", "ann", "bob"] {
        let of = Selection::Scope(scope(user));
        store.erase("tenant", &of).await.unwrap();
    }
    assert_eq!(apply(now - KEPT / 2).await, [Fate::Erased]);
}

pub async fn an_update_of_what_is_gone_brings_nothing_back(store: &impl MemoryStore) {
    let (old, new) = (record("ann", 1), record("ann", 2));
    let mut later = old.clone();
    later.updated_at = 77;
    let update = |otherwise: Option<&Record>| Change::Update {
        record: later.clone(),
        otherwise: otherwise.cloned(),
    };
    let changes = vec![Change::Put(old.clone()), update(Some(&new))];
    let applied = store.apply(changes).await.unwrap();
    assert_eq!(applied.fates, [Fate::Done; 2]);
    let found = store.load(&scope("ann")).await.unwrap().records;
    assert_eq!(found, [later.clone()]);
    let applied = store.apply(vec![update(Some(&new))]).await.unwrap();
    assert_eq!(applied.fates, [Fate::Done]);

    store.erase("tenant", &Selection::All).await.unwrap();
    let applied = store.apply(vec![update(None)]).await.unwrap();
    assert_eq!((applied.fates, applied.changed), (vec![Fate::Gone], vec![]));
    assert_eq!(store.count().await.unwrap(), 0);
    let remove = Change::Remove {
        scope: scope("ann"),
        id: old.id,
    };
    let changes = vec![Change::Put(old.clone()), remove, update(Some(&new))];
    let applied = store.apply(changes).await.unwrap();
    assert_eq!(applied.fates, [Fate::Done, Fate::Done, Fate::Otherwise]);
    let found = store.load(&scope("ann")).await.unwrap().records;
    assert_eq!(found, [new]);
}
