use proptest::prelude::*;

use super::*;

pub fn document(text: &str, at: i64) -> Document<'_> {
    Document {
        text,
        speaker: None,
        by_assistant: false,
        conversation: Some(1),
        at,
    }
}

pub fn hours(n: i64) -> i64 {
    n * 3_600_000
}

pub fn index(texts: &[&str]) -> Index {
    Index::build(
        texts
            .iter()
            .enumerate()
            .map(|(n, text)| document(text, hours(n as i64))),
    )
}

/// The documents at first sight.
fn looked(index: &Index, query: &Query, limit: usize) -> Vec<Scored> {
    index.best_by(query, &index.words(query), limit)
}

fn ranked(index: &Index, query: &str) -> Vec<u32> {
    let scored = looked(index, &Query::new(query, &[]), 10);
    scored.iter().map(|s| s.doc).collect()
}

#[test]
fn words_are_found_by_stem_and_ideographs_without_a_dictionary() {
    let index = index(&[
        "I was hiking in the Alps",
        "我喜欢喝龙井茶",
        "ｆｕｌｌ　ｗｉｄｔｈ",
        "東京タワーに行きました",
        "저는 서울에 살아요",
    ]);
    assert_eq!(ranked(&index, "Do you like hikes?"), [0]);
    assert_eq!(ranked(&index, "龙井"), [1]);
    assert_eq!(ranked(&index, "FULL"), [2]);
    assert_eq!(ranked(&index, "タワー"), [3]);
    assert_eq!(ranked(&index, "서울"), [4]);
    assert_eq!(ranked(&index, "what is the"), [] as [u32; 0]);
}

#[test]
fn of_equal_facts_the_newest_is_first() {
    let index = index(&["I live in Paris", "I live in Berlin", "I live in Rome"]);
    assert_eq!(ranked(&index, "Where do I live?"), [2, 1, 0]);
}

#[test]
fn of_facts_that_contradict_each_other_the_newest_is_first() {
    let facts = [
        (
            "Where do I live now?",
            ["I live in Paris.", "I live in Rome."],
            "Next week the weather will be fine, so we shall walk along the river to the old mill.",
        ),
        (
            "What is my favourite tea?",
            [
                "My favourite tea is jasmine.",
                "My favourite tea is Earl Grey.",
            ],
            "A train leaves at noon for the coast, and the children want to see the lighthouse.",
        ),
        (
            "我现在住在哪里？",
            ["我住在北京。", "我住在哈尔滨。"],
            "下周天气会很好，所以大家打算沿着河边散步，再去看看老磨坊。",
        ),
        (
            "我最喜欢喝什么茶？",
            ["我最喜欢喝茉莉花茶。", "我最喜欢喝龙井茶。"],
            "火车中午出发去海边，孩子们都想看看那座灯塔。",
        ),
    ];
    for (asked, [one, other], between) in facts {
        // Whichever of the two is longer: it is the later one that holds.
        for [old, new] in [[one, other], [other, one]] {
            let mut texts = vec![between; 40];
            texts[3] = old;
            texts[36] = new;
            assert_eq!(ranked(&index(&texts), asked)[..2], [36, 3], "{asked} {new}");
        }
    }
}

#[test]
fn a_short_answer_is_found_by_its_question_within_ten_minutes_only() {
    let minutes = |n: i64| n * 60_000;
    let texts = [
        ("How often do you work out?", 0),
        ("Three times a week", 1),
        ("Nice weather", 30),
    ];
    let near = Index::build(texts.iter().map(|(t, at)| document(t, minutes(*at))));
    assert_eq!(ranked(&near, "workout: how often do they work out"), [0, 1]);
    let far = Index::build(texts.iter().map(|(t, at)| document(t, minutes(at * 20))));
    assert_eq!(ranked(&far, "workout: how often do they work out"), [0]);
}

