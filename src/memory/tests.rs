use std::time::Duration;

use proptest::prelude::*;

use super::doubles::{Behind, Hanging, Refuses};
use super::index::{Query, Scored};
use super::scope_index::ScopeIndex;
use super::similar::fingerprint;
use super::store::Loaded;
use super::store_tests::scope;
use super::*;

pub const NOW: i64 = 1_700_000_000_000;

/// What a store of a test's own is opened with.
pub fn config(path: &std::path::Path) -> model::Memory {
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
        max_tokens: 900,
        earlier_bytes: 32768,
        embedding: None,
        time_zone: jiff::tz::TimeZone::UTC,
        extraction: model::Extraction::default(),
    }
}

pub fn open() -> (Memory, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Memory::open(&config(folder.path()), None).unwrap(), folder)
}

pub fn turn(scope: &Scope, conversation: &str, user: &str, assistant: &str) -> Turn {
    Turn {
        scope: scope.clone(),
        conversation: Some(conversation.into()),
        user_text: user.into(),
        assistant_text: assistant.into(),
        request_id: "r1".into(),
        generation: 3,
        recalled: Vec::new(),
        user_name: None,
        asked: None,
        history: History::default(),
        began: 0,
        now: NOW,
    }
}

pub fn query(text: &str) -> RecallQuery {
    RecallQuery {
        question: Arc::new(text.into()),
        limit: 5,
        deadline: Duration::from_secs(60),
        ..RecallQuery::default()
    }
}

pub async fn saved(memory: &Memory, turn: Turn) {
    memory.save(turn);
    assert!(memory.drain(Duration::from_secs(60)).await);
}

pub async fn texts(memory: &Memory, scope: &Scope) -> Vec<String> {
    let selection = Selection::Scope(scope.clone());
    let page = memory
        .list(scope.tenant(), &selection, None, 100)
        .await
        .unwrap();
    page.records.into_iter().rev().map(|r| r.text).collect()
}

#[tokio::test]
async fn a_turn_is_recalled_in_another_conversation_with_where_it_came_from() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    saved(
        &memory,
        turn(&ann, "c1", "My dog is called Rex.", "Lovely!"),
    )
    .await;
    let recall = memory.recall(&ann, &query("what is my dog's name")).await;
    assert_eq!(recall.outcome, Outcome::Hit);
    let record = &recall.records[0].record;
    assert_eq!(record.text, "My dog is called Rex.");
    assert_eq!(record.conversation.as_deref(), Some("c1"));
    assert_eq!((&*record.role, record.source), ("user", Source::Chat));
    assert_eq!(
        (record.request_id.as_deref(), record.generation),
        (Some("r1"), 3)
    );
    assert_eq!(record.created_at, NOW);
    let audit = memory.audit().await.unwrap();
    assert_eq!((audit.records, audit.scopes, audit.corrupt), (2, 1, 0));
}

#[tokio::test]
async fn what_the_client_sends_itself_is_left_out() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    saved(&memory, turn(&ann, "c1", "My dog is called Rex.", "")).await;
    let mut query = query("dog");
    query.already_sent = vec![fingerprint("my dog is called  Rex")];
    assert_eq!(memory.recall(&ann, &query).await.outcome, Outcome::Miss);
}

#[tokio::test]
async fn the_same_said_again_moves_a_date_and_nothing_is_lost_to_likeness() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    saved(&memory, turn(&ann, "c1", "I like green tea.", "")).await;
    let mut again = turn(&ann, "c2", "i like GREEN tea", "");
    again.now += 1000;
    saved(&memory, again).await;
    let form = |who: &str| {
        format!(
            "my {who} son wants to be picked up from the old school near the river at noon on fridays"
        )
    };
    for who in ["eldest", "youngest", "adopted"] {
        saved(&memory, turn(&ann, "c2", &form(who), "")).await;
    }
    let all = [
        "I like green tea.",
        &form("eldest"),
        &form("youngest"),
        &form("adopted"),
    ];
    assert_eq!(texts(&memory, &ann).await, all);
    assert_eq!(memory.stats().merged, 1);
    let first = |recall: Recall| recall.records[0].record.clone();
    let tea = first(memory.recall(&ann, &query("tea")).await);
    assert_eq!((tea.created_at, tea.updated_at), (NOW, NOW + 1000));
    for who in ["eldest", "youngest", "adopted"] {
        let asked = format!("when is my {who} picked up?");
        let found = first(memory.recall(&ann, &query(&asked)).await);
        assert_eq!(found.text, form(who));
    }
}

