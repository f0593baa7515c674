//! The members at the top of a JSON object, found while it comes.
//!
//! It does not judge: what it cannot read it leaves, for the upstream to say so. It keeps nothing
//! of the body but what it looks for.

use std::ops::Range;

use memchr::memchr2;

use super::body::{Model, twice};
use crate::error::ApiError;

/// Bytes of a member's name, or of a text at the top, that are kept. More is none that is sought.
const KEPT: usize = 1024;
/// Texts at the top that are kept, since they may be ids.
const TEXTS: usize = 16;

/// A reader of one object.
#[derive(Debug, Default)]
pub struct Object {
    state: State,
    /// Bytes that came so far.
    read: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Where the value being read begins.
    begins: usize,
    model: Option<(Model, Range<usize>)>,
    /// Behind the opening bracket.
    opened: Option<usize>,
    has_members: bool,
    texts: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the opening bracket.
    #[default]
    Before,
    /// Before a member's name, or the end.
    Between,
    Name {
        escaped: bool,
    },
    /// Between a name and its value.
    Colon,
    Text {
        escaped: bool,
    },
    /// A number, `true`, `false` or `null`.
    Word,
    /// Within an object or array, so many deep.
    Nested(usize),
    NestedText {
        depth: usize,
        escaped: bool,
    },
    /// Behind the closing bracket, or where it was no object.
    Over,
}

impl Object {
    /// Looks at what comes next of the body.
    ///
    /// # Errors
    ///
    /// 400 where `model` stands there twice, or in another letter case beside: two readers would
    /// not agree on what was asked for.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Over {
            at += self.step(&bytes[at..], self.read + at)?;
        }
        self.read += bytes.len();
        Ok(())
    }

    /// Whether nothing more will be found.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The model, and where its value stands.
    pub fn model(&self) -> Option<&(Model, Range<usize>)> {
        self.model.as_ref()
    }

    /// Where a member may be put in, and whether others follow it.
    pub fn beginning(&self) -> Option<(usize, bool)> {
        Some((self.opened?, self.has_members))
    }

    /// Short texts at the top.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Reads on within one state; gives how many bytes, at least one.
    fn step(&mut self, bytes: &[u8], offset: usize) -> Result<usize, ApiError> {
        let byte = bytes[0];
        match self.state {
            State::Before => match byte {
                b'{' => {
                    self.opened = Some(offset + 1);
                    self.state = State::Between;
                }
                // A byte order mark is passed by many readers.
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
                _ => self.state = State::Over,
            },
            State::Between => match byte {
                b'"' => {
                    self.has_members = true;
                    self.key.clear();
                    self.state = State::Name { escaped: false };
                }
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
                _ => self.state = State::Over,
            },
            State::Name { escaped } => {
                let (read, next) = text(bytes, escaped, &mut self.key);
                self.state = next.map_or(State::Colon, |escaped| State::Name { escaped });
                return Ok(read);
            }
            State::Colon => self.begin(byte, offset),
            State::Text { escaped } => {
                let (read, next) = text(bytes, escaped, &mut self.value);
                match next {
                    Some(escaped) => self.state = State::Text { escaped },
                    None => self.end_text(offset + read)?,
                }
                return Ok(read);
            }
            State::Word => match byte {
                b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.end(word(&self.value), offset)?;
                    self.state = match byte {
                        b'}' => State::Over,
                        _ => State::Between,
                    };
                }
                _ if self.value.len() < KEPT => self.value.push(byte),
                _ => {}
            },
            State::Nested(depth) => return self.nested(bytes, depth, offset),
            State::NestedText { depth, escaped } => {
                let (read, next) = text(bytes, escaped, &mut Vec::new());
                self.state = match next {
                    Some(escaped) => State::NestedText { depth, escaped },
                    None => State::Nested(depth),
                };
                return Ok(read);
            }
            State::Over => {}
        }
        Ok(1)
    }

    /// The first byte of a value, or what stands before it.
    fn begin(&mut self, byte: u8, offset: usize) {
        self.value.clear();
        self.begins = offset;
        self.state = match byte {
            b':' | b' ' | b'\t' | b'\r' | b'\n' => State::Colon,
            b'"' => State::Text { escaped: false },
            b'{' | b'[' => State::Nested(1),
            _ => {
                self.value.push(byte);
                State::Word
            }
        };
    }

    fn nested(&mut self, bytes: &[u8], depth: usize, offset: usize) -> Result<usize, ApiError> {
        let stops = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(passed) = bytes.iter().position(stops) else {
            return Ok(bytes.len());
        };
        self.state = match bytes[passed] {
            b'"' => State::NestedText {
                depth,
                escaped: false,
            },
            b'{' | b'[' => State::Nested(depth + 1),
            _ if depth > 1 => State::Nested(depth - 1),
            _ => {
                self.end(Model::Unfit, offset + passed + 1)?;
                State::Between
            }
        };
        Ok(passed + 1)
    }

    fn end_text(&mut self, ends: usize) -> Result<(), ApiError> {
        let read = match self.value.len() > KEPT {
            true => None,
            false => decode(&self.value),
        };
        if let Some(text) = &read
            && self.texts.len() < TEXTS
            && self.value.len() <= super::origins::LONGEST
        {
            self.texts.push(text.clone());
        }
        let model = match read {
            Some(text) if text.is_empty() => Model::Blank,
            Some(text) => Model::Named(text),
            None => Model::Unfit,
        };
        self.state = State::Between;
        self.end(model, ends)
    }

    /// A value has come to its end.
    fn end(&mut self, value: Model, ends: usize) -> Result<(), ApiError> {
        let named = match self.key.contains(&b'\\') {
            true => decode(&self.key).is_some_and(|key| key.eq_ignore_ascii_case("model")),
            false => self.key.eq_ignore_ascii_case(b"model"),
        };
        if !named {
            return Ok(());
        }
        let exact = self.key == b"model" || decode(&self.key).as_deref() == Some("model");
        match (&self.model, exact) {
            (Some(_), _) => Err(twice(self.begins)),
            // Some read it in any letter case; alone it is the upstream's to judge.
            (None, false) => {
                self.model = Some((Model::Unfit, self.begins..ends));
                Ok(())
            }
            (None, true) => {
                self.model = Some((value, self.begins..ends));
                Ok(())
            }
        }
    }
}

