use jiff::tz::TimeZone;

use super::*;
use crate::memory::record::Source;
use crate::memory::store_tests::scope;

/// 2026-05-05, 14:30 UTC.
const NOON: i64 = 1_777_991_400_000;
const MINUTE: i64 = 60_000;

pub fn room(bytes: usize) -> Room {
    Room {
        bytes,
        zone: TimeZone::UTC,
    }
}

/// What was found, the best first: who said what, and when.
fn found(said: &[(&str, &str, i64)]) -> Vec<Recalled> {
    let found = said.iter().map(|(role, text, at)| Recalled {
        record: Record::new(&scope("ann"), role, (*text).to_owned(), Source::Chat, *at).into(),
        score: 1.0,
        own: 1.0,
        neighbours: 0.0,
        meaning: 0.0,
    });
    found.collect()
}

fn told(said: &[(&str, &str, i64)], question: &str, room: &Room) -> String {
    let block = render(&found(said), &question.into(), (room, &Outlines::default()));
    let text = match block.records.len() {
        0 => String::new(),
        _ => block.plain(),
    };
    let lines = text.lines().skip(2);
    lines
        .take_while(|line| *line != CLOSE)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn what_was_said_later_stands_later_with_the_time_where_the_day_does_not_tell() {
    let said = [
        ("user", "The code is 4711.", NOON),
        ("user", "No, the code is 4712.", NOON + 5 * MINUTE),
        ("Ann", "I know no code.", NOON - 48 * 60 * MINUTE),
        ("assistant", "Noted.", NOON + 5 * MINUTE + 4000),
    ];
    assert_eq!(
        told(&said, "code", &room(8192)),
        "- [2026-05-03] Ann: I know no code.\n\
         - [2026-05-05 14:30] user: The code is 4711.\n\
         - [2026-05-05 14:35:00] user: No, the code is 4712.\n\
         - [2026-05-05 14:35:04] assistant: Noted."
    );
}

#[test]
fn days_are_those_of_the_reader() {
    let shanghai = Room {
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        ..room(8192)
    };
    let said = [("user", "I woke up early.", NOON + 9 * 60 * MINUTE)];
    assert_eq!(
        told(&said, "woke", &shanghai),
        "- [2026-05-06] user: I woke up early."
    );
}

#[test]
fn a_long_record_is_cut_around_what_answers_and_the_rest_goes_in() {
    let filler = "The weather was fine and nothing of note took place there. ".repeat(400);
    let long = format!("{filler}The safe opens with the word albatross. {filler}");
    let said = [
        ("user", long.as_str(), NOON),
        ("user", "The safe stands in the cellar.", NOON + MINUTE),
        ("user", "The safe is grey.", NOON + 2 * MINUTE),
    ];
    let text = told(&said, "Which word opens the safe?", &room(1000));
    assert!(
        text.contains("The safe opens with the word albatross. "),
        "{text}"
    );
    assert!(text.starts_with("- [2026-05-05 14:30] user: …"), "{text}");
    assert!(text.contains("The safe stands in the cellar."), "{text}");
    assert!(text.contains("The safe is grey."), "{text}");
    let block = render(
        &found(&said),
        &"safe".into(),
        (&room(1000), &Outlines::default()),
    );
    assert_eq!(block.records.len(), 3);
    assert!(block.text.len() <= 1000);
}

#[test]
fn what_has_no_room_is_passed_over() {
    let said = [
        ("user", "ünïcödé 中文 \"quoted\" \\ ".repeat(30), NOON),
        ("user", "short".to_owned(), NOON),
    ];
    let said = said.map(|(role, text, at)| (role, text, at));
    let said: Vec<_> = said
        .iter()
        .map(|(r, t, at)| (*r, t.as_str(), *at))
        .collect();
    for bytes in 0..1200 {
        let block = render(
            &found(&said),
            &"anything".into(),
            (&room(bytes), &Outlines::default()),
        );
        assert!(block.text.len() <= bytes || block.records.is_empty());
    }
    let heading = render(&[], &"anything".into(), (&room(8192), &Outlines::default()));
    assert!(heading.records.is_empty() && heading.text.is_empty());
}

#[test]
fn code_is_told_as_code_also_where_it_is_cut() {
    let body = "    total += price * 3;\n".repeat(60);
    let code = format!("Mine:\n```rust\nfn albatross() {{\n{body}}}\n```\nThanks.");
    let said = [("user", code.as_str(), NOON)];
    let whole = told(&said, "albatross", &room(8192));
    assert!(
        whole.starts_with(
            "- [2026-05-05] user: Mine:\n  ```rust\n  fn albatross() {\n      total += price * 3;\n"
        ),
        "{whole}"
    );
    let cut = told(&said, "albatross", &room(700));
    assert!(cut.contains("\n  fn albatross() {\n      total"), "{cut}");
    assert_eq!(cut.matches("```").count() % 2, 0, "{cut}");
}

#[test]
fn chinese_is_cut_between_its_sentences() {
    let filler = "今天天气很好，大家都去河边散步了。".repeat(100);
    let long = format!("{filler}保险箱的密码是信天翁。{filler}");
    let said = [("user", long.as_str(), NOON)];
    let text = told(&said, "保险箱的密码是什么？", &room(800));
    assert!(text.contains("保险箱的密码是信天翁。"), "{text}");
}
