//! Where a string cannot simply go on: it ends there, or an escape begins, or a control character
//! stands there. Found for many bytes together, and kept from one escape to the next and from one
//! string to the next, since both may come every few bytes.

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
    words: [u64; WORDS],
}

impl Stops {
    /// Those of the beginning of `json`.
    pub fn new(json: &[u8]) -> Self {
        Self {
            from: 0,
            words: find(json),
        }
    }

    /// The first stop of `json` at `at` or behind; the end is one. `at` must not lie before the stop
    /// that was found last.
    pub fn next(&mut self, json: &[u8], mut at: usize) -> usize {
        loop {
            let into = at - self.from;
            let Some(word) = self.words.get(into / WORD) else {
                self.from = at;
                self.words = find(&json[at..]);
                continue;
            };
            match word >> (into % WORD) {
                0 => at = self.from + (into / WORD + 1) * WORD,
                stops => return at + stops.trailing_zeros() as usize,
            }
        }
    }
}

/// The stops of as many bytes from the front as there are words for; what lies behind the end stops.
fn find(bytes: &[u8]) -> [u64; WORDS] {
    let mut words = [u64::MAX; WORDS];
    let bytes = &bytes[..bytes.len().min(WORDS * WORD)];
    let (whole, rest) = bytes.as_chunks::<WORD>();
    // Of what is left over, zeros make a whole one: they are control characters.
    let mut last = [0; WORD];
    last[..rest.len()].copy_from_slice(rest);
    let blocks = whole.iter().chain([&last]);
    fill(words.iter_mut().zip(blocks));
    words
}

fn fill<'a>(words: impl Iterator<Item = (&'a mut u64, &'a [u8; WORD])>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(avx2::Fill { simd, words });
    }
    words.for_each(|(word, block)| *word = stops(block));
}

/// For processors without anything wider.
fn stops(block: &[u8; WORD]) -> u64 {
    let (lanes, _) = block.as_chunks();
    let stops = |lane: &[u8; 16]| {
        let lane = u8x16::new(*lane);
        let control = lane.min(u8x16::splat(0x1f)).simd_eq(lane);
        let stops = lane.simd_eq(u8x16::splat(b'"')) | lane.simd_eq(u8x16::splat(b'\\')) | control;
        u64::from(stops.to_bitmask())
    };
    let [a, b, c, d]: [u64; 4] = array::from_fn(|lane| stops(&lanes[lane]));
    a | b << 16 | c << 32 | d << 48
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::__m256i;

    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::WORD;

    pub struct Fill<I> {
        pub simd: V3,
        pub words: I,
    }

    impl<'a, I: Iterator<Item = (&'a mut u64, &'a [u8; WORD])>> NullaryFnOnce for Fill<I> {
        type Output = ();

        // So it becomes part of the function that pulp has compiled for these processors.
        #[inline(always)]
        fn call(self) {
            for (word, block) in self.words {
                let (lanes, _) = block.as_chunks();
                let low = stops(self.simd, &lanes[0]);
                let high = stops(self.simd, &lanes[1]);
                *word = u64::from(low) | u64::from(high) << 32;
            }
        }
    }

    #[inline(always)]
    fn stops(V3 { avx, avx2, .. }: V3, lane: &[u8; 32]) -> u32 {
        let lane: __m256i = pulp::cast(*lane);
        let quote = avx2._mm256_cmpeq_epi8(lane, avx._mm256_set1_epi8(b'"'.cast_signed()));
        let escape = avx2._mm256_cmpeq_epi8(lane, avx._mm256_set1_epi8(b'\\'.cast_signed()));
        let least = avx2._mm256_min_epu8(lane, avx._mm256_set1_epi8(0x1f));
        let control = avx2._mm256_cmpeq_epi8(least, lane);
        let stops = avx2._mm256_or_si256(avx2._mm256_or_si256(quote, escape), control);
        avx2._mm256_movemask_epi8(stops).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(length: usize) -> Vec<u8> {
        "é –a".bytes().cycle().take(length).collect()
    }

    #[test]
    fn each_stop_is_found_at_any_place() {
        for length in (0..300).chain([WORD * WORDS - 1, WORD * WORDS, 3 * WORD * WORDS + 7]) {
            let bytes = plain(length);
            assert_eq!(Stops::new(&bytes).next(&bytes, 0), length);
            let step = length / 300 + 1;
            for (at, stop) in (0..length)
                .step_by(step)
                .zip([b'"', b'\\', b'\n', 0, 0x1f].repeat(99))
            {
                let mut bytes = bytes.clone();
                bytes[at] = stop;
                for from in [0, at / 2, at] {
                    let mut stops = Stops::new(&bytes);
                    assert_eq!(
                        stops.next(&bytes, from),
                        at,
                        "{stop} from {from} of {length}"
                    );
                    if at + 1 < length {
                        assert_eq!(stops.next(&bytes, at + 1), length);
                    }
                }
            }
        }
    }

    #[test]
    fn every_processor_finds_the_same() {
        let bytes: [u8; 256] = array::from_fn(|byte| byte as u8);
        let blocks = bytes.as_chunks().0;
        let mut words = [0; 4];
        fill(words.iter_mut().zip(blocks));
        for (at, byte) in bytes.into_iter().enumerate() {
            let stops_there = byte < 0x20 || byte == b'"' || byte == b'\\';
            for word in [words[at / WORD], stops(&blocks[at / WORD])] {
                assert_eq!(word >> (at % WORD) & 1 == 1, stops_there, "{byte:#x}");
            }
        }
    }
}