#[test]
fn neighbours_lift_a_word_to_one_mention_at_most() {
    let minutes = |n: usize| n as i64 * 60_000;
    // Among turns that all speak of it there is no more of it than in one that names it alone.
    let texts = [
        "the tea",
        "the tea",
        "so it goes",
        "the tea",
        "the tea",
        "",
        "",
        "",
        "the tea so it goes",
    ];
    let index = Index::build(texts.iter().enumerate().map(|(n, text)| Document {
        conversation: Some(u64::from(n > 6)),
        ..document(text, minutes(n))
    }));
    let scored = looked(&index, &Query::new("the tea", &[]), 10);
    let score = |doc| scored.iter().find(|s| s.doc == doc).unwrap().score();
    assert!(score(2) < 1.2 * score(8), "{scored:?}");
    assert!(
        scored
            .iter()
            .all(|s| s.own == 0.0 || s.neighbours < 0.2 * s.own)
    );
}

#[test]
fn what_the_assistant_said_counts_less_unless_it_is_asked_for() {
    let texts = ["I like the blue hotel", "Try the blue hotel"];
    let index = Index::build(texts.iter().enumerate().map(|(n, text)| Document {
        conversation: None,
        by_assistant: n == 1,
        ..document(text, hours(n as i64))
    }));
    assert_eq!(ranked(&index, "blue hotel"), [0, 1]);
    assert_eq!(
        ranked(&index, "Which blue hotel did you recommend?"),
        [1, 0]
    );
    let print = |text| Query::new(text, &[]).fingerprint();
    assert_ne!(print("blue hotel"), print("blue hotel you said"));
}

/// What is found for a question that is asked at a time, in Unix milliseconds, in a zone.
fn asked(index: &Index, question: &str, (now, zone): (i64, &str)) -> Vec<u32> {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let clock = Clock { now, zone };
    let told = |_| document("", 0);
    let query = Query::new(question, &[]);
    let (_, found) = index.rank(&query, (None, &clock), told, 10);
    found.iter().map(|found| found.doc).collect()
}

#[test]
fn a_named_date_finds_its_day() {
    // 2023-05-02 and 2023-05-04, at noon UTC.
    let days = [1_683_028_800_000, 1_683_201_600_000];
    let index = Index::build(days.iter().map(|at| document("went to a museum", *at)));
    let first = |question: &str| asked(&index, question, (hours(0), "UTC"))[0];
    for query in [
        "museum on May 2, 2023",
        "museum on the 2nd of May",
        "museum 2023-05-02",
        "museum on 5/2/2023",
        "museum on 2/5/2023",
        "museum 我在5月2日说了什么",
        "museum 2023年5月2号",
    ] {
        assert_eq!(first(query), 0, "{query}");
    }
    assert_eq!(first("museum on May 4"), 1);
}

#[test]
fn days_are_those_of_whoever_asks() {
    // 2026-05-04 23:00 UTC is 07:00 of the 5th in Shanghai.
    let early = 1_777_935_600_000;
    let said = [
        early - hours(24),
        early,
        early + hours(12),
        early + hours(24 * 7),
    ];
    let index = Index::build(said.iter().map(|at| document("so it goes", *at)));
    let noon = early + hours(29);
    for (question, zone, expected) in [
        ("what was yesterday", "Asia/Shanghai", vec![2, 1]),
        ("what was yesterday", "UTC", vec![2]),
        ("我昨天说了什么", "Asia/Shanghai", vec![2, 1]),
        ("what about 2026-05-05", "Asia/Shanghai", vec![2, 1]),
        ("what about 5 May", "UTC", vec![2]),
        ("what was two days ago", "UTC", vec![1]),
        ("what did we talk about this week", "UTC", vec![2, 1]),
        ("what did we talk about last week", "UTC", vec![0]),
        ("這週聊了什麼", "Asia/Shanghai", vec![2, 1, 0]),
        ("what did I say on Tuesday", "UTC", vec![2]),
    ] {
        assert_eq!(
            asked(&index, question, (noon, zone)),
            expected,
            "{question} {zone}"
        );
    }
    let latest = asked(&index, "what is the latest?", (noon, "UTC"));
    assert_eq!(latest, [3, 2, 1, 0]);
    assert!(asked(&index, "what is it?", (noon, "UTC")).is_empty());
}

