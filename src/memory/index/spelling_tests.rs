//! The same is written in many ways.

use super::tests::*;
use super::*;

#[test]
fn words_are_found_however_they_are_put_together() {
    for (said, asked) in [
        (
            "Set enable_fast_path in the config",
            "what is enableFastPath set to?",
        ),
        (
            "Set enableFastPath in the config",
            "what is enable_fast_path set to?",
        ),
        (
            "Set enableFastPath in the config",
            "what is the enable fast path flag?",
        ),
        (
            "Set enable-fast-path in the config",
            "is enableFastPath on?",
        ),
        ("I ride an e-bike to work", "which ebike is mine?"),
        ("I ride an ebike to work", "which e-bike is mine?"),
        ("I ride an ebike to work", "which e bike is mine?"),
        ("Call Ann on (030) 123-456", "whose is 030123456?"),
        ("Call Ann on 030123456", "whose is (030) 123-456?"),
        ("Call Ann on 030/123 456", "whose is (030) 123-456?"),
        ("The run is 5 km long", "did I do the 5km?"),
        ("The run is 5km long", "did I do the 5 km?"),
        ("The train leaves at 7pm", "is there one at 7 PM?"),
        ("We use v1.24.3 of it", "is 1.24.3 out?"),
        ("It is tagged #OpenSource", "what is open source?"),
        ("Write to annsmith@example.org", "where is Ann Smith?"),
        (
            "See src/memory/PostingList.rs",
            "where is the posting list?",
        ),
        ("Der Zaun ist 12m² groß", "wie viele 12 m²?"),
    ] {
        let texts = [
            "My cat is called Pixel",
            said,
            "The sea is cold in May",
            "Bread needs salt",
        ];
        let index = index(&texts);
        let told = |doc: u32| document(texts[doc as usize], hours(i64::from(doc)));
        let query = Query::new(asked, &[]);
        let (_, found) = index.rank(&query, (None, &Clock::default()), told, 1);
        let first = found.first().map(|found| found.doc);
        assert_eq!(first, Some(1), "{said}: {asked}");
    }
    // A word that others happen to spell is none of theirs.
    for (said, asked) in [
        ("The art of it", "heart?"),
        ("My pet rides in the car", "carpet?"),
    ] {
        let texts = ["My cat is called Pixel", said];
        let index = index(&texts);
        let told = |doc: u32| document(texts[doc as usize], hours(i64::from(doc)));
        let query = Query::new(asked, &[]);
        let (_, found) = index.rank(&query, (None, &Clock::default()), told, 1);
        assert_eq!(found, [], "{said}: {asked}");
    }
}

#[test]
fn dates_are_read_as_they_are_written() {
    let date = |year, month, day| dates::PartialDate { year, month, day };
    let fourth = |year| date(year, Some(3), Some(4));
    for (text, wanted) in [
        ("am 4. März", fourth(None)),
        ("am 4. März 2025", fourth(Some(2025))),
        ("le 4 mars 2025", fourth(Some(2025))),
        ("el 4 de marzo de 2025", fourth(Some(2025))),
        ("4 марта", fourth(None)),
        ("March 4th", fourth(None)),
        ("march 4th", fourth(None)),
        ("the 4th of March, 2025", fourth(Some(2025))),
        ("三月四号", fourth(None)),
        ("二〇二五年三月四日", fourth(Some(2025))),
        ("2025年3月4日", fourth(Some(2025))),
        ("2025년 3월 4일", fourth(Some(2025))),
        ("十二月二十一日", date(None, Some(12), Some(21))),
        ("im März 2025", date(Some(2025), Some(3), None)),
        ("on 13/4/25", date(Some(2025), Some(4), Some(13))),
    ] {
        assert_eq!(dates::dates_in(text), [wanted], "{text}");
    }
    let both = [fourth(Some(2025)), date(Some(2025), Some(4), Some(3))];
    let found = dates::dates_in("on 3/4/2025");
    assert!(both.iter().all(|date| found.contains(date)), "{found:?}");
    for text in [
        "version 1.2.3",
        "la mayonesa y mayo",
        "on Mars",
        "三个人",
        "一",
        "10.0.0.30",
        "the juni",
    ] {
        assert_eq!(dates::dates_in(text), [], "{text}");
    }
}

#[test]
fn what_is_longer_than_any_word_is_not_looked_for_otherwise() {
    let texts = ["My cat is called Pixel", "The sea is cold"];
    let index = index(&texts);
    let told = |doc: u32| document(texts[doc as usize], hours(i64::from(doc)));
    // With each letter of it changed this would take hours.
    let picture = "iVBORw0KGgo".repeat(100_000);
    let asked = format!("{picture} What is my cat called?");
    let query = Query::new(&asked, &[]);
    let (_, found) = index.rank(&query, (None, &Clock::default()), told, 1);
    assert_eq!(found.first().map(|found| found.doc), Some(0));
}

#[test]
fn what_takes_something_back_is_found_with_it() {
    let turns = [
        ("My sister's name is Ada.", false),
        ("Noted, your sister is called Ada.", true),
        ("No, that's wrong, it's Eva now.", false),
        ("Noted.", true),
        ("The sea is cold in May.", false),
    ];
    let document = |n: usize| Document {
        by_assistant: turns[n].1,
        ..document(turns[n].0, n as i64 * 1000)
    };
    let index = Index::build((0..turns.len()).map(document));
    let query = Query::new("What is my sister's name?", &[]);
    let (_, found) = index.rank(
        &query,
        (None, &Clock::default()),
        |doc| document(doc as usize),
        5,
    );
    let score = |doc| {
        found
            .iter()
            .find(|it| it.doc == doc)
            .map_or(0.0, Scored::score)
    };
    // As much as is put in beside the best.
    assert!(score(2) > 0.5 * score(0), "{found:?}");
    assert!(score(4) < 0.2 * score(0), "{found:?}");
}
