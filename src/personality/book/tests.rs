use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};

use super::decorators::Decorators;
use super::*;

/// A conversation as texts, the oldest first; the user begins, the assistant answers.
struct Talk<'a>(&'a [&'a str]);

impl History for Talk<'_> {
    fn recent(&self, count: usize) -> Vec<Cow<'_, str>> {
        let newest_first = self.0.iter().rev().take(count);
        newest_first.map(|text| Cow::Borrowed(*text)).collect()
    }

    fn messages(&self) -> usize {
        self.0.len()
    }

    fn assistant_messages(&self) -> usize {
        self.0.len() / 2
    }
}

const SLOTS: [Slot; 4] = [
    Slot::BeforeChar,
    Slot::BeforeDescription,
    Slot::AfterDescription,
    Slot::AfterChar,
];

fn try_book(book: Value) -> Result<Book, String> {
    let raw: RawBook = serde_json::from_value(book).map_err(|error| error.to_string())?;
    Book::compile(Path::new("card.json"), &raw, "Mira", &SLOTS).map_err(|faults| faults.to_string())
}

fn book(book: Value) -> Book {
    try_book(book).unwrap()
}

/// A book of nothing but entries; each is named by its `name`.
fn entries(entries: Value) -> Book {
    book(json!({ "entries": entries }))
}

/// Names of the entries that the conversation calls for.
fn matched(book: &Book, talk: &[&str]) -> Vec<String> {
    let hits = book.scan(&Talk(talk));
    hits.iter().map(|hit| hit.entry.label.clone()).collect()
}

fn slot(book: &Book, talk: &[&str]) -> Slot {
    book.scan(&Talk(talk))[0].slot
}

#[test]
fn a_key_matches_anywhere_in_a_message_and_in_any_case() {
    let book = entries(json!([{ "name": "e", "keys": ["Dragon", "龙"], "content": "c" }]));
    assert_eq!(matched(&book, &["two DRAGONS"]), ["e"]);
    assert_eq!(matched(&book, &["那条龙飞走了"]), ["e"]);
    assert!(matched(&book, &["a drag on"]).is_empty());
    assert!(matched(&book, &[]).is_empty());
}

#[test]
fn a_case_sensitive_key_matches_its_own_case_alone() {
    let book = entries(json!([
        { "name": "e", "keys": ["Rose"], "case_sensitive": true, "content": "c" },
    ]));
    assert_eq!(matched(&book, &["Rose waves"]), ["e"]);
    assert!(matched(&book, &["a rose"]).is_empty());
}

#[test]
fn an_empty_key_matches_nothing() {
    let book = entries(json!([{ "name": "e", "keys": ["", " "], "content": "c" }]));
    assert!(matched(&book, &["a b"]).is_empty());
}

#[test]
fn a_selective_entry_needs_a_key_of_both_lists() {
    for secondary in [json!(["fire", "ice"]), json!("fire, ice")] {
        let book = entries(json!([
            { "name": "e", "keys": ["dragon"], "secondary_keys": secondary, "selective": true,
              "content": "c" },
            { "name": "loose", "keys": ["dragon"], "secondary_keys": secondary, "content": "c" },
        ]));
        assert_eq!(matched(&book, &["a dragon"]), ["loose"]);
        assert_eq!(matched(&book, &["ice and a dragon"]), ["e", "loose"]);
        assert!(matched(&book, &["ice"]).is_empty());
    }
    let without = entries(json!([
        { "name": "e", "keys": ["dragon"], "secondary_keys": [], "selective": true, "content": "c" },
    ]));
    assert_eq!(matched(&without, &["a dragon"]), ["e"]);
}

#[test]
fn a_constant_entry_is_always_there_and_a_disabled_one_never() {
    let book = entries(json!([
        { "name": "constant", "keys": [], "constant": true, "content": "c" },
        { "name": "disabled", "keys": ["x"], "constant": true, "enabled": false, "content": "c" },
        { "name": "forced", "enabled": false, "content": "@@activate\nc" },
        { "name": "empty", "constant": true, "content": "  " },
    ]));
    assert_eq!(matched(&book, &["x"]), ["constant"]);
    assert_eq!(matched(&book, &[]), ["constant"]);
}