#[test]
fn a_question_about_oneself_brings_what_tells_most() {
    let texts = [
        "The train leaves at noon from platform nine",
        "Hi! I'm Ann, and I work as a nurse in Leeds.",
        "What do I need to know about knots? Do you think that I am a fool?",
        "I love jasmine tea",
        "The weather is fine today",
    ];
    let index = index(&texts);
    for question in [
        "Who am I?",
        "What do you know about me?",
        "我是谁？",
        "Кто я?",
    ] {
        assert_eq!(
            asked(&index, question, (hours(0), "UTC"))[..2],
            [1, 3],
            "{question}"
        );
    }
    let index = self::index(&[
        "今天天气很好",
        "我叫小安，我在哈尔滨当护士",
        "我喜欢喝龙井茶",
        "火车中午开",
    ]);
    for question in ["我是谁？", "你知道關於我的什麼", "Who am I?"] {
        assert_eq!(
            asked(&index, question, (hours(0), "UTC"))[..2],
            [1, 2],
            "{question}"
        );
    }
}

#[test]
fn impossible_dates_are_no_dates() {
    for text in [
        "2023-13-45",
        "99月99日",
        "May 32",
        "4294967296月1日",
        "0年0月0日",
        "13/13/2023",
    ] {
        for date in dates::dates_in(text) {
            assert!(date.month.is_none_or(|m| (1..=12).contains(&m)), "{text}");
            assert!(date.day.is_none_or(|d| (1..=31).contains(&d)), "{text}");
        }
    }
}

#[test]
fn context_weighs_less_than_the_question() {
    let index = index(&["apples", "pears"]);
    let query = Query::new("apples", &["pears".into()]);
    let docs: Vec<u32> = looked(&index, &query, 2).iter().map(|s| s.doc).collect();
    assert_eq!(docs, [0, 1]);
}

#[test]
fn numbers_addresses_and_misspelt_words_are_found() {
    let index = index(&[
        "The house was sold for 1,250,000 euros, said the agent",
        "You can write to ann.lee@example.com about the boat",
        "The manual is at https://docs.example.org/engine/start?page=2",
        "My favourite restaurant in the old town is the Lantern",
        "The meter of the flat reads 4 711 000 today",
        "رقم الهاتف هو ٠١٢-٣٤٥٦",
    ]);
    for (question, expected) in [
        ("What was sold for 1250000?", 0),
        ("who paid 1.250.000", 0),
        ("1 250 000", 0),
        ("What is ann's address at example.com?", 1),
        ("Where is the engine documented, at example.org?", 2),
        ("Which restuarant do I like?", 3),
        ("Which resturant do I like?", 3),
        ("Which restaurrant do I like?", 3),
        ("4711000", 4),
        ("0123456", 5),
    ] {
        let told = |_| document("", 0);
        let (_, found) = index.rank(
            &Query::new(question, &[]),
            (None, &Clock::default()),
            told,
            1,
        );
        assert_eq!(found.first().map(|it| it.doc), Some(expected), "{question}");
    }
}

#[test]
fn what_is_found_leads_to_what_is_told_in_other_words() {
    let texts = [
        "The weather in town was fine all week",
        "My sister Karin has moved to Lund",
        "Karin is allergic to hazelnuts",
        "A train leaves for the coast at noon",
    ];
    let days = |doc: usize| hours(24 * doc as i64);
    let index = Index::build((0..4).map(|doc| document(texts[doc], days(doc))));
    let told = |doc: u32| document(texts[doc as usize], days(doc as usize));
    let query = Query::new("What should I not bake for my sister?", &[]);
    let (_, found) = index.rank(&query, (None, &Clock::default()), told, 10);
    let docs: Vec<u32> = found.iter().map(|s| s.doc).collect();
    assert_eq!(docs, [1, 2]);
    assert!(found[1].score() < 0.5 * found[0].score());
}