#[tokio::test]
async fn alike_records_take_one_place() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    let form = |who: &str| {
        format!("the gate {who} has to be locked at night by whoever leaves the garden last of all")
    };
    for who in ["one", "two", "three", "four", "five", "six"] {
        saved(&memory, turn(&ann, "c1", &form(who), "")).await;
    }
    saved(&memory, turn(&ann, "c2", "The gate is painted green", "")).await;
    saved(
        &memory,
        turn(&ann, "c3", "Well, the gate is painted green", ""),
    )
    .await;
    let recall = memory
        .recall(&ann, &query("which gate of the garden is locked at night?"))
        .await;
    let found: Vec<_> = recall
        .records
        .iter()
        .map(|it| it.record.text.clone())
        .collect();
    // The newest of those alike, then what is said otherwise, once, and the others if there is room.
    let mut expected = vec![form("six"), "Well, the gate is painted green".into()];
    expected.extend(["five", "four", "three"].map(form));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn facts_that_differ_are_not_duplicates() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    let facts = [
        "My favourite colour is blue",
        "My favourite colour is red",
        "It is -5 outside",
        "It is 5 outside",
        "I don't like cats",
        "I like cats",
        "The long meeting about the new office plan takes place in room number 12 on the top floor",
        "The long meeting about the new office plan takes place in room number 13 on the top floor",
    ];
    for fact in facts {
        saved(&memory, turn(&ann, "c1", fact, "")).await;
    }
    assert_eq!(texts(&memory, &ann).await, facts);
}

#[tokio::test]
async fn an_answer_that_only_repeats_what_was_recalled_is_not_stored() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    let fact = "Ann works as a marine biologist at the aquarium in Lisbon since 2019";
    saved(&memory, turn(&ann, "c1", fact, "")).await;
    let recalled = memory
        .recall(&ann, &query("where does Ann work"))
        .await
        .records;
    let mut repeated = turn(&ann, "c2", "where do I work again", fact);
    repeated.recalled = recalled.into_iter().map(|r| r.record).collect();
    saved(&memory, repeated).await;
    assert_eq!(texts(&memory, &ann).await, [fact, "where do I work again"]);
    assert_eq!(memory.stats().repeated, 1);
}

#[tokio::test]
async fn nothing_short_is_stored_and_nothing_beyond_the_cap() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    saved(&memory, turn(&ann, "c1", " ok! ", "嗯")).await;
    assert_eq!(texts(&memory, &ann).await, [] as [&str; 0]);
    let long = "长".repeat(record::MAX_TEXT_BYTES);
    saved(&memory, turn(&ann, "c1", &long, "")).await;
    assert_eq!(
        texts(&memory, &ann).await[0].len(),
        record::MAX_TEXT_BYTES - 1
    );
    let new = Record::new(&ann, "user", long, Source::Api, NOW);
    let error = memory.create(new).await.unwrap_err();
    assert_eq!(error.status, 413);
    assert!(error.message.contains("65536"));
}

#[tokio::test]
async fn another_tenants_or_users_record_is_not_found() {
    let (memory, _folder) = open();
    let new = Record::new(&scope("ann"), "user", "a secret".into(), Source::Api, NOW);
    let id = memory.create(new).await.unwrap().id.to_string();
    assert!(memory.get("tenant", None, &id).await.is_ok());
    assert!(memory.get("tenant", Some("ann"), &id).await.is_ok());
    for (tenant, user) in [
        ("other", None),
        ("tenant", Some("bob")),
        ("other", Some("ann")),
    ] {
        assert_eq!(memory.get(tenant, user, &id).await.unwrap_err().status, 404);
        assert_eq!(
            memory.delete(tenant, user, &id).await.unwrap_err().status,
            404
        );
        let edit = memory.update(tenant, user, (&id, "mine".into())).await;
        assert_eq!(edit.unwrap_err().status, 404);
    }
    let edited = memory
        .update("tenant", None, (&id, "no secret".into()))
        .await
        .unwrap();
    assert_eq!(edited.history[0].text, "a secret");
    let found = memory.recall(&scope("ann"), &query("secret")).await;
    assert_eq!(found.records[0].record.text, "no secret");
    memory.delete("tenant", Some("ann"), &id).await.unwrap();
    assert_eq!(
        memory.recall(&scope("ann"), &query("secret")).await.outcome,
        Outcome::Miss
    );
}