#[test]
fn the_lower_insertion_order_stands_first() {
    let book = entries(json!([
        { "name": "c", "constant": true, "content": "c", "insertion_order": 10 },
        { "name": "a", "constant": true, "content": "c", "insertion_order": -1.5 },
        { "name": "d", "constant": true, "content": "c", "insertion_order": 10 },
        { "name": "b", "constant": true, "content": "c" },
    ]));
    assert_eq!(matched(&book, &[]), ["a", "b", "c", "d"]);
}

#[test]
fn the_scan_depth_counts_from_the_newest_message() {
    let book = book(json!({ "scan_depth": 2, "entries": [
        { "name": "book", "keys": ["dragon"], "content": "c" },
        { "name": "own", "keys": ["dragon"], "content": "@@scan_depth 3\nc" },
        { "name": "none", "keys": ["dragon"], "content": "@@scan_depth 0\nc" },
    ]}));
    assert_eq!(matched(&book, &["dragon", "b"]), ["book", "own"]);
    assert_eq!(matched(&book, &["dragon", "b", "c"]), ["own"]);
    assert!(matched(&book, &["dragon", "b", "c", "d"]).is_empty());
}

#[test]
fn over_the_budget_the_lowest_priority_goes_first() {
    let four_tokens = "sixteen bytes ok";
    let entry = |name: &str, order: i64, priority: Value| {
        json!({ "name": name, "constant": true, "content": four_tokens,
                "insertion_order": order, "priority": priority })
    };
    let with_budget = |budget: i64| {
        matched(
            &book(json!({ "token_budget": budget, "entries": [
                entry("high", 1, json!(30)),
                entry("low", 2, json!(10)),
                entry("by order", 20, Value::Null),
                entry("low too", 3, json!(10)),
            ]})),
            &[],
        )
    };
    assert_eq!(with_budget(16), ["high", "low", "low too", "by order"]);
    assert_eq!(with_budget(15), ["high", "low", "by order"]);
    assert_eq!(with_budget(8), ["high", "by order"]);
    assert_eq!(with_budget(4), ["high"]);
    assert!(with_budget(3).is_empty());
    assert!(with_budget(0).is_empty());
}

#[test]
fn a_cjk_character_counts_as_a_token() {
    let book = entries(json!([{ "name": "e", "constant": true, "content": "四个汉字 and" }]));
    assert_eq!(book.scan(&Talk(&[]))[0].entry.tokens, 5);
}

#[test]
fn contents_trigger_other_entries_only_where_the_book_says_so() {
    let recursive = |recursive: Value| {
        book(
            json!({ "recursive_scanning": recursive, "scan_depth": 1, "entries": [
                { "name": "third", "keys": ["gold"], "content": "the end" },
                { "name": "second", "keys": ["cave"], "content": "of GOLD" },
                { "name": "first", "keys": ["dragon"], "content": "{{hidden_key:cave}} roars" },
                { "name": "off", "keys": ["secret"], "content": "{{// gold}} nothing" },
            ]}),
        )
    };
    let all = recursive(json!(true));
    assert_eq!(matched(&all, &["dragon"]), ["third", "second", "first"]);
    let reasons: Vec<BookHit> = all
        .scan(&Talk(&["dragon"]))
        .iter()
        .map(BookHit::from)
        .collect();
    assert_eq!(reasons[0].reason, Reason::Recursion("gold".to_owned()));
    assert_eq!(reasons[2].reason, Reason::Key("dragon".to_owned()));
    assert_eq!(matched(&all, &["secret"]), ["off"]);
    for off in [json!(false), Value::Null] {
        assert_eq!(matched(&recursive(off), &["dragon"]), ["first"]);
    }
}

#[test]
fn keys_may_be_regular_expressions() {
    let book = entries(json!([
        { "name": "plain", "keys": [r"jump\s+\d+"], "use_regex": true, "content": "c" },
        { "name": "exact", "keys": [r"/Jump \d/"], "use_regex": true, "content": "c" },
        { "name": "flag", "keys": [r"/jump.\d/is"], "use_regex": true, "content": "c" },
        { "name": "aside", "keys": ["never"], "use_regex": true, "constant": true, "selective": true,
          "secondary_keys": ["x"], "content": "c" },
    ]));
    assert_eq!(matched(&book, &["JUMP 4"]), ["plain", "flag"]);
    assert_eq!(matched(&book, &["Jump 4"]), ["plain", "exact", "flag"]);
    assert_eq!(matched(&book, &["jump\n4"]), ["plain", "flag"]);
    assert_eq!(matched(&book, &["never"]), ["aside"]);
}

