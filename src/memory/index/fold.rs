//! Letters that a reader takes for the same, as one: cases, accents, forms of the same letter, the
//! digits of all scripts, Traditional and Simplified Chinese.

use std::sync::LazyLock;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

use super::script::is_ideographic;
use super::terms::nfkc;

/// The text as it is looked for. Nothing is put where a letter was that is none beside others: what
/// is a word stays one.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in nfkc(text).chars() {
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
        } else {
            letter(c, &mut folded);
        }
    }
    folded
}

fn letter(c: char, to: &mut String) {
    if is_ideographic(c) {
        to.push(simplified(c));
        return;
    }
    if let Some(digit) = digit(c) {
        to.push(digit);
        return;
    }
    match c {
        // What parts words where nobody sees it.
        '\u{200b}' => to.push(' '),
        // What is there for the eye alone.
        '\u{ad}' | '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {}
        '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{640}' => {}
        '’' | 'ʼ' => to.push('\''),
        'ß' | 'ẞ' => to.push_str("ss"),
        'æ' | 'Æ' => to.push_str("ae"),
        'œ' | 'Œ' => to.push_str("oe"),
        'þ' | 'Þ' => to.push_str("th"),
        'ł' | 'Ł' => to.push('l'),
        'đ' | 'Đ' | 'ð' | 'Ð' => to.push('d'),
        'ø' | 'Ø' => to.push('o'),
        'ħ' | 'Ħ' => to.push('h'),
        'ı' => to.push('i'),
        'ς' => to.push('σ'),
        // й and ї are letters of their own, ё is mostly written е.
        '\u{400}'..='\u{52f}' => to.extend(c.to_lowercase().map(cyrillic)),
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1fff}' | '\u{370}'..='\u{3ff}' => {
            decompose_canonical(c, |part| {
                if !is_combining_mark(part) {
                    to.extend(part.to_lowercase());
                }
            });
        }
        c if is_silent_mark(c) => {}
        '\u{5d0}'..='\u{5ea}' => to.push(hebrew(c)),
        '\u{621}'..='\u{6d5}' => to.push(arabic(c)),
        '\u{901}' => to.push('\u{902}'),
        c => to.extend(c.to_lowercase()),
    }
}

fn cyrillic(c: char) -> char {
    match c {
        'ё' | 'ѐ' => 'е',
        'ѝ' => 'и',
        'ґ' => 'г',
        c => c,
    }
}

/// Letters have other forms at the end of a word.
fn hebrew(c: char) -> char {
    match c {
        'ך' => 'כ',
        'ם' => 'מ',
        'ן' => 'נ',
        'ף' => 'פ',
        'ץ' => 'צ',
        c => c,
    }
}

/// Whoever types leaves the hamza out, and Persian and Urdu have forms of their own.
fn arabic(c: char) -> char {
    match c {
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ؤ' => 'و',
        'ئ' | 'ى' | 'ی' => 'ي',
        'ة' | 'ۀ' | 'ہ' | 'ھ' | 'ۃ' => 'ه',
        'ک' => 'ك',
        c => c,
    }
}

/// Marks that tell how a letter is read, and are mostly left out: accents that no letter has of its
/// own, niqqud, harakat, nukta.
fn is_silent_mark(c: char) -> bool {
    matches!(u32::from(c),
        0x300..=0x36f | 0x591..=0x5bd | 0x5bf | 0x5c1 | 0x5c2 | 0x5c4 | 0x5c5 | 0x5c7
        | 0x610..=0x61a | 0x64b..=0x65f | 0x670 | 0x6d6..=0x6dc | 0x6df..=0x6e8 | 0x6ea..=0x6ed
        | 0x93c | 0x9bc | 0xa3c | 0xabc | 0xb3c | 0xcbc)
}

/// Where the zero of a script's ten digits stands.
const ZEROS: [u32; 24] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1b50,
];

fn digit(c: char) -> Option<char> {
    if !('\u{660}'..='\u{1b59}').contains(&c) {
        return None;
    }
    let value = ZEROS.iter().map(|zero| u32::from(c).wrapping_sub(*zero));
    let value = value.min().filter(|value| *value < 10)?;
    char::from_digit(value, 10)
}

/// Groups of characters: a simplified one, then its traditional forms, as OpenCC's table has them.
const HAN: &str = include_str!("han.txt");

/// The first and the last character that the table may name.
const SPAN: std::ops::RangeInclusive<u32> = 0x3400..=0x9fff;

/// By the character's place in [`SPAN`]; 0 for one that stands for itself.
static SIMPLIFIED: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let mut table = vec![0; SPAN.count()].into_boxed_slice();
    for group in HAN.split_ascii_whitespace() {
        let mut group = group.chars().map(u32::from);
        let simplified = group.next().unwrap_or_default();
        for traditional in group.filter(|c| SPAN.contains(c)) {
            table[(traditional - SPAN.start()) as usize] = simplified as u16;
        }
    }
    table
});

fn simplified(c: char) -> char {
    let at = u32::from(c).checked_sub(*SPAN.start());
    let simplified = at.and_then(|at| SIMPLIFIED.get(at as usize)).copied();
    match simplified {
        None | Some(0) => c,
        Some(simplified) => char::from_u32(simplified.into()).unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_takes_for_the_same_is_the_same() {
        for (one, other) in [
            ("İSTANBUL", "istanbul"),
            ("ISPARTA ıspanak", "isparta ispanak"),
            ("Łódź", "lodz"),
            ("Đà Nẵng", "da nang"),
            ("crêpes", "crepes"),
            ("Straße", "strasse"),
            ("Ρόδος", "ροδοσ"),
            ("ёлка", "елка"),
            ("مُحَمَّد", "محمد"),
            ("جميـــل", "جميل"),
            ("أحمد إلى مدرسة", "احمد الي مدرسه"),
            ("کتاب", "كتاب"),
            ("שָׁלוֹם", "שלומ"),
            ("ज़रूर", "जरूर"),
            ("١٢٣ ۴۵ ३४ ๑๒", "123 45 34 12"),
            ("龍井茶", "龙井茶"),
            ("臺灣", "台湾"),
            ("ＡＢＣ", "abc"),
        ] {
            assert_eq!(fold(one), other, "{one}");
        }
        assert_ne!(fold("мой"), fold("мои"));
        assert_ne!(fold("किताब"), fold("कताब"));
    }
}