fn met(index: &Index, query: &Query, similarities: &[Option<f32>]) -> Vec<Scored> {
    index.best_with(query, &index.words(query), similarities, 10)
}

#[test]
fn meaning_finds_what_shares_no_word_and_is_lent_to_the_turns_beside_it() {
    let minutes = |n: usize| n as i64 * 60_000;
    let index = Index::build((0..12).map(|n| document("so it goes", minutes(n))));
    let mut near = [Some(0.8); 12];
    near[4] = Some(0.9);
    let ranked = |similarities: &[Option<f32>]| {
        let scored = met(&index, &Query::new("anything", &[]), similarities);
        assert!(scored.iter().all(|s| s.own + s.neighbours == 0.0));
        let mut docs: Vec<u32> = scored.iter().map(|s| s.doc).collect();
        docs[1..].sort_unstable();
        docs
    };
    assert_eq!(ranked(&near), [4, 3, 5]);
    // How wide a model's similarities spread, and around what, is its own affair.
    assert_eq!(ranked(&near.map(|s| s.map(|s| 5.0 * s - 3.9))), [4, 3, 5]);
}

#[test]
fn a_document_without_a_vector_counts_as_of_usual_meaning() {
    let index = index(&["one", "two", "three", "four"]);
    let similarities = [Some(0.25), None, Some(0.75)];
    let query = Query::new("two four", &[]);
    let scored = met(&index, &query, &similarities);
    let meaning = |doc| scored.iter().find(|s| s.doc == doc).map(|s| s.meaning);
    assert_eq!((meaning(1), meaning(3)), (Some(0.0), Some(0.0)));
    assert!(meaning(2) > Some(1.0) && meaning(0).is_none());
}

#[test]
fn small_variations_of_a_query_are_one() {
    let print = |text| Query::new(text, &[]).fingerprint();
    assert_eq!(
        print("What's my dog's name?"),
        print("what is  my DOG name")
    );
    assert_eq!(print("我的狗叫什么名字？"), print("我的狗叫什么名字"));
    assert_ne!(print("my dog"), print("my cat"));
}

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-e]{1,2}[?]?|[甲乙丙]{1,3}|May 2", 0..8).prop_map(|w| w.join(" "))
}

proptest! {
    #[test]
    fn an_index_that_grew_ranks_as_one_built_at_once(
        texts in prop::collection::vec((words(), 0i64..20), 1..60),
        split in 0usize..60,
        query in words(),
    ) {
        let mut at = 0;
        let documents: Vec<_> = texts
            .iter()
            .map(|(text, minutes)| {
                at += minutes * 60_000;
                (text.as_str(), at)
            })
            .collect();
        let split = split.min(documents.len());
        let whole = Index::build(documents.iter().map(|(t, at)| document(t, *at)));
        let mut grown = Index::build(documents[..split].iter().map(|(t, at)| document(t, *at)));
        for (text, at) in &documents[split..] {
            grown.push(&document(text, *at));
        }
        let query = Query::new(&query, &[]);
        let told = |doc: u32| document(documents[doc as usize].0, documents[doc as usize].1);
        let (query, found) = whole.rank(&query, (None, &Clock::default()), told, 20);
        prop_assert_eq!(found, looked(&whole, &query, 20));
        prop_assert_eq!(looked(&whole, &query, 20), looked(&grown, &query, 20));
        // Scoring some documents alone gives the very same scores.
        let all = 0..documents.len() as u32;
        prop_assert_eq!(whole.rank_these(&query, all, 20), looked(&whole, &query, 20));
    }

    #[test]
    fn no_text_breaks_the_analysis(text in any::<String>()) {
        let index = Index::build([document(&text, 0)].into_iter());
        let query = Query::new(&text, std::slice::from_ref(&text));
        index.rank(&query, (None, &Clock::default()), |_| document(&text, 0), 5);
    }
}
