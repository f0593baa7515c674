//! Where a string cannot simply go on: it ends there, or a control character stands there, or an
//! escape that needs a look. Found for many bytes together, and kept from one escape to the next and
//! from one string to the next, since both may come every few bytes.

use std::array;

use wide::u8x16;

/// Bytes whose stops are one word.
const WORD: usize = 64;
/// Words that are found together.
const WORDS: usize = 32;

/// The stops of a stretch of text, a bit for each byte.
#[derive(Debug)]
pub(super) struct Stops {
    /// Where the stretch begins.
    from: usize,
    stops: [u64; WORDS],
    /// The bytes behind an escape's backslash.
    escaped: [u64; WORDS],
    /// Whether the byte behind the stretch is escaped.
    carry: bool,
}

/// A byte at which a string does not simply go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub at: usize,
    /// It stands behind a backslash, and makes no escape of two bytes with it.
    pub is_escaped: bool,
    /// Escapes were passed on the way to it.
    pub passed_escapes: bool,
}

impl Stops {
    /// Those of the beginning of `json`.
    pub fn new(json: &[u8]) -> Self {
        let mut stops = Self {
            from: 0,
            stops: [0; WORDS],
            escaped: [0; WORDS],
            carry: false,
        };
        stops.find(json);
        stops
    }

    /// The first stop of `json` at `at` or behind; the end is one. `at` must not lie before the stop
    /// that was found last, nor within an escape.
    pub fn next(&mut self, json: &[u8], mut at: usize) -> Stop {
        let mut passed_escapes = false;
        loop {
            let (word, bit) = ((at - self.from) / WORD, (at - self.from) % WORD);
            if word >= WORDS {
                self.carry &= at == self.from + WORDS * WORD;
                self.from = at;
                self.find(json);
                continue;
            }
            let (stops, escaped) = (self.stops[word] >> bit, self.escaped[word] >> bit);
            if stops == 0 {
                passed_escapes |= escaped != 0;
                let behind = word + 1..WORDS;
                let rest = self.stops[behind.clone()].iter().zip(&self.escaped[behind]);
                let mut next = word + 1;
                for (_, &escaped) in rest.take_while(|(stops, _)| **stops == 0) {
                    passed_escapes |= escaped != 0;
                    next += 1;
                }
                at = self.from + next * WORD;
                continue;
            }
            let passed = stops.trailing_zeros();
            return Stop {
                at: at + passed as usize,
                is_escaped: escaped >> passed & 1 == 1,
                passed_escapes: passed_escapes || escaped & !(u64::MAX << passed) != 0,
            };
        }
    }

    /// Finds those of the stretch that begins at `from`. What lies behind the end stops.
    fn find(&mut self, json: &[u8]) {
        let bytes = &json[self.from..json.len().min(self.from + WORDS * WORD)];
        let (whole, rest) = bytes.as_chunks::<WORD>();
        // Of what is left over, zeros make a whole one: they are control characters.
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        let mut seen = [Seen::default(); WORDS];
        fill(seen.iter_mut().zip(whole.iter().chain([&last])));
        let filled = WORDS.min(whole.len() + 1);
        let mut carry = self.carry;
        for (word, seen) in seen[..filled].iter().enumerate() {
            let escaped = escaped_by(seen.backslashes, &mut carry);
            self.stops[word] = seen.stops & !escaped | escaped & !seen.letters;
            self.escaped[word] = escaped;
        }
        self.carry = carry;
        self.stops[filled..].fill(u64::MAX);
        self.escaped[filled..].fill(0);
    }
}

/// The bytes that these backslashes escape: in a row of them every second one is escaped itself. `carry`
/// tells whether the word's first byte is escaped, and then whether the byte behind it is.
fn escaped_by(backslashes: u64, carry: &mut bool) -> u64 {
    const EVEN: u64 = u64::MAX / 3;
    let carried = u64::from(*carry);
    let rows = backslashes & !carried;
    let first = rows & !(rows << 1);
    // Adding its first bit to a row carries through all of it.
    let even = rows & !rows.wrapping_add(first & EVEN);
    let escapes = (even & EVEN) | (rows & !even & !EVEN);
    // Told by the length of the row at the word's end, so that the next word need not wait for all of
    // the above. A row that fills the word changes nothing.
    let row = backslashes.leading_ones() as usize;
    *carry = if row < WORD { row % 2 == 1 } else { *carry };
    escapes << 1 | carried
}

