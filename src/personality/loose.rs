//! JSON as the programs that write cards read it: JavaScript, where a number may be a text, a flag
//! a number, a list an object with numbered keys, and an absent value null.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The text of a value; `None` for what has none.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        // Some editors keep a text as its lines.
        Value::Array(lines) => {
            let lines: Option<Vec<_>> = lines.iter().map(text).collect();
            lines.map(|lines| lines.join("\n"))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The number of a value.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// Whether a value says yes; `None` where it says nothing.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => Some(!matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "" | "0" | "false" | "no" | "off"
        )),
        _ => None,
    }
}

/// The elements of a list, or of an object whose keys are the places of a list.
pub(super) fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(map) => {
            let mut elements: Vec<_> = map.iter().collect();
            // Numbers in their order, then names in theirs, as JavaScript goes through an object.
            elements.sort_by_key(|(key, _)| {
                let place = key.parse::<u64>().ok();
                (place.is_none(), place, key.as_str())
            });
            elements.into_iter().map(|(_, element)| element).collect()
        }
        _ => Vec::new(),
    }
}

/// The texts of a list, or of one text with commas: a comma within `/…/` parts nothing.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(list) => commas(list),
        _ => elements(value).into_iter().filter_map(text).collect(),
    }
}

fn commas(list: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut start, mut slashes, mut escaped) = (0, 0, false);
    for (at, c) in list.char_indices() {
        match c {
            '/' if !escaped && (slashes > 0 || list[start..at].trim().is_empty()) => slashes += 1,
            ',' if slashes != 1 || !list[at..].contains('/') => {
                parts.push(&list[start..at]);
                (start, slashes) = (at + 1, 0);
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&list[start..]);
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The object that a value is, or that a text in it spells, or that it is a list of alone.
pub(super) fn object(value: &Value) -> Option<Cow<'_, Map<String, Value>>> {
    match value {
        Value::Object(object) => Some(Cow::Borrowed(object)),
        Value::Array(list) => match list.as_slice() {
            [Value::Object(object)] => Some(Cow::Borrowed(object)),
            _ => None,
        },
        Value::String(text) if text.trim_start().starts_with('{') => match parse(text).ok()? {
            Value::Object(object) => Some(Cow::Owned(object)),
            _ => None,
        },
        _ => None,
    }
}

/// A text without the byte order mark that some editors write, and the zero bytes that some tools end
/// it with.
pub(super) fn bare(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
        .trim_end_matches(|c: char| c == '\0' || c.is_ascii_whitespace())
}

/// Reads JSON. Half of a surrogate pair, which JavaScript writes where a text was cut within an
/// emoji, is `U+FFFD`.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| match without_lone_surrogates(text) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(error),
    })
}

/// `text` with `\ufffd` for each escape that is half of a pair; `None` where there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            // The character behind a backslash is not the beginning of another escape.
            _ => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    mended.push_str(&text[copied..]);
    (copied > 0).then_some(mended)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_javascript_reads_them() {
        assert_eq!(text(&json!(7)).as_deref(), Some("7"));
        assert_eq!(text(&json!(["a", "b"])).as_deref(), Some("a\nb"));
        assert_eq!(text(&json!(null)), None);
        assert_eq!(number(&json!(" 10 ")), Some(10.0));
        assert_eq!(number(&json!("ten")), None);
        assert_eq!(number(&json!("inf")), None);
        for (value, said) in [
            (json!(1), Some(true)),
            (json!("false"), Some(false)),
            (json!("True"), Some(true)),
            (json!(0), Some(false)),
            (json!(null), None),
        ] {
            assert_eq!(flag(&value), said, "{value}");
        }
    }

    #[test]
    fn lists_are_lists_objects_and_texts() {
        assert_eq!(texts(&json!(["a, b", 3])), ["a, b", "3"]);
        assert_eq!(
            texts(&json!({"10": "c", "2": "b", "x": "d"})),
            ["b", "c", "d"]
        );
        assert_eq!(
            texts(&json!("a, /b,{1,2}/i ,c/d, e")),
            ["a", "/b,{1,2}/i", "c/d", "e"]
        );
        assert_eq!(texts(&json!("/half, b")), ["/half", "b"]);
        assert!(texts(&json!(null)).is_empty());
    }

    #[test]
    fn half_a_pair_is_a_replacement_character() {
        let said = |text: &str| parse(text).unwrap();
        assert_eq!(said(r#""cut \ud83d""#), json!("cut \u{fffd}"));
        assert_eq!(
            said(r#""\ude00\ud83d\ude00\\ud83d""#),
            json!("\u{fffd}😀\\ud83d")
        );
        assert!(parse(r#"{"a":}"#).is_err());
        assert!(parse("\"\\").is_err());
    }
}
