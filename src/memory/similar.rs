//! When two texts say the same.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128_with_seed};

use super::index::{is_ideographic, nfkc};

/// Share of common shingles from which two texts are alike.
const ALIKE: f32 = 0.75;

/// Shingles below which a share means little, and only the very same counts.
const FEW: usize = 6;

/// 64 bits each: about twice as many as a turn of usual length has pairs.
const WORDS_OF_BITS: usize = 4;

/// Shingles of a text that are kept: the first.
const MOST: usize = 512;

/// Fingerprints that a thread remembers, by the text's hash: on its way into a store a text is asked for its
/// own some five times, and to work it out costs as much as hashing it thirty times.
const REMEMBERED: usize = 64;

thread_local! {
    static LATELY: [Cell<(u128, u64)>; REMEMBERED] = const { [const { Cell::new((0, 0)) }; REMEMBERED] };
}

/// Drawn at each start, so that nobody can choose texts that are taken for each other.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// Equal for texts that differ in case, white space and the punctuation of sentences alone.
pub fn fingerprint(text: &str) -> u64 {
    let hash = xxh3_128_with_seed(text.as_bytes(), *SEED);
    LATELY.with(|lately| {
        let place = &lately[hash as usize % REMEMBERED];
        let (holder, print) = place.get();
        if holder == hash {
            return print;
        }
        let mut normal = Vec::with_capacity(text.len());
        normalise(text, &mut normal);
        let print = xxh3_64(&normal);
        place.set((hash, print));
        print
    })
}

/// Appends the text in lower case, with one space where two words would meet and none elsewhere.
/// A sign counts, since -5 is not 5 and C++ not C; only what ends or parts sentences does not.
fn normalise(text: &str, normal: &mut Vec<u8>) {
    let text = nfkc(text);
    // Two words meet where something stood between letters that is gone.
    let (mut in_word, mut gap) = (false, false);
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        // Most are ASCII, also in texts that are not.
        let class = match byte {
            0..0x80 => CLASSES[usize::from(byte)],
            _ => OTHER,
        };
        match class {
            SILENT => gap = true,
            SIGN => {
                normal.push(byte);
                (in_word, gap) = (false, false);
            }
            OTHER => {
                let c = text[at..].chars().next().unwrap_or_default();
                at += c.len_utf8();
                other(c, normal, (&mut in_word, &mut gap));
                continue;
            }
            letter => {
                if in_word && gap {
                    normal.push(b' ');
                }
                normal.push(letter);
                (in_word, gap) = (true, false);
            }
        }
        at += 1;
    }
}

/// Appends a character beyond ASCII.
fn other(c: char, normal: &mut Vec<u8>, (in_word, gap): (&mut bool, &mut bool)) {
    let mut bytes = [0; 4];
    if !is_ideographic(c) && c.is_alphanumeric() {
        if *in_word && *gap {
            normal.push(b' ');
        }
        for lower in c.to_lowercase() {
            normal.extend_from_slice(lower.encode_utf8(&mut bytes).as_bytes());
        }
        (*in_word, *gap) = (true, false);
    } else if is_silent(c) {
        *gap = true;
    } else {
        normal.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
        (*in_word, *gap) = (false, false);
    }
}

/// What the bytes of ASCII are: a letter or digit in lower case, or one of these.
const CLASSES: [u8; 0x80] = {
    let mut classes = [SIGN; 0x80];
    let mut byte = 0;
    while byte < 0x80 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() {
            classes[byte] = c.to_ascii_lowercase();
        } else if is_silent_ascii(c) {
            classes[byte] = SILENT;
        }
        byte += 1;
    }
    classes
};
const SILENT: u8 = 0;
const SIGN: u8 = 1;
const OTHER: u8 = 2;

const fn is_silent_ascii(byte: u8) -> bool {
    let is_space = matches!(byte, b'\t'..=b'\r' | b' ');
    is_space
        || matches!(
            byte,
            b'\'' | b'"' | b'.' | b',' | b';' | b':' | b'!' | b'?' | b'~' | b'(' | b')'
        )
}

fn is_silent(c: char) -> bool {
    c.is_whitespace() || "‘’“”…。、".contains(c)
}