/// What stands in a word's bytes, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// Quotes and control characters.
    stops: u64,
    backslashes: u64,
    /// What makes an escape of two bytes with the backslash before it.
    letters: u64,
}

const LETTERS: [u8; 8] = *br#""\/bfnrt"#;

fn fill<'a>(words: impl Iterator<Item = (&'a mut Seen, &'a [u8; WORD])>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(avx2::Fill { simd, words });
    }
    for (seen, block) in words {
        *seen = look(block);
    }
}

/// For processors without anything wider.
fn look(block: &[u8; WORD]) -> Seen {
    let (lanes, _) = block.as_chunks();
    let lanes: [u8x16; 4] = array::from_fn(|lane| u8x16::new(lanes[lane]));
    let mask = |of: &dyn Fn(u8x16) -> u8x16| {
        let [a, b, c, d] = lanes.map(|lane| u64::from(of(lane).to_bitmask()));
        a | b << 16 | c << 32 | d << 48
    };
    let is = |lane: u8x16, byte: u8| lane.simd_eq(u8x16::splat(byte));
    Seen {
        stops: mask(&|lane| is(lane, b'"') | lane.min(u8x16::splat(0x1f)).simd_eq(lane)),
        backslashes: mask(&|lane| is(lane, b'\\')),
        letters: mask(&|lane| {
            LETTERS
                .map(|it| is(lane, it))
                .into_iter()
                .fold(u8x16::ZERO, |a, b| a | b)
        }),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::__m256i;

    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::{LETTERS, Seen, WORD};

    pub struct Fill<I> {
        pub simd: V3,
        pub words: I,
    }

    impl<'a, I: Iterator<Item = (&'a mut Seen, &'a [u8; WORD])>> NullaryFnOnce for Fill<I> {
        type Output = ();

        // So it becomes part of the function that pulp has compiled for these processors.
        #[inline(always)]
        fn call(self) {
            for (seen, block) in self.words {
                let (lanes, _) = block.as_chunks();
                let low = look(self.simd, &lanes[0]);
                let high = look(self.simd, &lanes[1]);
                *seen = Seen {
                    stops: join(low[0], high[0]),
                    backslashes: join(low[1], high[1]),
                    letters: join(low[2], high[2]),
                };
            }
        }
    }

    #[inline(always)]
    fn join(low: i32, high: i32) -> u64 {
        u64::from(low.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32
    }

    /// For the lower half of a letter, or with `UPPER` for its upper one, the set of the upper halves
    /// that go with it, a bit for each; in both halves of a lane.
    const fn halves<const UPPER: bool>() -> [u8; 32] {
        let mut table = [0; 32];
        let mut at = 0;
        while at < LETTERS.len() {
            let (upper, lower) = (LETTERS[at] >> 4, LETTERS[at] & 0xf);
            let half = if UPPER { upper } else { lower } as usize;
            table[half] |= 1 << upper;
            table[half + 16] |= 1 << upper;
            at += 1;
        }
        table
    }

    #[inline(always)]
    fn look(V3 { avx, avx2, .. }: V3, lane: &[u8; 32]) -> [i32; 3] {
        let lane: __m256i = pulp::cast(*lane);
        let quote = avx2._mm256_cmpeq_epi8(lane, avx._mm256_set1_epi8(b'"'.cast_signed()));
        let least = avx2._mm256_min_epu8(lane, avx._mm256_set1_epi8(0x1f));
        let control = avx2._mm256_cmpeq_epi8(least, lane);
        let backslash = avx2._mm256_cmpeq_epi8(lane, avx._mm256_set1_epi8(b'\\'.cast_signed()));
        let half = avx._mm256_set1_epi8(0xf);
        let lower = avx2._mm256_and_si256(lane, half);
        let upper = avx2._mm256_and_si256(avx2._mm256_srli_epi16::<4>(lane), half);
        let by_lower = avx2._mm256_shuffle_epi8(pulp::cast(const { halves::<false>() }), lower);
        let by_upper = avx2._mm256_shuffle_epi8(pulp::cast(const { halves::<true>() }), upper);
        let both = avx2._mm256_and_si256(by_lower, by_upper);
        let neither = avx2._mm256_cmpeq_epi8(both, avx._mm256_setzero_si256());
        [
            avx2._mm256_movemask_epi8(avx2._mm256_or_si256(quote, control)),
            avx2._mm256_movemask_epi8(backslash),
            !avx2._mm256_movemask_epi8(neither),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(length: usize) -> Vec<u8> {
        "é –a".bytes().cycle().take(length).collect()
    }

    fn next(bytes: &[u8], from: usize) -> usize {
        Stops::new(bytes).next(bytes, from).at
    }

    #[test]
    fn each_stop_is_found_at_any_place() {
        for length in (0..300).chain([WORD * WORDS - 1, WORD * WORDS, 3 * WORD * WORDS + 7]) {
            let bytes = plain(length);
            assert_eq!(next(&bytes, 0), length);
            let places = (0..length).step_by(length / 300 + 1);
            for (at, stop) in places.zip([b'"', b'\n', 0, 0x1f].repeat(99)) {
                let mut bytes = bytes.clone();
                bytes[at] = stop;
                for from in [0, at / 2, at] {
                    assert_eq!(next(&bytes, from), at, "{stop} from {from} of {length}");
                }
            }
        }
    }

    /// What a reader that looks at one byte after the other finds.
    fn slowly(bytes: &[u8], mut at: usize) -> Stop {
        let mut passed_escapes = false;
        loop {
            let is_escaped = bytes.get(at) == Some(&b'\\');
            let stop = Stop {
                at: at + usize::from(is_escaped),
                is_escaped,
                passed_escapes,
            };
            match bytes.get(stop.at) {
                Some(byte) if is_escaped && LETTERS.contains(byte) => passed_escapes = true,
                Some(b'"' | 0..0x20) | None => return stop,
                Some(_) if is_escaped => return stop,
                Some(_) => {}
            }
            at = stop.at + 1;
        }
    }

    proptest! {
        #[test]
        fn escapes_are_passed_as_a_slow_reader_passes_them(
            pieces in prop::collection::vec(
                prop::sample::select(vec![r"\", r"\\", r#"\""#, r"\n", r"\u", "\"", "\n", "a", "é"]), 0..400),
            plain in 0..WORDS * WORD,
        ) {
            let mut bytes = vec![b'a'; plain];
            bytes.extend(pieces.concat().bytes());
            let mut stops = Stops::new(&bytes);
            let mut at = 0;
            while at < bytes.len() {
                let stop = stops.next(&bytes, at);
                let slow = slowly(&bytes, at);
                // Behind a backslash at the very end there is nothing to be escaped.
                prop_assert_eq!((stop.at, stop.passed_escapes), (slow.at, slow.passed_escapes));
                prop_assert!(stop.at == bytes.len() || stop.is_escaped == slow.is_escaped);
                at = stop.at + 1;
            }
        }
    }

    #[test]
    fn a_row_of_backslashes_of_any_length_is_read_as_a_slow_reader_reads_it() {
        for before in 0..=WORD {
            for row in 0..=3 * WORD {
                let text = format!("{}{}\"", "a".repeat(before), r"\".repeat(row));
                let found = Stops::new(text.as_bytes()).next(text.as_bytes(), 0);
                assert_eq!(found, slowly(text.as_bytes(), 0), "{row} behind {before}");
            }
        }
    }

    #[test]
    fn every_processor_finds_the_same() {
        let bytes: [u8; 256] = array::from_fn(|byte| byte as u8);
        let blocks = bytes.as_chunks().0;
        let mut seen = [Seen::default(); 4];
        fill(seen.iter_mut().zip(blocks));
        for (at, byte) in bytes.into_iter().enumerate() {
            for seen in [seen[at / WORD], look(&blocks[at / WORD])] {
                let bits = [seen.stops, seen.backslashes, seen.letters];
                assert_eq!(
                    bits.map(|word| word >> (at % WORD) & 1 == 1),
                    [
                        byte < 0x20 || byte == b'"',
                        byte == b'\\',
                        LETTERS.contains(&byte)
                    ],
                    "{byte:#x}"
                );
            }
        }
    }
}
