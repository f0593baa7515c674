//! Which script a character is of, as far as it tells how words are found.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::char::is_combining_mark;

/// How words of a script are parted and cut to their stems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Hebrew,
    Other,
}

impl Script {
    /// Of a folded word.
    pub fn of(word: &str) -> Self {
        match word.chars().next().map_or(0, u32::from) {
            0..=0x24f => Self::Latin,
            0x400..=0x52f => Self::Cyrillic,
            0x590..=0x5ff => Self::Hebrew,
            0x600..=0x6ff => Self::Arabic,
            _ => Self::Other,
        }
    }

    /// The letters that words of it are mostly written in, folded.
    pub fn letters(self) -> impl Iterator<Item = char> + Clone {
        let letters = match self {
            Self::Latin => 'a'..='z',
            Self::Cyrillic => 'а'..='я',
            Self::Arabic => 'ا'..='ي',
            Self::Hebrew => 'א'..='ת',
            Self::Other => 'α'..='ω',
        };
        letters.into_iter()
    }
}

/// Cuts words to their stems. In Latin letters that is an English word's: others keep theirs, and are
/// found by what they begin with.
pub struct Stemmers {
    english: Stemmer,
    russian: Stemmer,
    arabic: Stemmer,
}

impl Default for Stemmers {
    fn default() -> Self {
        Self {
            english: Stemmer::create(Algorithm::English),
            russian: Stemmer::create(Algorithm::Russian),
            arabic: Stemmer::create(Algorithm::Arabic),
        }
    }
}

impl Stemmers {
    pub fn stem<'a>(&self, word: &'a str) -> std::borrow::Cow<'a, str> {
        match Script::of(word) {
            Script::Cyrillic => self.russian.stem(word),
            Script::Arabic => self.arabic.stem(word),
            _ => self.english.stem(word),
        }
    }
}

/// Whether words of this character's script are told by its neighbours: Han, kana, and hangul, whose
/// particles cling to the word.
pub fn is_ideographic(c: char) -> bool {
    c >= '\u{1100}'
        && matches!(u32::from(c),
        0x3040..=0x30FF | 0x31F0..=0x31FF          // kana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF        // Han
        | 0xF900..=0xFAFF | 0x20000..=0x3FFFF      // Han, compatibility and supplementary
        | 0x3005..=0x3007                          // iteration mark, zero
        | 0x1100..=0x11FF | 0x3130..=0x318F | 0xAC00..=0xD7AF) // hangul
}

/// Whether words of this character's script stand together and are parted by a dictionary: Thai,
/// Lao, Burmese, Khmer.
pub fn is_unparted(c: char) -> bool {
    c >= '\u{e00}'
        && matches!(u32::from(c),
        0xE00..=0xEFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0xA9E0..=0xA9FF | 0xAA60..=0xAA7F)
}

/// Whether a character is a part of a word.
pub fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}