#[test]
fn a_bad_regular_expression_is_a_fault_that_names_the_entry() {
    let wrong = |key: &str, enabled: bool| {
        try_book(json!({ "entries": [
            { "name": "jump", "keys": [key], "use_regex": true, "enabled": enabled, "content": "c" },
        ]}))
    };
    let fault = wrong("(open", true).unwrap_err();
    assert!(
        fault.contains("book entry `jump`: `(open` is no valid"),
        "{fault}"
    );
    let fault = wrong(r"\w{2000}{2000}", true).unwrap_err();
    assert!(fault.contains("size limit"), "{fault}");
    assert!(wrong("(open", false).is_ok());
}

#[test]
fn decorators_add_conditions() {
    let book = entries(json!([
        { "name": "both", "keys": ["a"], "content": "@@additional_keys b, c\n@@additional_keys d\nt" },
        { "name": "unless", "keys": ["a"], "content": "@@exclude_keys x,y\nt" },
        { "name": "never", "keys": ["a"], "content": "@@dont_activate\nt" },
        { "name": "ever", "content": "@@dont_activate\n@@activate\nt" },
    ]));
    assert_eq!(matched(&book, &["a"]), ["unless", "ever"]);
    assert_eq!(matched(&book, &["a b d"]), ["both", "unless", "ever"]);
    assert_eq!(matched(&book, &["a y"]), ["ever"]);
}

#[test]
fn decorators_count_the_assistants_messages() {
    let book = entries(json!([
        { "name": "after", "constant": true, "content": "@@activate_only_after 2\nt" },
        { "name": "every", "constant": true, "content": "@@activate_only_every 3\nt" },
        { "name": "invalid", "constant": true, "content": "@@activate_only_every 0\nt" },
    ]));
    assert_eq!(matched(&book, &["u"]), ["every", "invalid"]);
    assert_eq!(
        matched(&book, &["u", "a", "u", "a", "u"]),
        ["after", "invalid"]
    );
    let nine = ["u", "a", "u", "a", "u", "a", "u"];
    assert_eq!(matched(&book, &nine), ["after", "every", "invalid"]);
}

#[test]
fn entries_go_to_their_places() {
    let placed = |position: Value, content: &str| {
        let book = entries(json!([{ "constant": true, "position": position, "content": content }]));
        slot(&book, &["one", "two"])
    };
    assert_eq!(placed(Value::Null, "t"), Slot::BeforeChar);
    assert_eq!(placed(json!(""), "t"), Slot::BeforeChar);
    assert_eq!(placed(json!("before_char"), "t"), Slot::BeforeChar);
    assert_eq!(placed(json!("after_char"), "t"), Slot::AfterChar);
    assert_eq!(
        placed(Value::Null, "@@position after_desc\nt"),
        Slot::AfterDescription
    );
    assert_eq!(placed(Value::Null, "@@depth 2\nt"), Slot::PostHistory);
    assert_eq!(placed(Value::Null, "@@depth -1\nt"), Slot::PostHistory);
    assert_eq!(
        placed(json!("after_char"), "@@depth 3\nt"),
        Slot::BeforeChar
    );
    assert_eq!(
        placed(Value::Null, "@@depth 0\n@@position before_desc\nt"),
        Slot::BeforeDescription
    );
    // The card has no scenario: the decorator is ignored, its fallback is not.
    assert_eq!(
        placed(json!("after_char"), "@@position scenario\nt"),
        Slot::AfterChar
    );
    assert_eq!(
        placed(Value::Null, "@@position scenario\n@@@depth 0\nt"),
        Slot::PostHistory
    );
}

#[test]
fn fallbacks_stand_in_for_what_is_not_understood() {
    let take = |content: &str| Decorators::take(content, &SLOTS);
    let (decorators, text) = take(
        "@@risu_only 4\n@@@agn_only\n@@@depth 3\n@@@scan_depth 1\n@@scan_depth x\n@@@scan_depth 7\n\ntext\n",
    );
    assert_eq!(
        (decorators.depth, decorators.scan_depth),
        (Some(3), Some(7))
    );
    assert_eq!(text, "text");
    let (decorators, text) =
        take("@@scan_depth 2\n@@@depth 9\n@@scan_depth 5\n@@keep_activate_after_match\na\nb");
    assert_eq!((decorators.depth, decorators.scan_depth), (None, Some(2)));
    assert_eq!(text, "a\nb");
    assert_eq!(take("@@@depth 4\nlone").0, Decorators::default());
}
