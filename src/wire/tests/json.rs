use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::generate;
use crate::wire::json::{Literal, Scanner, validate};

/// As deep as `serde_json` reads.
const DEPTH: usize = 127;

/// What `serde_json` says, numbers of any size granted; `None` where it stopped at such a number
/// before it had seen everything.
fn oracle(json: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(json) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => {
            // Raw values skip escapes unread, so they cannot judge those.
            let escapes = json.contains(&b'\\');
            (!escapes).then(|| serde_json::from_slice::<&RawValue>(json).is_ok())
        }
        Err(_) => Some(false),
    }
}

proptest! {
    #[test]
    fn accepts_what_serde_json_accepts(json in generate::value()) {
        prop_assert_eq!(oracle(json.as_bytes()), Some(true));
        prop_assert_eq!(validate(json.as_bytes(), DEPTH), Ok(()));
    }

    #[test]
    fn agrees_with_serde_json_on_mutated_text(
        json in prop_oneof![generate::value(), generate::chat()],
        edits in vec((any::<prop::sample::Index>(), 0..3_u8, any::<prop::sample::Index>()), 1..4),
    ) {
        const BYTES: &[u8] = b"{}[]\",:\\u0dD89aeE+-.tfn \n\x00\x1f\x7f\x80\xc3\xa9\xed\xa0\xf0\xff";
        let mut json = json.into_bytes();
        for (place, kind, byte) in edits {
            let place = place.index(json.len() + 1);
            let byte = *byte.get(BYTES);
            match kind {
                0 => json.insert(place, byte),
                _ if place == json.len() => json.truncate(place.saturating_sub(1)),
                1 => json[place] = byte,
                _ => drop(json.remove(place)),
            }
        }
        if let Some(valid) = oracle(&json) {
            let found = validate(&json, DEPTH);
            prop_assert_eq!(found.is_ok(), valid, "{:?} for {:?}", found, String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn agrees_with_serde_json_on_json_like_noise(
        json in "[\\[\\]{},:\"\\\\u0-9a-fDd.+eE tnrl\\-]{0,12}",
    ) {
        if let Some(valid) = oracle(json.as_bytes()) {
            prop_assert_eq!(validate(json.as_bytes(), DEPTH).is_ok(), valid, "{:?}", json);
        }
    }

    #[test]
    fn finds_a_bad_byte_at_any_place(before in 0..70_usize, after in 0..70_usize, byte in 0..=255_u8) {
        let mut json = vec![b'"'];
        json.extend(vec![b'x'; before]);
        json.push(byte);
        json.extend(vec![b'y'; after]);
        json.push(b'"');
        prop_assert_eq!(validate(&json, DEPTH).is_ok(), oracle(&json).unwrap_or(true));
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "expected a value at byte 0"),
        (b"  ", "expected a value at byte 2"),
        (b"\xef\xbb\xbf", "expected a value at byte 3"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "expected a value at byte 3"),
        (b"[\xef\xbb\xbf1]", "expected a value at byte 1"),
        (b"[1] 2", "more after the end of the JSON value at byte 4"),
        (b"[1,]", "expected a value at byte 3"),
        (b"[,1]", "expected a value at byte 1"),
        (b"[,]", "expected a value at byte 1"),
        (b"{,\"a\":1}", "expected a key in quotes at byte 1"),
        (b"[1 2]", "expected `,` or `]` at byte 3"),
        (b"{\"a\":1,}", "expected a key in quotes at byte 7"),
        (b"{\"a\" 1}", "expected `:` at byte 5"),
        (b"{\"a\":1", "expected `,` or `}` at byte 6"),
        (b"[01]", "expected `,` or `]` at byte 2"),
        (b"[-]", "expected a digit at byte 2"),
        (b"[1.]", "expected a digit at byte 3"),
        (b"[1e+]", "expected a digit at byte 4"),
        (b"[nul]", "expected a value at byte 1"),
        (b"\"abc", "a string without its closing quote at byte 4"),
        (
            b"\"a\nb\"",
            "a control character that is not escaped at byte 2",
        ),
        (br#""\x""#, "an unknown escape at byte 1"),
        (
            br#""\u12g4""#,
            "expected four hexadecimal digits after `\\u` at byte 1",
        ),
        (
            br#""\u12"#,
            "expected four hexadecimal digits after `\\u` at byte 1",
        ),
        (br#""\ud800""#, "half a surrogate pair at byte 1"),
        (br#""\ud800\u0041""#, "half a surrogate pair at byte 1"),
        (br#""\udc00""#, "half a surrogate pair at byte 1"),
        (b"\"\xff\"", "invalid UTF-8 at byte 1"),
        (b"\"\xed\xa0\x80\"", "invalid UTF-8 at byte 1"),
        (b"\"\xc0\x80\"", "invalid UTF-8 at byte 1"),
    ];
    for (json, wanted) in cases {
        let error = validate(json, DEPTH).expect_err(wanted);
        assert_eq!(
            error.to_string(),
            *wanted,
            "{}",
            String::from_utf8_lossy(json)
        );
    }
}

#[test]
fn nesting_is_bounded_and_takes_no_stack() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(validate(&nested(64), 64).is_ok());
    let error = validate(&nested(65), 64).expect_err("one too deep");
    assert_eq!(
        (error.problem, error.offset),
        ("nested more deeply than is allowed", 64)
    );
    let siblings = format!("[{}]", ["[]"; 100].join(","));
    assert_eq!(validate(siblings.as_bytes(), 2), Ok(()));
    assert!(validate(&nested(1_000_000), 64).is_err());
    assert!(validate(&nested(1_000_000), usize::MAX).is_ok());
}

#[test]
fn a_number_may_be_of_any_size() {
    let digits = "7".repeat(5_000_000);
    for json in [
        format!("[{digits}]"),
        format!("[-0.{digits}e-{digits}]"),
        "1e999".to_owned(),
    ] {
        assert_eq!(validate(json.as_bytes(), 64), Ok(()));
    }
}

#[test]
fn what_a_text_may_end_with_is_told_whatever_blanks_stand_behind_it() {
    let may_end = |json: &str, word: &str| {
        let mut scanner = Scanner::new(json.as_bytes(), 1).unwrap();
        let literal = Literal::new(json.as_bytes(), scanner.text().unwrap());
        literal.may_end_with(&[word.to_owned()])
    };
    for json in [
        r#""tell me END""#,
        r#""tell me END \u3000""#,
        r#""tell me END\r\n\t \f""#,
        "\"tell me END\u{3000}\"",
        r#""a\nb END""#,
    ] {
        assert!(may_end(json, "END"), "{json}");
    }
    for json in [r#""END it\n""#, r#""END it""#, r#""a\nEN D""#] {
        assert!(!may_end(json, "END"), "{json}");
    }
}