/// A text as the set of its pairs of neighbouring words, signs or ideographs, to be held against
/// others.
#[derive(Debug)]
pub struct Shingles {
    /// Sorted, none twice.
    pairs: Box<[u32]>,
    /// A bit for each pair, so that most texts are told apart by these alone: each bit that one has
    /// and another has not is a pair of its own.
    bits: [u64; WORDS_OF_BITS],
    /// Of its runs of digits, in order: another number is another fact.
    numbers: u64,
    print: u64,
    /// Of the name of whoever speaks, where there is one: what another says is another fact.
    speaker: Option<u64>,
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
            bits: pairs.iter().fold([0; WORDS_OF_BITS], |mut bits, pair| {
                bits[(pair >> 24) as usize % WORDS_OF_BITS] |= 1 << (pair >> 26);
                bits
            }),
            pairs: pairs.into(),
            numbers: numbers.digest(),
            print: xxh3_64(&normal),
            speaker: None,
        }
    }

    /// The same, said by somebody of that name.
    pub fn said_by(self, speaker: Option<&str>) -> Self {
        let speaker = speaker.map(|name| xxh3_64(name.as_bytes()));
        Self { speaker, ..self }
    }

    /// What this text says beside `other`.
    pub fn beside(&self, other: &Self) -> Likeness {
        if let (Some(one), Some(other)) = (self.speaker, other.speaker)
            && one != other
        {
            return Likeness::Other;
        }
        if self.print == other.print {
            return Likeness::Held;
        }
        let (few, many) = (
            self.pairs.len().min(other.pairs.len()),
            self.pairs.len().max(other.pairs.len()),
        );
        let is_like = few >= FEW && few as f32 >= ALIKE * many as f32;
        let is_like = is_like && self.numbers == other.numbers;
        // A long text has a short one's words without saying it.
        let may_be_held = self.pairs.len() > 2
            && self.pairs.len() < MOST
            && other.pairs.len() <= 2 * self.pairs.len() + FEW;
        // How many pairs of its own it may have at most.
        let all = self.pairs.len() + other.pairs.len();
        let needed = (ALIKE * all as f32 / (1.0 + ALIKE)) as usize;
        let most = match (is_like, may_be_held) {
            (true, _) => self.pairs.len().saturating_sub(needed),
            (false, true) => 0,
            (false, false) => return Likeness::Other,
        };
        if self.own_bits(other) > most {
            return Likeness::Other;
        }
        let Some(common) = common(&self.pairs, &other.pairs, most) else {
            return Likeness::Other;
        };
        if may_be_held && common == self.pairs.len() {
            Likeness::Held
        } else if is_like && common as f32 >= ALIKE * (all - common) as f32 {
            Likeness::Alike
        } else {
            Likeness::Other
        }
    }

    /// How many pairs of its own it has at least.
    fn own_bits(&self, other: &Self) -> usize {
        let bits = self.bits.iter().zip(&other.bits);
        bits.map(|(own, other)| (own & !other).count_ones() as usize)
            .sum()
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        size_of_val(&*self.pairs)
    }
}

/// How many two sorted lists share; `None` where more than `most` of the first are its own.
fn common(one: &[u32], other: &[u32], most: usize) -> Option<usize> {
    let mut other = other.iter().copied().peekable();
    let mut own = 0;
    for pair in one {
        while other.next_if(|it| it < pair).is_some() {}
        own += usize::from(other.peek() != Some(pair));
        if own > most {
            return None;
        }
    }
    Some(one.len() - own)
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
        let by = |name| Shingles::of(eldest).said_by(name);
        assert_eq!(by(Some("Ann")).beside(&by(Some("Bob"))), Likeness::Other);
        assert_eq!(by(Some("Ann")).beside(&by(Some("Ann"))), Likeness::Held);
        assert_eq!(by(Some("Ann")).beside(&by(None)), Likeness::Held);
        let table = "我的大儿子喜欢星期天早上和叔叔在城里下象棋然后去喝茶";
        assert_eq!(beside(table, &table.replace('大', "小")), Likeness::Alike);
    }
}