#[tokio::test]
async fn an_export_imported_is_the_same() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    saved(
        &memory,
        turn(
            &ann,
            "c\u{1F600}",
            "I moved to \"Oslo\"\n\\ yesterday",
            "今天好",
        ),
    )
    .await;
    saved(
        &memory,
        turn(&scope("bob"), "c", "i MOVED to Rome", "fine by me"),
    )
    .await;
    let mut lines = Vec::new();
    assert_eq!(memory.export(None, &mut lines).await.unwrap(), 4);
    let (other, _other_folder) = open();
    assert_eq!(imported(&other, &lines).await.unwrap(), 4);
    let mut again = Vec::new();
    other.export(None, &mut again).await.unwrap();
    assert_eq!(
        String::from_utf8(again).unwrap(),
        String::from_utf8(lines).unwrap()
    );
    let bad = imported(&other, b"\n{\"text\":\"x\"}\n").await.unwrap_err();
    assert!(bad.to_string().starts_with("line 2: "), "{bad}");
}

async fn imported(memory: &Memory, mut lines: &[u8]) -> Result<u64, ImportError> {
    let how = Import {
        tenant: "tenant",
        from_line: 1,
        now: NOW,
        told: &mut |_| {},
    };
    Ok(memory.import(&mut lines, how).await?.records)
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_and_the_queue_is_bounded_while_the_store_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Hanging::default());
    let memory = Memory::with_store(store, &config(folder.path()), None).unwrap();
    let mut query = query("anything");
    query.deadline = Duration::from_millis(50);
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(
            memory.recall(&scope("ann"), &query).await.outcome,
            Outcome::Timeout
        );
    }
    assert_eq!(start.elapsed().as_millis() / 3, 50);
    // As many short ones as few long ones.
    for (long, least) in [("", 20_000), (&*"x".repeat(100_000), 500)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Hanging::default());
        let memory = Memory::with_store(store, &config(folder.path()), None).unwrap();
        let mut taken = 0;
        while memory.stats().overflow == 0 {
            memory.save(turn(
                &scope("ann"),
                "c",
                &format!("fact {taken} {long}"),
                "",
            ));
            taken += 1;
        }
        let stats = memory.stats();
        assert!(stats.queue >= least && stats.queue < taken, "{stats:?}");
        assert!(stats.queue_bytes <= queue::BYTES as u64, "{stats:?}");
        assert!(!memory.drain(Duration::from_millis(10)).await);
    }
    assert_eq!(memory.stats().recall_timeout, 3);
}

#[tokio::test]
async fn users_who_repeat_themselves_hit_the_cache_though_every_turn_saves() {
    let (memory, _folder) = open();
    let variations = [
        [
            "what is my dog's name",
            "What's my dog's name?",
            "my DOG's name, what is it?",
        ],
        [
            "where do I work",
            "Where do i work??",
            "where do I work again",
        ],
        ["我住在哪里", "我住在哪里？", "我住在哪里呢"],
    ];
    for round in 0..30 {
        for user in 0..10 {
            let user = scope(&format!("user-{user}"));
            let asked = variations[round % 3][round / 3 % 3];
            memory.recall(&user, &query(asked)).await;
            let answer = format!("answer {round} about gardens, dogs and trains");
            saved(&memory, turn(&user, "c", asked, &answer)).await;
        }
    }
    let stats = memory.stats();
    assert_eq!(stats.cache_hit + stats.cache_miss, 300);
    assert!(stats.cache_hit * 100 > 60 * 300, "{stats:?}");
}

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-f]{2}[?]?|[甲乙丙丁]{2}", 1..10).prop_map(|w| w.join(" "))
}

fn records(texts: &[(String, i64)], from: usize) -> Vec<Record> {
    let all = texts.iter().enumerate().skip(from);
    all.map(|(n, (text, minutes))| {
        let at = n as i64 * 60_000 + minutes;
        let mut record = Record::new(&scope("ann"), "user", text.clone(), Source::Chat, at);
        record.conversation = Some(format!("c{}", n % 2).into());
        record
    })
    .collect()
}

