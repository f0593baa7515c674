//! When two texts say the same.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::index::{is_ideographic, nfkc};

/// Share of common shingles from which two texts are alike.
const ALIKE: f32 = 0.75;

/// Shingles below which a share means little, and only the very same counts.
const FEW: usize = 6;

/// Shingles of a text that are kept: the first.
const MOST: usize = 512;

/// Equal for texts that differ in case, white space and the punctuation of sentences alone.
pub fn fingerprint(text: &str) -> u64 {
    let mut normal = Vec::with_capacity(text.len());
    normalise(text, &mut normal);
    xxh3_64(&normal)
}

/// Appends the text in lower case, with one space where two words would meet and none elsewhere.
/// A sign counts, since -5 is not 5 and C++ not C; only what ends or parts sentences does not.
fn normalise(text: &str, normal: &mut Vec<u8>) {
    if text.is_ascii() {
        // Two words meet where something stood between letters that is gone.
        let (mut in_word, mut gap) = (false, false);
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                if in_word && gap {
                    normal.push(b' ');
                }
                normal.push(byte.to_ascii_lowercase());
                (in_word, gap) = (true, false);
            } else if is_silent(char::from(byte)) {
                gap = true;
            } else {
                normal.push(byte);
                (in_word, gap) = (false, false);
            }
        }
        return;
    }
    let (mut in_word, mut gap) = (false, false);
    let mut bytes = [0; 4];
    for c in nfkc(text).chars() {
        if c.is_alphanumeric() && !is_ideographic(c) {
            if in_word && gap {
                normal.push(b' ');
            }
            for lower in c.to_lowercase() {
                normal.extend_from_slice(lower.encode_utf8(&mut bytes).as_bytes());
            }
            (in_word, gap) = (true, false);
        } else if is_silent(c) {
            gap = true;
        } else {
            normal.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            (in_word, gap) = (false, false);
        }
    }
}

fn is_silent(c: char) -> bool {
    c.is_whitespace() || "'\"‘’“”.,;:!?…。、~()".contains(c)
}

/// A text as the set of its pairs of neighbouring words, signs or ideographs, to be held against
/// others.
#[derive(Debug)]
pub struct Shingles {
    /// Sorted, none twice.
    pairs: Box<[u32]>,
    /// A bit for each pair, so that most texts are told apart by these alone.
    bits: u64,
    /// Of its runs of digits, in order: another number is another fact.
    numbers: u64,
    print: u64,
}

/// What one text says beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// All of it is said by the other.
    Held,
    /// The same but for a word or two.
    Alike,
    Other,
}

impl Shingles {
    pub fn of(text: &str) -> Self {
        let mut normal = Vec::with_capacity(text.len());
        normalise(text, &mut normal);
        let mut pairs = Vec::new();
        let mut numbers = Xxh3::new();
        let mut before = None;
        // What was put together of whole characters is text.
        let normal_text = String::from_utf8_lossy(&normal);
        for word in words(&normal_text) {
            let hash = xxh3_64(word.as_bytes());
            if word.starts_with(char::is_numeric) {
                numbers.update(word.as_bytes());
                numbers.update(b" ");
            }
            if let Some(before) = before.replace(hash)
                && pairs.len() < MOST
            {
                pairs.push((before.rotate_left(23) ^ hash) as u32);
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        Self {
            bits: pairs.iter().fold(0, |bits, pair| bits | 1 << (pair >> 26)),
            pairs: pairs.into(),
            numbers: numbers.digest(),
            print: xxh3_64(&normal),
        }
    }

    /// What this text says beside `other`.
    pub fn beside(&self, other: &Self) -> Likeness {
        if self.print == other.print {
            return Likeness::Held;
        }
        let (few, many) = (
            self.pairs.len().min(other.pairs.len()),
            self.pairs.len().max(other.pairs.len()),
        );
        let is_like = few >= FEW && few as f32 >= ALIKE * many as f32;
        // A long text has a short one's words without saying it.
        let may_be_held = self.pairs.len() > 2
            && other.pairs.len() <= 2 * self.pairs.len() + FEW
            && self.bits & !other.bits == 0;
        if !is_like && !may_be_held {
            return Likeness::Other;
        }
        // Of two texts that share three quarters, few bits are one's alone.
        if !may_be_held && (self.bits & other.bits).count_ones() * 2 < self.bits.count_ones() {
            return Likeness::Other;
        }
        let common = common(&self.pairs, &other.pairs);
        let all = self.pairs.len() + other.pairs.len() - common;
        if may_be_held && common == self.pairs.len() && self.pairs.len() < MOST {
            Likeness::Held
        } else if is_like && self.numbers == other.numbers && common as f32 >= ALIKE * all as f32 {
            Likeness::Alike
        } else {
            Likeness::Other
        }
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        size_of_val(&*self.pairs)
    }
}

/// How many two sorted lists share.
fn common(one: &[u32], other: &[u32]) -> usize {
    let mut other = other.iter().copied().peekable();
    let is_shared = |pair: &&u32| {
        while other.next_if(|it| it < *pair).is_some() {}
        other.peek() == Some(*pair)
    };
    one.iter().filter(is_shared).count()
}

/// The words of a normalised text: runs of letters and digits, and all else alone.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        let first = rest.chars().next()?;
        let in_word = |c: char| c.is_alphanumeric() && !is_ideographic(c);
        let length = if in_word(first) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, behind) = rest.split_at(length);
        rest = behind;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_the_same_in_another_case_and_punctuation() {
        for (one, other) in [
            ("I like green tea.", "i like  GREEN tea"),
            ("你好，世界！", "你好,世界"),
            ("It's 5 o'clock", "it s 5 o clock"),
            ("ＡＢＣ", "abc"),
            ("Ünder (the) bridge", "ünder the Bridge…"),
            ("東京 タワー", "東京タワー"),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{one}");
        }
        for (one, other) in [
            ("-5", "5"),
            ("C++", "C"),
            ("ab c", "a bc"),
            ("5.5", "55"),
            ("I like tea", "I like tea and"),
            ("10:30", "1030"),
        ] {
            assert_ne!(fingerprint(one), fingerprint(other), "{one}");
        }
    }

    #[test]
    fn what_is_alike_is_told_from_what_is_held_and_from_another_fact() {
        let eldest = "my eldest son likes to play chess with his uncle on sunday mornings in town";
        let beside = |one: &str, other: &str| Shingles::of(one).beside(&Shingles::of(other));
        let youngest = eldest.replace("eldest", "youngest");
        assert_eq!(beside(eldest, &youngest), Likeness::Alike);
        assert_eq!(beside(eldest, &eldest.to_uppercase()), Likeness::Held);
        assert_eq!(
            beside("I live in Rome now", "Yes, I live in Rome now, near Ann"),
            Likeness::Held
        );
        assert_eq!(
            beside("Yes, I live in Rome now, near Ann", "I live in Rome now"),
            Likeness::Other
        );
        let at = |room: &str| {
            format!("the meeting about the office plan is in room {room} upstairs at noon")
        };
        assert_eq!(beside(&at("12"), &at("13")), Likeness::Other);
        assert_eq!(beside("I like cats", "I don't like cats"), Likeness::Other);
        let table = "我的大儿子喜欢星期天早上和叔叔在城里下象棋然后去喝茶";
        assert_eq!(beside(table, &table.replace('大', "小")), Likeness::Alike);
    }
}