/// Reads on within a string literal, keeping a little of it. Gives how many bytes were read, and
/// whether the next one is escaped; `None` behind its end.
fn text(bytes: &[u8], escaped: bool, kept: &mut Vec<u8>) -> (usize, Option<bool>) {
    let keep = |bytes: &[u8], kept: &mut Vec<u8>| {
        let room = (KEPT + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    if escaped {
        keep(&bytes[..1], kept);
        return (1, Some(false));
    }
    match memchr2(b'"', b'\\', bytes) {
        None => {
            keep(bytes, kept);
            (bytes.len(), Some(false))
        }
        Some(at) if bytes[at] == b'"' => {
            keep(&bytes[..at], kept);
            (at + 1, None)
        }
        Some(at) => {
            keep(&bytes[..=at], kept);
            (at + 1, Some(true))
        }
    }
}

fn decode(raw: &[u8]) -> Option<String> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

fn word(value: &[u8]) -> Model {
    match value {
        b"null" => Model::Blank,
        _ => Model::Unfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `json` cut into pieces of each size.
    fn read(json: &str) -> Result<Object, ApiError> {
        let mut whole = Object::default();
        let read = whole.feed(json.as_bytes());
        for size in 1..json.len().min(9) {
            let mut cut = Object::default();
            let pieces = json.as_bytes().chunks(size);
            let fed: Result<Vec<_>, _> = pieces.map(|piece| cut.feed(piece)).collect();
            assert_eq!(fed.map(drop), read, "{json}");
            assert_eq!(cut.model(), whole.model(), "{json} by {size}");
            assert_eq!(cut.texts(), whole.texts(), "{json} by {size}");
            assert_eq!(cut.is_over(), whole.is_over(), "{json} by {size}");
        }
        read.map(|()| whole)
    }

    #[test]
    fn the_model_is_found_wherever_it_stands() {
        for (json, name) in [
            (r#"{"model":"m"}"#, "m"),
            (
                r#" { "input" : ["model", {"model":"x"}], "model" : "m" } "#,
                "m",
            ),
            (
                r#"{"a":"\"model\":\"x\"","b":-1.5e3,"c":null,"model":"m","d":1}"#,
                "m",
            ),
            (r#"{"model":"a\/b\u00e9 \"c\""}"#, "a/bé \"c\""),
            (r#"{"mod\u0065l":"m"}"#, "m"),
            ("\u{feff}{\"model\":\"模型\"}", "模型"),
            (r#"{"a":[[{"b":"]}"}]],"model":"m"}"#, "m"),
        ] {
            let object = read(json).expect("one model");
            let (model, range) = object.model().expect("a model");
            assert_eq!(model, &Model::Named(name.into()), "{json}");
            let literal: String = serde_json::from_str(&json[range.clone()]).expect("its span");
            assert_eq!(literal, name, "{json}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_from_one_that_is_left_out() {
        let model = |json: &str| read(json).expect("at most one model").model().cloned();
        assert_eq!(model(r#"{"a":1}"#), None);
        assert_eq!(model("{}"), None);
        assert_eq!(model(r#"[{"model":"m"}]"#), None);
        assert_eq!(model(r#"{"model":null}"#), Some((Model::Blank, 9..13)));
        assert_eq!(model(r#"{"model":""}"#), Some((Model::Blank, 9..11)));
        assert_eq!(model(r#"{"model": 5 }"#), Some((Model::Unfit, 10..11)));
        assert_eq!(
            model(r#"{"model":{"a":"}"},"b":1}"#),
            Some((Model::Unfit, 9..18))
        );
        assert_eq!(model(r#"{"Model":"m"}"#), Some((Model::Unfit, 9..12)));
        let long = format!("{{\"model\":\"{}\"}}", "x".repeat(2000));
        assert_eq!(model(&long), Some((Model::Unfit, 9..2011)));
    }

    #[test]
    fn two_models_are_refused() {
        for json in [
            r#"{"model":"a","model":"a"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"MODEL":1,"x":[],"model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
        ] {
            assert_eq!(read(json).expect_err("two").status, 400, "{json}");
        }
    }

    #[test]
    fn a_member_may_be_put_in_behind_the_bracket() {
        assert_eq!(read(" { } ").expect("none").beginning(), Some((2, false)));
        assert_eq!(
            read("{\"a\":1}").expect("none").beginning(),
            Some((1, true))
        );
        assert_eq!(read("[]").expect("none").beginning(), None);
    }

    #[test]
    fn short_texts_at_the_top_are_kept() {
        let object = read(r#"{"a":"one","b":["no"],"c":"two"}"#).expect("no model");
        assert_eq!(object.texts(), ["one", "two"]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes: Vec<u8>, size in 1_usize..20) {
            let (mut whole, mut cut) = (Object::default(), Object::default());
            let read = whole.feed(&bytes);
            let fed: Result<Vec<_>, _> = bytes.chunks(size).map(|piece| cut.feed(piece)).collect();
            proptest::prop_assert_eq!(read.is_ok(), fed.is_ok());
            proptest::prop_assert_eq!(whole.model(), cut.model());
        }
    }
}