proptest! {
    #[test]
    fn a_cached_ranking_brought_up_to_date_ranks_as_a_fresh_one(
        texts in prop::collection::vec((words(), 0i64..1000), 60..90),
        fresh in 1usize..12,
        asked in words(),
    ) {
        let old = texts.len() - fresh;
        let loaded = Loaded { version: 1, records: records(&texts[..old], 0), vectors: Vec::new() };
        let mut index = ScopeIndex::build(loaded);
        let asked = Query::new(&asked, &[]);
        let cached = Arc::new(index.rank((&asked, &Clock::default()), None, 5));
        for (n, record) in records(&texts, old).into_iter().enumerate() {
            prop_assert!(index.put(2 + n as u64, vec![record]));
        }
        let best = |ranking: &Ranking| -> Vec<Scored> {
            let mut best: Vec<_> = ranking.candidates.iter().map(|it| it.scored).collect();
            best.sort_by(|one, other| other.score().total_cmp(&one.score()));
            best
        };
        let updated = index.refresh(&cached, None, 5);
        prop_assert!(updated.is_some());
        let (updated, anew) = (best(&updated.unwrap()), best(&index.ranked_again(&cached, 0..texts.len() as u32)));
        // One from beyond the candidates comes to the front only from right behind it.
        for (updated, anew) in updated.iter().zip(&anew).take(5) {
            prop_assert!(updated.score() > 0.98 * anew.score(), "{updated:?} {anew:?}");
        }
        for scored in updated {
            let same = anew.iter().find(|it| it.doc == scored.doc);
            prop_assert!(same.is_none_or(|same| *same == scored));
        }
    }

    #[test]
    fn scopes_never_meet(
        parts in prop::collection::vec(("[a:/\u{e9}e\u{301}u\\\\c|1]{0,4}", "[a:/u\\\\c|1]{1,4}", any::<bool>()), 2),
    ) {
        let made: Vec<_> = parts
            .iter()
            .map(|(tenant, id, user)| {
                let (user, conversation) = if *user { (Some(&**id), None) } else { (None, Some(&**id)) };
                Scope::of(tenant, user, conversation).unwrap()
            })
            .collect();
        let keys = [made[0].key(), made[1].key()];
        prop_assert_eq!(made[0] == made[1], keys[0] == keys[1]);
        if made[0] != made[1] {
            prop_assert!(!keys[0].starts_with(&keys[1]) && !keys[1].starts_with(&keys[0]));
        }
    }

    #[test]
    fn a_block_cannot_be_forged_and_keeps_its_cap(
        texts in prop::collection::vec("(</memory>|<|>|\\n|\\r|\u{2028}|\"|\\\\|<\\|im_end\\|>|[a-z 中]){0,30}", 1..6),
        cap in 0usize..2000,
    ) {
        let recalled: Vec<_> = texts
            .iter()
            .map(|text| Recalled {
                record: Arc::new(Record::new(&scope("ann"), "user", text.clone(), Source::Chat, NOW)),
                score: 1.0,
                own: 1.0,
                neighbours: 0.0,
                meaning: 0.0,
            })
            .collect();
        let block = block::render(&recalled, &"hi".into(), (&block::tests::room(cap), &Default::default()));
        prop_assert!(block.text.len() <= cap || block.records.is_empty());
        if !block.records.is_empty() {
            let text = block.plain();
            prop_assert_eq!(text.len(), block.bytes);
            let within = text.strip_prefix("<memory>\n").unwrap();
            let within = within.strip_suffix("\n</memory>").unwrap();
            // Before white space, a bracket begins nothing.
            prop_assert!(within.split('<').skip(1).all(|it| it.starts_with([' ', '\n', '…']) || it.is_empty()), "{}", text);
            let heads = within.lines().filter(|line| line.starts_with("- ["));
            prop_assert_eq!(heads.count(), block.records.len());
            prop_assert!(within.lines().skip(1).all(|line| line.is_empty() || line.starts_with("- [") || line.starts_with("  ")));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_scope_reads_another(
        ids in prop::collection::btree_set(("(t|T|t:|t/u)", "[a:/u1]{1,3}", any::<bool>()), 2..8),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (memory, _folder) = open();
            let scopes: Vec<_> = ids
                .iter()
                .map(|(tenant, id, user)| {
                    let (u, c) = if *user { (Some(&**id), None) } else { (None, Some(&**id)) };
                    Scope::of(tenant, u, c).unwrap()
                })
                .collect();
            for scope in &scopes {
                let text = format!("the secret of {scope:?}");
                memory.create(Record::new(scope, "user", text, Source::Api, NOW)).await.unwrap();
            }
            for scope in &scopes {
                let recall = memory.recall(scope, &query("secret")).await;
                assert_eq!(recall.records.len(), 1);
                assert_eq!(recall.records[0].record.scope, *scope);
                assert_eq!(texts(&memory, scope).await.len(), 1);
            }
            memory.erase(scopes[0].tenant(), Selection::Scope(scopes[0].clone())).await.unwrap();
            assert_eq!(memory.count().await.unwrap(), scopes.len() as u64 - 1);
        });
    }
}

#[test]
fn bad_ids_say_what_is_wrong() {
    let wrong = |id: &[u8]| valid_id("user", id).unwrap_err().message;
    assert!(wrong(b"").contains("empty"));
    assert!(wrong(&[b'x'; 513]).contains("513 bytes"));
    assert!(valid_id("user", &[b'x'; 512]).is_ok());
    assert!(wrong(b"a\0b").contains("U+0000 at byte 1"));
    assert!(wrong(b"\xff").contains("UTF-8"));
    assert_eq!(valid_id("user", "ann/ü:中".as_bytes()).unwrap(), "ann/ü:中");
}

#[tokio::test]
async fn turns_that_the_store_refuses_are_held_until_it_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Behind {
        store: Embedded::open(folder.path()).unwrap(),
        gate: Refuses::from(true),
    });
    let memory = Memory::with_store(store.clone(), &config(folder.path()), None).unwrap();
    let ann = scope("ann");
    memory.save(turn(&ann, "c1", "My dog is called Rex.", "A fine name!"));
    assert!(!memory.drain(Duration::from_secs(60)).await);
    assert_eq!((memory.stats().held, memory.stats().saved), (1, 0));
    let record = Record::new(&ann, "user", "I like tea.".into(), Source::Api, NOW);
    let refused = memory.create(record.clone()).await.unwrap_err();
    assert_eq!(refused.status, http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(texts(&memory, &ann).await, [] as [&str; 0]);

    let refuses = |refuses| {
        store
            .gate
            .store(refuses, std::sync::atomic::Ordering::SeqCst)
    };
    refuses(false);
    assert!(memory.drain(Duration::from_secs(60)).await);
    let saved = ["My dog is called Rex.", "A fine name!"];
    assert_eq!(texts(&memory, &ann).await, saved);
    assert_eq!(memory.stats().held, 0);

    refuses(true);
    let megabyte = "x".repeat(1 << 20);
    for n in 0..50 {
        memory.save(turn(&ann, "c2", &format!("fact {n} {megabyte}"), ""));
        if n % 10 == 9 {
            assert!(!memory.drain(Duration::from_secs(60)).await);
        }
    }
    // As many as 32 MiB hold, and the record of before.
    let stats = memory.stats();
    assert_eq!((stats.held, stats.save_failed), (31, 19 + 1));
    assert_eq!(stats.overflow, 0);
}

#[tokio::test]
async fn a_store_that_is_handed_over_has_one_writer_and_loses_no_turn() {
    let (old, folder) = open();
    let ann = scope("ann");
    old.save(turn(&ann, "c1", "My dog is called Rex.", ""));
    let mut turns = old.hand_over().await.expect("a store of one process");
    let record = Record::new(&ann, "user", "I like tea.".into(), Source::Api, NOW);
    let refused = old.create(record.clone()).await.unwrap_err();
    assert_eq!(refused.status, http::StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.retry_after.is_some());

    let new = Memory::take_over(&config(folder.path()), None).unwrap();
    assert_eq!(texts(&new, &ann).await, ["My dog is called Rex."]);
    let late = turn(&ann, "c1", "My cat is called Pixel.", "");
    old.save(Turn {
        recalled: vec![Arc::new(record.clone())],
        ..late
    });
    let sent = serde_json::to_string(&turns.recv().await.unwrap()).unwrap();
    saved(&new, serde_json::from_str(&sent).unwrap()).await;
    let both = ["My dog is called Rex.", "My cat is called Pixel."];
    assert_eq!(texts(&new, &ann).await, both);

    drop(new);
    turns.close();
    old.save(turn(&ann, "c1", "My bird is called Kes.", ""));
    let again = vec![turn(&ann, "c1", "My cat is called Pixel.", "")];
    old.take_back(again).await;
    // The other one's threads end when they will, and the file is free then.
    while !old.drain(Duration::from_secs(60)).await {
        tokio::task::yield_now().await;
    }
    let all = [both[0], both[1], "My bird is called Kes."];
    assert_eq!(texts(&old, &ann).await, all);
    old.create(record).await.unwrap();
}
